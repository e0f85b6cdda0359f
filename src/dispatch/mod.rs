//! Where the work of invalidating runs. `inline`: in the request that brought the event, so that its answer says
//! what was purged. `background`: after it.

mod background;
mod inline;

use std::sync::Arc;

use serde::Serialize;

use crate::invalidation::Invalidator;
use crate::invalidation::event::Event;
use crate::invalidation::rule::{Dispatcher, OnError, Rule, Skipped};
use crate::warm::Warmer;

use background::Background;
pub use background::BackgroundSettings;

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
    /// It is done later.
    #[serde(skip_serializing_if = "is_false")]
    pub queued: bool,
    /// The sender is to try again.
    #[serde(skip)]
    pub refused: bool,
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
#[derive(Debug)]
pub struct Means {
    /// Purges.
    pub invalidator: Arc<Invalidator>,
    /// Fetches again.
    pub warmer: Arc<Warmer>,
}

/// The rules, and where their work runs.
#[derive(Debug)]
pub struct Dispatchers {
    rules: Arc<[Rule]>,
    means: Arc<Means>,
    backgrounds: Vec<Background>,
}

impl Dispatchers {
    /// Where there are `backgrounds`, they work in tasks of their own.
    pub fn new(rules: Arc<[Rule]>, means: Means, backgrounds: &[BackgroundSettings]) -> Self {
        let means = Arc::new(means);
        let backgrounds =
            backgrounds.iter().map(|settings| Background::start(settings, &rules, &means)).collect();
        Self { rules, means, backgrounds }
    }

    /// What each rule that listens to an event has done with it, or is to do.
    pub fn run(&self, event: &Arc<Event>) -> Vec<Report> {
        let listening = self.rules.iter().enumerate().filter(|(_, rule)| rule.listens_to(event));
        listening.map(|(index, rule)| self.dispatch(index, rule, event)).collect()
    }

    fn dispatch(&self, index: usize, rule: &Rule, event: &Arc<Event>) -> Report {
        let Dispatcher::Background(background) = rule.dispatcher else {
            return carry_out(rule, event, &self.means);
        };
        let is_queued = self.backgrounds.get(background).is_some_and(|queue| queue.add(index, event));
        if !is_queued {
            tracing::warn!(
                rule = %rule.name, webhook = %event.webhook, delivery = event.delivery, event = event.name,
                "a dispatcher is full"
            );
        }
        Report { rule: rule.name.to_string(), queued: is_queued, refused: !is_queued, ..Report::default() }
    }

    /// Takes no more work, and ends when all is done.
    pub async fn drain(&self) {
        for background in &self.backgrounds {
            background.drain().await;
        }
    }
}

/// Does what a rule says of an event, here and now.
fn carry_out(rule: &Rule, event: &Event, means: &Means) -> Report {
    let mut report = inline::run(rule, event, means);
    report.refused = report.is_incomplete() && rule.on_error == OnError::Fail;
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
