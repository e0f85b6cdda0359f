//! Partial responses: a 206 is stored, answers what lies within it, and is completed (RFC 9111 §3.3, §3.4).
//!
//! Parts lie under a key of their own beside the whole's, so that nothing that wants a whole ever meets one. There is one
//! part for each set of selecting fields; what touches it and is of the same representation is joined to it.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, IF_RANGE, RANGE};
use http::{HeaderMap, Method, Response, StatusCode};
use tower::{Service, ServiceExt};

use super::fetch::{
    self, Quest, Received, answer, fetched, leave_out_what_the_key_does, origin_failed, outbound,
};
use super::fill::{Audience, Pump, cut};
use super::landing::{Kept, Outcome};
use super::pending::Pending;
use super::service::Candidates;
use super::{Rooms, body_tags, part, receive, serve};
use crate::clock::Timestamp;
use crate::exchange::{Answer, AnswerBody, CacheWord, Outbound, RequestBody, Routed};
use crate::invalidation::{Fetch, Standing};
use crate::keys::Key;
use crate::origin::{OriginBody, OriginError};
use crate::respond::Failure;
use crate::routes::CacheRule;
use crate::semantics::range::{self, ContentRange};
use crate::semantics::storing::Exchanged;
use crate::semantics::{ForwardReason, NotStored, Reuse, StoredResponse, fields, reuse};
use crate::store::Stored;

impl Rooms {
    /// The stored part that a request may be answered from or completed with, if there is one.
    pub(super) fn find_part(
        &self,
        routed: &Routed,
        rule: &CacheRule,
        key: &Key,
        now: Timestamp,
    ) -> Option<Arc<Stored>> {
        let request = &routed.request.head;
        if request.method != Method::GET {
            return None;
        }
        let variants = self.store.get(&key.for_parts().text)?;
        let (selected, exist) = self.select(variants.stored(), routed);
        let stored = selected?;
        let directives = rule.policy.client_directives;
        let terms = self.terms(stored, now);
        let verdict = reuse::reuse(Some(&terms), exist, &request.method, &request.headers, directives, now);
        (verdict == Reuse::Serve).then(|| Arc::clone(stored))
    }
}

/// The answer from a stored part, if all that is asked for is in it.
pub(super) fn hit(stored: &Stored, routed: &Routed, now: Timestamp) -> Option<Answer> {
    let response = part::respond(stored, &routed.request.head)?;
    Some(serve::hit_with(response, stored, routed, now))
}

/// Fetches what a request with `Range` asks for, and stores it: a part, or the whole if the origin sends that.
pub(super) async fn fetch<F>(
    rooms: &Arc<Rooms>,
    forward: F,
    routed: &Routed,
    reason: ForwardReason,
    key: Key,
) -> Answer
where
    F: Service<Outbound, Response = Response<OriginBody>, Error = OriginError>,
{
    let Some(rule) = routed.rule() else {
        return serve::failed(&Failure::NoRoute, routed, CacheWord::Bypass, None);
    };
    let fetch = rooms.log.begin_fetch();
    let requested_at = rooms.clock.now();
    let mut outbound = outbound(routed, routed.request.head.headers.clone(), RequestBody::empty());
    leave_out_what_the_key_does(rule, &mut outbound.request.head.uri);
    let response = match forward.oneshot(outbound).await {
        Ok(response) => response,
        Err(error) => return origin_failed(&error, routed, CacheWord::Miss, reason),
    };
    let exchanged = Exchanged { requested_at, received_at: rooms.clock.now() };
    let (head, body) = response.into_parts();
    let received_fields = receive::fields(head.headers, exchanged.received_at);
    let received = Received { status: head.status, fields: received_fields, body, exchanged };
    if received.status != StatusCode::PARTIAL_CONTENT {
        let quest = Quest { reason, key, candidates: Candidates::new(), part: None };
        let audience = Audience::default();
        let outcome = fetch::keep(rooms, routed, rule, &quest, received, fetch, &audience);
        return fetch::own(rooms, routed, rule, &quest, outcome, &audience);
    }
    let Received { fields, body, .. } = received;
    match storable(rooms, routed, rule, &fields, &body, exchanged) {
        Ok(response) => {
            let note = fetched(CacheWord::Miss, reason, head.status, Ok(&response), exchanged.received_at);
            let carried = rooms.log.carry(&fetch, receive::tags(routed, rule, &key, &fields));
            let joins = rooms
                .store
                .peek(&key.for_parts().text)
                .and_then(|variants| rooms.select(variants.stored(), routed).0.cloned());
            let pending = Pending {
                joins,
                ..Pending::new(rooms, (routed, rule), key.for_parts(), response, carried, fetch)
            };
            answer(routed, head.status, fields, Pump::stream(rooms, body, pending, routed), note)
        }
        Err(why) => {
            let note = fetched(CacheWord::Miss, reason, head.status, Err(why), exchanged.received_at);
            answer(routed, head.status, fields, AnswerBody::origin(body), note)
        }
    }
}

/// Whether a 206 may be stored: as the whole might (§3.3), if it says which bytes it has.
pub(super) fn storable(
    rooms: &Rooms,
    routed: &Routed,
    rule: &CacheRule,
    fields: &HeaderMap,
    body: &OriginBody,
    exchanged: Exchanged,
) -> Result<StoredResponse, NotStored> {
    if body_tags::are_read(rule, fields) {
        return Err(NotStored::Tags);
    }
    let has = ContentRange::of(fields).ok_or(NotStored::Partial)?;
    let announced = fields.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    let length = has.bytes.end - has.bytes.start;
    let fields = match announced {
        // Less came than was meant to: the rest of it is as good as broken off.
        Some(announced) if announced < length && announced > 0 && rule.policy.liberal => {
            let bytes = has.bytes.start..has.bytes.start + announced;
            with_content_range(fields, &ContentRange { bytes, ..has })
        }
        Some(announced) if announced != length => return Err(NotStored::Partial),
        _ => fields.clone(),
    };
    receive::fits(body, &fields, rule, rooms.store.limits())?;
    let mut response = receive::storable(&Method::GET, routed, rule, StatusCode::OK, &fields, exchanged)?;
    response.status = StatusCode::PARTIAL_CONTENT;
    Ok(response)
}

fn with_content_range(headers: &HeaderMap, range: &ContentRange) -> HeaderMap {
    let mut headers = headers.clone();
    if let Some(value) = range.to_value() {
        headers.insert(http::header::CONTENT_RANGE, value);
    }
    headers
}

/// Asks for what is missing after a stored beginning, instead of for the whole (§3.4). `false`: nothing can be missing after
/// this part that could be joined to it.
pub(super) fn ask_for_rest(part: &Stored, request: &mut HeaderMap) -> bool {
    let missing = ContentRange::of(&part.response.headers()).and_then(|has| has.missing());
    let tag = part.response.entity_tag().filter(|tag| !tag.is_weak());
    let (Some(missing), Some(tag)) = (missing, tag) else { return false };
    request.insert(RANGE, missing);
    request.insert(IF_RANGE, tag.as_value().clone());
    true
}

/// The rest has come: the client gets the whole, and the whole is stored. `None`: it is not the rest of this, or the whole may
/// not be stored.
#[expect(clippy::too_many_arguments, reason = "the parts of one exchange, each needed once")]
pub(super) fn complete(
    rooms: &Arc<Rooms>,
    routed: &Routed,
    rule: &CacheRule,
    quest: &Quest,
    part: &Stored,
    received: Received,
    fetch: Fetch,
    audience: &Audience,
) -> Option<Outcome> {
    let Received { fields, body, exchanged, .. } = received;
    let (has, rest) = (ContentRange::of(&part.response.headers())?, ContentRange::of(&fields)?);
    let fits = rest.bytes == (has.bytes.end..has.complete) && rest.complete == has.complete;
    // What was purged meanwhile is not to be joined to anything.
    let stands = part.standing() != Standing::Dead;
    if !fits || !stands || !range::is_same_representation(&part.response, &fields) {
        return None;
    }
    // "the header fields of the combined response" are the stored ones, updated by the new ones (§3.4)
    let mut fields = fields::without_where(fields, range::describes_whole);
    fields.insert(CONTENT_LENGTH, has.complete.into());
    let response = receive::storable(&Method::GET, routed, rule, StatusCode::OK, &fields, exchanged).ok()?;
    let pump = Pump::of(rooms, part.body.clone(), body, audience);
    let carried = rooms.log.carry(&fetch, receive::tags(routed, rule, &quest.key, &fields));
    // Of two fetches the older counts: an invalidation after it may have been meant for its bytes.
    let carried = carried.joined(&part.carried);
    let pending = Pending::new(rooms, (routed, rule), quest.key.clone(), response, carried, fetch);
    Some(Outcome::Kept(Box::new(Kept::new(
        StatusCode::PARTIAL_CONTENT,
        fields,
        quest.word(),
        pump,
        pending,
        Ok(()),
    ))))
}

/// A part that has just come, with what it touches of a stored one. Under the whole's key if nothing is missing any more.
/// `None`: it did not have the bytes that it said.
pub(super) fn joined(rooms: &Rooms, part: Stored, other: Option<&Stored>) -> Option<Stored> {
    let said = ContentRange::of(&part.response.headers())?;
    if said.bytes.end - said.bytes.start != part.body.len() as u64 {
        return None;
    }
    let joined = match other.and_then(|other| Some((join(rooms, &part, other)?, other))) {
        None => part,
        Some(((has, body), other)) => {
            let Stored { key, response, carried, asked, .. } = part;
            let mut fields = with_content_range(&response.headers(), &has);
            fields.insert(CONTENT_LENGTH, body.len().into());
            Stored::new(key, response.with_headers(&fields), body, carried.joined(&other.carried), asked)
        }
    };
    let is_complete = ContentRange::of(&joined.response.headers())?.is_complete();
    Some(if is_complete { as_whole(joined) } else { joined })
}

/// The bytes of both together, if they are of the same representation and nothing is missing between them.
fn join(rooms: &Rooms, new: &Stored, old: &Stored) -> Option<(ContentRange, Bytes)> {
    let stands = old.standing() != Standing::Dead;
    if !stands || !range::is_same_representation(&old.response, &new.response.headers()) {
        return None;
    }
    let (new_has, old_has) =
        (ContentRange::of(&new.response.headers())?, ContentRange::of(&old.response.headers())?);
    let has = new_has.joined(&old_has)?;
    let length = has.bytes.end - has.bytes.start;
    if length > rooms.store.limits().max_object_bytes {
        return None;
    }
    // Where both have bytes, the new ones count.
    let before = cut(&old.body, old_has.bytes.start, &(old_has.bytes.start..new_has.bytes.start));
    let after = cut(&old.body, old_has.bytes.start, &(new_has.bytes.end..old_has.bytes.end));
    let pieces = [before.unwrap_or_default(), new.body.clone(), after.unwrap_or_default()];
    let body = rooms.store.gathered(&pieces);
    (body.len() as u64 == length).then_some((has, body))
}

fn as_whole(stored: Stored) -> Stored {
    let Stored { key, response, body, carried, asked, .. } = stored;
    let mut fields = fields::without_where(response.headers(), range::describes_whole);
    fields.insert(CONTENT_LENGTH, body.len().into());
    let mut response = response.with_headers(&fields);
    response.status = StatusCode::OK;
    Stored::new(Key::of_whole(&key), response, body, carried, asked)
}

/// Whether the request may be answered with a part at all.
pub(super) fn wants_part(routed: &Routed) -> bool {
    let request = &routed.request.head;
    request.method == Method::GET && request.headers.contains_key(RANGE)
}
