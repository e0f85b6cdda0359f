//! Where the work of invalidating runs. `inline`: in the request that brought the event, so that its answer says
//! what was purged.

mod inline;

use std::sync::Arc;

use serde::Serialize;

use crate::invalidation::Invalidator;
use crate::invalidation::event::Event;
use crate::invalidation::rule::{DispatcherName, Rule, Skipped};

/// What a rule did with an event.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// The rule's name.
    pub rule: String,
    /// How many stored responses were purged.
    pub matched: u64,
    /// How many targets were named.
    pub targets: usize,
    /// Why nothing was done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skipped: Option<Skipped>,
    /// What went wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Runs a rule that listens to an event, where the rule says.
pub fn run(rule: &Rule, event: &Event, invalidator: &Arc<Invalidator>) -> Report {
    let report = match rule.dispatcher {
        DispatcherName::Inline => inline::run(rule, event, invalidator),
    };
    tracing::info!(
        rule = %rule.name, webhook = %event.webhook, event = %event.name,
        targets = report.targets, matched = report.matched,
        skipped = report.skipped.as_ref().map(ToString::to_string), error = report.error,
        "a rule heard an event"
    );
    report
}
