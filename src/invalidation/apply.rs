//! Carrying out an invalidation: append it to the log, then give memory back and count.
//!
//! The append is the invalidation: once it has returned, nothing older is usable, however many stored responses
//! carry the tag. What follows only finds out how many that were, and removes them.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::history::History;
use super::log::Named as Appending;
use super::log::lock;
use super::naming::{self, Named};
use super::{Appended, Log, Marks, Pattern, Position, Standing, Strength, Tag, TagCell, Target};
use crate::clock::{Clock, Stopwatch};
use crate::routes::Table;
use crate::store::{Asked, Memory, Stored};

pub use super::naming::{PurgeError, tags_of, tags_of_groups, tags_of_invalidated_groups};

/// Carries out invalidations, one at a time, so that every stored response is counted by exactly one.
#[derive(Debug)]
pub struct Invalidator {
    log: Arc<Log>,
    store: Arc<Memory>,
    routes: Arc<Table>,
    clock: Clock,
    history: History,
    reclaiming: Mutex<()>,
}

/// What a purge answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Purged {
    /// The log's position: nothing that was fetched before it and is named by it is usable.
    pub position: Position,
    /// How many stored responses it matched that were usable until then.
    pub matched: u64,
    /// The bytes they accounted for.
    pub bytes: u64,
    /// How many for each target; what several name counts for each of them.
    pub each: Vec<u64>,
    /// How long it took, counting included.
    pub took: Duration,
}

/// How many a preview names.
const EXAMPLES: usize = 10;

/// What a purge would match.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Preview {
    /// How many stored responses.
    pub matched: u64,
    /// The bytes they account for.
    pub bytes: u64,
    /// The same for each target; what several name counts for each of them.
    pub each: Vec<u64>,
    /// The URLs that some of them were fetched for.
    pub examples: Vec<String>,
}

impl Invalidator {
    /// Invalidates what is in `store`, by `log`; `routes` says what names mean.
    pub fn new(log: Arc<Log>, store: Arc<Memory>, routes: Arc<Table>, clock: Clock) -> Self {
        Self { log, store, routes, clock, history: History::default(), reclaiming: Mutex::new(()) }
    }

    /// Once this returns, nothing that any target names and whose fetch began before is ever served again; or, softly, only
    /// as stale responses may be.
    ///
    /// `by`: who asks for it, for the [history](Self::history).
    ///
    /// # Errors
    /// A target that names nothing the configuration has. Then nothing has been purged.
    pub fn purge(&self, by: &str, targets: &[Target], strength: Strength) -> Result<Purged, PurgeError> {
        let purged = self.append_and_reclaim(&self.named(targets)?, strength).1;
        self.history.add(self.clock.now(), by, targets, strength, &purged);
        Ok(purged)
    }

    /// The last purges.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// What is stored, is not dead, and is named by the target.
    ///
    /// # Errors
    /// As [`purge`](Self::purge).
    pub fn list(&self, target: &Target) -> Result<Vec<Arc<Stored>>, PurgeError> {
        let named = naming::named(target, &self.routes, self.clock.now())?;
        Ok(self.matched(&[self.known(named)]))
    }

    /// What a purge of these targets would match now. Changes nothing.
    ///
    /// # Errors
    /// As [`purge`](Self::purge).
    pub fn preview(&self, targets: &[Target], strength: Strength) -> Result<Preview, PurgeError> {
        let known: Vec<_> = self.named(targets)?.into_iter().map(|named| self.known(named)).collect();
        let mut preview = Preview { each: vec![0; targets.len()], ..Preview::default() };
        for stored in self.matched(&known) {
            if strength == Strength::Soft && stored.standing(&self.log) == Standing::Softened {
                continue;
            }
            preview.matched += 1;
            preview.bytes += u64::from(stored.weight);
            if preview.examples.len() < EXAMPLES {
                preview.examples.push(stored.asked.to_string());
            }
            for (count, known) in preview.each.iter_mut().zip(&known) {
                *count += u64::from(known.names(&stored));
            }
        }
        Ok(preview)
    }

    /// The requests that led to what the targets name and is usable, the most popular first; and how many stored responses
    /// there are that only their own clients can ask for.
    ///
    /// # Errors
    /// As [`purge`](Self::purge).
    pub fn requests(&self, targets: &[Target]) -> Result<(Vec<Arc<Asked>>, u64), PurgeError> {
        let known: Vec<_> = self.named(targets)?.into_iter().map(|named| self.known(named)).collect();
        let (mut requests, mut others) = (Vec::new(), 0);
        for stored in self.matched(&known) {
            match stored.asked.again {
                Some(_) => requests.push((stored.popularity(), Arc::clone(&stored.asked))),
                None => others += 1,
            }
        }
        requests.sort_by_key(|(popularity, _)| std::cmp::Reverse(*popularity));
        Ok((requests.into_iter().map(|(_, asked)| asked).collect(), others))
    }

    /// What is stored, is not dead, and is named by any of these.
    fn matched(&self, known: &[Known]) -> Vec<Arc<Stored>> {
        let keys = self.keys(known);
        let variants = keys.iter().filter_map(|key| self.store.peek(key));
        let stored = variants.flat_map(|variants| variants.stored.clone());
        let is_named = |stored: &Arc<Stored>| {
            known.iter().any(|known| known.names(stored)) && stored.standing(&self.log) != Standing::Dead
        };
        stored.filter(is_named).collect()
    }

    /// The keys under which something may lie that is named by any of these.
    fn keys<'k>(&self, known: impl IntoIterator<Item = &'k Known>) -> HashSet<Arc<str>> {
        let mut keys = HashSet::new();
        for known in known {
            match known {
                Known::Cells(cells) => keys.extend(cells.iter().flat_map(|cell| cell.members())),
                Known::Like(Pattern { groups, .. }) if let Some(group) = groups.first() => {
                    keys.extend(group.iter().flat_map(|cell| cell.members()));
                }
                Known::Like(_) | Known::Everything => keys.extend(self.store.iter().map(|(key, _)| key)),
            }
        }
        keys
    }

    /// Checks a target without purging anything.
    ///
    /// # Errors
    /// As [`purge`](Self::purge).
    pub fn check(&self, target: &Target) -> Result<(), PurgeError> {
        naming::named(target, &self.routes, self.clock.now()).map(drop)
    }

    fn named(&self, targets: &[Target]) -> Result<Vec<Named>, PurgeError> {
        let now = self.clock.now();
        targets.iter().map(|target| naming::named(target, &self.routes, now)).collect()
    }

    /// The cells of what is named, as far as anybody knows them.
    fn known(&self, named: Named) -> Known {
        match named {
            Named::Tags(tags) => {
                Known::Cells(tags.iter().filter_map(|tag| self.log.known_cell(tag)).collect())
            }
            // A cell of its own is nobody's.
            Named::Like(pattern) => {
                Known::Like(pattern.map(|tag| self.log.known_cell(&tag).unwrap_or_default()))
            }
            Named::Everything => Known::Everything,
        }
    }

    /// Invalidates what carries any of these tags.
    pub fn purge_tags(&self, tags: &[Tag]) -> Purged {
        self.append_and_reclaim(&[Named::Tags(tags.to_vec())], Strength::Hard).1
    }

    /// Invalidates what an unsafe request may have changed (RFC 9111 §4.4); `None` if that is nothing.
    pub fn purge_changed(&self, tags: &[Tag]) -> Option<Appended> {
        self.append_and_reclaim(&[Named::Tags(tags.to_vec())], Strength::Hard).0.pop()
    }

    /// What is stored for a URI carries one of these. `host` and `path` are normalised.
    pub fn tags_of_resource(&self, host: &str, path: &str, query: Option<&str>) -> Vec<Tag> {
        naming::tags_of_uri(&self.routes, host, path, query)
    }

    /// What may be served for a host (normalised) carries one of these.
    pub fn tags_of_host(&self, host: &str) -> Vec<Tag> {
        naming::tags_of_normal_host(host, &self.routes)
    }

    /// Appends, then reclaims and counts.
    fn append_and_reclaim(&self, named: &[Named], strength: Strength) -> (Vec<Appended>, Purged) {
        let stopwatch = Stopwatch::start();
        // Held from before the append: two that overlap could not say which of them made a response unusable.
        let reclaiming = lock(&self.reclaiming);
        let mut tags = Vec::new();
        let mut appended = Vec::new();
        for named in named {
            match named {
                Named::Tags(named) => tags.extend_from_slice(named),
                Named::Like(pattern) => appended.push(self.log.append_ban(pattern.clone(), strength)),
                Named::Everything => appended.push(self.log.append_everything(strength)),
            }
        }
        if !tags.is_empty() {
            appended.push(self.log.append(&tags, strength));
        }
        let known = |appended: &Appended| match &appended.named {
            Appending::Cells(cells) => Known::Cells(cells.iter().map(|(cell, _)| Arc::clone(cell)).collect()),
            Appending::Like(ban) => Known::Like(ban.pattern.clone()),
            Appending::Everything => Known::Everything,
        };
        let with_known = |appended| {
            let known = known(&appended);
            (appended, known)
        };
        let batch = Batch(appended.into_iter().map(with_known).collect());
        let each: Vec<_> = named.iter().map(|named| self.known(named.clone())).collect();
        let mut purged = Purged {
            position: self.log.head(),
            matched: 0,
            bytes: 0,
            each: vec![0; each.len()],
            took: Duration::ZERO,
        };
        for key in self.keys(batch.0.iter().map(|(_, known)| known)) {
            self.reclaim(&key, &batch, &each, &mut purged);
        }
        for (appended, _) in &batch.0 {
            if let Appending::Like(ban) = &appended.named {
                self.log.swept(ban);
            }
        }
        drop(reclaiming);
        purged.took = stopwatch.elapsed();
        (batch.0.into_iter().map(|(appended, _)| appended).collect(), purged)
    }

    /// Removes what is dead under a key, and counts what these appends struck.
    fn reclaim(&self, key: &str, batch: &Batch, each: &[Known], purged: &mut Purged) {
        let Some(variants) = self.store.peek(key) else { return };
        for stored in &variants.stored {
            if batch.struck(stored) {
                purged.matched += 1;
                purged.bytes += u64::from(stored.weight);
                for (count, target) in purged.each.iter_mut().zip(each) {
                    *count += u64::from(target.names(stored));
                }
            }
            stored.settle(&self.log);
        }
        // By its standing, not by what was found above: what has been stored since then stays.
        self.store.retain(key, |stored| stored.standing(&self.log) != Standing::Dead);
    }
}

/// What is named, in cells.
enum Known {
    Cells(Vec<Arc<TagCell>>),
    Like(Pattern<Arc<TagCell>>),
    Everything,
}

impl Known {
    fn names(&self, stored: &Stored) -> bool {
        match self {
            Self::Cells(cells) => cells.iter().any(|cell| stored.carried.carries(cell)),
            Self::Like(pattern) => pattern.matches(&stored.carried, &stored.subject()),
            Self::Everything => true,
        }
    }
}

/// What was appended together, and what that names.
struct Batch(Vec<(Appended, Known)>);

impl Batch {
    /// Whether it is what made a stored response unusable, or stale.
    fn struck(&self, stored: &Stored) -> bool {
        let carried = &stored.carried;
        let Some((first, _)) = self.0.first() else { return false };
        let names =
            |(appended, known): &(Appended, Known)| carried.as_of < appended.position && known.names(stored);
        if !self.0.iter().any(names) {
            return false;
        }
        // What was so already is not counted again.
        let before = |cell| self.0.iter().find_map(|(appended, _)| appended.before(cell));
        let cells = carried.cells.iter().map(|cell| before(cell).unwrap_or_else(|| cell.marks()));
        let marks = cells.fold(first.floors_before, Marks::or);
        let was_dead = marks.hard > carried.as_of;
        let was_stale = marks.soft > carried.as_of || carried.noted() == Standing::Softened;
        !was_dead && (first.strength == Strength::Hard || !was_stale)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::{HeaderMap, StatusCode};

    use super::*;
    use crate::clock::Timestamp;
    use crate::invalidation::Fetch;
    use crate::invalidation::Strength::Hard;
    use crate::keys::Key;
    use crate::semantics::storing::LifetimeSource;
    use crate::semantics::vary::Selecting;
    use crate::semantics::{StoredResponse, Terms};
    use crate::store::MemoryLimits;

    struct Rooms {
        log: Arc<Log>,
        store: Arc<Memory>,
        invalidator: Invalidator,
    }

    fn rooms() -> Rooms {
        let log = Arc::new(Log::new(1000));
        let limits =
            MemoryLimits { capacity_bytes: 1 << 30, max_object_bytes: 1 << 20, filling_bytes: 1 << 20 };
        let store = Arc::new(Memory::new(limits));
        let routes = Arc::new(Table::new(Vec::new()));
        let invalidator = Invalidator::new(Arc::clone(&log), Arc::clone(&store), routes, Clock::stopped());
        Rooms { log, store, invalidator }
    }

    fn tags(names: &str) -> Vec<Tag> {
        names.split_whitespace().map(Tag::application).collect()
    }

    impl Rooms {
        /// Stores what `fetch` led to; its weight.
        fn store(&self, key: &str, lang: &str, names: &str, fetch: &Fetch) -> u64 {
            let terms = Terms {
                lifetime: Duration::from_secs(60),
                lifetime_from: LifetimeSource::MaxAge,
                initial_age: Duration::ZERO,
                received_at: Timestamp::default(),
                always_validate: false,
                never_stale: false,
                stale_while_revalidate: Duration::ZERO,
                stale_if_error: Duration::ZERO,
                refresh_at: None,
            };
            let field = |name: &'static str, value: &str| {
                let value = value.parse().unwrap();
                HeaderMap::from_iter([(http::HeaderName::from_static(name), value)])
            };
            let selecting =
                Selecting::of(&field("vary", "accept-language"), &field("accept-language", lang), false)
                    .unwrap();
            let response = StoredResponse::new(StatusCode::OK, HeaderMap::new(), |_| false, terms, selecting);
            let stored_key = Key { text: key.into(), partition: Arc::default() };
            let carried = self.log.carry(fetch, tags(names));
            let asked = Asked {
                scheme: "http",
                host: "a.test".into(),
                target: format!("/{key}").into(),
                again: None,
            };
            let stored =
                Stored::new(stored_key, response, Bytes::from_static(b"body"), carried, Arc::new(asked));
            let stored = Arc::new(stored);
            let weight = u64::from(stored.weight);
            self.store.insert(stored);
            weight
        }

        fn fetch_and_store(&self, key: &str, names: &str) -> u64 {
            self.store(key, "en", names, &self.log.begin_fetch())
        }

        fn purge(&self, names: &str) -> u64 {
            self.invalidator.purge_tags(&tags(names)).matched
        }

        fn everything(&self) -> u64 {
            self.invalidator.purge("test", &[Target::Everything], Hard).unwrap().matched
        }

        /// How many variants are left.
        fn left(&self) -> usize {
            self.store.iter().map(|(_, variants)| variants.stored.len()).sum()
        }
    }

    #[test]
    fn what_several_tags_match_counts_once() {
        let rooms = rooms();
        rooms.fetch_and_store("k", "a b c");
        assert_eq!(rooms.purge("a b b"), 1);
        assert_eq!(rooms.left(), 0);
    }

    #[test]
    fn only_what_was_matched_is_removed_and_weighed() {
        let rooms = rooms();
        let weight = rooms.fetch_and_store("k", "a") + rooms.fetch_and_store("l", "a b");
        rooms.fetch_and_store("m", "b");
        let purged = rooms.invalidator.purge_tags(&tags("a"));
        assert_eq!((purged.matched, purged.bytes), (2, weight));
        assert_eq!(rooms.left(), 1);
    }

    #[test]
    fn of_a_keys_variants_only_those_go_that_carry_the_tag() {
        let rooms = rooms();
        let fetch = rooms.log.begin_fetch();
        rooms.store("k", "en", "a", &fetch);
        rooms.store("k", "fr", "b", &fetch);
        rooms.store("k", "de", "a", &fetch);
        assert_eq!(rooms.purge("a"), 2);
        assert_eq!(rooms.left(), 1);
        assert_eq!(rooms.purge("a"), 0);
        assert_eq!(rooms.purge("b"), 1);
    }

    #[test]
    fn what_is_dead_already_is_not_counted_again() {
        let rooms = rooms();
        let fetch = rooms.log.begin_fetch();
        rooms.purge("a");
        // Nobody should store these, but they may slip in between.
        rooms.store("k", "en", "a b", &fetch);
        rooms.store("k", "fr", "b", &fetch);
        assert_eq!(rooms.purge("b"), 1);
        assert_eq!(rooms.left(), 0);
        rooms.store("k", "en", "c", &fetch);
        assert_eq!(rooms.everything(), 1);
        rooms.store("k", "en", "d", &fetch);
        assert_eq!((rooms.purge("d"), rooms.everything()), (0, 0));
    }

    #[test]
    fn what_is_stored_after_a_purge_survives_it() {
        let rooms = rooms();
        for purge in [|rooms: &Rooms| rooms.purge("a"), Rooms::everything] {
            rooms.fetch_and_store("k", "a");
            assert_eq!(purge(&rooms), 1);
            rooms.fetch_and_store("k", "a");
            assert_eq!(rooms.left(), 1);
        }
    }

    #[test]
    fn everything_is_all_that_was_usable() {
        let rooms = rooms();
        rooms.fetch_and_store("k", "a");
        rooms.fetch_and_store("l", "");
        assert_eq!(rooms.everything(), 2);
        assert_eq!(rooms.left(), 0);
        assert_eq!(rooms.everything(), 0);
    }

    #[test]
    fn a_response_that_was_replaced_leaves_its_tags() {
        let rooms = rooms();
        rooms.fetch_and_store("k", "a b");
        rooms.fetch_and_store("k", "b");
        assert_eq!((rooms.purge("a"), rooms.left()), (0, 1));
        assert_eq!((rooms.purge("b"), rooms.left()), (1, 0));
    }

    #[test]
    fn naming_nothing_purges_nothing() {
        let rooms = rooms();
        rooms.fetch_and_store("k", "");
        let before = rooms.log.head();
        let purged = rooms.invalidator.purge("test", &[], Hard).unwrap();
        assert_eq!((purged.matched, purged.position, rooms.left()), (0, before, 1));
    }

    #[test]
    fn one_bad_target_and_nothing_is_purged() {
        let rooms = rooms();
        rooms.fetch_and_store("k", "a");
        let batch = [Target::Tag("a".into()), Target::Route("none".into())];
        assert!(rooms.invalidator.purge("test", &batch, Hard).is_err());
        assert_eq!(rooms.left(), 1);
        assert_eq!(rooms.purge("a"), 1);
    }

    /// Threads store and purge the same tag; when they have ended, every response was counted by exactly one purge
    /// or is still there.
    #[test]
    fn no_race_counts_twice_or_leaves_a_usable_response_unknown_to_its_tag() {
        let rooms = rooms();
        let counted = std::thread::scope(|scope| {
            for worker in 0..2 {
                let rooms = &rooms;
                scope.spawn(move || {
                    for n in 0..2000 {
                        rooms.fetch_and_store(&format!("k{worker}-{}", n % 7), "a");
                    }
                });
            }
            let purging: Vec<_> =
                (0..2).map(|_| scope.spawn(|| (0..500).map(|_| rooms.purge("a")).sum::<u64>())).collect();
            purging.into_iter().map(|thread| thread.join().unwrap()).sum::<u64>()
        });
        assert!(counted <= 4000, "{counted} of 4000 were counted");
        let usable = rooms.store.iter().flat_map(|(_, variants)| variants.stored.clone());
        let usable =
            usable.filter(|stored| stored.carried.standing(&rooms.log) == Standing::Usable).count() as u64;
        assert_eq!(rooms.purge("a"), usable);
        assert_eq!(rooms.purge("a"), 0);
    }
}
