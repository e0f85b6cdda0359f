//! What the RFCs say about storing and reusing responses. PURE: knows no time, socket or store.

pub mod cache_control;
pub mod cache_status;
pub mod fields;
pub mod freshness;
pub mod invalidation;
pub mod policy;
pub mod precondition;
pub mod reuse;
pub mod stored_response;
pub mod storing;
pub mod validation;
pub mod vary;

pub use cache_status::{CacheStatus, ForwardReason};
pub use policy::{ClientDirectives, Policy, SetCookie, TtlPolicy};
pub use reuse::Reuse;
pub use stored_response::StoredResponse;
pub use storing::{NotStored, Terms};
