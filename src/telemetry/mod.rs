//! What is told about the exchanges: one access-log record and one set of counts each.

mod access_log;
mod metrics;

pub use access_log::{AccessLog, Record};
pub use metrics::{Levels, Metrics};
