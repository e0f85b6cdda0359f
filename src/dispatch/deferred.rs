//! Dispatchers that work after the answer: `background`, from a queue in memory, and `durable`, from one on disk.
//!
//! What is accepted is queued; a queue that is full refuses, and the sender tries again. What waits in memory is done before
//! the process ends, unless it is killed. What is on disk is done at least once: it is taken off only when it has been
//! done. Purges do not need an order among themselves, yet work is begun in the order it came; what is to be tried again
//! holds up nothing that came after it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;

use super::journal::{DeadLetter, JournalError, Which};
use super::queue::{Bounds, Delay, NotQueued, Queue, Settled, Ticket, Work};
use super::{Means, Report, act};
use crate::clock::{Clock, Patience};
use crate::invalidation::rule::Rule;

/// How long counts are waited for where no sender waits for the answer.
const UNHURRIED: Duration = Duration::from_secs(10);

/// One entry of `dispatchers:` that is not `inline`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeferredSettings {
    /// Its name.
    pub name: Arc<str>,
    /// How many pieces of work wait at most.
    pub max_waiting: usize,
    /// How many bytes of them.
    pub max_waiting_bytes: u64,
    /// How many batches are done at once; of those on disk, one after the other.
    pub workers: usize,
    /// How many pieces of work are done in one go, at most.
    pub batch: usize,
    /// How long a batch is waited for, once there is something.
    pub linger: Duration,
    /// `None`: what waits is lost with the process.
    pub durable: Option<DurableSettings>,
}

/// What is kept on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DurableSettings {
    /// The file.
    pub path: PathBuf,
    /// Without it nothing starts; else the proxy serves, and refuses what it should keep there.
    pub required: bool,
    /// How often it is tried.
    pub max_attempts: u32,
    /// How long until the second attempt; then twice that, and so on.
    pub backoff: Duration,
    /// But no longer than this.
    pub max_backoff: Duration,
    /// How many that could not be done are kept.
    pub dead_letters: usize,
}

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Deferred {
    inner: Arc<Inner>,
    working: Mutex<JoinSet<()>>,
}

#[derive(Debug)]
struct Inner {
    settings: DeferredSettings,
    /// Or why there is none.
    queue: Result<Queue, JournalError>,
    rules: Arc<[Rule]>,
    means: Arc<Means>,
}

impl Deferred {
    /// Works in tasks of its own.
    ///
    /// # Errors
    /// What is on disk cannot be read, and is required.
    pub(super) fn start(
        settings: &DeferredSettings,
        rules: &Arc<[Rule]>,
        means: &Arc<Means>,
        clock: &Clock,
    ) -> Result<Self, JournalError> {
        let longest_backoff = settings.durable.as_ref().map_or(Duration::ZERO, |durable| durable.max_backoff);
        let longest_debounce = rules.iter().map(|rule| rule.debounce).max().unwrap_or_default();
        let bounds = Bounds {
            number: settings.max_waiting,
            bytes: settings.max_waiting_bytes,
            longest: longest_backoff.max(longest_debounce),
        };
        let queue = Queue::new(bounds, settings.durable.as_ref(), clock.clone());
        if let Err(error) = &queue {
            if settings.durable.as_ref().is_some_and(|durable| durable.required) {
                return Err(error.clone());
            }
            tracing::error!(dispatcher = %settings.name, %error, "what it should keep is refused until the next start");
        }
        let (rules, means) = (Arc::clone(rules), Arc::clone(means));
        let inner = Arc::new(Inner { settings: settings.clone(), queue, rules, means });
        let mut working = JoinSet::new();
        if inner.queue.is_ok() {
            for _ in 0..settings.workers {
                working.spawn(Arc::clone(&inner).work());
            }
        }
        Ok(Self { inner, working: Mutex::new(working) })
    }

    pub(super) fn name(&self) -> &Arc<str> {
        &self.inner.settings.name
    }

    pub(super) fn is_durable(&self) -> bool {
        self.inner.settings.durable.is_some()
    }

    /// Takes all of it, or nothing.
    pub(super) fn add(&self, works: Vec<(Work, Delay)>) -> Result<(), NotQueued> {
        self.queue()?.add(works)
    }

    /// Takes no more, and ends when all is done that would be lost.
    pub(super) async fn drain(&self) {
        if let Ok(queue) = &self.inner.queue {
            queue.close();
        }
        let mut working = std::mem::take(&mut *self.working.lock().unwrap_or_else(PoisonError::into_inner));
        while working.join_next().await.is_some() {}
    }

    /// How many pieces of work wait, and how many are dead.
    pub(super) fn lengths(&self) -> (usize, usize) {
        self.inner.queue.as_ref().map_or((0, 0), Queue::lengths)
    }

    pub(super) fn dead(&self, from: u64, limit: usize) -> Result<Vec<DeadLetter>, JournalError> {
        self.queue()?.dead(from, limit)
    }

    pub(super) fn revive(&self, which: Which) -> Result<usize, JournalError> {
        self.queue()?.revive(which)
    }

    pub(super) fn discard(&self, which: Which) -> Result<usize, JournalError> {
        self.queue()?.discard(which)
    }

    fn queue(&self) -> Result<&Queue, JournalError> {
        self.inner.queue.as_ref().map_err(Clone::clone)
    }
}

impl Inner {
    async fn work(self: Arc<Self>) {
        let Ok(queue) = &self.queue else { return };
        let DeferredSettings { name, batch, linger, .. } = &self.settings;
        while let Some(tickets) = queue.next(*batch, *linger).await {
            let inner = Arc::clone(&self);
            // Counting may wait, and so may disks; not on a worker that serves.
            if let Err(error) = tokio::task::spawn_blocking(move || inner.carry_out(tickets)).await {
                tracing::error!(dispatcher = %name, %error, "work was cut off");
            }
        }
    }

    fn carry_out(&self, tickets: Vec<Ticket>) {
        let Ok(queue) = &self.queue else { return };
        let mut settled = Vec::with_capacity(tickets.len());
        let mut readable = Vec::with_capacity(tickets.len());
        for (ticket, work) in queue.read(tickets) {
            match work {
                Ok(work) => readable.push((ticket, work)),
                Err(why) => {
                    let verdict = self.again(&ticket, format!("it cannot be read: {why}"));
                    settled.push((ticket, None, verdict));
                }
            }
        }
        let verdicts = self.verdicts(&readable);
        let done =
            readable.into_iter().zip(verdicts).map(|((ticket, work), verdict)| (ticket, Some(work), verdict));
        settled.extend(done);
        queue.settle(settled);
    }

    /// What becomes of each; those of one rule are done in one go.
    fn verdicts(&self, works: &[(Ticket, Work)]) -> Vec<Settled> {
        let mut verdicts = vec![Settled::Done; works.len()];
        let mut left: Vec<usize> = (0..works.len()).collect();
        while let Some(first) = left.first() {
            let name = &works[*first].1.rule;
            let (same, others): (Vec<_>, Vec<_>) =
                left.iter().partition(|index| works[**index].1.rule == *name);
            match self.rules.iter().find(|rule| rule.name == *name) {
                Some(rule) => {
                    let reports = self.run(rule, works, &same);
                    for (index, report) in same.into_iter().zip(reports) {
                        verdicts[index] = self.verdict(&works[index].0, report);
                    }
                }
                None => {
                    for index in same {
                        verdicts[index] = self.dead(format!("there is no rule {name:?} any more"));
                    }
                }
            }
            left = others;
        }
        verdicts
    }

    /// `Err`: it was cut off. One that is cut off takes no others with it.
    fn run(&self, rule: &Rule, works: &[(Ticket, Work)], indices: &[usize]) -> Vec<Result<Report, ()>> {
        let events: Vec<_> = indices.iter().map(|index| &*works[*index].1.event).collect();
        let run = |events: &[_]| {
            let patience = Patience::of(UNHURRIED);
            catch_unwind(AssertUnwindSafe(|| act::run(rule, events, &self.means, &patience)))
        };
        match run(&events) {
            Ok(reports) => reports.into_iter().map(Ok).collect(),
            Err(_) if events.len() == 1 => vec![Err(())],
            Err(_) => {
                let alone = |event| {
                    run(&[event]).map_err(drop).and_then(|reports| reports.into_iter().next().ok_or(()))
                };
                events.into_iter().map(alone).collect()
            }
        }
    }

    fn verdict(&self, ticket: &Ticket, report: Result<Report, ()>) -> Settled {
        match report {
            Ok(report) if !report.is_incomplete() => Settled::Done,
            Ok(report) => self.dead(report.errors.join("; ")),
            Err(()) => self.again(ticket, "it was cut off by a fault in this program".to_owned()),
        }
    }

    fn again(&self, ticket: &Ticket, why: String) -> Settled {
        let Some(durable) = &self.settings.durable else { return self.dead(why) };
        let attempts = ticket.attempts + 1;
        if attempts >= durable.max_attempts {
            return self.dead(why);
        }
        let after = backoff(durable, attempts, fastrand::f64());
        tracing::warn!(dispatcher = %self.settings.name, number = ticket.number, attempts, why, ?after, "it is tried again");
        Settled::Again(after)
    }

    fn dead(&self, why: String) -> Settled {
        let kept = self.settings.durable.is_some();
        tracing::error!(dispatcher = %self.settings.name, why, kept, "work could not be done");
        Settled::Dead(why)
    }
}

/// How long until it is tried again, after so many attempts: twice as long each time, less up to a half by chance, so that
/// what failed together does not come again together. `chance`: from 0 to 1.
fn backoff(durable: &DurableSettings, attempts: u32, chance: f64) -> Duration {
    let doubled = durable.backoff.saturating_mul(1 << (attempts - 1).min(31));
    doubled.min(durable.max_backoff).mul_f64(1.0 - chance / 2.0)
}
