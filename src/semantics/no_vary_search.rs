//! No-Vary-Search: which parts of a query a response does not depend on (draft-ietf-httpbis-no-vary-search-10).
//!
//! Says whether two queries are equivalent for a response. Knows nothing of keys; whether a route heeds the field is
//! decided elsewhere.

use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};
use percent_encoding::{NON_ALPHANUMERIC, percent_decode, percent_encode};
use sfv::{BareItem, Dictionary, InnerList, ListEntry, Parser};
use std::borrow::Cow;

const NO_VARY_SEARCH: HeaderName = HeaderName::from_static("no-vary-search");

/// What a response's `No-Vary-Search` says, if it says anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoVarySearch {
    parameters: Parameters,
    /// `key-order`: the order of parameters with different names makes no difference.
    any_order: bool,
}

/// The parameters that make no difference; names decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Parameters {
    /// These.
    Named(Box<[Vec<u8>]>),
    /// All but these.
    AllBut(Box<[Vec<u8>]>),
}

impl NoVarySearch {
    /// `None`: the whole query makes a difference, which is also how anything malformed is read.
    pub fn of(response: &HeaderMap) -> Option<Self> {
        let lines: Vec<_> = response.get_all(NO_VARY_SEARCH).iter().map(HeaderValue::as_bytes).collect();
        if lines.is_empty() {
            return None;
        }
        let members = Parser::new(&lines.join(&b", "[..])).parse::<Dictionary>().ok()?;
        let any_order = match members.get("key-order") {
            None => false,
            Some(member) => boolean(member)?,
        };
        let parameters = match (members.get("params"), members.get("except")) {
            (None, None) => Parameters::Named([].into()),
            (Some(ListEntry::InnerList(list)), None) => Parameters::Named(names(list)?),
            (Some(params), except) => match (boolean(params)?, except) {
                (true, None) => Parameters::AllBut([].into()),
                (true, Some(ListEntry::InnerList(list))) => Parameters::AllBut(names(list)?),
                (false, None) => Parameters::Named([].into()),
                (true, Some(ListEntry::Item(_))) | (false, Some(_)) => return None,
            },
            (None, Some(_)) => return None,
        };
        let says_nothing = !any_order && parameters == Parameters::Named([].into());
        (!says_nothing).then_some(Self { parameters, any_order })
    }

    /// The query with nothing in it that makes no difference: equal for equivalent queries, and for no others. `None`: there
    /// is nothing left of it.
    pub fn canonical(&self, query: Option<&str>) -> Option<String> {
        let mut kept: Vec<_> = parameters(query?).filter(|(name, _)| self.varies_by(name)).collect();
        if self.any_order {
            kept.sort_by(|(name, _), (other, _)| name.cmp(other));
        }
        let written = kept.iter().map(|(name, value)| {
            format!("{}={}", percent_encode(name, NON_ALPHANUMERIC), percent_encode(value, NON_ALPHANUMERIC))
        });
        (!kept.is_empty()).then(|| written.collect::<Vec<_>>().join("&"))
    }

    fn varies_by(&self, name: &[u8]) -> bool {
        match &self.parameters {
            Parameters::Named(names) => !names.iter().any(|named| named == name),
            Parameters::AllBut(names) => names.iter().any(|named| named == name),
        }
    }

    /// The bytes it occupies on the heap, closely enough.
    pub fn byte_size(&self) -> usize {
        let (Parameters::Named(names) | Parameters::AllBut(names)) = &self.parameters;
        names.iter().map(|name| name.len() + size_of::<Vec<u8>>()).sum()
    }
}

/// Which queries a stored response answers: the one it was fetched with, and those that are equivalent by its own word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Search {
    /// The query, in the form that its rule makes of it.
    canonical: Option<Box<str>>,
    rule: Option<NoVarySearch>,
}

impl Search {
    /// Of a response that was fetched with this query.
    pub fn new(query: Option<&str>, rule: Option<NoVarySearch>) -> Self {
        let canonical = match &rule {
            Some(rule) => rule.canonical(query).map(String::into_boxed_str),
            None => query.map(Box::from),
        };
        Self { canonical, rule }
    }

    /// Whether the response answers a request with this query.
    pub fn answers(&self, query: Option<&str>) -> bool {
        match &self.rule {
            Some(rule) => rule.canonical(query).as_deref() == self.canonical.as_deref(),
            None => query == self.canonical.as_deref(),
        }
    }

    /// What the response said.
    pub fn rule(&self) -> Option<&NoVarySearch> {
        self.rule.as_ref()
    }

    /// The bytes it occupies on the heap, closely enough.
    pub fn byte_size(&self) -> usize {
        self.canonical.as_ref().map_or(0, |query| query.len())
            + self.rule.as_ref().map_or(0, NoVarySearch::byte_size)
    }
}

fn boolean(member: &ListEntry) -> Option<bool> {
    match member {
        ListEntry::Item(item) => match item.bare_item {
            BareItem::Boolean(boolean) => Some(boolean),
            _ => None,
        },
        ListEntry::InnerList(_) => None,
    }
}

/// A list of Strings, each a parameter's name as it stands in a query.
fn names(list: &InnerList) -> Option<Box<[Vec<u8>]>> {
    let names = list.items.iter().map(|item| match &item.bare_item {
        BareItem::String(name) => Some(decoded(name.as_str().as_bytes()).into_owned()),
        _ => None,
    });
    names.collect()
}

/// Names and values as `application/x-www-form-urlencoded` has them (the URL standard's parser).
fn parameters(query: &str) -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> {
    query.as_bytes().split(|&byte| byte == b'&').filter(|sequence| !sequence.is_empty()).map(|sequence| {
        let equals = sequence.iter().position(|&byte| byte == b'=').unwrap_or(sequence.len());
        let (name, value) = sequence.split_at(equals);
        (decoded(name).into_owned(), decoded(value.get(1..).unwrap_or_default()).into_owned())
    })
}

fn decoded(text: &[u8]) -> Cow<'_, [u8]> {
    if text.contains(&b'+') {
        let spaced: Vec<u8> = text.iter().map(|&byte| if byte == b'+' { b' ' } else { byte }).collect();
        return Cow::Owned(percent_decode(&spaced).collect());
    }
    percent_decode(text).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::semantics::samples::fields;
    use proptest::prelude::*;

    fn rule(value: &str) -> Option<NoVarySearch> {
        NoVarySearch::of(&fields(&[("no-vary-search", value)]))
    }

    fn check(value: &str, one: &str, other: &str, equivalent: bool) {
        let stored = Search::new(Some(one), rule(value));
        assert_eq!(stored.answers(Some(other)), equivalent, "{value}: {one} {other}");
    }

    #[test]
    fn named_parameters_make_no_difference() {
        let utm = r#"params=("utm" "a b")"#;
        check(utm, "x=1&utm=2", "x=1", true);
        check(utm, "x=1&utm=2", "utm=9&x=1&utm", true);
        check(utm, "x=1&a+b=2", "x=1&a%20b=3", true);
        check(utm, "x=1", "x=2", false);
        check(utm, "x=1", "x=1&y=2", false);
        check(utm, "x=1&y=2", "y=2&x=1", false);
        check(r#"params=("caf%C3%A9")"#, "caf%c3%a9=1", "", true);
    }

    #[test]
    fn all_but_some_may_make_no_difference() {
        check("params", "x=1", "y=2", true);
        check("params", "x=1", "", true);
        check(r#"params, except=("id")"#, "id=1&x=2", "y=3&id=1", true);
        check(r#"params, except=("id")"#, "id=1", "id=2", false);
        check("params=?0, key-order", "x=1", "x=2", false);
    }

    #[test]
    fn order_may_make_no_difference_among_different_names() {
        check("key-order", "x=1&y=2", "y=2&x=1", true);
        check("key-order", "x=1&x=2", "x=2&x=1", false);
        check("key-order", "x=1&y", "y=&x=%31", true);
        check("key-order=?0", "x=1&y=2", "y=2&x=1", false);
    }

    #[test]
    fn what_is_malformed_makes_every_part_count() {
        for value in [
            "",
            "params=1",
            "params=(1)",
            "params=(a)",
            "params=\"a\"",
            "except=(\"a\")",
            "params=?0, except=(\"a\")",
            "params=(\"a\"), except=(\"b\")",
            "params, except=a",
            "key-order=1",
            "params,,",
            "key-order=()",
            "params=()",
        ] {
            assert_eq!(rule(value), None, "{value}");
        }
        assert_eq!(NoVarySearch::of(&HeaderMap::new()), None);
        let exact = Search::new(Some("x=1"), None);
        assert!(exact.answers(Some("x=1")) && !exact.answers(Some("x=%31")) && !exact.answers(None));
    }

    #[test]
    fn unknown_members_and_parameters_are_ignored() {
        check(r#"params=("a");x=1, other=2"#, "a=1", "", true);
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_strange(line in proptest::collection::vec(any::<u8>(), 0..60), query in "[ -~]{0,20}") {
            if let Ok(line) = HeaderValue::from_bytes(&line) {
                let rule = NoVarySearch::of(&HeaderMap::from_iter([(NO_VARY_SEARCH, line)]));
                prop_assert!(Search::new(Some(&query), rule).answers(Some(&query)));
            }
        }

        #[test]
        fn equivalence_goes_both_ways(one in "([ab]=[12]&?){0,3}", other in "([ab]=[12]&?){0,3}") {
            for value in ["params=(\"a\")", "params", "key-order", "params, except=(\"b\"), key-order"] {
                let answers = |one: &str, other: &str| Search::new(Some(one), rule(value)).answers(Some(other));
                prop_assert_eq!(answers(&one, &other), answers(&other, &one));
            }
        }
    }
}
