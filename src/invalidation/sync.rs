//! The locks and atomics of the log. In one place, so that a test can put others in theirs, which try out interleavings
//! (`tests/interleavings`).

pub(super) use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
pub(super) use std::sync::{Mutex, MutexGuard, PoisonError};
