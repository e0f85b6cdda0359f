//! A client's preconditions, evaluated against a stored response: RFC 9110 §13, RFC 9111 §4.3.2.
//!
//! For GET and HEAD, and for a stored response that may be served: whether it may is decided before this.

use super::{StoredResponse, dates, fields};
use http::header::{
    CACHE_CONTROL, CONTENT_LOCATION, DATE, ETAG, EXPIRES, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH,
    IF_UNMODIFIED_SINCE, LAST_MODIFIED, VARY,
};
use http::{HeaderMap, StatusCode};

/// What the client gets of a stored response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Send the whole response.
    Send,
    /// 304.
    NotModified,
}

/// Evaluates the preconditions a cache evaluates, in the order of RFC 9110 §13.2.2.
pub fn evaluate(stored: &StoredResponse, request: &HeaderMap) -> Verdict {
    // Of any other status code the client asked for no validation.
    if !matches!(stored.status, StatusCode::OK | StatusCode::PARTIAL_CONTENT) {
        return Verdict::Send;
    }
    // "When If-None-Match is present, evaluate the If-None-Match precondition: if true, continue to step 5;
    // if false for GET/HEAD, respond 304 (Not Modified)"
    let mut lists = request.get_all(IF_NONE_MATCH).iter().map(|line| line.as_bytes().trim_ascii()).peekable();
    if lists.peek().is_some() {
        // "If the field value is "*", the condition is false if the origin server has a current
        // representation for the target resource." (§13.1.2)
        let named =
            |list: &[u8]| list == b"*" || stored.entity_tag().is_some_and(|tag| tag.is_named_weakly_in(list));
        return if lists.any(named) { Verdict::NotModified } else { Verdict::Send };
    }
    // "When the method is GET or HEAD, If-None-Match is not present, and If-Modified-Since is present, evaluate
    // the If-Modified-Since precondition: if true, continue to step 5; if false, respond 304 (Not Modified)"
    let mut dates = request.get_all(IF_MODIFIED_SINCE).iter();
    // "MUST ignore the If-Modified-Since header field if the received field value is not a valid HTTP-date, the
    // field value has more than one member" (§13.1.3)
    let (Some(date), None) = (dates.next(), dates.next()) else { return Verdict::Send };
    let Some(since) = dates::parse(date.as_bytes(), stored.terms.received_at) else { return Verdict::Send };
    // "If the selected representation's last modification date is earlier or equal to the date provided in the
    // field value, the condition is false."
    match stored.modified_for_conditions() {
        Some(modified) if modified <= since => Verdict::NotModified,
        _ => Verdict::Send,
    }
}

/// Whether the request has preconditions that only the origin can evaluate (§13.1.1, §13.1.4): it is forwarded
/// with them, past the cache.
pub fn forwards(request: &HeaderMap) -> bool {
    request.contains_key(IF_MATCH) || request.contains_key(IF_UNMODIFIED_SINCE)
}

/// The fields a 304 made from the store carries (RFC 9110 §15.4.5), in their order.
pub fn not_modified_fields(stored: &HeaderMap) -> HeaderMap {
    // "MUST generate any of the following header fields that would have been sent in a 200 (OK) response to
    // the same request"
    const SENT: [http::HeaderName; 6] = [CONTENT_LOCATION, DATE, ETAG, VARY, CACHE_CONTROL, EXPIRES];
    // "Last-Modified might be useful if the response does not have an ETag field"
    let with_last_modified = !stored.contains_key(ETAG);
    fields::only(stored, |name| SENT.contains(name) || (with_last_modified && name == LAST_MODIFIED))
}

#[cfg(test)]
mod tests {
    use super::Verdict::{NotModified, Send};
    use super::*;
    use crate::semantics::samples::{date, fields, stored};

    fn check(response: &[(&str, &str)], request: &[(&str, &str)], expected: Verdict) {
        assert_eq!(evaluate(&stored(response), &fields(request)), expected, "{response:?} {request:?}");
    }

    const TAGGED: &[(&str, &str)] = &[("etag", "\"a\"")];

    #[test]
    fn without_preconditions_the_response_is_sent() {
        check(TAGGED, &[], Send);
        check(TAGGED, &[("if-range", "\"a\""), ("if-match", "\"a\"")], Send);
    }

    #[test]
    fn if_none_match_compares_weakly() {
        check(TAGGED, &[("if-none-match", "\"a\"")], NotModified);
        check(TAGGED, &[("if-none-match", "W/\"a\"")], NotModified);
        check(&[("etag", "W/\"a\"")], &[("if-none-match", "\"a\"")], NotModified);
        check(TAGGED, &[("if-none-match", "\"b\"")], Send);
        check(TAGGED, &[("if-none-match", "\"b\", \"a\", \"c\"")], NotModified);
        check(TAGGED, &[("if-none-match", "\"b\""), ("if-none-match", "\"a\"")], NotModified);
        check(TAGGED, &[("if-none-match", "a")], Send);
        check(&[], &[("if-none-match", "\"a\"")], Send);
        check(&[("etag", "a")], &[("if-none-match", "a")], Send);
    }

    #[test]
    fn a_star_matches_whatever_is_stored() {
        check(TAGGED, &[("if-none-match", "*")], NotModified);
        check(&[], &[("if-none-match", " * ")], NotModified);
        check(TAGGED, &[("if-none-match", "*, \"b\"")], Send);
    }

    #[test]
    fn if_none_match_takes_precedence() {
        let (response, date) = ([("etag", "\"a\""), ("last-modified", &*date(100))], date(100));
        check(&response, &[("if-none-match", "\"b\""), ("if-modified-since", &date)], Send);
        check(&response, &[("if-none-match", ""), ("if-modified-since", &date)], Send);
        check(&response, &[("if-none-match", "\"a\""), ("if-modified-since", "junk")], NotModified);
    }

    #[test]
    fn if_modified_since_compares_with_last_modified() {
        let date_100 = date(100);
        let response = [("last-modified", &*date_100), ("date", "ignored")];
        check(&response, &[("if-modified-since", &date(100))], NotModified);
        check(&response, &[("if-modified-since", &date(101))], NotModified);
        check(&response, &[("if-modified-since", &date(99))], Send);
        check(&response, &[("if-modified-since", "Thursday, 01-Jan-70 00:01:40 GMT")], NotModified);
        check(&response, &[("if-modified-since", "Thu Jan  1 00:01:40 1970")], NotModified);
        check(&response, &[("if-modified-since", "junk")], Send);
        check(&response, &[("if-modified-since", &date(100)), ("if-modified-since", &date(100))], Send);
    }

    #[test]
    fn without_last_modified_the_date_counts() {
        check(&[("date", &date(100))], &[("if-modified-since", &date(100))], NotModified);
        check(&[("date", &date(100))], &[("if-modified-since", &date(99))], Send);
        check(&[("date", &date(1)), ("last-modified", "junk")], &[("if-modified-since", &date(100))], Send);
        // received at 1000
        check(&[], &[("if-modified-since", &date(999))], Send);
        check(&[], &[("if-modified-since", &date(1000))], NotModified);
    }

    #[test]
    fn only_a_200_can_be_not_modified() {
        for status in [StatusCode::NOT_FOUND, StatusCode::MOVED_PERMANENTLY, StatusCode::NO_CONTENT] {
            let mut response = stored(TAGGED);
            response.status = status;
            assert_eq!(evaluate(&response, &fields(&[("if-none-match", "\"a\"")])), Send);
        }
    }

    #[test]
    fn preconditions_of_the_origin_are_forwarded() {
        assert!(forwards(&fields(&[("if-match", "*")])));
        assert!(forwards(&fields(&[("if-unmodified-since", "junk")])));
        assert!(!forwards(&fields(&[("if-none-match", "*"), ("if-modified-since", "x"), ("if-range", "x")])));
    }

    #[test]
    fn a_304_carries_what_updates_the_clients_copy() {
        let check = |stored: &[(&str, &str)], kept: &[&str]| {
            let names = not_modified_fields(&fields(stored));
            assert_eq!(names.keys().map(http::HeaderName::as_str).collect::<Vec<_>>(), kept);
        };
        let all = [
            ("etag", "1"),
            ("content-type", "2"),
            ("date", "3"),
            ("content-length", "4"),
            ("cache-control", "5"),
            ("expires", "6"),
            ("last-modified", "7"),
            ("vary", "8"),
            ("content-location", "9"),
            ("set-cookie", "10"),
        ];
        check(&all, &["etag", "date", "cache-control", "expires", "vary", "content-location"]);
        check(&all[1..], &["date", "cache-control", "expires", "last-modified", "vary", "content-location"]);
    }
}
