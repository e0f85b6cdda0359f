//! A fill: a body that is remembered while it streams to the client, and stored once it is complete.
//!
//! Complete means that the origin's message ended as its framing says: the `Content-Length` was met or the last
//! chunk was seen. A body that breaks off, stalls or outgrows the limit reaches the client as far as it came and
//! is not stored; what was remembered of it is given up at once.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, TRAILER};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use http_body::{Body, Frame, SizeHint};

use super::{Rooms, partial};
use crate::exchange::BodyError;
use crate::invalidation::{Carried, Fetch};
use crate::keys::Key;
use crate::origin::OriginBody;
use crate::semantics::StoredResponse;
use crate::store::Stored;

/// How much room is made before the first byte is there, whatever `Content-Length` promises.
const MAX_UPFRONT_BYTES: u64 = 1024 * 1024;

/// See the [module](self).
#[derive(Debug)]
pub struct Fill {
    /// What is there already and goes first.
    ahead: Option<Bytes>,
    origin: OriginBody,
    /// `None` once it is stored or given up.
    pending: Option<Pending>,
}

/// What waits for the body to be stored.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) rooms: Arc<Rooms>,
    pub(super) key: Key,
    pub(super) response: StoredResponse,
    pub(super) carried: Carried,
    /// Kept until the response is in the store, so that no invalidation since its beginning is forgotten.
    pub(super) fetch: Fetch,
    pub(super) body: Vec<u8>,
    pub(super) trailers: Option<Arc<HeaderMap>>,
    /// A stored part that this one may be joined to.
    pub(super) joins: Option<Arc<Stored>>,
}

impl Fill {
    pub(super) fn new(origin: OriginBody, pending: Pending) -> Self {
        Self::continuing(Bytes::new(), origin, Some(pending))
    }

    /// A body that begins with what is stored and goes on with what the origin sends.
    pub(super) fn continuing(ahead: Bytes, origin: OriginBody, mut pending: Option<Pending>) -> Self {
        let expected = origin.size_hint().exact().unwrap_or(0).min(MAX_UPFRONT_BYTES);
        if let Some(pending) = &mut pending {
            pending.body.reserve_exact(ahead.len() + usize::try_from(expected).unwrap_or(0));
        }
        let mut fill = Self { ahead: None, origin, pending };
        fill.remember(&ahead);
        fill.ahead = Some(ahead).filter(|ahead| !ahead.is_empty());
        if fill.origin.is_end_stream() {
            fill.complete();
        }
        fill
    }

    fn remember(&mut self, data: &Bytes) {
        let Some(pending) = &mut self.pending else { return };
        let length = (pending.body.len() + data.len()) as u64;
        if length > pending.rooms.store.limits().max_object_bytes {
            self.pending = None;
            return;
        }
        pending.body.extend_from_slice(data);
    }

    /// The trailer section ends the message.
    fn complete_with(&mut self, trailers: &HeaderMap) {
        if let Some(pending) = self.pending.as_mut().filter(|_| !trailers.is_empty()) {
            pending.trailers = Some(Arc::new(trailers.clone()));
        }
        self.complete();
    }

    fn complete(&mut self) {
        if let Some(pending) = self.pending.take() {
            pending.store();
        }
    }
}

impl Pending {
    pub(super) fn new(
        rooms: &Arc<Rooms>,
        key: Key,
        response: StoredResponse,
        carried: Carried,
        fetch: Fetch,
    ) -> Self {
        let rooms = Arc::clone(rooms);
        Self { rooms, key, response, carried, fetch, body: Vec::new(), trailers: None, joins: None }
    }

    /// Stores the response.
    fn store(self) {
        let Self { rooms, key, mut response, carried, fetch, body, trailers, joins } = self;
        if !response.headers.contains_key(CONTENT_LENGTH) && !body.is_empty() {
            response.headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
        }
        // Whether or not the origin announced them: this time they are known (RFC 9110 §6.6.2).
        if let Some(trailers) = &trailers {
            let names: Vec<_> = trailers.keys().map(HeaderName::as_str).collect();
            if let Ok(names) = HeaderValue::try_from(names.join(", ")) {
                response.headers.insert(TRAILER, names);
            }
        }
        // `Bytes::from` keeps what a vector has room for; a stored body takes what it weighs.
        let body = Bytes::from(body.into_boxed_slice());
        let mut stored = Stored::new(key, response, body, carried).with_trailers(trailers);
        if stored.response.status == StatusCode::PARTIAL_CONTENT {
            let Some(joined) = partial::joined(&rooms, stored, joins.as_deref()) else { return };
            stored = joined;
        }
        rooms.keep(Arc::new(stored));
        drop(fetch);
    }
}

impl Body for Fill {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        if let Some(ahead) = this.ahead.take() {
            return Poll::Ready(Some(Ok(Frame::data(ahead))));
        }
        let frame = ready!(Pin::new(&mut this.origin).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    this.remember(data);
                } else if let Some(trailers) = frame.trailers_ref() {
                    this.complete_with(trailers);
                }
                // Whoever reads by Content-Length does not ask again after the last byte.
                if this.origin.is_end_stream() {
                    this.complete();
                }
            }
            Some(Err(_)) => this.pending = None,
            None => this.complete(),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.ahead.is_none() && self.origin.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let ahead = self.ahead.as_ref().map_or(0, |ahead| ahead.len() as u64);
        let origin = self.origin.size_hint();
        let mut whole = SizeHint::new();
        if let Some(upper) = origin.upper() {
            whole.set_upper(upper.saturating_add(ahead));
        }
        whole.set_lower(origin.lower().saturating_add(ahead));
        whole
    }
}
