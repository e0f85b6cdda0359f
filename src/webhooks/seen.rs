//! The last deliveries of a hook, for whoever looks after them. What they said is kept only where that is allowed.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;

use super::Accepted;
use crate::clock::Timestamp;
use crate::dispatch::Report;
use crate::invalidation::event::Event;

/// How many of one hook are remembered.
const REMEMBERED: usize = 100;

/// How much of an id, a name or a reason is told, in characters: they are the sender's choice.
const MAX_CHARACTERS: usize = 200;

/// What became of a delivery.
#[derive(Clone, Debug, Serialize)]
pub struct Seen {
    /// Its number, since the server was started.
    pub number: u64,
    /// When it came: ISO 8601.
    pub at: String,
    #[serde(skip)]
    order: Timestamp,
    /// The hook's name.
    pub webhook: String,
    /// `accepted`, `incomplete`, `duplicate`, `replayed`, `handshake`, `bad-signature`, `malformed`, `too-large`, `too-slow` or `failed`.
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
    /// What each rule that listens to the event did, or why not; the first of them.
    pub rules: Vec<Report>,
    /// How many more there were.
    #[serde(skip_serializing_if = "is_zero")]
    pub more_rules: usize,
    /// How long it took, in milliseconds.
    pub took_ms: f64,
    /// What it said, where that is kept.
    #[serde(skip)]
    pub events: Vec<Arc<Event>>,
    #[serde(skip)]
    pub(super) bytes: u64,
}

/// The number of the next delivery, of whatever hook.
static NEXT: AtomicU64 = AtomicU64::new(1);

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Log {
    /// How much of what they said is kept, in bytes.
    keep_bytes: u64,
    seen: Mutex<VecDeque<Seen>>,
}

impl Log {
    pub(super) fn new(keep_bytes: u64) -> Self {
        Self { keep_bytes, seen: Mutex::default() }
    }

    pub(super) fn add(
        &self,
        webhook: &str,
        at: Timestamp,
        took: Duration,
        outcome: &'static str,
        told: Result<&Accepted, &str>,
    ) {
        let accepted = told.ok();
        let (events, bytes) = accepted.map_or((&[][..], 0), |accepted| (&accepted.said, accepted.bytes));
        let is_kept = bytes <= self.keep_bytes && !events.is_empty();
        let (events, bytes) = if is_kept { (events.to_vec(), bytes) } else { (Vec::new(), 0) };
        let seen = Seen {
            number: NEXT.fetch_add(1, Ordering::Relaxed),
            at: at.iso8601().to_string(),
            order: at,
            webhook: webhook.to_owned(),
            outcome,
            why: told.err().map(cut),
            id: accepted.map(|accepted| cut(&accepted.id)),
            event: accepted.map(|accepted| cut(&accepted.event)),
            matched: accepted.map_or(0, |accepted| accepted.matched),
            rules: accepted.map(|accepted| accepted.rules.clone()).unwrap_or_default(),
            more_rules: accepted.map_or(0, |accepted| accepted.more_rules),
            took_ms: took.as_secs_f64() * 1000.0,
            events,
            bytes,
        };
        let mut log = self.lock();
        if log.len() == REMEMBERED {
            log.pop_front();
        }
        log.push_back(seen);
        let mut kept: u64 = log.iter().map(|seen| seen.bytes).sum();
        for seen in log.iter_mut() {
            if kept <= self.keep_bytes {
                break;
            }
            kept -= std::mem::take(&mut seen.bytes);
            seen.events = Vec::new();
        }
    }

    pub(super) fn find(&self, number: u64) -> Option<Seen> {
        self.lock().iter().find(|seen| seen.number == number).cloned()
    }

    /// All of them, the newest first.
    pub(super) fn all(&self) -> Vec<Seen> {
        self.lock().iter().rev().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Seen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The newest of several hooks' deliveries, each the newest first.
pub fn newest(of_hooks: impl IntoIterator<Item = Vec<Seen>>, limit: usize) -> Vec<Seen> {
    let mut all: Vec<_> = of_hooks.into_iter().flatten().collect();
    all.sort_by_key(|seen| std::cmp::Reverse((seen.order, seen.number)));
    all.truncate(limit);
    all
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_zero(number: &usize) -> bool {
    *number == 0
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(MAX_CHARACTERS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
