//! The Cache-Status field: RFC 9211.
//!
//! Writes our own member of the list. Appending it to the members of the caches before us is the caller's.

use http::{HeaderName, HeaderValue, StatusCode};
use std::fmt::{self, Write};

/// `HIT`, `MISS`, …
pub const X_CACHE: HeaderName = HeaderName::from_static("x-cache");
/// When a stored response was received.
pub const X_CACHED_AT: HeaderName = HeaderName::from_static("x-cached-at");
/// When it stops being fresh.
pub const X_CACHE_RESET_AT: HeaderName = HeaderName::from_static("x-cache-reset-at");
/// RFC 9211.
pub const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// The fields of which only the last cache's word counts. (To `Cache-Status` each adds its own.)
pub static REPLACED: [HeaderName; 3] = [X_CACHE, X_CACHED_AT, X_CACHE_RESET_AT];

/// Why a request went to the origin (§2.2). One vocabulary for Cache-Status, logs, metrics and explain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ForwardReason {
    /// The cache does not handle this request.
    Bypass,
    /// The request method's semantics require it.
    Method,
    /// Nothing is stored for the URI.
    UriMiss,
    /// Something is stored for the URI, but for other values of the fields its `Vary` names.
    VaryMiss,
    /// Nothing stored could satisfy the request, and which of the two above it was is not known.
    Miss,
    /// A fresh response was selected, but the request did not allow its use.
    Request,
    /// A response was selected, but it was stale.
    Stale,
    /// A partial response was selected, but it did not contain all that was requested.
    Partial,
}

impl ForwardReason {
    /// The token of §2.2.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bypass => "bypass",
            Self::Method => "method",
            Self::UriMiss => "uri-miss",
            Self::VaryMiss => "vary-miss",
            Self::Miss => "miss",
            Self::Request => "request",
            Self::Stale => "stale",
            Self::Partial => "partial",
        }
    }
}

impl fmt::Display for ForwardReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One cache's member of the list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CacheStatus {
    /// The request was satisfied without being forwarded (§2.1). Then nothing is said of a forwarding.
    pub hit: bool,
    /// Why it was forwarded (§2.2).
    pub forward: Option<ForwardReason>,
    /// What the next hop answered (§2.3).
    pub forward_status: Option<StatusCode>,
    /// The freshness lifetime left, in seconds; negative for a stale response (§2.4).
    pub ttl_secs: Option<i64>,
    /// The response to the forwarded request was stored (§2.5).
    pub stored: bool,
    /// The request was answered together with others that were forwarded once (§2.6).
    pub collapsed: bool,
    /// A stable token, such as a `NotStored` reason (§2.8).
    pub detail: Option<&'static str>,
}

impl CacheStatus {
    /// `staleproof; hit; ttl=30`.
    pub fn to_value(&self) -> HeaderValue {
        let mut member = String::with_capacity(96);
        // Writing to a String does not fail; and what is written is ASCII, hence a field value.
        let _ = self.write(&mut member);
        HeaderValue::try_from(member).unwrap_or(HeaderValue::from_static("staleproof"))
    }

    /// Writes the member.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write(&self, out: &mut impl Write) -> fmt::Result {
        out.write_str("staleproof")?;
        if self.hit {
            out.write_str("; hit")?;
        } else {
            if let Some(reason) = self.forward {
                out.write_str("; fwd=")?;
                out.write_str(reason.as_str())?;
            }
            if let Some(status) = self.forward_status {
                out.write_str("; fwd-status=")?;
                out.write_str(status.as_str())?;
            }
            if self.stored {
                out.write_str("; stored")?;
            }
            if self.collapsed {
                out.write_str("; collapsed")?;
            }
        }
        if let Some(ttl) = self.ttl_secs {
            // "an Integer": at most fifteen digits (RFC 9651 §3.3.1)
            let ttl = ttl.clamp(-999_999_999_999_999, 999_999_999_999_999);
            out.write_str("; ttl=")?;
            out.write_str(itoa::Buffer::new().format(ttl))?;
        }
        match self.detail {
            Some(detail) if is_token(detail) => {
                out.write_str("; detail=")?;
                out.write_str(detail)
            }
            Some(detail) => {
                out.write_str("; detail=\"")?;
                for character in detail.chars().filter(|character| matches!(character, ' '..='~')) {
                    if matches!(character, '"' | '\\') {
                        out.write_char('\\')?;
                    }
                    out.write_char(character)?;
                }
                out.write_char('"')
            }
            None => Ok(()),
        }
    }
}

/// Whether it may stand unquoted: an `sf-token` (RFC 9651 §3.3.4), of the characters our tokens are made of.
fn is_token(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(status: &CacheStatus, expected: &str) {
        assert_eq!(status.to_value(), expected);
    }

    fn forwarded(reason: ForwardReason) -> CacheStatus {
        CacheStatus { forward: Some(reason), ..CacheStatus::default() }
    }

    #[test]
    fn a_hit_says_how_long_it_stays_one() {
        check(
            &CacheStatus { hit: true, ttl_secs: Some(30), ..CacheStatus::default() },
            "staleproof; hit; ttl=30",
        );
        check(
            &CacheStatus { hit: true, ttl_secs: Some(-5), ..CacheStatus::default() },
            "staleproof; hit; ttl=-5",
        );
    }

    #[test]
    fn hit_and_fwd_exclude_each_other() {
        let both = CacheStatus { hit: true, stored: true, ..forwarded(ForwardReason::Stale) };
        check(&both, "staleproof; hit");
    }

    #[test]
    fn a_forwarded_request_says_why_and_what_became_of_it() {
        check(
            &CacheStatus {
                forward_status: Some(StatusCode::OK),
                stored: true,
                ttl_secs: Some(60),
                ..forwarded(ForwardReason::UriMiss)
            },
            "staleproof; fwd=uri-miss; fwd-status=200; stored; ttl=60",
        );
        check(
            &CacheStatus { detail: Some("no-store"), ..forwarded(ForwardReason::VaryMiss) },
            "staleproof; fwd=vary-miss; detail=no-store",
        );
    }

    #[test]
    fn reasons_are_the_tokens_of_the_rfc() {
        use ForwardReason::{Bypass, Method, Miss, Partial, Request, Stale, UriMiss, VaryMiss};
        let tokens =
            [Bypass, Method, UriMiss, VaryMiss, Miss, Request, Stale, Partial].map(ForwardReason::as_str);
        assert_eq!(
            tokens,
            ["bypass", "method", "uri-miss", "vary-miss", "miss", "request", "stale", "partial"]
        );
    }

    #[test]
    fn what_is_no_token_is_quoted() {
        let detail = |detail| CacheStatus { detail: Some(detail), ..CacheStatus::default() };
        check(&detail("504 \"soon\"\n"), "staleproof; detail=\"504 \\\"soon\\\"\"");
        check(&detail(""), "staleproof; detail=\"\"");
    }

    #[test]
    fn the_ttl_stays_an_integer() {
        let endless = CacheStatus { hit: true, ttl_secs: Some(i64::MAX), ..CacheStatus::default() };
        check(&endless, "staleproof; hit; ttl=999999999999999");
    }
}
