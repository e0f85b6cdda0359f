//! What waits for its body to be stored.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, TRAILER};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::{Rooms, asked, body_tags, partial};
use crate::exchange::Routed;
use crate::invalidation::{Carried, Fetch, Tag};
use crate::keys::Key;
use crate::routes::{BodyTag, CacheRule};
use crate::semantics::StoredResponse;
use crate::store::{Asked, Stored};

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) rooms: Arc<Rooms>,
    pub(super) key: Key,
    pub(super) response: StoredResponse,
    pub(super) carried: Carried,
    /// Kept until the response is in the store, so that no invalidation since its beginning is forgotten.
    pub(super) fetch: Arc<Fetch>,
    /// A stored part that this one may be joined to.
    pub(super) joins: Option<Arc<Stored>>,
    /// The request it answers.
    pub(super) asked: Arc<Asked>,
    /// What is read out of its body.
    pub(super) body_tags: Option<Arc<[BodyTag]>>,
}

impl Pending {
    pub(super) fn new(
        rooms: &Arc<Rooms>,
        (routed, rule): (&Routed, &CacheRule),
        key: Key,
        response: StoredResponse,
        carried: Carried,
        fetch: Fetch,
    ) -> Self {
        let asked = Arc::new(asked::asked(routed, rule, &response.selecting));
        let body_tags = body_tags::are_read(rule, &response.headers()).then(|| Arc::clone(&rule.body_tags));
        let (rooms, fetch) = (Arc::clone(rooms), Arc::new(fetch));
        Self { rooms, key, response, carried, fetch, joins: None, asked, body_tags }
    }

    /// Whether its body says more of how it can be purged.
    pub(super) fn reads_tags(&self) -> bool {
        self.body_tags.is_some()
    }

    /// Stores the response with its whole body.
    pub(super) fn store(self, body: Bytes, trailers: Option<Arc<HeaderMap>>) {
        let Self { rooms, key, response, mut carried, fetch, joins, asked, body_tags } = self;
        let mut headers = response.headers();
        if !headers.contains_key(CONTENT_LENGTH) && !body.is_empty() {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
        }
        let says = headers.get(CONTENT_LENGTH).map(HeaderValue::as_bytes);
        if response.status == StatusCode::OK
            && says.is_some_and(|length| length != body.len().to_string().as_bytes())
        {
            // The rest of a part had not the bytes that it said.
            return;
        }
        if let Some(templates) = body_tags {
            match body_tags::read(&templates, &headers, &body) {
                Ok(tags) => {
                    let tags = tags.iter().map(|tag| Tag::application(tag));
                    carried = carried.joined(&rooms.log.carry(&fetch, tags));
                }
                Err(why) => {
                    tracing::warn!(url = %asked, %why, "a response was not stored: the tags in its body are not known");
                    return;
                }
            }
        }
        // Whether or not the origin announced them: this time they are known (RFC 9110 §6.6.2).
        if let Some(trailers) = &trailers {
            let names: Vec<_> = trailers.keys().map(HeaderName::as_str).collect();
            if let Ok(names) = HeaderValue::try_from(names.join(", ")) {
                headers.insert(TRAILER, names);
            }
        }
        let response = response.with_headers(&headers);
        let mut stored = Stored::new(key.text, response, body, carried, asked).with_trailers(trailers);
        if stored.response.status == StatusCode::PARTIAL_CONTENT {
            let Some(joined) = partial::joined(&rooms, stored, joins.as_deref()) else { return };
            stored = joined;
        }
        rooms.keep(Arc::new(stored));
        drop(fetch);
    }
}
