//! Where the work of invalidating runs. `inline`: in the request that brought the event, so that its answer says
//! what was purged.

mod inline;

use serde::Serialize;

use crate::invalidation::Invalidator;
use crate::invalidation::event::Event;
use crate::invalidation::rule::{DispatcherName, Rule, Skipped};
use crate::warm::Warmer;

/// How many failures a report tells in words; the others are counted.
const TOLD: usize = 5;

/// What a rule did with an event.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The rule's name.
    pub rule: String,
    /// How many stored responses were purged.
    pub matched: u64,
    /// How many targets were named.
    pub targets: usize,
    /// Under which number `/v1/warm` tells how fetching again goes on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refresh: Option<u64>,
    /// Why nothing was done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skipped: Option<Skipped>,
    /// Whether the event named so much that more than that was purged.
    #[serde(skip_serializing_if = "is_false")]
    pub widened: bool,
    /// How many of the targets could not be purged.
    #[serde(skip_serializing_if = "is_zero")]
    pub failed: usize,
    /// Why not, for the first few.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<String>,
}

impl Report {
    /// Whether something that the rule is there to purge was not.
    pub fn is_incomplete(&self) -> bool {
        self.failed > 0
    }

    fn fail(&mut self, error: String) {
        self.failed += 1;
        if self.errors.len() < TOLD {
            self.errors.push(error);
        }
    }
}

/// What it takes to do what rules say.
#[derive(Clone, Copy, Debug)]
pub struct Means<'a> {
    /// Purges.
    pub invalidator: &'a Invalidator,
    /// Fetches again.
    pub warmer: &'a Warmer,
}

/// Runs a rule that listens to an event, where the rule says.
pub fn run(rule: &Rule, event: &Event, means: &Means<'_>) -> Report {
    let report = match rule.dispatcher {
        DispatcherName::Inline => inline::run(rule, event, means),
    };
    let skipped = report.skipped.as_ref().map(ToString::to_string);
    if report.is_incomplete() {
        tracing::warn!(
            rule = %rule.name, webhook = %event.webhook, delivery = event.delivery, event = event.name,
            targets = report.targets, failed = report.failed, errors = ?report.errors, skipped,
            "a rule could not purge all that an event names"
        );
    } else {
        if report.widened {
            tracing::warn!(
                rule = %rule.name, webhook = %event.webhook, delivery = event.delivery, event = event.name,
                "an event names so much that all that it may name was purged"
            );
        }
        tracing::info!(
            rule = %rule.name, webhook = %event.webhook, delivery = event.delivery, event = event.name,
            targets = report.targets, matched = report.matched, skipped,
            "a rule heard an event"
        );
    }
    report
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_false(flag: &bool) -> bool {
    !*flag
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_zero(number: &usize) -> bool {
    *number == 0
}
