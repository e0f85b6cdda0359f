//! A delivery comes in: is it believed, is it new, what does it say, what follows.
//!
//! Senders differ in what they make of an answer; what is safe for all of them is 200 with JSON for whatever was
//! understood (also when nothing matched), 401 for what is not believed, 400 for what cannot be read, and never 410.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::deliveries::Deliveries;
use super::seen::{self, Seen};
use super::{Hook, Raw, Unbelieved};
use crate::clock::Timestamp;
use crate::dispatch::{Dispatchers, Report};
use crate::invalidation::event::Event;

/// How many events one delivery may have.
const MAX_EVENTS: usize = 10_000;

/// Takes the deliveries of one hook.
#[derive(Debug)]
pub struct Intake {
    /// The hook.
    pub hook: Hook,
    deliveries: Deliveries,
    seen: seen::Log,
}

/// Why a delivery is refused.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// Not believed.
    #[error(transparent)]
    Unbelieved(#[from] Unbelieved),
    /// Believed, and not JSON.
    #[error("the body is not JSON: {0}")]
    Json(String),
    /// Believed, and not done to its end.
    #[error("not all of it could be done now: please send it again")]
    TryAgain,
    /// Believed, and of more events than are taken at once.
    #[error("the body has {0} events, more than {MAX_EVENTS}")]
    TooMany(usize),
}

/// What became of a delivery that was accepted.
#[derive(Debug, Serialize)]
pub struct Accepted {
    ok: bool,
    /// By what it is known again.
    pub id: String,
    /// The name of the event; of several, that of the first.
    pub event: String,
    /// How many events there were, if several.
    #[serde(skip_serializing_if = "is_one")]
    events: usize,
    /// It had been done before; nothing was done now.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub duplicate: bool,
    /// How many stored responses were purged.
    pub matched: u64,
    /// What each rule that listens to the event did.
    pub rules: Vec<Report>,
}

impl Intake {
    /// Takes deliveries for this hook.
    pub fn new(hook: Hook) -> Self {
        let deliveries = Deliveries::new(hook.remember_deliveries);
        Self { hook, deliveries, seen: seen::Log::default() }
    }

    /// Remembers what became of a delivery.
    pub fn remember(
        &self,
        at: Timestamp,
        took: Duration,
        outcome: &'static str,
        told: Result<&Accepted, &str>,
    ) {
        self.seen.add(&self.hook.name, at, took, outcome, told);
    }

    /// The last deliveries, the newest first.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.all()
    }

    /// Verifies a delivery and does what the rules say. Blocks: purging may wait for its count, and a delivery waits
    /// for another of its id.
    ///
    /// # Errors
    /// See [`Refused`].
    pub fn take(
        &self,
        raw: &Raw<'_>,
        client: IpAddr,
        dispatchers: &Dispatchers,
        now: Timestamp,
    ) -> Result<Accepted, Refused> {
        self.hook.verify.check(raw, &self.hook.secrets, client, now)?;
        let json = raw.json().map_err(|why| Refused::Json(why.to_owned()))?;
        let id = self.hook.delivery_id(raw);
        // Counted before anything is made of them.
        let number = self.hook.event.items(json).len();
        if number > MAX_EVENTS {
            return Err(Refused::TooMany(number));
        }
        let events = Event::all(&self.hook.name, &id, &self.hook.event, raw, json);
        let events: Vec<_> = events.into_iter().map(Arc::new).collect();
        let accepted = |duplicate, rules: Vec<Report>| Accepted {
            ok: true,
            id: id.clone(),
            event: events.first().map(|event| event.name.clone()).unwrap_or_default(),
            events: events.len(),
            duplicate,
            matched: rules.iter().map(|report| report.matched).sum(),
            rules,
        };
        let Some(underway) = self.deliveries.begin(&id, now) else {
            return Ok(accepted(true, Vec::new()));
        };
        let reports: Vec<_> = events.iter().flat_map(|event| dispatchers.run(event)).collect();
        if reports.iter().any(|report| report.refused) {
            // It is not remembered: what comes again is done again.
            return Err(Refused::TryAgain);
        }
        underway.done(now);
        Ok(accepted(false, reports))
    }
}

impl Hook {
    /// By what the delivery is known again: by what its sender says, else by its body.
    pub fn delivery_id(&self, raw: &Raw<'_>) -> String {
        let said = self.delivery.iter().find_map(|source| source.text(raw, None));
        said.unwrap_or_else(|| format!("body:{}", blake3::hash(raw.body).to_hex()))
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_one(number: &usize) -> bool {
    *number == 1
}
