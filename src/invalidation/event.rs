//! An event: what a webhook says has changed. PURE.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use serde_json::Value;
use serde_json_path::JsonPath;

use crate::webhooks::EventMapping;

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
        let path = JsonPath::parse(text)
            .map_err(|error| SelectorError { at: error.position(), message: error.message().to_owned() })?;
        Ok(Self { text: text.into(), path, names: leading_names(text) })
    }

    /// All that it selects.
    pub fn find<'v>(&self, value: &'v Value) -> Vec<&'v Value> {
        self.path.query(value).all()
    }

    /// Whether what it selects may be meant by `changed`: the name of a field of the record (`address`), a path of
    /// names (`address.city`), or a name further down (`city`). A selector that begins with no name (`$[*]`) is about
    /// every field.
    fn is_meant_by(&self, changed: &str) -> bool {
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

/// What a delivery says has changed.
#[derive(Clone, Debug)]
pub struct Event {
    /// The webhook it came by.
    pub webhook: Arc<str>,
    /// The delivery that brought it.
    pub delivery: String,
    /// Its name, such as `user.updated`; empty if the body names none.
    pub name: String,
    /// The whole body.
    pub body: Value,
    /// The record before the change, where the sender says; `null` if it says that there was none.
    pub before: Option<Value>,
    /// The record after it; `null` if the sender says that there is none any more.
    pub after: Option<Value>,
    /// The names of the fields that changed, where the sender says.
    pub changed: Option<BTreeSet<String>>,
}

impl Event {
    /// Reads an event from a body.
    pub fn new(webhook: &Arc<str>, delivery: &str, mapping: &EventMapping, body: Value) -> Self {
        let first = |selector: &Selector| selector.find(&body).first().copied();
        let name = first(&mapping.name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (before, after) = (first(&mapping.before).cloned(), first(&mapping.after).cloned());
        let changed = first(&mapping.changed)
            .and_then(Value::as_array)
            .map(|names| names.iter().filter_map(Value::as_str).map(str::to_owned).collect());
        Self {
            webhook: Arc::clone(webhook),
            delivery: delivery.to_owned(),
            name,
            before,
            after,
            changed,
            body,
        }
    }

    /// Whether what `selector` selects in the record has changed; `None` if the sender does not say.
    ///
    /// Two records say it best, if one of them has what is selected: senders leave fields out of both. Next comes the
    /// sender's own list. A record that was created or deleted has changed in every way.
    pub fn has_changed(&self, selector: &Selector) -> Option<bool> {
        if let (Some(before), Some(after)) = (&self.before, &self.after) {
            if before.is_null() != after.is_null() {
                return Some(true);
            }
            let (before, after) = (selector.find(before), selector.find(after));
            if !(before.is_empty() && after.is_empty()) {
                return Some(before != after);
            }
        }
        if let Some(changed) = &self.changed {
            return Some(changed.iter().any(|name| selector.is_meant_by(name)));
        }
        // Who knows the old record and has no new one tells of a deletion. Who has only the new one may not know the old.
        let only_before =
            self.before.as_ref().is_some_and(|before| !before.is_null()) && self.after.is_none();
        only_before.then_some(true)
    }
}

#[cfg(test)]
#[expect(clippy::needless_pass_by_value, reason = "json! makes values")]
mod tests {
    use super::*;
    use serde_json::json;

    fn event(body: Value) -> Event {
        let at = |path| Selector::parse(path).unwrap();
        let mapping = EventMapping {
            name: at("$.type"),
            before: at("$.data.before"),
            after: at("$.data.after"),
            changed: at("$.data.changed"),
        };
        Event::new(&"app".into(), "msg_1", &mapping, body)
    }

    #[track_caller]
    fn check(selector: &str, data: Value, expected: Option<bool>) {
        let event = event(json!({"type": "x", "data": data}));
        assert_eq!(event.has_changed(&Selector::parse(selector).unwrap()), expected, "{data} at {selector}");
    }

    #[test]
    fn an_event_without_a_name_has_the_empty_one() {
        assert_eq!(event(json!({"type": "user.updated"})).name, "user.updated");
        for body in [json!({}), json!({"type": null}), json!({"type": 1}), json!([]), json!("x")] {
            assert_eq!(event(body.clone()).name, "", "{body}");
        }
    }

    #[test]
    fn a_field_has_changed_if_before_and_after_differ() {
        check("$.email", json!({"before": {"email": "a"}, "after": {"email": "b"}}), Some(true));
        check("$.email", json!({"before": {"email": "a"}, "after": {"email": "a"}}), Some(false));
        check("$.email", json!({"before": {}, "after": {"email": "a"}}), Some(true));
        check("$.tags[*]", json!({"before": {"tags": [1, 2]}, "after": {"tags": [1, 3]}}), Some(true));
        check("$.tags[*]", json!({"before": {"tags": [1, 2]}, "after": {"tags": [1, 2]}}), Some(false));
    }

    #[test]
    fn what_was_created_or_deleted_has_changed_in_every_way() {
        check("$.email", json!({"before": {"email": "a"}, "after": null}), Some(true));
        check("$.email", json!({"before": null, "after": {"id": 1}, "changed": []}), Some(true));
        check("$.email", json!({"before": {"id": 1}}), Some(true));
    }

    #[test]
    fn the_senders_list_serves_where_the_records_do_not_say() {
        check("$.email", json!({"changed": ["email"]}), Some(true));
        check("$.email", json!({"changed": ["name"]}), Some(false));
        check("$.email", json!({"changed": []}), Some(false));
        check("$.email", json!({"after": {"email": "a"}, "changed": ["name"]}), Some(false));
        check("$.email", json!({"before": {"id": 1}, "after": {"id": 1}, "changed": ["email"]}), Some(true));
        check("$.email", json!({"before": null, "after": null, "changed": ["email"]}), Some(true));
        // Two records that both have it know better.
        let both = json!({"before": {"email": "a"}, "after": {"email": "b"}, "changed": ["name"]});
        check("$.email", both, Some(true));
    }

    #[test]
    fn what_nobody_says_is_unknown() {
        for data in [
            json!({}),
            json!({"changed": null}),
            json!({"changed": "email"}),
            json!({"after": {"email": "a"}}),
            json!({"before": {"id": 1}, "after": {"id": 1}}),
            json!({"before": null, "after": null}),
        ] {
            check("$.email", data, None);
        }
    }

    #[test]
    fn the_senders_list_names_fields_of_the_record_or_paths_into_it() {
        for (selector, changed, expected) in [
            ("$.address.city", "address", true),
            ("$.address.city", "city", true),
            ("$.address.city", "address.city", true),
            ("$.address.city", "address.zip", false),
            ("$.address", "address.city", true),
            ("$.address.city", "address.city.name", true),
            ("$.address", "addresses", false),
            ("$.tags[*]", "tags", true),
            ("$.tags[0].name", "tags", true),
            ("$['tags'][?@.a == 'b']", "tags", true),
            ("$['b c'].d", "b c", true),
            ("$[\"e\"]", "f", false),
            ("$[*]", "anything", true),
            ("$..name", "anything", true),
            ("$['a', 'b']", "b", true),
            ("$", "anything", true),
        ] {
            check(selector, json!({"changed": [changed]}), Some(expected));
        }
    }

    #[test]
    fn what_is_no_path_is_refused_with_what_to_write() {
        for nested in ["(", "!(", "@[?", "length("] {
            for times in [10, MAX_OPENINGS, 40_000] {
                assert!(Selector::parse(&format!("$[?{}", nested.repeat(times))).is_err());
            }
        }
        assert!(Selector::parse("data.id").unwrap_err().message.contains("$.data.id"));
        let error = Selector::parse("$.data[").unwrap_err();
        assert!(error.at > 0 && error.at <= 7, "{error:?}");
    }

    #[test]
    fn a_selector_is_shown_as_it_was_written() {
        assert_eq!(Selector::parse("$.data['id']").unwrap().to_string(), "$.data['id']");
    }
}
