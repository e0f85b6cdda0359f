//! Flights: one fetch at a time for a key, and for a variant once it is known; whoever asks for the same meanwhile follows.
//!
//! A flight is a task of its own. The request that caused it is only its first follower: its client may leave, and nobody
//! else is stranded. A follower attaches at any moment, before the head or in mid-body, and gets every byte from the first.
//!
//! It shares a response only if its own request may reuse it ([`Sharing::suits`](super::landing::Sharing::suits)), and only if no invalidation that came
//! before it condemns the response: it carries the position of the log at its own arrival. Whoever may not share is released
//! and looks again. What nobody may share, the one who caused it keeps; all others are released together, and for a while
//! the key is *unshared*: the next crowd does not queue for what it would not get.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::{HeaderMap, HeaderName, Method, Response};
use moka::sync::Cache;
use smallvec::SmallVec;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};
use tower::Service;

use super::fetch::{self, Quest};
use super::fill::{Audience, Seat, Step};
use super::landing::Landed;
use super::receive;
use super::service::Rooms;
use crate::clock::Timestamp;
use crate::exchange::{Answer, Cause, Outbound, Routed};
use crate::invalidation::{Carried, Position, Standing, Subject};
use crate::keys::Key;
use crate::origin::{OriginBody, OriginError};
use crate::routes::{CacheRule, Collapse};
use crate::semantics::{ClientDirectives, ForwardReason, RequestDirectives};

/// How much is remembered of keys that nobody can share, in bytes.
const UNSHARED_BYTES: u64 = 4 * 1024 * 1024;

/// What such a key costs beside its text.
const UNSHARED_OVERHEAD_BYTES: usize = 100;

const SHARDS: usize = 64;

type Hasher = foldhash::fast::RandomState;

/// The fetches under way that others may follow.
#[derive(Debug)]
pub struct Flights {
    shards: Box<[Mutex<Shard>]>,
    hasher: Hasher,
    /// Until when a key is not worth waiting for.
    unshared: Cache<Arc<str>, Timestamp, Hasher>,
    /// Free places for fetches that need no client.
    free: Arc<Semaphore>,
    max_flights: usize,
    stopped: watch::Sender<bool>,
    waiting: Arc<AtomicU64>,
}

type Shard = HashMap<Arc<str>, SmallVec<[Arc<Flight>; 1]>, Hasher>;

/// A fetch under way.
#[derive(Debug)]
pub(super) struct Flight {
    key: Arc<str>,
    /// The URL of the request that caused it.
    host: Arc<str>,
    target: Box<str>,
    /// Its fields.
    asked: HeaderMap,
    /// Those of them that the response's `Vary` probably names: what is stored under the key says so.
    selecting: Vec<HeaderName>,
    /// What is known of the response before it is there, as of a moment before its fetch began.
    known: Carried,
    landed: watch::Sender<Option<Landed>>,
    audience: Audience,
    /// Places for followers that have waited for too long.
    alone: Arc<Semaphore>,
}

/// A place in a flight.
#[derive(Debug)]
pub(super) struct Follower {
    flight: Arc<Flight>,
    landed: watch::Receiver<Option<Landed>>,
    seat: Seat,
    /// Where the log stood when it came.
    arrival: Position,
    waiting: Waiting,
}

/// One of those who wait, until it is dropped.
#[derive(Debug)]
struct Waiting(Arc<AtomicU64>);

impl Waiting {
    fn new(count: &Arc<AtomicU64>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(count))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How a request goes on.
#[derive(Debug)]
pub(super) enum Entry {
    /// It causes a flight.
    Lead(Leader),
    /// There is one for it.
    Follow(Follower),
    /// By itself: there is no use in waiting for others, or none in others waiting for it.
    Alone,
}

/// A flight that nobody flies yet.
#[derive(Debug)]
pub(super) struct Leader {
    flight: Arc<Flight>,
    place: OwnedSemaphorePermit,
    collapse: Collapse,
}

/// Why a follower goes on without its flight.
#[derive(Debug)]
pub(super) enum Released {
    /// What it brought is not for this request, or for nobody but the one who caused it.
    Unsuited,
    /// It takes too long. The permit is given back once the follower has its answer.
    Overdue(OwnedSemaphorePermit),
}

impl Flights {
    /// At most `max_flights` at once.
    pub fn new(max_flights: usize) -> Self {
        let weigh = |key: &Arc<str>, _: &Timestamp| {
            u32::try_from(key.len() + UNSHARED_OVERHEAD_BYTES).unwrap_or(u32::MAX)
        };
        let unshared = Cache::builder().max_capacity(UNSHARED_BYTES).weigher(weigh);
        let max_flights = max_flights.min(Semaphore::MAX_PERMITS);
        Self {
            max_flights,
            stopped: watch::Sender::new(false),
            waiting: Arc::default(),
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: Hasher::default(),
            unshared: unshared.build_with_hasher(Hasher::default()),
            free: Arc::new(Semaphore::new(max_flights)),
        }
    }

    /// Ends all of them: there is no client left.
    pub(crate) fn stop(&self) {
        self.stopped.send_replace(true);
    }

    /// Ready once they are stopped.
    async fn stopped(&self) {
        // The sender is never gone before.
        let _ = self.stopped.subscribe().wait_for(|stopped| *stopped).await;
    }

    /// The fetches that need no client.
    pub(super) fn under_way(&self) -> u64 {
        (self.max_flights - self.free.available_permits().min(self.max_flights)) as u64
    }

    /// The requests that wait for another's fetch.
    pub(super) fn waiting(&self) -> u64 {
        self.waiting.load(Ordering::Relaxed)
    }

    /// A place for a fetch that needs no client, if there is one.
    pub(super) fn place(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.free).try_acquire_owned().ok()
    }

    /// Whether nobody can share what lies under this key.
    pub(super) fn is_unshared(&self, key: &str, now: Timestamp) -> bool {
        self.unshared.get(key).is_some_and(|until| now < until)
    }

    /// What came for a key could be shared.
    pub(super) fn remember_shared(&self, key: &str) {
        if self.unshared.contains_key(key) {
            self.unshared.invalidate(key);
        }
    }

    fn shard(&self, key: &str) -> MutexGuard<'_, Shard> {
        let shard = &self.shards[self.hasher.hash_one(key) as usize % self.shards.len()];
        // Nothing that holds this lock can panic half-way through a change.
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remove(&self, flight: &Arc<Flight>) {
        let mut shard = self.shard(&flight.key);
        if let Some(flights) = shard.get_mut(&flight.key) {
            flights.retain(|other| !Arc::ptr_eq(other, flight));
            if flights.is_empty() {
                shard.remove(&flight.key);
            }
        }
    }

    /// Ends a flight that nobody follows any more. `false`: somebody has just come.
    fn abandon(&self, flight: &Arc<Flight>) -> bool {
        let shard = self.shard(&flight.key);
        if !flight.audience.is_empty() {
            return false;
        }
        drop(shard);
        self.remove(flight);
        flight.audience.is_empty()
    }
}

impl Rooms {
    /// How a request goes on that the store has no answer for.
    pub(super) fn enter(&self, routed: &Routed, rule: &CacheRule, quest: &Quest) -> Entry {
        let Some(collapse) = &rule.collapse else { return Entry::Alone };
        let now = self.clock.now();
        let key = &quest.key.text;
        if self.flights.is_unshared(key, now) {
            return Entry::Alone;
        }
        // Read before the flights are looked at: what is invalidated later cannot have been meant to reach this request.
        let arrival = self.log.head();
        let mut shard = self.flights.shard(key);
        if !wants_the_origins_word(routed, rule)
            && let Some(flights) = shard.get(key)
            && let Some(flight) = flights.iter().find(|flight| flight.takes(routed, rule, arrival, now))
        {
            let (landed, seat) = (flight.landed.subscribe(), flight.audience.seat());
            return Entry::Follow(Follower {
                flight: Arc::clone(flight),
                landed,
                seat,
                arrival,
                waiting: Waiting::new(&self.flights.waiting),
            });
        }
        // The answer to a HEAD is no answer to a GET.
        if routed.request.head.method == Method::HEAD {
            return Entry::Alone;
        }
        let Some(place) = self.flights.place() else { return Entry::Alone };
        let flight = Arc::new(Flight {
            key: Arc::clone(key),
            host: Arc::clone(&routed.request.host),
            target: routed.url().1.into(),
            asked: routed.request.head.headers.clone(),
            selecting: self.probably_selecting(&quest.key),
            known: self
                .log
                .carry(&self.log.begin_fetch(), receive::tags(routed, rule, &quest.key, &HeaderMap::new())),
            landed: watch::Sender::new(None),
            audience: Audience::default(),
            alone: Arc::new(Semaphore::new(collapse.parallel)),
        });
        shard.entry(Arc::clone(key)).or_default().push(Arc::clone(&flight));
        Entry::Lead(Leader { flight, place, collapse: *collapse })
    }

    /// The fields that selected what is stored under a key.
    fn probably_selecting(&self, key: &Key) -> Vec<HeaderName> {
        let Some(variants) = self.store.peek(&key.text) else { return Vec::new() };
        let mut names: Vec<_> =
            variants.stored().iter().flat_map(|stored| stored.response.selecting.names().cloned()).collect();
        names.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
        names.dedup();
        names
    }
}

/// Whoever does, gets it: a fetch that has begun before does not tell it (RFC 9111 §5.2.1.4).
fn wants_the_origins_word(routed: &Routed, rule: &CacheRule) -> bool {
    let obeyed = rule.policy.client_directives == ClientDirectives::Obey;
    routed.request.cause == Cause::Refresh
        || obeyed && RequestDirectives::of(&routed.request.head.headers).no_cache()
}

impl Flight {
    /// Whether a request may follow it, as far as that is known.
    fn takes(&self, routed: &Routed, rule: &CacheRule, arrival: Position, now: Timestamp) -> bool {
        match &*self.landed.borrow() {
            None => {
                let headers = &routed.request.head.headers;
                let same =
                    |name: &HeaderName| headers.get_all(name).iter().eq(self.asked.get_all(name).iter());
                let subject = || Subject { url: Some((&self.host, &self.target)), ..Subject::default() };
                self.known.standing_of(subject) == Standing::Usable && self.selecting.iter().all(same)
            }
            Some(Landed::Filling(sharing)) => sharing.is_open() && sharing.suits(routed, rule, arrival, now),
            // It is over.
            Some(_) => false,
        }
    }
}

impl Leader {
    /// The same, for nobody: it goes on though its answer is not read.
    pub(super) fn behind(mut self) -> Self {
        self.collapse.outlive_client = true;
        self
    }

    /// Flies. The first answer is the caller's, who need not wait for it.
    pub(super) fn fly<F>(self, rooms: &Arc<Rooms>, forward: F, routed: Arc<Routed>, quest: Quest) -> First
    where
        F: Service<Outbound, Response = Response<OriginBody>, Error = OriginError> + Clone + Send + 'static,
        F::Future: Send,
    {
        let (own, answer) = oneshot::channel();
        let first = First { answer, _seat: self.flight.audience.seat() };
        let mut collapse = self.collapse;
        // Who cancels a command wants nothing more to be fetched for it.
        collapse.outlive_client &= routed.request.cause == Cause::Client;
        let task = Task { rooms: Arc::clone(rooms), flight: self.flight, _place: self.place, collapse };
        let rooms = Arc::clone(rooms);
        tokio::spawn(async move {
            tokio::select! {
                () = task.run(forward, routed, quest, own) => {}
                () = rooms.flights.stopped() => {}
            }
        });
        first
    }
}

/// The answer for the request that caused a flight.
#[derive(Debug)]
pub(super) struct First {
    answer: oneshot::Receiver<Answer>,
    _seat: Seat,
}

impl First {
    /// `None`: the flight has crashed.
    pub(super) async fn answer(self) -> Option<Answer> {
        self.answer.await.ok()
    }
}

/// A flight in the air. However it ends, nobody waits for it any more.
struct Task {
    rooms: Arc<Rooms>,
    flight: Arc<Flight>,
    collapse: Collapse,
    _place: OwnedSemaphorePermit,
}

impl Task {
    async fn run<F>(self, forward: F, routed: Arc<Routed>, quest: Quest, own: oneshot::Sender<Answer>)
    where
        F: Service<Outbound, Response = Response<OriginBody>, Error = OriginError> + Clone,
    {
        let Self { rooms, flight, .. } = &self;
        let Some(rule) = routed.rule() else { return };
        let outcome = tokio::select! {
            outcome = fetch::ask(rooms, forward, &routed, rule, &quest, &flight.audience) => outcome,
            () = self.deserted() => return,
        };
        let shared = outcome.is_for_others();
        if shared {
            rooms.flights.remember_shared(&flight.key);
        } else if outcome.speaks_for_others() {
            self.remember_unshared();
        }
        let landed = if shared { outcome.landed(&quest) } else { Landed::Alone };
        let (answer, pump) = outcome.own(rooms, &routed, rule, &quest, flight.audience.seat());
        let Some(mut pump) = pump else {
            self.land(landed);
            let _ = own.send(answer);
            return;
        };
        pump.outlives = self.collapse.outlive_client;
        let mut step = pump.start().await;
        self.land(landed);
        // If its client has left, the answer is dropped here, and with it a reader that would hold up the others.
        let _ = own.send(answer);
        while step != Step::Over {
            if step == Step::GaveUp {
                rooms.flights.remove(flight);
                self.remember_unshared();
            }
            if step == Step::Deserted && rooms.flights.abandon(flight) {
                return;
            }
            step = pump.step().await;
        }
    }

    fn remember_unshared(&self) {
        let until = self.rooms.clock.now().plus(self.collapse.unshared_for);
        self.rooms.flights.unshared.insert(Arc::clone(&self.flight.key), until);
    }

    /// Those who wait get what they may have of it.
    fn land(&self, landed: Landed) {
        self.flight.landed.send_replace(Some(landed));
    }

    /// Ready once the last follower has left; never if the flight outlives them.
    async fn deserted(&self) {
        loop {
            if self.collapse.outlive_client {
                return std::future::pending().await;
            }
            self.flight.audience.left().await;
            if self.rooms.flights.abandon(&self.flight) {
                return;
            }
        }
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.rooms.flights.remove(&self.flight);
        self.flight.landed.send_if_modified(|landed| {
            let crashed = landed.is_none();
            if crashed {
                *landed = Some(Landed::Alone);
            }
            crashed
        });
    }
}

impl Follower {
    /// The answer that the flight brings for this request too.
    pub(super) async fn answer(
        self,
        rooms: &Rooms,
        routed: &Routed,
        rule: &CacheRule,
        wait: Duration,
        reason: ForwardReason,
    ) -> Result<Answer, Released> {
        let Self { flight, mut landed, seat, arrival, waiting } = self;
        let is_there = |landed: &Option<Landed>| landed.is_some();
        let in_time = tokio::select! {
            biased;
            there = landed.wait_for(is_there) => there.ok().and_then(|landed| landed.clone()),
            place = overdue(wait, &flight.alone) => return Err(Released::Overdue(place)),
        };
        drop(waiting);
        // Without a landing the flight has crashed.
        let Some(landed) = in_time else { return Err(Released::Unsuited) };
        landed.answer(rooms, routed, rule, arrival, reason, seat).ok_or(Released::Unsuited)
    }
}

/// A place for a follower that has waited for so long.
async fn overdue(wait: Duration, alone: &Arc<Semaphore>) -> OwnedSemaphorePermit {
    tokio::time::sleep(wait).await;
    match Arc::clone(alone).acquire_owned().await {
        Ok(place) => place,
        // It is never closed.
        Err(_) => std::future::pending().await,
    }
}
