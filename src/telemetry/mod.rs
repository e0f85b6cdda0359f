//! What is told about the exchanges: one access-log record and one set of counts each.

mod access_log;
mod metrics;

use std::sync::atomic::{AtomicUsize, Ordering};

pub use access_log::{AccessLog, Record};
pub use metrics::{Levels, Metrics};

/// How many workers have memory of their own to write to; more share it.
const SHARDS: usize = 32;

/// That of this thread.
fn shard() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static OWN: usize = NEXT.fetch_add(1, Ordering::Relaxed) % SHARDS;
    }
    OWN.with(|own| *own)
}
