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
use crate::selector;

/// How many events one delivery may have.
const MAX_EVENTS: usize = 10_000;

/// How many reports one delivery has: each event has one of each rule that listens to it. The log tells of all of them.
const MAX_REPORTS: usize = 100;

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
    /// Nobody knows any more what it said.
    #[error("what it said is not kept: allow that with keep_bodies, for as many bytes as are to be kept")]
    NotKept,
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
    /// It was a handshake, and this is to be said back; nothing was done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub challenge: Option<String>,
    /// It had been done before; nothing was done now.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub duplicate: bool,
    /// How many stored responses were purged.
    pub matched: u64,
    /// What each rule that listens to the event did; the first of them.
    pub rules: Vec<Report>,
    /// How many more there were.
    #[serde(skip_serializing_if = "is_zero")]
    pub more_rules: usize,
    /// Whether one of them could not do all of it.
    #[serde(skip)]
    pub is_incomplete: bool,
    /// What it said.
    #[serde(skip)]
    pub said: Vec<Arc<Event>>,
    /// In so many bytes.
    #[serde(skip)]
    pub bytes: u64,
}

impl Intake {
    /// Takes deliveries for this hook.
    pub fn new(hook: Hook) -> Self {
        let deliveries = Deliveries::new(hook.remember_deliveries);
        let seen = seen::Log::new(hook.keep_bytes);
        Self { hook, deliveries, seen }
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
        let DeliveryId { text: id, is_unique } = self.hook.delivery_id(raw);
        let challenge =
            self.hook.challenge.as_ref().and_then(|challenge| challenge.find(json).first().copied());
        if let Some(challenge) = challenge.and_then(selector::text) {
            return Ok(Accepted { challenge: Some(challenge), ..Accepted::new(id, Vec::new(), 0) });
        }
        let json = &*self.hook.verify.without_secret(json);
        // Counted before anything is made of them.
        let number = self.hook.event.count(json);
        if number > MAX_EVENTS {
            return Err(Refused::TooMany(number));
        }
        let events = Event::all(&self.hook.name, &id, &self.hook.event, raw, json);
        let events: Vec<_> = events.into_iter().map(Arc::new).collect();
        let accepted = Accepted::new(id, events, raw.body.len() as u64);
        if !is_unique {
            return accepted.run(dispatchers);
        }
        let Some(underway) = self.deliveries.begin(&accepted.id, now) else {
            return Ok(Accepted { duplicate: true, ..accepted });
        };
        // What is refused is not remembered: if it comes again, it is done again.
        let accepted = accepted.run(dispatchers)?;
        underway.done(now);
        Ok(accepted)
    }

    /// What is known of a delivery.
    pub fn find(&self, number: u64) -> Option<Seen> {
        self.seen.find(number)
    }

    /// Does what the rules say of a delivery that was accepted before. Blocks.
    ///
    /// # Errors
    /// [`Refused::NotKept`], [`Refused::TryAgain`].
    pub fn replay(&self, seen: Seen, dispatchers: &Dispatchers) -> Result<Accepted, Refused> {
        if seen.events.is_empty() {
            return Err(Refused::NotKept);
        }
        Accepted::new(seen.id.unwrap_or_default(), seen.events, seen.bytes).run(dispatchers)
    }
}

impl Accepted {
    fn new(id: String, said: Vec<Arc<Event>>, bytes: u64) -> Self {
        Self {
            ok: true,
            id,
            event: said.first().map(|event| event.name.clone()).unwrap_or_default(),
            events: said.len(),
            challenge: None,
            duplicate: false,
            matched: 0,
            rules: Vec::new(),
            more_rules: 0,
            is_incomplete: false,
            said,
            bytes,
        }
    }

    fn run(self, dispatchers: &Dispatchers) -> Result<Self, Refused> {
        let mut rules = dispatchers.run(&self.said);
        if rules.iter().any(|report| report.refused) {
            return Err(Refused::TryAgain);
        }
        let matched = rules.iter().map(|report| report.matched).sum();
        let is_incomplete = rules.iter().any(Report::is_incomplete);
        let more_rules = rules.len().saturating_sub(MAX_REPORTS);
        rules.truncate(MAX_REPORTS);
        rules.shrink_to_fit();
        Ok(Self { matched, rules, more_rules, is_incomplete, ..self })
    }
}

/// By what a delivery is known again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryId {
    /// What its sender says, else a digest of it.
    pub text: String,
    /// Whether no other delivery has it. An event may well have the same body as an earlier one: of what says neither
    /// which it is nor when it was signed, nobody knows whether it has been done before.
    pub is_unique: bool,
}

impl Hook {
    /// By what the delivery is known again: by what its sender says, else by its body and when that was signed.
    pub fn delivery_id(&self, raw: &Raw<'_>) -> DeliveryId {
        let mut vouched = self.delivery.iter().filter(|source| self.verify.vouches_for(raw, source));
        let said = vouched.find_map(|source| source.text(raw, None));
        if let Some(id) = said {
            let whose = self.delivery_source.iter().find_map(|source| source.text(raw, None));
            let text = whose.map_or(id.clone(), |whose| format!("{whose} {id}"));
            return DeliveryId { text, is_unique: true };
        }
        let mut digest = blake3::Hasher::new();
        digest.update(raw.body);
        let signed_at = self.verify.signed_at(raw).and_then(Result::ok);
        if let Some(signed_at) = &signed_at {
            // As long for every body: nothing of one can stand for the other.
            digest.update(&(raw.body.len() as u64).to_be_bytes()).update(signed_at.as_bytes());
        }
        DeliveryId { text: format!("body:{}", digest.finalize().to_hex()), is_unique: signed_at.is_some() }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_zero(number: &usize) -> bool {
    *number == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_one(number: &usize) -> bool {
    *number == 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use bytes::Bytes;
    use http::{HeaderMap, Method};

    fn hook(says: &str) -> Hook {
        let yaml = format!(
            "upstreams: {{ app: {{ servers: 'http://127.0.0.1:1' }} }}\n\
             routes: [{{ name: a, match: {{ path: '/{{*rest}}' }}, upstream: app }}]\n\
             webhooks: {{ hook: {{ path: /hook, secret: s, {says} }} }}\n"
        );
        config::compile_text("test.yaml", &yaml, &|_| None).unwrap().webhooks.remove(0)
    }

    #[test]
    fn a_secret_in_a_body_is_no_part_of_its_events() {
        let json = serde_json::json!({"type": "api-update", "secret": "s3cret", "documents": ["a", "b"]});
        for (says, is_there) in [
            ("preset: prismic", false),
            ("verify: { scheme: jwt, from: $.secret }", false),
            ("verify: { scheme: token, from: header.x }", true),
        ] {
            let kept = hook(says).verify.without_secret(&json).to_string();
            assert_eq!(kept.contains("s3cret"), is_there, "{says}: {kept}");
            assert!(kept.contains("documents"));
        }
    }

    #[test]
    fn a_delivery_without_an_id_is_known_by_its_body_and_its_signed_time_or_not_at_all() {
        let id = |hook: &Hook, signature: &str, body: &'static str| {
            let headers = HeaderMap::from_iter([(
                http::HeaderName::from_static("x-ghost-signature"),
                signature.parse().unwrap(),
            )]);
            let body = Bytes::from_static(body.as_bytes());
            hook.delivery_id(&Raw::new(&Method::POST, "/hook", &headers, &body))
        };
        let ghost = hook("preset: ghost");
        let first = id(&ghost, "sha256=aa, t=1700000000000", "{}");
        assert!(first.is_unique && first.text.starts_with("body:"), "{first:?}");
        assert_eq!(id(&ghost, "sha256=aa, t=1700000000000", "{}"), first);
        for (signature, body) in [("sha256=aa, t=1700000000001", "{}"), ("sha256=aa, t=1700000000000", "{ }")]
        {
            assert_ne!(id(&ghost, signature, body), first, "{signature} {body}");
        }
        let said = id(&hook("preset: ghost, delivery: $.id"), "sha256=aa, t=1", r#"{"id": 7}"#);
        assert_eq!(said, DeliveryId { text: "7".to_owned(), is_unique: true });
        assert!(!id(&hook("preset: strapi"), "", "{}").is_unique);
    }
}
