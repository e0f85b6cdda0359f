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

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use staleproof::invalidation::Strength::{self, Hard, Soft};
use staleproof::invalidation::log::Named;
use staleproof::invalidation::{Ban, Carried, Fetch, Log, Pattern, Position, Standing, Tag};

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

    /// Up to three tags out of `names`, as bits.
    fn tags(&mut self, names: u64) -> u64 {
        (0..self.roll(4)).fold(0, |tags, _| tags | 1 << self.roll(names))
    }
}

fn tag(name: u64) -> Tag {
    Tag::application(&name.to_string())
}

fn tags(bits: u64) -> Vec<Tag> {
    (0..64).filter(|name| bits >> name & 1 == 1).map(tag).collect()
}

/// What is to be done with what is stored, or about to be, before a ban that struck it is forgotten.
fn settle(carried: &Carried) {
    carried.note(carried.standing());
}

/// What the model remembers of an invalidation.
enum Invalidation {
    Tags(u64, Strength),
    /// What carries all of them.
    AllOf(u64, Strength),
    Everything(Strength),
}

/// What the model remembers of a stored response: at which of its invalidations the fetch began.
struct Stored {
    began: usize,
    /// The invalidation that its own request caused, which it tells of.
    own: Option<usize>,
    tags: u64,
    carried: Carried,
}

/// A kind of schedule.
#[derive(Clone, Copy, Debug)]
struct Setting {
    /// How many tags without a carrier the log may remember.
    max_uncarried: usize,
    /// How many different tags there are, at most 64.
    names: u64,
    /// Whether nothing may be dead that no invalidation named: true where the floor need not be raised.
    exact: bool,
    /// A deliberate mistake: the fetch is said to have begun when its response came.
    begins_too_late: bool,
    /// A deliberate mistake: what a request has invalidated itself excuses what others have meanwhile.
    forgives_others: bool,
    /// A deliberate mistake: bans are forgotten before they were held against all that is stored.
    sweeps_blindly: bool,
}

/// Everything that has happened, remembered for ever, beside the log that forgets.
struct Schedule {
    setting: Setting,
    dice: Dice,
    log: Arc<Log>,
    history: Vec<Invalidation>,
    under_way: Vec<(usize, Fetch)>,
    /// Responses to unsafe requests that are about to invalidate what they have changed.
    changing: Vec<(Fetch, Stored)>,
    stored: Vec<Stored>,
    /// Bans that have not been held against all that is stored.
    unswept: Vec<Arc<Ban>>,
}

impl Schedule {
    fn new(seed: u64, setting: Setting) -> Self {
        let log = Arc::new(Log::of_shards(4, setting.max_uncarried));
        let (history, under_way, changing, stored) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let unswept = Vec::new();
        Self { setting, dice: Dice(seed), log, history, under_way, changing, stored, unswept }
    }

    /// One random step; what was found wrong.
    fn step(&mut self) -> Result<(), &'static str> {
        match self.dice.roll(100) {
            0..25 => self.under_way.push((self.history.len(), self.log.begin_fetch())),
            25..50 if !self.under_way.is_empty() => {
                let index = self.pick(self.under_way.len());
                let (began, mut fetch) = self.under_way.swap_remove(index);
                if self.setting.begins_too_late {
                    fetch = self.log.begin_fetch();
                }
                // Some fetches fail, or lead to what may not be stored.
                if self.dice.roll(5) > 0 {
                    let named = self.dice.tags(self.setting.names);
                    let carried = self.log.carry(&fetch, tags(named));
                    settle(&carried);
                    let stored = Stored { began, own: None, tags: named, carried };
                    // What a ban struck on its way is not stored, since bans are forgotten. What a tag struck is here.
                    let banned = self.log.bans() > 0 && stored.carried.standing() == Standing::Dead;
                    match self.dice.roll(4) {
                        _ if banned => {}
                        0 => self.changing.push((fetch, stored)),
                        _ => self.stored.push(stored),
                    }
                }
            }
            50..55 if !self.changing.is_empty() => {
                let index = self.pick(self.changing.len());
                let (fetch, stored) = self.changing.swap_remove(index);
                let named = self.dice.tags(self.setting.names);
                let appended = self.log.append(&tags(named), Hard);
                let own = self.history.len();
                self.history.push(Invalidation::Tags(named, Hard));
                let overtaken = self.matched(&stored, None, own) != Standing::Usable;
                let survivor = if self.setting.forgives_others {
                    Some(self.log.carry(&self.log.begin_fetch(), tags(stored.tags)))
                } else {
                    stored.carried.since_own(&appended)
                };
                drop(fetch);
                match survivor {
                    Some(carried) => self.stored.push(Stored { own: Some(own), carried, ..stored }),
                    None if self.setting.exact && !overtaken => {
                        return Err("given up though nothing named it");
                    }
                    None => {}
                }
            }
            55..60 => {
                let strength = self.strength();
                let named = 1 << self.dice.roll(self.setting.names) | 1 << self.dice.roll(self.setting.names);
                let groups = tags(named).into_iter().map(|tag| vec![tag]).collect();
                let pattern = Pattern { groups, ..Pattern::default() };
                if let Named::Like(ban) = self.log.append_ban(pattern, strength).named {
                    self.unswept.push(ban);
                }
                self.history.push(Invalidation::AllOf(named, strength));
            }
            60..65 => {
                if !self.setting.sweeps_blindly {
                    self.stored.retain(|stored| stored.carried.standing() != Standing::Dead);
                    self.stored.iter().for_each(|stored| settle(&stored.carried));
                    for (_, stored) in &self.changing {
                        settle(&stored.carried);
                    }
                }
                for ban in self.unswept.drain(..) {
                    self.log.swept(&ban);
                }
            }
            65..75 => {
                let named = self.dice.tags(self.setting.names);
                let strength = self.strength();
                self.log.append(&tags(named), strength);
                self.history.push(Invalidation::Tags(named, strength));
            }
            75..80 => self.log.forget(),
            80..90 if !self.stored.is_empty() => {
                let index = self.pick(self.stored.len());
                self.stored.swap_remove(index);
            }
            90..99 if !self.stored.is_empty() => {
                let index = self.pick(self.stored.len());
                self.look(&self.stored[index])?;
            }
            99 => {
                let strength = self.strength();
                self.log.append_everything(strength);
                self.history.push(Invalidation::Everything(strength));
            }
            _ => {}
        }
        Ok(())
    }

    fn strength(&mut self) -> Strength {
        if self.dice.roll(3) == 0 { Soft } else { Hard }
    }

    fn pick(&mut self, of: usize) -> usize {
        self.dice.roll(of as u64) as usize
    }

    /// What the invalidations that name it have made of it since its fetch began, up to `end` and but for its own.
    fn matched(&self, stored: &Stored, own: Option<usize>, end: usize) -> Standing {
        let strengths =
            (stored.began..end).filter(|index| Some(*index) != own).filter_map(|index| {
                match self.history[index] {
                    Invalidation::Tags(named, strength) => (named & stored.tags != 0).then_some(strength),
                    Invalidation::AllOf(named, strength) => (named & !stored.tags == 0).then_some(strength),
                    Invalidation::Everything(strength) => Some(strength),
                }
            });
        strengths.fold(Standing::Usable, |standing, strength| match (standing, strength) {
            (Standing::Dead, _) | (_, Hard) => Standing::Dead,
            (_, Soft) => Standing::Softened,
        })
    }

    /// Whether a stored response stands as the model says.
    fn look(&self, stored: &Stored) -> Result<(), &'static str> {
        let matched = self.matched(stored, stored.own, self.history.len());
        match (stored.carried.standing(), matched) {
            (Standing::Usable | Standing::Softened, Standing::Dead) => Err("usable after it was purged"),
            (Standing::Usable, Standing::Softened) => Err("fresh after it was purged softly"),
            (is, expected) if self.setting.exact && is != expected => Err("worse off than it was named"),
            _ => Ok(()),
        }
    }

    fn look_at_all(&self) -> Result<(), &'static str> {
        self.stored.iter().try_for_each(|stored| self.look(stored))
    }

    /// Runs to the end, or to the first step after which something is wrong.
    fn run(&mut self, steps: usize, looks_after_every_step: bool) -> Result<(), String> {
        for step in 0..steps {
            let mut found = self.step();
            // Not in all schedules: what was looked at a step ago is not what was stored and then left alone.
            if looks_after_every_step || step + 1 == steps {
                found = found.and_then(|()| self.look_at_all());
            }
            found.map_err(|wrong| format!("step {step}: {wrong}"))?;
        }
        Ok(())
    }
}

/// Runs these schedules; the first that goes wrong, and how.
fn run(seeds: Range<u64>, setting: Setting) -> Result<(), String> {
    for seed in seeds {
        let ran = Schedule::new(seed, setting).run(150, seed % 2 == 0);
        ran.map_err(|wrong| format!("seed {seed} of {setting:?}, {wrong}"))?;
    }
    Ok(())
}

#[track_caller]
fn check(seeds: Range<u64>, setting: Setting) {
    if let Err(wrong) = run(seeds, setting) {
        panic!("{wrong}");
    }
}

/// Room for all tags: the floor is never raised but by a purge of everything.
const ROOMY: Setting = Setting {
    max_uncarried: 1000,
    names: 6,
    exact: true,
    begins_too_late: false,
    forgives_others: false,
    sweeps_blindly: false,
};

#[test]
fn no_schedule_serves_what_was_purged_nor_loses_what_was_not() {
    check(0..50_000, ROOMY);
}

#[test]
fn no_schedule_of_many_tags_does() {
    check(0..30_000, Setting { names: 60, ..ROOMY });
}

#[test]
fn forgetting_never_brings_back_what_was_purged() {
    for max_uncarried in [0, 1, 2, 5, 20] {
        check(0..4000, Setting { max_uncarried, names: 60, exact: false, ..ROOMY });
    }
}

/// The proof proves something: a fetch that notes too late where the log stood is found out.
#[test]
fn the_model_finds_a_fetch_that_notes_the_position_too_late() {
    let wrong = run(0..100, Setting { begins_too_late: true, ..ROOMY }).expect_err("a mistake was made");
    assert!(wrong.contains("usable after it was purged"), "{wrong}");
}

#[test]
fn the_model_finds_an_answer_to_a_change_that_survives_what_others_did() {
    let wrong = run(0..100, Setting { forgives_others: true, ..ROOMY }).expect_err("a mistake was made");
    assert!(wrong.contains("usable after it was purged"), "{wrong}");
}

#[test]
fn the_model_finds_a_ban_that_is_forgotten_too_soon() {
    let wrong = run(0..100, Setting { sweeps_blindly: true, ..ROOMY }).expect_err("a mistake was made");
    assert!(wrong.contains("after it was purged"), "{wrong}");
}

#[test]
fn tags_that_nobody_carries_are_forgotten() {
    let log = Arc::new(Log::new(100));
    for name in 0..100_000 {
        log.append(&[tag(name)], Hard);
    }
    assert!(log.tags() <= 200, "{} tags are remembered though nobody can carry them", log.tags());
    assert_eq!(log.floor().0, 0, "nothing was given up for it");
    log.forget();
    assert_eq!(log.tags(), 0);
}

#[test]
fn a_tag_is_remembered_as_long_as_a_fetch_may_come_back_with_it() {
    let log = Arc::new(Log::new(1000));
    let early = log.begin_fetch();
    log.append(&[tag(1)], Hard);
    let late = log.begin_fetch();
    log.forget();
    assert_eq!(log.carry(&early, [tag(1)]).standing(), Standing::Dead);
    assert_eq!(log.carry(&late, [tag(1)]).standing(), Standing::Usable);
    drop(early);
    log.forget();
    assert_eq!(log.tags(), 0, "the late one began after it");
    assert_eq!(log.carry(&late, [tag(1)]).standing(), Standing::Usable);
}

#[test]
fn memory_is_bounded_even_while_a_fetch_never_ends() {
    for max_uncarried in [100, 20_000] {
        let log = Arc::new(Log::new(max_uncarried));
        let endless = log.begin_fetch();
        for name in 0..50_000 {
            log.append(&[tag(name)], Hard);
        }
        assert!(log.tags() <= 3 * max_uncarried, "{} tags are remembered", log.tags());
        let carried = log.carry(&endless, [tag(3)]);
        assert_eq!(carried.standing(), Standing::Dead);
    }
}

/// Threads fetch, purge, forget and look as fast as they can. Before it looks, a reader asks how far the purges of a
/// tag have been acknowledged: what began before that must not be usable.
#[test]
fn no_race_serves_what_was_purged() {
    const TAGS: usize = 4;
    /// By then the threads have met often; how many purges it takes depends on the machine.
    const FETCHES: u64 = 8_000;
    const MAX_PURGES: u64 = 5_000_000;
    let log = Arc::new(Log::of_shards(3, 4));
    let acknowledged: [AtomicU64; TAGS] = std::array::from_fn(|_| AtomicU64::new(0));
    let stored: Mutex<Vec<(usize, Arc<Carried>)>> = Mutex::default();
    let stop = AtomicBool::new(false);
    let (fetched, served) = (AtomicU64::new(0), AtomicBool::new(false));
    let look = |name: usize, carried: &Carried| {
        let before = acknowledged[name].load(Ordering::SeqCst);
        if carried.standing() == Standing::Usable && carried.as_of().0 < before {
            served.store(true, Ordering::Relaxed);
        }
    };
    std::thread::scope(|scope| {
        let (log, acknowledged, stored, stop) = (&log, &acknowledged, &stored, &stop);
        let (look, fetched, served) = (&look, &fetched, &served);
        for worker in 0..2 {
            scope.spawn(move || {
                let mut dice = Dice(worker);
                let mut under_way = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    // Now and then there is none under way: that is when most may be forgotten.
                    for _ in 0..dice.roll(4) {
                        under_way.push(log.begin_fetch());
                    }
                    if dice.roll(2) == 0 {
                        std::thread::yield_now();
                    }
                    for fetch in under_way.drain(..) {
                        let name = dice.roll(TAGS as u64) as usize;
                        let carried = Arc::new(log.carry(&fetch, [tag(name as u64)]));
                        drop(fetch);
                        look(name, &carried);
                        fetched.fetch_add(1, Ordering::Relaxed);
                        let mut stored = stored.lock().unwrap();
                        if stored.len() < 16 {
                            stored.push((name, carried));
                        } else {
                            let index = dice.roll(16) as usize;
                            stored[index] = (name, carried);
                        }
                    }
                }
            });
        }
        scope.spawn(move || {
            let mut dice = Dice(50);
            while !stop.load(Ordering::Relaxed) {
                let read = {
                    let stored = stored.lock().unwrap();
                    let index = dice.roll(stored.len().max(1) as u64) as usize;
                    stored.get(index).cloned()
                };
                match read {
                    Some((name, carried)) => look(name, &carried),
                    None => std::thread::yield_now(),
                }
            }
        });
        scope.spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                log.forget();
                std::thread::yield_now();
            }
        });
        let purging: Vec<_> = (0..2_u64)
            .map(|worker| {
                scope.spawn(move || {
                    let mut dice = Dice(worker + 100);
                    for _ in 0..MAX_PURGES {
                        if fetched.load(Ordering::Relaxed) >= FETCHES || served.load(Ordering::Relaxed) {
                            break;
                        }
                        let name = dice.roll(TAGS as u64) as usize;
                        let Position(position) = log.append(&[tag(name as u64)], Hard).position;
                        // From here on the purge is acknowledged.
                        acknowledged[name].fetch_max(position, Ordering::SeqCst);
                        match dice.roll(200) {
                            0..20 => std::thread::yield_now(),
                            20 => {
                                log.append_everything(Hard);
                            }
                            21..30 => {
                                log.append(&[tag(1000 + dice.roll(1_000_000))], Hard);
                            }
                            _ => {}
                        }
                    }
                })
            })
            .collect();
        let purged: Vec<_> = purging.into_iter().map(|thread| thread.join()).collect();
        stop.store(true, Ordering::Relaxed);
        assert!(purged.iter().all(Result::is_ok), "a thread has panicked");
    });
    assert!(!served.into_inner(), "usable after it was purged");
    assert!(fetched.into_inner() >= FETCHES, "the threads have hardly met");
}
