//! The deeds: looking up, fetching, filling, serving. What may be done is decided by `semantics`, `keys` and
//! `invalidation`; here it is done.

mod asked;
mod body_tags;
mod change;
mod explain;
mod fetch;
mod fill;
mod flight;
mod freshen;
mod known_fields;
mod known_keys;
mod landing;
#[cfg(test)]
mod model;
mod part;
mod partial;
mod pending;
mod post;
mod query;
mod receive;
mod refresh;
mod search;
mod serve;
mod service;
mod slices;

pub use explain::storing;
pub use fill::{FillRoom, Reader};
pub use flight::Flights;
pub use service::{Cache, CacheLayer, Rooms};
pub use slices::Joined;
