//! What holds for the requests of one route.
//!
//! Says where they go and what may be kept of the answers; [`crate::semantics`] and [`crate::keys`] know what
//! that means.

use super::{BodyTag, HeaderCondition, Match, Template};
use crate::keys::Constructor;
use crate::semantics::Policy;
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use ipnet::IpNet;
use std::sync::Arc;
use std::time::Duration;

/// One entry of `routes:`.
#[derive(Debug)]
pub struct Route {
    /// Its name: unique among the routes.
    pub name: Arc<str>,
    /// Which requests it takes.
    pub matching: Match,
    /// Index into the plan's upstreams.
    pub upstream: usize,
    /// `None`: `cache: off`.
    pub cache: Option<CacheRule>,
    /// What its responses show of the cache.
    pub status_fields: StatusFields,
    /// From where `PURGE` and its kin are obeyed without a token. `None`: they are requests like others.
    pub purge_from: Option<Box<[IpNet]>>,
    /// Deliveries to webhooks whose paths are its are taken.
    pub takes_webhooks: bool,
}

/// A route's `cache:` block.
#[derive(Debug)]
pub struct CacheRule {
    /// How the key is built.
    pub key: Arc<Constructor>,
    /// What semantics needs to know: TTLs, Set-Cookie, client directives.
    pub policy: Policy,
    /// Tags given to every stored response of the route.
    pub tags: Vec<Template>,
    /// Tags read out of every stored body that is JSON.
    pub body_tags: Arc<[BodyTag]>,
    /// Stored only if every condition holds.
    pub store_if: Option<StoreCondition>,
    /// Not stored if every condition given holds.
    pub store_unless: Option<StoreCondition>,
    /// Responses to POST that represent their target are stored, for GET (RFC 9110 §9.3.3).
    pub store_post: bool,
    /// Responses to QUERY are stored (RFC 10008).
    pub query: Option<QueryRule>,
    /// Cache groups are heard: what the origin groups together it can invalidate together (RFC 9875).
    pub groups: bool,
    /// Requests for the same at the same time are forwarded once. `None`: each for itself.
    pub collapse: Option<Collapse>,
    /// The last part of a response's freshness lifetime in which a hit refreshes it, from 0 to 1.
    pub refresh_ahead: f64,
    /// What is asked for when only a part of a response is wanted that the cache does not have.
    pub ranges: Ranges,
    /// How often a key must have been asked for before a response is stored.
    pub min_uses: usize,
    /// `No-Vary-Search` is heeded: a response may answer other queries than its own, where it says so.
    pub no_vary_search: bool,
}

/// What the origin is asked for when a client wants a part of what the cache does not have (RFC 9110 §14).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ranges {
    /// That part.
    #[default]
    Forward,
    /// The whole, once for all who want parts of it.
    Whole,
    /// Slices of so many bytes, each fetched and stored by itself; also when the whole is wanted.
    Slices(u64),
}

/// A route's `collapse:` block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Collapse {
    /// How long a request waits for the head of a response that another has asked for.
    pub wait: Duration,
    /// How many of those that have waited for so long ask by themselves, at once.
    pub parallel: usize,
    /// Whether a fetch goes on though all who wanted it have left.
    pub outlive_client: bool,
    /// How long nobody waits for others under a key whose response could not be shared.
    pub unshared_for: Duration,
}

impl Default for Collapse {
    fn default() -> Self {
        Self {
            wait: Duration::from_secs(10),
            parallel: 4,
            outlive_client: true,
            unshared_for: Duration::from_secs(30),
        }
    }
}

/// A route's `query:` block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueryRule {
    /// Requests with more content are passed on, in bytes.
    pub max_body_bytes: u64,
}

/// `store_if:` / `store_unless:`: members given must all hold; each list holds if any of its items does.
#[derive(Clone, Debug, Default)]
pub struct StoreCondition {
    /// Status codes.
    pub status: Vec<u16>,
    /// Media types without parameters, in either case: `text/html`, `text/*`, `*/*`.
    pub content_type: Vec<String>,
    /// Conditions on response fields.
    pub headers: Vec<(HeaderName, HeaderCondition)>,
}

impl StoreCondition {
    /// Whether a response with this status and these fields is meant. A condition without members means all.
    pub fn holds(&self, status: StatusCode, headers: &HeaderMap) -> bool {
        let any_status = self.status.is_empty() || self.status.contains(&status.as_u16());
        let any_type = self.content_type.is_empty() || self.holds_of_content_type(headers);
        let any_field = self.headers.is_empty()
            || self.headers.iter().any(|(name, condition)| condition.holds(name, headers));
        any_status && any_type && any_field
    }

    fn holds_of_content_type(&self, headers: &HeaderMap) -> bool {
        let Some(Ok(value)) = headers.get(CONTENT_TYPE).map(HeaderValue::to_str) else { return false };
        let essence = value.split(';').next().unwrap_or_default().trim();
        let Some((kind, subtype)) = essence.split_once('/') else { return false };
        self.content_type.iter().any(|pattern| {
            let (wanted_kind, wanted_subtype) = pattern.split_once('/').unwrap_or((pattern, "*"));
            (wanted_kind == "*" || wanted_kind.eq_ignore_ascii_case(kind))
                && (wanted_subtype == "*" || wanted_subtype.eq_ignore_ascii_case(subtype))
        })
    }
}

/// Which status fields a route's responses show (design: X-Cache, X-Cached-At, X-Cache-Reset-At, Cache-Status).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatusFields {
    /// `X-Cache`.
    pub x_cache: bool,
    /// `X-Cached-At`.
    pub cached_at: bool,
    /// `X-Cache-Reset-At`.
    pub reset_at: bool,
    /// `Cache-Status` (RFC 9211).
    pub cache_status: bool,
    /// Who sees them.
    pub audience: StatusFieldsAudience,
}

/// Who sees the status fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusFieldsAudience {
    /// Every client.
    Everyone,
    /// Requests whose `Staleproof-Token` field carries an admin token that may `read`.
    TokenHolders,
    /// No client.
    Nobody,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(condition: &StoreCondition, status: u16, content_type: &str, expected: bool) {
        let mut headers = HeaderMap::new();
        if !content_type.is_empty() {
            headers.insert(CONTENT_TYPE, content_type.parse().unwrap());
        }
        let status = StatusCode::from_u16(status).unwrap();
        assert_eq!(condition.holds(status, &headers), expected, "{status} {content_type}");
    }

    #[test]
    fn a_list_holds_if_any_of_its_items_does() {
        let status = StoreCondition { status: vec![500, 503], ..StoreCondition::default() };
        check(&status, 503, "", true);
        check(&status, 200, "", false);

        let content_type = vec!["text/*".to_owned(), "Application/JSON".to_owned()];
        let content_type = StoreCondition { content_type, ..StoreCondition::default() };
        check(&content_type, 200, "Text/HTML; charset=utf-8", true);
        check(&content_type, 200, "application/json", true);
        check(&content_type, 200, "application/json-seq", false);
        check(&content_type, 200, "text", false);
        check(&content_type, 200, "", false);
    }

    #[test]
    fn members_must_all_hold() {
        let condition = StoreCondition {
            status: vec![200],
            content_type: vec!["*/*".to_owned()],
            headers: vec![
                (HeaderName::from_static("x-a"), HeaderCondition::Present),
                (HeaderName::from_static("content-type"), HeaderCondition::Equals("a/b".into())),
            ],
        };
        check(&condition, 200, "a/b", true);
        check(&condition, 200, "a/c", false);
        check(&condition, 404, "a/b", false);
        check(&StoreCondition::default(), 404, "", true);
    }
}
