//! A POST's response that says what its target is like from now on: it may answer later GETs (RFC 9110 §9.3.3).
//!
//! The request invalidates its target first, and with it the response that it leads to, whose fetch began before.
//! But that response tells of this very change, so it counts as of the change (see
//! [`Carried::since_own`]) unless anybody else has invalidated it meanwhile.

use http::{HeaderMap, Method, StatusCode};

use super::change::target;
use super::fetch::{answer, fetched, passed};
use super::fill::Pump;
use super::pending::Pending;
use super::{Rooms, receive};
use crate::exchange::{Answer, AnswerBody, CacheWord, Routed};
use crate::invalidation::{Appended, Carried, Fetch};
use crate::keys::{Key, KeyInput};
use crate::origin::OriginBody;
use crate::routes::{CacheRule, RouteQuery};
use crate::semantics::storing::Exchanged;
use crate::semantics::{ForwardReason, NotStored, StoredResponse, post};
use std::sync::Arc;

/// A response that may be stored, unless an invalidation by others has overtaken it.
#[derive(Debug)]
pub(super) struct Candidate {
    key: Key,
    response: StoredResponse,
    carried: Carried,
    fetch: Fetch,
}

/// The rule by which the response to this request may be stored, if it is a POST and its route says so.
pub(super) fn rule(routed: &Routed) -> Option<&CacheRule> {
    routed.rule().filter(|rule| rule.store_post && routed.request.head.method == Method::POST)
}

impl Candidate {
    /// To be made before the request's own invalidation: from then on it carries its tags.
    #[expect(clippy::too_many_arguments, reason = "the parts of one exchange, each needed once")]
    pub(super) fn new(
        rooms: &Rooms,
        routed: &Routed,
        rule: &CacheRule,
        status: StatusCode,
        fields: &HeaderMap,
        body: &OriginBody,
        exchanged: Exchanged,
        fetch: Fetch,
    ) -> Result<Self, NotStored> {
        let request = &routed.request;
        if !post::represents_target(status, fields, &request.host, target(routed)) {
            return Err(NotStored::Method);
        }
        // The origin saw all of its query. Of a GET's it would see what the key has.
        if request.head.uri.query().is_some_and(|query| !rule.key.has_all_of(query)) {
            return Err(NotStored::Method);
        }
        // What a GET would be answered with is for the GET's own route to say.
        let get = RouteQuery {
            method: &Method::GET,
            host: &request.host,
            path: request.head.uri.path(),
            headers: &request.head.headers,
        };
        if !rooms.routes.find(get).is_some_and(|(route, _)| Arc::ptr_eq(route, &routed.route)) {
            return Err(NotStored::Method);
        }
        let input = KeyInput { method: &Method::GET, ..routed.key_input(exchanged.received_at) };
        let key = rule.key.key(&input).map_err(|_| NotStored::KeyRejected)?;
        let response = receive::storable(&Method::POST, routed, rule, status, fields, exchanged)?;
        receive::fits(body, fields, rule, rooms.store.limits())?;
        let carried = rooms.log.carry(&fetch, receive::tags(routed, rule, &key, fields));
        Ok(Self { key, response, carried, fetch })
    }

    /// Streams the response to the client and stores it on the way. `own`: what its request has invalidated.
    #[expect(clippy::too_many_arguments, reason = "the parts of one exchange, each needed once")]
    pub(super) fn keep(
        self,
        rooms: &Arc<Rooms>,
        routed: &Routed,
        reason: ForwardReason,
        own: Option<&Appended>,
        status: StatusCode,
        fields: HeaderMap,
        body: OriginBody,
    ) -> Answer {
        let Self { key, response, carried, fetch } = self;
        let carried = own.and_then(|own| carried.since_own(own));
        let (Some(carried), Some(rule)) = (carried, routed.rule()) else {
            let note = passed(reason, status, Some(NotStored::Purged));
            return answer(routed, status, fields, AnswerBody::origin(body), note);
        };
        let received_at = response.terms.received_at;
        let note = fetched(CacheWord::Miss, reason, status, Ok(&response), received_at);
        let pending = Pending::new(rooms, (routed, rule), key, response, carried, fetch);
        answer(routed, status, fields, Pump::stream(rooms, body, pending, routed), note)
    }
}
