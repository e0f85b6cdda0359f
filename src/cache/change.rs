//! Unsafe requests: what they may have changed is invalidated (RFC 9111 §4.4).
//!
//! Before the answer goes out: whoever has read that it was done never sees the old state again.
//!
//! Each of them runs in a task of its own, since the origin may act upon it though its client has left; the task
//! ends with the answer's head, and the upstream's timeouts see to that. (A body that was still coming up breaks off
//! with its client, and that ends the exchange.) Where no answer came and the origin may have acted nevertheless, the
//! target is invalidated: nobody knows what happened, and too much is allowed where too little is not.

use std::panic::resume_unwind;
use std::sync::Arc;

use http::uri::PathAndQuery;
use http::{HeaderMap, Response, StatusCode};
use tower::{Service, ServiceExt};

use super::fetch::{answer, origin_failed, outbound, passed};
use super::post::{self, Candidate};
use super::{Rooms, receive, serve};
use crate::exchange::{Answer, AnswerBody, CacheWord, Outbound, RequestBody, Routed};
use crate::invalidation::{Appended, Tag, apply};
use crate::origin::{OriginBody, OriginError};
use crate::respond::Failure;
use crate::semantics::cache_groups::{self, Groups};
use crate::semantics::storing::Exchanged;
use crate::semantics::{ForwardReason, invalidation, method};
use crate::uri;

/// Forwards an unsafe request, whatever becomes of its client.
pub(super) async fn run<F>(rooms: Arc<Rooms>, forward: F, routed: Routed, reason: ForwardReason) -> Answer
where
    F: Service<Outbound, Response = Response<OriginBody>, Error = OriginError> + Send + 'static,
    F::Future: Send,
{
    let Ok(place) = Arc::clone(&rooms.unsafe_exchanges).try_acquire_owned() else {
        return serve::failed(&Failure::Overloaded, &routed, CacheWord::Bypass, Some(reason));
    };
    let exchange = tokio::spawn(async move {
        let answer = exchange(&rooms, forward, routed, reason).await;
        drop(place);
        answer
    });
    match exchange.await {
        Ok(answer) => answer,
        Err(ended) => match ended.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            // Cancelled: the runtime is being shut down, and this future with it.
            Err(_) => std::future::pending().await,
        },
    }
}

async fn exchange<F>(rooms: &Arc<Rooms>, forward: F, mut routed: Routed, reason: ForwardReason) -> Answer
where
    F: Service<Outbound, Response = Response<OriginBody>, Error = OriginError>,
{
    let body = std::mem::replace(&mut routed.request.body, RequestBody::empty());
    let outbound = outbound(&routed, routed.request.head.headers.clone(), body);
    // Before the request is sent: what others invalidate from now on condemns an answer that is to be stored.
    let storing = post::rule(&routed).map(|rule| (rule, rooms.log.begin_fetch()));
    let requested_at = rooms.clock.now();
    let response = match forward.oneshot(outbound).await {
        Ok(response) => response,
        Err(error) => {
            if error.may_have_been_acted_upon(method::is_idempotent(&routed.request.head.method)) {
                invalidate(rooms, tags_of_uri(rooms, &routed, target(&routed))).await;
            }
            return origin_failed(&error, &routed, CacheWord::Bypass, reason);
        }
    };
    let exchanged = Exchanged { requested_at, received_at: rooms.clock.now() };
    let (head, body) = response.into_parts();
    let fields = receive::fields(head.headers, exchanged.received_at);
    let candidate = storing.map(|(rule, fetch)| {
        Candidate::new(rooms, &routed, rule, head.status, &fields, &body, exchanged, fetch)
    });
    let own = invalidate(rooms, tags_changed(rooms, &routed, head.status, &fields)).await;
    let detail = match candidate {
        Some(Ok(candidate)) => {
            return candidate.keep(rooms, &routed, reason, own.as_ref(), head.status, fields, body);
        }
        Some(Err(why)) => Some(why),
        None => None,
    };
    let note = passed(reason, head.status, detail);
    answer(&routed, head.status, fields, AnswerBody::origin(body), note)
}

/// Path and query, as normalised.
pub(super) fn target(routed: &Routed) -> &str {
    routed.request.head.uri.path_and_query().map_or("/", PathAndQuery::as_str)
}

/// The tags of all that the answer says has changed.
fn tags_changed(rooms: &Rooms, routed: &Routed, status: StatusCode, fields: &HeaderMap) -> Vec<Tag> {
    let request = &routed.request;
    let own = rooms.upstream_hosts.get(routed.route.upstream).map(Vec::as_slice).unwrap_or_default();
    let hosts: Vec<&str> = std::iter::once(&*request.host).chain(own.iter().map(|host| &**host)).collect();
    let uris = invalidation::invalidated(&request.head.method, &hosts, target(routed), status, fields);
    let mut tags: Vec<_> = uris.iter().flat_map(|uri| tags_of_uri(rooms, routed, uri)).collect();
    // A route that caches nothing may still change what others cache.
    if routed.rule().is_none_or(|rule| rule.groups) {
        match cache_groups::invalidated(&request.head.method, status, fields) {
            Groups::Named(groups) => {
                let scheme = request.scheme.as_str();
                tags.extend(apply::tags_of_invalidated_groups(scheme, &request.host, &groups));
            }
            Groups::TooMany => tags.extend(rooms.invalidator.tags_of_host(&request.host)),
        }
    }
    tags
}

/// What is stored for a URI of the request's host carries these.
fn tags_of_uri(rooms: &Rooms, routed: &Routed, uri: &str) -> Vec<Tag> {
    let (path, query) = match uri.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (uri, None),
    };
    // What is no path is stored under no key.
    let path = uri::normalize_path(path);
    path.map(|path| rooms.invalidator.tags_of_resource(&routed.request.host, &path, query))
        .unwrap_or_default()
}

/// When this returns, it has happened. `None`: there was nothing to do.
async fn invalidate(rooms: &Rooms, tags: Vec<Tag>) -> Option<Appended> {
    if tags.is_empty() {
        return None;
    }
    let invalidator = Arc::clone(&rooms.invalidator);
    // If much is being purged, it is waited for; not on a worker that serves.
    match tokio::task::spawn_blocking(move || invalidator.purge_changed(&tags)).await {
        Ok(appended) => Some(appended),
        Err(error) => {
            tracing::error!(%error, "what an unsafe request changed was not invalidated");
            None
        }
    }
}
