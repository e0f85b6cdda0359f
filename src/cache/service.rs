//! A request meets the store. A hit asks one question per room and goes one way: key, look-up, standing,
//! selection, reuse, serve. No await, no box; everything else is an errand for `fetch`.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::header::RANGE;
use http::{Method, Response};
use http_body::Body;
use tokio::sync::Semaphore;
use tower::{Layer, Service};

use super::{fetch, query, serve};
use crate::clock::{Clock, Timestamp};
use crate::exchange::{Answer, Outbound, Routed};
use crate::invalidation::{Invalidator, Log, Standing};
use crate::keys::{Key, KeyInput};
use crate::layers::Early;
use crate::origin::{OriginBody, OriginError};
use crate::routes::{CacheRule, QueryRule, Table};
use crate::semantics::{ForwardReason, NotStored, Reuse, precondition, reuse};
use crate::store::{Memory, Stored, Variants};

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
    /// What time it is.
    pub clock: Clock,
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
    type Future = Early<Pin<Box<dyn Future<Output = Result<Answer, Infallible>> + Send>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // Whether the origin is ready matters to errands only, and they ask it themselves.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, routed: Routed) -> Self::Future {
        match self.rooms.look(&routed) {
            Look::Answer(answer) => Early::now(answer),
            Look::Errand(errand) => {
                let (rooms, forward) = (Arc::clone(&self.rooms), self.forward.clone());
                Early::later(Box::pin(async move { Ok(fetch::run(&rooms, forward, routed, errand).await) }))
            }
            Look::Query(rule) => {
                let (rooms, forward) = (Arc::clone(&self.rooms), self.forward.clone());
                Early::later(Box::pin(async move { Ok(query::run(&rooms, forward, routed, rule).await) }))
            }
        }
    }
}

/// What looking led to.
#[expect(
    clippy::large_enum_variant,
    reason = "it is taken apart where it is made; a box would cost every hit"
)]
enum Look {
    Answer(Answer),
    Errand(Errand),
    /// Nothing can be looked up before the request's content is there.
    Query(QueryRule),
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
        /// Still worth validating.
        stored: Option<Arc<Stored>>,
    },
}

impl Rooms {
    /// Whether the cache takes part, and [what it finds](Self::find).
    fn look(&self, routed: &Routed) -> Look {
        let request = &routed.request.head;
        let Some(rule) = &routed.route.cache else {
            return Look::Errand(Errand::Pass { reason: ForwardReason::Bypass, detail: None });
        };
        if let Err(reason) = participates(routed) {
            return match rule.query {
                Some(query) if request.method == Method::QUERY => Look::Query(query),
                _ => Look::Errand(Errand::Pass { reason, detail: None }),
            };
        }
        match self.find(routed, rule, None) {
            Ok(answer) => Look::Answer(answer),
            Err(errand) => Look::Errand(errand),
        }
    }

    /// Key, look-up, standing, selection, reuse. `content`: a QUERY's.
    pub(super) fn find(
        &self,
        routed: &Routed,
        rule: &CacheRule,
        content: Option<&[u8]>,
    ) -> Result<Answer, Errand> {
        let request = &routed.request.head;
        let now = self.clock.now();
        let Ok(mut key) = rule.key.key(&key_input(routed, now)) else {
            let detail = Some(NotStored::KeyRejected);
            return Err(Errand::Pass { reason: ForwardReason::Bypass, detail });
        };
        if let Some(content) = content {
            key = key.with_content(&request.headers, content);
        }
        let variants = self.store.get(&key.text);
        let (selected, exist) = match &variants {
            Some(variants) => self.select(variants, routed),
            None => (None, false),
        };
        let response = selected.map(|stored| &stored.response);
        let directives = rule.policy.client_directives;
        match reuse::reuse(response, exist, &request.method, &request.headers, directives, now) {
            Reuse::Serve => match selected {
                Some(stored) => Ok(serve::hit(stored, routed, now)),
                None => Err(Errand::Fetch { reason: ForwardReason::Miss, key, stored: None }),
            },
            Reuse::Validate(reason) => Err(Errand::Fetch { reason, key, stored: selected.cloned() }),
            Reuse::Forward(reason) => Err(Errand::Fetch { reason, key, stored: None }),
            Reuse::Refuse => Ok(serve::only_if_cached(routed)),
        }
    }

    /// Stores a response, unless an invalidation has overtaken its fetch.
    pub(super) fn keep(&self, stored: Arc<Stored>) {
        let is_dead = |stored: &Stored| stored.carried.standing(&self.log) == Standing::Dead;
        if is_dead(&stored) {
            return;
        }
        self.store.insert(Arc::clone(&stored));
        // An invalidation that came in between has found nothing to remove. Nobody would be served this, but it
        // would take room.
        if is_dead(&stored) {
            self.store.retain(&stored.key.text, |kept| !is_dead(kept));
        }
    }

    /// Of the variants that no invalidation has condemned, the one this request selects (RFC 9111 §4.1: the
    /// most recent, if several), and whether there was any.
    fn select<'v>(&self, variants: &'v Variants, routed: &Routed) -> (Option<&'v Arc<Stored>>, bool) {
        let headers = &routed.request.head.headers;
        let mut exist = false;
        let mut selected: Option<&Arc<Stored>> = None;
        for stored in &variants.stored {
            if stored.carried.standing(&self.log) == Standing::Dead {
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

/// Whether a request may be answered from the cache or fill it; if not, why.
fn participates(routed: &Routed) -> Result<(), ForwardReason> {
    let request = &routed.request.head;
    reuse::cacheable_request(&request.method, &request.headers)?;
    // A body on a GET means nothing to HTTP, and may mean something to the app.
    if !routed.request.body.is_end_stream() {
        return Err(ForwardReason::Bypass);
    }
    // Ranges are made by the origin; conditions on writing are for it to judge.
    if request.headers.contains_key(RANGE) || precondition::forwards(&request.headers) {
        return Err(ForwardReason::Request);
    }
    Ok(())
}

/// What the key is built from.
pub(super) fn key_input(routed: &Routed, now: Timestamp) -> KeyInput<'_> {
    let request = &routed.request;
    KeyInput {
        method: &request.head.method,
        scheme: request.scheme.as_str(),
        host: &request.host,
        path: request.head.uri.path(),
        query: request.head.uri.query(),
        headers: &request.head.headers,
        captures: &routed.captures,
        client: request.client,
        now,
    }
}

impl Routed {
    /// The `cache:` block of the route, where there is one.
    pub(super) fn rule(&self) -> Option<&CacheRule> {
        self.route.cache.as_ref()
    }
}
