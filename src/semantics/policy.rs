//! Where the operator may say more than the RFC does.
//!
//! The default policy is the RFC's own, but where it is safer to keep less: `Set-Cookie`, bodies without an end of their
//! own. Nothing here makes a cache keep what the origin forbade to keep: `no-store`, `private` and `Authorization`
//! (RFC 9111 §3) are never overridden.

use super::response_tags;
use super::targeted::{self, CDN_CACHE_CONTROL, STALEPROOF_CACHE_CONTROL};
use http::{HeaderName, StatusCode};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

/// What one route allows beyond, or short of, RFC 9111.
#[derive(Clone, Debug)]
pub struct Policy {
    /// The fields that may take the place of `Cache-Control`, the first that speaks (RFC 9213 §2.2).
    pub targeted_fields: Arc<[HeaderName]>,
    /// How long responses are fresh.
    pub ttl: TtlPolicy,
    /// How long they may be served stale.
    pub stale: StalePolicy,
    /// Whether apps are trusted to mean what HTTP says of variants: a strong tag names one representation, so that the
    /// origin may confirm one that the request does not select (many give one tag to all of a page's languages and
    /// users); neither the order of equal languages nor white space in a list matters (many read it as a preference).
    pub liberal: bool,
    /// What becomes of responses that set cookies.
    pub set_cookie: SetCookie,
    /// Whether a body is stored that ended with the connection: "complete regardless of the number of message body
    /// octets received" (RFC 9112 §8), so that a truncated one cannot be told from a whole one.
    pub store_close_delimited: bool,
    /// Whether 405 and 414 are stored as other heuristically cacheable codes are (RFC 9110 §15.1). They speak of the
    /// method and the length of one request, and whoever finds out how to provoke one takes a page away from everyone:
    /// without this, a 405 is stored if it states a lifetime, and a 414 never.
    pub store_request_errors: bool,
    /// Whether a request may ask for less, or more, than the cache would serve.
    pub client_directives: ClientDirectives,
    /// Whether clients see the fields in which the origin names tags.
    pub shows_tags: bool,
}

impl Policy {
    /// Whether a response field is for this cache, and nobody after it is to see it.
    pub fn ends_here(&self, name: &HeaderName) -> bool {
        targeted::ends_here(name, &self.targeted_fields) || (!self.shows_tags && response_tags::is_one(name))
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            targeted_fields: [STALEPROOF_CACHE_CONTROL, CDN_CACHE_CONTROL].into(),
            ttl: TtlPolicy::default(),
            stale: StalePolicy::default(),
            liberal: false,
            set_cookie: SetCookie::default(),
            store_close_delimited: false,
            store_request_errors: false,
            client_directives: ClientDirectives::default(),
            shows_tags: false,
        }
    }
}

/// The four words of `ttl:`, applied in this order:
///
/// 1. `overriding`, where it is set, is the freshness lifetime, and nothing below applies to it. It also
///    stands for an unqualified `no-cache`, which says nothing but that the lifetime is none; `no-cache="field"`
///    keeps its meaning.
/// 2. What the origin states: `s-maxage`, else `max-age`, else `Expires`.
/// 3. `default` if it states nothing, else the heuristic of RFC 9111 §4.2.2.
/// 4. `min` raises the result, then `max` cuts it: of two that contradict each other `max` wins.
///
/// `overriding` and `default` apply to the heuristically cacheable status codes (RFC 9110 §15.1: among them 200, 301,
/// 404) and to responses with `public`; `overriding` also to whatever states a lifetime. To a server error (5xx)
/// only `max` applies: an outage is never kept for longer than the origin itself said.
#[derive(Clone, Debug, Default)]
pub struct TtlPolicy {
    /// The freshness lifetime of responses that state none (instead of the heuristic of §4.2.2).
    pub default: Option<Duration>,
    /// A shorter stated, defaulted or heuristic lifetime is raised to this.
    pub min: Option<Duration>,
    /// A longer one is cut to this.
    pub max: Option<Duration>,
    /// Replaces whatever the origin says about lifetime (never `no-store`, `private`).
    pub overriding: Option<Duration>,
    /// Of responses with these status codes that state none, instead of `default`, the first that applies. Neither the
    /// heuristically cacheable codes nor `min` bound it: an operator who names a code means it.
    pub by_status: Vec<(RangeInclusive<u16>, Duration)>,
    /// By how much a lifetime is cut at most, by chance; from 0 to 1.
    pub jitter: f64,
}

impl TtlPolicy {
    /// What `by_status` says.
    pub(super) fn of_status(&self, status: StatusCode) -> Option<Duration> {
        let named = self.by_status.iter().find(|(codes, _)| codes.contains(&status.as_u16()));
        named.map(|(_, lifetime)| *lifetime)
    }
}

/// How long past its freshness lifetime a response may be served, where it does not say so itself (RFC 5861). Nothing
/// here applies to a response that may never be served stale (RFC 9111 §4.2.4).
#[derive(Clone, Copy, Debug, Default)]
pub struct StalePolicy {
    /// While it is being validated behind the client's back; instead of a missing `stale-while-revalidate`.
    pub while_revalidate: Option<Duration>,
    /// When the origin fails; instead of a missing `stale-if-error`.
    pub if_error: Option<Duration>,
}

/// Responses with `Set-Cookie`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SetCookie {
    /// Not stored, whatever else the response says: `public` says that it may be shared, and frameworks and CDN settings
    /// put it on whole sites; they put a session's cookie on the same response without knowing of it.
    #[default]
    Refuse,
    /// Stored without the field (the client that caused the fetch still gets it).
    Strip,
    /// Stored with it, as RFC 9111 has it.
    Store,
}

/// Whether a request's Cache-Control and Pragma reach past the cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientDirectives {
    /// As RFC 9111 §5.2.1 has it: a visitor's reload reaches the origin.
    #[default]
    Obey,
    /// They are as good as absent.
    Ignore,
}
