//! An event: what a webhook says has changed. PURE.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value;

use crate::selector::Selector;
use crate::webhooks::EventMapping;

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
}
