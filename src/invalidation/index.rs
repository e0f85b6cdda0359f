//! From tags to who carries them and what has invalidated them: a shard of the log's memory. PURE.
//!
//! Most tags are some URL's, and one response carries them; for those there is nothing but an entry of a table. A tag gets a
//! cell when a second response carries it or when it is invalidated, and loses it when neither matters any longer.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use super::members::{Carrier, Members, Tally, is_too_roomy};
use super::{Marks, Position, Standing, Strength, Tag, TagId};

/// The tags whose ids belong here.
#[derive(Debug, Default)]
pub(super) struct Shard {
    /// Those that one response carries and that nothing has invalidated which still matters.
    alone: Table<Arc<Carrier>>,
    /// All others.
    cells: Table<Box<Cell>>,
    /// Of the application's tags that something carries: they can be listed.
    names: Table<Tag>,
    /// At how many cells the next sweep is due.
    sweep_at: usize,
}

type Table<T> = HashMap<TagId, T, foldhash::fast::RandomState>;

/// What a tag remembers: the newest invalidations that named it, and who carries it.
#[derive(Debug, Default)]
struct Cell {
    marks: Marks,
    members: Members,
}

/// What there was of a tag when it was invalidated.
#[derive(Clone, Copy, Debug)]
pub struct Before {
    /// The newest invalidations that had named it.
    pub marks: Marks,
    /// What was stored and carried it, if it was not noted to be as bad already.
    pub struck: Tally,
}

/// Fewer cells than this are not worth a sweep.
const MIN_SWEEP: usize = 1024;

/// What a tag takes of each who carries it, in bytes: its id, and an entry of a table with its share of the free room.
pub(super) const TAG_BYTES: usize =
    size_of::<TagId>() + (size_of::<TagId>() + size_of::<Arc<Carrier>>()) * 3 / 2;

impl Shard {
    /// Nothing; of the tags that nothing carries, so many are remembered at most.
    pub(super) fn new(max_uncarried: usize) -> Self {
        let mut shard = Self::default();
        shard.schedule(max_uncarried);
        shard
    }

    /// One more carries the tag.
    pub(super) fn add(&mut self, tag: TagId, carrier: &Arc<Carrier>) {
        let carrier = Arc::clone(carrier);
        if let Some(cell) = self.cells.get_mut(&tag) {
            return cell.members.add(carrier);
        }
        match self.alone.entry(tag) {
            Entry::Vacant(entry) => {
                entry.insert(carrier);
            }
            Entry::Occupied(entry) => {
                let mut members = Members::one(entry.remove());
                members.add(carrier);
                self.cells.insert(tag, Box::new(Cell { marks: Marks::default(), members }));
            }
        }
    }

    /// What is called so is carried here.
    pub(super) fn name(&mut self, id: TagId, tag: Tag) {
        if tag.as_application().is_some() {
            self.names.entry(id).or_insert(tag);
        }
    }

    /// One carries the tag no longer.
    pub(super) fn remove(&mut self, tag: TagId, carrier: &Arc<Carrier>) {
        if self.alone.get(&tag).is_some_and(|known| Arc::ptr_eq(known, carrier)) {
            self.alone.remove(&tag);
            self.names.remove(&tag);
            return;
        }
        let Some(cell) = self.cells.get_mut(&tag) else { return };
        cell.members.remove(carrier);
        if cell.members.len() == 0 {
            self.names.remove(&tag);
        }
        if cell.marks == Marks::default()
            && let Some(last) = cell.members.only()
        {
            self.alone.insert(tag, Arc::clone(last));
            self.cells.remove(&tag);
        }
    }

    /// One that carries the tag stands otherwise than before.
    pub(super) fn moved(
        &mut self,
        tag: TagId,
        carrier: &Carrier,
        from: Option<Standing>,
        to: Option<Standing>,
    ) {
        // What is alone is counted by how it stands.
        if let Some(cell) = self.cells.get_mut(&tag) {
            cell.members.moved(carrier, from, to);
        }
    }

    /// Notes an invalidation; what there was before it. Only while the log is appended to.
    pub(super) fn invalidate(&mut self, tag: TagId, position: Position, strength: Strength) -> Before {
        let cell = self.cells.entry(tag).or_insert_with(|| {
            // Made if nobody carries the tag: a fetch under way may come back with it.
            let members = self.alone.remove(&tag).map(Members::one).unwrap_or_default();
            Box::new(Cell { marks: Marks::default(), members })
        });
        let before = Before { marks: cell.marks, struck: cell.members.struck_by(strength) };
        cell.marks = cell.marks.or(match strength {
            Strength::Hard => Marks { hard: position, ..Marks::default() },
            Strength::Soft => Marks { soft: position, ..Marks::default() },
        });
        before
    }

    /// The newest invalidations that named the tag, as far as they matter.
    pub(super) fn marks(&self, tag: TagId) -> Marks {
        self.cells.get(&tag).map(|cell| cell.marks).unwrap_or_default()
    }

    /// What one more who carries the tag has to account for beside its own [`TAG_BYTES`].
    pub(super) fn share(&self, id: TagId, tag: &Tag) -> usize {
        const CELL_BYTES: usize = size_of::<Cell>() + size_of::<TagId>() + size_of::<Box<Cell>>();
        let (cell, others) = match self.cells.get(&id) {
            Some(cell) => (CELL_BYTES, cell.members.len()),
            None if self.alone.contains_key(&id) => (CELL_BYTES, 1),
            None => (0, 0),
        };
        (cell + tag.byte_size()) / (others + 1)
    }

    /// The keys under which something that carries the tag is, or was until just now, stored. One may come several times.
    pub(super) fn keys(&self, tag: TagId) -> impl Iterator<Item = &Arc<str>> {
        let alone = self.alone.get(&tag).into_iter().filter_map(|carrier| carrier.key());
        alone.chain(self.cells.get(&tag).into_iter().flat_map(|cell| cell.members.keys()))
    }

    /// How many carry the tag.
    pub(super) fn carriers(&self, tag: TagId) -> usize {
        self.cells
            .get(&tag)
            .map_or_else(|| usize::from(self.alone.contains_key(&tag)), |cell| cell.members.len())
    }

    /// The application's tags that begin so and that something stored carries. In no order.
    pub(super) fn application_tags(&self, prefix: &str) -> impl Iterator<Item = (String, TagId)> {
        let named = self.names.iter().filter_map(|(id, tag)| Some((tag.as_application()?.to_owned(), *id)));
        named.filter(move |(name, id)| name.starts_with(prefix) && self.keys(*id).next().is_some())
    }

    /// The number of tags that are remembered.
    pub(super) fn len(&self) -> usize {
        self.alone.len() + self.cells.len()
    }

    /// Whether there are so many cells that some may be superfluous.
    pub(super) fn is_sweep_due(&self) -> bool {
        self.cells.len() >= self.sweep_at
    }

    /// Forgets the cells that no longer matter: no fetch under way began before `settled`. How many are left that nothing carries.
    pub(super) fn sweep(&mut self, settled: Position) -> usize {
        let Self { alone, cells, .. } = self;
        let mut uncarried = 0;
        cells.retain(|tag, cell| {
            let newest = cell.marks.newest();
            if cell.members.len() == 0 {
                uncarried += usize::from(newest > settled);
                return newest > settled;
            }
            let Some(only) = cell.members.only() else { return true };
            let matters = newest > settled.min(only.as_of);
            if !matters {
                alone.insert(*tag, Arc::clone(only));
            }
            matters
        });
        uncarried
    }

    /// Forgets the cells that nothing carries and nothing has invalidated after this.
    pub(super) fn forget_uncarried(&mut self, until: Position) {
        self.cells.retain(|_, cell| cell.members.len() > 0 || cell.marks.newest() > until);
    }

    /// After a sweep: the next one is due no later than when as many may have come that nothing carries as are remembered at most.
    pub(super) fn schedule(&mut self, max_uncarried: usize) {
        let least = MIN_SWEEP.min(max_uncarried.max(1));
        self.sweep_at = (self.cells.len() + self.cells.len().min(max_uncarried)).max(least);
        if self.cells.capacity() > 4 * self.sweep_at {
            self.cells.shrink_to(self.sweep_at);
        }
        if is_too_roomy(self.alone.len(), self.alone.capacity()) {
            self.alone.shrink_to_fit();
        }
        if is_too_roomy(self.names.len(), self.names.capacity()) {
            self.names.shrink_to_fit();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::invalidation::Strength::{Hard, Soft};
    use crate::invalidation::members::{Place, State};

    const TAG: TagId = TagId(7);

    /// One that is stored.
    fn carrier(key: &str, as_of: u64) -> Arc<Carrier> {
        let carrier = Carrier::new(Position(as_of), Standing::Usable, 0);
        carrier.stored.set((key.into(), 100)).unwrap();
        carrier.set(State { noted: Standing::Usable, place: Place::Stored });
        Arc::new(carrier)
    }

    #[test]
    fn carriers_come_and_go_in_any_number() {
        let mut shard = Shard::default();
        let carriers: Vec<_> = ["a", "b", "a", "c", "b", "a"].map(|key| carrier(key, 0)).into();
        for (count, carrier) in carriers.iter().enumerate() {
            shard.add(TAG, carrier);
            assert_eq!(shard.keys(TAG).count(), count + 1);
            assert_eq!((shard.alone.len(), shard.cells.len()), if count == 0 { (1, 0) } else { (0, 1) });
        }
        assert_eq!(shard.keys(TAG).collect::<HashSet<_>>().len(), 3);
        for (left, carrier) in carriers.iter().enumerate().rev() {
            shard.remove(TAG, carrier);
            shard.remove(TAG, carrier);
            assert_eq!(shard.keys(TAG).count(), left);
        }
        assert_eq!(shard.len(), 0);
    }

    #[test]
    fn a_tag_that_one_carries_needs_no_cell_once_its_invalidation_is_older_than_all() {
        for (as_of, settled, needs) in [(3, 3, false), (2, 3, true), (3, 2, true), (9, 9, false)] {
            let mut shard = Shard::default();
            shard.add(TAG, &carrier("a", as_of));
            shard.invalidate(TAG, Position(3), Soft);
            shard.sweep(Position(settled));
            assert_eq!((shard.cells.len(), shard.alone.len()), if needs { (1, 0) } else { (0, 1) });
            assert_eq!(shard.marks(TAG).soft, Position(if needs { 3 } else { 0 }), "{as_of} {settled}");
            assert_eq!(shard.keys(TAG).count(), 1);
        }
    }

    #[test]
    fn what_several_carry_is_remembered_however_old_its_invalidation_is() {
        let mut shard = Shard::default();
        let (old, new) = (carrier("a", 1), carrier("b", 9));
        shard.add(TAG, &old);
        shard.add(TAG, &new);
        shard.invalidate(TAG, Position(3), Hard);
        shard.sweep(Position(9));
        assert_eq!(shard.marks(TAG).hard, Position(3));
        shard.remove(TAG, &old);
        assert_eq!(shard.marks(TAG).hard, Position(3), "until the next sweep");
        shard.sweep(Position(9));
        assert_eq!((shard.marks(TAG), shard.alone.len()), (Marks::default(), 1));
        shard.remove(TAG, &new);
        assert_eq!(shard.len(), 0);
    }

    #[test]
    fn what_an_invalidation_strikes_is_what_is_stored_and_not_as_bad_already() {
        let mut shard = Shard::default();
        let (one, other) = (carrier("a", 0), carrier("b", 0));
        let struck = |shard: &mut Shard, position, strength| {
            shard.invalidate(TAG, Position(position), strength).struck.responses
        };
        shard.add(TAG, &one);
        assert_eq!(struck(&mut shard, 1, Soft), 1);
        shard.add(TAG, &other);
        assert_eq!(struck(&mut shard, 2, Soft), 2);
        let softened = State { noted: Standing::Softened, place: Place::Stored };
        shard.moved(TAG, &one, one.state().as_stored(), softened.as_stored());
        one.set(softened);
        assert_eq!((struck(&mut shard, 3, Soft), struck(&mut shard, 4, Hard)), (1, 2));
        shard.remove(TAG, &one);
        assert_eq!(struck(&mut shard, 5, Hard), 1);
    }
}
