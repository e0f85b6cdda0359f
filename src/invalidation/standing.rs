//! The whole rule: a stored response is usable iff no invalidation after its `as_of` matches it. PURE.

use std::sync::{Arc, OnceLock};

use super::sync::{AtomicU8, AtomicU64, Ordering};
use super::{Appended, Log, Marks, Position, Subject, TagCell};

/// What a stored response is known by: where the log stood when its fetch began, and its tags.
///
/// Made by [`Log::carry`] alone. When it is dropped, its tags no longer count it among their members.
#[derive(Debug)]
pub struct Carried {
    /// Where the log stood when the fetch began.
    pub as_of: Position,
    /// The cells of all its tags, each once, ordered by address.
    pub cells: Box<[Arc<TagCell>]>,
    /// The head it was last found usable against. Only an optimisation: losing a write means looking again.
    checked: AtomicU64,
    /// A [`State`].
    state: AtomicU8,
    /// Its share of its tags and their cells, in bytes.
    tag_bytes: usize,
    /// The key under which its tags know it, and the bytes it accounts for.
    stored: OnceLock<(Arc<str>, u32)>,
}

/// What has been [noted](Carried::note), and whether it is stored. Each change of it is told to all its tags.
#[derive(Clone, Copy, PartialEq, Eq)]
struct State {
    noted: Standing,
    place: Place,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
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
    fn as_stored(self) -> Option<Standing> {
        (self.place == Place::Stored).then_some(self.noted)
    }
}

/// Whether a stored response may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// No invalidation since its fetch began names it.
    Usable,
    /// It is stale, however fresh it would be.
    Softened,
    /// It is never to be served again.
    Dead,
}

/// No head is ever this: the first look must look.
const NEVER: u64 = u64::MAX;

impl Carried {
    pub(super) fn new(as_of: Position, mut cells: Vec<Arc<TagCell>>, tag_bytes: usize) -> Self {
        cells.sort_unstable_by_key(Arc::as_ptr);
        cells.dedup_by(|a, b| Arc::ptr_eq(a, b));
        let state = State { noted: Standing::Usable, place: Place::Nowhere };
        let (checked, state) = (AtomicU64::new(NEVER), AtomicU8::new(state.to_bits()));
        Self { as_of, cells: cells.into(), checked, state, tag_bytes, stored: OnceLock::new() }
    }

    /// The same of something of which nothing is known but this: a ban that could be meant is.
    pub fn standing(&self, log: &Log) -> Standing {
        self.standing_of(log, Subject::default)
    }

    /// Two atomic loads while the log has not moved since the last look; one more per tag when it has. `subject`: what it is,
    /// asked for if there are bans.
    pub fn standing_of<'s>(&self, log: &Log, subject: impl Fn() -> Subject<'s>) -> Standing {
        // Read before the cells: they are written before the head is published, so what is seen below is at
        // least all that happened up to this head.
        let head = log.head();
        // Relaxed, for nothing is read on the strength of it but this number: whoever wrote it found no cell
        // that names this response up to that head, and no cell ever changes below a head.
        if self.checked.load(Ordering::Relaxed) == head.0 {
            return Standing::Usable;
        }
        let marks = self.cells.iter().fold(log.floors(), |marks, cell| marks.or(cell.marks()));
        let marks = marks.or(log.banned(self.as_of, |ban| ban.pattern.matches(self, &subject())));
        let told = match marks {
            Marks { hard, .. } if hard > self.as_of => Standing::Dead,
            Marks { soft, .. } if soft > self.as_of => Standing::Softened,
            _ => Standing::Usable,
        };
        // Read after the bans: what one of them has found is noted before it is forgotten.
        let standing = told.max(self.noted());
        if standing == Standing::Usable {
            self.checked.store(head.0, Ordering::Relaxed);
        }
        standing
    }

    /// Notes how it stands, so that it stays so when what has made it so is forgotten.
    ///
    /// To be done of whatever may have been looked up, before that: a reader may have it in hand, and look at the log later.
    pub fn note(&self, standing: Standing) {
        if standing != Standing::Usable {
            self.change(|state| State { noted: state.noted.max(standing), ..state });
            self.checked.store(NEVER, Ordering::Release);
        }
    }

    /// What has been noted.
    pub fn noted(&self) -> Standing {
        State::of_bits(self.state.load(Ordering::Acquire)).noted
    }

    fn change(&self, to: impl Fn(State) -> State) {
        let mut bits = self.state.load(Ordering::Acquire);
        loop {
            let (before, after) = (State::of_bits(bits), to(State::of_bits(bits)));
            if before == after {
                return;
            }
            let changed =
                self.state.compare_exchange(bits, after.to_bits(), Ordering::AcqRel, Ordering::Acquire);
            match changed {
                Ok(_) => return self.tell(before.as_stored(), after.as_stored()),
                Err(meanwhile) => bits = meanwhile,
            }
        }
    }

    fn tell(&self, from: Option<Standing>, to: Option<Standing>) {
        if from == to {
            return;
        }
        if let Some(stored) = self.stored.get() {
            for cell in &self.cells {
                cell.moved(stored, from, to);
            }
        }
    }

    /// What the response to an unsafe request carries once that request has itself caused `appended`: it tells of
    /// the change, so it is as of that position. `None` if anything else has invalidated it since its fetch began.
    ///
    /// To be made *before* the append: from then on it holds its cells, so that none of them is forgotten
    /// between the invalidations by others and this look at them.
    pub fn since_own(mut self, log: &Log, appended: &Appended) -> Option<Self> {
        let by_others = |cell: &Arc<TagCell>| appended.before(cell).unwrap_or_else(|| cell.marks());
        // Its own is no ban. Those of others are remembered as long as its fetch is.
        let banned = log.banned(self.as_of, |ban| ban.pattern.matches(&self, &Subject::default()));
        let overtaken = self.noted() != Standing::Usable
            || banned.newest() > self.as_of
            || self.as_of < appended.floors_before.newest()
            || self.cells.iter().any(|cell| by_others(cell).newest() > self.as_of);
        if overtaken {
            return None;
        }
        // They are ordered, and each is there once.
        let cells = std::mem::take(&mut self.cells).into_vec();
        Some(Self::new(appended.position, cells, self.tag_bytes))
    }

    /// The same, for one more that has the response.
    pub fn again(&self) -> Self {
        let again = Self::new(self.as_of, self.cells.to_vec(), self.tag_bytes);
        again.note(self.noted());
        again
    }

    /// What a response carries that is made of this one's bytes and of another's: the older position, and the tags of
    /// both.
    pub fn joined(mut self, other: &Self) -> Self {
        let mut cells = std::mem::take(&mut self.cells).into_vec();
        cells.extend(other.cells.iter().cloned());
        let noted = self.noted().max(other.noted());
        let joined = Self::new(self.as_of.min(other.as_of), cells, self.tag_bytes + other.tag_bytes);
        joined.note(noted);
        joined
    }

    /// The same, with the tags of another as well, which stood when this one's fetch began.
    pub fn with_tags_of(mut self, other: &Self) -> Self {
        let mut cells = std::mem::take(&mut self.cells).into_vec();
        cells.extend(other.cells.iter().cloned());
        let both = Self::new(self.as_of, cells, self.tag_bytes.max(other.tag_bytes));
        both.note(self.noted());
        both
    }

    /// Whether this is one of its tags.
    pub fn carries(&self, cell: &Arc<TagCell>) -> bool {
        self.cells.binary_search_by_key(&Arc::as_ptr(cell), Arc::as_ptr).is_ok()
    }

    /// Makes it a member of all its tags: under this key, of so many bytes, until it has [left](Self::left). Only the first
    /// call does.
    ///
    /// To be called before the response is put where a purge can find it: a purge that comes between finds nothing
    /// under the key and says so truthfully, whereas one that is nobody's member would be purged uncounted.
    pub fn stored_under(&self, key: &Arc<str>, bytes: u32) {
        if self.stored.set((Arc::clone(key), bytes)).is_ok() {
            self.change(|state| State { place: Place::Stored, ..state });
        }
    }

    /// It is no longer stored, though somebody may still be reading it.
    pub fn left(&self) {
        self.change(|state| State { place: Place::Left, ..state });
    }

    /// The bytes this accounts for: the references, a place in each tag's members, and its share of the tags.
    pub fn byte_size(&self) -> usize {
        // Key, number and the table's free room.
        const MEMBER_BYTES: usize = (size_of::<Arc<str>>() + size_of::<usize>()) * 2;
        self.cells.len() * (size_of::<Arc<TagCell>>() + MEMBER_BYTES) + self.tag_bytes
    }
}

impl Drop for Carried {
    fn drop(&mut self) {
        self.left();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invalidation::Strength::{Hard, Soft};
    use crate::invalidation::Tag;
    use crate::invalidation::log::Named;
    use crate::invalidation::tag::Before;

    fn log() -> Arc<Log> {
        Arc::new(Log::new(1000))
    }

    fn cells_of(appended: &Appended) -> &[(Arc<TagCell>, Before)] {
        match &appended.named {
            Named::Cells(cells) => cells,
            Named::Like(_) | Named::Everything => &[],
        }
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
        log.append(&[tag("c")], Hard);
        assert_eq!(carried.standing(&log), Standing::Usable);
        log.append(&[tag("b")], Hard);
        assert_eq!(carried.standing(&log), Standing::Dead);
    }

    #[test]
    fn a_soft_invalidation_makes_stale_and_a_hard_one_ends() {
        let log = log();
        let carried = log.carry(&log.begin_fetch(), [tag("a"), tag("b")]);
        log.append(&[tag("c")], Soft);
        assert_eq!(carried.standing(&log), Standing::Usable);
        log.append(&[tag("a")], Soft);
        assert_eq!(carried.standing(&log), Standing::Softened);
        assert_eq!(log.carry(&log.begin_fetch(), [tag("a")]).standing(&log), Standing::Usable);
        log.append(&[tag("b")], Hard);
        assert_eq!(carried.standing(&log), Standing::Dead);
        log.append_everything(Soft);
        assert_eq!(carried.standing(&log), Standing::Dead, "it does not come back");
        let early = log.begin_fetch();
        log.append_everything(Soft);
        assert_eq!(log.carry(&early, []).standing(&log), Standing::Softened);
    }

    #[test]
    fn of_joined_bytes_the_older_count_and_the_tags_of_both() {
        let log = log();
        let old = log.carry(&log.begin_fetch(), [tag("a")]);
        log.append(&[tag("b")], Hard);
        let new = || log.carry(&log.begin_fetch(), [tag("b")]);
        assert_eq!(new().standing(&log), Standing::Usable);
        // The old bytes may be of what was invalidated as b.
        assert_eq!(new().joined(&old).standing(&log), Standing::Dead);
        let later = log.carry(&log.begin_fetch(), [tag("c")]).joined(&old);
        assert_eq!(later.standing(&log), Standing::Usable);
        log.append(&[tag("a")], Hard);
        assert_eq!(later.standing(&log), Standing::Dead);
    }

    #[test]
    fn what_was_invalidated_before_the_fetch_began_is_of_no_concern() {
        let log = log();
        log.append(&[tag("a")], Hard);
        log.append_everything(Hard);
        let carried = log.carry(&log.begin_fetch(), [tag("a")]);
        assert_eq!(carried.standing(&log), Standing::Usable);
    }

    #[test]
    fn a_tag_that_nobody_carried_yet_condemns_a_fetch_under_way() {
        let log = log();
        let fetch = log.begin_fetch();
        log.append(&[tag("a")], Hard);
        assert_eq!(log.carry(&fetch, [tag("a")]).standing(&log), Standing::Dead);
        assert_eq!(log.carry(&fetch, [tag("b")]).standing(&log), Standing::Usable);
    }

    #[test]
    fn everything_is_everything_that_began_before() {
        let log = log();
        let fetch = log.begin_fetch();
        let carried = log.carry(&fetch, []);
        log.append_everything(Hard);
        assert_eq!(carried.standing(&log), Standing::Dead);
        assert_eq!(log.carry(&fetch, []).standing(&log), Standing::Dead);
        assert_eq!(log.carry(&log.begin_fetch(), []).standing(&log), Standing::Usable);
    }

    #[test]
    fn the_answer_to_a_change_survives_the_change_it_tells_of() {
        let log = log();
        let carried = log.carry(&log.begin_fetch(), [tag("a"), tag("b")]);
        let own = log.append(&[tag("a")], Hard);
        let carried = carried.since_own(&log, &own).unwrap();
        assert_eq!((carried.as_of, carried.standing(&log)), (own.position, Standing::Usable));
        log.append(&[tag("b")], Hard);
        assert_eq!(carried.standing(&log), Standing::Dead);
    }

    #[test]
    fn the_answer_to_a_change_does_not_survive_what_others_did_meanwhile() {
        // By a tag that the change names itself, by another one, by everything; before the change and after it.
        type Others = fn(&Log);
        let others: [Others; 3] = [
            |log| drop(log.append(&[tag("a")], Hard)),
            |log| drop(log.append(&[tag("b")], Hard)),
            |log| drop(log.append_everything(Hard)),
        ];
        for invalidate in others {
            let log = log();
            let fetch = log.begin_fetch();
            invalidate(&log);
            let carried = log.carry(&fetch, [tag("a"), tag("b")]);
            assert!(carried.since_own(&log, &log.append(&[tag("a")], Hard)).is_none());

            let log = self::log();
            let carried = log.carry(&log.begin_fetch(), [tag("a"), tag("b")]);
            let own = log.append(&[tag("a")], Hard);
            invalidate(&log);
            let survivor = carried.since_own(&log, &own);
            assert!(survivor.is_none_or(|carried| carried.standing(&log) == Standing::Dead));
        }
    }

    #[test]
    fn what_was_forgotten_meanwhile_condemns_the_answer_to_a_change() {
        // Room for one tag that nobody carries: the purge of `b` is remembered by the floor alone.
        let log = Arc::new(Log::new(1));
        let fetch = log.begin_fetch();
        log.append(&[tag("b")], Hard);
        for n in 0..10 {
            log.append(&[tag(&n.to_string())], Hard);
        }
        assert!(log.floor() > fetch.as_of());
        let carried = log.carry(&fetch, [tag("a"), tag("b")]);
        assert!(carried.since_own(&log, &log.append(&[tag("a")], Hard)).is_none());
    }

    #[test]
    fn a_standing_that_was_remembered_ends_with_the_next_invalidation() {
        let log = log();
        let carried = log.carry(&log.begin_fetch(), [tag("a")]);
        for _ in 0..3 {
            log.append(&[tag("b")], Hard);
            assert_eq!(carried.standing(&log), Standing::Usable);
            assert_eq!(carried.standing(&log), Standing::Usable);
        }
        log.append(&[tag("a")], Hard);
        assert_eq!(carried.standing(&log), Standing::Dead);
        assert_eq!(carried.standing(&log), Standing::Dead);
    }

    #[test]
    fn a_tag_given_twice_is_carried_once() {
        let log = log();
        let carried = log.carry(&log.begin_fetch(), ["a", "b", "a", "c", "b"].map(tag));
        assert_eq!(carried.cells.len(), 3);
        let named = log.append(&[tag("b"), tag("d"), tag("b")], Hard);
        assert_eq!(cells_of(&named).len(), 2);
        let carried_of_those = cells_of(&named).iter().filter(|(cell, _)| carried.carries(cell)).count();
        assert_eq!(carried_of_those, 1);
    }

    #[test]
    fn long_tags_that_nobody_carries_take_more_of_the_room() {
        for (length, is_raised) in [(10, false), (200, true), (30_000, true)] {
            let log = Arc::new(Log::new(100));
            let fetch = log.begin_fetch();
            for n in 0..150 {
                log.append(&[tag(&format!("{n}{}", "x".repeat(length)))], Hard);
            }
            assert_eq!(log.floor() > fetch.as_of(), is_raised, "{length}");
        }
    }

    #[test]
    fn tags_are_weighed_by_those_who_carry_them() {
        let log = log();
        let fetch = log.begin_fetch();
        let none = log.carry(&fetch, []).byte_size();
        let weigh = |name: &str| {
            let carried = log.carry(&fetch, [tag(name)]);
            (carried.byte_size() - none, carried)
        };
        let (short, _short) = weigh("a");
        let (long, _long) = weigh(&"b".repeat(200));
        assert_eq!(long - short, 199);
        // Longer ones do not come: they are digests.
        let (longer, _longer) = weigh(&"c".repeat(30_000));
        assert!(longer < long);
        let (again, _again) = weigh("a");
        assert!(again < short, "{again} {short}");
    }

    #[test]
    fn a_key_is_a_member_as_long_as_anything_stored_under_it_carries_the_tag() {
        let log = log();
        let key: Arc<str> = "k".into();
        let store = |names: &[&str]| {
            let carried = log.carry(&log.begin_fetch(), names.iter().copied().map(tag));
            carried.stored_under(&key, 1);
            carried
        };
        let members = |name| cells_of(&log.append(&[tag(name)], Hard))[0].0.members().len();
        let (old, new) = (store(&["a", "b"]), store(&["a"]));
        assert_eq!((members("a"), members("b")), (1, 1));
        drop(old);
        assert_eq!((members("a"), members("b")), (1, 0));
        drop(new);
        assert_eq!(members("a"), 0);
    }
}
