//! Entity tags and how they compare: RFC 9110 §8.8.3.
//!
//! Knows nothing of the fields that carry them; an opaque tag is bytes and is never interpreted.

use http::header::ETAG;
use http::{HeaderMap, HeaderValue};

/// A valid entity tag as it was received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntityTag(HeaderValue);

impl EntityTag {
    /// The response's `ETag`; `None` if it has none, several, or one that is not valid.
    pub fn of(response: &HeaderMap) -> Option<Self> {
        let mut lines = response.get_all(ETAG).iter();
        let (value, None) = (lines.next()?, lines.next()) else { return None };
        split_first(value.as_bytes())?.1.is_empty().then(|| Self(value.clone()))
    }

    /// A tag as it was received; `None` if it is not valid.
    pub fn parse(value: &[u8]) -> Option<Self> {
        split_first(value)?.1.is_empty().then(|| HeaderValue::from_bytes(value).ok().map(Self)).flatten()
    }

    /// The tag with its quotes and `W/`, as a field value.
    pub fn as_value(&self) -> &HeaderValue {
        &self.0
    }

    /// Whether it is weak: `W/"…"`.
    pub fn is_weak(&self) -> bool {
        self.0.as_bytes().starts_with(b"W/")
    }

    /// "two entity tags are equivalent if their opaque-tags match character-by-character, regardless of either
    /// or both being tagged as weak" (§8.8.3.2).
    pub fn matches_weakly(&self, other: &Self) -> bool {
        opaque(self.0.as_bytes()) == opaque(other.0.as_bytes())
    }

    /// Whether the list of entity tags in one line of `If-None-Match` names this one, by weak comparison.
    /// What follows a member that is not an entity tag is not looked at.
    pub fn is_named_weakly_in(&self, list: &[u8]) -> bool {
        let mut rest = list;
        loop {
            let start =
                rest.iter().position(|byte| !matches!(byte, b' ' | b'\t' | b',')).unwrap_or(rest.len());
            let Some((tag, after)) = split_first(&rest[start..]) else { return false };
            if opaque(tag) == opaque(self.0.as_bytes()) {
                return true;
            }
            rest = after;
        }
    }
}

/// The entity tag that `bytes` begin with, and what follows it: `[ W/ ] DQUOTE *etagc DQUOTE`.
fn split_first(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let prefix = if bytes.starts_with(b"W/") { 3 } else { 1 };
    if bytes.get(prefix - 1) != Some(&b'"') {
        return None;
    }
    let length = bytes[prefix..].iter().position(|&byte| !is_etagc(byte))?;
    (bytes[prefix + length] == b'"').then(|| bytes.split_at(prefix + length + 1))
}

/// `etagc = %x21 / %x23-7E / obs-text`
const fn is_etagc(byte: u8) -> bool {
    matches!(byte, 0x21 | 0x23..=0x7E | 0x80..)
}

fn opaque(tag: &[u8]) -> &[u8] {
    tag.strip_prefix(b"W/").unwrap_or(tag)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tag(value: &[u8]) -> Option<EntityTag> {
        EntityTag::of(&HeaderMap::from_iter([(ETAG, HeaderValue::from_bytes(value).unwrap())]))
    }

    #[test]
    fn only_quoted_tags_are_entity_tags() {
        for valid in [&b"\"abc\""[..], b"W/\"abc\"", b"\"\"", b"\"a,b\\\"", b"\"\xfc\""] {
            assert_eq!(tag(valid).unwrap().as_value().as_bytes(), valid);
        }
        for invalid in [
            &b""[..],
            b"abc",
            b"\"abc",
            b"w/\"abc\"",
            b"W\"abc\"",
            b"\"a b\"",
            b"\"a\"b",
            b"\"a\", \"b\"",
            b"*",
        ] {
            assert_eq!(tag(invalid), None, "{}", invalid.escape_ascii());
        }
    }

    #[test]
    fn of_two_lines_neither_is_trusted() {
        let value = HeaderValue::from_static("\"a\"");
        assert_eq!(EntityTag::of(&HeaderMap::from_iter([(ETAG, value.clone()), (ETAG, value)])), None);
    }

    #[test]
    fn a_list_is_searched_by_weak_comparison() {
        let check = |list: &str, named| {
            assert_eq!(tag(b"W/\"b,c\"").unwrap().is_named_weakly_in(list.as_bytes()), named, "{list}");
        };
        check("\"b,c\"", true);
        check("W/\"b,c\"", true);
        check("\"a\", \"b,c\"", true);
        check(" ,W/\"a\",\t, \"b,c\" , \"d\"", true);
        check("\"a\"\"b,c\"", true);
        check("\"b\", \"c\"", false);
        check("b,c", false);
        check("", false);
        check("*", false);
        check("junk, \"b,c\"", false);
    }

    #[test]
    fn weak_comparison_ignores_strength_alone() {
        assert!(tag(b"\"a\"").unwrap().matches_weakly(&tag(b"W/\"a\"").unwrap()));
        assert!(!tag(b"\"a\"").unwrap().matches_weakly(&tag(b"\"A\"").unwrap()));
        assert!(tag(b"W/\"a\"").unwrap().is_weak() && !tag(b"\"W/a\"").unwrap().is_weak());
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_strange(bytes: Vec<u8>) {
            let _ = tag(b"\"a\"").unwrap().is_named_weakly_in(&bytes);
            if let Ok(value) = HeaderValue::from_bytes(&bytes) {
                let _ = EntityTag::of(&HeaderMap::from_iter([(ETAG, value)]));
            }
        }
    }
}
