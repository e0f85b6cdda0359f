//! Carrying out an invalidation: append to the log, then reclaim memory and count.

use super::{Log, Position, Target};
use crate::routes::Table;
use crate::store::Memory;
use std::sync::Arc;
use std::time::Duration;

#[derive(Debug)]
pub struct Invalidator {/* helper D: log, store, routes, reclaim lock */}

/// What a purge answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Purged {
    pub position: Position,
    pub matched: u64,
    pub bytes: u64,
    pub took: Duration,
}

/// Why a target cannot be purged: it names something that does not exist (with a suggestion), or a URL that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PurgeError {
    #[error("no {kind} is called {name:?}{}", hint.as_ref().map(|h| format!("; did you mean {h:?}?")).unwrap_or_default())]
    Unknown { kind: &'static str, name: String, hint: Option<String> },
    #[error("{0}")]
    Invalid(String),
}

impl Invalidator {
    pub fn new(log: Arc<Log>, store: Arc<Memory>, routes: Arc<Table>) -> Self {
        unimplemented!()
    }
    /// Once this returns, nothing fetched before it is ever served again.
    pub fn purge(&self, targets: &[Target]) -> Result<Purged, PurgeError> {
        unimplemented!()
    }
    /// Checks a target without purging (configuration, rules with templates use the names only).
    pub fn check(&self, target: &Target) -> Result<(), PurgeError> {
        unimplemented!()
    }
}
