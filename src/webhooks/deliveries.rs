//! Which deliveries have been done already, so that a retry or a replay does nothing twice.
//!
//! A delivery is remembered only once its work is done: a sender that retries what failed must not be told that it
//! succeeded. One that comes while another of the same id is being done waits for it, and does the work itself if that
//! one fails. Bounded in number and in bytes; the oldest is forgotten first, and after its hook's time anyway.

use std::collections::{HashMap, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::Timestamp;

/// How many deliveries of one hook are remembered.
const CAPACITY: usize = 100_000;

/// The deliveries of one hook.
#[derive(Debug)]
pub(super) struct Deliveries {
    keep: Duration,
    capacity: usize,
    known: Mutex<Known>,
    /// Something that was under way is not any more.
    settled: Condvar,
}

/// The digest of a delivery's id: ids are the sender's choice, and so is their length.
type Id = [u8; 32];

#[derive(Debug, Default)]
struct Known {
    by_id: HashMap<Id, State>,
    in_order: VecDeque<(Timestamp, Id)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Underway,
    Done,
}

/// The right to do a delivery's work. Dropped without [`done`](Self::done), it is as if it had never come.
#[derive(Debug)]
#[must_use]
pub(super) struct Underway<'d> {
    deliveries: &'d Deliveries,
    id: Id,
}

impl Deliveries {
    pub(super) fn new(keep: Duration) -> Self {
        Self { keep, capacity: CAPACITY, known: Mutex::default(), settled: Condvar::new() }
    }

    /// The right to do the work, or `None` if it has been done. Blocks while it is being done.
    pub(super) fn begin(&self, id: &str, now: Timestamp) -> Option<Underway<'_>> {
        let id = *blake3::hash(id.as_bytes()).as_bytes();
        let mut known = self.known();
        while known.by_id.get(&id) == Some(&State::Underway) {
            known = self.settled.wait(known).unwrap_or_else(PoisonError::into_inner);
        }
        while known.in_order.front().is_some_and(|(done_at, _)| now.since(*done_at) > self.keep) {
            known.forget_oldest();
        }
        if known.by_id.contains_key(&id) {
            return None;
        }
        known.by_id.insert(id, State::Underway);
        Some(Underway { deliveries: self, id })
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // Nothing that holds this lock can panic half-way through a change.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn forget_oldest(&mut self) {
        if let Some((_, id)) = self.in_order.pop_front() {
            self.by_id.remove(&id);
        }
    }
}

impl Underway<'_> {
    /// The work is done: from now on the id is known.
    pub(super) fn done(self, now: Timestamp) {
        let mut known = self.deliveries.known();
        if known.in_order.len() >= self.deliveries.capacity {
            known.forget_oldest();
        }
        known.by_id.insert(self.id, State::Done);
        known.in_order.push_back((now, self.id));
    }
}

impl Drop for Underway<'_> {
    fn drop(&mut self) {
        let mut known = self.deliveries.known();
        if known.by_id.get(&self.id) == Some(&State::Underway) {
            known.by_id.remove(&self.id);
        }
        drop(known);
        self.deliveries.settled.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    const DAY: Duration = Duration::from_secs(86_400);

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_secs(seconds)
    }

    #[test]
    fn what_is_done_is_known_for_a_while() {
        let deliveries = Deliveries::new(DAY);
        deliveries.begin("a", at(0)).unwrap().done(at(1));
        assert!(deliveries.begin("a", at(86_401)).is_none());
        assert!(deliveries.begin("b", at(86_401)).is_some());
        assert!(deliveries.begin("a", at(86_402)).is_some());
    }

    #[test]
    fn a_clock_that_runs_backwards_forgets_nothing() {
        let deliveries = Deliveries::new(DAY);
        deliveries.begin("a", at(500_000)).unwrap().done(at(500_000));
        assert!(deliveries.begin("a", at(0)).is_none());
    }

    #[test]
    fn what_failed_may_be_tried_again() {
        let deliveries = Deliveries::new(DAY);
        drop(deliveries.begin("a", at(0)));
        deliveries.begin("a", at(0)).unwrap().done(at(0));
        assert!(deliveries.begin("a", at(0)).is_none());
    }

    #[test]
    fn a_duplicate_waits_and_does_the_work_itself_if_the_first_fails() {
        for first_succeeds in [true, false] {
            let deliveries = Deliveries::new(DAY);
            let first = deliveries.begin("a", at(0)).unwrap();
            let (sender, answers) = channel();
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    let second = deliveries.begin("a", at(0));
                    sender.send(second.map(|underway| underway.done(at(0))).is_none()).unwrap();
                });
                let early = answers.recv_timeout(Duration::from_millis(100));
                if first_succeeds {
                    first.done(at(0));
                } else {
                    drop(first);
                }
                assert!(early.is_err(), "an answer before the work was done");
                assert_eq!(answers.recv(), Ok(first_succeeds));
            });
            assert!(deliveries.begin("a", at(0)).is_none());
        }
    }

    #[test]
    fn memory_is_bounded_and_the_oldest_goes_first() {
        let deliveries = Deliveries { capacity: 3, ..Deliveries::new(DAY) };
        for id in ["a", "b", "c", "d"] {
            deliveries.begin(id, at(0)).unwrap().done(at(0));
        }
        assert_eq!(deliveries.known().by_id.len(), 3);
        assert_eq!(deliveries.known().in_order.len(), 3);
        assert!(deliveries.begin("b", at(0)).is_none());
        assert!(deliveries.begin("a", at(0)).is_some());
    }
}
