//! Carrying out an invalidation: append it to the log, count, then give memory back.
//!
//! The append is the invalidation: once it has returned, nothing older is usable, however many stored responses
//! carry the tag. What follows only finds out how many that were, and [removes](super::reclaim) them.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::history::History;
use super::log::lock;
use super::naming::{self, Named};
use super::reclaim::{Count, Known, Reclaimer};
use super::{Appended, Log, Position, Standing, Strength, Tag, Target};
use crate::clock::{Clock, Patience, Stopwatch};
use crate::routes::Table;
use crate::store::{Asked, Memory, Stored, Variants};

pub use super::naming::{PurgeError, tags_of, tags_of_groups, tags_of_invalidated_groups};

/// Carries out invalidations, so that every stored response is counted by exactly one.
#[derive(Debug)]
pub struct Invalidator {
    log: Arc<Log>,
    store: Arc<Memory>,
    routes: Arc<Table>,
    clock: Clock,
    history: History,
    reclaimer: Reclaimer,
    /// Held from the append until its work is queued: the work is done in the order of the log.
    order: Mutex<()>,
}

/// What a purge answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Purged {
    /// The log's position: nothing that was fetched before it and is named by it is usable.
    pub position: Position,
    /// How many stored responses it matched that were usable until then.
    pub matched: u64,
    /// It may have matched more: counting took too long to wait for.
    pub at_least: bool,
    /// The bytes they accounted for.
    pub bytes: u64,
    /// How many for each target; what several name counts for each of them.
    pub each: Vec<u64>,
    /// How long it took, counting included.
    pub took: Duration,
}

/// How long whoever purges waits for the count. Senders of webhooks give up after a few seconds; it has happened long before.
pub const PATIENCE: Duration = Duration::from_millis(500);

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

/// The requests that led to what is stored.
#[derive(Debug, Default)]
pub struct Requests {
    /// Those that can be made again, the most popular first.
    pub again: Vec<Arc<Asked>>,
    /// Those that only their own clients can make.
    pub others: Vec<Arc<Asked>>,
    /// There may be more: looking took too long.
    pub at_least: bool,
}

impl Invalidator {
    /// Invalidates what is in `store`, by `log`; `routes` says what names mean.
    pub fn new(log: Arc<Log>, store: Arc<Memory>, routes: Arc<Table>, clock: Clock) -> Self {
        let reclaimer = Reclaimer::new(Arc::clone(&log), Arc::clone(&store));
        Self { log, store, routes, clock, history: History::default(), reclaimer, order: Mutex::new(()) }
    }

    /// Once this returns, nothing that any target names and whose fetch began before is ever served again; or, softly, only
    /// as stale responses may be.
    ///
    /// `by`: who asks for it, for the [history](Self::history).
    ///
    /// # Errors
    /// A target that names nothing the configuration has. Then nothing has been purged.
    pub fn purge(&self, by: &str, targets: &[Target], strength: Strength) -> Result<Purged, PurgeError> {
        self.purge_within(PATIENCE, by, targets, strength)
    }

    /// The same; its count is waited for no longer than `patience`.
    ///
    /// # Errors
    /// As [`purge`](Self::purge).
    pub fn purge_within(
        &self,
        patience: Duration,
        by: &str,
        targets: &[Target],
        strength: Strength,
    ) -> Result<Purged, PurgeError> {
        let purged = self.carry_out(&self.named(targets)?, strength, patience);
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
            if strength == Strength::Soft && stored.standing() == Standing::Softened {
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

    /// The requests that led to what the targets name and is usable, as far as they are found within `patience`.
    ///
    /// # Errors
    /// As [`purge`](Self::purge).
    pub fn requests(&self, targets: &[Target], patience: Duration) -> Result<Requests, PurgeError> {
        let known: Vec<_> = self.named(targets)?.into_iter().map(|named| self.known(named)).collect();
        let (mut again, mut others) = (Vec::new(), Vec::new());
        let at_least = self.each_matched(&known, patience, |stored| match stored.asked.again {
            Some(_) => again.push((stored.popularity(), Arc::clone(&stored.asked))),
            None => others.push(Arc::clone(&stored.asked)),
        });
        again.sort_by_key(|(popularity, _)| std::cmp::Reverse(*popularity));
        Ok(Requests {
            again: again.into_iter().map(|(_, asked)| asked).collect(),
            others,
            at_least: at_least.is_break(),
        })
    }

    /// What is stored, is not dead, and is named by any of these.
    fn matched(&self, known: &[Known]) -> Vec<Arc<Stored>> {
        let mut matched = Vec::new();
        // Whoever asks waits for all of it.
        let _ = self.each_matched(known, Duration::MAX, |stored| matched.push(Arc::clone(stored)));
        matched
    }

    /// The same, one by one; ends early if it takes longer than `patience`.
    fn each_matched(
        &self,
        known: &[Known],
        patience: Duration,
        mut found: impl FnMut(&Arc<Stored>),
    ) -> ControlFlow<()> {
        /// How many keys are looked at between two looks at the time.
        const AT_ONCE: usize = 64;
        let patience = Patience::of(patience);
        let mut seen = HashSet::new();
        known.iter().try_for_each(|names| {
            names.each_key(&self.log, &self.store, |key| {
                if seen.len() % AT_ONCE == 0 && patience.left().is_zero() {
                    return ControlFlow::Break(());
                }
                if !seen.insert(Arc::clone(&key)) {
                    return ControlFlow::Continue(());
                }
                let variants = self.store.peek(&key);
                for stored in variants.iter().flat_map(Variants::stored) {
                    if known.iter().any(|known| known.names(stored)) && stored.standing() != Standing::Dead {
                        found(stored);
                    }
                }
                ControlFlow::Continue(())
            })
        })
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

    /// What is named, as the log knows it.
    fn known(&self, named: Named) -> Known {
        match named {
            Named::Tags(tags) => Known::Tags(tags.iter().map(|tag| self.log.id(tag)).collect()),
            Named::Like(pattern) => Known::Like(pattern.map(|tag| self.log.id(&tag))),
            Named::Everything => Known::Everything,
        }
    }

    /// Invalidates what carries any of these tags.
    pub fn purge_tags(&self, tags: &[Tag]) -> Purged {
        self.carry_out(&[Named::Tags(tags.to_vec())], Strength::Hard, PATIENCE)
    }

    /// Invalidates what an unsafe request may have changed (RFC 9111 §4.4).
    pub fn purge_changed(&self, tags: &[Tag]) -> Appended {
        let order = lock(&self.order);
        let appended = [self.log.append(tags, Strength::Hard)];
        // Nobody asks how many those are.
        self.reclaimer.add(&appended, Vec::new());
        drop(order);
        let [appended] = appended;
        appended
    }

    /// Gives back the memory of all that has been purged.
    pub fn reclaim(&self) {
        self.reclaimer.reclaim();
    }

    /// Ready once there is something to [reclaim](Self::reclaim).
    pub async fn reclaimable(&self) {
        self.reclaimer.due().await;
    }

    /// What is stored for a URI carries one of these. `host` and `path` are normalised.
    pub fn tags_of_resource(&self, host: &str, path: &str, query: Option<&str>) -> Vec<Tag> {
        naming::tags_of_uri(&self.routes, host, path, query)
    }

    /// What may be served for a host (normalised) carries one of these.
    pub fn tags_of_host(&self, host: &str) -> Vec<Tag> {
        naming::tags_of_normal_host(host, &self.routes)
    }

    /// Appends and counts.
    fn carry_out(&self, named: &[Named], strength: Strength, patience: Duration) -> Purged {
        let stopwatch = Stopwatch::start();
        let order = lock(&self.order);
        // What is still to be noted of earlier ones is in no tally.
        let is_tallied = self.reclaimer.is_idle();
        let appended = self.append(named, strength);
        let position = self.log.head();
        let each: Vec<_> = named.iter().map(|named| self.known(named.clone())).collect();
        let tallied = if is_tallied { Count::tallied(&appended, &each) } else { None };
        let counted = self.reclaimer.add(&appended, each);
        drop(order);
        let (count, is_whole) = match tallied {
            Some(count) => (count, true),
            None => self.reclaimer.count(&counted, patience),
        };
        let Count { matched, bytes, each } = count;
        Purged { position, matched, at_least: !is_whole, bytes, each, took: stopwatch.elapsed() }
    }

    /// Appends all of it. When this returns, it has happened.
    fn append(&self, named: &[Named], strength: Strength) -> Vec<Appended> {
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
        appended
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::{HeaderMap, StatusCode};

    use super::*;
    use crate::clock::Timestamp;
    use crate::exchange::Scheme;
    use crate::invalidation::Fetch;
    use crate::invalidation::Strength::{Hard, Soft};
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
        let log = Arc::new(Log::of_shards(4, 1000));
        let limits = MemoryLimits {
            capacity_bytes: 1 << 30,
            max_object_bytes: 1 << 20,
            filling_bytes: 1 << 20,
            sendfile_from_bytes: None,
            eviction: Default::default(),
        };
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
                lifetime: Duration::from_secs(60).into(),
                lifetime_from: LifetimeSource::MaxAge,
                initial_age: Duration::ZERO.into(),
                received_at: Timestamp::default(),
                always_validate: false,
                never_stale: false,
                stale_while_revalidate: Duration::ZERO.into(),
                stale_if_error: Duration::ZERO.into(),
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
            let carried = self.log.carry(fetch, tags(names));
            let asked = Asked {
                scheme: Scheme::Http,
                host: "a.test".into(),
                target: format!("/{key}").into(),
                again: None,
            };
            let stored =
                Stored::new(key.into(), response, Bytes::from_static(b"body"), carried, Arc::new(asked));
            let stored = Arc::new(stored);
            let weight = u64::from(stored.weight);
            stored.settle();
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
            self.invalidator.reclaim();
            self.store.iter().map(|(_, variants)| variants.stored().len()).sum()
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
    fn a_count_that_takes_long_is_made_in_pieces_and_need_not_be_waited_for() {
        let rooms = rooms();
        for number in 0..3000 {
            rooms.fetch_and_store(&number.to_string(), "a b");
        }
        // However slow the machine is.
        let purged = rooms.invalidator.carry_out(&[Named::Tags(tags("a b"))], Hard, Duration::MAX);
        assert_eq!((purged.matched, purged.at_least), (3000, false));
        for number in 0..3000 {
            rooms.fetch_and_store(&number.to_string(), "a b");
        }
        let reclaimer = &rooms.invalidator.reclaimer;
        let counted = reclaimer.add(&[rooms.log.append_everything(Hard)], vec![Known::Everything]);
        let (so_far, is_whole) = reclaimer.count(&counted, Duration::ZERO);
        assert!(so_far.matched < 3000 && !is_whole, "{so_far:?}");
        assert_eq!(rooms.left(), 0);
        let (whole, is_whole) = reclaimer.count(&counted, Duration::ZERO);
        assert_eq!((whole.matched, whole.each, is_whole), (3000, vec![3000], true));
    }

    #[test]
    fn who_has_no_patience_left_is_told_what_was_found_by_then_and_all_of_it_is_purged() {
        let rooms = rooms();
        for number in 0..3000 {
            rooms.fetch_and_store(&number.to_string(), "a b");
        }
        let everything = [Target::Everything];
        let requests = rooms.invalidator.requests(&everything, Duration::MAX).unwrap();
        assert_eq!((requests.others.len(), requests.at_least), (3000, false));
        let requests = rooms.invalidator.requests(&everything, Duration::ZERO).unwrap();
        assert!(requests.others.len() < 3000 && requests.at_least);
        let either = [Target::AnyTag(vec!["a".into(), "b".into()])];
        let purged = rooms.invalidator.purge_within(Duration::ZERO, "test", &either, Hard).unwrap();
        assert!(purged.matched < 3000 && purged.at_least, "{purged:?}");
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
    fn it_is_counted_alike_whether_or_not_the_work_of_earlier_ones_is_done() {
        for is_done in [false, true] {
            let rooms = rooms();
            let purge = |tag: &str, strength| {
                let purged = rooms.invalidator.purge("test", &[Target::Tag(tag.into())], strength).unwrap();
                if is_done {
                    rooms.invalidator.reclaim();
                }
                purged.matched
            };
            for key in ["k", "l", "m"] {
                rooms.fetch_and_store(key, &format!("all {key}"));
            }
            assert_eq!(purge("k", Hard), 1);
            assert_eq!((purge("l", Soft), purge("l", Soft)), (1, 0));
            assert_eq!((purge("all", Soft), purge("all", Hard)), (1, 2));
            assert_eq!((purge("all", Hard), rooms.everything(), rooms.left()), (0, 0, 0));
        }
    }

    #[test]
    fn each_target_has_its_own_count() {
        let rooms = rooms();
        for (key, tags) in [("k", "a"), ("l", "a b"), ("m", "c")] {
            rooms.fetch_and_store(key, tags);
        }
        let purge = |tags: &[&str]| {
            let targets: Vec<_> = tags.iter().map(|tag| Target::Tag((*tag).into())).collect();
            let purged = rooms.invalidator.purge("test", &targets, Hard).unwrap();
            (purged.matched, purged.each)
        };
        assert_eq!(purge(&["c", "d"]), (1, vec![1, 0]));
        assert_eq!(purge(&["b", "a", "c"]), (2, vec![1, 2, 0]));
    }

    #[test]
    fn what_was_replaced_or_evicted_counts_no_more_though_somebody_reads_it() {
        let rooms = rooms();
        rooms.fetch_and_store("k", "a");
        let read = rooms.store.get("k").unwrap();
        rooms.fetch_and_store("k", "a");
        assert_eq!(rooms.purge("a"), 1);
        drop(read);
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
        let usable = rooms.store.iter().flat_map(|(_, variants)| variants.stored().to_vec());
        let usable = usable.filter(|stored| stored.carried.standing() == Standing::Usable).count() as u64;
        assert_eq!(rooms.purge("a"), usable);
        assert_eq!(rooms.purge("a"), 0);
    }
}
