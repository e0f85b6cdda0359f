//! What the response to a POST says of its target: RFC 9110 §8.7, §9.3.3.
//!
//! That it must state its freshness is said where responses are stored ([`storing`](super::storing)).

use super::invalidation::resolved_field;
use crate::uri;
use http::header::CONTENT_LOCATION;
use http::{HeaderMap, StatusCode};

/// Whether its content is what a GET of the target would get: "a Content-Location header field that has the same
/// value as the POST's target URI" (§9.3.3).
///
/// `host` is the request's, with its port if it has one; `path_and_query` its normalised target. As to the scheme see
/// [`invalidated`](super::invalidation::invalidated). Other codes than 200 tell of the request as well.
pub fn represents_target(status: StatusCode, response: &HeaderMap, host: &str, path_and_query: &str) -> bool {
    let mut lines = response.get_all(CONTENT_LOCATION).iter();
    let (Some(line), None) = (lines.next(), lines.next()) else { return false };
    let Some(named) = resolved_field(line.as_bytes(), &[host], path_and_query) else { return false };
    let (path, query) = named.split_at(named.find('?').unwrap_or(named.len()));
    let (normalized, query) = (uri::normalize_path(path), uri::normalize_query(query));
    let is_target =
        normalized.is_ok_and(|path| path_and_query.strip_prefix(&*path).is_some_and(|rest| *rest == *query));
    status == StatusCode::OK && is_target
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::semantics::samples::fields;

    fn check(content_location: &[&str], expected: bool) {
        let lines: Vec<_> = content_location.iter().map(|line| ("content-location", *line)).collect();
        let represents = represents_target(StatusCode::OK, &fields(&lines), "example.com", "/a/b?q");
        assert_eq!(represents, expected, "{content_location:?}");
    }

    #[test]
    fn the_content_is_the_targets_if_content_location_names_the_target() {
        for same in [
            "/a/b?%71",
            "/a/b?q",
            "b?q",
            "./b?q",
            "?q",
            "",
            "http://example.com/a/b?q",
            "//example.com/a/./b?q",
            "/a/%62?q",
        ] {
            check(&[same], true);
        }
        for other in ["/a/b", "/a/b?p", "/a/b?q&r", "/a/b/?q", "/a", "http://example.org/a/b?q"] {
            check(&[other], false);
        }
    }

    #[test]
    fn without_one_clear_word_it_is_not() {
        check(&[], false);
        check(&["/a/b?q", "/a/b?q"], false);
        check(&["/a/b?q, /a/b?q"], false);
    }

    #[test]
    fn only_a_200_is_what_a_get_would_get() {
        let response = fields(&[("content-location", "/a")]);
        for (status, expected) in [(200, true), (201, false), (202, false), (303, false), (404, false)] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(represents_target(status, &response, "example.com", "/a"), expected, "{status}");
        }
    }
}
