//! What people may call the value of a partition field.
//!
//! A key tells apart whatever an origin might; who purges has one value in hand and knows neither how often a client
//! sent the field nor how it was quoted. So a value has readings, the first for showing, and a purge by any of them
//! reaches it. One that is nobody's value costs nothing.

use std::sync::Arc;

use percent_encoding::percent_decode;

use smallvec::SmallVec;

use super::query::decode_form;
use super::value::{Pair, Reader, Value, members};
use super::{Field, KeyInput, QuerySelection, Source, partition_text};

/// How many readings of one field count. A value with more of them cannot be told by its readings.
pub const MAX_READINGS: usize = 16;

/// What people may call the value of a parameter of the query: none if there is no such one; one more than [`MAX_READINGS`] if
/// those are not all.
pub fn parameter_readings(name: &str, input: &KeyInput<'_>) -> Vec<String> {
    let selection = QuerySelection { only: Some(vec![name.into()]), ..QuerySelection::default() };
    let (source, normalize) = (Source::Query(selection), Vec::new());
    let field = Field { name: name.into(), source, partition: false, hash: false, sort: false, normalize };
    let mut readings = Vec::new();
    // Of all sources only tokens can fail.
    let _ = Reader::new(input).push(&field, &mut String::new(), Some(&mut readings));
    readings.into_iter().map(|(_, reading)| reading).filter(|reading| !reading.is_empty()).collect()
}

/// Adds all readings of a value, each once, but no more than one more than [`MAX_READINGS`].
pub(super) fn push_readings(
    name: &Arc<str>,
    field: &Field,
    value: &Value<'_>,
    partition: &mut Vec<(Arc<str>, String)>,
) {
    let mut readings = Readings { name, start: partition.len(), partition };
    match value {
        Value::Missing => readings.push(String::new()),
        Value::One(text) => readings.push_text(field, text),
        Value::List(items) => {
            readings.push(joined(items.iter().map(|item| readable(field, item)), ","));
            for item in items {
                readings.push_text(field, item);
            }
        }
        Value::Pairs(pairs) => {
            let only_one = matches!(&field.source, Source::Query(selection)
                if selection.only.as_ref().is_some_and(|only| only.len() == 1));
            if only_one {
                let values = || pairs.iter().map(|(_, value)| value.as_deref().unwrap_or_default());
                readings.push(joined(values().map(|value| readable(field, value)), ","));
                for value in values() {
                    readings.push_text(field, value);
                }
            } else {
                readings.push(joined(pairs.iter().map(|pair| written(field, pair, readable)), "&"));
                readings.push_choices(field, pairs);
            }
        }
    }
}

struct Readings<'p> {
    name: &'p Arc<str>,
    /// Where those of this value begin.
    start: usize,
    partition: &'p mut Vec<(Arc<str>, String)>,
}

impl Readings<'_> {
    fn push(&mut self, reading: String) {
        let known = self.partition.get(self.start..).unwrap_or_default();
        if known.len() <= MAX_READINGS && !known.iter().any(|(_, known)| *known == reading) {
            self.partition.push((Arc::clone(self.name), reading));
        }
    }

    /// One text: as it is, decoded, trimmed, unquoted; and each member, if it is a list with commas.
    fn push_text(&mut self, field: &Field, text: &[u8]) {
        for reading in spellings(field, text) {
            self.push(reading);
        }
        if matches!(field.source, Source::Header(_)) && text.contains(&b',') {
            for reading in members(text).flat_map(|member| spellings(field, member)) {
                self.push(reading);
            }
        }
    }

    /// Parameters: for every name any one of its values.
    fn push_choices(&mut self, field: &Field, pairs: &[Pair<'_>]) {
        let mut names: Vec<&[u8]> = pairs.iter().map(|(name, _)| &**name).collect();
        names.sort_unstable();
        names.dedup();
        let mut choices = vec![String::new()];
        for name in names {
            let named = pairs.iter().filter(|(known, _)| **known == *name);
            let mut spelled: Vec<String> = named
                .flat_map(|(_, value)| match value {
                    Some(value) => spellings(field, value)
                        .into_iter()
                        .map(|value| format!("{}={value}", readable(field, name)))
                        .collect(),
                    None => vec![readable(field, name)],
                })
                .collect();
            spelled.sort_unstable();
            spelled.dedup();
            choices = choices
                .iter()
                .flat_map(|known| spelled.iter().map(move |more| (known, more)))
                .map(|(known, more)| if known.is_empty() { more.clone() } else { format!("{known}&{more}") })
                .take(MAX_READINGS + 1)
                .collect();
        }
        for choice in choices {
            self.push(choice);
        }
    }
}

/// As people write it: decoded, if it stands in a URL.
fn readable(field: &Field, text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    match &field.source {
        _ if !field.normalize.is_empty() => text.into_owned(),
        Source::Path(_) | Source::PathAll | Source::WholePath => partition_text(&text),
        Source::Query(_) => {
            String::from_utf8(decode_form(&text).into_owned()).unwrap_or_else(|_| text.into_owned())
        }
        _ => text.into_owned(),
    }
}

/// As people write it, first; without white space or quotes around it; percent-decoded, which cookies often need;
/// whatever its character set.
fn spellings(field: &Field, text: &[u8]) -> SmallVec<[String; 2]> {
    let first = readable(field, text);
    let trimmed = first.trim();
    let unquoted = trimmed.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(trimmed);
    let mut more = SmallVec::new();
    for text in [trimmed, unquoted] {
        if text.contains('%') {
            more.push(percent_decode(text.as_bytes()).decode_utf8_lossy().into_owned());
        }
    }
    if unquoted.len() < first.len() {
        more.extend([trimmed.to_owned(), unquoted.to_owned()]);
    }
    if std::str::from_utf8(text).is_err() {
        more.push(text.iter().copied().map(char::from).collect());
    }
    more.insert(0, first);
    more
}

fn written(field: &Field, (name, value): &Pair<'_>, readable: fn(&Field, &[u8]) -> String) -> String {
    match value {
        Some(value) => format!("{}={}", readable(field, name), readable(field, value)),
        None => readable(field, name),
    }
}

fn joined(texts: impl Iterator<Item = String>, separator: &str) -> String {
    texts.collect::<Vec<_>>().join(separator)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::testing::{Sample, constructor, field};
    use crate::keys::{Normalizer, QuerySelection};

    fn readings(source: Source, sample: &Sample) -> Vec<String> {
        let field = Field { partition: true, ..field("f", source) };
        let key = constructor(vec![field]).key(&sample.input()).unwrap();
        key.partition.iter().map(|(_, value)| value.clone()).collect()
    }

    fn query(names: &[&str], target: &str) -> Vec<String> {
        let only = Some(names.iter().map(|&name| name.into()).collect());
        let selection = QuerySelection { only, sorted: true, ..QuerySelection::default() };
        readings(Source::Query(selection), &Sample::new(target))
    }

    fn header(lines: &[&str]) -> Vec<String> {
        let sample = lines.iter().fold(Sample::new("/"), |sample, line| sample.field("x-user", line));
        readings(Source::Header(http::HeaderName::from_static("x-user")), &sample)
    }

    fn cookie(text: &str) -> Vec<String> {
        readings(Source::Cookie("user".into()), &Sample::new("/").field("cookie", text))
    }

    #[test]
    fn each_of_several_values_is_a_reading() {
        assert_eq!(query(&["user"], "/?user=42&user="), ["42,", "42", ""]);
        assert_eq!(query(&["user"], "/?user=1&user=2"), ["1,2", "1", "2"]);
        assert_eq!(query(&["user"], "/?user=1&user=1"), ["1,1", "1"]);
        assert_eq!(query(&["a", "b"], "/?b=3&a=1&a=2"), ["a=1&a=2&b=3", "a=1&b=3", "a=2&b=3"]);
        assert_eq!(header(&["1", "2"]), ["1,2", "1", "2"]);
        assert_eq!(header(&["1, 2"]), ["1, 2", "1", "2"]);
        assert_eq!(header(&["1, \"2,3\"", "4"]), ["1, \"2,3\",4", "1, \"2,3\"", "1", "\"2,3\"", "2,3", "4"]);
        assert_eq!(cookie("user=1; user=2"), ["1,2", "1", "2"]);
    }

    #[test]
    fn a_parameter_has_readings_though_no_key_has_it() {
        let of = |target: &str| parameter_readings("user", &Sample::new(target).input());
        assert_eq!(of("/?user=4%202&x=1"), ["4 2"]);
        assert_eq!(of("/?user=1&user=2"), ["1,2", "1", "2"]);
        assert!(of("/?x=1").is_empty() && of("/").is_empty() && of("/?user=").is_empty());
        let many: String = (0..100).map(|number| format!("&user={number}")).collect();
        assert_eq!(of(&format!("/?x{many}")).len(), MAX_READINGS + 1);
    }

    #[test]
    fn one_plain_value_is_its_only_reading() {
        assert_eq!(query(&["user"], "/?user=42"), ["42"]);
        assert_eq!(query(&["user"], "/"), [""]);
        assert_eq!(query(&["a", "b"], "/?a=1&b=2"), ["a=1&b=2"]);
        assert_eq!(header(&["42"]), ["42"]);
        assert_eq!(cookie("user=42"), ["42"]);
    }

    #[test]
    fn how_it_was_written_makes_no_difference() {
        assert_eq!(query(&["user"], "/?user=42+"), ["42 ", "42"]);
        assert_eq!(query(&["user"], "/?user=%FF"), ["%FF", "\u{fffd}"]);
        assert_eq!(cookie("user=\"1\""), ["\"1\"", "1"]);
        assert_eq!(cookie("user=a%40b"), ["a%40b", "a@b"]);
        assert_eq!(cookie("user=\"a%40b\""), ["\"a%40b\"", "\"a@b\"", "a@b", "a%40b"]);
        let path = Source::Path(vec!["id".into()]);
        assert_eq!(readings(path, &Sample::new("/a%FFb").captured("/{id}")), ["a%FFb", "a\u{fffd}b"]);
    }

    #[test]
    fn what_has_too_many_readings_has_one_more_than_may_be() {
        let several = |count: usize| (0..count).map(|n| format!("user={n}&")).collect::<String>();
        assert_eq!(query(&["user"], &format!("/?{}", several(3))).len(), 4);
        assert_eq!(query(&["user"], &format!("/?{}", several(100))).len(), MAX_READINGS + 1);
        // One value after many equal ones is not overlooked.
        let tail = format!("/?{}user=2", "user=1&".repeat(100));
        assert_eq!(query(&["user"], &tail)[1..], ["1", "2"]);
        assert_eq!(header(&[&format!("{}2", "1,".repeat(100))])[1..], ["1", "2"]);
        let pairs = format!("/?{}{}", "a=1&a=2&a=3&a=4&a=5&", "b=1&b=2&b=3&b=4");
        assert_eq!(query(&["a", "b"], &pairs).len(), MAX_READINGS + 1);
    }

    #[test]
    fn steps_come_first() {
        let source = Source::Header(http::HeaderName::from_static("x-user"));
        let field = Field { partition: true, normalize: vec![Normalizer::Lower], ..field("f", source) };
        let key = constructor(vec![field]).key(&Sample::new("/").field("x-user", "\"Ada\"").input()).unwrap();
        let readings: Vec<_> = key.partition.iter().map(|(_, value)| &**value).collect();
        assert_eq!(readings, ["\"ada\"", "ada"]);
    }
}
