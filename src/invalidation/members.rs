//! Who carries a tag: for counting, for giving memory back, and for knowing how long an invalidation must be remembered. PURE.

use std::collections::HashSet;
use std::hash::{Hash, Hasher};
use std::ops::{AddAssign, SubAssign};
use std::sync::{Arc, OnceLock};

use super::sync::{AtomicU8, Ordering};
use super::{Position, Standing, Strength};

/// How many stored responses, and the bytes they account for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Their number.
    pub responses: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.responses += other.responses;
        self.bytes += other.bytes;
    }
}

impl SubAssign for Tally {
    fn sub_assign(&mut self, other: Self) {
        self.responses -= other.responses;
        self.bytes -= other.bytes;
    }
}

/// A response as its tags know it. It is itself and no other, whatever the other has.
#[derive(Debug)]
pub(super) struct Carrier {
    /// Where the log stood when its fetch began.
    pub(super) as_of: Position,
    /// The key under which it is stored, and the bytes it accounts for.
    pub(super) stored: OnceLock<(Arc<str>, u32)>,
    /// Its share of what its tags have in common, in bytes.
    pub(super) tag_bytes: u32,
    /// A [`State`]. Written only while all [shards](super::index::Shard) of its tags are locked: they count it by this.
    state: AtomicU8,
}

/// What has been [noted](super::Carried::note) of a response, and whether it is stored.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct State {
    pub(super) noted: Standing,
    pub(super) place: Place,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Nowhere,
    Stored,
    Left,
}

impl State {
    fn to_bits(self) -> u8 {
        (self.place as u8) << 2 | self.noted as u8
    }

    fn of_bits(bits: u8) -> Self {
        let noted = match bits & 3 {
            0 => Standing::Usable,
            1 => Standing::Softened,
            _ => Standing::Dead,
        };
        let place = match bits >> 2 {
            0 => Place::Nowhere,
            1 => Place::Stored,
            _ => Place::Left,
        };
        Self { noted, place }
    }

    /// How it stands among what is stored, if it is.
    pub(super) fn as_stored(self) -> Option<Standing> {
        (self.place == Place::Stored).then_some(self.noted)
    }
}

impl Carrier {
    pub(super) fn new(as_of: Position, noted: Standing, tag_bytes: u32) -> Self {
        let state = State { noted, place: Place::Nowhere };
        Self { as_of, stored: OnceLock::new(), tag_bytes, state: AtomicU8::new(state.to_bits()) }
    }

    pub(super) fn state(&self) -> State {
        State::of_bits(self.state.load(Ordering::Acquire))
    }

    /// Only while all shards of its tags are locked.
    pub(super) fn set(&self, state: State) {
        self.state.store(state.to_bits(), Ordering::Release);
    }

    fn tally(&self) -> Tally {
        Tally { responses: 1, bytes: self.stored.get().map_or(0, |(_, bytes)| u64::from(*bytes)) }
    }

    /// The key, while it is stored.
    pub(super) fn key(&self) -> Option<&Arc<str>> {
        self.state().as_stored().and(self.stored.get()).map(|(key, _)| key)
    }
}

impl PartialEq for Carrier {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Eq for Carrier {}

impl Hash for Carrier {
    fn hash<H: Hasher>(&self, state: &mut H) {
        std::ptr::from_ref(self).hash(state);
    }
}

/// All that carries a tag, and how many of them are stored.
#[derive(Debug, Default)]
pub(super) struct Members {
    carriers: HashSet<Arc<Carrier>, foldhash::fast::RandomState>,
    /// As far as it is noted how they stand.
    usable: Tally,
    softened: Tally,
}

/// A table with less room than this keeps it.
const WORTH_SHRINKING: usize = 1024;

/// Whether a table should give room back: what everything carried once must not keep it for ever.
pub(super) fn is_too_roomy(len: usize, capacity: usize) -> bool {
    capacity > WORTH_SHRINKING && len < capacity / 8
}

impl Members {
    /// This one alone.
    pub(super) fn one(carrier: Arc<Carrier>) -> Self {
        let mut one = Self::default();
        one.add(carrier);
        one
    }

    pub(super) fn add(&mut self, carrier: Arc<Carrier>) {
        self.moved(&carrier, None, carrier.state().as_stored());
        self.carriers.insert(carrier);
    }

    pub(super) fn remove(&mut self, carrier: &Carrier) {
        if self.carriers.remove(carrier) {
            self.moved(carrier, carrier.state().as_stored(), None);
            if is_too_roomy(self.carriers.len(), self.carriers.capacity()) {
                self.carriers.shrink_to_fit();
            }
        }
    }

    /// One of them stands `to`, and stood `from` until now; `None`: it was not stored, or is no longer.
    pub(super) fn moved(&mut self, carrier: &Carrier, from: Option<Standing>, to: Option<Standing>) {
        if let Some(tally) = self.tally(from) {
            *tally -= carrier.tally();
        }
        if let Some(tally) = self.tally(to) {
            *tally += carrier.tally();
        }
    }

    fn tally(&mut self, standing: Option<Standing>) -> Option<&mut Tally> {
        match standing {
            Some(Standing::Usable) => Some(&mut self.usable),
            Some(Standing::Softened) => Some(&mut self.softened),
            Some(Standing::Dead) | None => None,
        }
    }

    /// Those stored that such an invalidation would make worse.
    pub(super) fn struck_by(&self, strength: Strength) -> Tally {
        let mut tally = self.usable;
        if strength == Strength::Hard {
            tally += self.softened;
        }
        tally
    }

    pub(super) fn len(&self) -> usize {
        self.carriers.len()
    }

    /// The only one, if there is one only.
    pub(super) fn only(&self) -> Option<&Arc<Carrier>> {
        if self.len() == 1 { self.carriers.iter().next() } else { None }
    }

    /// The keys under which they are stored. One comes several times if several are stored under it: variants, and what is just
    /// being replaced.
    pub(super) fn keys(&self) -> impl Iterator<Item = &Arc<str>> {
        self.carriers.iter().filter_map(|carrier| carrier.key())
    }
}
