//! Warming up: URLs are requested before their clients come, so that these find them stored; and what is stored is
//! refreshed by command, by the requests that led to it.
//!
//! Each URL is a request like a client's: it goes down the server's own [stack](crate::stack), never over the network
//! to itself, so routes, keys, rules and the access log are those of every other request. What came of it is what the
//! cache [notes](crate::exchange::Note).
//!
//! A request comes from the loopback address, and its scheme is the URL's. Clients come by `https` only where a trusted
//! proxy says so; where none is trusted, a URL of `https` fails with that reason, since nobody would ever find it.
//!
//! Bounded: jobs at once and remembered, URLs and their memory, requests at once, bytes and entries of sitemaps, how
//! long one request may take. Jobs end when the server drains.

mod job;
mod run;
pub mod sitemap;
mod urls;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::header::USER_AGENT;
use http::{HeaderMap, HeaderName, HeaderValue};

use self::job::Job;
pub use self::job::{Failure, Progress, Reason, State, Wanted};
use self::run::House;
use crate::clock::Clock;
use crate::config::{Plan, WarmLimits};
use crate::layers::claims;
use crate::stack::Stack;
use crate::store::Asked;

/// How many warm-ups there are at once.
const MAX_RUNNING: usize = 4;

/// How many that are over are remembered.
const MAX_REMEMBERED: usize = 16;

/// Requests at once, unless a warm-up says otherwise.
const CONCURRENCY: usize = 4;

/// Who the app sees, unless a warm-up says otherwise.
const AGENT: HeaderValue =
    HeaderValue::from_static(concat!("staleproof/", env!("CARGO_PKG_VERSION"), " (warm-up)"));

/// Why a warm-up does not begin; a sentence for whoever asked for it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Nothing is to be warm.
    #[error("there is nothing to warm: give \"urls\", a \"sitemap\", or both")]
    Nothing,
    /// Too many requests at once, or none.
    #[error("\"concurrency\" is from 1 to {max} here (admin.warm.max_concurrency)")]
    Concurrency {
        /// The most there may be.
        max: usize,
    },
    /// No such field can be sent.
    #[error("{0:?} is not a field, or its value is not one")]
    Field(String),
    /// This proxy writes the field itself.
    #[error("{0:?} cannot be given: it is for this proxy to write, by the URL")]
    Ours(String),
    /// Enough is under way.
    #[error("{MAX_RUNNING} warm-ups are under way: wait until one is over, or cancel one")]
    Busy,
    /// The server drains.
    #[error("the server is shutting down")]
    Stopping,
}

/// Carries out warm-ups, and tells of them.
#[derive(Debug)]
pub struct Warmer {
    house: Arc<House>,
    limits: WarmLimits,
    clock: Clock,
    jobs: Mutex<Jobs>,
}

#[derive(Debug, Default)]
struct Jobs {
    last_id: u64,
    /// In the order they began.
    known: VecDeque<Arc<Job>>,
    stopped: bool,
}

impl Warmer {
    /// Requests go down `stack`, which is the plan's.
    pub fn new(stack: Stack, plan: &Plan, clock: Clock) -> Self {
        let limits = plan.admin.warm;
        let house = House {
            stack,
            max_object_bytes: plan.memory.max_object_bytes,
            max_urls: limits.max_urls,
            has_https: !plan.server.trusted_proxies.is_empty(),
        };
        Self { house: Arc::new(house), limits, clock, jobs: Mutex::default() }
    }

    /// Begins a warm-up in a task of its own. `by`: who wants it, for the log.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub fn start(&self, wanted: Wanted, by: &str) -> Result<Progress, Refusal> {
        if wanted.urls.is_empty() && wanted.sitemap.is_none() {
            return Err(Refusal::Nothing);
        }
        let fields = fields(&wanted)?;
        let Wanted { urls, sitemap, concurrency, .. } = wanted;
        self.begin(run::What::Urls { urls, sitemap, fields }, concurrency, by)
    }

    /// The most requests of one warm-up.
    pub fn max_requests(&self) -> usize {
        self.limits.max_urls
    }

    /// Makes requests again that have led to stored responses, in this order: the origin is asked, whatever is stored.
    /// `others`: how many stored responses nobody but their clients can ask for.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub fn refresh(
        &self,
        requests: Vec<Arc<Asked>>,
        others: u64,
        concurrency: Option<usize>,
        by: &str,
    ) -> Result<Progress, Refusal> {
        self.begin(run::What::Stored { requests, others }, concurrency, by)
    }

    fn begin(&self, what: run::What, concurrency: Option<usize>, by: &str) -> Result<Progress, Refusal> {
        let max = self.limits.max_concurrency;
        let concurrency = concurrency.unwrap_or(CONCURRENCY.min(max));
        if !(1..=max).contains(&concurrency) {
            return Err(Refusal::Concurrency { max });
        }
        let job = self.lock().begin(&self.clock)?;
        let kind = what.kind();
        tracing::info!(by, job = job.id, kind, concurrency, "a warm-up begins");
        let progress = job.progress();
        let (house, clock) = (Arc::clone(&self.house), self.clock.clone());
        tokio::spawn(async move {
            tokio::select! {
                () = job.cancelled() => {}
                () = run::run(&job, &house, run::Errand { what, concurrency }) => {
                    job.end(State::Done, clock.now());
                }
            }
            let Progress { id, state, total, done, warmed, already, not_stored, failed, left_out, .. } =
                job.progress();
            tracing::info!(
                job = id,
                kind,
                ?state,
                total,
                done,
                warmed,
                already,
                not_stored,
                failed,
                left_out,
                "a warm-up is over"
            );
        });
        Ok(progress)
    }

    /// All that are known, in the order they began.
    pub fn list(&self) -> Vec<Progress> {
        self.lock().known.iter().map(|job| job.progress()).collect()
    }

    /// How one stands.
    pub fn get(&self, id: u64) -> Option<Progress> {
        self.lock().find(id).map(|job| job.progress())
    }

    /// Ends one, unless it has ended; what is under way of it is given up.
    pub fn cancel(&self, id: u64) -> Option<Progress> {
        let jobs = self.lock();
        let job = jobs.find(id)?;
        job.cancel(self.clock.now());
        Some(job.progress())
    }

    /// Ends all, and begins no more.
    pub fn stop(&self) {
        let mut jobs = self.lock();
        jobs.stopped = true;
        for job in &jobs.known {
            job.cancel(self.clock.now());
        }
    }

    fn lock(&self) -> MutexGuard<'_, Jobs> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Jobs {
    fn begin(&mut self, clock: &Clock) -> Result<Arc<Job>, Refusal> {
        if self.stopped {
            return Err(Refusal::Stopping);
        }
        let over = self.known.iter().filter(|job| job.is_over()).count();
        if self.known.len() - over >= MAX_RUNNING {
            return Err(Refusal::Busy);
        }
        if over > MAX_REMEMBERED
            && let Some(oldest) = self.known.iter().position(|job| job.is_over())
        {
            self.known.remove(oldest);
        }
        self.last_id += 1;
        let job = Arc::new(Job::new(self.last_id, clock.now()));
        self.known.push_back(Arc::clone(&job));
        Ok(job)
    }

    fn find(&self, id: u64) -> Option<&Arc<Job>> {
        self.known.iter().find(|job| job.id == id)
    }
}

/// The fields of every request.
fn fields(wanted: &Wanted) -> Result<HeaderMap, Refusal> {
    let mut fields = HeaderMap::new();
    fields.insert(USER_AGENT, AGENT);
    for (name, value) in &wanted.headers {
        let invalid = || Refusal::Field(name.clone());
        let field = HeaderName::from_bytes(name.as_bytes()).map_err(|_| invalid())?;
        if claims::is_ours(&field) {
            return Err(Refusal::Ours(name.clone()));
        }
        fields.insert(field, HeaderValue::from_str(value).map_err(|_| invalid())?);
    }
    Ok(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_those_that_a_client_could_send_and_a_url_does_not_say() {
        let of = |name: &str, value: &str| {
            let headers = [(name.to_owned(), value.to_owned())].into();
            fields(&Wanted { headers, ..Wanted::default() })
        };
        assert_eq!(of("Accept-Encoding", "gzip").unwrap()["accept-encoding"], "gzip");
        assert_eq!(of("user-agent", "me").unwrap()["user-agent"], "me");
        assert!(of("accept", "*/*").unwrap()["user-agent"].to_str().unwrap().contains("warm-up"));
        for name in ["Host", "x-forwarded-proto", "X_Forwarded_For", "content-length"] {
            assert_eq!(of(name, "x"), Err(Refusal::Ours(name.to_owned())));
        }
        for (name, value) in [("a b", "x"), ("", "x"), ("a", "x\ny")] {
            assert_eq!(of(name, value), Err(Refusal::Field(name.to_owned())));
        }
    }

    #[test]
    fn as_many_are_remembered_as_there_is_room_for() {
        let (mut jobs, clock) = (Jobs::default(), Clock::stopped());
        let first = jobs.begin(&clock).unwrap();
        for _ in 0..MAX_REMEMBERED + 10 {
            jobs.begin(&clock).unwrap().end(State::Done, clock.now());
        }
        assert_eq!(jobs.known.len(), MAX_REMEMBERED + 2, "one is not over, and one has just become so");
        assert!(jobs.find(first.id).is_some() && jobs.find(2).is_none());
        for _ in 1..MAX_RUNNING {
            jobs.begin(&clock).unwrap();
        }
        assert_eq!(jobs.begin(&clock).map(|job| job.id), Err(Refusal::Busy));
        first.cancel(clock.now());
        assert!(jobs.begin(&clock).is_ok());
    }
}
