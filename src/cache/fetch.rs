//! Asking the origin, and what becomes of its answer.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{IF_RANGE, RANGE};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, Method, Response, StatusCode, Uri};
use tokio::sync::OwnedSemaphorePermit;
use tower::{Service, ServiceExt};

use super::fill::{Audience, Pump};
use super::flight::{Entry, Released};
use super::freshen::Confirmation;
use super::landing::{Confirmed, Kept, Outcome, Passed};
use super::pending::Pending;
use super::service::{Candidates, Errand, Found};
use super::{Rooms, body_tags, change, partial, receive, serve, slices};
use crate::clock::Timestamp;
use crate::exchange::{Answer, AnswerBody, CacheWord, Note, Outbound, RequestBody, Routed};
use crate::invalidation::{Fetch, Standing};
use crate::keys::Key;
use crate::layers::Later;
use crate::origin::{OriginBody, OriginError};
use crate::respond::Failure;
use crate::routes::CacheRule;
use crate::semantics::storing::Exchanged;
use crate::semantics::targeted::{self, SURROGATE_CONTROL};
use crate::semantics::{
    CacheStatus, ForwardReason, NotStored, StoredResponse, fields, method, reuse, validation,
};
use crate::store::Stored;

/// Runs an errand: there is always an answer. Each kind has a box that is as large as it needs.
pub(super) fn run<F>(rooms: &Arc<Rooms>, forward: F, routed: Routed, errand: Errand) -> Later
where
    F: Service<Outbound, Response = Response<OriginBody>, Error = OriginError> + Clone + Send + 'static,
    F::Future: Send,
{
    let rooms = Arc::clone(rooms);
    match errand {
        Errand::Pass { reason, .. } if !method::is_safe(&routed.request.head.method) => {
            Box::pin(change::run(rooms, forward, routed, reason))
        }
        Errand::Pass { reason, detail } => Box::pin(pass(rooms, forward, routed, reason, detail)),
        Errand::Part { reason, key } => {
            Box::pin(async move { partial::fetch(&rooms, forward, &routed, reason, key).await })
        }
        Errand::Slices { reason, size } => {
            Box::pin(async move { slices::run(&rooms, forward, routed, reason, size).await })
        }
        Errand::Fetch { reason, key, candidates, part } => {
            let (routed, quest) = (Arc::new(routed), Quest { reason, key, candidates, part });
            Box::pin(async move { carry_out(&rooms, forward, &routed, quest).await })
        }
    }
}

/// Fetches, together with others if that can be.
pub(super) async fn carry_out<F>(
    rooms: &Arc<Rooms>,
    forward: F,
    routed: &Arc<Routed>,
    mut quest: Quest,
) -> Answer
where
    F: Service<Outbound, Response = Response<OriginBody>, Error = OriginError> + Clone + Send + 'static,
    F::Future: Send,
{
    if let Some(rule) = routed.rule().filter(|rule| rule.min_uses > 1) {
        rooms.uses.add(&quest.key.text, rule.min_uses);
    }
    match together(rooms, forward.clone(), routed, &mut quest).await {
        Ok(answer) => answer,
        Err(place) => alone(rooms, forward, routed, &quest, place).await,
    }
}

/// How often a request is released from a flight before it waits for no other.
const MAX_FLIGHTS: usize = 3;

/// Fetches together with those who ask for the same at the same time; or says that it is better done alone, and gives a place
/// to be held meanwhile.
async fn together<F>(
    rooms: &Arc<Rooms>,
    forward: F,
    routed: &Arc<Routed>,
    quest: &mut Quest,
) -> Result<Answer, Option<OwnedSemaphorePermit>>
where
    F: Service<Outbound, Response = Response<OriginBody>, Error = OriginError> + Clone + Send + 'static,
    F::Future: Send,
{
    let Some((rule, collapse)) = routed.rule().and_then(|rule| Some((rule, rule.collapse?))) else {
        return Err(None);
    };
    for _ in 0..MAX_FLIGHTS {
        match rooms.enter(routed, rule, quest) {
            Entry::Alone => return Err(None),
            Entry::Lead(leader) => {
                let first = leader.fly(rooms, forward.clone(), Arc::clone(routed), quest.clone());
                let crashed =
                    || serve::failed(&Failure::Crashed, routed, CacheWord::Miss, Some(quest.reason));
                return Ok(first.answer().await.unwrap_or_else(crashed));
            }
            Entry::Follow(follower) => {
                match follower.answer(rooms, routed, rule, collapse.wait, quest.reason).await {
                    Ok(answer) => return Ok(answer),
                    Err(Released::Overdue(place)) => return Err(Some(place)),
                    Err(Released::Unsuited) => {}
                }
            }
        }
        // What is stored may be another thing by now.
        match rooms.find(routed, rule, routed.keyed_content().as_ref()) {
            Found::Answer(answer) | Found::Behind { answer, .. } => return Ok(answer),
            Found::Errand(Errand::Fetch { reason, key, candidates, part }) => {
                *quest = Quest { reason, key, candidates, part };
            }
            // Of what cannot be had once for all only the part.
            Found::Errand(Errand::Part { reason, key }) => {
                return Ok(partial::fetch(rooms, forward, routed, reason, key).await);
            }
            Found::Errand(_) => break,
        }
    }
    Err(None)
}

/// Fetches for this request. `place`: held until its answer has begun.
pub(super) async fn alone<F>(
    rooms: &Arc<Rooms>,
    forward: F,
    routed: &Routed,
    quest: &Quest,
    place: Option<OwnedSemaphorePermit>,
) -> Answer
where
    F: Service<Outbound, Response = Response<OriginBody>, Error = OriginError> + Clone,
{
    let Some(rule) = routed.rule() else {
        return serve::failed(&Failure::NoRoute, routed, CacheWord::Bypass, None);
    };
    let audience = Audience::default();
    let outcome = ask(rooms, forward, routed, rule, quest, &audience).await;
    drop(place);
    own(rooms, routed, rule, quest, outcome, &audience)
}

/// The answer for the one request that an outcome is of.
pub(super) fn own(
    rooms: &Rooms,
    routed: &Routed,
    rule: &CacheRule,
    quest: &Quest,
    outcome: Outcome,
    audience: &Audience,
) -> Answer {
    if outcome.is_for_others() {
        rooms.flights.remember_shared(&quest.key.text);
    }
    let (answer, pump) = outcome.own(rooms, routed, rule, quest, audience.seat());
    if let Some(pump) = pump {
        pump.spawn(rooms);
    }
    answer
}

/// Forwards a request the cache takes no part in.
async fn pass<F>(
    rooms: Arc<Rooms>,
    mut forward: F,
    mut routed: Routed,
    reason: ForwardReason,
    detail: Option<NotStored>,
) -> Answer
where
    F: Service<Outbound, Response = Response<OriginBody>, Error = OriginError>,
{
    let body = std::mem::replace(&mut routed.request.body, RequestBody::empty());
    let outbound = outbound(&routed, routed.request.head.headers.clone(), body);
    let asked = match forward.ready().await {
        Ok(ready) => ready.call(outbound).await,
        Err(error) => Err(error),
    };
    let response = match asked {
        Ok(response) => response,
        Err(error) => return origin_failed(&error, &routed, CacheWord::Bypass, reason),
    };
    let (head, body) = response.into_parts();
    let fields = receive::fields(head.headers, rooms.clock.now());
    let note = passed(reason, head.status, detail);
    answer(&routed, head.status, fields, AnswerBody::origin(body), note)
}

/// What there is to say of a response that was passed on.
pub(super) fn passed(reason: ForwardReason, status: StatusCode, detail: Option<NotStored>) -> Note {
    let status = CacheStatus {
        hit: false,
        forward: Some(reason),
        forward_status: Some(status),
        ttl_secs: None,
        stored: false,
        collapsed: false,
        detail: detail.map(NotStored::as_str),
    };
    Note { word: CacheWord::Bypass, status, age_secs: None, cached_at: None, reset_at: None }
}

/// What is fetched, and why.
#[derive(Clone, Debug)]
pub(super) struct Quest {
    pub(super) reason: ForwardReason,
    pub(super) key: Key,
    pub(super) candidates: Candidates,
    /// A beginning of it that is stored.
    pub(super) part: Option<Arc<Stored>>,
}

/// Asks for a response that may be stored, or whether a stored one still holds.
pub(super) async fn ask<F>(
    rooms: &Arc<Rooms>,
    forward: F,
    routed: &Routed,
    rule: &CacheRule,
    quest: &Quest,
    audience: &Audience,
) -> Outcome
where
    F: Service<Outbound, Response = Response<OriginBody>, Error = OriginError> + Clone,
{
    let selected = quest.selected();
    let (mut candidates, mut part) = (quest.candidates.clone(), quest.part.clone());
    // Why the whole is not stored, once that is known.
    let mut refused = None;
    loop {
        // Before the request is sent: what is invalidated from now on condemns the answer.
        let fetch = rooms.log.begin_fetch();
        // Looked at again, since a purge may have come between the look-up and now: a body that is confirmed
        // by the origin becomes as new as this fetch, so it must have been usable when the fetch began.
        candidates.retain(|stored| stored.standing() != Standing::Dead);
        let requested_at = rooms.clock.now();
        // The answer is for whoever asks next, too, so this client's conditions are judged here.
        let mut headers = routed.request.head.headers.clone();
        let named = candidates.iter().map(|stored| &stored.response);
        if !validation::make_conditional(named, &mut headers) {
            // What cannot be validated is fetched anew.
            candidates.clear();
        }
        part.take_if(|part| part.standing() == Standing::Dead || !partial::ask_for_rest(part, &mut headers));
        body_tags::restrict_coding(rule, &mut headers);
        if let Some(slice) = routed.slice {
            headers.insert(RANGE, slice.to_range());
        } else if refused.is_some() {
            for name in [RANGE, IF_RANGE] {
                if let Some(value) = routed.request.head.headers.get(&name) {
                    headers.insert(name, value.clone());
                }
            }
        }
        // A QUERY has its content, read and in the key; nothing else that comes here has any.
        let content = routed.request.body.copy().unwrap_or_else(RequestBody::empty);
        let mut outbound = outbound(routed, headers, content);
        leave_out_what_the_key_does(rule, &mut outbound.request.head.uri);
        let response = forward.clone().oneshot(outbound).await;
        let received_at = rooms.clock.now();
        let failed = match &response {
            Ok(response) if !reuse::is_failure(response.status()) => None,
            Ok(response) => Some(Some(response.status())),
            Err(_) => Some(None),
        };
        rooms.has_failed(routed, failed.is_some());
        if let (Some(status), Some(stored)) = (failed, selected)
            && reuse::on_error(&rooms.terms(stored, received_at), quest.reason, received_at)
            && stored.standing() != Standing::Dead
        {
            if let Err(error) = &response {
                tell_failure(error, routed);
            }
            return Outcome::Stale(Arc::clone(stored), status);
        }
        let response = match response {
            Ok(response) => response,
            Err(error) => {
                tell_failure(&error, routed);
                return Outcome::Failed(Arc::new(error));
            }
        };
        let (head, body) = response.into_parts();
        let fields = receive::fields(head.headers, received_at);
        let exchanged = Exchanged { requested_at, received_at };
        let received = Received { status: head.status, fields, body, exchanged };
        if let Some(part) = part.take_if(|_| is_part_or_none(received.status)) {
            match partial::complete(rooms, routed, rule, quest, &part, received, fetch, audience) {
                Some(outcome) => return outcome,
                // It cannot be completed: asked again, for the whole.
                None => continue,
            }
        }
        if received.status == StatusCode::NOT_MODIFIED && !candidates.is_empty() {
            let named = candidates.iter().map(|stored| &stored.response);
            let Some(index) = validation::confirmed(named, &received.fields) else {
                // It speaks of something that is not stored (RFC 9111 §4.3.4): asked again, without conditions.
                candidates.clear();
                continue;
            };
            let stored = candidates.remove(index);
            return confirmed(rooms, routed, rule, quest, stored, received, &fetch);
        }
        if let Some(stored) = candidates.first().filter(|_| quest.is_for_selected())
            && routed.request.head.method == Method::HEAD
            && received.status == StatusCode::OK
        {
            let Received { ref fields, exchanged, .. } = received;
            let key = &quest.key;
            Confirmation { rooms, routed, rule, key, fields, exchanged, fetch: &fetch }.heed_head(stored);
        }
        let mut outcome = keep(rooms, routed, rule, quest, received, fetch, audience);
        if let Outcome::Passed(passed) = &mut outcome {
            if passed.status == StatusCode::OK
                && refused.is_none()
                && routed.slice.is_none()
                && partial::wants_part(routed)
            {
                // The whole is for nobody else, and may be large: this client gets what it wants.
                (refused, candidates, part) = (Some(passed.why), Candidates::new(), None);
                continue;
            }
            passed.why = refused.unwrap_or(passed.why);
        }
        return outcome;
    }
}

/// What an origin answers to a request for a part: that part, or that there is none.
fn is_part_or_none(status: StatusCode) -> bool {
    matches!(status, StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE)
}

/// A response from the origin.
pub(super) struct Received {
    pub(super) status: StatusCode,
    pub(super) fields: HeaderMap,
    pub(super) body: OriginBody,
    pub(super) exchanged: Exchanged,
}

/// A response to be stored, if it may be.
pub(super) fn keep(
    rooms: &Arc<Rooms>,
    routed: &Routed,
    rule: &CacheRule,
    quest: &Quest,
    received: Received,
    fetch: Fetch,
    audience: &Audience,
) -> Outcome {
    let Received { status, fields, body, exchanged } = received;
    let method = &routed.request.head.method;
    let is_slice = routed.slice.is_some() && status == StatusCode::PARTIAL_CONTENT;
    let storable = if is_slice {
        partial::storable(rooms, routed, rule, &fields, &body, exchanged)
    } else {
        receive::storable(method, routed, rule, status, &fields, exchanged).and_then(|storable| {
            receive::fits(&body, &fields, rule, rooms.store.limits())?;
            Ok(storable)
        })
    };
    let response = match storable {
        Ok(response) => response,
        Err(why) => {
            let received_at = exchanged.received_at;
            return Outcome::Passed(Box::new(Passed { status, fields, body, why, received_at }));
        }
    };
    let carried = rooms.log.carry(&fetch, receive::tags(routed, rule, &quest.key, &fields));
    // An origin that knows of no ranges sends the whole.
    let key = match routed.slice {
        Some(_) if is_slice => quest.key.clone(),
        Some(_) => quest.key.for_whole(),
        None => rooms.key_stated(routed, rule, &response, quest.key.clone()),
    };
    let pending = Pending::new(rooms, (routed, rule), key, response, carried, fetch);
    let pump = Pump::of(rooms, Bytes::new(), body, audience);
    let often = rule.min_uses <= 1 || rooms.uses.count(&quest.key.text) >= rule.min_uses;
    let stored = if often { Ok(()) } else { Err(NotStored::MinUses) };
    Outcome::Kept(Box::new(Kept::new(status, fields, quest.word(), pump, pending, stored)))
}

/// The origin has confirmed a stored response, for this request and for those that come.
fn confirmed(
    rooms: &Rooms,
    routed: &Routed,
    rule: &CacheRule,
    quest: &Quest,
    stored: Arc<Stored>,
    received: Received,
    fetch: &Fetch,
) -> Outcome {
    let Received { fields, exchanged, .. } = received;
    let confirmation =
        Confirmation { rooms, routed, rule, key: &quest.key, fields: &fields, exchanged, fetch };
    let freshened = confirmation.freshen(&stored);
    confirmation.freshen_others();
    let (stored, kept) = match freshened {
        Ok(fresh) => (fresh, Ok(())),
        Err(why) => (stored, Err(why)),
    };
    Outcome::Confirmed(Box::new(Confirmed { stored, kept, fields, received_at: exchanged.received_at }))
}

impl Quest {
    pub(super) fn word(&self) -> CacheWord {
        if self.is_for_selected() { CacheWord::Refresh } else { CacheWord::Miss }
    }

    /// Whether something was selected; if not, the candidates are others.
    fn is_for_selected(&self) -> bool {
        matches!(self.reason, ForwardReason::Stale | ForwardReason::Request)
    }

    /// What the request selects of what is stored, and the origin is asked after.
    fn selected(&self) -> Option<&Arc<Stored>> {
        self.candidates.first().filter(|_| self.is_for_selected())
    }

    /// What there is to say once the origin has answered.
    pub(super) fn note(
        &self,
        status: StatusCode,
        stored: Result<&StoredResponse, NotStored>,
        now: Timestamp,
    ) -> Note {
        fetched(self.word(), self.reason, status, stored, now)
    }
}

/// What there is to say of a response that may have been stored.
pub(super) fn fetched(
    word: CacheWord,
    reason: ForwardReason,
    status: StatusCode,
    stored: Result<&StoredResponse, NotStored>,
    now: Timestamp,
) -> Note {
    let terms = stored.ok().map(|response| &response.terms);
    Note {
        word,
        status: CacheStatus {
            hit: false,
            forward: Some(reason),
            forward_status: Some(status),
            ttl_secs: terms.map(|terms| terms.ttl_secs(now)),
            stored: stored.is_ok(),
            collapsed: false,
            detail: stored.err().map(NotStored::as_str),
        },
        age_secs: None,
        cached_at: terms.map(|terms| terms.received_at),
        reset_at: terms.map(|terms| terms.expires_at()),
    }
}

/// What is stored is a response to GET, also when it was a HEAD that asked whether it still holds; or to a QUERY.
pub(super) fn stored_method(routed: &Routed) -> &Method {
    if routed.request.head.method == Method::QUERY { &Method::QUERY } else { &Method::GET }
}

/// The request as it goes to the origin.
pub(super) fn outbound(routed: &Routed, headers: HeaderMap, body: RequestBody) -> Outbound {
    Outbound {
        request: routed.request.with(headers, body),
        upstream: routed.route.upstream,
        heeds_surrogate_control: targets(routed).contains(&SURROGATE_CONTROL),
    }
}

/// Of the target's query the origin sees what the key has.
pub(super) fn leave_out_what_the_key_does(rule: &CacheRule, target: &mut Uri) {
    let Some(query) = target.query().filter(|query| !rule.key.has_all_of(query)) else { return };
    let keyed = rule.key.keyed_query(query);
    let path = target.path();
    let text = keyed.map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"));
    // Parts of a target make a target.
    if let Ok(shorter) = PathAndQuery::try_from(text) {
        *target = shorter.into();
    }
}

/// The targeted fields that are heard.
fn targets(routed: &Routed) -> &[HeaderName] {
    routed.rule().map(|rule| &*rule.policy.targeted_fields).unwrap_or_default()
}

pub(super) fn tell_failure(error: &OriginError, routed: &Routed) {
    tracing::warn!(
        route = %routed.route.name,
        error = error as &dyn std::error::Error,
        "the origin gave nothing usable"
    );
}

pub(super) fn origin_failed(
    error: &OriginError,
    routed: &Routed,
    word: CacheWord,
    reason: ForwardReason,
) -> Answer {
    tell_failure(error, routed);
    serve::failed(&Failure::Origin(error), routed, word, Some(reason))
}

pub(super) fn answer(
    routed: &Routed,
    status: StatusCode,
    fields: HeaderMap,
    body: AnswerBody,
    note: Note,
) -> Answer {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = fields::without_where(fields, |name| match routed.rule() {
        Some(rule) => rule.policy.ends_here(name),
        None => targeted::ends_here(name, &[]),
    });
    Answer::new(response, routed, note)
}
