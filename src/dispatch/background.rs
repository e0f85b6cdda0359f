//! A `background` dispatcher: the event is accepted when its work is queued, and done by so many workers, one after the other.
//!
//! What is queued is lost with the process. A queue that is full refuses: the sender tries again.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::task::{JoinError, JoinHandle, JoinSet};

use super::Means;
use crate::invalidation::event::Event;
use crate::invalidation::rule::Rule;

/// How much of it there is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackgroundSettings {
    /// Its name.
    pub name: Arc<str>,
    /// How many pieces of work wait at most.
    pub queue: usize,
    /// How many are done at once.
    pub workers: usize,
}

/// A rule, by its index, and the event that it heard.
#[derive(Debug)]
struct Work {
    rule: usize,
    event: Arc<Event>,
}

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Background {
    /// `None`: it is over.
    queue: Mutex<Option<Sender<Work>>>,
    working: Mutex<Option<JoinHandle<()>>>,
}

impl Background {
    /// Works in a task of its own.
    pub(super) fn start(settings: &BackgroundSettings, rules: &Arc<[Rule]>, means: &Arc<Means>) -> Self {
        let (queue, work) = mpsc::channel(settings.queue);
        let working = tokio::spawn(run(work, settings.workers, Arc::clone(rules), Arc::clone(means)));
        Self { queue: Mutex::new(Some(queue)), working: Mutex::new(Some(working)) }
    }

    /// `false`: it is full, or over.
    pub(super) fn add(&self, rule: usize, event: &Arc<Event>) -> bool {
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let work = Work { rule, event: Arc::clone(event) };
        queue.as_ref().is_some_and(|queue| queue.try_send(work).is_ok())
    }

    /// Takes no more, and ends when all is done.
    pub(super) async fn drain(&self) {
        drop(self.queue.lock().unwrap_or_else(PoisonError::into_inner).take());
        let working = self.working.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(working) = working {
            // It ends by itself.
            let _ = working.await;
        }
    }
}

/// Ends when nothing more can come and all is done.
async fn run(mut work: Receiver<Work>, workers: usize, rules: Arc<[Rule]>, means: Arc<Means>) {
    let mut working = JoinSet::new();
    loop {
        while working.len() >= workers {
            told(working.join_next().await);
        }
        let Some(Work { rule, event }) = work.recv().await else { break };
        let (rules, means) = (Arc::clone(&rules), Arc::clone(&means));
        // Counting may wait; not on a worker that serves.
        working.spawn_blocking(move || {
            if let Some(rule) = rules.get(rule) {
                super::carry_out(rule, &event, &means);
            }
        });
    }
    while let Some(done) = working.join_next().await {
        told(Some(done));
    }
}

fn told(done: Option<Result<(), JoinError>>) {
    if let Some(Err(error)) = done {
        tracing::error!(%error, "a rule's work was cut off");
    }
}
