//! A warm-up as it goes: what is asked for, how far it is, and what is told of it.
//!
//! Every URL comes to one [`Outcome`], and `done` is the sum of them. Reasons are told in the words of `Cache-Status`
//! where the cache has any, else in a sentence.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::clock::Timestamp;

/// How many failures are told one by one.
const TOLD: usize = 50;

/// How much of a URL is told, in bytes.
const TOLD_URL_BYTES: usize = 2048;

/// What somebody wants to be warm.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    /// Absolute URLs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub urls: Vec<String>,
    /// The URL of a sitemap, or of an index of sitemaps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sitemap: Option<String>,
    /// Fields of every request.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// Requests at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<usize>,
}

/// What became of a URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It was fetched or confirmed, and is stored now.
    Warmed,
    /// It was stored before.
    Already,
    /// It was answered, and not stored. Why not, in a word of `Cache-Status`.
    NotStored(&'static str),
    /// It was not answered, or with an error.
    Failed(String),
}

/// How a warm-up stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// The sitemaps are being read.
    Reading,
    /// The URLs are being requested.
    Running,
    /// All has been requested.
    Done,
    /// It was ended before its end: by somebody, or because the server stops.
    Cancelled,
}

impl State {
    /// Whether nothing more will happen.
    pub fn is_over(self) -> bool {
        matches!(self, State::Done | State::Cancelled)
    }
}

/// What is told of a warm-up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Its number, since the server was started.
    pub id: u64,
    /// How it stands.
    pub state: State,
    /// When it began, in UTC.
    pub started_at: String,
    /// When it was over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<String>,
    /// Sitemaps read.
    pub sitemaps: u64,
    /// URLs to be requested, as far as they are known. A sitemap that cannot be read is one of them.
    pub total: u64,
    /// URLs that came to an end: the sum of the next four.
    pub done: u64,
    /// Stored now.
    pub warmed: u64,
    /// Stored before.
    pub already: u64,
    /// Answered, but not stored.
    pub not_stored: u64,
    /// Not answered, or with an error.
    pub failed: u64,
    /// URLs and sitemaps beyond what one warm-up may have.
    pub left_out: u64,
    /// Why what is not stored is not, by the words of `Cache-Status`.
    pub reasons: BTreeMap<String, Reason>,
    /// The first few that failed.
    pub failures: Vec<Failure>,
}

/// Why something is not stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// How many URLs.
    pub count: u64,
    /// One of them.
    pub such_as: String,
}

/// A URL that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The URL as it was given.
    pub url: String,
    /// Why.
    pub reason: String,
}

/// One warm-up.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) id: u64,
    progress: Mutex<Progress>,
    cancelled: watch::Sender<bool>,
}

impl Job {
    pub(super) fn new(id: u64, now: Timestamp) -> Self {
        let progress = Progress {
            id,
            state: State::Reading,
            started_at: now.iso8601().to_string(),
            ended_at: None,
            sitemaps: 0,
            total: 0,
            done: 0,
            warmed: 0,
            already: 0,
            not_stored: 0,
            failed: 0,
            left_out: 0,
            reasons: BTreeMap::new(),
            failures: Vec::new(),
        };
        Self { id, progress: Mutex::new(progress), cancelled: watch::Sender::new(false) }
    }

    pub(super) fn progress(&self) -> Progress {
        self.lock().clone()
    }

    pub(super) fn is_over(&self) -> bool {
        self.lock().state.is_over()
    }

    /// Ends it, unless it has ended.
    pub(super) fn cancel(&self, now: Timestamp) {
        self.end(State::Cancelled, now);
        self.cancelled.send_replace(true);
    }

    /// Ready once it is cancelled.
    pub(super) async fn cancelled(&self) {
        // The sender is this job's: it is never gone before.
        let _ = self.cancelled.subscribe().wait_for(|cancelled| *cancelled).await;
    }

    /// A sitemap has been read.
    pub(super) fn read_sitemap(&self) {
        self.lock().sitemaps += 1;
    }

    /// A sitemap could not be read.
    pub(super) fn failed_sitemap(&self, url: &str, reason: String) {
        self.lock().total += 1;
        self.tell(url, Outcome::Failed(reason));
    }

    /// The URLs are known.
    pub(super) fn begin(&self, urls: u64, left_out: u64) {
        let mut progress = self.lock();
        progress.total += urls;
        progress.left_out = left_out;
        if progress.state == State::Reading {
            progress.state = State::Running;
        }
    }

    /// A URL has come to its end. After the end of all nothing counts any more.
    pub(super) fn tell(&self, url: &str, outcome: Outcome) {
        let mut progress = self.lock();
        if progress.state.is_over() {
            return;
        }
        progress.done += 1;
        match outcome {
            Outcome::Warmed => progress.warmed += 1,
            Outcome::Already => progress.already += 1,
            Outcome::NotStored(reason) => {
                progress.not_stored += 1;
                if let Some(known) = progress.reasons.get_mut(reason) {
                    known.count += 1;
                } else {
                    progress.reasons.insert(reason.to_owned(), Reason { count: 1, such_as: told(url) });
                }
            }
            Outcome::Failed(reason) => {
                progress.failed += 1;
                if progress.failures.len() < TOLD {
                    progress.failures.push(Failure { url: told(url), reason });
                }
            }
        }
    }

    pub(super) fn end(&self, state: State, now: Timestamp) {
        let mut progress = self.lock();
        if !progress.state.is_over() {
            progress.state = state;
            progress.ended_at = Some(now.iso8601().to_string());
        }
    }

    fn lock(&self) -> MutexGuard<'_, Progress> {
        // Counts are right after every line above.
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// As much of a URL as is told.
fn told(url: &str) -> String {
    match url.char_indices().find(|(at, character)| at + character.len_utf8() > TOLD_URL_BYTES) {
        Some((at, _)) => format!("{}…", &url[..at]),
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job() -> Job {
        let job = Job::new(7, Timestamp::from_secs(0));
        job.begin(9, 0);
        job
    }

    #[test]
    fn done_is_the_sum_of_the_outcomes() {
        let job = job();
        job.failed_sitemap("http://a/s", "no".to_owned());
        let outcomes = [Outcome::Warmed, Outcome::Warmed, Outcome::Already, Outcome::NotStored("private")];
        for outcome in outcomes {
            job.tell("http://a/", outcome);
        }
        job.tell("http://a/2", Outcome::NotStored("private"));
        let Progress { total, done, warmed, already, not_stored, failed, reasons, .. } = job.progress();
        assert_eq!((total, done, warmed, already, not_stored, failed), (10, 6, 2, 1, 2, 1));
        assert_eq!(reasons["private"], Reason { count: 2, such_as: "http://a/".to_owned() });
    }

    #[test]
    fn failures_are_counted_and_the_first_are_told() {
        let job = job();
        for number in 0..TOLD + 5 {
            job.tell(&number.to_string(), Outcome::Failed("no".to_owned()));
        }
        let Progress { failed, failures, .. } = job.progress();
        assert_eq!((failed, failures.len(), &*failures[0].url), (TOLD as u64 + 5, TOLD, "0"));
        let long = format!("x{}", "é".repeat(TOLD_URL_BYTES));
        assert_eq!(told(&long).len(), TOLD_URL_BYTES - 1 + "…".len());
        assert_eq!(told("é"), "é");
    }

    #[test]
    fn what_is_over_stays_as_it_was() {
        let job = job();
        job.tell("a", Outcome::Warmed);
        job.cancel(Timestamp::from_secs(1));
        job.tell("b", Outcome::Warmed);
        job.begin(1, 0);
        job.end(State::Done, Timestamp::from_secs(2));
        let Progress { state, done, ended_at, .. } = job.progress();
        assert_eq!((state, done, ended_at.as_deref()), (State::Cancelled, 1, Some("1970-01-01T00:00:01Z")));
    }
}
