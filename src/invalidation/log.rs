//! The one totally ordered log of invalidations. PURE.
//!
//! Every invalidation gets a [`Position`]. Of what it named only cells remain: per tag the newest position that
//! named it, and for "everything" the *floor*. A stored response notes the position up to which the
//! log was applied when its fetch began; what happened after that condemns it, what happened before cannot.
//!
//! The cells are in the [shards](super::index), behind locks. In front of them stands an array of *slots*, each with the newest
//! position that named any of the tags that share it: as long as that is not new to a response, no cell need be looked at.
//!
//! # Why no lock is needed between a purge and a fill
//!
//! An append writes its cells first, then their slots (or the floor), and publishes the new head last, with release ordering;
//! whoever reads the head with acquire ordering therefore sees every slot up to it, and whoever sees a slot finds the cell.
//! - A fetch reads the head *before* its request is sent. If it reads a head at or after a purge, its response was
//!   made after the purge. If not, its `as_of` is smaller than the purge's position, so the cell condemns whatever
//!   it leads to, whenever that is stored.
//! - A hit that still reads the old head began before the purge was acknowledged, for the acknowledgement is sent
//!   after the head was published.
//!
//! # What may be forgotten
//!
//! A cell that nothing carries matters only to fetches under way: one of them may come back with the tag.
//! Once all that are under way began at or after its position, it is as good as never written: those that begin
//! later begin later still. The same holds if one response carries it that began so late itself. If too many cells
//! must be kept, the floor is raised instead: that condemns too much,
//! which is allowed; too little is not.
//!
//! A floor that is raised so does not move the head, and what was found usable against this head stays so until it
//! moves. Rightly: it carries its own cells, which were not forgotten. Only what comes later can lack one, and that
//! is looked at for the first time.
//!
//! # Locks
//!
//! `appending`, then shards in their order or `bans`, then `under_way`; none of them twice. A hit takes none of them, but for
//! `bans` while there is one that is newer than what it looks at, and one shard after the other where a slot says so.

use std::collections::BTreeMap;
use std::fmt;
use std::hash::BuildHasher;
use std::sync::Arc;

use smallvec::SmallVec;

use super::index::{Before, Shard};
use super::members::{Carrier, Place, State};
use super::sync::{AtomicBool, AtomicU64, Mutex, MutexGuard, Ordering, PoisonError};
use super::{Ban, Carried, Pattern, Standing, Tag, TagId};

/// A place in the log; 0 is before the first invalidation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Position(pub u64);

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What an invalidation does to what it names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strength {
    /// It is never served again.
    #[default]
    Hard,
    /// It is stale from now on: served only as stale responses may be, until the origin has confirmed or replaced it.
    Soft,
}

/// The newest invalidations of both kinds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// The newest hard one.
    pub hard: Position,
    /// The newest soft one.
    pub soft: Position,
}

impl Marks {
    /// The newer of the two.
    pub fn newest(self) -> Position {
        self.hard.max(self.soft)
    }

    /// The newer of each kind.
    pub fn or(self, other: Self) -> Self {
        Self { hard: self.hard.max(other.hard), soft: self.soft.max(other.soft) }
    }
}

/// See the [module](self).
#[derive(Debug)]
pub struct Log {
    /// The newest position; published last.
    head: AtomicU64,
    /// Whatever began before this is dead.
    floor: AtomicU64,
    /// Whatever began before this is stale.
    soft_floor: AtomicU64,
    /// What no cell can hold.
    bans: Mutex<Vec<Arc<Ban>>>,
    /// The newest of them; 0 if there is none.
    newest_ban: AtomicU64,
    /// Held while a position is being written. Never taken by a hit.
    appending: Mutex<()>,
    /// The newest position that named any of the tags of a slot. Nothing is ever forgotten here.
    slots: Box<[AtomicU64]>,
    /// In several shards, so that a sweep holds up only some of those who store. At most 64.
    shards: Box<[Mutex<Shard>]>,
    /// Makes the ids of tags.
    hasher: foldhash::quality::RandomState,
    /// The positions at which the fetches under way began, with their number.
    under_way: Mutex<BTreeMap<Position, usize>>,
    max_uncarried_per_shard: usize,
}

/// Fewer uncarried cells than this are not worth a shard of their own.
const MIN_PER_SHARD: usize = 1024;

const MAX_SHARDS: usize = 16;

/// With as many slots, 1000 invalidations since the last look make one look at a tag in 65 one at its cell that is not needed.
const MAX_SLOTS: usize = 1 << 16;

/// More bans at once than these are remembered by a floor.
const MAX_BANS: usize = 256;

/// A fetch under way. While it lives, no cell is forgotten that could condemn its response.
#[derive(Debug)]
pub struct Fetch {
    log: Arc<Log>,
    as_of: Position,
}

impl Fetch {
    /// The position up to which the log was applied when this fetch began.
    pub fn as_of(&self) -> Position {
        self.as_of
    }
}

impl Drop for Fetch {
    fn drop(&mut self) {
        let mut under_way = lock(&self.log.under_way);
        if let Some(count) = under_way.get_mut(&self.as_of) {
            *count -= 1;
            if *count == 0 {
                under_way.remove(&self.as_of);
            }
        }
    }
}

/// What an append did.
#[derive(Debug)]
pub struct Appended {
    /// Its position.
    pub position: Position,
    /// What it does.
    pub strength: Strength,
    /// The floors before it.
    pub floors_before: Marks,
    /// What it named.
    pub named: Named,
}

/// What an append named.
#[derive(Debug)]
pub enum Named {
    /// Each tag, once, with what there was before. In order.
    Tags(Vec<(TagId, Before)>),
    /// What is like a pattern.
    Like(Arc<Ban>),
    /// All of it.
    Everything,
}

impl Appended {
    /// The newest positions that had named this tag before; `None` if this append does not name it.
    pub fn before(&self, tag: TagId) -> Option<Marks> {
        let Named::Tags(tags) = &self.named else { return None };
        let found = tags.binary_search_by_key(&tag, |(own, _)| *own);
        found.ok().map(|at| tags[at].1.marks)
    }
}

impl Log {
    /// An empty log. Of the tags that nothing carries, about `max_uncarried` are remembered at most.
    pub fn new(max_uncarried: usize) -> Self {
        Self::of_shards((max_uncarried / MIN_PER_SHARD).clamp(1, MAX_SHARDS), max_uncarried)
    }

    /// The same, in so many shards: 64 at most.
    pub fn of_shards(shards: usize, max_uncarried: usize) -> Self {
        let shards = shards.clamp(1, u64::BITS as usize);
        let max_uncarried_per_shard = max_uncarried.div_ceil(shards);
        let slots = max_uncarried.next_power_of_two().min(MAX_SLOTS);
        Self {
            head: AtomicU64::new(0),
            floor: AtomicU64::new(0),
            soft_floor: AtomicU64::new(0),
            bans: Mutex::default(),
            newest_ban: AtomicU64::new(0),
            appending: Mutex::new(()),
            slots: (0..slots).map(|_| AtomicU64::new(0)).collect(),
            shards: (0..shards).map(|_| Mutex::new(Shard::new(max_uncarried_per_shard))).collect(),
            hasher: foldhash::quality::RandomState::default(),
            under_way: Mutex::default(),
            max_uncarried_per_shard,
        }
    }

    /// The newest position. Whoever reads it sees all that was invalidated up to it.
    pub fn head(&self) -> Position {
        Position(self.head.load(Ordering::Acquire))
    }

    /// Whatever began before this is dead.
    pub fn floor(&self) -> Position {
        Position(self.floor.load(Ordering::Acquire))
    }

    /// Whatever began before these is dead, or stale.
    pub fn floors(&self) -> Marks {
        Marks { hard: self.floor(), soft: Position(self.soft_floor.load(Ordering::Acquire)) }
    }

    /// Begins a fetch. To be called before the request is sent to the origin.
    pub fn begin_fetch(self: &Arc<Self>) -> Fetch {
        // Read and registered under one lock: a sweep in between would not know of this fetch.
        let mut under_way = lock(&self.under_way);
        let as_of = self.head();
        *under_way.entry(as_of).or_default() += 1;
        drop(under_way);
        Fetch { log: Arc::clone(self), as_of }
    }

    /// What the response of this fetch carries. Nothing can be stored that has not begun as a [`Fetch`].
    ///
    /// `fetch` must live until this returns: what it may need is kept for it only so long.
    pub fn carry(self: &Arc<Self>, fetch: &Fetch, tags: impl IntoIterator<Item = Tag>) -> Carried {
        let mut tags: Vec<_> = tags.into_iter().map(|tag| (self.id(&tag), tag)).collect();
        tags.sort_unstable_by_key(|(id, _)| *id);
        tags.dedup_by_key(|(id, _)| *id);
        let ids: Box<[_]> = tags.iter().map(|(id, _)| *id).collect();
        let mut shards = self.lock_shards_of(&ids);
        let bytes: usize = tags.iter().map(|(id, tag)| shards.of(*id).share(*id, tag)).sum();
        tags.into_iter().for_each(|(id, tag)| shards.of(id).name(id, tag));
        let carrier = Carrier::new(fetch.as_of, Standing::Usable, u32::try_from(bytes).unwrap_or(u32::MAX));
        self.carried_by(carrier, ids, shards)
    }

    /// What one more response carries that was made of others: these tags, which somebody carries already.
    pub(super) fn carry_again(self: &Arc<Self>, carrier: Carrier, mut tags: Vec<TagId>) -> Carried {
        tags.sort_unstable();
        tags.dedup();
        let tags: Box<[_]> = tags.into();
        let shards = self.lock_shards_of(&tags);
        self.carried_by(carrier, tags, shards)
    }

    fn carried_by(self: &Arc<Self>, carrier: Carrier, tags: Box<[TagId]>, mut shards: Shards<'_>) -> Carried {
        let carrier = Arc::new(carrier);
        tags.iter().for_each(|tag| shards.of(*tag).add(*tag, &carrier));
        let due = shards.due_for_a_sweep();
        drop(shards);
        // One after the other, so that nobody waits for more than one.
        due.into_iter().for_each(|shard| self.sweep(&mut lock(&self.shards[shard])));
        Carried::new(Arc::clone(self), carrier, tags)
    }

    /// It carries these tags no longer.
    pub(super) fn carry_no_more(&self, carrier: &Arc<Carrier>, tags: &[TagId]) {
        let mut shards = self.lock_shards_of(tags);
        shards.change(carrier, tags, |state| State { place: Place::Left, ..state });
        tags.iter().for_each(|tag| shards.of(*tag).remove(*tag, carrier));
    }

    /// How something stands that carries these tags, or where it is, is another from now on.
    pub(super) fn change(&self, carrier: &Carrier, tags: &[TagId], to: impl Fn(State) -> State) {
        let state = carrier.state();
        if to(state) != state {
            self.lock_shards_of(tags).change(carrier, tags, to);
        }
    }

    /// Invalidates all that carries any of these tags. When this returns, it has happened.
    pub fn append(&self, tags: &[Tag], strength: Strength) -> Appended {
        let appending = lock(&self.appending);
        let position = self.next();
        let floors_before = self.floors();
        let mut named = Vec::with_capacity(tags.len());
        for tag in tags.iter().map(|tag| self.id(tag)) {
            // Counted and noted at once: what is stored from now on and struck all the same is found out by whoever stores it.
            let mut shard = lock(self.shard(tag));
            if shard.is_sweep_due() {
                self.sweep(&mut shard);
            }
            let before = shard.invalidate(tag, position, strength);
            drop(shard);
            self.slot(tag).fetch_max(position.0, Ordering::AcqRel);
            // A tag that is named twice finds its own position the second time.
            if before.marks.newest() != position {
                named.push((tag, before));
            }
        }
        self.publish(position);
        drop(appending);
        named.sort_unstable_by_key(|(tag, _)| *tag);
        Appended { position, strength, floors_before, named: Named::Tags(named) }
    }

    /// The newest invalidations that named this tag, if any of them is newer than `known`.
    pub(super) fn marks_after(&self, known: Position, tag: TagId) -> Marks {
        if self.may_be_named_after(known, tag) { lock(self.shard(tag)).marks(tag) } else { Marks::default() }
    }

    /// Whether an invalidation after `known` named this tag, or another of its slot.
    pub(super) fn may_be_named_after(&self, known: Position, tag: TagId) -> bool {
        self.slot(tag).load(Ordering::Acquire) > known.0
    }

    /// Invalidates all that is like a pattern. When this returns, it has happened; once all that is stored has been looked at,
    /// that is to be [said](Self::swept).
    pub fn append_ban(&self, pattern: Pattern<Tag>, strength: Strength) -> Appended {
        let pattern = pattern.map(|tag| self.id(&tag));
        let appending = lock(&self.appending);
        let position = self.next();
        let floors_before = self.floors();
        let ban = Arc::new(Ban { position, strength, pattern, swept: AtomicBool::new(false) });
        let mut bans = lock(&self.bans);
        if bans.len() >= MAX_BANS {
            // Too much is allowed, too little is not.
            self.floor_of(strength).store(position.0, Ordering::Release);
        } else {
            bans.push(Arc::clone(&ban));
            self.newest_ban.store(position.0, Ordering::Release);
        }
        drop(bans);
        self.publish(position);
        drop(appending);
        Appended { position, strength, floors_before, named: Named::Like(ban) }
    }

    /// All that is stored has been looked at by this ban: what it struck has been [noted](Carried::note).
    pub fn swept(&self, ban: &Ban) {
        ban.swept.store(true, Ordering::Release);
        self.forget_bans();
    }

    /// What the bans after `as_of` make of something.
    pub(super) fn banned(&self, as_of: Position, matches: impl Fn(&Ban) -> bool) -> Marks {
        if self.newest_ban.load(Ordering::Acquire) <= as_of.0 {
            return Marks::default();
        }
        let bans: Vec<_> = lock(&self.bans).iter().filter(|ban| ban.position > as_of).cloned().collect();
        bans.iter().filter(|ban| matches(ban)).fold(Marks::default(), |marks, ban| match ban.strength {
            Strength::Hard => Marks { hard: marks.hard.max(ban.position), ..marks },
            Strength::Soft => Marks { soft: marks.soft.max(ban.position), ..marks },
        })
    }

    /// The bans that are remembered.
    pub fn bans(&self) -> usize {
        lock(&self.bans).len()
    }

    fn forget_bans(&self) {
        let settled = self.settled();
        let mut bans = lock(&self.bans);
        bans.retain(|ban| !ban.is_swept() || ban.position > settled);
        let newest = bans.iter().map(|ban| ban.position.0).max().unwrap_or(0);
        self.newest_ban.store(newest, Ordering::Release);
    }

    fn floor_of(&self, strength: Strength) -> &AtomicU64 {
        match strength {
            Strength::Hard => &self.floor,
            Strength::Soft => &self.soft_floor,
        }
    }

    /// Invalidates everything that was fetched or is being fetched. When this returns, it has happened.
    pub fn append_everything(&self, strength: Strength) -> Appended {
        let appending = lock(&self.appending);
        let position = self.next();
        let floors_before = self.floors();
        self.floor_of(strength).store(position.0, Ordering::Release);
        self.publish(position);
        drop(appending);
        Appended { position, strength, floors_before, named: Named::Everything }
    }

    /// The number of tags that are remembered.
    pub fn tags(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).len()).sum()
    }

    /// Forgets what no longer matters. It happens by itself as tags come in; this gives memory back after they
    /// have ceased to.
    pub fn forget(&self) {
        self.forget_bans();
        for shard in &self.shards {
            self.sweep(&mut lock(shard));
        }
    }

    /// Only while `appending` is held.
    fn next(&self) -> Position {
        Position(self.head().0 + 1)
    }

    fn publish(&self, position: Position) {
        self.head.store(position.0, Ordering::Release);
    }

    /// What stands for a tag here.
    pub fn id(&self, tag: &Tag) -> TagId {
        TagId(self.hasher.hash_one(tag))
    }

    fn shard(&self, tag: TagId) -> &Mutex<Shard> {
        &self.shards[place(tag, self.shards.len())]
    }

    fn slot(&self, tag: TagId) -> &AtomicU64 {
        &self.slots[(tag.0 >> 32) as usize % self.slots.len()]
    }

    fn lock_shards_of(&self, tags: &[TagId]) -> Shards<'_> {
        let number = self.shards.len();
        let wanted = tags.iter().fold(0, |wanted: u64, tag| wanted | 1 << place(*tag, number));
        // What has no tags is changed by one at a time, too.
        let wanted = wanted.max(1);
        let is_wanted = |at: &usize| wanted & (1 << at) != 0;
        let locked = (0..number).filter(is_wanted).map(|at| lock(&self.shards[at])).collect();
        Shards { number, wanted, locked }
    }

    /// The keys under which something that carries the tag is, or was until just now, stored. One may come several times.
    pub fn keys(&self, tag: TagId) -> Vec<Arc<str>> {
        lock(self.shard(tag)).keys(tag).cloned().collect()
    }

    /// How many responses carry the tag that are, or were until just now, stored or about to be.
    pub fn carriers(&self, tag: TagId) -> usize {
        lock(self.shard(tag)).carriers(tag)
    }

    /// The application's tags that begin so and that something stored carries. In no order.
    pub fn application_tags(&self, prefix: &str) -> Vec<(String, TagId)> {
        let mut tags = Vec::new();
        for shard in &self.shards {
            tags.extend(lock(shard).application_tags(prefix));
        }
        tags
    }

    /// Forgets what no longer matters; see the [module](self).
    fn sweep(&self, shard: &mut Shard) {
        // An append that is being written right now has its cells beyond the head, and beyond this: they are kept.
        let uncarried = shard.sweep(self.settled());
        if uncarried > self.max_uncarried_per_shard {
            // The floor takes the place of every cell up to the head.
            shard.forget_uncarried(self.raise_floor());
        }
        shard.schedule(self.max_uncarried_per_shard);
    }

    /// No fetch that is under way, or ever will be, began before this.
    fn settled(&self) -> Position {
        let under_way = lock(&self.under_way);
        // Read under the lock that a fetch begins under: one that is not registered yet will read this head or a
        // later one. Were the head read afterwards, a fetch could begin and an append be published in between,
        // and the very cell be forgotten that condemns the fetch.
        let head = self.head();
        under_way.keys().next().map_or(head, |&oldest| oldest.min(head))
    }

    /// Condemns all that began before the present head.
    fn raise_floor(&self) -> Position {
        let head = self.head();
        self.floor.fetch_max(head.0, Ordering::AcqRel);
        head
    }
}

/// Which of so many shards a tag belongs to.
fn place(tag: TagId, shards: usize) -> usize {
    tag.0 as usize % shards
}

/// The shards of some tags, locked. In their order: two who lock several get into no deadlock.
struct Shards<'l> {
    number: usize,
    /// The bits of those that are locked.
    wanted: u64,
    locked: SmallVec<[MutexGuard<'l, Shard>; 8]>,
}

impl Shards<'_> {
    /// The one of a tag among them, which must be one of those they were locked for.
    fn of(&mut self, tag: TagId) -> &mut Shard {
        let before = self.wanted & ((1 << place(tag, self.number)) - 1);
        &mut self.locked[before.count_ones() as usize]
    }

    /// The numbers of those in which too much may be remembered.
    fn due_for_a_sweep(&self) -> SmallVec<[usize; 8]> {
        let numbers = (0..self.number).filter(|at| self.wanted & (1 << at) != 0);
        let due = numbers.zip(&self.locked).filter(|(_, shard)| shard.is_sweep_due());
        due.map(|(at, _)| at).collect()
    }

    /// See [`Log::change`].
    fn change(&mut self, carrier: &Carrier, tags: &[TagId], to: impl Fn(State) -> State) {
        let (from, to) = (carrier.state(), to(carrier.state()));
        if from.as_stored() != to.as_stored() {
            tags.iter().for_each(|tag| self.of(*tag).moved(*tag, carrier, from.as_stored(), to.as_stored()));
        }
        carrier.set(to);
    }
}

/// Nothing that holds one of these locks can panic half-way through a change.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
