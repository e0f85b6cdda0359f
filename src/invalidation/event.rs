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
        let path = JsonPath::parse(text)
            .map_err(|error| SelectorError { at: error.position(), message: error.message().to_owned() })?;
        Ok(Self { text: text.into(), path })
    }

    /// All that it selects.
    pub fn find<'v>(&self, value: &'v Value) -> Vec<&'v Value> {
        self.path.query(value).all()
    }

    /// The last name in it: `email` of `$.data.email`. Empty if it ends in something else.
    pub fn last_name(&self) -> &str {
        let name = self.text.rsplit(['.', '[']).next().unwrap_or_default();
        name.trim_end_matches(']').trim_matches(['\'', '"', '$'])
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// What a delivery says has changed.
#[derive(Clone, Debug)]
pub struct Event {
    /// The webhook it came by.
    pub webhook: Arc<str>,
    /// Its name, such as `user.updated`; empty if the body names none.
    pub name: String,
    /// The whole body.
    pub body: Value,
    /// The record before the change, where the sender says.
    pub before: Option<Value>,
    /// The record after it.
    pub after: Option<Value>,
    /// The names of the fields that changed, where the sender says.
    pub changed: Option<BTreeSet<String>>,
}

impl Event {
    /// Reads an event from a body.
    pub fn new(webhook: &Arc<str>, mapping: &EventMapping, body: Value) -> Self {
        let first =
            |selector: &Selector| selector.find(&body).first().copied().filter(|value| !value.is_null());
        let name = first(&mapping.name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (before, after) = (first(&mapping.before).cloned(), first(&mapping.after).cloned());
        let changed = first(&mapping.changed)
            .and_then(Value::as_array)
            .map(|names| names.iter().filter_map(Value::as_str).map(str::to_owned).collect());
        Self { webhook: Arc::clone(webhook), name, before, after, changed, body }
    }

    /// Whether what `selector` selects in the record has changed; `None` if the sender does not say.
    pub fn has_changed(&self, selector: &Selector) -> Option<bool> {
        if self.before.is_some() || self.after.is_some() {
            let values = |record: &Option<Value>| -> Vec<Value> {
                record.iter().flat_map(|record| selector.find(record)).cloned().collect()
            };
            // With one of two missing, the record was created or deleted: what it has has changed.
            return Some(values(&self.before) != values(&self.after));
        }
        Some(self.changed.as_ref()?.contains(selector.last_name()))
    }
}

#[cfg(test)]
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
        Event::new(&"app".into(), &mapping, body)
    }

    fn has_changed(data: Value) -> Option<bool> {
        event(json!({"type": "x", "data": data})).has_changed(&Selector::parse("$.email").unwrap())
    }

    #[test]
    fn a_field_has_changed_if_before_and_after_differ() {
        assert_eq!(has_changed(json!({"before": {"email": "a"}, "after": {"email": "b"}})), Some(true));
        assert_eq!(has_changed(json!({"before": {"email": "a"}, "after": {"email": "a"}})), Some(false));
        assert_eq!(has_changed(json!({"before": {"email": "a"}, "after": null})), Some(true));
    }

    #[test]
    fn the_senders_list_serves_where_there_are_no_records() {
        assert_eq!(has_changed(json!({"changed": ["email"]})), Some(true));
        assert_eq!(has_changed(json!({"changed": ["name"]})), Some(false));
        assert_eq!(has_changed(json!({})), None);
    }

    #[test]
    fn what_is_no_path_is_refused_with_what_to_write() {
        assert!(Selector::parse("data.id").unwrap_err().message.contains("$.data.id"));
        assert!(Selector::parse("$.data[").is_err());
    }

    #[test]
    fn the_last_name_of_a_path() {
        for (path, name) in [("$.email", "email"), ("$.a.b", "b"), ("$['a']['b c']", "b c"), ("$", "")] {
            assert_eq!(Selector::parse(path).unwrap().last_name(), name, "{path}");
        }
    }
}
