//! Asking the origin, and what becomes of its answer.

use std::sync::Arc;

use http::uri::PathAndQuery;
use http::{HeaderMap, Method, Response, StatusCode};
use tower::{Service, ServiceExt};

use super::fill::{Fill, Pending};
use super::service::Errand;
use super::{Rooms, receive, serve};
use crate::clock::Timestamp;
use crate::exchange::{Answer, AnswerBody, CacheWord, Normalized, Note, Outbound, RequestBody, Routed};
use crate::invalidation::{Fetch, Standing};
use crate::keys::Key;
use crate::origin::{OriginBody, OriginError};
use crate::respond::Failure;
use crate::routes::CacheRule;
use crate::semantics::precondition::{self, Verdict};
use crate::semantics::storing::Exchanged;
use crate::semantics::{CacheStatus, ForwardReason, NotStored, StoredResponse, invalidation, validation};
use crate::store::Stored;
use crate::uri;

/// Runs an errand: there is always an answer.
pub(super) async fn run<F>(rooms: &Arc<Rooms>, forward: F, routed: Routed, errand: Errand) -> Answer
where
    F: Service<Outbound, Response = Response<OriginBody>, Error = OriginError> + Clone,
{
    match errand {
        Errand::Pass { reason, detail } => pass(rooms, forward, routed, reason, detail).await,
        Errand::Fetch { reason, key, stored } => {
            let word = if stored.is_some() { CacheWord::Refresh } else { CacheWord::Miss };
            fetch(rooms, forward, routed, Quest { reason, key, stored, word }).await
        }
    }
}

/// Forwards a request the cache takes no part in; an unsafe one invalidates what it may have changed.
async fn pass<F>(
    rooms: &Rooms,
    forward: F,
    mut routed: Routed,
    reason: ForwardReason,
    detail: Option<NotStored>,
) -> Answer
where
    F: Service<Outbound, Response = Response<OriginBody>, Error = OriginError>,
{
    let body = std::mem::replace(&mut routed.request.body, RequestBody::empty());
    let outbound = outbound(&routed, routed.request.head.headers.clone(), body);
    let response = match forward.oneshot(outbound).await {
        Ok(response) => response,
        Err(error) => return origin_failed(&error, &routed, CacheWord::Bypass, reason),
    };
    let (head, body) = response.into_parts();
    invalidate_changed(rooms, &routed, head.status, &head.headers).await;
    let fields = receive::fields(&head.headers, rooms.clock.now());
    let status = CacheStatus {
        hit: false,
        forward: Some(reason),
        forward_status: Some(head.status),
        ttl_secs: None,
        stored: false,
        detail: detail.map(NotStored::as_str),
    };
    let note = Note { word: CacheWord::Bypass, status, cached_at: None, reset_at: None };
    answer(&routed, head.status, fields, AnswerBody::Origin(body), note)
}

/// Invalidates what a successful unsafe request has changed (RFC 9111 §4.4). Before the answer goes out: whoever has
/// read that it was done never sees the old state again.
async fn invalidate_changed(rooms: &Rooms, routed: &Routed, status: StatusCode, fields: &HeaderMap) {
    let Normalized { head, host, .. } = &routed.request;
    let target = head.uri.path_and_query().map_or("/", PathAndQuery::as_str);
    let changed = invalidation::invalidated(&head.method, host, target, status, fields);
    if changed.is_empty() {
        return;
    }
    let (invalidator, host) = (Arc::clone(&rooms.invalidator), Arc::clone(host));
    let purge = move || {
        for uri in changed {
            let (path, query) = match uri.split_once('?') {
                Some((path, query)) => (path, Some(query)),
                None => (&*uri, None),
            };
            // What is no path is stored under no key.
            if let Ok(path) = uri::normalize_path(path) {
                invalidator.purge_resource(&host, &path, query);
            }
        }
    };
    // A large purge may be under way, and is waited for; not on a worker that serves.
    if let Err(error) = tokio::task::spawn_blocking(purge).await {
        tracing::error!(%error, "what an unsafe request changed was not invalidated");
    }
}

/// What is fetched, and why.
struct Quest {
    reason: ForwardReason,
    key: Key,
    stored: Option<Arc<Stored>>,
    word: CacheWord,
}

/// Fetches a response that may be stored, or asks whether the stored one still holds.
async fn fetch<F>(rooms: &Arc<Rooms>, forward: F, routed: Routed, mut quest: Quest) -> Answer
where
    F: Service<Outbound, Response = Response<OriginBody>, Error = OriginError> + Clone,
{
    let Some(rule) = routed.rule() else {
        return pass(rooms, forward, routed, ForwardReason::Bypass, None).await;
    };
    loop {
        // Before the request is sent: what is invalidated from now on condemns the answer.
        let fetch = rooms.log.begin_fetch();
        // Looked at again, since a purge may have come between the look-up and now: a body that is confirmed
        // by the origin becomes as new as this fetch, so it must have been usable when the fetch began.
        quest.stored.take_if(|stored| stored.carried.standing(&rooms.log) == Standing::Dead);
        let requested_at = rooms.clock.now();
        let mut headers = routed.request.head.headers.clone();
        // The answer is for whoever asks next, too, so this client's conditions are judged here.
        validation::strip_conditions(&mut headers);
        // What cannot be validated is fetched anew.
        quest.stored.take_if(|stored| !validation::make_conditional(&stored.response, &mut headers));
        let outbound = outbound(&routed, headers, RequestBody::empty());
        let response = match forward.clone().oneshot(outbound).await {
            Ok(response) => response,
            Err(error) => return origin_failed(&error, &routed, quest.word, quest.reason),
        };
        let exchanged = Exchanged { requested_at, received_at: rooms.clock.now() };
        let (head, body) = response.into_parts();
        let fields = receive::fields(&head.headers, exchanged.received_at);
        if head.status == StatusCode::NOT_MODIFIED
            && let Some(stored) = quest.stored.take()
        {
            if !validation::confirms(&stored.response, &fields) {
                // It speaks of something that is not stored (RFC 9111 §4.3.4): asked again, without conditions.
                continue;
            }
            return freshen(rooms, &routed, rule, &quest, &stored, &fields, exchanged, fetch);
        }
        let received = Received { status: head.status, fields, body, exchanged };
        return keep(rooms, &routed, rule, quest, received, fetch);
    }
}

/// A response from the origin.
struct Received {
    status: StatusCode,
    fields: HeaderMap,
    body: OriginBody,
    exchanged: Exchanged,
}

/// A response to be stored, if it may be; in any case streamed to the client.
fn keep(
    rooms: &Arc<Rooms>,
    routed: &Routed,
    rule: &CacheRule,
    quest: Quest,
    received: Received,
    fetch: Fetch,
) -> Answer {
    let Received { status, fields, body, exchanged } = received;
    let method = &routed.request.head.method;
    let storable = receive::storable(method, routed, rule, status, &fields, exchanged).and_then(|storable| {
        if body.is_close_delimited() {
            Err(NotStored::CloseDelimited)
        } else if receive::too_large(&fields, rooms.store.limits().max_object_bytes) {
            Err(NotStored::TooLarge)
        } else {
            Ok(storable)
        }
    });
    let response = match storable {
        Ok(response) => response,
        Err(why) => {
            let note = quest.note(status, Err(why), exchanged.received_at);
            return answer(routed, status, fields, AnswerBody::Origin(body), note);
        }
    };
    let note = quest.note(status, Ok(&response), exchanged.received_at);
    let verdict = precondition::evaluate(&response, &routed.request.head.headers);
    let carried = rooms.log.carry(&fetch, receive::tags(routed, rule, &quest.key, &fields));
    let rooms = Arc::clone(rooms);
    let fill = Fill::new(
        body,
        Pending { rooms, key: quest.key, response, carried, fetch, body: Vec::new(), trailers: None },
    );
    match verdict {
        Verdict::Send => answer(routed, status, fields, AnswerBody::Fill(Box::new(fill)), note),
        Verdict::NotModified => {
            // This client has it already; the next may not.
            tokio::spawn(fill.drain());
            let fields = precondition::not_modified_fields(&fields);
            answer(routed, StatusCode::NOT_MODIFIED, fields, AnswerBody::Empty, note)
        }
    }
}

/// The origin has confirmed the stored response: its fields are updated (RFC 9111 §4.3.4), its body stays.
#[expect(clippy::too_many_arguments, reason = "the parts of one exchange, each needed once")]
fn freshen(
    rooms: &Arc<Rooms>,
    routed: &Routed,
    rule: &CacheRule,
    quest: &Quest,
    stored: &Stored,
    not_modified: &HeaderMap,
    exchanged: Exchanged,
    fetch: Fetch,
) -> Answer {
    let fields = validation::freshened_fields(&stored.response.headers, not_modified);
    let now = exchanged.received_at;
    // What is stored is a response to GET, also when it was a HEAD that asked whether it still holds.
    match receive::storable(&Method::GET, routed, rule, stored.response.status, &fields, exchanged) {
        Ok(response) => {
            let note = quest.note(StatusCode::NOT_MODIFIED, Ok(&response), now);
            let carried = rooms.log.carry(&fetch, receive::tags(routed, rule, &quest.key, &fields));
            let fresh = Stored::new(quest.key.clone(), response, stored.body.clone(), carried);
            let fresh = Arc::new(fresh.with_trailers(stored.trailers.clone()));
            // The body is the old one. Had it lost a tag just now, an invalidation of that tag would not reach it any
            // more, though its fetch began before: such a response is not kept, but fetched anew next time.
            if stored.carried.cells.iter().all(|cell| fresh.carried.carries(cell)) {
                rooms.keep(Arc::clone(&fresh));
            } else {
                rooms.store.retain(&quest.key.text, |kept| !std::ptr::eq(kept, stored));
            }
            drop(fetch);
            serve::from_store(&fresh, routed, now, note.word, note.status)
        }
        Err(why) => {
            // From now on it may not be stored: it serves this request, which is what the origin allowed.
            rooms.store.retain(&quest.key.text, |kept| !std::ptr::eq(kept, stored));
            let note = quest.note(StatusCode::NOT_MODIFIED, Err(why), now);
            serve::from_store(stored, routed, now, note.word, note.status)
        }
    }
}

impl Quest {
    /// What there is to say once the origin has answered.
    fn note(&self, status: StatusCode, stored: Result<&StoredResponse, NotStored>, now: Timestamp) -> Note {
        let terms = stored.ok().map(|response| &response.terms);
        Note {
            word: self.word,
            status: CacheStatus {
                hit: false,
                forward: Some(self.reason),
                forward_status: Some(status),
                ttl_secs: terms.map(|terms| terms.ttl_secs(now)),
                stored: stored.is_ok(),
                detail: stored.err().map(NotStored::as_str),
            },
            cached_at: terms.map(|terms| terms.received_at),
            reset_at: terms.map(|terms| terms.expires_at()),
        }
    }
}

/// The request as it goes to the origin.
fn outbound(routed: &Routed, headers: HeaderMap, body: RequestBody) -> Outbound {
    Outbound { request: routed.request.with(headers, body), upstream: routed.route.upstream }
}

fn origin_failed(error: &OriginError, routed: &Routed, word: CacheWord, reason: ForwardReason) -> Answer {
    tracing::warn!(
        route = %routed.route.name,
        error = error as &dyn std::error::Error,
        "the origin gave nothing usable"
    );
    serve::failed(&Failure::Origin(error), routed, word, Some(reason))
}

fn answer(routed: &Routed, status: StatusCode, fields: HeaderMap, body: AnswerBody, note: Note) -> Answer {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = fields;
    Answer::new(response, routed, note)
}
