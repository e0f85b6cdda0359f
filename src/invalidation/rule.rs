//! Invalidation rules: from an event to what must be forgotten.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::event::{Selector, SelectorError};
use crate::routes::Template;

/// One entry of `invalidation:`.
#[derive(Debug)]
pub struct Rule {
    pub name: Arc<str>,
    pub webhook: Arc<str>,
    /// Event names; `*` at the end stands for any ending. Empty: every event.
    pub events: Vec<Arc<str>>,
    /// Field mapping: each field takes every value that any of its selectors finds.
    pub fields: Vec<(Arc<str>, Vec<Selector>)>,
    pub when: Vec<Condition>,
    /// Fires only if one of these changed (empty: always).
    pub watch: Vec<Selector>,
    /// What `watch` does when the sender does not say what changed.
    pub watch_unknown: WatchUnknown,
    pub require: Require,
    pub actions: Vec<Action>,
    pub dispatcher: DispatcherName,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WatchUnknown {
    #[default]
    Fire,
    Skip,
}

/// Which fields must have a value for the rule to run. Default: all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Require {
    All,
    None,
    These(Vec<Arc<str>>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DispatcherName {
    Inline,
}

/// One entry of `when:`; all must hold.
#[derive(Clone, Debug)]
pub struct Condition {/* helper E */}

impl Condition {
    /// `subject`: a JSONPath, negated by a leading `!`. `expected`: a plain value (equal), a list (any of), or a
    /// mapping with one operator: `in`, `exists`, `matches`, `gt`, `gte`, `lt`, `lte`, `not`.
    pub fn new(subject: &str, expected: &serde_json::Value) -> Result<Self, SelectorError> {
        unimplemented!()
    }
}

/// One entry of `do:`.
#[derive(Clone, Debug)]
pub enum Action {
    Purge(TargetTemplate),
}

/// A purge target whose names are fixed and whose values have holes (`{field}`) filled from the rule's fields.
#[derive(Clone, Debug)]
pub enum TargetTemplate {
    Url(Template),
    Tag(Template),
    Host(Template),
    Route(String),
    RoutePartition { route: String, values: BTreeMap<String, Template> },
    Key(String),
    KeyPartition { key: String, values: BTreeMap<String, Template> },
    Namespace(String),
    Everything,
}
