//! The one totally ordered log of invalidations.

use super::{Carried, Tag, TagCell};
use std::sync::Arc;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Position(pub u64);

#[derive(Debug)]
pub struct Log {/* helper D */}

/// A fetch under way: pins the position up to which the log was applied when it began.
/// While it lives, no cell that could condemn its response is forgotten.
#[derive(Debug)]
pub struct Fetch {/* helper D */}

impl Fetch {
    pub fn as_of(&self) -> Position {
        unimplemented!()
    }
}

/// What an append did: its position and, per tag, the cell and the hard position it had before.
#[derive(Debug)]
pub struct Appended {
    pub position: Position,
    pub cells: Vec<(Arc<TagCell>, Position)>,
}

impl Log {
    /// `max_cells`: bound on remembered tags that nothing stored carries; beyond it the floor is raised.
    pub fn new(max_cells: usize) -> Self {
        unimplemented!()
    }
    pub fn head(&self) -> Position {
        unimplemented!()
    }
    pub fn floor(&self) -> Position {
        unimplemented!()
    }
    /// Call before the request is sent to the origin.
    pub fn begin_fetch(self: &Arc<Self>) -> Fetch {
        unimplemented!()
    }
    /// What a response fetched by `fetch` carries when it is stored. Takes `&Fetch` so that nothing can be
    /// stored without having begun.
    pub fn carry(&self, fetch: &Fetch, tags: impl IntoIterator<Item = Tag>) -> Carried {
        unimplemented!()
    }
    /// Appends one hard invalidation of everything that carries any of `tags`.
    pub fn append(&self, tags: &[Tag]) -> Appended {
        unimplemented!()
    }
    /// Appends a hard invalidation of everything.
    pub fn append_everything(&self) -> Position {
        unimplemented!()
    }
}
