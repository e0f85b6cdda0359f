//! The deeds: looking up, fetching, filling, serving. What may be done is decided by `semantics`, `keys` and
//! `invalidation`; here it is done.

mod change;
mod explain;
mod fetch;
mod fill;
mod freshen;
mod part;
mod partial;
mod post;
mod query;
mod receive;
mod refresh;
mod serve;
mod service;

pub use explain::storing;
pub use fill::Fill;
pub use service::{Cache, CacheLayer, Rooms};
