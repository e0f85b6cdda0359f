//! What the RFCs say about storing and reusing responses: RFC 9110, RFC 9111, RFC 9211.
//!
//! Read it in the RFC's order. A response comes from the origin: [`fields`] says which of its fields
//! travel on, [`targeted`], [`cache_control`], [`dates`] and [`entity_tag`] what they state, [`storing`] whether it may be kept
//! and on what [`Terms`] (§3), or why [`not_stored`]; [`stored_response`] is what is remembered of it, its fields as [`lines`]. A request
//! comes in: [`vary`] says which stored response it selects (§4.1), [`freshness`] how old that is
//! (§4.2), [`reuse`] whether it may be served, has to be validated or does not help (§4). [`validation`] makes
//! the conditional request and reads its answer (§4.3), [`precondition`] answers the client's own conditions
//! (RFC 9110 §13), [`invalidation`] says what an unsafe request made untrue (§4.4), [`cache_groups`]
//! what the origin groups to invalidate it together (RFC 9875), [`response_tags`] what it tags, [`post`] what the response to an unsafe request says of
//! its target (RFC 9110 §9.3.3); [`method`] knows which are safe. [`cache_status`]
//! tells the client what happened (RFC 9211), and [`policy`] is where the operator may say more than the
//! RFC does.
//!
//! Everything here is a decision about values: it knows no time (`now` is an argument), no socket and no
//! store. What it cannot decide safely it refuses: not stored, not reused, forwarded.

pub mod cache_control;
pub mod cache_groups;
pub mod cache_status;
pub mod dates;
pub mod entity_tag;
pub mod fields;
pub mod freshness;
pub mod invalidation;
pub mod lines;
pub mod method;
pub mod no_vary_search;
pub mod not_stored;
pub mod policy;
pub mod post;
pub mod precondition;
pub mod range;
pub mod response_tags;
pub mod reuse;
#[cfg(test)]
mod samples;
pub mod stored_response;
pub mod storing;
pub mod targeted;
pub mod validation;
pub mod vary;

pub use cache_control::{RequestDirectives, ResponseDirectives};
pub use cache_status::{CacheStatus, ForwardReason};
pub use entity_tag::EntityTag;
pub use lines::Lines;
pub use no_vary_search::{NoVarySearch, Search};
pub use not_stored::NotStored;
pub use policy::{ClientDirectives, Policy, SetCookie, StalePolicy, TtlPolicy};
pub use reuse::Reuse;
pub use stored_response::StoredResponse;
pub use storing::{LifetimeSource, Terms};
