//! What must hold of all keys, whatever the requests: no value, however crafted, makes two keys one.

use super::testing::{Sample, constructor, field};
use super::{Constructor, Field, QuerySelection, Source};
use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;
use proptest::sample::select;
use std::collections::HashSet;

const LINE_FIELDS: [&str; 2] = ["x-a", "x-b"];

/// What the fields below can see of a request. Equal observations must have equal keys, and no others.
#[derive(Clone, Debug, PartialEq)]
struct Observed {
    lines: [Vec<String>; 2],
    cookies: Vec<String>,
    segment: String,
    query: Option<String>,
}

impl Observed {
    fn sample(&self) -> Sample {
        let mut sample = Sample::new(&format!("/{}", self.segment)).captured("/{id}");
        sample.query = self.query.clone();
        for (name, lines) in LINE_FIELDS.into_iter().zip(&self.lines) {
            for line in lines {
                sample = sample.field(name, line);
            }
        }
        for cookie in &self.cookies {
            sample = sample.field("cookie", &format!("x=1; c={cookie}"));
        }
        sample
    }
}

/// Short texts of few characters, most of them delimiters: near misses are likely.
fn crafted(
    characters: &'static str,
    length: impl Into<prop::collection::SizeRange>,
) -> BoxedStrategy<String> {
    let characters: Vec<char> = characters.chars().collect();
    prop::collection::vec(select(characters), length).prop_map(String::from_iter).boxed()
}

fn observed() -> impl Strategy<Value = Observed> {
    let lines = || prop::collection::vec(crafted("a,=|{}[]\"%#:é", 0..3), 0..3);
    let cookies = prop::collection::vec(crafted("a,=|{}[]\"%#", 0..3), 0..3);
    let segment = crafted("a,=|{}[]%#:2C", 1..4);
    let query = prop::option::of(crafted("ab=&,%+{}\"", 0..5));
    ([lines(), lines()], cookies, segment, query).prop_map(|(lines, cookies, segment, query)| Observed {
        lines,
        cookies,
        segment,
        query,
    })
}

/// One field for everything in [`Observed`]. Names are as crafted as values can be.
fn fields() -> Vec<Field> {
    let [a, b] = LINE_FIELDS.map(|name| Source::Header(HeaderName::from_static(name)));
    vec![
        field("a", a),
        field("a,b=", b),
        field("c|", Source::Cookie("c".into())),
        Field { partition: true, ..field("id", Source::PathAll) },
        field("q", Source::Query(QuerySelection::default())),
    ]
}

fn key(constructor: &Constructor, observed: &Observed) -> String {
    constructor.key(&observed.sample().input()).unwrap().text.to_string()
}

/// The parameters in the order that sorting by name would give them.
fn sorted(query: Option<&str>) -> Option<Vec<String>> {
    let mut params: Vec<_> = query?.split('&').map(str::to_owned).collect();
    params.sort_by_key(|param| {
        let name = param.split('=').next().unwrap_or_default().replace('+', " ");
        percent_encoding::percent_decode_str(&name).collect::<Vec<_>>()
    });
    Some(params)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn two_requests_share_a_key_iff_no_field_tells_them_apart(a in observed(), b in observed()) {
        let constructor = constructor(fields());
        prop_assert_eq!(a == b, key(&constructor, &a) == key(&constructor, &b));
        prop_assert_eq!(key(&constructor, &a), key(&constructor, &a.clone()));
    }

    #[test]
    fn moving_text_from_one_field_to_the_next_changes_the_key(
        a in observed(), line in crafted("a,=|{}[]\"%#:", 0..5), cut in 0..5_usize,
    ) {
        let constructor = constructor(fields());
        let split = |at: usize| {
            let at = at.min(line.len());
            let lines = [vec![line[..at].to_owned()], vec![line[at..].to_owned()]];
            Observed { lines, ..a.clone() }
        };
        let (left, right) = (split(cut), split(cut + 1));
        prop_assert_eq!(left == right, key(&constructor, &left) == key(&constructor, &right));
    }

    #[test]
    fn the_order_of_declaration_does_not_matter(a in observed(), order in Just([0, 1, 2, 3, 4]).prop_shuffle()) {
        let mut declared: Vec<_> = fields().into_iter().map(Some).collect();
        let shuffled = order.iter().filter_map(|&i| declared[i].take()).collect();
        prop_assert_eq!(key(&constructor(fields()), &a), key(&constructor(shuffled), &a));
    }

    #[test]
    fn hashed_values_are_told_apart_like_plain_ones(a in observed(), b in observed()) {
        let hashed = || fields().into_iter().map(|field| Field { hash: true, ..field }).collect();
        let plain = key(&constructor(fields()), &a) == key(&constructor(fields()), &b);
        prop_assert_eq!(plain, key(&constructor(hashed()), &a) == key(&constructor(hashed()), &b));
    }

    #[test]
    fn the_default_key_tells_urls_apart_up_to_the_order_of_parameters(a in observed(), b in observed()) {
        let default = Constructor::safe_default(false);
        let same = a.segment == b.segment && sorted(a.query.as_deref()) == sorted(b.query.as_deref());
        prop_assert_eq!(same, key(&default, &a) == key(&default, &b));
    }

    #[test]
    fn urls_are_one_resource_iff_they_have_one_key(a in observed(), b in observed(), whole in any::<bool>()) {
        let narrow = constructor(vec![
            field("id", Source::Path(vec!["id".into()])),
            field("q", Source::Query(QuerySelection { exclude: vec!["a*".into()], ..QuerySelection::default() })),
            field("m", Source::Method),
        ]);
        let constructor = if whole { Constructor::safe_default(true) } else { narrow };
        let resource = |observed: &Observed| {
            let sample = observed.sample();
            let input = sample.input();
            constructor.resource(input.host, input.path, input.query, input.captures)
        };
        prop_assert_eq!(resource(&a) == resource(&b), key(&constructor, &a) == key(&constructor, &b));
    }
}

#[test]
fn all_short_texts_in_two_fields_have_keys_of_their_own() {
    let mut texts = vec![String::new()];
    for first in ["a", ",", "=", "|", "{", "}", "[", "]", "\"", "%", "#", ":", "%2C"] {
        texts.push(first.to_owned());
        texts.extend([",", "=", "|", "b", "\"", "]"].map(|second| format!("{first}{second}")));
    }
    let lines: Vec<Vec<&str>> = texts
        .iter()
        .map(|text| vec![&**text])
        .chain([vec![]])
        .chain(["", ",", "a", "\""].iter().flat_map(|&a| ["", "b", ","].map(|b| vec![a, b])))
        .collect();
    let constructor = constructor(fields());
    let mut keys = HashSet::new();
    for a in &lines {
        for b in &lines {
            let mut sample = Sample::new("/");
            let mut headers = HeaderMap::new();
            for (name, lines) in LINE_FIELDS.into_iter().zip([a, b]) {
                for line in lines {
                    headers.append(name, HeaderValue::from_str(line).unwrap());
                }
            }
            sample.headers = headers;
            assert!(keys.insert(constructor.key(&sample.input()).unwrap().text), "{a:?} {b:?}");
        }
    }
}
