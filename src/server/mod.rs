//! Listening, serving, draining.

mod accept;
mod connection;
mod gather;
mod http1;
mod http2;
mod patient;
mod preface;
mod start;
mod workers;

pub use start::{Assembled, Bound, StartError, Started, assemble, bind, run};
