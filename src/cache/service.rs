//! A request meets the store. A hit asks one question per room and goes one way: key, look-up, standing,
//! selection, reuse, serve. No await, no box; everything else is an errand for `fetch`.

use std::cell::Cell;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Method, Response};
use http_body::Body;
use smallvec::{SmallVec, smallvec};
use tokio::sync::Semaphore;
use tower::{Layer, Service};

use super::fill::FillRoom;
use super::flight::Flights;
use super::{fetch, partial, query, refresh, serve};
use crate::clock::{Clock, Timestamp};
use crate::exchange::{Answer, Cause, Outbound, Routed};
use crate::invalidation::{Invalidator, Log, Standing};
use crate::keys::{Key, KeyError};
use crate::layers::Early;
use crate::origin::{OriginBody, OriginError};
use crate::routes::{CacheRule, QueryRule, Ranges, Table};
use crate::semantics::{
    ClientDirectives, ForwardReason, NotStored, Reuse, Search, Terms, precondition, reuse, validation,
};
use crate::store::{Memory, Searches, Stored, Uses};
use crate::telemetry::Levels;

/// The rooms the cache asks.
#[derive(Debug)]
pub struct Rooms {
    /// What is stored.
    pub store: Arc<Memory>,
    /// What was invalidated.
    pub log: Arc<Log>,
    /// Carries out what unsafe methods invalidate.
    pub invalidator: Arc<Invalidator>,
    /// Which requests belong together.
    pub routes: Arc<Table>,
    /// Where to look for what answers several queries.
    pub searches: Searches,
    /// By what hosts the servers of each upstream may know themselves, as the plan numbers them.
    pub upstream_hosts: Vec<Vec<Box<str>>>,
    /// Of which upstreams the last that was heard was a failure, as the plan numbers them.
    pub failing: Vec<AtomicBool>,
    /// How often keys were asked for that have nothing stored.
    pub uses: Uses,
    /// What time it is.
    pub clock: Clock,
    /// The fetches that others may follow.
    pub flights: Flights,
    /// The memory of what is being fetched.
    pub fills: Arc<FillRoom>,
    /// Free places for unsafe requests. They run on without their clients, so no connection and no permit of
    /// [`admit`](crate::layers::admit) bounds them.
    pub unsafe_exchanges: Arc<Semaphore>,
}

/// Makes [`Cache`].
#[derive(Clone, Debug)]
pub struct CacheLayer {
    rooms: Arc<Rooms>,
}

impl CacheLayer {
    /// Caches in these rooms.
    pub fn new(rooms: Arc<Rooms>) -> Self {
        Self { rooms }
    }
}

impl<F> Layer<F> for CacheLayer {
    type Service = Cache<F>;

    fn layer(&self, forward: F) -> Cache<F> {
        Cache { forward, rooms: Arc::clone(&self.rooms) }
    }
}

/// See the [module](self).
#[derive(Clone, Debug)]
pub struct Cache<F> {
    forward: F,
    rooms: Arc<Rooms>,
}

impl<F> Service<Routed> for Cache<F>
where
    F: Service<Outbound, Response = Response<OriginBody>, Error = OriginError> + Clone + Send + 'static,
    F::Future: Send,
{
    type Response = Answer;
    type Error = Infallible;
    // Only an errand is boxed, and it waits for the origin anyway.
    type Future = Early;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // Whether the origin is ready matters to errands only, and they ask it themselves.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, routed: Routed) -> Self::Future {
        match self.rooms.look(&routed) {
            Look::Found(Found::Answer(mut answer)) => {
                if answer.as_stored.is_some() {
                    // The request is done with; the room of its fields is enough for those of the response.
                    let mut fields = routed.request.head.headers;
                    fields.clear();
                    *answer.response.headers_mut() = fields;
                }
                Early::now(answer)
            }
            Look::Found(Found::Behind { answer, stored, errand }) => {
                refresh::spawn(&self.rooms, self.forward.clone(), routed, &stored, errand);
                Early::now(answer)
            }
            Look::Found(Found::Errand(errand)) => {
                Early::Later(fetch::run(&self.rooms, self.forward.clone(), routed, errand))
            }
            Look::Query(rule) => {
                let (rooms, forward) = (Arc::clone(&self.rooms), self.forward.clone());
                Early::Later(Box::pin(async move { query::run(&rooms, forward, routed, rule).await }))
            }
        }
    }
}

thread_local! {
    /// Where keys are written to look something up: a hit keeps none.
    static TEXT: Cell<String> = const { Cell::new(String::new()) };
}

/// What looking led to.
#[expect(
    clippy::large_enum_variant,
    reason = "it is taken apart where it is made; a box would cost every hit"
)]
enum Look {
    Found(Found),
    /// Nothing can be looked up before the request's content is there.
    Query(QueryRule),
}

/// What was found.
pub(super) enum Found {
    Answer(Answer),
    /// Worth an errand that nobody waits for.
    Behind {
        answer: Answer,
        stored: Arc<Stored>,
        errand: Errand,
    },
    Errand(Errand),
}

/// Why the origin must be asked.
#[derive(Debug)]
pub(super) enum Errand {
    /// The cache takes no part: nothing is looked up, nothing stored.
    Pass {
        reason: ForwardReason,
        /// What else there is to say.
        detail: Option<NotStored>,
    },
    /// The answer may be stored under `key`.
    Fetch {
        reason: ForwardReason,
        key: Key,
        /// Worth asking after.
        candidates: Candidates,
        /// A beginning of it that is stored.
        part: Option<Arc<Stored>>,
    },
    /// It is put together from slices of so many bytes.
    Slices { reason: ForwardReason, size: u64 },
    /// What the request's `Range` asks for may be stored beside what lies under `key`.
    Part { reason: ForwardReason, key: Key },
}

/// Stored responses that the origin may confirm: the selected one, or, where none was, some that may hold for this
/// request as well.
pub(super) type Candidates = SmallVec<[Arc<Stored>; 1]>;

/// How many responses the origin is asked after at once: their tags go into one request head.
const MAX_CANDIDATES: usize = 8;

impl Rooms {
    /// What there is right now.
    pub fn levels(&self) -> Levels {
        Levels {
            stored: self.store.len(),
            stored_bytes: self.store.bytes(),
            fetches: self.flights.under_way(),
            waiting: self.flights.waiting(),
            filling_bytes: self.fills.taken_bytes(),
        }
    }

    /// Whether the cache takes part, and [what it finds](Self::find).
    fn look(&self, routed: &Routed) -> Look {
        let request = &routed.request.head;
        let Some(rule) = &routed.route.cache else {
            return Look::Found(Found::Errand(Errand::Pass { reason: ForwardReason::Bypass, detail: None }));
        };
        if let Err(reason) = participates(routed) {
            return match rule.query {
                Some(query) if request.method == Method::QUERY => Look::Query(query),
                _ => Look::Found(Found::Errand(Errand::Pass { reason, detail: None })),
            };
        }
        Look::Found(self.find(routed, rule, None))
    }

    /// Key, look-up, standing, selection, reuse. `content`: a QUERY's.
    pub(super) fn find(&self, routed: &Routed, rule: &CacheRule, content: Option<&Bytes>) -> Found {
        let mut text = TEXT.take();
        text.clear();
        let found = self.find_under(routed, rule, content, &mut text);
        TEXT.set(text);
        found.unwrap_or_else(|_| {
            let detail = Some(NotStored::KeyRejected);
            Found::Errand(Errand::Pass { reason: ForwardReason::Bypass, detail })
        })
    }

    /// The same; `text` is where the key is written.
    fn find_under(
        &self,
        routed: &Routed,
        rule: &CacheRule,
        content: Option<&Bytes>,
        text: &mut String,
    ) -> Result<Found, KeyError> {
        let request = &routed.request.head;
        let now = self.clock.now();
        self.write_key(routed, rule, now, text)?;
        if let Some(content) = content {
            Key::add_content(text, &request.headers, content);
        }
        if let Some(slice) = routed.slice {
            Key::add_slice(text, slice);
        }
        // A hit needs no more of it.
        let key = || rule.key.key_of(Arc::from(text.as_str()), &routed.key_input(now));
        let variants = self.store.get(text);
        let (selected, exist) = match &variants {
            Some(variants) => self.select(variants.stored(), routed),
            None => (None, false),
        };
        let terms = selected.map(|stored| self.terms(stored, now));
        let directives = match rule.policy.client_directives {
            // There are none.
            ClientDirectives::Obey if routed.request.is_plain => ClientDirectives::Ignore,
            directives => directives,
        };
        let verdict = match &terms {
            Some(_) if routed.request.cause == Cause::Refresh => Reuse::Validate(ForwardReason::Request),
            None if routed.request.cause == Cause::Refresh => Reuse::Forward(ForwardReason::UriMiss),
            terms => reuse::reuse(terms.as_ref(), exist, &request.method, &request.headers, directives, now),
        };
        Ok(match verdict {
            verdict @ (Reuse::Serve | Reuse::ServeStale) => {
                let (Some(stored), Some(terms)) = (selected, &terms) else {
                    let candidates = smallvec![];
                    return Ok(Found::Errand(Errand::Fetch {
                        reason: ForwardReason::Miss,
                        key: key()?,
                        candidates,
                        part: None,
                    }));
                };
                let answer = serve::hit(stored, terms, routed, now);
                if verdict == Reuse::Serve && !terms.is_to_be_refreshed(now) {
                    return Ok(Found::Answer(answer));
                }
                behind(answer, stored, key()?)
            }
            Reuse::Validate(ForwardReason::Stale)
                if let (Some(stored), Some(terms)) = (selected, &terms)
                    && self.is_failing(routed)
                    && reuse::on_error(terms, ForwardReason::Stale, now) =>
            {
                behind(serve::instead_of_failure(stored, routed, now, None), stored, key()?)
            }
            Reuse::Validate(reason) => {
                let candidates = selected.cloned().into_iter().collect();
                Found::Errand(Errand::Fetch { reason, key: key()?, candidates, part: None })
            }
            Reuse::Forward(reason) if routed.slice.is_some() => Found::Errand(Errand::Fetch {
                reason,
                key: key()?,
                candidates: Candidates::new(),
                part: None,
            }),
            Reuse::Forward(reason) => {
                if let Ranges::Slices(size) = rule.ranges
                    && request.method == Method::GET
                {
                    return Ok(Found::Errand(Errand::Slices { reason, size }));
                }
                let key = key()?;
                let part = self.find_part(routed, rule, &key, now);
                // Where the whole cannot be had once for all, nothing is gained by asking for it.
                let is_forwarded =
                    || rule.ranges == Ranges::Forward || self.flights.is_unshared(&key.text, now);
                if partial::wants_part(routed) && is_forwarded() {
                    let answer = part.as_deref().and_then(|part| partial::hit(part, routed, now));
                    let reason = if part.is_some() { ForwardReason::Partial } else { reason };
                    return Ok(answer.map_or(Found::Errand(Errand::Part { reason, key }), Found::Answer));
                }
                let offered = variants.as_ref().filter(|_| rule.policy.liberal);
                let candidates = offered.map(|variants| self.candidates(variants.stored(), routed));
                let reason = if part.is_some() { ForwardReason::Partial } else { reason };
                Found::Errand(Errand::Fetch { reason, key, candidates: candidates.unwrap_or_default(), part })
            }
            Reuse::Refuse => Found::Answer(serve::only_if_cached(routed)),
        })
    }

    /// The terms of a stored response, as they stand.
    pub(super) fn terms(&self, stored: &Stored, now: Timestamp) -> Terms {
        match stored.standing() {
            Standing::Usable | Standing::Dead => stored.response.terms,
            Standing::Softened => stored.response.terms.run_out(now),
        }
    }

    /// Whether the last that was heard of the origin was a failure: then nobody waits for the next one.
    fn is_failing(&self, routed: &Routed) -> bool {
        self.failing.get(routed.route.upstream).is_some_and(|failing| failing.load(Ordering::Relaxed))
    }

    /// The origin has answered, or failed to.
    pub(super) fn has_failed(&self, routed: &Routed, failed: bool) {
        if let Some(failing) = self.failing.get(routed.route.upstream)
            && failing.load(Ordering::Relaxed) != failed
        {
            failing.store(failed, Ordering::Relaxed);
        }
    }

    /// Of variants that this request does not select, the latest that the origin may confirm for it.
    fn candidates(&self, variants: &[Arc<Stored>], routed: &Routed) -> Candidates {
        let headers = &routed.request.head.headers;
        let worth_asking = |stored: &&Arc<Stored>| {
            validation::may_be_confirmed_for(&stored.response, headers) && stored.standing() != Standing::Dead
        };
        variants.iter().rev().filter(worth_asking).take(MAX_CANDIDATES).cloned().collect()
    }

    /// Stores a response, unless an invalidation has overtaken its fetch, which must still be under way.
    pub(super) fn keep(&self, stored: Arc<Stored>) {
        if stored.settle() == Standing::Dead {
            return;
        }
        self.store.insert(Arc::clone(&stored));
        // An invalidation that came in between has found nothing to remove, and will not be remembered for ever.
        if stored.settle() == Standing::Dead {
            self.store.retain(&stored.key, |kept| kept.standing() != Standing::Dead);
        }
    }

    /// Of the variants that no invalidation has condemned, the one this request selects (RFC 9111 §4.1: the
    /// most recent, if several), and whether there was any.
    pub(super) fn select<'v>(
        &self,
        variants: &'v [Arc<Stored>],
        routed: &Routed,
    ) -> (Option<&'v Arc<Stored>>, bool) {
        let headers = &routed.request.head.headers;
        let mut exist = false;
        let mut selected: Option<&Arc<Stored>> = None;
        for stored in variants {
            let answers = |search: &Search| search.answers(routed.request.head.uri.query());
            if stored.standing() == Standing::Dead || !stored.response.search.as_deref().is_none_or(answers) {
                continue;
            }
            exist = true;
            let received = stored.response.terms.received_at;
            if stored.response.selecting.selects(headers)
                && selected.is_none_or(|other| other.response.terms.received_at <= received)
            {
                selected = Some(stored);
            }
        }
        (selected, exist)
    }
}

/// The answer is there, and the origin is asked after it.
fn behind(answer: Answer, stored: &Arc<Stored>, key: Key) -> Found {
    let candidates = smallvec![Arc::clone(stored)];
    let errand = Errand::Fetch { reason: ForwardReason::Stale, key, candidates, part: None };
    Found::Behind { answer, stored: Arc::clone(stored), errand }
}

/// Whether a request may be answered from the cache or fill it; if not, why.
pub(super) fn participates(routed: &Routed) -> Result<(), ForwardReason> {
    let request = &routed.request.head;
    if routed.request.is_plain {
        reuse::understood(&request.method)?;
    } else {
        reuse::cacheable_request(&request.method, &request.headers)?;
    }
    // A body on a GET means nothing to HTTP, and may mean something to the app.
    if !routed.request.body.is_end_stream() {
        return Err(ForwardReason::Bypass);
    }
    // Conditions on writing are for the origin to judge.
    if !routed.request.is_plain && precondition::forwards(&request.headers) {
        return Err(ForwardReason::Request);
    }
    Ok(())
}

impl Routed {
    /// The `cache:` block of the route, where there is one.
    pub(super) fn rule(&self) -> Option<&CacheRule> {
        self.route.cache.as_ref()
    }
}
