//! Which fields travel on: RFC 9110 §7.6.1, RFC 9111 §3.1.
//!
//! Knows nothing of which side a message came from; the fields a proxy writes itself (`Via`, `Forwarded`, …) are
//! written after this.

use http::header::{
    CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, EXPECT, HeaderName, IF_MATCH, IF_MODIFIED_SINCE,
    IF_NONE_MATCH, IF_UNMODIFIED_SINCE, PRAGMA, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, RANGE, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderValue};
use smallvec::SmallVec;

/// The end-to-end fields: without `Connection` and all that it names, and without the known hop-by-hop fields.
///
/// Ask this of a request *before* anything is decided from its fields: what a client names in `Connection` must
/// be gone from the cache key and from what `Vary` selects as surely as from what is forwarded, or a stored
/// response would stand for a request it was not made for.
///
/// Fields that are end-to-end by definition stay even when they are named: "A sender MUST NOT send a
/// connection option corresponding to a field that is intended for all recipients of the content."
pub fn end_to_end(headers: HeaderMap) -> HeaderMap {
    let nominated = nominated(&headers);
    without_where(headers, |name| is_hop_by_hop(name) || nominated.contains(name))
}

/// Whether the only transfer coding is `chunked`, so that the content as it was read is the content as it was
/// meant. Ask it of the fields as received, before [`end_to_end`].
pub fn transfer_is_understood(headers: &HeaderMap) -> bool {
    let mut lines = headers.get_all(TRANSFER_ENCODING).iter();
    match (lines.next(), lines.next()) {
        (None, _) => true,
        (Some(line), None) => line.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked"),
        (Some(_), Some(_)) => false,
    }
}

/// Whether a request has none of the fields that say how it is framed, what it waits for, where it has been, under which
/// conditions and which part it wants, and what is to be done with what is stored. Hardly any request has one, and one look at
/// its names spares a look for each.
pub fn is_plain(request: &HeaderMap) -> bool {
    static OTHERS: [HeaderName; 13] = [
        CACHE_CONTROL,
        CONTENT_LENGTH,
        EXPECT,
        IF_MATCH,
        IF_MODIFIED_SINCE,
        IF_NONE_MATCH,
        IF_UNMODIFIED_SINCE,
        PRAGMA,
        RANGE,
        TE,
        TRAILER,
        TRANSFER_ENCODING,
        CDN_LOOP,
    ];
    !request.keys().any(|name| OTHERS.contains(name))
}

/// RFC 8586.
pub const CDN_LOOP: HeaderName = HeaderName::from_static("cdn-loop");

/// Whether the client takes trailer fields (RFC 9110 §10.1.4). Ask it of the fields as received.
pub fn takes_trailers(headers: &HeaderMap) -> bool {
    let members = headers.get_all(TE).iter().flat_map(|line| line.as_bytes().split(|&byte| byte == b','));
    members.map(<[u8]>::trim_ascii).any(|member| member.eq_ignore_ascii_case(b"trailers"))
}

/// The trailer fields that travel on, and that are stored: those whose names say nothing on which framing, routing,
/// authentication, caching or the reading of the content rests, for that was done before they came (RFC 9110 §6.5.1).
pub fn trailer_fields(received: HeaderMap) -> HeaderMap {
    const NEVER: [&str; 24] = [
        "age",
        "authorization",
        "cache-control",
        "content-encoding",
        "content-length",
        "content-location",
        "content-range",
        "content-type",
        "cookie",
        "date",
        "expect",
        "expires",
        "forwarded",
        "host",
        "location",
        "max-forwards",
        "pragma",
        "range",
        "retry-after",
        "set-cookie",
        "trailer",
        "vary",
        "via",
        "www-authenticate",
    ];
    without_where(end_to_end(received), |name| {
        NEVER.contains(&name.as_str()) || name.as_str().starts_with("if-")
    })
}

/// Whether the client expects nothing but `100-continue`, said in the one way that every server reads.
///
/// "A server that receives an Expect field value containing a member other than 100-continue MAY respond with a 417
/// (Expectation Failed) status code" (RFC 9110 §10.1.1): whoever reads another expectation otherwise than the origin
/// does, disagrees with it on where the next request begins.
pub fn expectation_is_understood(headers: &HeaderMap) -> bool {
    headers.get_all(EXPECT).iter().all(|line| line.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}

/// `headers` without the fields `named`.
pub(super) fn without(headers: HeaderMap, named: &[HeaderName]) -> HeaderMap {
    without_where(headers, |name| named.contains(name))
}

/// `headers` without the fields whose names are `unwanted`. Lines of one name stay in their order; that of different names
/// "is not significant" (RFC 9110 §5.3), and to keep it would mean to copy them all.
pub fn without_where(mut headers: HeaderMap, unwanted: impl Fn(&HeaderName) -> bool) -> HeaderMap {
    let gone: SmallVec<[HeaderName; 4]> = headers.keys().filter(|name| unwanted(name)).cloned().collect();
    for name in gone {
        headers.remove(name);
    }
    headers
}

/// The fields whose names are `kept`, in their order.
pub(super) fn only(headers: &HeaderMap, kept: impl Fn(&HeaderName) -> bool) -> HeaderMap {
    let mut result = HeaderMap::with_capacity(headers.keys_len());
    for (name, value) in headers {
        if kept(name) {
            result.append(name.clone(), value.clone());
        }
    }
    result
}

/// The fields in `headers` that its `Connection` names and that may be taken away.
fn nominated(headers: &HeaderMap) -> Vec<HeaderName> {
    let options = headers.get_all(CONNECTION).iter().map(HeaderValue::as_bytes);
    options
        .flat_map(|line| line.split(|&byte| byte == b','))
        .filter_map(|option| HeaderName::from_bytes(option.trim_ascii()).ok())
        .filter(|name| headers.contains_key(name) && !is_for_all_recipients(name))
        .collect()
}

fn is_hop_by_hop(name: &HeaderName) -> bool {
    [CONNECTION, TE, TRANSFER_ENCODING, UPGRADE, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION].contains(name)
        || ["keep-alive", "proxy-connection", "proxy-authentication-info"].contains(&name.as_str())
}

/// What routing, framing, keys, `Vary` and the rules of RFC 9111 rest on: to take it away would change what the
/// message means, or hide from us that it is not to be shared.
fn is_for_all_recipients(name: &HeaderName) -> bool {
    const PREFIXES: [&str; 5] = ["accept", "cache-", "content-", "if-", "x-forwarded-"];
    const NAMES: [&str; 28] = [
        "age",
        "authorization",
        "cookie",
        "date",
        // "An intermediary MUST NOT remove this header field if it is present in a request." (RFC 8470 §5.1)
        "early-data",
        "edge-cache-tag",
        "etag",
        "expect",
        "expires",
        "forwarded",
        "host",
        "last-modified",
        "location",
        "origin",
        "pragma",
        "range",
        "referer",
        "set-cookie",
        "surrogate-control",
        "surrogate-key",
        "user-agent",
        "vary",
        "via",
        "www-authenticate",
        "x-cache-tags",
        "x-magento-tags",
        "x-real-ip",
        "xkey",
    ];
    let name = name.as_str();
    // Targeted fields have such names (RFC 9213 §3).
    let is_targeted = name.ends_with("-cache-control");
    is_targeted || NAMES.contains(&name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::semantics::samples::fields;

    fn check(received: &[(&str, &str)], kept: &[(&str, &str)]) {
        let result = end_to_end(fields(received));
        let mut result: Vec<_> =
            result.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        // By names only: lines of one name are in their order.
        result.sort_by_key(|&(name, _)| name);
        assert_eq!(result, kept);
    }

    #[test]
    fn hop_by_hop_fields_end_here() {
        for name in [
            "connection",
            "keep-alive",
            "proxy-connection",
            "proxy-authenticate",
            "proxy-authentication-info",
            "proxy-authorization",
            "te",
            "transfer-encoding",
            "upgrade",
        ] {
            check(&[("a", "1"), (name, "x"), ("b", "2")], &[("a", "1"), ("b", "2")]);
        }
    }

    #[test]
    fn what_connection_names_goes_with_it() {
        check(
            &[("connection", "close, A"), ("a", "1"), ("b", "2"), ("connection", " c\t, @, d"), ("c", "3")],
            &[("b", "2")],
        );
    }

    #[test]
    fn what_is_meant_for_everyone_cannot_be_named_away() {
        for name in [
            "host",
            "authorization",
            "cookie",
            "content-length",
            "cache-control",
            "accept-language",
            "set-cookie",
            "vary",
            "x-forwarded-for",
            "if-none-match",
            "surrogate-control",
            "cache-tag",
            "xkey",
            "range",
        ] {
            check(&[("connection", name), (name, "1")], &[(name, "1")]);
        }
    }

    #[test]
    fn repeated_lines_are_kept_in_their_order() {
        check(
            &[("z", "1"), ("x", "2"), ("upgrade", "h2c"), ("y", "3"), ("x", "1"), ("a", "5"), ("x", "3")],
            &[("a", "5"), ("x", "2"), ("x", "1"), ("x", "3"), ("y", "3"), ("z", "1")],
        );
    }

    #[test]
    fn trailers_are_taken_by_who_says_so() {
        let check =
            |lines: &[(&str, &str)], takes| assert_eq!(takes_trailers(&fields(lines)), takes, "{lines:?}");
        check(&[], false);
        check(&[("te", "gzip;q=0.5")], false);
        check(&[("te", "gzip , Trailers")], true);
        check(&[("te", "gzip"), ("te", "trailers")], true);
    }

    #[test]
    fn a_trailer_decides_nothing_that_was_decided_before_it_came() {
        let received = [
            ("content-digest", "sha-256=:x:"),
            ("content-length", "5"),
            ("cache-control", "max-age=60"),
            ("set-cookie", "a=b"),
            ("connection", "x-hop"),
            ("x-hop", "1"),
            ("if-match", "\"a\""),
            ("transfer-encoding", "chunked"),
            ("server-timing", "db;dur=5"),
        ];
        let kept = trailer_fields(fields(&received));
        let mut kept: Vec<_> = kept.keys().map(HeaderName::as_str).collect();
        kept.sort_unstable();
        assert_eq!(kept, ["content-digest", "server-timing"]);
    }

    #[test]
    fn only_one_expectation_is_understood_and_in_one_way() {
        let check = |lines: &[&str], understood| {
            let lines: Vec<_> = lines.iter().map(|line| ("expect", *line)).collect();
            assert_eq!(expectation_is_understood(&fields(&lines)), understood, "{lines:?}");
        };
        check(&[], true);
        check(&["100-Continue"], true);
        check(&["100-continue", "100-continue"], true);
        for other in
            ["", "x", "y 100-continue", "100-continue, x", "100-continue, 100-continue", "100-continue;a=b"]
        {
            check(&[other], false);
            check(&[other, "100-continue"], false);
        }
    }

    #[test]
    fn only_plain_chunked_is_understood() {
        let check = |lines: &[(&str, &str)], understood| {
            assert_eq!(transfer_is_understood(&fields(lines)), understood, "{lines:?}");
        };
        check(&[], true);
        check(&[("transfer-encoding", "Chunked ")], true);
        check(&[("transfer-encoding", "gzip, chunked")], false);
        check(&[("transfer-encoding", "gzip")], false);
        check(&[("transfer-encoding", "")], false);
        check(&[("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")], false);
    }
}
