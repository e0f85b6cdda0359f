//! A delivery comes in: is it believed, is it new, what does it say, what follows.
//!
//! Senders differ in what they make of an answer; what is safe for all of them is 200 with JSON for whatever was
//! understood (also when nothing matched), 401 for what is not believed, 400 for what cannot be read, and never 410.

use bytes::Bytes;
use http::HeaderMap;
use serde::Serialize;
use serde_json::Value;

use super::deliveries::Deliveries;
use super::signature::{Signature, SignatureError};
use super::{Hook, Preset};
use crate::clock::Timestamp;
use crate::dispatch::{self, Means, Report};
use crate::invalidation::event::Event;
use crate::invalidation::rule::Rule;

/// Takes the deliveries of one hook.
#[derive(Debug)]
pub struct Intake {
    /// The hook.
    pub hook: Hook,
    deliveries: Deliveries,
}

/// Why a delivery is refused.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// Not believed.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// Believed, and not JSON.
    #[error("the body is not JSON: {0}")]
    Json(#[from] serde_json::Error),
}

/// What became of a delivery that was accepted.
#[derive(Debug, Serialize)]
pub struct Accepted {
    ok: bool,
    id: String,
    /// The name of the event.
    event: String,
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
        Self { hook, deliveries }
    }

    /// Verifies a delivery and does what the rules say. Blocks: purging counts what was stored, and a delivery waits
    /// for another of its id.
    ///
    /// # Errors
    /// See [`Refused`].
    pub fn take(
        &self,
        headers: &HeaderMap,
        body: &Bytes,
        rules: &[Rule],
        means: &Means<'_>,
        now: Timestamp,
    ) -> Result<Accepted, Refused> {
        let id = match self.hook.preset {
            Preset::StandardWebhooks => {
                let signature = Signature::read(headers)?;
                signature.verify(body, &self.hook.secrets, self.hook.tolerance, now)?;
                signature.id
            }
        };
        // serde_json refuses what is nested more than 128 deep.
        let json: Value = serde_json::from_slice(body)?;
        let event = Event::new(&self.hook.name, id, &self.hook.event, json);
        let accepted = |duplicate, rules: Vec<Report>| Accepted {
            ok: true,
            id: id.to_owned(),
            event: event.name.clone(),
            duplicate,
            matched: rules.iter().map(|report| report.matched).sum(),
            rules,
        };
        let Some(underway) = self.deliveries.begin(id, now) else {
            return Ok(accepted(true, Vec::new()));
        };
        let listening = rules.iter().filter(|rule| rule.listens_to(&event));
        let reports = listening.map(|rule| dispatch::run(rule, &event, means)).collect();
        underway.done(now);
        Ok(accepted(false, reports))
    }
}
