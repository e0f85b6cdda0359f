//! Cache groups: RFC 9875.
//!
//! What the origin gives one group name it can invalidate together. Group names are of one origin and compared
//! character by character; how they are made tags of is not known here.

use super::invalidation::may_have_changed;
use http::header::HeaderName;
use http::{HeaderMap, Method, StatusCode};
use sfv::{BareItem, List, ListEntry, Parser};

const CACHE_GROUPS: HeaderName = HeaderName::from_static("cache-groups");
const CACHE_GROUP_INVALIDATION: HeaderName = HeaderName::from_static("cache-group-invalidation");

/// How many groups one response may name; a cache must take 32 (§2).
const MAX_GROUPS: usize = 256;

/// How long a group's name may be, in characters; a cache must take 32 (§2).
const MAX_LENGTH: usize = 256;

/// The groups that a field names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Groups {
    /// These, each once. None if the field is missing or malformed, which is as good as missing (RFC 9651 §4.2).
    Named(Vec<String>),
    /// More, or longer ones, than are taken.
    TooMany,
}

/// The groups that a response belongs to (§2).
pub fn of(response: &HeaderMap) -> Groups {
    list(response, &CACHE_GROUPS)
}

/// The groups that a response invalidates (§3). None but by a successful unsafe request: "The
/// Cache-Group-Invalidation header field MUST be ignored on responses to requests that have a safe method".
pub fn invalidated(method: &Method, status: StatusCode, response: &HeaderMap) -> Groups {
    if may_have_changed(method, status) {
        list(response, &CACHE_GROUP_INVALIDATION)
    } else {
        Groups::Named(Vec::new())
    }
}

/// A List of Strings; their parameters mean nothing.
fn list(response: &HeaderMap, name: &HeaderName) -> Groups {
    let lines: Vec<_> = response.get_all(name).iter().map(|line| line.as_bytes()).collect();
    if lines.is_empty() {
        return Groups::Named(Vec::new());
    }
    let Ok(members) = Parser::new(&lines.join(&b", "[..])).parse::<List>() else {
        return Groups::Named(Vec::new());
    };
    let mut groups: Vec<String> = Vec::new();
    for member in members {
        let ListEntry::Item(item) = member else { return Groups::Named(Vec::new()) };
        let BareItem::String(group) = item.bare_item else { return Groups::Named(Vec::new()) };
        if !groups.iter().any(|known| known == group.as_str()) {
            if groups.len() == MAX_GROUPS || group.as_str().len() > MAX_LENGTH {
                return Groups::TooMany;
            }
            groups.push(group.as_str().to_owned());
        }
    }
    Groups::Named(groups)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::semantics::samples::fields;

    fn check(lines: &[&str], expected: &[&str]) {
        let expected = Groups::Named(expected.iter().map(|&group| group.to_owned()).collect());
        let with = |name| fields(&lines.iter().map(|&line| (name, line)).collect::<Vec<_>>());
        assert_eq!(of(&with("cache-groups")), expected, "{lines:?}");
        let response = with("cache-group-invalidation");
        assert_eq!(invalidated(&Method::POST, StatusCode::OK, &response), expected, "{lines:?}");
    }

    #[test]
    fn groups_are_a_list_of_strings() {
        check(&[], &[]);
        check(&[r#""a""#], &["a"]);
        check(&[r#""a", "B b" ,"a,\"\\""#], &["a", "B b", r#"a,"\"#]);
        check(&[r#""a""#, r#""b", "a""#], &["a", "b"]);
        check(&[r#""a", "A""#], &["a", "A"]);
        check(&[r#""""#], &[""]);
        check(&[r#""a";x=1;y, "b";z="c""#], &["a", "b"]);
    }

    #[test]
    fn a_field_that_is_no_list_of_strings_is_as_good_as_missing() {
        for malformed in [
            "a",
            r#""a", b"#,
            r#""a" "b""#,
            r#""a","#,
            r#"("a")"#,
            "1",
            r#""a", 1"#,
            r#"'a'"#,
            "\"a",
            "\"\u{e9}\"",
        ] {
            check(&[malformed], &[]);
        }
        check(&[r#""a"#, r#"b""#], &["a, b"]);
    }

    #[test]
    fn as_many_and_as_long_ones_as_a_cache_must_take_are_taken() {
        let list = |count: usize, length: usize| {
            let names: Vec<_> = (0..count).map(|n| format!("\"{n:0length$}\"")).collect();
            of(&fields(&[("cache-groups", &names.join(", "))]))
        };
        assert!(matches!(list(32, 32), Groups::Named(groups) if groups.len() == 32));
        assert!(matches!(list(256, 256), Groups::Named(groups) if groups.len() == 256));
        assert_eq!(list(257, 3), Groups::TooMany);
        assert_eq!(list(1, 257), Groups::TooMany);
    }

    #[test]
    fn only_a_successful_unsafe_request_invalidates_groups() {
        let response = fields(&[("cache-group-invalidation", r#""a""#)]);
        for (method, status, expected) in [
            ("POST", 204, 1),
            ("FOO", 303, 1),
            ("DELETE", 404, 0),
            ("POST", 500, 0),
            ("GET", 200, 0),
            ("QUERY", 200, 0),
            ("OPTIONS", 200, 0),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            let groups = invalidated(&method.parse().unwrap(), status, &response);
            assert!(matches!(groups, Groups::Named(groups) if groups.len() == expected), "{method} {status}");
        }
    }
}
