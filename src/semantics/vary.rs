//! Choosing among stored responses: RFC 9111 §4.1.
//!
//! A cache key leads to a few variants. One is *selected* when every field its `Vary` names is as it was in the
//! request that stored it. Knows nothing of what the fields mean, of time or of stores.

use http::header::{HeaderName, VARY};
use http::{HeaderMap, HeaderValue};

/// The selecting fields a response named in `Vary`, with the values of the request that fetched it.
///
/// The values are all lines of a field, each without surrounding whitespace, joined with `, `; a field
/// that is missing is not the same as an empty one (§4.1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selecting {
    /// Sorted by name, each name once.
    fields: Box<[Field]>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Field {
    name: HeaderName,
    value: Option<Box<[u8]>>,
}

impl Selecting {
    /// `None` if `Vary` has a `*` anywhere, or a member that is no field name: never reused.
    ///
    /// `request` must have the fields that [`selects`](Self::selects) will be asked about: those of the
    /// client's request, not what the proxy made of them.
    pub fn of(response: &HeaderMap, request: &HeaderMap) -> Option<Self> {
        let mut names = names(response).collect::<Option<Vec<_>>>()?;
        names.sort_by(|one, other| one.as_str().cmp(other.as_str()));
        names.dedup();
        let fields = names.into_iter().map(|name| {
            let value = combined(request, &name);
            Field { name, value }
        });
        Some(Self { fields: fields.collect() })
    }

    /// Whether a request with these fields selects the response. Allocates nothing.
    pub fn selects(&self, request: &HeaderMap) -> bool {
        self.fields.iter().all(|field| field.is_met_by(request))
    }

    /// Whether a request has the selecting field `name` as the one that stored the response had it, if it is one.
    pub fn agrees_in(&self, request: &HeaderMap, name: &HeaderName) -> bool {
        let mut fields = self.fields.iter().filter(|field| field.name == name);
        fields.all(|field| field.is_met_by(request))
    }

    /// The names of the selecting fields, in alphabetical order.
    pub fn names(&self) -> impl Iterator<Item = &HeaderName> {
        self.fields.iter().map(|field| &field.name)
    }

    /// The bytes it occupies on the heap, closely enough.
    pub fn byte_size(&self) -> usize {
        let texts =
            |field: &Field| field.name.as_str().len() + field.value.as_ref().map_or(0, |value| value.len());
        size_of_val(&*self.fields) + self.fields.iter().map(texts).sum::<usize>()
    }
}

impl Field {
    fn is_met_by(&self, request: &HeaderMap) -> bool {
        match &self.value {
            None => !request.contains_key(&self.name),
            Some(stored) => is_combined(stored, request, &self.name),
        }
    }
}

/// Whether any request at all can select a response with this `Vary`.
pub(super) fn is_selectable(response: &HeaderMap) -> bool {
    names(response).all(|name| name.is_some())
}

/// The names in `Vary`; `None` for `*` and for whatever is no name.
fn names(response: &HeaderMap) -> impl Iterator<Item = Option<HeaderName>> {
    let lines = response.get_all(VARY).iter().map(HeaderValue::as_bytes);
    let members = lines.flat_map(|line| line.split(|&byte| byte == b',')).map(<[u8]>::trim_ascii);
    members.filter(|member| !member.is_empty()).map(|member| match member {
        // `*` is a token and so would be a field name
        b"*" => None,
        name => HeaderName::from_bytes(name).ok(),
    })
}

fn combined(request: &HeaderMap, name: &HeaderName) -> Option<Box<[u8]>> {
    let mut lines = request.get_all(name).iter().map(|line| line.as_bytes().trim_ascii());
    let mut value = lines.next()?.to_vec();
    for line in lines {
        value.extend_from_slice(b", ");
        value.extend_from_slice(line);
    }
    Some(value.into_boxed_slice())
}

/// `combined(request, name) == Some(stored)`, without building it.
fn is_combined(stored: &[u8], request: &HeaderMap, name: &HeaderName) -> bool {
    let mut lines = request.get_all(name).iter().map(|line| line.as_bytes().trim_ascii());
    let Some(mut rest) = lines.next().and_then(|first| stored.strip_prefix(first)) else { return false };
    for line in lines {
        let Some(after) = rest.strip_prefix(b", ").and_then(|rest| rest.strip_prefix(line)) else {
            return false;
        };
        rest = after;
    }
    rest.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::semantics::samples::fields;
    use proptest::prelude::*;

    fn check(vary: &str, stored_by: &[(&str, &str)], presented: &[(&str, &str)], selected: bool) {
        let selecting = Selecting::of(&fields(&[("vary", vary)]), &fields(stored_by)).unwrap();
        assert_eq!(selecting.selects(&fields(presented)), selected, "{vary}: {stored_by:?} {presented:?}");
    }

    #[test]
    fn without_vary_every_request_selects() {
        let selecting = Selecting::of(&HeaderMap::new(), &fields(&[("a", "1")])).unwrap();
        assert!(selecting.selects(&HeaderMap::new()));
        assert_eq!((selecting.byte_size(), selecting), (0, Selecting::default()));
    }

    #[test]
    fn named_fields_must_match_and_others_need_not() {
        check("Foo", &[("foo", "1")], &[("foo", "1")], true);
        check("FOO", &[("foo", "1"), ("other", "2")], &[("foo", "1"), ("other", "3")], true);
        check("foo", &[("foo", "1")], &[("foo", "2")], false);
        check("foo", &[("foo", "a")], &[("foo", "A")], false);
        check("foo", &[("foo", "1")], &[("foo", "12")], false);
        check("foo", &[("foo", "12")], &[("foo", "1")], false);
        check("foo, bar", &[("foo", "1"), ("bar", "2")], &[("bar", "2"), ("foo", "1")], true);
        check("foo, bar", &[("foo", "1"), ("bar", "2")], &[("foo", "1")], false);
        check("foo, bar, baz", &[("foo", "1"), ("baz", "3")], &[("foo", "1"), ("baz", "3")], true);
    }

    #[test]
    fn missing_is_not_empty() {
        check("foo", &[], &[], true);
        check("foo", &[], &[("foo", "")], false);
        check("foo", &[("foo", "")], &[], false);
        check("foo", &[("foo", "")], &[("foo", "")], true);
        check("foo", &[], &[("foo", "1")], false);
    }

    #[test]
    fn all_lines_of_a_field_count_as_one_value() {
        check("foo", &[("foo", "1, 2")], &[("foo", "1"), ("foo", "2")], true);
        check("foo", &[("foo", "1"), ("foo", "2")], &[("foo", "1, 2")], true);
        check("foo", &[("foo", " 1\t"), ("foo", "2 ")], &[("foo", "1, 2")], true);
        check("foo", &[("foo", "1")], &[("foo", "1"), ("foo", "2")], false);
        check("foo", &[("foo", "1"), ("foo", "2")], &[("foo", "1")], false);
        check("foo", &[("foo", "1"), ("foo", "2")], &[("foo", "2"), ("foo", "1")], false);
        check("foo", &[("foo", "")], &[("foo", ""), ("foo", "")], false);
    }

    #[test]
    fn a_star_anywhere_selects_nothing() {
        for lines in [
            &["*"][..],
            &["*, *"],
            &["*", "*"],
            &[", *"],
            &["", "*"],
            &["*, foo"],
            &["foo, *"],
            &["foo", " *"],
        ] {
            let lines: Vec<_> = lines.iter().map(|line| ("vary", *line)).collect();
            assert_eq!(Selecting::of(&fields(&lines), &HeaderMap::new()), None, "{lines:?}");
            assert!(!is_selectable(&fields(&lines)));
        }
        assert_eq!(Selecting::of(&fields(&[("vary", "foo bar")]), &HeaderMap::new()), None);
        assert_eq!(Selecting::of(&fields(&[("vary", "\"foo\"")]), &HeaderMap::new()), None);
    }

    #[test]
    fn names_are_sorted_and_stand_once() {
        let request = fields(&[("a", "1"), ("b", "2")]);
        let one = Selecting::of(&fields(&[("vary", "b,A,,B"), ("vary", "a")]), &request).unwrap();
        assert_eq!(one.names().map(HeaderName::as_str).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(Some(one), Selecting::of(&fields(&[("vary", "a, b")]), &request));
    }

    proptest! {
        #[test]
        fn a_request_selects_exactly_what_an_equal_one_stored(
            one in proptest::collection::vec("[a, ]{0,4}", 0..4),
            other in proptest::collection::vec("[a, ]{0,4}", 0..4),
        ) {
            let request = |lines: &[String]| fields(&lines.iter().map(|line| ("foo", &**line)).collect::<Vec<_>>());
            let vary = fields(&[("vary", "foo")]);
            let stored = Selecting::of(&vary, &request(&one)).unwrap();
            prop_assert!(stored.selects(&request(&one)));
            let presented = Selecting::of(&vary, &request(&other)).unwrap();
            prop_assert_eq!(stored.selects(&request(&other)), stored == presented);
        }
    }
}
