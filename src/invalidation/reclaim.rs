//! What follows an invalidation: how many stored responses it struck is counted, and the memory of those that are gone is
//! given back. One invalidation after the other, in the order of the log, by whoever has the time.
//!
//! A response is struck by the first that names it: by then it is not yet noted to be as bad, and from then on it is.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use tokio::sync::Notify;

use super::log::{Named, lock};
use super::{Appended, Ban, Log, Pattern, Position, Standing, Strength, TagId};
use crate::clock::Stopwatch;
use crate::store::{Memory, Stored};

/// More work than this is not put off: whoever brings it helps.
const MAX_QUEUED: usize = 1024;

/// How long one piece of it takes, at most: whoever waits for a count looks up between them.
const SLICE: Duration = Duration::from_millis(20);

/// How many keys are looked at between two looks at the time.
const KEYS_AT_ONCE: usize = 64;

/// What an invalidation struck.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Count {
    /// How many stored responses.
    pub(super) matched: u64,
    /// The bytes they accounted for.
    pub(super) bytes: u64,
    /// How many for each target.
    pub(super) each: Vec<u64>,
}

impl Count {
    /// As the tallies of what was appended have it, where they have: they know how many carry one tag, not how many of these
    /// carry another as well.
    pub(super) fn tallied(appended: &[Appended], each: &[Known]) -> Option<Self> {
        let tags = match appended {
            [] => &[],
            [Appended { named: Named::Tags(tags), .. }] => tags.as_slice(),
            _ => return None,
        };
        let mut carried = tags.iter().filter(|(_, before)| before.struck.responses > 0);
        let Some((tag, before)) = carried.next() else {
            return Some(Self { each: vec![0; each.len()], ..Self::default() });
        };
        if carried.next().is_some() {
            return None;
        }
        let (matched, bytes) = (before.struck.responses, before.struck.bytes);
        let of_target = |known: &Known| match known {
            Known::Tags(tags) if tags.contains(tag) => matched,
            _ => 0,
        };
        Some(Self { matched, bytes, each: each.iter().map(of_target).collect() })
    }
}

/// What is named, as the log knows it.
#[derive(Debug)]
pub(super) enum Known {
    Tags(Vec<TagId>),
    Like(Pattern<TagId>),
    Everything,
}

impl Known {
    fn appended(named: &Named) -> Self {
        match named {
            Named::Tags(tags) => Self::Tags(tags.iter().map(|(tag, _)| *tag).collect()),
            Named::Like(ban) => Self::Like(ban.pattern.clone()),
            Named::Everything => Self::Everything,
        }
    }

    pub(super) fn names(&self, stored: &Stored) -> bool {
        match self {
            Self::Tags(tags) => tags.iter().any(|tag| stored.carried.carries(*tag)),
            Self::Like(pattern) => pattern.matches(&stored.carried, &stored.subject()),
            Self::Everything => true,
        }
    }

    /// The keys under which something may lie that is named by this.
    pub(super) fn keys(&self, log: &Log, store: &Memory) -> Vec<Arc<str>> {
        match self.tags(log, store) {
            Some(tags) => tags.iter().flat_map(|tag| log.keys(*tag)).collect(),
            None => store.iter().map(|(key, _)| key).collect(),
        }
    }

    /// The same, one by one, until `each` has enough.
    pub(super) fn each_key(
        &self,
        log: &Log,
        store: &Memory,
        mut each: impl FnMut(Arc<str>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        match self.tags(log, store) {
            Some(tags) => tags.iter().flat_map(|tag| log.keys(*tag)).try_for_each(each),
            // All that is stored: it is not collected first.
            None => store.iter().map(|(key, _)| key).try_for_each(&mut each),
        }
    }

    /// Those whose keys have to be looked at; `None`: all that is stored has to be, or may as well be. While the keys of a tag are
    /// collected, others wait who store what carries it.
    fn tags(&self, log: &Log, store: &Memory) -> Option<&[TagId]> {
        const WORTH_LOOKING_AT_ALL: u64 = 8;
        let tags = match self {
            Self::Tags(tags) => tags,
            Self::Like(Pattern { groups, .. }) => groups.first()?,
            Self::Everything => return None,
        };
        let many = (store.len() / WORTH_LOOKING_AT_ALL).max(KEYS_AT_ONCE as u64);
        tags.iter().all(|tag| log.carriers(*tag) as u64 <= many).then_some(tags)
    }
}

/// What was appended together.
#[derive(Debug)]
struct Batch {
    strength: Strength,
    named: Vec<(Position, Known)>,
    bans: Vec<Arc<Ban>>,
}

impl Batch {
    fn of(appended: &[Appended]) -> Self {
        let named = appended.iter().map(|each| (each.position, Known::appended(&each.named))).collect();
        let as_ban = |appended: &Appended| match &appended.named {
            Named::Like(ban) => Some(Arc::clone(ban)),
            Named::Tags(_) | Named::Everything => None,
        };
        let strength = appended.first().map(|first| first.strength).unwrap_or_default();
        Self { strength, named, bans: appended.iter().filter_map(as_ban).collect() }
    }

    /// How what it names stands from then on.
    fn standing(&self) -> Standing {
        match self.strength {
            Strength::Hard => Standing::Dead,
            Strength::Soft => Standing::Softened,
        }
    }

    fn names(&self, stored: &Stored) -> bool {
        let is_older = |position: &Position| stored.carried.as_of() < *position;
        self.named.iter().any(|(position, known)| is_older(position) && known.names(stored))
    }
}

/// What is to be done for a batch.
#[derive(Debug)]
struct Work {
    batch: Batch,
    each: Vec<Known>,
    counted: Arc<Counted>,
    /// What is left to be looked at; `None`: it has not begun.
    keys: Option<std::vec::IntoIter<Arc<str>>>,
}

/// Where a count will be, and what of it there is.
#[derive(Debug, Default)]
pub(super) struct Counted {
    whole: OnceLock<Count>,
    so_far: Mutex<Count>,
}

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Reclaimer {
    log: Arc<Log>,
    store: Arc<Memory>,
    queue: Mutex<Queue>,
    /// One at a time.
    working: Mutex<()>,
    due: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    work: VecDeque<Work>,
    /// With what is being worked at.
    unfinished: usize,
}

impl Reclaimer {
    pub(super) fn new(log: Arc<Log>, store: Arc<Memory>) -> Self {
        Self { log, store, queue: Mutex::default(), working: Mutex::new(()), due: Notify::new() }
    }

    /// Whether all that was struck until now is noted.
    pub(super) fn is_idle(&self) -> bool {
        lock(&self.queue).unfinished == 0
    }

    /// Queues what follows from what was appended; where its count will be.
    pub(super) fn add(&self, appended: &[Appended], each: Vec<Known>) -> Arc<Counted> {
        let so_far = Count { each: vec![0; each.len()], ..Count::default() };
        let counted = Arc::new(Counted { whole: OnceLock::new(), so_far: Mutex::new(so_far) });
        let mut queue = lock(&self.queue);
        let (batch, counted_too) = (Batch::of(appended), Arc::clone(&counted));
        queue.work.push_back(Work { batch, each, counted: counted_too, keys: None });
        queue.unfinished += 1;
        let is_full = queue.work.len() > MAX_QUEUED;
        drop(queue);
        if is_full {
            self.work();
        }
        self.due.notify_one();
        counted
    }

    /// Works until this has been counted, but no longer than `patience`; whether it has been.
    pub(super) fn count(&self, counted: &Counted, patience: Duration) -> (Count, bool) {
        let stopwatch = Stopwatch::start();
        loop {
            if let Some(count) = counted.whole.get() {
                return (count.clone(), true);
            }
            if stopwatch.elapsed() > patience || !self.work() {
                // It takes too long; or it was being worked at, and is done, or has failed.
                let whole = counted.whole.get().cloned();
                let is_whole = whole.is_some();
                return (whole.unwrap_or_else(|| lock(&counted.so_far).clone()), is_whole);
            }
        }
    }

    /// Works until nothing is left.
    pub(super) fn reclaim(&self) {
        while self.work() {}
    }

    pub(super) async fn due(&self) {
        self.due.notified().await;
    }

    /// Does a piece of what has waited longest; `false`: there was nothing.
    fn work(&self) -> bool {
        let working = lock(&self.working);
        let Some(mut work) = lock(&self.queue).work.pop_front() else { return false };
        let stopwatch = Stopwatch::start();
        // A key may come several times: what was struck once is not struck again.
        let keys = |batch: &Batch| {
            let named = batch.named.iter();
            let keys: Vec<_> = named.flat_map(|(_, known)| known.keys(&self.log, &self.store)).collect();
            keys.into_iter()
        };
        let mut keys = work.keys.take().unwrap_or_else(|| keys(&work.batch));
        let mut count = lock(&work.counted.so_far).clone();
        loop {
            let mut looked_at = 0;
            for key in keys.by_ref().take(KEYS_AT_ONCE) {
                self.strike(&key, &work.batch, &work.each, &mut count);
                looked_at += 1;
            }
            if looked_at < KEYS_AT_ONCE {
                break;
            }
            if stopwatch.elapsed() > SLICE {
                *lock(&work.counted.so_far) = count;
                work.keys = Some(keys);
                lock(&self.queue).work.push_front(work);
                return true;
            }
        }
        for ban in &work.batch.bans {
            self.log.swept(ban);
        }
        // The only one who sets it.
        let _ = work.counted.whole.set(count);
        lock(&self.queue).unfinished -= 1;
        drop(working);
        true
    }

    /// Notes and counts what is struck under a key, and removes what is dead.
    fn strike(&self, key: &str, batch: &Batch, each: &[Known], count: &mut Count) {
        let Some(variants) = self.store.peek(key) else { return };
        let mut some_are_dead = false;
        for stored in variants.stored() {
            let struck = stored.carried.noted() < batch.standing() && batch.names(stored);
            if struck {
                stored.carried.note(batch.standing());
                count.matched += 1;
                count.bytes += u64::from(stored.weight);
                for (count, target) in count.each.iter_mut().zip(each) {
                    *count += u64::from(target.names(stored));
                }
            }
            some_are_dead |= stored.carried.noted() == Standing::Dead;
        }
        if some_are_dead {
            self.store.retain(key, |stored| stored.carried.noted() != Standing::Dead);
        }
    }
}
