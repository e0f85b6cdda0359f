//! Webhooks: who may say that something changed, how they prove it, and what is answered.

mod deliveries;
mod intake;
mod proof;
mod raw;
mod seen;
mod sign;
mod signed;
mod verify;

use std::sync::Arc;
use std::time::Duration;

use crate::config::Secret;
use crate::selector::Selector;

pub use intake::{Accepted, DeliveryId, Intake, Refused};
pub use proof::{Algorithm, Encoding, KeyFormat, Proof, SecretError};
pub use raw::{NoSource, Raw, Source};
pub use seen::{Seen, newest};
pub use sign::{Delivery, Draft, Unsigned};
pub use signed::{Missing, Signed};
pub use verify::{Demand, JwtDemands, Scheme, SignedAt, TimeSource, TimeUnit, Unbelieved, Verify};

/// What is known of senders: the YAML of all presets.
pub const PRESETS: &str = include_str!("presets.yaml");

/// One entry of `webhooks:`, compiled; a preset's values are filled in.
#[derive(Debug)]
pub struct Hook {
    /// Its name.
    pub name: Arc<str>,
    /// The path on the admin listener, `POST` only.
    pub path: String,
    /// How a delivery proves where it comes from.
    pub verify: Verify,
    /// Any of them may have signed (rotation).
    pub secrets: Vec<Secret>,
    /// By what a delivery is known again, the first that is there; else by its body and when that was signed.
    pub delivery: Vec<Source>,
    /// Whose ids those are, where only those of one are told apart; the first that is there.
    pub delivery_source: Vec<Source>,
    /// The largest body, in bytes.
    pub max_body_bytes: usize,
    /// How long a delivery's id is remembered, so that it is not done twice.
    pub remember_deliveries: Duration,
    /// How much of what the last deliveries said is kept, to be looked at and done again, in bytes.
    pub keep_bytes: u64,
    /// What a handshake has, to be said back to whoever is believed.
    pub challenge: Option<Selector>,
    /// Where the parts of an event are.
    pub event: EventMapping,
}

/// Where an event's parts are in a delivery.
#[derive(Clone, Debug, Default)]
pub struct EventMapping {
    /// Where the body is a text that is JSON itself: what it says is that.
    pub inside: Option<Selector>,
    /// Its events, where a body has several; the other paths are of each.
    pub each: Option<Selector>,
    /// The event's name: what is there of these.
    pub name: Vec<Source>,
    /// All of it, with points between; else the first.
    pub joins_names: bool,
    /// The record before the change: the first that is there.
    pub before: Vec<Selector>,
    /// The record after it.
    pub after: Vec<Selector>,
    /// What changed, where the sender says so: a list of names, or an object that has them.
    pub changed: Vec<Selector>,
    /// What was done to the record.
    pub kind: Option<KindMapping>,
}

/// By what word a sender says what was done to a record.
#[derive(Clone, Debug)]
pub struct KindMapping {
    /// Where the word is; the first that is there.
    pub from: Vec<Source>,
    /// It was created.
    pub create: Vec<String>,
    /// It was changed.
    pub update: Vec<String>,
    /// It was deleted.
    pub delete: Vec<String>,
}
