//! Storing responses in caches: RFC 9111 §3.

use super::Policy;
use crate::clock::Timestamp;
use http::{HeaderMap, Method, StatusCode};
use std::time::Duration;

/// When the exchange with the origin took place (§4.2.3: request_time, response_time).
#[derive(Clone, Copy, Debug)]
pub struct Exchanged {
    pub requested_at: Timestamp,
    pub received_at: Timestamp,
}

/// On what terms a response is stored.
#[derive(Clone, Debug)]
pub struct Terms {
    /// Freshness lifetime (§4.2.1).
    pub lifetime: Duration,
    pub lifetime_from: LifetimeSource,
    /// `corrected_initial_age` (§4.2.3).
    pub initial_age: Duration,
    /// `response_time` (§4.2.3).
    pub received_at: Timestamp,
    /// May only be reused after successful validation (`no-cache`).
    pub always_validate: bool,
    /// May never be served stale (`must-revalidate`, `proxy-revalidate`, `s-maxage`).
    pub never_stale: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LifetimeSource {
    Override,
    SMaxage,
    MaxAge,
    Expires,
    Default,
    Heuristic,
}

/// Why a response may not be stored. One vocabulary for Cache-Status, logs, metrics, explain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotStored {
    Method, /* helper B: all of them */
}

impl NotStored {
    /// The stable token shown in logs, metrics and `Cache-Status; detail=`, such as `no-store`.
    pub fn as_str(self) -> &'static str {
        unimplemented!()
    }
}

/// §3. `headers` are the response's end-to-end fields, `Date` already stamped.
pub fn terms(
    method: &Method,
    request: &HeaderMap,
    status: StatusCode,
    headers: &HeaderMap,
    policy: &Policy,
    exchanged: Exchanged,
) -> Result<Terms, NotStored> {
    unimplemented!()
}
