//! Webhooks: who may say that something changed, and how they prove it.

use std::sync::Arc;
use std::time::Duration;

use crate::config::Secret;
use crate::invalidation::event::Selector;

/// One entry of `webhooks:`, compiled; a preset's values are filled in.
#[derive(Debug)]
pub struct Hook {
    pub name: Arc<str>,
    /// Path on the admin listener, `POST` only.
    pub path: String,
    pub preset: Preset,
    /// Any of them may have signed (rotation).
    pub secrets: Vec<Secret>,
    /// How far the signed timestamp may be from now, both ways.
    pub tolerance: Duration,
    pub max_body_bytes: usize,
    /// How long delivery ids are remembered to refuse replays.
    pub remember_deliveries: Duration,
    pub event: EventMapping,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preset {
    StandardWebhooks,
}

/// Where in the body an event's parts are.
#[derive(Clone, Debug)]
pub struct EventMapping {
    /// The event's name; default `$.type`.
    pub name: Selector,
    /// The record before the change; default `$.data.before`.
    pub before: Selector,
    /// The record after it; default `$.data.after`.
    pub after: Selector,
    /// The names of the fields that changed, where the sender says so; default `$.data.changed`.
    pub changed: Selector,
}
