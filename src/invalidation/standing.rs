//! The whole rule: a stored response is usable iff no invalidation after its `as_of` matches it. PURE.

use std::fmt;
use std::sync::Arc;

use super::index::TAG_BYTES;
use super::members::{Carrier, Place, State};
use super::sync::{AtomicU64, Ordering};
use super::{Appended, Log, Marks, Position, Subject, TagId};

/// What a stored response is known by: where the log stood when its fetch began, and its tags.
///
/// Made by [`Log::carry`] alone. When it is dropped, its tags no longer count it among those who carry them.
pub struct Carried {
    /// Those of all its tags, each once, in order.
    tags: Box<[TagId]>,
    /// The head it was last found usable against, or [`SOFTENED`]. Only an optimisation: losing a write means looking again.
    checked: AtomicU64,
    /// What its tags know it by.
    carrier: Arc<Carrier>,
    log: Arc<Log>,
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

/// Beside a head: what was found then is that it is softened, as is noted. No log gets so far.
const SOFTENED: u64 = 1 << 63;

impl Carried {
    pub(super) fn new(log: Arc<Log>, carrier: Arc<Carrier>, tags: Box<[TagId]>) -> Self {
        Self { tags, checked: AtomicU64::new(NEVER), carrier, log }
    }

    /// Where the log stood when its fetch began.
    pub fn as_of(&self) -> Position {
        self.carrier.as_of
    }

    /// Those of all its tags, each once, in order.
    pub fn tags(&self) -> &[TagId] {
        &self.tags
    }

    /// The same of something of which nothing is known but this: a ban that could be meant is.
    pub fn standing(&self) -> Standing {
        self.standing_of(Subject::default)
    }

    /// Two atomic loads while the log has not moved since the last look; one more per tag when it has, and the tag's own
    /// marks where something near it was named since. `subject`: what it is, asked for if there are bans.
    pub fn standing_of<'s>(&self, subject: impl Fn() -> Subject<'s>) -> Standing {
        // Read before the cells: they are written before the head is published, so what is seen below is at
        // least all that happened up to this head.
        let log = &*self.log;
        let head = log.head();
        // Relaxed, for all that is concluded from it is about what came before: whoever wrote it found no cell
        // that names this response up to that head, and no cell ever changes below a head.
        let checked = self.checked.load(Ordering::Relaxed);
        if checked == head.0 {
            return Standing::Usable;
        }
        if checked == head.0 | SOFTENED {
            return Standing::Softened;
        }
        let as_of = self.as_of();
        // What there was up to the last look does not name it, or is noted; its tags are always the same.
        let known = if checked == NEVER { as_of } else { as_of.max(Position(checked & !SOFTENED)) };
        let tags = self.tags.iter();
        let marks = tags.fold(log.floors(), |marks, tag| marks.or(log.marks_after(known, *tag)));
        let marks = marks.or(log.banned(as_of, |ban| ban.pattern.matches(self, &subject())));
        let told = match marks {
            Marks { hard, .. } if hard > as_of => Standing::Dead,
            Marks { soft, .. } if soft > as_of => Standing::Softened,
            _ => Standing::Usable,
        };
        // Read after the bans: what one of them has found is noted before it is forgotten.
        let standing = told.max(self.noted());
        if standing == Standing::Usable {
            self.checked.store(head.0, Ordering::Relaxed);
        } else if standing == Standing::Softened && self.noted() == Standing::Softened {
            self.checked.store(head.0 | SOFTENED, Ordering::Relaxed);
        }
        standing
    }

    /// Notes how it stands, so that it stays so when what has made it so is forgotten.
    ///
    /// To be done of whatever may have been looked up, before that: a reader may have it in hand, and look at the log later.
    pub fn note(&self, standing: Standing) {
        if standing != Standing::Usable {
            let noted = |state: State| State { noted: state.noted.max(standing), ..state };
            self.log.change(&self.carrier, &self.tags, noted);
            self.checked.store(NEVER, Ordering::Release);
        }
    }

    /// What has been noted.
    pub fn noted(&self) -> Standing {
        self.carrier.state().noted
    }

    /// What the response to an unsafe request carries once that request has itself caused `appended`: it tells of
    /// the change, so it is as of that position. `None` if anything else has invalidated it since its fetch began.
    ///
    /// To be made *before* the append: from then on it carries its tags, so that nothing of them is forgotten
    /// between the invalidations by others and this look at them.
    pub fn since_own(self, appended: &Appended) -> Option<Self> {
        let (as_of, log) = (self.as_of(), &*self.log);
        let by_others = |tag: TagId| appended.before(tag).unwrap_or_else(|| log.marks_after(as_of, tag));
        // Its own is no ban. Those of others are remembered as long as its fetch is.
        let banned = log.banned(as_of, |ban| ban.pattern.matches(&self, &Subject::default()));
        let overtaken = self.noted() != Standing::Usable
            || banned.newest() > as_of
            || as_of < appended.floors_before.newest()
            || self.tags.iter().any(|tag| by_others(*tag).newest() > as_of);
        let (tags, tag_bytes) = (self.tags.to_vec(), self.carrier.tag_bytes);
        (!overtaken).then(|| self.made(appended.position, Standing::Usable, tags, tag_bytes))
    }

    /// Another, made of this one.
    fn made(&self, as_of: Position, noted: Standing, tags: Vec<TagId>, tag_bytes: u32) -> Self {
        self.log.carry_again(Carrier::new(as_of, noted, tag_bytes), tags)
    }

    /// The same, for one more that has the response.
    pub fn again(&self) -> Self {
        self.made(self.as_of(), self.noted(), self.tags.to_vec(), self.carrier.tag_bytes)
    }

    /// What a response carries that is made of this one's bytes and of another's: the older position, and the tags of
    /// both.
    pub fn joined(self, other: &Self) -> Self {
        let tag_bytes = self.carrier.tag_bytes.saturating_add(other.carrier.tag_bytes);
        let (old, new) = if self.as_of() < other.as_of() { (&self, other) } else { (other, &self) };
        // What named a tag before the newer one's fetch began may be forgotten where only that carries it. To the older bytes it
        // matters from now on.
        let is_news = |tag: &&TagId| old.as_of() < new.as_of() && !old.carries(**tag);
        let overtaken =
            new.tags.iter().filter(is_news).any(|tag| self.log.may_be_named_after(old.as_of(), *tag));
        let noted = if overtaken { Standing::Dead } else { old.noted().max(new.noted()) };
        self.made(old.as_of(), noted, [&*self.tags, &*other.tags].concat(), tag_bytes)
    }

    /// The same, with the tags of another as well, which stood when this one's fetch began.
    pub fn with_tags_of(self, other: &Self) -> Self {
        let tag_bytes = self.carrier.tag_bytes.max(other.carrier.tag_bytes);
        self.made(self.as_of(), self.noted(), [&*self.tags, &*other.tags].concat(), tag_bytes)
    }

    /// Whether this is one of its tags.
    pub fn carries(&self, tag: TagId) -> bool {
        self.tags.binary_search(&tag).is_ok()
    }

    /// Makes it count among what is stored and carries its tags: under this key, of so many bytes, until it has
    /// [left](Self::left). Only the first call does.
    ///
    /// To be called before the response is put where a purge can find it: a purge that comes between finds nothing
    /// under the key and says so truthfully, whereas one that is nobody's member would be purged uncounted.
    pub fn stored_under(&self, key: &Arc<str>, bytes: u32) {
        if self.carrier.stored.set((Arc::clone(key), bytes)).is_ok() {
            self.log.change(&self.carrier, &self.tags, |state| State { place: Place::Stored, ..state });
        }
    }

    /// It is no longer stored, though somebody may still be reading it.
    pub fn left(&self) {
        self.log.change(&self.carrier, &self.tags, |state| State { place: Place::Left, ..state });
    }

    /// The bytes this accounts for: what its tags know it by, and its share of the tags.
    pub fn byte_size(&self) -> usize {
        // The counts of an `Arc`.
        const CARRIER_BYTES: usize = size_of::<Carrier>() + 2 * size_of::<usize>();
        CARRIER_BYTES + self.tags.len() * TAG_BYTES + self.carrier.tag_bytes as usize
    }
}

impl fmt::Debug for Carried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tags, carrier, .. } = self;
        f.debug_struct("Carried").field("as_of", &carrier.as_of).field("tags", tags).finish_non_exhaustive()
    }
}

impl Drop for Carried {
    fn drop(&mut self) {
        self.log.carry_no_more(&self.carrier, &self.tags);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::invalidation::Strength::{Hard, Soft};
    use crate::invalidation::Tag;
    use crate::invalidation::index::Before;
    use crate::invalidation::log::Named;

    fn log() -> Arc<Log> {
        Arc::new(Log::of_shards(4, 1000))
    }

    fn tags_of(appended: &Appended) -> &[(TagId, Before)] {
        match &appended.named {
            Named::Tags(tags) => tags,
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
        assert_eq!(carried.standing(), Standing::Usable);
        log.append(&[tag("c")], Hard);
        assert_eq!(carried.standing(), Standing::Usable);
        log.append(&[tag("b")], Hard);
        assert_eq!(carried.standing(), Standing::Dead);
    }

    #[test]
    fn a_soft_invalidation_makes_stale_and_a_hard_one_ends() {
        let log = log();
        let carried = log.carry(&log.begin_fetch(), [tag("a"), tag("b")]);
        log.append(&[tag("c")], Soft);
        assert_eq!(carried.standing(), Standing::Usable);
        log.append(&[tag("a")], Soft);
        assert_eq!(carried.standing(), Standing::Softened);
        assert_eq!(log.carry(&log.begin_fetch(), [tag("a")]).standing(), Standing::Usable);
        log.append(&[tag("b")], Hard);
        assert_eq!(carried.standing(), Standing::Dead);
        log.append_everything(Soft);
        assert_eq!(carried.standing(), Standing::Dead, "it does not come back");
        let early = log.begin_fetch();
        log.append_everything(Soft);
        assert_eq!(log.carry(&early, []).standing(), Standing::Softened);
    }

    #[test]
    fn of_joined_bytes_the_older_count_and_the_tags_of_both() {
        let log = log();
        let old = log.carry(&log.begin_fetch(), [tag("a")]);
        log.append(&[tag("b")], Hard);
        let new = || log.carry(&log.begin_fetch(), [tag("b")]);
        assert_eq!(new().standing(), Standing::Usable);
        // The old bytes may be of what was invalidated as b.
        assert_eq!(new().joined(&old).standing(), Standing::Dead);
        // Also if nobody knows any more what was invalidated.
        let both = new();
        log.forget();
        assert_eq!(both.joined(&old).standing(), Standing::Dead);
        let later = log.carry(&log.begin_fetch(), [tag("c")]).joined(&old);
        assert_eq!(later.standing(), Standing::Usable);
        log.append(&[tag("a")], Hard);
        assert_eq!(later.standing(), Standing::Dead);
    }

    #[test]
    fn what_was_invalidated_before_the_fetch_began_is_of_no_concern() {
        let log = log();
        log.append(&[tag("a")], Hard);
        log.append_everything(Hard);
        let carried = log.carry(&log.begin_fetch(), [tag("a")]);
        assert_eq!(carried.standing(), Standing::Usable);
    }

    #[test]
    fn a_tag_that_nobody_carried_yet_condemns_a_fetch_under_way() {
        let log = log();
        let fetch = log.begin_fetch();
        log.append(&[tag("a")], Hard);
        assert_eq!(log.carry(&fetch, [tag("a")]).standing(), Standing::Dead);
        assert_eq!(log.carry(&fetch, [tag("b")]).standing(), Standing::Usable);
    }

    #[test]
    fn everything_is_everything_that_began_before() {
        let log = log();
        let fetch = log.begin_fetch();
        let carried = log.carry(&fetch, []);
        log.append_everything(Hard);
        assert_eq!(carried.standing(), Standing::Dead);
        assert_eq!(log.carry(&fetch, []).standing(), Standing::Dead);
        assert_eq!(log.carry(&log.begin_fetch(), []).standing(), Standing::Usable);
    }

    #[test]
    fn the_answer_to_a_change_survives_the_change_it_tells_of() {
        let log = log();
        let carried = log.carry(&log.begin_fetch(), [tag("a"), tag("b")]);
        let own = log.append(&[tag("a")], Hard);
        let carried = carried.since_own(&own).unwrap();
        assert_eq!((carried.as_of(), carried.standing()), (own.position, Standing::Usable));
        log.append(&[tag("b")], Hard);
        assert_eq!(carried.standing(), Standing::Dead);
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
            assert!(carried.since_own(&log.append(&[tag("a")], Hard)).is_none());

            let log = self::log();
            let carried = log.carry(&log.begin_fetch(), [tag("a"), tag("b")]);
            let own = log.append(&[tag("a")], Hard);
            invalidate(&log);
            let survivor = carried.since_own(&own);
            assert!(survivor.is_none_or(|carried| carried.standing() == Standing::Dead));
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
        assert!(carried.since_own(&log.append(&[tag("a")], Hard)).is_none());
    }

    #[test]
    fn a_standing_that_was_remembered_ends_with_the_next_invalidation() {
        let log = log();
        let carried = log.carry(&log.begin_fetch(), [tag("a")]);
        for _ in 0..3 {
            log.append(&[tag("b")], Hard);
            assert_eq!(carried.standing(), Standing::Usable);
            assert_eq!(carried.standing(), Standing::Usable);
        }
        log.append(&[tag("a")], Hard);
        assert_eq!(carried.standing(), Standing::Dead);
        assert_eq!(carried.standing(), Standing::Dead);
    }

    #[test]
    fn what_is_softened_stays_so_however_often_it_is_looked_at() {
        for is_noted in [false, true] {
            let log = log();
            let carried = log.carry(&log.begin_fetch(), [tag("a")]);
            log.append(&[tag("a")], Soft);
            if is_noted {
                carried.note(Standing::Softened);
            }
            for _ in 0..3 {
                assert_eq!(carried.standing(), Standing::Softened, "{is_noted}");
                assert_eq!(carried.standing(), Standing::Softened, "{is_noted}");
                log.append(&[tag("b")], Hard);
            }
            log.append(&[tag("a")], Hard);
            assert_eq!(carried.standing(), Standing::Dead, "{is_noted}");
        }
    }

    #[test]
    fn a_tag_given_twice_is_carried_once() {
        let log = log();
        let carried = log.carry(&log.begin_fetch(), ["a", "b", "a", "c", "b"].map(tag));
        assert_eq!(carried.tags().len(), 3);
        let named = log.append(&[tag("b"), tag("d"), tag("b")], Hard);
        assert_eq!(tags_of(&named).len(), 2);
        let carried_of_those = tags_of(&named).iter().filter(|(tag, _)| carried.carries(*tag)).count();
        assert_eq!(carried_of_those, 1);
    }

    #[test]
    fn many_tags_that_nobody_carries_take_more_room_than_there_is() {
        for (number, is_raised) in [(90, false), (250, true)] {
            let log = Arc::new(Log::new(100));
            let fetch = log.begin_fetch();
            for n in 0..number {
                log.append(&[tag(&n.to_string())], Hard);
            }
            assert_eq!(log.floor() > fetch.as_of(), is_raised, "{number}");
        }
    }

    #[test]
    fn tags_that_share_a_slot_are_told_apart() {
        // One slot for all.
        let log = Arc::new(Log::new(1));
        let carried = log.carry(&log.begin_fetch(), [tag("a")]);
        for n in 0..20 {
            log.append(&[tag(&n.to_string())], Hard);
            assert_eq!(carried.standing(), Standing::Usable);
        }
        log.append(&[tag("a")], Soft);
        log.append(&[tag("b")], Hard);
        assert_eq!(carried.standing(), Standing::Softened);
        log.append(&[tag("a")], Hard);
        log.append(&[tag("b")], Hard);
        assert_eq!(carried.standing(), Standing::Dead);
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
        let others: Vec<_> = (0..9).map(|_| weigh("a")).collect();
        assert!(others[8].0 < short && others[8].0 < others[0].0, "{others:?} {short}");
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
        let members = |name| log.keys(log.id(&tag(name))).into_iter().collect::<HashSet<_>>().len();
        let (old, new) = (store(&["a", "b"]), store(&["a"]));
        assert_eq!((members("a"), members("b")), (1, 1));
        drop(old);
        assert_eq!((members("a"), members("b")), (1, 0));
        drop(new);
        assert_eq!(members("a"), 0);
    }
}
