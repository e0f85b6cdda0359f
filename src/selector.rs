//! What is selected in JSON: by a JSONPath (RFC 9535). PURE.

use std::fmt;
use std::sync::Arc;

use serde_json::{Number, Value};
use serde_json_path::JsonPath;

/// A JSONPath (RFC 9535) and its text.
#[derive(Clone, Debug)]
pub struct Selector {
    text: Arc<str>,
    path: JsonPath,
    /// The names it begins with: `address` and `city` of `$.address.city[0]`.
    names: Box<[Box<str>]>,
}

/// Why a text is no JSONPath.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SelectorError {
    /// Byte offset into the text.
    pub at: usize,
    /// What is wrong, and what to do.
    pub message: String,
}

/// How many brackets, parentheses and negations a JSONPath may have.
const MAX_OPENINGS: usize = 64;

/// How often it may descend (`..`): what it selects grows with the body at the first, and with its depth at each other.
const MAX_DESCENTS: usize = 1;

impl Selector {
    /// Parses a JSONPath such as `$.data.id` or `$.items[*].slug`.
    ///
    /// # Errors
    /// Where it stops being one.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        if !text.starts_with('$') {
            let message = format!("a JSONPath begins with $: write \"$.{text}\"");
            return Err(SelectorError { at: 0, message });
        }
        // What nests is parsed by recursion.
        let mut openings = text.match_indices(['(', '[', '!']);
        if let Some((at, _)) = openings.nth(MAX_OPENINGS) {
            let message = format!("more than {MAX_OPENINGS} brackets, parentheses and negations; write less");
            return Err(SelectorError { at, message });
        }
        if let Some((at, _)) = text.match_indices("..").nth(MAX_DESCENTS) {
            let message = "a JSONPath may descend (..) once: write the names on the way instead".to_owned();
            return Err(SelectorError { at, message });
        }
        let path = JsonPath::parse(text)
            .map_err(|error| SelectorError { at: error.position(), message: error.message().to_owned() })?;
        Ok(Self { text: text.into(), path, names: leading_names(text) })
    }

    /// All that it selects.
    pub fn find<'v>(&self, value: &'v Value) -> Vec<&'v Value> {
        self.path.query(value).all()
    }

    /// The value, with `null` for whatever it selects.
    pub fn blank(&self, value: &Value) -> Value {
        let mut blanked = value.clone();
        for location in self.path.query_located(value).locations() {
            if let Some(found) = blanked.pointer_mut(&location.to_json_pointer()) {
                *found = Value::Null;
            }
        }
        blanked
    }

    /// Whether what it selects may be meant by `changed`: the name of a field of the record (`address`), a path of
    /// names (`address.city`), or a name further down (`city`). A selector that begins with no name (`$[*]`) is about
    /// every field.
    pub(crate) fn is_meant_by(&self, changed: &str) -> bool {
        if self.names.is_empty() || self.names.iter().any(|name| **name == *changed) {
            return true;
        }
        // `address.city` is part of `$.address`, and has `$.address.city.name` as its part.
        let mut parts = changed.split('.');
        self.names.iter().all(|name| parts.next().is_none_or(|part| part == &**name))
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The plain names that a (valid) JSONPath begins with. Stops at the first segment that is anything else; what is
/// written with escapes counts as something else.
fn leading_names(path: &str) -> Box<[Box<str>]> {
    let mut names = Vec::new();
    let mut rest = path.strip_prefix('$').unwrap_or(path).trim_start();
    loop {
        let (name, after) = if let Some(shorthand) = rest.strip_prefix('.') {
            let end = shorthand.find(['.', '[', '*', ' ', '\t', '\n', '\r']).unwrap_or(shorthand.len());
            shorthand.split_at(end)
        } else {
            let quoted = rest.strip_prefix('[').map(str::trim_start).and_then(|inner| {
                let (quote, inner) = (inner.get(..1)?, inner.get(1..)?);
                let (name, after) = inner.split_once(quote).filter(|_| quote == "'" || quote == "\"")?;
                // Without the bracket, another selector follows in the same segment.
                Some((name, after.trim_start().strip_prefix(']')?)).filter(|_| !name.contains('\\'))
            });
            let Some(quoted) = quoted else { break };
            quoted
        };
        if name.is_empty() {
            break;
        }
        names.push(name.into());
        rest = after.trim_start();
    }
    names.into()
}

/// A scalar as it stands in URLs and keys; nothing else is a value.
pub fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => number_text(number),
        Value::Bool(truth) => Some(truth.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// An id that a sender writes as `42.0` is 42. One too large to be told from its neighbours is no value: it would
/// name the wrong thing.
fn number_text(number: &Number) -> Option<String> {
    const EXACT_BELOW: f64 = 9_007_199_254_740_992.0; // 2^53
    match number.as_f64().filter(|_| number.is_f64()) {
        Some(float) if float.fract() == 0.0 => {
            (float.abs() < EXACT_BELOW).then(|| format!("{:.0}", float + 0.0))
        }
        _ => Some(number.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_selected_can_be_blanked() {
        let value = serde_json::json!({"a": [{"b/~": 1}, {"b/~": 2}], "c": 3});
        let blank = |path: &str| Selector::parse(path).unwrap().blank(&value);
        let expected = serde_json::json!({"a": [{"b/~": null}, {"b/~": null}], "c": 3});
        assert_eq!(blank("$.a[*]['b/~']"), expected);
        assert_eq!(blank("$"), Value::Null);
        assert_eq!(blank("$.d"), value);
    }

    #[test]
    fn what_is_no_path_is_refused_with_what_to_write() {
        for nested in ["(", "!(", "@[?", "length("] {
            for times in [10, MAX_OPENINGS, 40_000] {
                assert!(Selector::parse(&format!("$[?{}", nested.repeat(times))).is_err());
            }
        }
        assert!(Selector::parse("$..a..b").unwrap_err().message.contains("once"));
        assert!(Selector::parse("data.id").unwrap_err().message.contains("$.data.id"));
        let error = Selector::parse("$.data[").unwrap_err();
        assert!(error.at > 0 && error.at <= 7, "{error:?}");
    }

    #[test]
    fn a_selector_is_shown_as_it_was_written() {
        assert_eq!(Selector::parse("$.data['id']").unwrap().to_string(), "$.data['id']");
    }
}
