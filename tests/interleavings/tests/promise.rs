//! The promise under every interleaving that shuttle reaches: once an invalidation is acknowledged, nothing whose fetch began
//! before it and that it names is usable.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use shuttle::sync::Mutex;
use shuttle::sync::atomic::{AtomicU64, Ordering};
use shuttle::{check_random, thread};
use staleproof_interleavings::invalidation::log::Named;
use staleproof_interleavings::invalidation::{Carried, Log, Pattern, Standing, Strength, Tag};

const SCHEDULES: usize = 20_000;

/// What a thread does.
#[derive(Clone, Copy)]
struct Setting {
    /// Purged is what is like a pattern, not a tag.
    by_pattern: bool,
    /// Made stale, not ended.
    strength: Strength,
    /// What is stored carries other tags as well, in several shards, and those that share a slot are purged too. There are so many
    /// more interleavings then that one which a mistake needs is seldom met.
    crowded: bool,
    /// Deliberate mistakes.
    mistake: Mistake,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mistake {
    None,
    /// A fetch notes where the log stands when its answer is there.
    BeginsTooLate,
    /// A fetch is over before what it brought is held against the log.
    EndsTooEarly,
    /// A ban is forgotten before what is stored was held against it.
    SweepsBlindly,
}

/// The origin, what was acknowledged of its changes, and what is stored: with the version that it is of.
struct Town {
    log: Arc<Log>,
    version: AtomicU64,
    acknowledged: AtomicU64,
    stored: Mutex<Option<(u64, Arc<Carried>)>>,
}

/// What is purged.
fn tag() -> Tag {
    Tag::application("a")
}

impl Town {
    /// As `Rooms` do it: begin, ask, carry, hold against the log, store, hold against it again.
    fn fetch(&self, Setting { mistake, crowded, .. }: Setting) {
        let early = (mistake != Mistake::BeginsTooLate).then(|| self.log.begin_fetch());
        let version = self.version.load(Ordering::SeqCst);
        let fetch = early.unwrap_or_else(|| self.log.begin_fetch());
        let others = crowded.then(|| ["b", "c"].map(Tag::application)).into_iter().flatten();
        let tags = [tag()].into_iter().chain(others);
        let carried = Arc::new(self.log.carry(&fetch, tags));
        let kept = (mistake != Mistake::EndsTooEarly).then_some(fetch);
        if self.settle(&carried) {
            *self.stored.lock().unwrap() = Some((version, Arc::clone(&carried)));
            if !self.settle(&carried) {
                self.drop_dead();
            }
        }
        drop(kept);
    }

    /// Whether it may stay; how it stands is noted.
    fn settle(&self, carried: &Carried) -> bool {
        let standing = carried.standing();
        carried.note(standing);
        standing != Standing::Dead
    }

    fn drop_dead(&self) {
        self.stored.lock().unwrap().take_if(|(_, carried)| !self.settle(carried));
    }

    /// As the `Invalidator` does it.
    fn change(&self, setting: Setting) {
        let version = self.version.fetch_add(1, Ordering::SeqCst) + 1;
        let appended = if setting.by_pattern {
            self.log.append_ban(Pattern { groups: vec![vec![tag()]], ..Pattern::default() }, setting.strength)
        } else {
            self.log.append(&[tag()], setting.strength)
        };
        if setting.mistake != Mistake::SweepsBlindly {
            self.drop_dead();
        }
        if let Named::Like(ban) = &appended.named {
            self.log.swept(ban);
        }
        self.acknowledged.fetch_max(version, Ordering::SeqCst);
    }

    /// A request: it must not be served what is older than what was acknowledged before it.
    fn look(&self) {
        let acknowledged = self.acknowledged.load(Ordering::SeqCst);
        let Some((version, carried)) = self.stored.lock().unwrap().clone() else { return };
        let is_served = carried.standing() == Standing::Usable;
        assert!(
            !is_served || version >= acknowledged,
            "served what was purged: version {version} as of {:?}, acknowledged {acknowledged}, head {:?}, floors {:?}, bans {}",
            carried.as_of(),
            self.log.head(),
            self.log.floors(),
            self.log.bans()
        );
    }
}

fn run(setting: Setting) {
    let town = Arc::new(Town {
        log: Arc::new(Log::of_shards(2, 2)),
        version: AtomicU64::new(0),
        acknowledged: AtomicU64::new(0),
        stored: Mutex::new(None),
    });
    let spawn = |work: fn(&Town, Setting)| {
        let town = Arc::clone(&town);
        thread::spawn(move || work(&town, setting))
    };
    let threads = [
        spawn(|town, setting| (0..2).for_each(|_| town.fetch(setting))),
        spawn(|town, setting| town.fetch(setting)),
        spawn(|town, setting| (0..2).for_each(|_| town.change(setting))),
        spawn(|town, setting| {
            town.look();
            town.log.forget();
            if setting.crowded {
                town.log.append(&[Tag::application("d")], Strength::Hard);
            }
            town.look();
        }),
    ];
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    town.look();
}

const SETTINGS: [(bool, Strength); 4] =
    [(false, Strength::Hard), (false, Strength::Soft), (true, Strength::Hard), (true, Strength::Soft)];

#[test]
fn no_interleaving_serves_what_was_purged() {
    for (by_pattern, strength) in SETTINGS {
        for crowded in [false, true] {
            println!("{by_pattern} {strength:?} {crowded}");
            let setting = Setting { by_pattern, strength, crowded, mistake: Mistake::None };
            check_random(move || run(setting), SCHEDULES);
        }
    }
}

/// The proof proves something.
#[test]
fn every_mistake_is_found() {
    for (mistake, by_pattern, strength) in [
        (Mistake::BeginsTooLate, false, Strength::Hard),
        (Mistake::BeginsTooLate, true, Strength::Hard),
        (Mistake::EndsTooEarly, true, Strength::Hard),
        (Mistake::EndsTooEarly, true, Strength::Soft),
        (Mistake::SweepsBlindly, true, Strength::Hard),
    ] {
        let setting = Setting { by_pattern, strength, crowded: false, mistake };
        let found = catch_unwind(AssertUnwindSafe(|| check_random(move || run(setting), SCHEDULES)));
        assert!(found.is_err(), "a mistake was made, and nobody has noticed");
    }
}
