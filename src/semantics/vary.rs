//! Choosing among stored responses: RFC 9111 §4.1.
//!
//! A cache key leads to a few variants. One is *selected* when every field its `Vary` names is as it was in the
//! request that stored it. Knows nothing of what the fields mean, of time or of stores.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::Arc;

use http::header::{ACCEPT_ENCODING, ACCEPT_LANGUAGE, CONTENT_ENCODING, CONTENT_LANGUAGE, HeaderName, VARY};
use http::{HeaderMap, HeaderValue};

/// The selecting fields a response named in `Vary`, with the values of the request that fetched it.
///
/// The values are all lines of a field, each without surrounding whitespace, joined with `, `; a field
/// that is missing is not the same as an empty one (§4.1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selecting {
    /// Sorted by name, each name once.
    fields: Arc<[Field]>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Field {
    name: HeaderName,
    value: Option<Box<[u8]>>,
    /// Another request's value that is not the same may still mean the same.
    liberal: Option<Box<Liberal>>,
}

/// By what a value is told that is written otherwise and means the same.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Liberal {
    /// The value in its [normal form](normal).
    normal: Box<[u8]>,
    /// The language of the response, if this is `Accept-Language`; its content coding, if this is `Accept-Encoding`.
    chosen: Option<Box<[u8]>>,
}

/// How many are remembered for being shared, by each thread.
const MAX_LATEST: usize = 16;

thread_local! {
    static LATEST: RefCell<VecDeque<Selecting>> = const { RefCell::new(VecDeque::new()) };
}

impl Selecting {
    /// `None` if `Vary` has a `*` anywhere, or a member that is no field name: never reused.
    ///
    /// `liberal`: a request also selects the response if its fields are written otherwise and mean the same, by HTTP's
    /// rules if not by every app's: white space around the members of a list, the order and case of languages (RFC 9110
    /// §12.5.4) and codings (§12.5.3), and if the one language that it prefers is the response's `Content-Language`, or if it
    /// accepts the response's coding and no other that the origin could not have chosen before.
    ///
    /// `request` must have the fields that [`selects`](Self::selects) will be asked about: those of the
    /// client's request, not what the proxy made of them.
    pub fn of(response: &HeaderMap, request: &HeaderMap, liberal: bool) -> Option<Self> {
        let mut names = names(response).collect::<Option<Vec<_>>>()?;
        names.sort_by(|one, other| one.as_str().cmp(other.as_str()));
        names.dedup();
        let fields = names.into_iter().map(|name| {
            let value = combined(request, &name);
            let liberal = value.as_deref().filter(|_| liberal).map(|value| {
                Box::new(Liberal { normal: normal(&name, value), chosen: chosen(&name, response) })
            });
            Field { name, value, liberal }
        });
        Some(Self { fields: fields.collect() })
    }

    /// The same, in the memory of one that is equal to it, if this thread has made such a one of late: most responses of an app
    /// vary alike.
    pub fn shared(self) -> Self {
        LATEST.with_borrow_mut(|latest| {
            if let Some(at) = latest.iter().position(|known| *known == self) {
                latest.swap(0, at);
                return latest[0].clone();
            }
            latest.truncate(MAX_LATEST - 1);
            latest.push_front(self.clone());
            self
        })
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

    /// The bytes it occupies on the heap, closely enough; whoever shares it counts them all.
    pub fn byte_size(&self) -> usize {
        let texts = |field: &Field| {
            let value = field.value.as_ref().map_or(0, |value| value.len());
            field.name.as_str().len() + value * if field.liberal.is_some() { 2 } else { 1 }
        };
        size_of_val(&*self.fields) + self.fields.iter().map(texts).sum::<usize>()
    }
}

impl Field {
    fn is_met_by(&self, request: &HeaderMap) -> bool {
        match &self.value {
            None => !request.contains_key(&self.name),
            Some(stored) => {
                is_combined(stored, request, &self.name)
                    || self.liberal.as_ref().is_some_and(|liberal| liberal.is_met_by(request, &self.name))
            }
        }
    }
}

impl Liberal {
    fn is_met_by(&self, request: &HeaderMap, name: &HeaderName) -> bool {
        let Some(presented) = combined(request, name) else { return false };
        let Some(chosen) = self.chosen.as_deref() else { return normal(name, &presented) == self.normal };
        let would_be_chosen = if *name == ACCEPT_ENCODING {
            leaves(&self.normal, &presented, chosen)
        } else {
            prefers(&presented, chosen)
        };
        would_be_chosen || normal(name, &presented) == self.normal
    }
}

/// A list with its members as they were, and nothing around them; languages and codings in lower case, the preferred ones
/// first.
fn normal(name: &HeaderName, value: &[u8]) -> Box<[u8]> {
    let listed = || members(value).collect::<Vec<_>>().join(&b","[..]);
    let is_weighted = *name == ACCEPT_LANGUAGE || *name == ACCEPT_ENCODING;
    let normal = if is_weighted { weighted(value).unwrap_or_else(listed) } else { listed() };
    normal.into_boxed_slice()
}

/// `None` if any of the weights cannot be read.
fn weighted(value: &[u8]) -> Option<Vec<u8>> {
    let mut ranges = members(value).map(range).collect::<Option<Vec<_>>>()?;
    ranges.sort_unstable_by(|(tag, weight), (other, than)| than.cmp(weight).then_with(|| tag.cmp(other)));
    let ranges = ranges.into_iter().map(|(tag, weight)| {
        let weight = format!(";q={:.3}", f32::from(weight) / 1000.0);
        [&tag[..], weight.as_bytes()].concat()
    });
    Some(ranges.collect::<Vec<_>>().join(&b","[..]))
}

/// Whether a request prefers this language to all others: the origin, which has it, would choose it again.
fn prefers(accept_language: &[u8], language: &[u8]) -> bool {
    let ranges = members(accept_language).map(range).collect::<Option<Vec<_>>>().unwrap_or_default();
    let highest = ranges.iter().map(|(_, weight)| *weight).max().unwrap_or_default();
    let mut best = ranges.iter().filter(|(_, weight)| *weight == highest);
    highest > 0 && matches!((best.next(), best.next()), (Some((tag, _)), None) if tag == language)
}

/// Whether of the codings that led to `chosen` a request leaves that one and no new one: the origin, which preferred it to
/// more, would choose it again. Only without weights, which might say otherwise.
fn leaves(accepted: &[u8], presented: &[u8], chosen: &[u8]) -> bool {
    let codings = |list| members(list).map(range).collect::<Option<Vec<_>>>();
    let (Some(accepted), Some(presented)) = (codings(accepted), codings(presented)) else { return false };
    let plain =
        |codings: &[(Vec<u8>, u16)]| codings.iter().all(|(coding, weight)| *weight == 1000 && coding != b"*");
    let has = |codings: &[(Vec<u8>, u16)], wanted: &[u8]| codings.iter().any(|(coding, _)| coding == wanted);
    plain(&accepted)
        && plain(&presented)
        && (chosen == b"identity" || has(&presented, chosen))
        && presented.iter().all(|(coding, _)| coding == b"identity" || has(&accepted, coding))
}

/// What a response says that was chosen for it.
fn chosen(name: &HeaderName, response: &HeaderMap) -> Option<Box<[u8]>> {
    if *name == ACCEPT_LANGUAGE {
        return single(response, &CONTENT_LANGUAGE);
    }
    if *name != ACCEPT_ENCODING {
        return None;
    }
    if response.contains_key(CONTENT_ENCODING) {
        single(response, &CONTENT_ENCODING)
    } else {
        Some(b"identity".as_slice().into())
    }
}

/// The one member of a field, in lower case.
fn single(response: &HeaderMap, name: &HeaderName) -> Option<Box<[u8]>> {
    let mut lines = response.get_all(name).iter();
    let (line, None) = (lines.next()?.as_bytes(), lines.next()) else { return None };
    let mut members = members(line);
    let (member, None) = (members.next()?, members.next()) else { return None };
    Some(member.to_ascii_lowercase().into())
}

/// The members of a list; a comma within quotes does not end one.
fn members(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut quoted = false;
    let members = list.split(move |&byte| {
        quoted ^= byte == b'"';
        byte == b',' && !quoted
    });
    members.map(<[u8]>::trim_ascii).filter(|member| !member.is_empty())
}

/// A language range or coding in lower case and its weight in thousandths (RFC 9110 §12.4.2).
fn range(member: &[u8]) -> Option<(Vec<u8>, u16)> {
    let mut parts = member.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
    let tag = parts.next()?.to_ascii_lowercase();
    let weight = match (parts.next(), parts.next()) {
        (None, _) => 1.0,
        (Some(weight), None) => {
            let weight = weight.strip_prefix(b"q=").or_else(|| weight.strip_prefix(b"Q="))?;
            std::str::from_utf8(weight).ok()?.parse::<f32>().ok()?
        }
        (Some(_), Some(_)) => return None,
    };
    (0.0..=1.0).contains(&weight).then(|| (tag, (weight * 1000.0).round() as u16))
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
        let selecting = Selecting::of(&fields(&[("vary", vary)]), &fields(stored_by), false).unwrap();
        assert_eq!(selecting.selects(&fields(presented)), selected, "{vary}: {stored_by:?} {presented:?}");
    }

    #[test]
    fn without_vary_every_request_selects() {
        let selecting = Selecting::of(&HeaderMap::new(), &fields(&[("a", "1")]), false).unwrap();
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
            assert_eq!(Selecting::of(&fields(&lines), &HeaderMap::new(), false), None, "{lines:?}");
            assert!(!is_selectable(&fields(&lines)));
        }
        assert_eq!(Selecting::of(&fields(&[("vary", "foo bar")]), &HeaderMap::new(), false), None);
        assert_eq!(Selecting::of(&fields(&[("vary", "\"foo\"")]), &HeaderMap::new(), false), None);
    }

    #[test]
    fn what_varies_alike_shares_its_memory() {
        let made = |value: &str| {
            let (response, request) = (fields(&[("vary", "accept")]), fields(&[("accept", value)]));
            Selecting::of(&response, &request, false).unwrap().shared()
        };
        let is_shared = |one: &Selecting, other: &Selecting| Arc::ptr_eq(&one.fields, &other.fields);
        let first = made("a");
        assert!(is_shared(&first, &made("a")));
        assert!(!is_shared(&first, &made("b")));
        (0..MAX_LATEST).for_each(|number| drop(made(&number.to_string())));
        let again = made("a");
        assert!(!is_shared(&first, &again) && first == again, "not for ever");
    }

    #[test]
    fn names_are_sorted_and_stand_once() {
        let request = fields(&[("a", "1"), ("b", "2")]);
        let one = Selecting::of(&fields(&[("vary", "b,A,,B"), ("vary", "a")]), &request, false).unwrap();
        assert_eq!(one.names().map(HeaderName::as_str).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(Some(one), Selecting::of(&fields(&[("vary", "a, b")]), &request, false));
    }

    /// Whether a liberal reading selects, and whether a strict one does.
    fn check_liberal(name: &str, stored_by: &str, presented: &str, expected: (bool, bool)) {
        let response = fields(&[("vary", name), ("content-language", "De")]);
        let selects = |liberal| {
            let selecting = Selecting::of(&response, &fields(&[(name, stored_by)]), liberal).unwrap();
            selecting.selects(&fields(&[(name, presented)]))
        };
        assert_eq!((selects(true), selects(false)), expected, "{name}: {stored_by} {presented}");
    }

    #[test]
    fn white_space_in_lists_matters_to_the_strict_alone() {
        check_liberal("foo", "1,2", "1, 2", (true, false));
        check_liberal("foo", "1,2", "1 ,\t2,", (true, false));
        check_liberal("foo", "1,2", "2,1", (false, false));
        check_liberal("foo", "1,2", "12", (false, false));
        check_liberal("foo", "\"1,2\"", "\"1, 2\"", (false, false));
        check_liberal("foo", "a", "A", (false, false));
    }

    #[test]
    fn equal_languages_have_no_order() {
        let check = |stored_by: &str, presented: &str, liberal| {
            check_liberal("accept-language", stored_by, presented, (liberal, false));
        };
        check("en, fr", "fr,EN", true);
        check("en, fr;q=0.5", "fr; q=0.50, en;q=1", true);
        check("en, fr;q=0.5", "fr, en;q=0.5", false);
        check("en, fr", "en, fr, it", false);
        check("en;q=x", "en;q=0", false);
        check("en;q=x, fr", "en;q=x,fr", true);
    }

    #[test]
    fn the_language_preferred_to_all_others_would_be_chosen_again() {
        let check = |presented: &str, liberal| {
            check_liberal("accept-language", "en, de", presented, (liberal, false));
        };
        check("de", true);
        check("fr;q=0.5, de;q=1.0", true);
        check("fr;q=0.5, DE;q=0.7", true);
        check("fr, de;q=0.9", false);
        check("fr, de", false); // both alike
        check("de-AT", false);
        check("de;q=0", false);
        check("de, fr;q=much", false);
    }

    #[test]
    fn a_coding_that_was_preferred_to_more_would_be_chosen_again() {
        let check = |coding: &str, stored_by: &str, presented: &str, liberal| {
            let mut response = fields(&[("vary", "accept-encoding"), ("content-encoding", coding)]);
            if coding.is_empty() {
                response.remove("content-encoding");
            }
            for is_liberal in [true, false] {
                let asked = |codings| fields(&[("accept-encoding", codings)]);
                let selecting = Selecting::of(&response, &asked(stored_by), is_liberal).unwrap();
                let selected = selecting.selects(&asked(presented));
                assert_eq!(selected, liberal && is_liberal, "{coding}: {stored_by} {presented}");
            }
        };
        check("gzip", "gzip, br", "br,GZIP", true);
        check("gzip", "gzip, br", "gzip", true);
        check("gzip", "gzip, br", "br", false);
        check("gzip", "gzip, br", "gzip, zstd", false); // it may prefer zstd
        check("", "gzip, br", "br", true); // it does not compress this
        check("", "gzip, br", "identity", true);
        check("", "gzip", "gzip, br", false);
        check("gzip", "gzip, br;q=0.5", "gzip", false);
        check("gzip", "gzip, br", "gzip;q=0.5", false);
        check("gzip", "gzip, *", "gzip", false);
        check("gzip, br", "gzip, br", "gzip", false); // coded twice
    }

    proptest! {
        #[test]
        fn a_request_selects_exactly_what_an_equal_one_stored(
            one in proptest::collection::vec("[a, ]{0,4}", 0..4),
            other in proptest::collection::vec("[a, ]{0,4}", 0..4),
        ) {
            let request = |lines: &[String]| fields(&lines.iter().map(|line| ("foo", &**line)).collect::<Vec<_>>());
            let vary = fields(&[("vary", "foo")]);
            let stored = Selecting::of(&vary, &request(&one), false).unwrap();
            prop_assert!(stored.selects(&request(&one)));
            let presented = Selecting::of(&vary, &request(&other), false).unwrap();
            prop_assert_eq!(stored.selects(&request(&other)), stored == presented);
        }
    }
}
