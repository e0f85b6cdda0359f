//! The whole rule: a stored response is usable iff no invalidation after its `as_of` matches it.

use super::{Log, Position, TagCell};
use std::sync::Arc;

/// What a stored response carries.
#[derive(Debug)]
pub struct Carried {
    pub as_of: Position,
    pub cells: Box<[Arc<TagCell>]>, /* helper D: + the head it was last checked against */
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    Usable,
    Dead,
}

impl Carried {
    /// Two atomic loads while the log has not moved since the last look; else one more per cell.
    pub fn standing(&self, log: &Log) -> Standing {
        unimplemented!()
    }
}
