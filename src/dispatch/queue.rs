//! What waits to be done, by when it is due: in memory, or in a [journal](super::journal) on disk as well.
//!
//! Bounded in number and in bytes. What is taken is the caller's to settle; a journal keeps it until then.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tokio::time::sleep;

use super::DurableSettings;
use super::journal::{Change, DeadLetter, Journal, JournalError, Kept, Which};
use crate::clock::{Clock, Timestamp};
use crate::invalidation::event::Event;

/// A rule, by its name, and the event that it heard.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Work {
    pub(super) rule: Arc<str>,
    pub(super) event: Arc<Event>,
}

/// When a piece of work is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Delay {
    /// After so long, with all that waits for the same rule by then; zero: at once.
    pub(super) debounce: Duration,
}

/// How much may wait, and how much is done at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bounds {
    pub(super) number: usize,
    pub(super) bytes: u64,
    /// No delay is longer: what seems to be due later than that is due, and the clock was set.
    pub(super) longest: Duration,
}

/// Why work was not taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotQueued {
    #[error("the queue is full")]
    Full,
    #[error("the server is shutting down")]
    Over,
    #[error(transparent)]
    Journal(#[from] JournalError),
}

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Queue {
    bounds: Bounds,
    /// `None`: in memory only.
    journal: Option<Journal>,
    waiting: Mutex<Waiting>,
    changed: Notify,
    clock: Clock,
}

#[derive(Debug, Default)]
struct Waiting {
    by_due: BTreeMap<(Timestamp, u64), Line>,
    bytes: u64,
    next_number: u64,
    is_over: bool,
}

/// What is known of a piece of work that waits.
#[derive(Debug)]
struct Line {
    rule: Arc<str>,
    bytes: u64,
    attempts: u32,
    debounced: bool,
    /// `None`: it is in the journal.
    work: Option<Work>,
}

/// A piece of work that is being done.
#[derive(Debug)]
pub(super) struct Ticket {
    pub(super) number: u64,
    /// How often it has been tried before.
    pub(super) attempts: u32,
    rule: Arc<str>,
    bytes: u64,
    work: Option<Work>,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Settled {
    /// It is done.
    Done,
    /// It is to be tried again after so long.
    Again(Duration),
    /// It never will be done, and why not.
    Dead(String),
}

impl Queue {
    /// Begins with what is in the journal, if there is one.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub(super) fn new(
        bounds: Bounds,
        durable: Option<&DurableSettings>,
        clock: Clock,
    ) -> Result<Self, JournalError> {
        let mut waiting = Waiting::default();
        let mut journal = None;
        if let Some(DurableSettings { path, dead_letters, .. }) = durable {
            let (opened, kept, last) = Journal::open(Path::new(path), *dead_letters)?;
            kept.into_iter().for_each(|kept| waiting.keep(kept));
            waiting.next_number = last + 1;
            journal = Some(opened);
        }
        Ok(Self { bounds, journal, waiting: Mutex::new(waiting), changed: Notify::new(), clock })
    }

    /// Takes all of it, or nothing. Blocks until it is on disk.
    pub(super) fn add(&self, works: Vec<(Work, Delay)>) -> Result<(), NotQueued> {
        let first = {
            let mut waiting = self.waiting();
            if waiting.is_over {
                return Err(NotQueued::Over);
            }
            if waiting.by_due.len() >= self.bounds.number || waiting.bytes >= self.bounds.bytes {
                return Err(NotQueued::Full);
            }
            let first = waiting.next_number;
            waiting.next_number += works.len() as u64;
            first
        };
        let now = self.clock.now();
        let (mut lines, mut changes) = (Vec::with_capacity(works.len()), Vec::new());
        for (number, (work, Delay { debounce })) in (first..).zip(works) {
            let written =
                serde_json::to_vec(&work).map_err(|error| JournalError::Unwritable(error.to_string()))?;
            let (due, rule) = (now.plus(debounce), Arc::clone(&work.rule));
            let line = Line {
                rule,
                bytes: written.len() as u64,
                attempts: 0,
                debounced: !debounce.is_zero(),
                work: self.journal.is_none().then_some(work),
            };
            if self.journal.is_some() {
                let rule = Arc::clone(&line.rule);
                changes.push(Change::Add { number, due, rule, debounced: line.debounced, written });
            }
            lines.push(((due, number), line));
        }
        if let Some(journal) = &self.journal {
            journal.write(changes)?;
        }
        let mut waiting = self.waiting();
        lines.into_iter().for_each(|(at, line)| waiting.insert(at, line));
        drop(waiting);
        self.changed.notify_one();
        Ok(())
    }

    /// What is due, `max` pieces at most, in the order they came; and with what was to be collected, what is to be collected with
    /// it, of which the rest is due at once if it is too much. Waits until there is something; `linger`: and then for more. `None`: it is over.
    pub(super) async fn next(&self, max: usize, linger: Duration) -> Option<Vec<Ticket>> {
        /// Clocks can be set: nobody sleeps for longer without looking at it.
        const LONGEST_SLEEP: Duration = Duration::from_secs(1);
        let mut has_lingered = linger.is_zero();
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let now = self.clock.now();
            let wait = {
                let mut waiting = self.waiting();
                if waiting.is_over && (self.journal.is_some() || waiting.by_due.is_empty()) {
                    return None;
                }
                match waiting.wait(now, self.bounds.longest) {
                    Some(Duration::ZERO) if has_lingered || waiting.is_over => {
                        let taken = waiting.take(max, now, self.bounds.longest);
                        if !waiting.by_due.is_empty() {
                            // For another worker.
                            self.changed.notify_one();
                        }
                        return Some(taken);
                    }
                    Some(Duration::ZERO) => None,
                    Some(wait) => Some(wait.min(LONGEST_SLEEP)),
                    None => Some(LONGEST_SLEEP),
                }
            };
            match wait {
                None => {
                    sleep(linger).await;
                    has_lingered = true;
                }
                Some(wait) => tokio::select! {
                    () = changed => {}
                    () = sleep(wait) => {}
                },
            }
        }
    }

    /// What is to be done, with its ticket; or why nobody knows. Blocks.
    pub(super) fn read(&self, tickets: Vec<Ticket>) -> Vec<(Ticket, Result<Work, String>)> {
        let written = self.journal.as_ref().map(|journal| {
            let numbers: Vec<_> = tickets.iter().map(|ticket| ticket.number).collect();
            journal.read(&numbers)
        });
        let mut written = match written {
            Some(Ok(written)) => written.into_iter(),
            Some(Err(error)) => {
                let why = error.to_string();
                return tickets.into_iter().map(|ticket| (ticket, Err(why.clone()))).collect();
            }
            None => Vec::new().into_iter(),
        };
        let read = |mut ticket: Ticket| {
            let work = match (ticket.work.take(), written.next().flatten()) {
                (Some(work), _) => Ok(work),
                (None, Some(written)) => serde_json::from_slice(&written).map_err(|error| error.to_string()),
                (None, None) => Err("it is not there any more".to_owned()),
            };
            (ticket, work)
        };
        tickets.into_iter().map(read).collect()
    }

    /// Tells what became of it. Blocks until it is on disk.
    pub(super) fn settle(&self, settled: Vec<(Ticket, Option<Work>, Settled)>) {
        let now = self.clock.now();
        let mut changes = Vec::with_capacity(settled.len());
        let mut again = Vec::new();
        for (Ticket { number, attempts, rule, bytes, .. }, work, settled) in settled {
            let attempts = attempts + 1;
            match settled {
                Settled::Done => changes.push(Change::Remove { number }),
                Settled::Dead(why) => changes.push(Change::Bury { number, at: now, attempts, why }),
                Settled::Again(after) => {
                    let due = now.plus(after);
                    changes.push(Change::Postpone { number, due, attempts });
                    let work = work.filter(|_| self.journal.is_none());
                    again.push(((due, number), Line { rule, bytes, attempts, debounced: false, work }));
                }
            }
        }
        if let Some(journal) = &self.journal
            && let Err(error) = journal.write(changes)
        {
            tracing::error!(%error, "what has been done could not be noted: it is done again after a restart");
        }
        if !again.is_empty() {
            let mut waiting = self.waiting();
            again.into_iter().for_each(|(at, line)| waiting.insert(at, line));
            drop(waiting);
            self.changed.notify_one();
        }
    }

    /// Takes no more. What waits in memory is due now.
    pub(super) fn close(&self) {
        self.waiting().is_over = true;
        self.changed.notify_waiters();
        self.changed.notify_one();
    }

    /// How many pieces of work wait, and how many are dead.
    pub(super) fn lengths(&self) -> (usize, usize) {
        (self.waiting().by_due.len(), self.journal.as_ref().map_or(0, Journal::dead_letters))
    }

    /// What is dead, the oldest first, from this number on.
    pub(super) fn dead(&self, from: u64, limit: usize) -> Result<Vec<DeadLetter>, JournalError> {
        self.journal.as_ref().map_or(Ok(Vec::new()), |journal| journal.dead(from, limit))
    }

    /// What is dead waits again; how many of them there were.
    pub(super) fn revive(&self, which: Which) -> Result<usize, JournalError> {
        let Some(journal) = &self.journal else { return Ok(0) };
        let revived = journal.revive(which, self.clock.now())?;
        let number = revived.len();
        let mut waiting = self.waiting();
        revived.into_iter().for_each(|kept| waiting.keep(kept));
        drop(waiting);
        self.changed.notify_one();
        Ok(number)
    }

    /// What is dead is forgotten; how many of them there were.
    pub(super) fn discard(&self, which: Which) -> Result<usize, JournalError> {
        self.journal.as_ref().map_or(Ok(0), |journal| journal.discard(which))
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn keep(&mut self, Kept { number, due, attempts, debounced, rule, bytes }: Kept) {
        self.insert((due, number), Line { rule, bytes, attempts, debounced, work: None });
    }

    fn insert(&mut self, at: (Timestamp, u64), line: Line) {
        self.bytes += line.bytes;
        self.by_due.insert(at, line);
    }

    /// How long until something is due; `None`: there is nothing.
    fn wait(&self, now: Timestamp, longest: Duration) -> Option<Duration> {
        let ((due, _), _) = self.by_due.first_key_value()?;
        let wait = due.since(now);
        Some(if self.is_over || wait > longest { Duration::ZERO } else { wait })
    }

    fn take(&mut self, max: usize, now: Timestamp, longest: Duration) -> Vec<Ticket> {
        let mut taken = Vec::new();
        while taken.len() < max && self.wait(now, longest) == Some(Duration::ZERO) {
            let Some((at, line)) = self.by_due.pop_first() else { break };
            let collected = line.debounced.then(|| Arc::clone(&line.rule));
            taken.push(self.ticket(at, line));
            let Some(rule) = collected else { continue };
            for at in self.mates(&rule, max - taken.len()) {
                if let Some(line) = self.by_due.remove(&at) {
                    taken.push(self.ticket(at, line));
                }
            }
            if taken.len() == max {
                self.hasten(&rule, at.0);
            }
        }
        taken
    }

    /// What else is collected for a rule, so much at most.
    fn mates(&self, rule: &str, max: usize) -> Vec<(Timestamp, u64)> {
        let mates = self.by_due.iter().filter(|(_, line)| line.debounced && *line.rule == *rule);
        mates.map(|(at, _)| *at).take(max).collect()
    }

    /// What is collected for a rule and was too much to be taken is due with what was.
    fn hasten(&mut self, rule: &str, due: Timestamp) {
        let later = (Bound::Excluded((due, u64::MAX)), Bound::Unbounded);
        let mates = self.by_due.range(later).filter(|(_, line)| line.debounced && *line.rule == *rule);
        for at in mates.map(|(at, _)| *at).collect::<Vec<_>>() {
            if let Some(line) = self.by_due.remove(&at) {
                self.by_due.insert((due, at.1), line);
            }
        }
    }

    fn ticket(&mut self, (_, number): (Timestamp, u64), line: Line) -> Ticket {
        self.bytes -= line.bytes;
        Ticket { number, attempts: line.attempts, rule: line.rule, bytes: line.bytes, work: line.work }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invalidation::event::Event;
    use serde_json::json;
    use std::time::Duration;

    const NO_DELAY: Delay = Delay { debounce: Duration::ZERO };

    fn work(rule: &str, name: &str) -> Work {
        Work { rule: rule.into(), event: Arc::new(Event::of_app(json!({ "type": name }))) }
    }

    fn bounds(number: usize, bytes: u64) -> Bounds {
        Bounds { number, bytes, longest: Duration::from_secs(60) }
    }

    fn in_memory(clock: &Clock) -> Queue {
        Queue::new(bounds(10, 1 << 20), None, clock.clone()).unwrap()
    }

    fn durable(path: &Path) -> DurableSettings {
        DurableSettings {
            path: path.to_owned(),
            required: true,
            max_attempts: 3,
            backoff: Duration::from_secs(1),
            max_backoff: Duration::from_secs(60),
            dead_letters: 10,
        }
    }

    /// The names of the events that are taken, and their tickets.
    async fn take(queue: &Queue, max: usize) -> (Vec<String>, Vec<(Ticket, Work)>) {
        let tickets = queue.next(max, Duration::ZERO).await.unwrap();
        let works = queue.read(tickets).into_iter().map(|(ticket, work)| (ticket, work.unwrap()));
        let works: Vec<_> = works.collect();
        (works.iter().map(|(_, work)| work.event.name.clone()).collect(), works)
    }

    fn settle(queue: &Queue, works: Vec<(Ticket, Work)>, settled: Settled) {
        queue.settle(works.into_iter().map(|(ticket, work)| (ticket, Some(work), settled.clone())).collect());
    }

    #[tokio::test(start_paused = true)]
    async fn work_is_taken_in_the_order_it_came_and_what_fails_holds_up_nothing() {
        let scratch = tempfile::tempdir().unwrap();
        let clock = Clock::stopped();
        let on_disk =
            Queue::new(bounds(10, 1 << 20), Some(&durable(&scratch.path().join("q"))), clock.clone());
        for queue in [in_memory(&clock), on_disk.unwrap()] {
            let works = ["a", "b", "c"].map(|name| (work("r", name), NO_DELAY));
            queue.add(works.into()).unwrap();
            let (names, works) = take(&queue, 1).await;
            assert_eq!(names, ["a"]);
            settle(&queue, works, Settled::Again(Duration::from_secs(5)));
            let (names, works) = take(&queue, 9).await;
            assert_eq!(names, ["b", "c"]);
            settle(&queue, works, Settled::Done);
            assert!(
                tokio::time::timeout(Duration::from_secs(3), queue.next(9, Duration::ZERO)).await.is_err()
            );
            clock.advance(Duration::from_secs(5));
            let (names, works) = take(&queue, 9).await;
            assert_eq!((names, works[0].0.attempts), (vec!["a".to_owned()], 1));
        }
    }

    #[tokio::test]
    async fn what_was_not_settled_is_there_after_a_restart() {
        let scratch = tempfile::tempdir().unwrap();
        let (durable, clock) = (durable(&scratch.path().join("queue")), Clock::stopped());
        let open = || Queue::new(bounds(10, 1 << 20), Some(&durable), clock.clone()).unwrap();
        let queue = open();
        queue.add(["a", "b", "c", "d"].map(|name| (work("r", name), NO_DELAY)).into()).unwrap();
        let (_, mut works) = take(&queue, 3).await;
        settle(&queue, vec![works.remove(0)], Settled::Done);
        settle(&queue, vec![works.remove(0)], Settled::Dead("no".to_owned()));
        drop(queue);
        let queue = open();
        assert_eq!(queue.lengths(), (2, 1));
        assert_eq!(take(&queue, 9).await.0, ["c", "d"]);
        assert_eq!(queue.dead(0, 9).unwrap()[0].why, "no");
        queue.add(vec![(work("r", "e"), NO_DELAY)]).unwrap();
        assert_eq!(queue.revive(Which::All).unwrap(), 1);
        assert_eq!(take(&queue, 9).await.0, ["b", "e"], "by their numbers");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_collected_is_taken_together_once_the_first_is_due() {
        let clock = Clock::stopped();
        let queue = in_memory(&clock);
        let collected = Delay { debounce: Duration::from_secs(2) };
        queue.add(vec![(work("r", "a"), collected)]).unwrap();
        clock.advance(Duration::from_secs(1));
        queue.add(vec![(work("r", "b"), collected), (work("other", "c"), collected)]).unwrap();
        queue.add(vec![(work("third", "d"), NO_DELAY)]).unwrap();
        assert_eq!(take(&queue, 9).await.0, ["d"]);
        clock.advance(Duration::from_secs(1));
        assert_eq!(take(&queue, 9).await.0, ["a", "b"]);
        clock.advance(Duration::from_secs(1));
        assert_eq!(take(&queue, 9).await.0, ["c"]);
    }

    #[tokio::test(start_paused = true)]
    async fn of_what_is_collected_no_more_is_taken_at_once_than_may_be_and_the_rest_is_due() {
        let clock = Clock::stopped();
        let queue = in_memory(&clock);
        let collected = Delay { debounce: Duration::from_secs(2) };
        for name in ["a", "b", "c", "d", "e"] {
            queue.add(vec![(work("r", name), collected)]).unwrap();
            clock.advance(Duration::from_millis(100));
        }
        queue.add(vec![(work("other", "x"), collected)]).unwrap();
        clock.advance(Duration::from_millis(1500));
        assert_eq!(take(&queue, 2).await.0, ["a", "b"]);
        assert_eq!(take(&queue, 2).await.0, ["c", "d"]);
        assert_eq!(take(&queue, 2).await.0, ["e"], "the other rule's are not due yet");
    }

    #[tokio::test(start_paused = true)]
    async fn more_is_waited_for_where_that_is_wanted() {
        let queue = in_memory(&Clock::stopped());
        queue.add(vec![(work("r", "a"), NO_DELAY)]).unwrap();
        let (taken, ()) = tokio::join!(queue.next(3, Duration::from_secs(1)), async {
            sleep(Duration::from_millis(500)).await;
            queue.add(["b", "c", "d"].map(|name| (work("r", name), NO_DELAY)).into()).unwrap();
        });
        assert_eq!(taken.unwrap().len(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_clock_that_was_set_back_delays_nothing_for_longer_than_it_may_be() {
        let clock = Clock::stopped();
        let queue = in_memory(&clock);
        queue.add(vec![(work("r", "a"), Delay { debounce: Duration::from_secs(2) })]).unwrap();
        clock.rewind(Duration::from_secs(3600));
        assert_eq!(take(&queue, 9).await.0, ["a"]);
    }

    #[tokio::test]
    async fn a_full_queue_refuses_and_what_is_over_takes_no_more() {
        let by_bytes = Queue::new(bounds(1000, 1), None, Clock::stopped()).unwrap();
        let by_number = Queue::new(bounds(2, 1 << 20), None, Clock::stopped()).unwrap();
        // What comes together is taken together.
        by_number.add(["a", "b", "c"].map(|name| (work("r", name), NO_DELAY)).into()).unwrap();
        by_bytes.add(vec![(work("r", "a"), NO_DELAY)]).unwrap();
        for queue in [by_number, by_bytes] {
            let more = || queue.add(vec![(work("r", "x"), NO_DELAY)]);
            assert!(matches!(more(), Err(NotQueued::Full)));
            take(&queue, 9).await;
            more().unwrap();
            queue.close();
            assert!(matches!(more(), Err(NotQueued::Over)));
            assert_eq!(take(&queue, 9).await.0, ["x"], "it would be lost");
            assert!(queue.next(9, Duration::ZERO).await.is_none());
        }
    }
}
