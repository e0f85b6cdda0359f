//! The promise, proven on the log alone: random schedules against a model that forgets nothing, and real threads.
//!
//! Once an invalidation is acknowledged, nothing whose fetch began before it and that it names is usable.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    unreachable_pub,
    missing_docs,
    reason = "a test that cannot go on says so by panicking"
)]

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use staleproof::invalidation::{Carried, Fetch, Log, Standing, Tag};

/// A small generator (SplitMix64): a schedule is its seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (bits ^ (bits >> 31)) % sides
    }

    fn tags(&mut self, names: u64) -> BTreeSet<u64> {
        (0..self.roll(4)).map(|_| self.roll(names)).collect()
    }
}

fn tag(name: u64) -> Tag {
    Tag::application(&name.to_string())
}

/// What the model remembers of an invalidation.
enum Invalidation {
    Tags(BTreeSet<u64>),
    Everything,
}

/// What the model remembers of a stored response: at which of its invalidations the fetch began.
struct Stored {
    began: usize,
    tags: BTreeSet<u64>,
    carried: Carried,
}

/// Everything that has happened, remembered for ever.
#[derive(Default)]
struct Model {
    history: Vec<Invalidation>,
    under_way: Vec<(usize, Fetch)>,
    stored: Vec<Stored>,
}

impl Model {
    fn matched_since(&self, stored: &Stored) -> bool {
        self.history[stored.began..].iter().any(|invalidation| match invalidation {
            Invalidation::Tags(tags) => !tags.is_disjoint(&stored.tags),
            Invalidation::Everything => true,
        })
    }

    /// One random step.
    fn step(&mut self, log: &Arc<Log>, dice: &mut Dice, names: u64) {
        match dice.roll(100) {
            0..30 => self.under_way.push((self.history.len(), log.begin_fetch())),
            30..60 if !self.under_way.is_empty() => {
                let index = dice.roll(self.under_way.len() as u64) as usize;
                let (began, fetch) = self.under_way.swap_remove(index);
                // Some fetches fail.
                if dice.roll(5) > 0 {
                    let tags = dice.tags(names);
                    let carried = log.carry(&fetch, tags.iter().map(|&name| tag(name)));
                    self.stored.push(Stored { began, tags, carried });
                }
            }
            60..85 => {
                let tags = dice.tags(names);
                log.append(&tags.iter().map(|&name| tag(name)).collect::<Vec<_>>());
                self.history.push(Invalidation::Tags(tags));
            }
            85..95 if !self.stored.is_empty() => {
                let index = dice.roll(self.stored.len() as u64) as usize;
                self.stored.swap_remove(index);
            }
            99 => {
                log.append_everything();
                self.history.push(Invalidation::Everything);
            }
            _ => {}
        }
    }
}

/// Runs schedules; after every step each stored response stands as the model says. With `exact`, nothing is dead
/// that no invalidation named.
fn check(seeds: std::ops::Range<u64>, max_uncarried: usize, names: u64, exact: bool) {
    for seed in seeds {
        let mut dice = Dice(seed);
        let log = Arc::new(Log::new(max_uncarried));
        let mut model = Model::default();
        for step in 0..150 {
            model.step(&log, &mut dice, names);
            for stored in &model.stored {
                let usable = stored.carried.standing(&log) == Standing::Usable;
                let matched = model.matched_since(stored);
                assert!(!(usable && matched), "seed {seed}, step {step}: served after it was purged");
                assert!(
                    !exact || usable || matched,
                    "seed {seed}, step {step}: dead though nothing named it"
                );
            }
        }
    }
}

#[test]
fn no_schedule_serves_what_was_purged_nor_forgets_what_was_not() {
    check(0..400, 1_000_000, 6, true);
}

#[test]
fn forgetting_never_brings_back_what_was_purged() {
    for max_uncarried in [1, 2, 5, 20] {
        check(0..150, max_uncarried, 60, false);
    }
}

#[test]
fn tags_that_nobody_carries_are_forgotten() {
    let log = Arc::new(Log::new(100));
    for name in 0..100_000 {
        log.append(&[tag(name)]);
    }
    assert!(log.tags() <= 2_000, "{} tags are remembered though nobody can carry them", log.tags());
}

#[test]
fn memory_is_bounded_even_while_a_fetch_never_ends() {
    let log = Arc::new(Log::new(100));
    let endless = log.begin_fetch();
    for name in 0..10_000 {
        log.append(&[tag(name)]);
    }
    assert!(log.tags() <= 1_000, "{} tags are remembered", log.tags());
    let carried = log.carry(&endless, [tag(3)]);
    assert_eq!(carried.standing(&log), Standing::Dead);
}

/// Threads fetch and purge as fast as they can. A purge is published as acknowledged after it was appended; whoever
/// reads that, and then finds a stored response usable, must find that its fetch began later.
#[test]
fn no_race_serves_what_was_purged() {
    const TAGS: usize = 8;
    const ROUNDS: u64 = 20_000;
    let log = Arc::new(Log::new(4));
    let acknowledged: Arc<[AtomicU64; TAGS]> = Arc::default();
    let stored: Mutex<Vec<(usize, Arc<Carried>)>> = Mutex::default();
    let stop = Arc::new(AtomicBool::new(false));
    std::thread::scope(|scope| {
        for worker in 0..2_u64 {
            let (log, acknowledged, stored, stop) = (&log, &acknowledged, &stored, &stop);
            scope.spawn(move || {
                let mut dice = Dice(worker);
                while !stop.load(Ordering::Relaxed) {
                    let name = dice.roll(TAGS as u64) as usize;
                    let fetch = log.begin_fetch();
                    let carried = Arc::new(log.carry(&fetch, [tag(name as u64)]));
                    let mut stored = stored.lock().unwrap();
                    stored.push((name, carried));
                    if stored.len() > 64 {
                        stored.swap_remove(dice.roll(64) as usize);
                    }
                }
            });
            scope.spawn(move || {
                let mut dice = Dice(worker + 100);
                while !stop.load(Ordering::Relaxed) {
                    let read = stored.lock().unwrap().last().cloned();
                    let Some((name, carried)) = read else { continue };
                    let before = acknowledged[name].load(Ordering::SeqCst);
                    if carried.standing(log) == Standing::Usable {
                        assert!(carried.as_of.0 >= before, "served after it was purged");
                    }
                    dice.roll(2);
                }
            });
        }
        let mut dice = Dice(999);
        for _ in 0..ROUNDS {
            let name = dice.roll(TAGS as u64) as usize;
            let appended = log.append(&[tag(name as u64)]);
            // From here on the purge is acknowledged.
            acknowledged[name].fetch_max(appended.position.0, Ordering::SeqCst);
            if dice.roll(50) == 0 {
                log.append(&[Tag::application(&format!("filler-{}", dice.roll(1_000_000)))]);
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
}
