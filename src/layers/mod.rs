//! The layers above and below the cache, one file each. Their order is `stack.rs`'s.

pub mod admit;
pub(crate) mod claims;
pub mod deliveries;
mod early;
pub mod forward;
pub mod normalize;
pub mod observe;
pub mod purges;
pub mod route;

pub use early::{Early, Later};
