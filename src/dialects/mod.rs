//! Purges as other systems ask for them: the plugins of an app that were made for Varnish, nginx, Souin, Fastly or Cloudflare
//! need not be changed. PURE.
//!
//! Decides what a request means; who may ask, and where, is the business of those who call it.

mod api;
mod method;
mod pattern;

use http::{HeaderMap, Method};

use crate::invalidation::{Strength, Target};

pub use pattern::Unreadable;

/// A request as it came in.
#[derive(Clone, Copy, Debug)]
pub struct Sent<'a> {
    /// The method.
    pub method: &'a Method,
    /// `http` or `https`.
    pub scheme: &'a str,
    /// The host that it is for, with its port.
    pub host: &'a str,
    /// Path and query.
    pub target: &'a str,
    /// Its fields.
    pub headers: &'a HeaderMap,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// With what.
    pub targets: Vec<Target>,
    /// What.
    pub deed: Deed,
    /// How the sender wants to be answered.
    pub reply: Reply,
}

/// What is to be done with what is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// To purge it.
    Purge(Strength),
    /// To fetch it again.
    Refresh,
}

/// What the sender takes for success.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// 200.
    Ok,
    /// 204.
    NoContent,
    /// Fastly's JSON: one result, or one for each of these keys.
    Fastly(Vec<String>),
    /// Cloudflare's JSON, about this zone.
    Cloudflare(String),
}

/// Why a request that asks for a purge is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Misread {
    /// A pattern cannot be understood.
    #[error("{field}: {why}")]
    Pattern {
        /// Where it stands.
        field: String,
        /// What is wrong with it.
        why: Unreadable,
    },
    /// Something else; what to do.
    #[error("{0}")]
    Invalid(String),
}

impl Misread {
    fn pattern(field: &str, why: Unreadable) -> Self {
        Self::Pattern { field: field.to_owned(), why }
    }
}

/// Whether it asks for a purge by its method alone, whatever its path: such requests may come to the public listener.
pub fn is_by_method(sent: &Sent<'_>) -> bool {
    method::is_one(sent)
}

/// What such a request asks for.
///
/// # Errors
/// Where that cannot be said; nothing of it is to be done then.
pub fn by_method(sent: &Sent<'_>) -> Result<Order, Misread> {
    method::order(sent)
}

/// Whether it asks for a purge through the API of another system, by its path.
pub fn is_by_api(sent: &Sent<'_>) -> bool {
    api::Call::of(sent).is_some()
}

/// What such a request asks for. `None`: it is none.
///
/// # Errors
/// As [`by_method`].
pub fn by_api(sent: &Sent<'_>, body: &[u8]) -> Option<Result<Order, Misread>> {
    Some(api::Call::of(sent)?.order(sent, body))
}

/// The one target, or one for several.
fn of_tags(mut tags: Vec<String>) -> Target {
    match tags.len() {
        1 => Target::Tag(tags.swap_remove(0)),
        _ => Target::AnyTag(tags),
    }
}
