//! `src/invalidation`, as far as the promise depends on it.

mod sync {
    pub(super) use shuttle::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
    pub(super) use shuttle::sync::{Mutex, MutexGuard};
    pub(super) use std::sync::PoisonError;
}

#[path = "../../../src/invalidation/ban.rs"]
mod ban;
#[path = "../../../src/invalidation/index.rs"]
mod index;
#[path = "../../../src/invalidation/log.rs"]
pub mod log;
#[path = "../../../src/invalidation/members.rs"]
mod members;
#[path = "../../../src/invalidation/standing.rs"]
pub mod standing;
#[path = "../../../src/invalidation/tag.rs"]
pub mod tag;

pub use ban::{Ban, Pattern, ResponsePattern, Subject, UrlPattern};
pub use log::{Appended, Fetch, Log, Marks, Position, Strength};
pub use standing::{Carried, Standing};
pub use tag::{Tag, TagId};
