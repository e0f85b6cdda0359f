//! The invalidation log, and what follows from it. All but [`apply`] is PURE.

pub mod apply;
mod ban;
mod condition;
pub mod event;
mod expression;
mod index;
mod like;
pub mod history;
pub mod log;
mod members;
mod naming;
mod reclaim;
pub mod rule;
mod sharing;
mod spelling;
pub mod standing;
mod sync;
pub mod tag;
pub mod target;
mod target_template;

pub use apply::{Invalidator, PATIENCE, Preview, PurgeError, Purged, Requests};
pub use ban::{Ban, Pattern, ResponsePattern, Subject, UrlPattern};
pub use log::{Appended, Fetch, Log, Marks, Position, Strength};
pub use members::Tally;
pub use standing::{Carried, Standing};
pub use tag::{Tag, TagId};
pub use target::Target;
