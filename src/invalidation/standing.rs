//! The whole rule: a stored response is usable iff no invalidation after its `as_of` matches it. PURE.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Log, Position, TagCell};

/// What a stored response is known by: where the log stood when its fetch began, and its tags.
#[derive(Debug)]
pub struct Carried {
    /// Where the log stood when the fetch began.
    pub as_of: Position,
    /// The cells of all its tags.
    pub cells: Box<[Arc<TagCell>]>,
    /// The head it was last found usable against. Only an optimisation: losing a write means looking again.
    checked: AtomicU64,
}

/// Whether a stored response may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// No invalidation since its fetch began names it.
    Usable,
    /// It is never to be served again.
    Dead,
}

/// No head is ever this: the first look must look.
const NEVER: u64 = u64::MAX;

impl Carried {
    pub(super) fn new(as_of: Position, cells: Vec<Arc<TagCell>>) -> Self {
        Self { as_of, cells: cells.into(), checked: AtomicU64::new(NEVER) }
    }

    /// Two atomic loads while the log has not moved since the last look; one more per tag when it has.
    pub fn standing(&self, log: &Log) -> Standing {
        // Read before the cells: they are written before the head is published, so what is seen below is at
        // least all that happened up to this head.
        let head = log.head();
        if self.checked.load(Ordering::Relaxed) == head.0 {
            return Standing::Usable;
        }
        if self.as_of < log.floor() || self.cells.iter().any(|cell| cell.hard() > self.as_of) {
            return Standing::Dead;
        }
        self.checked.store(head.0, Ordering::Relaxed);
        Standing::Usable
    }

    /// Whether this is one of its tags.
    pub fn carries(&self, cell: &Arc<TagCell>) -> bool {
        self.cells.iter().any(|own| Arc::ptr_eq(own, cell))
    }

    /// The bytes this accounts for, in bytes: the references, and a place in each tag's members.
    pub fn byte_size(&self) -> usize {
        const PER_TAG: usize = size_of::<Arc<TagCell>>() + 40;
        self.cells.len() * PER_TAG
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invalidation::Tag;

    fn log() -> Arc<Log> {
        Arc::new(Log::new(1000))
    }

    fn tag(name: &str) -> Tag {
        Tag::application(name)
    }

    #[test]
    fn what_was_invalidated_after_the_fetch_began_is_dead() {
        let log = log();
        let fetch = log.begin_fetch();
        let carried = log.carry(&fetch, [tag("a"), tag("b")]);
        assert_eq!(carried.standing(&log), Standing::Usable);
        log.append(&[tag("c")]);
        assert_eq!(carried.standing(&log), Standing::Usable);
        log.append(&[tag("b")]);
        assert_eq!(carried.standing(&log), Standing::Dead);
    }

    #[test]
    fn what_was_invalidated_before_the_fetch_began_is_of_no_concern() {
        let log = log();
        log.append(&[tag("a")]);
        log.append_everything();
        let carried = log.carry(&log.begin_fetch(), [tag("a")]);
        assert_eq!(carried.standing(&log), Standing::Usable);
    }

    #[test]
    fn a_tag_that_nobody_carried_yet_condemns_a_fetch_under_way() {
        let log = log();
        let fetch = log.begin_fetch();
        log.append(&[tag("a")]);
        assert_eq!(log.carry(&fetch, [tag("a")]).standing(&log), Standing::Dead);
        assert_eq!(log.carry(&fetch, [tag("b")]).standing(&log), Standing::Usable);
    }

    #[test]
    fn everything_is_everything_that_began_before() {
        let log = log();
        let fetch = log.begin_fetch();
        let carried = log.carry(&fetch, []);
        log.append_everything();
        assert_eq!(carried.standing(&log), Standing::Dead);
        assert_eq!(log.carry(&fetch, []).standing(&log), Standing::Dead);
        assert_eq!(log.carry(&log.begin_fetch(), []).standing(&log), Standing::Usable);
    }
}
