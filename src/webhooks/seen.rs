//! The last deliveries of a hook, for whoever looks after them. Without their bodies.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;

use super::Accepted;
use crate::clock::Timestamp;
use crate::dispatch::Report;

/// How many of one hook are remembered.
const REMEMBERED: usize = 100;

/// How much of an id, a name or a reason is told, in characters: they are the sender's choice.
const MAX_CHARACTERS: usize = 200;

/// What became of a delivery.
#[derive(Clone, Debug, Serialize)]
pub struct Seen {
    /// When it came: ISO 8601.
    pub at: String,
    #[serde(skip)]
    order: Timestamp,
    /// The hook's name.
    pub webhook: String,
    /// `accepted`, `incomplete`, `duplicate`, `bad-signature`, `malformed`, `too-large` or `failed`.
    pub outcome: &'static str,
    /// Why it was not accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// By what it is known again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The name of its event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
    /// How many stored responses were purged.
    pub matched: u64,
    /// What each rule that listens to the event did, or why not.
    pub rules: Vec<Report>,
    /// How long it took, in milliseconds.
    pub took_ms: f64,
}

/// See the [module](self).
#[derive(Debug, Default)]
pub(super) struct Log(Mutex<VecDeque<Seen>>);

impl Log {
    pub(super) fn add(
        &self,
        webhook: &str,
        at: Timestamp,
        took: Duration,
        outcome: &'static str,
        told: Result<&Accepted, &str>,
    ) {
        let accepted = told.ok();
        let seen = Seen {
            at: at.iso8601().to_string(),
            order: at,
            webhook: webhook.to_owned(),
            outcome,
            why: told.err().map(cut),
            id: accepted.map(|accepted| cut(&accepted.id)),
            event: accepted.map(|accepted| cut(&accepted.event)),
            matched: accepted.map_or(0, |accepted| accepted.matched),
            rules: accepted.map(|accepted| accepted.rules.clone()).unwrap_or_default(),
            took_ms: took.as_secs_f64() * 1000.0,
        };
        let mut log = self.lock();
        if log.len() == REMEMBERED {
            log.pop_front();
        }
        log.push_back(seen);
    }

    /// All of them, the newest first.
    pub(super) fn all(&self) -> Vec<Seen> {
        self.lock().iter().rev().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Seen>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The newest of several hooks' deliveries, each the newest first.
pub fn newest(of_hooks: impl IntoIterator<Item = Vec<Seen>>, limit: usize) -> Vec<Seen> {
    let mut all: Vec<_> = of_hooks.into_iter().flatten().collect();
    // Stable: those of one hook and one moment stay in their order.
    all.sort_by_key(|seen| std::cmp::Reverse(seen.order));
    all.truncate(limit);
    all
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(MAX_CHARACTERS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
