//! Listening, serving, draining.

mod connection;
mod drain;
mod start;

pub use start::{Assembled, Bound, StartError, Started, assemble, bind, run};
