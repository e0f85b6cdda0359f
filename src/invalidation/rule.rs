//! Invalidation rules: from an event to what must be forgotten. PURE.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::Strength;
use super::Target;
use super::ban::glob;
pub use super::condition::Condition;
use super::event::{Event, Kind};
pub use super::expression::Expression;
pub use super::target_template::TargetTemplate;
use super::target_template::Values;
use crate::selector::{Selector, text};

/// One entry of `invalidation:`.
#[derive(Debug)]
pub struct Rule {
    /// Its name, for logs and answers.
    pub name: Arc<str>,
    /// The webhook it listens to.
    pub webhook: Arc<str>,
    /// Event names; a `*` stands for anything. Empty: every event.
    pub events: Vec<Arc<str>>,
    /// Field mapping: each field takes every value that any of its selectors finds.
    pub fields: Vec<(Arc<str>, Vec<Selector>)>,
    /// What must hold of the body.
    pub when: Vec<Condition>,
    /// And what must hold of the event.
    pub expression: Option<Expression>,
    /// Fires only if one of these changed; relative to the record. Empty: always.
    pub watch: Vec<Selector>,
    /// What `watch` does when the sender does not say what changed.
    pub watch_unknown: WatchUnknown,
    /// Whether it runs when something is created; events that it names without a star are heard anyway.
    pub on_create: bool,
    /// What a purge does.
    pub strength: Strength,
    /// How many requests are made again, the most popular first. `None`: as many as warm-ups may make.
    pub refresh_limit: Option<usize>,
    /// Which fields must have a value.
    pub require: Require,
    /// What is done.
    pub actions: Vec<Action>,
    /// Where it is done.
    pub dispatcher: Dispatcher,
    /// For how long what it names is collected, to be done in one go; zero: not at all.
    pub debounce: Duration,
    /// What its sender is told of failures.
    pub on_error: OnError,
}

/// What `watch` does when the sender does not say what changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WatchUnknown {
    /// Forgetting too much is safe.
    #[default]
    Fire,
    /// The operator knows better.
    Skip,
}

/// Which fields must have a value for the rule to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Require {
    /// Every one.
    All,
    /// None: actions that lack a value are left out.
    None,
    /// These.
    These(Vec<Arc<str>>),
}

/// Where the work of invalidating runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dispatcher {
    /// In the request that brought the event: the answer says what was purged.
    Inline,
    /// After it, by the plan's deferred dispatcher of this index.
    Deferred(usize),
}

/// What the sender is told if something could not be purged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnError {
    /// That it was accepted; the log tells what went wrong.
    #[default]
    Log,
    /// To try again.
    Fail,
}

/// One entry of `do:`.
#[derive(Clone, Debug)]
pub enum Action {
    /// Forget what this names.
    Purge(TargetTemplate),
    /// Fetch again what is stored of it.
    Refresh(TargetTemplate),
}

/// How many things one event may name by one rule, one by one. For more, what they all belong to is named.
pub const MAX_TARGETS: usize = 1000;

/// Why a rule did not run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(rename_all = "kebab-case")]
pub enum Skipped {
    /// `when` does not hold.
    #[error("a condition does not hold")]
    Condition,
    /// Something was created, and the rule is not about that.
    #[error("something was created: `on_create` is false")]
    Create,
    /// Nothing that is watched has changed.
    #[error("nothing that is watched has changed")]
    NothingWatched,
    /// A required field has no value.
    #[error("the field {0:?} has no value")]
    FieldMissing(String),
}

/// What an event makes a rule forget, or fetch again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Named {
    /// What is to be forgotten, each once.
    pub targets: Vec<Target>,
    /// What is to be fetched again, each once.
    pub refreshed: Vec<Target>,
    /// What cannot be named with its values.
    pub unnamed: Vec<String>,
    /// Whether it names more than [`MAX_TARGETS`] things, so that what they belong to stands for them.
    pub widened: bool,
    /// Why nobody knows whether the expression of `when` holds; it is taken to.
    pub expression_failed: Option<String>,
}

impl Rule {
    /// Whether the rule listens to such events.
    pub fn listens_to(&self, event: &Event) -> bool {
        *self.webhook == *event.webhook
            && (self.events.is_empty() || self.events.iter().any(|pattern| glob(pattern, &event.name)))
    }

    /// What an event it listens to makes it forget.
    ///
    /// # Errors
    /// Why the rule does not run.
    pub fn named(&self, event: &Event) -> Result<Named, Skipped> {
        if !self.when.iter().all(|condition| condition.holds(&event.body)) {
            return Err(Skipped::Condition);
        }
        let expression_failed = match self.expression.as_ref().map(|expression| expression.holds(event)) {
            Some(Ok(false)) => return Err(Skipped::Condition),
            // Nobody knows whether it holds. Forgetting too much is allowed; keeping what is old is not.
            Some(Err(why)) => Some(why),
            Some(Ok(true)) | None => None,
        };
        let is_named = || self.events.iter().any(|name| **name == *event.name);
        if event.kind == Some(Kind::Create) && !self.on_create && !is_named() {
            return Err(Skipped::Create);
        }
        if !self.is_watched(event) {
            return Err(Skipped::NothingWatched);
        }
        let values = self.values(event)?;
        let mut named = Named { expression_failed, ..Named::default() };
        let mut left = MAX_TARGETS;
        for action in &self.actions {
            let (template, into) = match action {
                Action::Purge(template) => (template, &mut named.targets),
                Action::Refresh(template) => (template, &mut named.refreshed),
            };
            let targets = match template.combinations(&values, left) {
                Some(combinations) => {
                    left -= combinations.len();
                    let mut targets = Vec::new();
                    for combination in &combinations {
                        let filled = template.fill(combination);
                        if filled.is_empty() {
                            named.unnamed.push(template.unnamed(combination));
                        }
                        targets.extend(filled);
                    }
                    targets
                }
                None => {
                    named.widened = true;
                    vec![template.wider()]
                }
            };
            for target in targets {
                if !into.contains(&target) {
                    into.push(target);
                }
            }
        }
        Ok(named)
    }

    fn is_watched(&self, event: &Event) -> bool {
        let fire_if_unknown = self.watch_unknown == WatchUnknown::Fire;
        self.watch.is_empty()
            || self.watch.iter().any(|selector| event.has_changed(selector).unwrap_or(fire_if_unknown))
    }

    /// The values of each field, without repetition.
    fn values(&self, event: &Event) -> Result<Values<'_>, Skipped> {
        let mut values = Values::new();
        for (name, selectors) in &self.fields {
            let mut seen = HashSet::new();
            let found: Vec<String> = selectors
                .iter()
                .flat_map(|selector| selector.find(&event.body))
                .filter_map(text)
                .filter(|text| seen.insert(text.clone()))
                .collect();
            let required = match &self.require {
                Require::All => true,
                Require::None => false,
                Require::These(names) => names.contains(name),
            };
            if found.is_empty() && required {
                return Err(Skipped::FieldMissing(name.to_string()));
            }
            values.insert(name, found);
        }
        Ok(values)
    }
}

#[cfg(test)]
#[expect(clippy::needless_pass_by_value, reason = "json! makes values")]
mod tests {
    use super::*;
    use crate::routes::Template;
    use serde_json::{Value, json};
    use std::collections::BTreeMap;

    impl Rule {
        fn targets(&self, event: &Event) -> Result<Vec<Target>, Skipped> {
            self.named(event).map(|named| named.targets)
        }
    }

    fn at(path: &str) -> Selector {
        Selector::parse(path).unwrap()
    }

    fn hole(text: &str) -> Template {
        Template::parse(text).unwrap()
    }

    fn event(name: &str, data: Value) -> Event {
        Event::of_app(json!({"type": name, "data": data}))
    }

    fn rule(actions: Vec<TargetTemplate>) -> Rule {
        Rule {
            name: "test".into(),
            webhook: "app".into(),
            events: vec!["user.updated".into(), "page.*".into()],
            fields: vec![
                ("id".into(), vec![at("$.data.id")]),
                ("slug".into(), vec![at("$.data.before.slug"), at("$.data.after.slug")]),
            ],
            when: Vec::new(),
            expression: None,
            watch: Vec::new(),
            watch_unknown: WatchUnknown::Fire,
            on_create: false,
            strength: Strength::Hard,
            refresh_limit: None,
            require: Require::None,
            actions: actions.into_iter().map(Action::Purge).collect(),
            dispatcher: Dispatcher::Inline,
            debounce: Duration::ZERO,
            on_error: OnError::Log,
        }
    }

    #[test]
    fn a_rule_listens_to_the_events_it_names() {
        let rule = rule(Vec::new());
        for (name, listens) in
            [("user.updated", true), ("user.deleted", false), ("page.x", true), ("pages", false), ("", false)]
        {
            assert_eq!(rule.listens_to(&event(name, json!({}))), listens, "{name}");
        }
    }

    #[test]
    fn a_renamed_slug_purges_both_pages() {
        let rule = rule(vec![TargetTemplate::Url(hole("http://a.test/{slug}"))]);
        let targets = rule.targets(&event("x", json!({"before": {"slug": "old"}, "after": {"slug": "new"}})));
        assert_eq!(
            targets,
            Ok(vec![Target::Url("http://a.test/old".into()), Target::Url("http://a.test/new".into())])
        );
    }

    #[test]
    fn a_value_in_a_url_is_encoded_and_in_a_tag_it_is_not() {
        let rule = rule(vec![
            TargetTemplate::Url(hole("http://a.test/{id}")),
            TargetTemplate::Tag(hole("user:{id}")),
        ]);
        let targets = rule.targets(&event("x", json!({"id": "é?"})));
        assert_eq!(
            targets,
            Ok(vec![Target::Url("http://a.test/%C3%A9%3F".into()), Target::Tag("user:é?".into())])
        );
    }

    #[test]
    fn a_path_that_selects_a_million_values_names_what_they_all_belong_to() {
        let mut rule = rule(vec![TargetTemplate::Url(hole("http://a.test/{id}"))]);
        rule.fields = vec![("id".into(), vec![at("$..*")])];
        let many: Vec<u32> = (0..1_000_000).collect();
        let named = rule.named(&event("x", json!(many))).unwrap();
        assert_eq!((named.targets, named.widened), (vec![Target::Host("a.test".into())], true));
    }

    #[test]
    fn every_combination_of_values_is_named() {
        let values = [("user", "{id}"), ("page", "{slug}-{id}")];
        let values = values.map(|(name, text)| (name.to_owned(), hole(text))).into();
        let mut rule = rule(vec![TargetTemplate::KeyPartition { key: "k".into(), values }]);
        rule.fields[0].1 = vec![at("$.data.ids[*]")];
        let data = json!({"ids": [1, 2], "before": {"slug": "a"}, "after": {"slug": "b"}});
        let partitions = rule.targets(&event("x", data)).unwrap().into_iter().map(|target| match target {
            Target::KeyPartition { key, values } => format!("{key} {} {}", values["user"], values["page"]),
            other => panic!("{other}"),
        });
        assert_eq!(partitions.collect::<Vec<_>>(), ["k 1 a-1", "k 1 b-1", "k 2 a-2", "k 2 b-2"]);
    }

    #[test]
    fn a_number_is_written_as_it_stands_in_urls() {
        for (number, expected) in [
            ("42", Some("42")),
            ("-1", Some("-1")),
            ("42.0", Some("42")),
            ("-0.0", Some("0")),
            ("1e3", Some("1000")),
            ("9.5", Some("9.5")),
            ("18446744073709551615", Some("18446744073709551615")),
            ("184467440737095516150", None),
            ("1e300", None),
        ] {
            let value: Value = serde_json::from_str(number).unwrap();
            assert_eq!(text(&value).as_deref(), expected, "{number}");
        }
    }

    #[test]
    fn lists_fan_out_and_only_scalars_are_values() {
        let mut rule = rule(vec![TargetTemplate::Tag(hole("{id}"))]);
        rule.fields[0].1 = vec![at("$.data.ids[*]")];
        let targets = rule.targets(&event("x", json!({"ids": [1, "a", true, null, {}, [], 1]})));
        let tags = ["1", "a", "true"].map(|tag| Target::Tag(tag.into()));
        assert_eq!(targets, Ok(tags.to_vec()));
    }

    #[test]
    fn a_required_field_without_a_value_is_said() {
        let mut rule = rule(vec![TargetTemplate::Tag(hole("{id}"))]);
        assert_eq!(rule.targets(&event("x", json!({}))), Ok(Vec::new()));
        rule.require = Require::These(vec!["id".into()]);
        assert_eq!(rule.targets(&event("x", json!({}))), Err(Skipped::FieldMissing("id".into())));
        rule.require = Require::All;
        assert_eq!(rule.targets(&event("x", json!({"id": 1}))), Err(Skipped::FieldMissing("slug".into())));
    }

    #[test]
    fn watching_does_not_do_away_with_conditions() {
        let mut rule = rule(vec![TargetTemplate::Everything]);
        rule.watch = vec![at("$.name")];
        rule.when = vec![Condition::new("$.data.status", &json!("live")).unwrap()];
        let targets = |status: &str, name: &str| {
            let data = json!({"status": status, "before": {"name": "a"}, "after": {"name": name}});
            rule.targets(&event("x", data))
        };
        assert_eq!(targets("live", "b"), Ok(vec![Target::Everything]));
        assert_eq!(targets("live", "a"), Err(Skipped::NothingWatched));
        assert_eq!(targets("draft", "b"), Err(Skipped::Condition));
    }

    #[test]
    fn an_expression_that_cannot_be_evaluated_is_taken_to_hold() {
        let mut rule = rule(vec![TargetTemplate::Everything]);
        rule.expression = Some(Expression::parse("body.data.price > 10").unwrap());
        let named = |rule: &Rule, data: Value| rule.named(&event("x", data));
        let failed = named(&rule, json!({})).unwrap();
        assert_eq!(failed.targets, [Target::Everything]);
        assert!(failed.expression_failed.is_some_and(|why| why.contains("price")));
        assert_eq!(named(&rule, json!({"price": 11})).unwrap().expression_failed, None);
        assert_eq!(named(&rule, json!({"price": 9})), Err(Skipped::Condition));
        // What else is asked for is asked for all the same.
        rule.when = vec![Condition::new("$.data.status", &json!("live")).unwrap()];
        assert_eq!(named(&rule, json!({})), Err(Skipped::Condition));
    }

    #[test]
    fn what_changed_unsaid_fires_unless_the_rule_says_otherwise() {
        let mut rule = rule(vec![TargetTemplate::Everything]);
        rule.watch = vec![at("$.name")];
        assert!(rule.targets(&event("x", json!({}))).is_ok());
        rule.watch_unknown = WatchUnknown::Skip;
        assert_eq!(rule.targets(&event("x", json!({}))), Err(Skipped::NothingWatched));
    }

    #[test]
    fn of_an_event_that_names_too_much_everything_it_may_name_is_forgotten() {
        let tag = |text| TargetTemplate::Tag(hole(text));
        let url = |text| TargetTemplate::Url(hole(text));
        let values = || BTreeMap::from([("id".to_owned(), hole("{id}"))]);
        let check = |actions, ids: usize, expected: Option<&[Target]>| {
            let mut rule = rule(actions);
            rule.fields[0].1 = vec![at("$.data.ids[*]")];
            rule.fields[1].1 = vec![at("$.data.ids[*]")];
            let ids: Vec<_> = (0..ids).collect();
            let named = rule.named(&event("x", json!({"ids": ids}))).unwrap();
            let wide = named.targets.iter().filter(|target| !matches!(target, Target::Tag(_)));
            let wide: Vec<_> = wide.cloned().collect();
            assert_eq!(named.widened.then_some(&wide[..]), expected, "{:?}", rule.actions);
        };
        let everything = [Target::Everything];
        check(vec![tag("{id}")], MAX_TARGETS, None);
        check(vec![tag("{id}")], MAX_TARGETS + 1, Some(&everything));
        check(vec![tag("{id}:{slug}")], 32, Some(&everything));
        check(vec![tag("a:{id}"), tag("b:{id}")], 501, Some(&everything));
        check(vec![url("http://a.test/{id}")], 2000, Some(&[Target::Host("a.test".into())]));
        check(vec![url("http://{id}/a")], 2000, Some(&everything));
        let (route, key) = ("r".to_owned(), "k".to_owned());
        let partition = TargetTemplate::RoutePartition { route: route.clone(), values: values() };
        check(vec![partition], 2000, Some(&[Target::Route(route)]));
        let partition = TargetTemplate::KeyPartition { key: key.clone(), values: values() };
        check(vec![partition], 2000, Some(&[Target::Key(key)]));
        // What names nothing counts for nothing, and what no template uses neither.
        check(vec![tag("{id}:{missing}")], 2000, None);
        check(vec![TargetTemplate::Everything], 100_000, None);
    }
}
