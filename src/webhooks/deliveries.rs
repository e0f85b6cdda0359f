//! Which deliveries have been done already, so that a retry or a replay does nothing twice.
//!
//! A delivery is remembered only once its work is done: a sender that retries what failed must not be told that it
//! succeeded. Bounded in number; the oldest is forgotten first, and after its hook's time anyway.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::Timestamp;

/// How many deliveries of one hook are remembered.
const CAPACITY: usize = 100_000;

/// The deliveries of one hook.
#[derive(Debug)]
pub(super) struct Deliveries {
    keep: Duration,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// `None` while the work is under way.
    by_id: HashMap<Box<str>, Option<Timestamp>>,
    in_order: VecDeque<(Timestamp, Box<str>)>,
}

/// What is known of a delivery.
#[derive(Debug)]
pub(super) enum Seen<'d> {
    /// Never; the work may begin.
    New(Underway<'d>),
    /// Another delivery of the same id is being worked on right now.
    Underway,
    /// It has been done.
    Done,
}

/// The right to do a delivery's work. Dropped without [`done`](Self::done), it is as if it had never come.
#[derive(Debug)]
pub(super) struct Underway<'d> {
    deliveries: &'d Deliveries,
    id: Box<str>,
    finished: bool,
}

impl Deliveries {
    pub(super) fn new(keep: Duration) -> Self {
        Self { keep, known: Mutex::default() }
    }

    pub(super) fn begin(&self, id: &str, now: Timestamp) -> Seen<'_> {
        let mut known = self.known();
        while known.in_order.front().is_some_and(|(done_at, _)| now.since(*done_at) > self.keep) {
            known.forget_oldest();
        }
        match known.by_id.get(id) {
            Some(Some(_)) => Seen::Done,
            Some(None) => Seen::Underway,
            None => {
                known.by_id.insert(id.into(), None);
                Seen::New(Underway { deliveries: self, id: id.into(), finished: false })
            }
        }
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
    pub(super) fn done(mut self, now: Timestamp) {
        self.finished = true;
        let mut known = self.deliveries.known();
        if known.in_order.len() >= CAPACITY {
            known.forget_oldest();
        }
        known.by_id.insert(self.id.clone(), Some(now));
        known.in_order.push_back((now, self.id.clone()));
    }
}

impl Drop for Underway<'_> {
    fn drop(&mut self) {
        if !self.finished {
            self.deliveries.known().by_id.remove(&self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_secs(seconds)
    }

    #[test]
    fn what_is_done_is_known_for_a_while() {
        let deliveries = Deliveries::new(DAY);
        let Seen::New(underway) = deliveries.begin("a", at(0)) else { panic!("never seen") };
        assert!(matches!(deliveries.begin("a", at(0)), Seen::Underway));
        underway.done(at(1));
        assert!(matches!(deliveries.begin("a", at(86_401)), Seen::Done));
        assert!(matches!(deliveries.begin("a", at(86_402)), Seen::New(_)));
    }

    #[test]
    fn what_failed_may_be_tried_again() {
        let deliveries = Deliveries::new(DAY);
        drop(deliveries.begin("a", at(0)));
        assert!(matches!(deliveries.begin("a", at(0)), Seen::New(_)));
    }

    #[test]
    fn memory_is_bounded() {
        let deliveries = Deliveries::new(DAY);
        for number in 0..CAPACITY + 10 {
            if let Seen::New(underway) = deliveries.begin(&number.to_string(), at(0)) {
                underway.done(at(0));
            }
        }
        assert_eq!(deliveries.known().by_id.len(), CAPACITY);
    }
}
