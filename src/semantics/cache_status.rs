//! The Cache-Status field: RFC 9211.

use http::{HeaderValue, StatusCode};

/// Why a request went to the origin (§2.2). One vocabulary for Cache-Status, logs, metrics and explain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ForwardReason {
    Bypass,
    Method,
    UriMiss,
    VaryMiss,
    Miss,
    Request,
    Stale,
    Partial,
}

impl ForwardReason {
    pub const fn as_str(self) -> &'static str {
        unimplemented!()
    }
}

/// One cache's member of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheStatus {
    pub hit: bool,
    pub forward: Option<ForwardReason>,
    pub forward_status: Option<StatusCode>,
    pub ttl_secs: Option<i64>,
    pub stored: bool,
    /// A stable token, such as a `NotStored` reason.
    pub detail: Option<&'static str>,
}

impl CacheStatus {
    /// `staleproof; hit; ttl=30`.
    pub fn to_value(&self) -> HeaderValue {
        unimplemented!()
    }
}
