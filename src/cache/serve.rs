//! From a stored response to an answer.

use std::sync::Arc;

use http::header::{AGE, CONTENT_LENGTH, IF_MODIFIED_SINCE, IF_NONE_MATCH, RANGE};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};

use super::{known_fields, part};
use crate::clock::Timestamp;
use crate::exchange::{Answer, AnswerBody, AsStored, CacheWord, Note, Routed};
use crate::respond::Failure;
use crate::semantics::precondition::{self, Verdict};
use crate::semantics::{CacheStatus, ForwardReason, Terms};
use crate::store::Stored;

/// The answer to a request that a stored response satisfies as it is.
///
/// `terms`: its own, as they stand.
pub(super) fn hit(stored: &Arc<Stored>, terms: &Terms, routed: &Routed, now: Timestamp) -> Answer {
    stored.hit();
    let word = if terms.is_fresh(now) { CacheWord::Hit } else { CacheWord::Stale };
    let ttl_secs = Some(terms.ttl_secs(now));
    let status = CacheStatus { hit: true, ttl_secs, ..CacheStatus::default() };
    if !is_sent_as_it_is(stored, routed) {
        return from_store(stored, routed, now, word, status);
    }
    let mut response = Response::new(AnswerBody::whole(stored.body.clone()));
    *response.status_mut() = stored.response.status;
    let age_secs = Some(terms.current_age(now).as_secs());
    let note = Note { age_secs, ..note(&stored.response.terms, word, status) };
    let as_stored = AsStored { stored: Arc::clone(stored), interims: routed.request.interims.clone() };
    Answer { as_stored: Some(as_stored), ..Answer::new(response, routed, note) }
}

/// Whether a request gets all of a stored response, with the fields that it has.
fn is_sent_as_it_is(stored: &Stored, routed: &Routed) -> bool {
    let request = &routed.request;
    request.interims.take_lines()
        && request.head.method == Method::GET
        && routed.slice.is_none()
        && !stored.body.is_empty()
        && stored.response.is_plain
        && (stored.trailers.is_none() || !request.takes_trailers)
        && (request.is_plain
            || ![RANGE, IF_NONE_MATCH, IF_MODIFIED_SINCE]
                .iter()
                .any(|name| request.head.headers.contains_key(name)))
}

/// The answer to a request that what was made of a stored response satisfies.
pub(super) fn hit_with(
    response: Response<AnswerBody>,
    stored: &Stored,
    routed: &Routed,
    now: Timestamp,
) -> Answer {
    let ttl_secs = Some(stored.response.terms.ttl_secs(now));
    let status = CacheStatus { hit: true, ttl_secs, ..CacheStatus::default() };
    aged(response, stored, routed, now, CacheWord::Hit, status)
}

/// The answer to a request that the origin failed to answer, from a response that is no longer fresh (RFC 5861 §4).
pub(super) fn instead_of_failure(
    stored: &Arc<Stored>,
    routed: &Routed,
    now: Timestamp,
    failed: Option<StatusCode>,
) -> Answer {
    let status = CacheStatus {
        forward: Some(ForwardReason::Stale),
        forward_status: failed,
        ttl_secs: Some(stored.response.terms.ttl_secs(now)),
        detail: Some("stale-if-error"),
        ..CacheStatus::default()
    };
    from_store(stored, routed, now, CacheWord::Stale, status)
}

/// The answer made from a stored response, after whatever `word` and `status` tell.
pub(super) fn from_store(
    stored: &Arc<Stored>,
    routed: &Routed,
    now: Timestamp,
    word: CacheWord,
    status: CacheStatus,
) -> Answer {
    let request = &routed.request.head;
    let held = &stored.response;
    let response = match precondition::evaluate(held, &request.headers) {
        Verdict::NotModified => {
            let mut response = Response::new(AnswerBody::Empty);
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            *response.headers_mut() =
                known_fields::with(stored, |fields| precondition::not_modified_fields(&fields));
            response
        }
        Verdict::Send => part::respond(stored, request).unwrap_or_else(|| {
            let trailers = stored.trailers.as_ref().filter(|_| routed.request.takes_trailers);
            let body = match (&request.method, trailers) {
                (&Method::HEAD, _) => AnswerBody::Empty,
                (_, None) => AnswerBody::whole(stored.body.clone()),
                (_, Some(trailers)) => AnswerBody::trailed(stored.body.clone(), HeaderMap::clone(trailers)),
            };
            let mut response = Response::new(body);
            *response.status_mut() = held.status;
            *response.headers_mut() = known_fields::with(stored, |fields| fields.into_owned());
            if matches!(response.body(), AnswerBody::Trailed(_)) {
                // It came in chunks, and only chunks have trailers behind them; the length was put on to store it.
                response.headers_mut().remove(CONTENT_LENGTH);
            }
            response
        }),
    };
    aged(response, stored, routed, now, word, status)
}

/// What was made of a stored response, with how old that is.
fn aged(
    mut response: Response<AnswerBody>,
    stored: &Stored,
    routed: &Routed,
    now: Timestamp,
    word: CacheWord,
    status: CacheStatus,
) -> Answer {
    let held = &stored.response;
    response.headers_mut().insert(AGE, HeaderValue::from(held.terms.current_age(now).as_secs()));
    Answer::new(response, routed, note(&held.terms, word, status))
}

fn note(terms: &Terms, word: CacheWord, status: CacheStatus) -> Note {
    let (cached_at, reset_at) = (Some(terms.received_at), Some(terms.expires_at()));
    Note { word, status, age_secs: None, cached_at, reset_at }
}

/// 504 (RFC 9111 §5.2.1.7).
pub(super) fn only_if_cached(routed: &Routed) -> Answer {
    failed(&Failure::OnlyIfCached, routed, CacheWord::Miss, None)
}

/// The answer to a request that neither the store nor the origin could satisfy.
pub(super) fn failed(
    failure: &Failure<'_>,
    routed: &Routed,
    word: CacheWord,
    forward: Option<ForwardReason>,
) -> Answer {
    let request = &routed.request.head;
    let status = CacheStatus { forward, ..CacheStatus::default() };
    let response = failure.respond(&request.method, &request.headers);
    Answer::new(response, routed, Note { word, status, age_secs: None, cached_at: None, reset_at: None })
}
