//! What a successful unsafe request invalidates: RFC 9111 §4.4.
//!
//! Names the URIs. Turning them into keys or tags, and the invalidation itself, are not known here.

use super::method;
use crate::uri;
use http::header::{CONTENT_LOCATION, LOCATION};
use http::{HeaderMap, Method, StatusCode};

/// The URIs to invalidate, each as path and query on the same host (`/a?b=c`): the target itself, then those in
/// `Location` and `Content-Location` that have its origin. Empty for safe methods and error answers.
///
/// `hosts` are those that its origin goes by, ports included: the request's, and those it knows itself by, which is what
/// it names if the request was rewritten on its way. `path_and_query` is the request's normalised target. The other paths are
/// free of dot segments and fragments and need the same normalisation as any request's target. Of the origin
/// only host and port are compared: which scheme the client used may be known to a proxy before us only.
pub fn invalidated(
    method: &Method,
    hosts: &[&str],
    path_and_query: &str,
    status: StatusCode,
    response: &HeaderMap,
) -> Vec<String> {
    // "A cache MUST invalidate the target URI when it receives a non-error status code in response to an
    // unsafe request method (including methods whose safety is unknown)." "A "non-error response" is one with a
    // 2xx (Successful) or 3xx (Redirection) status code."
    if !may_have_changed(method, status) {
        return Vec::new();
    }
    let mut uris = vec![path_and_query.to_owned()];
    // "A cache MAY invalidate other URIs […] In particular, the URI(s) in the Location and Content-Location
    // response header fields (if present) are candidates for invalidation"
    for line in response.get_all(LOCATION).iter().chain(response.get_all(CONTENT_LOCATION)) {
        // "However, a cache MUST NOT trigger an invalidation under these conditions if the origin of the URI to
        // be invalidated differs from that of the target URI."
        if let Some(uri) = resolved_field(line.as_bytes(), hosts, path_and_query)
            && !uris.contains(&uri)
        {
            uris.push(uri);
        }
    }
    uris
}

/// Whether something is to be invalidated: an unsafe method and "a non-error response" (§4.4).
pub fn may_have_changed(method: &Method, status: StatusCode) -> bool {
    !method::is_safe(method) && (status.is_success() || status.is_redirection())
}

/// Path and query that a field refers to, its path free of dot segments, or `None` if it leads to another host.
pub(super) fn resolved_field(value: &[u8], hosts: &[&str], target: &str) -> Option<String> {
    resolved(&printable(value)?, hosts, target)
}

/// A field value as URI characters: what is beyond ASCII is percent-encoded, as a client would do before
/// requesting it; `None` if there are blanks or control characters in it.
fn printable(value: &[u8]) -> Option<String> {
    let mut text = String::with_capacity(value.len());
    for &byte in value.trim_ascii() {
        match byte {
            0x21..=0x7E => text.push(char::from(byte)),
            0x80.. => {
                text.push('%');
                text.extend(
                    [byte >> 4, byte & 15].map(|digit| char::from(b"0123456789ABCDEF"[usize::from(digit)])),
                );
            }
            _ => return None,
        }
    }
    Some(text)
}

/// Path and query of a URI reference (RFC 3986 §5.2.2), or `None` if it leads to another host.
fn resolved(reference: &str, hosts: &[&str], target: &str) -> Option<String> {
    let reference = reference.split('#').next().unwrap_or_default();
    // An absolute URI?
    let (scheme, rest) = match reference.find([':', '/', '?']) {
        Some(end) if reference[end..].starts_with(':') => (Some(&reference[..end]), &reference[end + 1..]),
        _ => (None, reference),
    };
    if !scheme.is_none_or(|scheme| ["http", "https"].iter().any(|known| scheme.eq_ignore_ascii_case(known))) {
        return None;
    }
    let (target_path, target_query) = split_query(target);

    if let Some(rest) = rest.strip_prefix("//") {
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, rest) = rest.split_at(end);
        // User information makes it another authority than any that is requested of us.
        if !hosts.iter().any(|host| same_host(authority, host)) {
            return None;
        }
        let (path, query) = split_query(rest);
        return Some(without_dot_segments(path) + query);
    }
    // An absolute URI of ours has an authority.
    if scheme.is_some() {
        return None;
    }
    let (path, query) = split_query(rest);
    if path.is_empty() {
        let query = if query.is_empty() { target_query } else { query };
        return Some(format!("{target_path}{query}"));
    }
    if path.starts_with('/') {
        return Some(without_dot_segments(path) + query);
    }
    let directory = target_path.rfind('/').map_or("/", |slash| &target_path[..=slash]);
    Some(without_dot_segments(&format!("{directory}{path}")) + query)
}

/// Path and query, the query with its question mark.
fn split_query(path_and_query: &str) -> (&str, &str) {
    path_and_query.split_at(path_and_query.find('?').unwrap_or(path_and_query.len()))
}

/// Up to the port that may be the default of the scheme.
fn same_host(one: &str, other: &str) -> bool {
    let normal = |host| uri::normalize_authority(host, "http").ok();
    normal(one)
        .zip(normal(other))
        .is_some_and(|(one, other)| uri::without_default_port(&one) == uri::without_default_port(&other))
}

/// RFC 3986 §5.2.4, for a path that begins with a slash or is empty.
fn without_dot_segments(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        match segment {
            "." | ".." => {
                if segment == ".." {
                    kept.pop();
                }
                // The directory itself is what is left.
                if is_last {
                    kept.push("");
                }
            }
            _ => kept.push(segment),
        }
    }
    format!("/{}", kept.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::semantics::samples::fields;
    use proptest::prelude::*;

    /// What a response to `POST http://example.com/a/b?q` with this `Location` invalidates besides its target.
    fn check(location: &str, expected: Option<&str>) {
        for name in ["location", "content-location"] {
            let response = fields(&[(name, location)]);
            let uris = invalidated(&Method::POST, &["example.com"], "/a/b?q", StatusCode::CREATED, &response);
            assert_eq!(uris[0], "/a/b?q");
            assert_eq!(uris.get(1).map(String::as_str), expected, "{location}");
        }
    }

    #[test]
    fn a_successful_unsafe_request_invalidates_its_target() {
        let check = |method: &str, status: u16, invalidates| {
            let (method, status) = (method.parse().unwrap(), StatusCode::from_u16(status).unwrap());
            let uris = invalidated(&method, &["example.com"], "/a", status, &HeaderMap::new());
            assert_eq!(uris, if invalidates { vec!["/a"] } else { vec![] }, "{method} {status}");
        };
        for method in ["POST", "PUT", "DELETE", "PATCH", "M-SEARCH", "FOO", "get"] {
            check(method, 200, true);
            check(method, 204, true);
            check(method, 303, true);
            check(method, 100, false);
            check(method, 404, false);
            check(method, 500, false);
        }
        for method in ["GET", "HEAD", "OPTIONS", "TRACE", "QUERY", "PROPFIND"] {
            check(method, 200, false);
        }
    }

    #[test]
    fn locations_of_the_same_origin_are_invalidated_too() {
        check("/c", Some("/c"));
        check("/c?d=e", Some("/c?d=e"));
        check("http://example.com/c", Some("/c"));
        check("https://EXAMPLE.com:443/c", Some("/c"));
        check("HTTP://example.com:80/c?d", Some("/c?d"));
        check("http://example.com:443/c", Some("/c"));
        check("http://example.com./c", Some("/c"));
        check("//example.com/c", Some("/c"));
        check("http://example.com", Some("/"));
        check("http://example.com?d", Some("/?d"));
    }

    #[test]
    fn locations_elsewhere_are_not() {
        for elsewhere in [
            "http://example.org/c",
            "http://example.com:8080/c",
            "http://example.com.evil/c",
            "http://user@example.com/c",
            "//example.org/c",
            "http:///c",
            "http:/c",
            "ftp://example.com/c",
            "mailto:a@example.com",
            "/c d",
        ] {
            check(elsewhere, None);
        }
    }

    #[test]
    fn the_port_belongs_to_the_origin() {
        let uris = |host, location| {
            invalidated(
                &Method::PUT,
                &[host, "10.0.0.1:8000"],
                "/",
                StatusCode::OK,
                &fields(&[("location", location)]),
            )
            .len()
                - 1
        };
        assert_eq!(uris("example.com:8080", "http://example.com:8080/c"), 1);
        assert_eq!(uris("example.com:8080", "http://example.com/c"), 0);
        assert_eq!(uris("example.com:80", "http://example.com/c"), 1);
        assert_eq!(uris("[::1]:80", "http://[0::1]/c"), 1);
        assert_eq!(uris("example.com", "http://example.com:8080/c"), 0);
        // The origin's own.
        assert_eq!(uris("example.com", "http://10.0.0.1:8000/c"), 1);
        assert_eq!(uris("example.com", "http://10.0.0.1/c"), 0);
    }

    #[test]
    fn relative_references_are_resolved_against_the_target() {
        check("c", Some("/a/c"));
        check("./c?d", Some("/a/c?d"));
        check("../c", Some("/c"));
        check("../../../c", Some("/c"));
        check("c/../d/.", Some("/a/d/"));
        check("/c/..", Some("/"));
        check("/c/../", Some("/"));
        check("//example.com/c/./d", Some("/c/d"));
        check("?d", Some("/a/b?d"));
        check("c:d", None);
        check("./c:d", Some("/a/c:d"));
        check("d/c:e", Some("/a/d/c:e"));
    }

    #[test]
    fn the_target_itself_is_named_once() {
        for same in ["", "#fragment", "b?q", "/a/b?q#fragment", "http://example.com/a/b?q", "?q"] {
            check(same, None);
        }
    }

    #[test]
    fn both_fields_and_all_their_lines_count() {
        let response =
            fields(&[("content-location", "/c"), ("location", "/d"), ("location", "/e"), ("location", "/c")]);
        let uris = invalidated(&Method::DELETE, &["example.com"], "/a", StatusCode::SEE_OTHER, &response);
        assert_eq!(uris, ["/a", "/d", "/e", "/c"]);
    }

    #[test]
    fn what_is_not_ascii_is_percent_encoded() {
        check("/caf\u{e9}", Some("/caf%C3%A9"));
    }

    proptest! {
        #[test]
        fn whatever_is_invalidated_is_a_path(location in "[a/.?#:@%é]{0,12}", target in "/[a/.]{0,6}") {
            let response = fields(&[("location", &location)]);
            for uri in invalidated(&Method::POST, &["a"], &target, StatusCode::OK, &response) {
                prop_assert!(uri.starts_with('/') && !uri.contains('#'), "{}", uri);
            }
        }
    }
}
