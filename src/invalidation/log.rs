//! The one totally ordered log of invalidations. PURE.
//!
//! Every invalidation gets a [`Position`]. Of what it named only cells remain: per tag the newest position that
//! named it ([`TagCell`]), and for "everything" the *floor*. A stored response notes the position up to which the
//! log was applied when its fetch began; what happened after that condemns it, what happened before cannot.
//!
//! # Why no lock is needed between a purge and a fill
//!
//! An append writes its cells (or the floor) first and publishes the new head afterwards, with release ordering;
//! whoever reads the head with acquire ordering therefore sees every cell up to it.
//! - A fetch reads the head *before* its request is sent. If it reads a head at or after a purge, its response was
//!   made after the purge. If not, its `as_of` is smaller than the purge's position, so the cell condemns whatever
//!   it leads to, whenever that is stored.
//! - A hit that still reads the old head began before the purge was acknowledged, for the acknowledgement is sent
//!   after the head was published.
//!
//! # What may be forgotten
//!
//! A cell that nothing stored carries matters only to fetches under way: one of them may come back with the tag.
//! Once all that are under way began at or after its position, it is as good as never written: those that begin
//! later begin later still. If too many cells must be kept, the floor is raised instead: that condemns too much,
//! which is allowed; too little is not.
//!
//! A floor that is raised so does not move the head, and what was found usable against this head stays so until it
//! moves. Rightly: it carries its own cells, which were not forgotten. Only what comes later can lack one, and that
//! is looked at for the first time.
//!
//! # Locks
//!
//! `appending`, then one shard of the cells or `bans`, then `under_way` or a cell's members; none of them twice. A hit takes
//! none of them, but for `bans` while there is one that is newer than what it looks at.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::hash::BuildHasher;
use std::sync::Arc;

use super::sync::{AtomicBool, AtomicU64, Mutex, MutexGuard, Ordering, PoisonError};
use super::tag::Before;
use super::{Ban, Carried, Pattern, Tag, TagCell};

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
    /// In several shards, so that a sweep holds up only some of those who store.
    shards: Box<[Mutex<Cells>]>,
    /// Makes the digests of tags.
    hasher: foldhash::quality::RandomState,
    /// The positions at which the fetches under way began, with their number.
    under_way: Mutex<BTreeMap<Position, usize>>,
    /// In [places](Tag::places).
    max_uncarried_per_shard: usize,
}

/// What stands for a tag here: the text of it would take more memory than all that is remembered of it. Two tags that share one
/// are one to the log, so that what names one of them strikes both: too much is allowed. The hash is another in each
/// process, so that nobody outside knows which those are.
type Digest = u64;

#[derive(Debug)]
struct Cells {
    table: HashMap<Digest, Arc<TagCell>, foldhash::fast::RandomState>,
    /// Of the application's tags, which can be listed.
    names: HashMap<Digest, Tag, foldhash::fast::RandomState>,
    /// At how many cells the next sweep is due.
    sweep_at: usize,
}

impl Cells {
    fn new(sweep_at: usize) -> Self {
        Self { table: HashMap::default(), names: HashMap::default(), sweep_at }
    }
}

/// Fewer cells than this are not worth a sweep.
const MIN_SWEEP: usize = 1024;

const MAX_SHARDS: usize = 16;

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
    /// The cell of each tag, once, with what there was before. Ordered by address.
    Cells(Vec<(Arc<TagCell>, Before)>),
    /// What is like a pattern.
    Like(Arc<Ban>),
    /// All of it.
    Everything,
}

impl Appended {
    /// The newest positions that had named this cell before; `None` if this append does not name it.
    pub fn before(&self, cell: &Arc<TagCell>) -> Option<Marks> {
        let Named::Cells(cells) = &self.named else { return None };
        let found = cells.binary_search_by_key(&Arc::as_ptr(cell), |(own, _)| Arc::as_ptr(own));
        found.ok().map(|at| cells[at].1.marks)
    }
}

impl Log {
    /// An empty log. Of the tags that nothing stored carries, about `max_uncarried` are remembered at most; fewer, if
    /// they are long.
    pub fn new(max_uncarried: usize) -> Self {
        let shards = (max_uncarried / MIN_SWEEP).clamp(1, MAX_SHARDS);
        let max_uncarried_per_shard = max_uncarried.div_ceil(shards);
        let sweep_at = MIN_SWEEP.min(max_uncarried_per_shard.max(1));
        Self {
            head: AtomicU64::new(0),
            floor: AtomicU64::new(0),
            soft_floor: AtomicU64::new(0),
            bans: Mutex::default(),
            newest_ban: AtomicU64::new(0),
            appending: Mutex::new(()),
            shards: (0..shards).map(|_| Mutex::new(Cells::new(sweep_at))).collect(),
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
    pub fn carry(&self, fetch: &Fetch, tags: impl IntoIterator<Item = Tag>) -> Carried {
        let mut tag_bytes = 0;
        let cells = tags.into_iter().map(|tag| {
            let bytes = tag.byte_size();
            let cell = self.cell(tag);
            // Those who carry it share in it. All but one of the references are theirs.
            tag_bytes += bytes / Arc::strong_count(&cell).saturating_sub(1).max(1);
            cell
        });
        let cells = cells.collect();
        Carried::new(fetch.as_of, cells, tag_bytes)
    }

    /// Invalidates all that carries any of these tags. When this returns, it has happened.
    pub fn append(&self, tags: &[Tag], strength: Strength) -> Appended {
        let appending = lock(&self.appending);
        let position = self.next();
        let floors_before = self.floors();
        let mut cells = Vec::with_capacity(tags.len());
        for tag in tags {
            // Made if nobody carries the tag: a fetch under way may come back with it.
            let cell = self.cell(tag.clone());
            let before = cell.invalidate(position, strength);
            // A tag that is named twice finds its own position the second time.
            if before.marks.newest() != position {
                cells.push((cell, before));
            }
        }
        self.publish(position);
        drop(appending);
        cells.sort_unstable_by_key(|(cell, _)| Arc::as_ptr(cell));
        Appended { position, strength, floors_before, named: Named::Cells(cells) }
    }

    /// Invalidates all that is like a pattern. When this returns, it has happened; once all that is stored has been looked at,
    /// that is to be [said](Self::swept).
    pub fn append_ban(&self, pattern: Pattern<Tag>, strength: Strength) -> Appended {
        let pattern = pattern.map(|tag| self.cell(tag));
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
        self.shards.iter().map(|shard| lock(shard).table.len()).sum()
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

    /// The cell of a tag. While the caller holds it, it is not forgotten.
    fn cell(&self, tag: Tag) -> Arc<TagCell> {
        let (digest, shard) = self.place(&tag);
        let mut cells = lock(shard);
        if let Some(cell) = cells.table.get(&digest) {
            return Arc::clone(cell);
        }
        if cells.table.len() >= cells.sweep_at {
            self.sweep(&mut cells);
        }
        if tag.as_application().is_some() {
            cells.names.insert(digest, tag);
        }
        Arc::clone(cells.table.entry(digest).or_default())
    }

    /// Where the cell of a tag is, if it is.
    fn place(&self, tag: &Tag) -> (Digest, &Mutex<Cells>) {
        let digest = self.hasher.hash_one(tag);
        (digest, &self.shards[digest as usize % self.shards.len()])
    }

    /// The cell of a tag, if anybody knows it.
    pub fn known_cell(&self, tag: &Tag) -> Option<Arc<TagCell>> {
        let (digest, shard) = self.place(tag);
        lock(shard).table.get(&digest).map(Arc::clone)
    }

    /// The application's tags that begin so and that something stored carries, with the number of its keys. In no order.
    pub fn application_tags(&self, prefix: &str) -> Vec<(String, usize)> {
        let mut tags = Vec::new();
        for shard in &self.shards {
            let cells = lock(shard);
            let named = cells
                .names
                .iter()
                .filter_map(|(digest, tag)| Some((tag.as_application()?, cells.table.get(digest)?)));
            let carried = named
                .filter(|(name, _)| name.starts_with(prefix))
                .map(|(name, cell)| (name.to_owned(), cell.number()));
            tags.extend(carried.filter(|(_, keys)| *keys > 0));
        }
        tags
    }

    /// Forgets what no longer matters; see the [module](self).
    fn sweep(&self, cells: &mut Cells) {
        let settled = self.settled();
        let mut uncarried = 0;
        let Cells { table, names, sweep_at } = cells;
        table.retain(|digest, cell| {
            // Nobody else holds it, nor can anybody come to: that takes the lock that is held here. And if an
            // append has held it, what that wrote is seen.
            let Some(cell) = Arc::get_mut(cell) else { return true };
            let keep = cell.marks().newest() > settled;
            if keep {
                uncarried += names.get(digest).map_or(1, Tag::places);
            }
            keep
        });
        if uncarried > self.max_uncarried_per_shard {
            // The floor takes the place of every cell up to the head. An append that is being written right now
            // has its cells beyond the head: they are kept.
            let raised = self.raise_floor();
            table.retain(|_, cell| Arc::get_mut(cell).is_none_or(|cell| cell.marks().newest() > raised));
        }
        names.retain(|digest, _| table.contains_key(digest));
        let least = MIN_SWEEP.min(self.max_uncarried_per_shard.max(1));
        // No later than when as many may have come that nothing carries as are remembered at most.
        let more = table.len().min(self.max_uncarried_per_shard);
        *sweep_at = (table.len() + more).max(least);
        if table.capacity() > 4 * *sweep_at {
            table.shrink_to(*sweep_at);
            names.shrink_to_fit();
        }
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

/// Nothing that holds one of these locks can panic half-way through a change.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
