//! Methods and what they promise: RFC 9110 §9.2.
//!
//! Safe: nothing is asked to change. Idempotent: asked twice is as good as asked once. What is not known to be so is
//! taken to be neither.

use http::Method;

/// Whether it is registered as safe (<https://www.iana.org/assignments/http-methods>). Any other may have changed
/// something.
pub fn is_safe(method: &Method) -> bool {
    method.is_safe() || matches!(method.as_str(), "PROPFIND" | "REPORT" | "SEARCH" | "PRI")
}

/// Whether a request may be sent again when nobody knows what became of it (§9.2.2).
pub fn is_idempotent(method: &Method) -> bool {
    method.is_idempotent() || is_safe(method)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_to_be_safe_is_not() {
        let check = |name: &str, safe, idempotent| {
            let method = name.parse().unwrap();
            assert_eq!((is_safe(&method), is_idempotent(&method)), (safe, idempotent), "{name}");
        };
        for name in ["GET", "HEAD", "OPTIONS", "TRACE", "QUERY", "PROPFIND", "REPORT", "SEARCH"] {
            check(name, true, true);
        }
        for name in ["PUT", "DELETE"] {
            check(name, false, true);
        }
        for name in ["POST", "PATCH", "CONNECT", "M-SEARCH", "get", "query", "FOO"] {
            check(name, false, false);
        }
    }
}
