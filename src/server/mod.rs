//! Listening, serving, draining.

mod accept;
mod connection;
mod start;
mod workers;

pub use start::{Assembled, Bound, StartError, Started, assemble, bind, run};
