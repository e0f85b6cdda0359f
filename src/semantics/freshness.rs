//! Freshness lifetime and age: RFC 9111 §4.2.

use super::Terms;
use crate::clock::Timestamp;
use std::time::Duration;

impl Terms {
    /// `current_age` (§4.2.3).
    pub fn current_age(&self, now: Timestamp) -> Duration {
        unimplemented!()
    }
    /// Lifetime left, in seconds; negative once stale.
    pub fn ttl_secs(&self, now: Timestamp) -> i64 {
        unimplemented!()
    }
    /// When it stops being fresh.
    pub fn expires_at(&self) -> Timestamp {
        unimplemented!()
    }
}
