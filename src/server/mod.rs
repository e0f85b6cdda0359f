//! Listening, serving, draining.

mod accept;
mod connection;
mod start;

pub use start::{Assembled, Bound, StartError, Started, assemble, bind, run};
