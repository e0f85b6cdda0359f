//! An event: what a webhook says has changed. PURE.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::selector::Selector;
use crate::webhooks::{EventMapping, KindMapping, Raw};

/// What a delivery says has changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// The webhook it came by.
    pub webhook: Arc<str>,
    /// The delivery that brought it.
    pub delivery: String,
    /// Its name, such as `user.updated`; empty if the sender gives it none.
    pub name: String,
    /// The whole body, or the part of it that is this event.
    pub body: Value,
    /// The record before the change, where the sender says; `null` if it says that there was none.
    #[serde(default, deserialize_with = "said", skip_serializing_if = "Option::is_none")]
    pub before: Option<Value>,
    /// The record after it; `null` if the sender says that there is none any more.
    #[serde(default, deserialize_with = "said", skip_serializing_if = "Option::is_none")]
    pub after: Option<Value>,
    /// The names of the fields that changed, where the sender says.
    pub changed: Option<BTreeSet<String>>,
    /// What was done to the record, where that can be made out.
    pub kind: Option<Kind>,
}

/// What was done to a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// It was created.
    Create,
    /// It was changed.
    Update,
    /// It was deleted.
    Delete,
}

impl Kind {
    /// As it is told.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Delete => "delete",
        }
    }

    /// By the last word of an event's name: `article.created`.
    fn of_name(name: &str) -> Option<Self> {
        let word = name.rsplit(|character: char| !character.is_alphanumeric()).next()?;
        match word.to_ascii_lowercase().as_str() {
            "create" | "created" | "insert" | "inserted" | "added" => Some(Self::Create),
            "update" | "updated" | "edited" | "changed" => Some(Self::Update),
            "delete" | "deleted" | "remove" | "removed" | "destroy" | "destroyed" => Some(Self::Delete),
            _ => None,
        }
    }
}

impl Event {
    /// The events of a delivery, of which `json` is the body: what the mapping says, the items of a list, or the whole.
    pub fn all(
        webhook: &Arc<str>,
        delivery: &str,
        mapping: &EventMapping,
        raw: &Raw<'_>,
        json: &Value,
    ) -> Vec<Self> {
        let event = |body: &Value| Self::new(webhook, delivery, mapping, raw, body.clone());
        mapping.items(&mapping.content(json)).into_iter().map(event).collect()
    }

    fn new(webhook: &Arc<str>, delivery: &str, mapping: &EventMapping, raw: &Raw<'_>, body: Value) -> Self {
        let first = |selectors: &[Selector]| {
            selectors.iter().find_map(|selector| selector.find(&body).first().copied())
        };
        let names = mapping.name.iter().filter_map(|source| source.text(raw, Some(&body)));
        let name = names.take(if mapping.joins_names { usize::MAX } else { 1 }).collect::<Vec<_>>().join(".");
        let (before, after) = (first(&mapping.before).cloned(), first(&mapping.after).cloned());
        let changed = mapping.changed.iter().find_map(|selector| names_in(selector.find(&body).first()?));
        let word = mapping.kind.as_ref().and_then(|kind| kind.of(raw, &body));
        let by_records = || match (&before, &after) {
            (Some(Value::Null), Some(after)) if !after.is_null() => Some(Kind::Create),
            (Some(before), Some(Value::Null)) if !before.is_null() => Some(Kind::Delete),
            _ => None,
        };
        let kind = word.or_else(by_records).or_else(|| Kind::of_name(&name));
        let (webhook, delivery) = (Arc::clone(webhook), delivery.to_owned());
        Self { webhook, delivery, name, before, after, changed, kind, body }
    }

    /// Whether what `selector` selects in the record has changed; `None` if the sender does not say.
    ///
    /// A record that was created or deleted has changed in every way. Else two records say it best, if one of them has what is
    /// selected: senders leave fields out of both. Next comes the sender's own list.
    pub fn has_changed(&self, selector: &Selector) -> Option<bool> {
        if matches!(self.kind, Some(Kind::Create | Kind::Delete)) {
            return Some(true);
        }
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

/// What is `null` was said to be nothing; what was not said is not there.
fn said<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(from).map(Some)
}

/// The names in a list, or those of an object's members. A list says that nothing changed if it is empty; an object of earlier
/// values is also empty where there were none, or none are told.
fn names_in(value: &Value) -> Option<BTreeSet<String>> {
    match value {
        Value::Array(names) => names.iter().map(|name| name.as_str().map(str::to_owned)).collect(),
        Value::Object(members) if members.is_empty() => None,
        Value::Object(members) => Some(members.keys().cloned().collect()),
        _ => None,
    }
}

impl EventMapping {
    /// How many events a body has.
    pub fn count(&self, json: &Value) -> usize {
        self.items(&self.content(json)).len()
    }

    /// What a body says, which may be in a text of it.
    fn content<'v>(&self, json: &'v Value) -> Cow<'v, Value> {
        let text = self.inside.as_ref().and_then(|inside| inside.find(json).first()?.as_str());
        let inner = text.and_then(|text| serde_json::from_str(text).ok());
        inner.map_or(Cow::Borrowed(json), Cow::Owned)
    }

    /// The parts of what it says that are an event each.
    fn items<'v>(&self, json: &'v Value) -> Vec<&'v Value> {
        let each = self.each.as_ref().map(|each| each.find(json)).unwrap_or_default();
        match json {
            _ if !each.is_empty() => each,
            // A batch of what is sent by itself otherwise.
            Value::Array(items) => items.iter().collect(),
            whole => vec![whole],
        }
    }
}

impl KindMapping {
    fn of(&self, raw: &Raw<'_>, item: &Value) -> Option<Kind> {
        let word = self.from.iter().find_map(|source| source.text(raw, Some(item)))?;
        let kinds =
            [(&self.create, Kind::Create), (&self.update, Kind::Update), (&self.delete, Kind::Delete)];
        kinds.into_iter().find(|(words, _)| words.contains(&word)).map(|(_, kind)| kind)
    }
}

#[cfg(test)]
#[expect(clippy::needless_pass_by_value, reason = "json! makes values")]
mod tests {
    use super::*;
    use crate::webhooks::Source;
    use bytes::Bytes;
    use http::{HeaderMap, Method};
    use serde_json::json;

    impl Event {
        /// As an app sends it by Standard Webhooks.
        pub(crate) fn of_app(body: Value) -> Self {
            let (headers, octets) = (HeaderMap::new(), Bytes::from(body.to_string()));
            let raw = Raw::new(&Method::POST, "/hooks/app", &headers, &octets);
            Self::all(&"app".into(), "msg_1", &EventMapping::of_app(), &raw, &body).remove(0)
        }
    }

    impl EventMapping {
        pub(crate) fn of_app() -> Self {
            let at = |path| vec![Selector::parse(path).unwrap()];
            Self {
                name: vec![Source::parse("$.type").unwrap()],
                before: at("$.data.before"),
                after: at("$.data.after"),
                changed: at("$.data.changed"),
                ..Self::default()
            }
        }
    }

    fn event(body: Value) -> Event {
        Event::of_app(body)
    }

    #[test]
    fn an_event_that_was_written_down_is_the_same() {
        for data in
            [json!({"before": null, "after": {"a": 1}}), json!({"after": 1.5, "changed": ["a"]}), json!({})]
        {
            let event = event(json!({"type": "x.created", "data": data}));
            let written = serde_json::to_vec(&event).unwrap();
            assert_eq!(serde_json::from_slice::<Event>(&written).unwrap(), event);
        }
    }

    #[track_caller]
    fn check(selector: &str, data: Value, expected: Option<bool>) {
        let event = event(json!({"type": "x", "data": data}));
        assert_eq!(event.has_changed(&Selector::parse(selector).unwrap()), expected, "{data} at {selector}");
    }

    #[test]
    fn an_event_without_a_name_has_the_empty_one() {
        assert_eq!(event(json!({"type": "user.updated"})).name, "user.updated");
        for body in [json!({}), json!({"type": null}), json!({"type": [1]}), json!("x")] {
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
    fn what_an_event_calls_created_or_deleted_has_changed_whatever_its_list_says() {
        for (name, expected) in [
            ("page.added", Some(true)),
            ("page.deleted", Some(true)),
            ("page.updated", Some(false)),
            ("page", Some(false)),
        ] {
            let event = event(json!({"type": name, "data": {"changed": []}}));
            assert_eq!(event.has_changed(&Selector::parse("$.slug").unwrap()), expected, "{name}");
        }
    }

    #[test]
    fn of_several_names_the_first_may_be_meant() {
        let (headers, octets) = (HeaderMap::new(), Bytes::from_static(b"{}"));
        let raw = Raw::new(&Method::POST, "/hook", &headers, &octets);
        let name = |joins_names| {
            let name = ["$.none", "$.type", "$.action"].map(|path| Source::parse(path).unwrap()).into();
            let mapping = EventMapping { name, joins_names, ..EventMapping::default() };
            let body = json!({"type": "issue", "action": "edited"});
            Event::all(&"app".into(), "1", &mapping, &raw, &body).remove(0).name
        };
        assert_eq!((name(true), name(false)), ("issue.edited".to_owned(), "issue".to_owned()));
    }

    #[test]
    fn the_senders_list_serves_where_the_records_do_not_say() {
        check("$.email", json!({"changed": ["email"]}), Some(true));
        check("$.email", json!({"changed": ["name"]}), Some(false));
        check("$.email", json!({"changed": []}), Some(false));
        check("$.email", json!({"changed": {"name": "a"}}), Some(false));
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
            json!({"changed": {}}),
            json!({"changed": [{"field": "email"}]}),
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
}
