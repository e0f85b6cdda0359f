//! Webhooks: who may say that something changed, how they prove it, and what is answered.

mod deliveries;
mod intake;
mod signature;

use std::sync::Arc;
use std::time::Duration;

use crate::config::Secret;
use crate::selector::Selector;

pub use intake::{Accepted, Intake, Refused};
pub use signature::{SecretError, Signature, SignatureError, check_secret};

/// One entry of `webhooks:`, compiled; a preset's values are filled in.
#[derive(Debug)]
pub struct Hook {
    /// Its name.
    pub name: Arc<str>,
    /// The path on the admin listener, `POST` only.
    pub path: String,
    /// How a delivery proves where it comes from.
    pub preset: Preset,
    /// Any of them may have signed (rotation).
    pub secrets: Vec<Secret>,
    /// How far the signed timestamp may be from now, both ways.
    pub tolerance: Duration,
    /// The largest body, in bytes.
    pub max_body_bytes: usize,
    /// How long a delivery's id is remembered, so that it is not done twice.
    pub remember_deliveries: Duration,
    /// Where the parts of an event are in the body.
    pub event: EventMapping,
}

/// The schemes by which senders sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preset {
    /// <https://www.standardwebhooks.com>, symmetric: HMAC-SHA256.
    StandardWebhooks,
}

/// Where in the body an event's parts are.
#[derive(Clone, Debug)]
pub struct EventMapping {
    /// The event's name; by default `$.type`.
    pub name: Selector,
    /// The record before the change; by default `$.data.before`.
    pub before: Selector,
    /// The record after it; by default `$.data.after`.
    pub after: Selector,
    /// The names of the fields that changed, where the sender says so; by default `$.data.changed`.
    pub changed: Selector,
}
