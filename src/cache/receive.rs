//! A response head has come from the origin: may it be stored, and what will it be known by?

use http::header::{CONTENT_LENGTH, DATE, VIA};
use http::{HeaderMap, Method, StatusCode};
use percent_encoding::percent_decode_str;

use super::body_tags;
use crate::clock::Timestamp;
use crate::exchange::Routed;
use crate::invalidation::{Tag, apply};
use crate::keys::{Key, parameter_readings, partition_text};
use crate::layers::claims;
use crate::layers::forward::via_value;
use crate::origin::OriginBody;
use crate::routes::{CacheRule, Hole};
use crate::semantics::cache_groups::{self, Groups};
use crate::semantics::fields::end_to_end;
use crate::semantics::stored_response::storable_fields;
use crate::semantics::storing::{self, Exchanged};
use crate::semantics::vary::Selecting;
use crate::semantics::{NoVarySearch, NotStored, Search, StoredResponse, Terms, dates, response_tags};
use crate::store::MemoryLimits;

/// The fields that travel on: end-to-end, with `Via`, and with the `Date` of their receipt if they had none, or none
/// that can be read (RFC 9110 §6.6.1), lest a later hit be dated as of its sending.
pub(super) fn fields(from_origin: HeaderMap, received_at: Timestamp) -> HeaderMap {
    let mut fields = end_to_end(from_origin);
    fields.append(VIA, via_value(http::Version::HTTP_11));
    if dates::field(&fields, DATE, received_at).is_none() {
        fields.insert(DATE, dates::to_value(received_at));
    }
    fields
}

/// Whether the response to `method` may be stored, and if so as what. `fields` as [`fields`] makes them.
pub(super) fn storable(
    method: &Method,
    routed: &Routed,
    rule: &CacheRule,
    status: StatusCode,
    fields: &HeaderMap,
    exchanged: Exchanged,
) -> Result<StoredResponse, NotStored> {
    let request = &routed.request.head;
    let terms = storing::terms(method, &request.headers, status, fields, &rule.policy, exchanged)?;
    let took = exchanged.received_at.since(exchanged.requested_at);
    let terms = terms.jittered(rule.policy.ttl.jitter, fastrand::f64());
    let terms = terms.refreshed_ahead(rule.refresh_ahead, took, fastrand::f64());
    if !is_wanted(rule, status, fields) {
        return Err(NotStored::Condition);
    }
    if rule.groups && cache_groups::of(fields) == Groups::TooMany {
        // An invalidation of one that is not remembered would not reach it.
        return Err(NotStored::CacheGroups);
    }
    let selecting =
        Selecting::of(fields, &request.headers, rule.policy.liberal).ok_or(NotStored::VaryStar)?;
    // The origin chose by what was written on the way to it, and no request that comes here has it.
    if selecting.names().any(claims::tells_of_the_way) {
        return Err(NotStored::VaryStar);
    }
    let selecting = selecting.shared();
    let search = rule.no_vary_search.then(|| Search::new(request.uri.query(), NoVarySearch::of(fields)));
    Ok(storable_response(rule, status, fields, terms, selecting).with_search(search))
}

/// The response as it is stored.
pub(super) fn storable_response(
    rule: &CacheRule,
    status: StatusCode,
    fields: &HeaderMap,
    terms: Terms,
    selecting: Selecting,
) -> StoredResponse {
    let fields = storable_fields(fields.clone(), &rule.policy);
    StoredResponse::new(status, fields, |name| rule.policy.ends_here(name), terms, selecting)
}

/// Whether the route wants such a response to be stored.
pub(super) fn is_wanted(rule: &CacheRule, status: StatusCode, fields: &HeaderMap) -> bool {
    rule.store_if.as_ref().is_none_or(|condition| condition.holds(status, fields))
        && !rule.store_unless.as_ref().is_some_and(|condition| condition.holds(status, fields))
}

/// Whether the body can be stored, as far as that is known before it has come.
pub(super) fn fits(
    body: &OriginBody,
    fields: &HeaderMap,
    rule: &CacheRule,
    limits: MemoryLimits,
) -> Result<(), NotStored> {
    if body.is_close_delimited() && !rule.policy.store_close_delimited {
        return Err(NotStored::CloseDelimited);
    }
    let announced = fields.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > limits.max_object_bytes) {
        return Err(NotStored::TooLarge);
    }
    body_tags::fit(rule, fields)?;
    Ok(())
}

/// All that the response can be invalidated by.
pub(super) fn tags(routed: &Routed, rule: &CacheRule, key: &Key, fields: &HeaderMap) -> Vec<Tag> {
    let request = &routed.request;
    let uri = &request.head.uri;
    let resource = rule.key.resource(&request.host, uri.path(), uri.query(), &routed.captures);
    let (mut own, mut unlisted) = (Vec::new(), Vec::new());
    for template in &rule.tags {
        match template.render_all(|name| readings(name, routed, key), MAX_RENDERED) {
            Some(rendered) => own.extend(rendered),
            None => unlisted.push(Tag::template(&template.to_string())),
        }
    }
    let tags = own.into_iter().chain(response_tags::of(fields));
    let mut tags = apply::tags_of(key, &rule.key, &resource, &request.host, tags);
    tags.extend(unlisted);
    if rule.no_vary_search && NoVarySearch::of(fields).is_some() {
        let path = rule.key.resource(&request.host, uri.path(), None, &routed.captures);
        tags.push(Tag::any_query(&path));
    }
    if let (true, Groups::Named(groups)) = (rule.groups, cache_groups::of(fields)) {
        tags.extend(apply::tags_of_groups(&rule.key, request.scheme.as_str(), &request.host, &groups));
        // And who purges by tag may name a group.
        tags.extend(groups.iter().map(|group| Tag::application(group)));
    }
    tags
}

/// How many tags one template may make.
const MAX_RENDERED: usize = 64;

/// What fills a hole. Tags are compared with what webhooks and people write: what can be written in several ways is.
fn readings(name: &str, routed: &Routed, key: &Key) -> Vec<String> {
    let request = &routed.request.head;
    match Hole::of(name, &routed.route) {
        Hole::Capture => {
            let Some(raw) = routed.captures.raw(request.uri.path(), name) else { return Vec::new() };
            // As it is in partitions; and what is not UTF-8, as it is shown.
            let text = partition_text(raw);
            let lossy = percent_decode_str(raw).decode_utf8_lossy();
            let other = (*lossy != *text).then(|| lossy.into_owned());
            std::iter::once(text).chain(other).collect()
        }
        // Nothing of a parameter depends on the time.
        Hole::Parameter(name) => parameter_readings(name, &routed.key_input(Timestamp::default())),
        Hole::Partition => {
            let named = key.partition.iter().filter(|(known, value)| **known == *name && !value.is_empty());
            named.map(|(_, value)| value.clone()).collect()
        }
    }
}
