//! Where the work of invalidating runs. `inline`: in the request that brought the event, so that its answer says
//! what was purged. `background` and `durable`: after it, from a queue.

mod act;
mod deferred;
mod journal;
mod queue;
mod repair;
#[cfg(test)]
pub(crate) mod testing;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use crate::clock::{Clock, Patience};
use crate::invalidation::event::Event;
use crate::invalidation::rule::{Dispatcher, Rule, Skipped};
use crate::invalidation::{Invalidator, PATIENCE};
use crate::telemetry::Metrics;
use crate::warm::Warmer;

use deferred::Deferred;
pub use deferred::{DeferredSettings, DurableSettings};
pub use journal::{DeadLetter, JournalError, Which};
use queue::{Delay, Work};
pub use repair::{Repaired, repair};

/// How many failures a report tells in words; the others are counted.
const TOLD: usize = 5;

/// What a rule did with an event.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The rule's name.
    pub rule: String,
    /// How many stored responses were purged.
    pub matched: u64,
    /// There may have been more: counting took too long to wait for.
    #[serde(skip_serializing_if = "is_false")]
    pub at_least: bool,
    /// How many targets were named.
    pub targets: usize,
    /// Under which number `/v1/warm` tells how fetching again goes on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refresh: Option<u64>,
    /// How many stored responses were to be fetched again and were purged instead.
    #[serde(skip_serializing_if = "is_zero")]
    pub not_refreshed: usize,
    /// Why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub not_refreshed_because: Vec<String>,
    /// It is done later.
    #[serde(skip_serializing_if = "is_false")]
    pub queued: bool,
    /// The sender is to try again.
    #[serde(skip)]
    pub refused: bool,
    /// Why nothing was done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skipped: Option<Skipped>,
    /// Why nobody knows whether the rule's expression holds: it ran as if it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expression_failed: Option<String>,
    /// Whether the event named so much that more than that was purged.
    #[serde(skip_serializing_if = "is_false")]
    pub widened: bool,
    /// How much of it could not be done.
    #[serde(skip_serializing_if = "is_zero")]
    pub failed: usize,
    /// Why not, for the first few.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<String>,
}

impl Report {
    fn of(rule: &Rule) -> Self {
        Self { rule: rule.name.to_string(), ..Self::default() }
    }

    fn names_anything(&self) -> bool {
        self.targets > 0
    }

    /// In a word, for the counts.
    fn outcome(&self) -> &'static str {
        match self {
            _ if self.queued => "queued",
            _ if self.skipped.is_some() => "skipped",
            _ if self.is_incomplete() => "incomplete",
            _ if self.expression_failed.is_some() => "expression-failed",
            _ if self.refresh.is_none() && self.not_refreshed > 0 => "purged-instead",
            _ => "done",
        }
    }

    /// Whether something that the rule is there to purge was not.
    pub fn is_incomplete(&self) -> bool {
        self.failed > 0
    }

    fn fail(&mut self, error: String) {
        self.failed += 1;
        if self.errors.len() < TOLD {
            self.errors.push(cut(error));
        }
    }
}

/// How long they may be, in characters: they show values, which are the sender's.
const MAX_CHARACTERS: usize = 500;

fn cut(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(MAX_CHARACTERS) {
        text.truncate(end);
        text.push('…');
    }
    text
}

/// What it takes to do what rules say.
#[derive(Debug)]
pub struct Means {
    /// Purges.
    pub invalidator: Arc<Invalidator>,
    /// Fetches again.
    pub warmer: Arc<Warmer>,
    /// Counts.
    pub metrics: Arc<Metrics>,
}

/// The rules, and where their work runs.
#[derive(Debug)]
pub struct Dispatchers {
    rules: Arc<[Rule]>,
    means: Arc<Means>,
    deferred: Vec<Deferred>,
}

/// What a dispatcher could not do, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Dead {
    /// Its number, among those of its dispatcher.
    pub number: u64,
    /// The dispatcher.
    pub dispatcher: Arc<str>,
    /// Since when: ISO 8601.
    pub at: String,
    /// How often it was tried.
    pub attempts: u32,
    /// Why it could not be done.
    pub why: String,
    /// The rule.
    pub rule: Option<Arc<str>>,
    /// The webhook by which the event came.
    pub webhook: Option<Arc<str>>,
    /// The delivery that brought it.
    pub delivery: Option<String>,
    /// The name of the event.
    pub event: Option<String>,
}

impl Dispatchers {
    /// What is deferred is done in tasks of its own.
    ///
    /// # Errors
    /// What one has on disk cannot be read, and is required.
    pub fn new(
        rules: Arc<[Rule]>,
        means: Means,
        deferred: &[DeferredSettings],
        clock: &Clock,
    ) -> Result<Self, JournalError> {
        let means = Arc::new(means);
        let deferred = deferred.iter().map(|settings| Deferred::start(settings, &rules, &means, clock));
        let deferred = deferred.collect::<Result<_, _>>()?;
        Ok(Self { rules, means, deferred })
    }

    /// What each rule that listens to one of the events has done with it, or is to do. What is deferred is queued first: all
    /// that goes to one dispatcher, or nothing.
    pub fn run(&self, events: &[Arc<Event>]) -> Vec<Report> {
        let mut reports: Vec<((usize, usize), Report)> = Vec::new();
        let mut queues: BTreeMap<usize, Vec<(Work, Delay)>> = BTreeMap::new();
        let mut deferred = Vec::new();
        let mut inline = Vec::new();
        for (place, rule) in self.rules.iter().enumerate() {
            let heard = events.iter().enumerate().filter(|(_, event)| rule.listens_to(event));
            let heard: Vec<_> = heard.map(|(index, event)| ((index, place), event)).collect();
            let Dispatcher::Deferred(index) = rule.dispatcher else {
                inline.push((rule, heard));
                continue;
            };
            for (at, event) in heard {
                let work = Work { rule: Arc::clone(&rule.name), event: Arc::clone(event) };
                queues.entry(index).or_default().push((work, Delay { debounce: rule.debounce }));
                deferred.push((at, index, rule));
            }
        }
        let queued: BTreeMap<usize, bool> =
            queues.into_iter().map(|(index, works)| (index, self.defer(index, works))).collect();
        for (at, index, rule) in deferred {
            let queued = queued.get(&index).copied().unwrap_or_default();
            self.means.metrics.rule(&rule.webhook, &rule.name, if queued { "queued" } else { "refused" });
            reports.push((at, Report { queued, refused: !queued, ..Report::of(rule) }));
        }
        // Whoever sent it waits for all of them.
        let patience = Patience::of(PATIENCE);
        for (rule, heard) in inline {
            let events: Vec<_> = heard.iter().map(|(_, event)| &***event).collect();
            let places = heard.iter().map(|(at, _)| *at);
            reports.extend(places.zip(act::run(rule, &events, &self.means, &patience)));
        }
        // Event by event, and of each in the order of the rules.
        reports.sort_by_key(|(at, _)| *at);
        reports.into_iter().map(|(_, report)| report).collect()
    }

    /// `false`: it is full, or cannot be written.
    fn defer(&self, index: usize, works: Vec<(Work, Delay)>) -> bool {
        let Some(deferred) = self.deferred.get(index) else { return false };
        let number = works.len();
        let added = deferred.add(works);
        if let Err(error) = &added {
            tracing::warn!(dispatcher = %deferred.name(), %error, number, "events were refused");
        }
        added.is_ok()
    }

    /// Takes no more work, and ends when all is done that would be lost.
    pub async fn drain(&self) {
        for deferred in &self.deferred {
            deferred.drain().await;
        }
    }

    /// How many pieces of work wait, and how many are dead, by dispatcher.
    pub fn lengths(&self) -> impl Iterator<Item = (&str, usize, usize)> {
        self.deferred.iter().map(|deferred| {
            let (waiting, dead) = deferred.lengths();
            (&**deferred.name(), waiting, dead)
        })
    }

    /// The names of those that keep their work on disk.
    pub fn durable(&self) -> impl Iterator<Item = &str> {
        self.deferred.iter().filter(|deferred| deferred.is_durable()).map(|deferred| &**deferred.name())
    }

    /// What could not be done, the oldest first, from this number on. Blocks. `None`: there is no such dispatcher.
    pub fn dead(&self, name: &str, from: u64, limit: usize) -> Option<Result<Vec<Dead>, JournalError>> {
        let dispatcher = self.find(name)?;
        let told = |letter: DeadLetter| {
            let DeadLetter { number, at, attempts, why, written } = letter;
            let work: Option<Work> = serde_json::from_slice(&written).ok();
            let event = work.as_ref().map(|work| &work.event);
            Dead {
                number,
                dispatcher: Arc::clone(dispatcher.name()),
                at: at.iso8601().to_string(),
                attempts,
                why,
                rule: work.as_ref().map(|work| Arc::clone(&work.rule)),
                webhook: event.map(|event| Arc::clone(&event.webhook)),
                delivery: event.map(|event| event.delivery.clone()),
                event: event.map(|event| event.name.clone()),
            }
        };
        Some(dispatcher.dead(from, limit).map(|letters| letters.into_iter().map(told).collect()))
    }

    /// What could not be done is tried again; how much that is. Blocks. `None`: there is no such dispatcher.
    pub fn revive(&self, name: &str, which: Which) -> Option<Result<usize, JournalError>> {
        Some(self.find(name)?.revive(which))
    }

    /// What could not be done is forgotten; how much that is. Blocks. `None`: there is no such dispatcher.
    pub fn discard(&self, name: &str, which: Which) -> Option<Result<usize, JournalError>> {
        Some(self.find(name)?.discard(which))
    }

    fn find(&self, name: &str) -> Option<&Deferred> {
        self.deferred.iter().find(|deferred| **deferred.name() == *name)
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_false(flag: &bool) -> bool {
    !*flag
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_zero(number: &usize) -> bool {
    *number == 0
}
