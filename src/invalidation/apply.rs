//! Carrying out an invalidation: append it to the log, then give memory back and count.
//!
//! The append is the invalidation: once it has returned, nothing older is usable, however many stored responses
//! carry the tag. What follows only finds out how many that were, and removes them.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::log::lock;
use super::naming;
use super::{Appended, Log, Position, Standing, Strength, Tag, Target};
use crate::clock::Stopwatch;
use crate::routes::Table;
use crate::store::{Asked, Memory, Stored};

pub use super::naming::{PurgeError, tags_of, tags_of_groups, tags_of_invalidated_groups};

/// Carries out invalidations, one at a time, so that every stored response is counted by exactly one.
#[derive(Debug)]
pub struct Invalidator {
    log: Arc<Log>,
    store: Arc<Memory>,
    routes: Arc<Table>,
    reclaiming: Mutex<()>,
}

/// What a purge answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Purged {
    /// The log's position: nothing that was fetched before it and is named by it is usable.
    pub position: Position,
    /// How many stored responses it matched that were usable until then.
    pub matched: u64,
    /// The bytes they accounted for.
    pub bytes: u64,
    /// How long it took, counting included.
    pub took: Duration,
}

impl Invalidator {
    /// Invalidates what is in `store`, by `log`; `routes` says what names mean.
    pub fn new(log: Arc<Log>, store: Arc<Memory>, routes: Arc<Table>) -> Self {
        Self { log, store, routes, reclaiming: Mutex::new(()) }
    }

    /// Once this returns, nothing that any target names and whose fetch began before is ever served again; or, softly, only
    /// as stale responses may be.
    ///
    /// # Errors
    /// A target that names nothing the configuration has. Then nothing has been purged.
    pub fn purge(&self, targets: &[Target], strength: Strength) -> Result<Purged, PurgeError> {
        let mut tags = Vec::new();
        for target in targets {
            tags.extend(naming::tags_named(target, &self.routes)?);
        }
        let tags = (!targets.contains(&Target::Everything)).then_some(&*tags);
        Ok(self.append_and_reclaim(tags, strength).1)
    }

    /// The requests that led to what the targets name and is usable, the most popular first; and how many stored responses
    /// there are that only their own clients can ask for.
    ///
    /// # Errors
    /// As [`purge`](Self::purge).
    pub fn requests(&self, targets: &[Target]) -> Result<(Vec<Arc<Asked>>, u64), PurgeError> {
        let mut keys: HashSet<Arc<str>> = HashSet::new();
        let mut named = Vec::new();
        for target in targets {
            let tags = naming::tags_named(target, &self.routes)?;
            if *target == Target::Everything {
                keys.extend(self.store.iter().map(|(key, _)| key));
            }
            named.extend(tags.iter().filter_map(|tag| self.log.known_cell(tag)));
        }
        let everything = targets.contains(&Target::Everything);
        keys.extend(named.iter().flat_map(|cell| cell.members()));
        let (mut requests, mut others) = (Vec::new(), 0);
        for variants in keys.iter().filter_map(|key| self.store.peek(key)) {
            for stored in &variants.stored {
                let is_named = everything || named.iter().any(|cell| stored.carried.carries(cell));
                if !is_named || stored.carried.standing(&self.log) == Standing::Dead {
                    continue;
                }
                match &stored.asked {
                    Some(asked) => requests.push((stored.popularity(), Arc::clone(asked))),
                    None => others += 1,
                }
            }
        }
        requests.sort_by_key(|(popularity, _)| std::cmp::Reverse(*popularity));
        Ok((requests.into_iter().map(|(_, asked)| asked).collect(), others))
    }

    /// Checks a target without purging anything.
    ///
    /// # Errors
    /// As [`purge`](Self::purge).
    pub fn check(&self, target: &Target) -> Result<(), PurgeError> {
        naming::tags_named(target, &self.routes).map(drop)
    }

    /// Invalidates what carries any of these tags.
    pub fn purge_tags(&self, tags: &[Tag]) -> Purged {
        self.append_and_reclaim(Some(tags), Strength::Hard).1
    }

    /// Invalidates what an unsafe request may have changed (RFC 9111 §4.4); `None` if that is nothing.
    pub fn purge_changed(&self, tags: &[Tag]) -> Option<Appended> {
        self.append_and_reclaim(Some(tags), Strength::Hard).0
    }

    /// What is stored for a URI carries one of these. `host` and `path` are normalised.
    pub fn tags_of_resource(&self, host: &str, path: &str, query: Option<&str>) -> Vec<Tag> {
        naming::tags_of_uri(&self.routes, host, path, query)
    }

    /// What may be served for a host (normalised) carries one of these.
    pub fn tags_of_host(&self, host: &str) -> Vec<Tag> {
        naming::tags_of_normal_host(host, &self.routes)
    }

    /// Appends (`None`: everything), then reclaims and counts.
    fn append_and_reclaim(&self, tags: Option<&[Tag]>, strength: Strength) -> (Option<Appended>, Purged) {
        let stopwatch = Stopwatch::start();
        // Held from before the append: two that overlap could not say which of them made a response unusable.
        let reclaiming = lock(&self.reclaiming);
        let (appended, keys) = match tags {
            None => (self.log.append_everything(strength), self.store.iter().map(|(key, _)| key).collect()),
            Some([]) => {
                let position = self.log.head();
                return (None, Purged { position, matched: 0, bytes: 0, took: stopwatch.elapsed() });
            }
            Some(tags) => {
                let appended = self.log.append(tags, strength);
                let members: HashSet<_> =
                    appended.cells.iter().flat_map(|(cell, _)| cell.members()).collect();
                (appended, members)
            }
        };
        let (mut matched, mut bytes) = (0, 0);
        for key in keys {
            let (count, weight) = self.reclaim(&key, &appended);
            matched += count;
            bytes += weight;
        }
        drop(reclaiming);
        let purged = Purged { position: appended.position, matched, bytes, took: stopwatch.elapsed() };
        (Some(appended), purged)
    }

    /// Removes what is dead under a key; how many responses this append struck, and their bytes.
    fn reclaim(&self, key: &str, appended: &Appended) -> (u64, u64) {
        let (mut matched, mut bytes) = (0, 0);
        let Some(variants) = self.store.peek(key) else { return (matched, bytes) };
        for stored in variants.stored.iter().filter(|stored| struck(stored, appended)) {
            matched += 1;
            bytes += u64::from(stored.weight);
        }
        // By its standing, not by what was found above: what has been stored since then stays.
        self.store.retain(key, |stored| stored.carried.standing(&self.log) != Standing::Dead);
        (matched, bytes)
    }
}

/// Whether this append is what made a stored response unusable, or stale.
fn struck(stored: &Stored, appended: &Appended) -> bool {
    let carried = &stored.carried;
    if carried.as_of >= appended.position {
        return false;
    }
    // An append that names no cell is one of everything.
    let mut named = appended.cells.is_empty();
    let mut before = appended.floors_before;
    for cell in &carried.cells {
        let of_cell = appended.before(cell);
        named |= of_cell.is_some();
        before = before.or(of_cell.unwrap_or_else(|| cell.marks()));
    }
    // What was so already is not counted again.
    let was_so = match appended.strength {
        Strength::Hard => before.hard,
        Strength::Soft => before.newest(),
    };
    named && was_so <= carried.as_of
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
        let invalidator = Invalidator::new(Arc::clone(&log), Arc::clone(&store), routes);
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
            let response = StoredResponse::new(StatusCode::OK, HeaderMap::new(), &[], terms, selecting);
            let key = Key { text: key.into(), partition: Arc::default() };
            let carried = self.log.carry(fetch, tags(names));
            let stored = Arc::new(Stored::new(key, response, Bytes::from_static(b"body"), carried));
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
            self.invalidator.purge(&[Target::Everything], Hard).unwrap().matched
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
        let purged = rooms.invalidator.purge(&[], Hard).unwrap();
        assert_eq!((purged.matched, purged.position, rooms.left()), (0, before, 1));
    }

    #[test]
    fn one_bad_target_and_nothing_is_purged() {
        let rooms = rooms();
        rooms.fetch_and_store("k", "a");
        let batch = [Target::Tag("a".into()), Target::Route("none".into())];
        assert!(rooms.invalidator.purge(&batch, Hard).is_err());
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
