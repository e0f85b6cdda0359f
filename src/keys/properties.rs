//! What must hold of all keys, whatever the requests: no value, however crafted, makes two keys one.

use super::testing::{Sample, constructor, field};
use super::{Constructor, Field, OnOverflow, QuerySelection, Source};
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
fn crafted(characters: &'static str, length: std::ops::Range<usize>) -> BoxedStrategy<String> {
    let characters: Vec<char> = characters.chars().collect();
    prop::collection::vec(select(characters), length).prop_map(String::from_iter).boxed()
}

/// Mostly nothing, so that requests often differ in one thing only.
fn seldom<T: Clone + std::fmt::Debug + 'static>(
    usual: T,
    strategy: impl Strategy<Value = T> + 'static,
) -> impl Strategy<Value = T> {
    prop_oneof![2 => Just(usual), 1 => strategy]
}

fn observed() -> impl Strategy<Value = Observed> {
    let lines = || seldom(Vec::new(), prop::collection::vec(crafted("a,=[]\"", 0..3), 0..4));
    let cookies = seldom(Vec::new(), prop::collection::vec(crafted("a,=[]", 0..3), 0..3));
    let segment = seldom("a".to_owned(), crafted("a,|%{", 1..3));
    let query = seldom(None, prop::option::of(crafted("ab=&,%", 0..4)));
    ([lines(), lines()], cookies, segment, query).prop_map(|(lines, cookies, segment, query)| Observed {
        lines,
        cookies,
        segment,
        query,
    })
}

/// Enough requests for some pair of them to come close.
fn crowd() -> impl Strategy<Value = Vec<Observed>> {
    prop::collection::vec(observed(), 40)
}

/// Every two requests of the crowd are the same to `key` iff they are to `same`.
fn check_pairs(
    crowd: &[Observed],
    same: impl Fn(&Observed, &Observed) -> bool,
    key: impl Fn(&Observed) -> String,
) -> Result<(), TestCaseError> {
    let keys: Vec<_> = crowd.iter().map(key).collect();
    for (i, a) in crowd.iter().enumerate() {
        for (j, b) in crowd.iter().enumerate().skip(i) {
            prop_assert_eq!(same(a, b), keys[i] == keys[j], "{:?} {:?} {} {}", a, b, keys[i], keys[j]);
        }
    }
    Ok(())
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
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn two_requests_share_a_key_iff_no_field_tells_them_apart(crowd in crowd()) {
        let constructor = constructor(fields());
        check_pairs(&crowd, |a, b| a == b, |observed| key(&constructor, observed))?;
    }

    #[test]
    fn hashed_values_are_told_apart_like_plain_ones(crowd in crowd()) {
        let constructor = constructor(fields().into_iter().map(|field| Field { hash: true, ..field }).collect());
        check_pairs(&crowd, |a, b| a == b, |observed| key(&constructor, observed))?;
    }

    #[test]
    fn short_and_hashed_suffixes_are_told_apart(crowd in crowd()) {
        let constructor = Constructor {
            max_suffix_length: 12, on_overflow: OnOverflow::Hash, ..constructor(fields())
        };
        check_pairs(&crowd, |a, b| a == b, |observed| key(&constructor, observed))?;
    }

    #[test]
    fn the_order_of_declaration_does_not_matter(a in observed(), order in Just([0, 1, 2, 3, 4]).prop_shuffle()) {
        let mut declared: Vec<_> = fields().into_iter().map(Some).collect();
        let shuffled = order.iter().filter_map(|&i| declared[i].take()).collect();
        prop_assert_eq!(key(&constructor(fields()), &a), key(&constructor(shuffled), &a));
    }

    #[test]
    fn the_default_key_tells_urls_apart_up_to_the_order_of_parameters(crowd in crowd()) {
        let default = Constructor::safe_default("default", false);
        let same = |a: &Observed, b: &Observed| {
            a.segment == b.segment && sorted(a.query.as_deref()) == sorted(b.query.as_deref())
        };
        check_pairs(&crowd, same, |observed| key(&default, observed))?;
    }

    #[test]
    fn urls_of_one_key_are_one_resource(crowd in crowd(), whole in any::<bool>()) {
        let exclude = vec!["a*".into()];
        let query = Source::Query(QuerySelection { exclude, ..QuerySelection::default() });
        let narrow = vec![
            field("id", Source::Path(vec!["id".into()])),
            field("q", query),
            field("m", Source::Method),
        ];
        let constructor = if whole { Constructor::safe_default("default", true) } else { constructor(narrow) };
        let resource = |observed: &Observed| {
            let sample = observed.sample();
            let input = sample.input();
            constructor.resource(input.host, input.path, input.query, input.captures)
        };
        for (i, a) in crowd.iter().enumerate() {
            for b in &crowd[i..] {
                if key(&constructor, a) == key(&constructor, b) {
                    prop_assert_eq!(resource(a), resource(b));
                }
            }
        }
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
        .chain([vec![], vec!["a", "b", ""], vec!["a,b", ""], vec!["a", "b,"], vec!["a, b"], vec!["a,b"]])
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
