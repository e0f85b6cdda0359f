//! Validation: RFC 9111 §4.3.
//!
//! Makes the conditional request for stored responses and reads the answer to it. Who sends it, and what becomes of an
//! answer that is neither a 304 nor to a HEAD, is decided elsewhere.

use super::{EntityTag, SetCookie, StoredResponse, dates, fields};
use http::header::{
    ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, ETAG, IF_MATCH, IF_MODIFIED_SINCE,
    IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, LAST_MODIFIED, RANGE, SET_COOKIE,
};
use http::{HeaderMap, HeaderName, HeaderValue};

/// Adds If-None-Match / If-Modified-Since for the stored responses that may hold, replacing the client's own conditions
/// (§4.3.1). `false`: there is no validator; fetch anew. The client's conditions and its `Range` are gone either way,
/// so that whatever comes is whole and can be stored.
pub fn make_conditional<'s>(
    stored: impl Iterator<Item = &'s StoredResponse> + Clone,
    request: &mut HeaderMap,
) -> bool {
    strip_conditions(request);
    // "MUST send the relevant entity tags (using If-Match, If-None-Match, or If-Range) if the entity tags
    // were provided in the stored response(s) being validated."
    let tags = stored.clone().filter_map(|stored| stored.entity_tag());
    for tag in tags {
        request.append(IF_NONE_MATCH, tag.as_value().clone());
    }
    // "SHOULD send the Last-Modified value (using If-Modified-Since) if the request is not for a subrange, a
    // single stored response is being validated, and that response contains a Last-Modified value." As it
    // came: some origins compare the text.
    let mut all = stored;
    if let (Some(single), None) = (all.next(), all.next())
        && let (Some(_), Some(value)) = (single.last_modified(), single.lines.get(&LAST_MODIFIED))
        && let Ok(value) = HeaderValue::from_bytes(value)
    {
        request.insert(IF_MODIFIED_SINCE, value);
    }
    request.contains_key(IF_NONE_MATCH) || request.contains_key(IF_MODIFIED_SINCE)
}

/// Whether a response that the request does not select may be named to the origin all the same, which may confirm it
/// for this request, too ("validators of stored responses with the same cache key", §4.3.1). Only with a strong tag;
/// and never for another `Accept-Encoding`: too many origins give the same tag to all codings of a representation.
pub fn may_be_confirmed_for(stored: &StoredResponse, request: &HeaderMap) -> bool {
    stored.entity_tag().is_some_and(|tag| !tag.is_weak())
        && stored.selecting.agrees_in(request, &ACCEPT_ENCODING)
}

/// §3.2: the stored fields updated by those of a 304.
///
/// `not_modified` are its end-to-end fields, with `Date`. Unless the policy stores cookies, a `Set-Cookie` of the 304 is for
/// the client whose request was forwarded and does not become part of the stored response; the caller passes it on. Whether and how
/// long the result may be kept has to be asked again ([`terms`](super::storing::terms)), and its `Vary`
/// may have changed.
pub fn freshened_fields(stored: &HeaderMap, not_modified: &HeaderMap, set_cookie: SetCookie) -> HeaderMap {
    // "the cache MUST add each header field in the provided response to the stored response, replacing
    // field values that are already present, with the following exceptions"
    let provided = fields::end_to_end(not_modified.clone());
    let replaces = |name: &HeaderName| {
        is_updated(name)
            && (name != SET_COOKIE || set_cookie == SetCookie::Store)
            && !(name == ETAG && only_strengthens(stored, &provided))
    };
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

/// Which of the responses named in the request a 304 speaks of (§4.3.4); `None`: of none that is stored, fetch anew.
pub fn confirmed<'s>(
    mut stored: impl DoubleEndedIterator<Item = &'s StoredResponse> + ExactSizeIterator,
    not_modified: &HeaderMap,
) -> Option<usize> {
    if stored.len() == 1 {
        return stored.next().filter(|single| confirms(single, not_modified)).map(|_| 0);
    }
    // Without a tag nobody knows which of them was meant.
    let tag = EntityTag::of(not_modified)?;
    stored.rposition(|stored| stored.entity_tag().is_some_and(|own| own.matches_weakly(&tag)))
}

/// Whether a 304 updates this stored response, too, though the request it answers selects another: "each of those strong
/// validators identifies a selected representation for update" (§4.3.4).
pub fn identifies(not_modified: &HeaderMap, stored: &StoredResponse) -> bool {
    let tag = EntityTag::of(not_modified).filter(|tag| !tag.is_weak());
    tag.is_some() && tag == stored.entity_tag()
}

/// What the 200 that answers a HEAD says of a stored response to GET that the request selects (§4.3.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadSays {
    /// It is still the same: its fields are updated by the answer's.
    Same,
    /// It is another by now: not to be used any more.
    Changed,
    /// Nothing.
    Nothing,
}

/// "If the stored response and HEAD response have matching values for any received validator fields (ETag and
/// Last-Modified) and, if the HEAD response has a Content-Length header field, the value of Content-Length matches that of
/// the stored response, the cache SHOULD update the stored response …; otherwise, the cache SHOULD consider the stored
/// response to be stale" (§4.3.5). Where neither has a validator we do not take the silence for a confirmation.
pub fn head_says(stored: &StoredResponse, head: &HeaderMap) -> HeadSays {
    let differs = |name: &HeaderName| {
        head.get(name).is_some_and(|value| Some(value.as_bytes()) != stored.lines.get(name))
    };
    if [ETAG, LAST_MODIFIED, CONTENT_LENGTH].iter().any(differs) {
        return HeadSays::Changed;
    }
    let named = head.contains_key(ETAG) || head.contains_key(LAST_MODIFIED);
    if named && stored.has_validator() { HeadSays::Same } else { HeadSays::Nothing }
}

/// Whether a 304 speaks of `stored` (§4.3.4), which alone was named in the request it answers. If not, it says
/// nothing about it: fetch anew.
fn confirms(stored: &StoredResponse, not_modified: &HeaderMap) -> bool {
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
    ![CONTENT_LENGTH, CONTENT_ENCODING, CONTENT_RANGE].contains(name)
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

    fn freshened_fields(stored: &HeaderMap, not_modified: &HeaderMap) -> HeaderMap {
        super::freshened_fields(stored, not_modified, SetCookie::Strip)
    }

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
            let conditional = make_conditional([&stored(validators)].into_iter(), &mut request);
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
    fn several_are_asked_after_by_their_tags_alone() {
        let modified = ("last-modified", &*date(5));
        let several =
            [stored(&[("etag", "\"a\""), modified]), stored(&[modified]), stored(&[("etag", "\"b\"")])];
        let mut request = fields(&[("if-none-match", "\"client\"")]);
        assert!(make_conditional(several.iter(), &mut request));
        assert_eq!(lines(&request), [("if-none-match", "\"a\""), ("if-none-match", "\"b\"")]);
        assert!(!make_conditional([].into_iter(), &mut request));
    }

    #[test]
    fn the_304_says_by_its_tag_which_of_several_it_confirms() {
        let several = [stored(&[("etag", "\"a\"")]), stored(&[("etag", "\"b\"")])];
        let check = |not_modified: &[(&str, &str)], expected| {
            assert_eq!(confirmed(several.iter(), &fields(not_modified)), expected, "{not_modified:?}");
        };
        check(&[("etag", "\"a\"")], Some(0));
        check(&[("etag", "\"b\"")], Some(1));
        check(&[("etag", "\"c\"")], None);
        check(&[], None);
        assert_eq!(confirmed(several[..1].iter(), &fields(&[])), Some(0));
        assert_eq!(confirmed(several[..0].iter(), &fields(&[])), None);
    }

    #[test]
    fn a_304_updates_all_that_have_its_strong_tag() {
        let check = |own: &str, named: &str, expected| {
            assert_eq!(identifies(&fields(&[("etag", named)]), &stored(&[("etag", own)])), expected);
        };
        check("\"a\"", "\"a\"", true);
        check("\"a\"", "\"b\"", false);
        check("W/\"a\"", "\"a\"", false);
        check("\"a\"", "W/\"a\"", false);
        check("W/\"a\"", "W/\"a\"", false);
        assert!(!identifies(&fields(&[]), &stored(&[])));
    }

    #[test]
    fn only_strong_tags_of_the_same_coding_are_named_for_others() {
        let check = |etag: &str, vary: &str, expected| {
            let asked =
                |language, coding| fields(&[("accept-language", language), ("accept-encoding", coding)]);
            let mut stored = stored(&[("etag", etag)]);
            stored.selecting = crate::semantics::vary::Selecting::of(
                &fields(&[("vary", vary)]),
                &asked("en", "gzip"),
                false,
            )
            .unwrap();
            assert_eq!(may_be_confirmed_for(&stored, &asked("fr", "br")), expected, "{etag} {vary}");
            assert_eq!(may_be_confirmed_for(&stored, &asked("fr", "gzip")), etag.starts_with('"'));
        };
        check("\"a\"", "accept-language", true);
        check("W/\"a\"", "accept-language", false);
        check("\"a\"", "accept-language, accept-encoding", false);
    }

    #[test]
    fn a_head_updates_what_is_the_same_and_ends_what_is_another() {
        use HeadSays::{Changed, Nothing, Same};
        let check = |own: &[(&str, &str)], head: &[(&str, &str)], expected| {
            assert_eq!(head_says(&stored(own), &fields(head)), expected, "{own:?} {head:?}");
        };
        let (tag, length) = (("etag", "\"a\""), ("content-length", "5"));
        check(&[tag, length], &[tag, length], Same);
        check(&[tag, length], &[tag], Same);
        check(&[tag, length], &[tag, ("content-length", "6")], Changed);
        check(&[tag, length], &[("etag", "\"b\""), length], Changed);
        check(&[length], &[tag, length], Changed);
        check(&[tag, length], &[length], Nothing);
        check(&[length], &[length], Nothing);
        check(&[("last-modified", "x")], &[("last-modified", "x")], Nothing);
        check(&[("last-modified", &date(5))], &[("last-modified", &date(5))], Same);
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
    fn a_304_updates_cookies_where_they_are_stored() {
        let (own, new) = (fields(&[("set-cookie", "own")]), fields(&[("set-cookie", "new")]));
        assert_eq!(lines(&super::freshened_fields(&own, &new, SetCookie::Store)), [("set-cookie", "new")]);
        assert_eq!(lines(&super::freshened_fields(&own, &new, SetCookie::Refuse)), [("set-cookie", "own")]);
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
