//! Validation: RFC 9111 §4.3.
//!
//! Makes the conditional request for one stored response and reads the answer to it. Who sends it, and what becomes
//! of an answer that is no 304, is decided elsewhere.

use super::{EntityTag, StoredResponse, dates, fields};
use http::header::{
    CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, ETAG, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH,
    IF_RANGE, IF_UNMODIFIED_SINCE, LAST_MODIFIED, RANGE, SET_COOKIE,
};
use http::{HeaderMap, HeaderName};

/// Adds If-None-Match / If-Modified-Since for `stored`, replacing the client's own conditions (§4.3.1).
/// `false`: it has no validator; fetch anew. The client's conditions and its `Range` are gone either way, so
/// that whatever comes is whole and can be stored.
pub fn make_conditional(stored: &StoredResponse, request: &mut HeaderMap) -> bool {
    strip_conditions(request);
    // "MUST send the relevant entity tags (using If-Match, If-None-Match, or If-Range) if the entity tags
    // were provided in the stored response(s) being validated."
    if let Some(tag) = stored.entity_tag() {
        request.insert(IF_NONE_MATCH, tag.as_value().clone());
    }
    // "SHOULD send the Last-Modified value (using If-Modified-Since) if the request is not for a subrange, a
    // single stored response is being validated, and that response contains a Last-Modified value." As it
    // came: some origins compare the text.
    if let (Some(_), Some(value)) = (stored.last_modified(), stored.headers.get(LAST_MODIFIED)) {
        request.insert(IF_MODIFIED_SINCE, value.clone());
    }
    stored.has_validator()
}

/// §3.2: the stored fields updated by those of a 304.
///
/// `not_modified` are its end-to-end fields, with `Date`. A `Set-Cookie` of the 304 is for the client whose request
/// was forwarded and never becomes part of the stored response; the caller passes it on. Whether and how
/// long the result may be kept has to be asked again ([`terms`](super::storing::terms)), and its `Vary`
/// may have changed.
pub fn freshened_fields(stored: &HeaderMap, not_modified: &HeaderMap) -> HeaderMap {
    // "the cache MUST add each header field in the provided response to the stored response, replacing
    // field values that are already present, with the following exceptions"
    let provided = fields::end_to_end(not_modified);
    let replaces =
        |name: &HeaderName| is_updated(name) && !(name == ETAG && only_strengthens(stored, &provided));
    let mut freshened = HeaderMap::with_capacity(stored.keys_len() + provided.keys_len());
    for (name, value) in stored {
        if !(provided.contains_key(name) && replaces(name)) {
            freshened.append(name.clone(), value.clone());
        }
    }
    for (name, value) in &provided {
        if replaces(name) {
            freshened.append(name.clone(), value.clone());
        }
    }
    freshened
}

/// Whether a 304 speaks of `stored` (§4.3.4), which alone was named in the request it answers. If not, it says
/// nothing about it: fetch anew.
pub fn confirms(stored: &StoredResponse, not_modified: &HeaderMap) -> bool {
    // "If the new response contains one or more strong validators, then each of those strong validators
    // identify the selected representation for update."
    //
    // Tags are compared weakly: origins that compress (and then weaken the tag of what they compressed) send the
    // strong one with a 304, which is the answer to our question all the same. Its strength is not
    // taken over (see `freshened_fields`).
    if let Some(tag) = EntityTag::of(not_modified) {
        return stored.entity_tag().is_some_and(|own| own.matches_weakly(&tag));
    }
    // "If the new response contains no strong validators but does contain one or more weak validators, and
    // those validators correspond to one of the cache's stored responses …"
    if not_modified.contains_key(LAST_MODIFIED) {
        let named = dates::field(not_modified, LAST_MODIFIED, stored.terms.received_at);
        return named.is_some() && named == stored.last_modified();
    }
    // "If the new response does not include any form of validator …": it was asked about this one only.
    true
}

/// Removes a client's preconditions before a fetch whose answer is to be stored whole.
pub fn strip_conditions(request: &mut HeaderMap) {
    for name in [IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_MATCH, IF_UNMODIFIED_SINCE, IF_RANGE, RANGE] {
        request.remove(name);
    }
}

/// "Header fields excepted from storage in Section 3.1", "Header fields that the cache's stored response depends upon",
/// "Header fields that are automatically processed and removed by the recipient", "The Content-Length header field"
/// (§3.2). The first kind is gone before this is asked.
fn is_updated(name: &HeaderName) -> bool {
    ![CONTENT_LENGTH, CONTENT_ENCODING, CONTENT_RANGE, SET_COOKIE].contains(name)
}

/// The 304's tag is the stored weak one made strong: the stored bytes may be another coding of what it names.
fn only_strengthens(stored: &HeaderMap, provided: &HeaderMap) -> bool {
    match (EntityTag::of(stored), EntityTag::of(provided)) {
        (Some(own), Some(new)) => own.is_weak() && !new.is_weak() && own.matches_weakly(&new),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::semantics::samples::{date, fields, stored};

    fn lines(headers: &HeaderMap) -> Vec<(&str, &str)> {
        headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect()
    }

    #[test]
    fn a_conditional_request_carries_both_validators_as_they_came() {
        let check = |validators: &[(&str, &str)], expected: &[(&str, &str)]| {
            let mut request = fields(&[
                ("host", "a"),
                ("if-none-match", "\"client\""),
                ("if-modified-since", "x"),
                ("if-range", "x"),
                ("range", "bytes=0-1"),
            ]);
            let conditional = make_conditional(&stored(validators), &mut request);
            assert_eq!(conditional, !expected.is_empty());
            assert_eq!(lines(&request)[1..], *expected, "{validators:?}");
        };
        let rfc850 = ("last-modified", "Sunday, 06-Nov-94 08:49:37 GMT");
        check(&[], &[]);
        check(&[("etag", "W/\"a\"")], &[("if-none-match", "W/\"a\"")]);
        check(&[rfc850], &[("if-modified-since", rfc850.1)]);
        check(&[("etag", "\"a\""), rfc850], &[("if-none-match", "\"a\""), ("if-modified-since", rfc850.1)]);
        check(&[("etag", "unquoted"), ("last-modified", "yesterday")], &[]);
    }

    #[test]
    fn a_stripped_request_has_no_conditions_left() {
        let mut request = fields(&[
            ("if-match", "*"),
            ("if-none-match", "\"a\""),
            ("if-none-match", "\"b\""),
            ("if-modified-since", "x"),
            ("if-unmodified-since", "x"),
            ("if-range", "x"),
            ("range", "bytes=0-1"),
            ("accept", "x"),
        ]);
        strip_conditions(&mut request);
        assert_eq!(lines(&request), [("accept", "x")]);
    }

    #[test]
    fn a_304_replaces_all_lines_of_a_field_and_adds_new_ones() {
        let freshened = freshened_fields(
            &fields(&[("a", "1"), ("b", "2"), ("a", "3"), ("cache-control", "max-age=1"), ("etag", "\"x\"")]),
            &fields(&[
                ("a", "4"),
                ("a", "5"),
                ("c", "6"),
                ("cache-control", "max-age=60"),
                ("etag", "\"x\""),
            ]),
        );
        assert_eq!(
            lines(&freshened),
            [
                ("b", "2"),
                ("a", "4"),
                ("a", "5"),
                ("c", "6"),
                ("cache-control", "max-age=60"),
                ("etag", "\"x\"")
            ]
        );
    }

    #[test]
    fn a_304_leaves_alone_what_belongs_to_the_stored_bytes_or_to_one_client() {
        for name in ["content-length", "content-encoding", "content-range", "set-cookie"] {
            let own = [(name, "own")];
            assert_eq!(lines(&freshened_fields(&fields(&own), &fields(&[(name, "new")]))), own);
            assert_eq!(lines(&freshened_fields(&fields(&[]), &fields(&[(name, "new")]))), []);
        }
        for name in ["connection", "keep-alive", "transfer-encoding", "proxy-authenticate"] {
            assert_eq!(lines(&freshened_fields(&fields(&[]), &fields(&[(name, "new")]))), []);
        }
        for name in ["content-type", "content-location", "content-foo", "expires", "date", "age", "vary"] {
            let freshened = freshened_fields(&fields(&[(name, "own")]), &fields(&[(name, "new")]));
            assert_eq!(lines(&freshened), [(name, "new")]);
        }
    }

    #[test]
    fn a_304_never_makes_a_weak_tag_strong() {
        let check = |own: &str, new: &str, expected: &str| {
            let freshened = freshened_fields(&fields(&[("etag", own)]), &fields(&[("etag", new)]));
            assert_eq!(lines(&freshened), [("etag", expected)]);
        };
        check("W/\"a\"", "\"a\"", "W/\"a\"");
        check("\"a\"", "W/\"a\"", "W/\"a\"");
        check("\"a\"", "\"b\"", "\"b\"");
    }

    #[test]
    fn a_304_confirms_what_its_validators_name() {
        let check = |own: &[(&str, &str)], not_modified: &[(&str, &str)], confirmed| {
            assert_eq!(confirms(&stored(own), &fields(not_modified)), confirmed, "{own:?} {not_modified:?}");
        };
        let (tag, early, late) = (("etag", "\"a\""), date(5), date(9));
        let (early, late) = (("last-modified", &*early), ("last-modified", &*late));
        check(&[tag], &[tag], true);
        check(&[tag, early], &[], true);
        check(&[tag], &[("etag", "W/\"a\"")], true);
        check(&[("etag", "W/\"a\"")], &[tag], true);
        check(&[tag], &[("etag", "\"b\"")], false);
        check(&[early], &[tag, early], false);
        check(&[tag, early], &[tag, late], true);
        check(&[early], &[early], true);
        check(&[early], &[late], false);
        check(&[tag, early], &[late], false);
        check(&[tag], &[late], false);
        check(&[early], &[("last-modified", "Thursday, 01-Jan-70 00:00:05 GMT")], true);
    }
}
