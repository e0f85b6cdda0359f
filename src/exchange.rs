//! What travels: requests gain as they go down, answers lose as they come up.
//!
//! [`Arrival`] (a head, a body, a peer) → [`Routed`] (normalised, with its route) → [`Outbound`] (for the
//! origin); and back: [`OriginBody`] → [`Answer`] (a response with what the cache has to say of it) → the
//! response the client gets. The types are what keeps the layers in order.

use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::time::Sleep;

use crate::cache::Fill;
use crate::clock::Timestamp;
use crate::origin::OriginBody;
use crate::routes::{Captures, Route};
use crate::semantics::CacheStatus;

/// A request as it came in.
#[derive(Debug)]
pub struct Arrival {
    /// The request, with nothing changed yet.
    pub request: Request<RequestBody>,
    /// The other end of the connection.
    pub peer: SocketAddr,
}

/// The scheme the client used, as far as is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Cleartext.
    Http,
    /// TLS, ended here or at a trusted proxy in front.
    Https,
}

impl Scheme {
    /// As it stands in a URI.
    pub const fn as_str(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
        }
    }
}

/// A request that a key may be built from: one valid host, a normalised target, a known client.
#[derive(Debug)]
pub struct Normalized {
    /// Method and fields as sent; the target in origin-form, its path normalised (RFC 3986 §6.2.2).
    pub head: http::request::Parts,
    /// The body.
    pub body: RequestBody,
    /// Lower-case, with the port unless it is the scheme's default.
    pub host: Arc<str>,
    /// The scheme the client used.
    pub scheme: Scheme,
    /// The other end of the connection.
    pub peer: SocketAddr,
    /// The client's address: the peer's, or what a trusted proxy says it is.
    pub client: IpAddr,
    /// The peer is one of the trusted proxies.
    pub trusted: bool,
}

impl Normalized {
    /// The same request with other fields and another body.
    pub fn with(&self, headers: HeaderMap, body: RequestBody) -> Self {
        let (mut head, ()) = Request::new(()).into_parts();
        head.method = self.head.method.clone();
        head.uri = self.head.uri.clone();
        head.version = self.head.version;
        head.headers = headers;
        let Self { ref host, scheme, peer, client, trusted, .. } = *self;
        Self { head, body, host: Arc::clone(host), scheme, peer, client, trusted }
    }
}

/// A request with its route.
#[derive(Debug)]
pub struct Routed {
    /// The request.
    pub request: Normalized,
    /// What holds for it.
    pub route: Arc<Route>,
    /// Where the captures of the route's path lie in the path.
    pub captures: Captures,
}

/// A request for the origin. Below the cache, above the fields of one hop.
#[derive(Debug)]
pub struct Outbound {
    /// The request.
    pub request: Normalized,
    /// Index into the plan's upstreams.
    pub upstream: usize,
}

/// A response with what there is to say of it.
#[derive(Debug)]
pub struct Answer {
    /// The response.
    pub response: Response<AnswerBody>,
    /// Its route, once one was found.
    pub route: Option<Arc<Route>>,
    /// What the cache did, if the request came that far.
    pub note: Option<Note>,
    /// The client's address, once a trusted proxy's word on it has been heard.
    pub client: Option<IpAddr>,
    /// What it was admitted with; given back with the last byte.
    pub permit: Option<OwnedSemaphorePermit>,
}

impl Answer {
    /// The answer to a request that came as far as the cache.
    pub fn new(response: Response<AnswerBody>, routed: &Routed, note: Note) -> Self {
        let (route, client) = (Some(Arc::clone(&routed.route)), Some(routed.request.client));
        Self { response, route, note: Some(note), client, permit: None }
    }

    /// An answer from above the cache: refused before anything could be looked up.
    pub fn refused(response: Response<AnswerBody>) -> Self {
        Self { response, route: None, note: None, client: None, permit: None }
    }
}

/// What the cache did with a request. The status fields, the access log and the metrics all say this.
#[derive(Clone, Debug)]
pub struct Note {
    /// The word of `X-Cache`.
    pub word: CacheWord,
    /// The member of `Cache-Status`.
    pub status: CacheStatus,
    /// When the stored response was received (`X-Cached-At`).
    pub cached_at: Option<Timestamp>,
    /// When it stops being fresh (`X-Cache-Reset-At`).
    pub reset_at: Option<Timestamp>,
}

/// The five words of `X-Cache`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CacheWord {
    /// Answered from the store alone.
    Hit,
    /// Nothing usable was stored; the origin answered.
    Miss,
    /// Answered from the store with a response that is no longer fresh.
    Stale,
    /// The cache took no part.
    Bypass,
    /// Something was stored, and the origin was asked again: it confirmed or replaced it.
    Refresh,
}

impl CacheWord {
    /// As it stands in the field.
    pub const fn as_str(self) -> &'static str {
        match self {
            CacheWord::Hit => "HIT",
            CacheWord::Miss => "MISS",
            CacheWord::Stale => "STALE",
            CacheWord::Bypass => "BYPASS",
            CacheWord::Refresh => "REFRESH",
        }
    }

    /// The field's value.
    pub fn to_value(self) -> HeaderValue {
        HeaderValue::from_static(self.as_str())
    }
}

/// The body of an answer, wherever it comes from.
#[derive(Debug)]
pub enum AnswerBody {
    /// Nothing.
    Empty,
    /// A stored or generated body; taken when sent.
    Whole(Option<Bytes>),
    /// Streamed from the origin.
    Origin(OriginBody),
    /// Streamed from the origin and remembered on the way.
    Fill(Box<Fill>),
}

impl AnswerBody {
    /// A body that is all there.
    pub fn whole(bytes: Bytes) -> Self {
        if bytes.is_empty() { Self::Empty } else { Self::Whole(Some(bytes)) }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut *self {
            AnswerBody::Empty => Poll::Ready(None),
            AnswerBody::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            AnswerBody::Origin(body) => Pin::new(body).poll_frame(cx),
            AnswerBody::Fill(fill) => Pin::new(&mut **fill).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            AnswerBody::Empty => true,
            AnswerBody::Whole(bytes) => bytes.is_none(),
            AnswerBody::Origin(body) => body.is_end_stream(),
            AnswerBody::Fill(fill) => fill.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            AnswerBody::Empty => SizeHint::with_exact(0),
            AnswerBody::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            AnswerBody::Origin(body) => body.size_hint(),
            AnswerBody::Fill(fill) => fill.size_hint(),
        }
    }
}

/// Why a body broke off.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The client sent more than the configuration allows.
    #[error("the request body is larger than {limit} bytes")]
    TooLarge {
        /// The limit, in bytes.
        limit: u64,
    },
    /// Nothing came for too long.
    #[error("nothing came for {limit:?}")]
    Idle {
        /// The limit.
        limit: Duration,
    },
    /// The connection broke, or the framing was wrong.
    #[error("the message broke off")]
    Broken(#[source] hyper::Error),
}

/// A request body on its way to the origin: bounded in bytes, and in how long it may pause.
#[derive(Debug)]
pub struct RequestBody {
    /// What was read of it before and goes first.
    ahead: Option<Bytes>,
    frames: Frames,
    left: u64,
    limit: u64,
    idle: IdleTimer,
    /// Dropped with the body: then it has been sent, or given up.
    unsent: Option<oneshot::Sender<()>>,
}

#[derive(Debug)]
enum Frames {
    Empty,
    Whole(Option<Bytes>),
    Incoming(Incoming),
}

impl RequestBody {
    /// No body.
    pub fn empty() -> Self {
        Self::of(Frames::Empty, u64::MAX, Duration::MAX)
    }

    /// A body that is all there; nothing bounds it but itself.
    pub fn whole(bytes: Bytes) -> Self {
        let frames = if bytes.is_empty() { Frames::Empty } else { Frames::Whole(Some(bytes)) };
        Self::of(frames, u64::MAX, Duration::MAX)
    }

    /// A body that a client sends: at most `limit` bytes, with pauses of at most `idle_timeout`.
    pub fn incoming(body: Incoming, limit: u64, idle_timeout: Duration) -> Self {
        if body.is_end_stream() {
            return Self::empty();
        }
        Self::of(Frames::Incoming(body), limit, idle_timeout)
    }

    fn of(frames: Frames, limit: u64, idle_timeout: Duration) -> Self {
        let idle = IdleTimer::new(idle_timeout);
        Self { ahead: None, frames, left: limit, limit, idle, unsent: None }
    }

    /// The same again, if it is all there.
    pub fn copy(&self) -> Option<Self> {
        match (&self.ahead, &self.frames) {
            (None, Frames::Empty) => Some(Self::empty()),
            (None, Frames::Whole(bytes)) => Some(Self::whole(bytes.clone().unwrap_or_default())),
            _ => None,
        }
    }

    /// This body with what has been read of it already put back.
    pub fn preceded_by(self, read: Bytes) -> Self {
        Self { ahead: Some(read).filter(|read| !read.is_empty()), ..self }
    }

    /// Ready once the body has been sent or given up; `None` if there is nothing to send.
    pub fn sent(&mut self) -> Option<impl Future<Output = ()> + Send + use<>> {
        if self.is_end_stream() {
            return None;
        }
        let (unsent, sent) = oneshot::channel();
        self.unsent = Some(unsent);
        Some(async move {
            // It is never sent on: the end of the other side is the message.
            let _ = sent.await;
        })
    }

    /// Whether the client has announced more than the limit.
    pub fn exceeds_limit(&self) -> bool {
        matches!(&self.frames, Frames::Incoming(body) if body.size_hint().lower() > self.limit)
    }
}

impl Body for RequestBody {
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
        let incoming = match &mut this.frames {
            Frames::Empty => return Poll::Ready(None),
            Frames::Whole(bytes) => return Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Frames::Incoming(incoming) => incoming,
        };
        let polled = Pin::new(incoming).poll_frame(cx);
        match this.idle.watch(polled, cx) {
            Poll::Ready(Some(Ok(frame))) => {
                let length = frame.data_ref().map_or(0, |data| data.len() as u64);
                match this.left.checked_sub(length) {
                    Some(left) => this.left = left,
                    None => return Poll::Ready(Some(Err(BodyError::TooLarge { limit: this.limit }))),
                }
                Poll::Ready(Some(Ok(frame)))
            }
            other => other,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ahead.is_none()
            && match &self.frames {
                Frames::Empty => true,
                Frames::Whole(bytes) => bytes.is_none(),
                Frames::Incoming(incoming) => incoming.is_end_stream(),
            }
    }

    fn size_hint(&self) -> SizeHint {
        let ahead = self.ahead.as_ref().map_or(0, |bytes| bytes.len() as u64);
        let hint = match &self.frames {
            Frames::Empty => SizeHint::with_exact(0),
            Frames::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Frames::Incoming(incoming) => incoming.size_hint(),
        };
        let mut whole = SizeHint::new();
        if let Some(upper) = hint.upper() {
            whole.set_upper(upper.saturating_add(ahead));
        }
        whole.set_lower(hint.lower().saturating_add(ahead));
        whole
    }
}

/// Bounds the pauses within a body. The timer is made at the first pause, so a body that never pauses has none.
#[derive(Debug)]
pub(crate) struct IdleTimer {
    limit: Duration,
    pause: Option<Pin<Box<Sleep>>>,
}

impl IdleTimer {
    pub(crate) fn new(limit: Duration) -> Self {
        Self { limit, pause: None }
    }

    /// Passes on what polling a body gave, and turns a pause that lasts too long into an error.
    pub(crate) fn watch<T>(
        &mut self,
        polled: Poll<Option<Result<T, hyper::Error>>>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<T, BodyError>>> {
        if let Poll::Ready(ready) = polled {
            self.pause = None;
            return Poll::Ready(ready.map(|result| result.map_err(BodyError::Broken)));
        }
        if self.limit == Duration::MAX {
            return Poll::Pending;
        }
        let limit = self.limit;
        let pause = self.pause.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        pause.as_mut().poll(cx).map(|()| Some(Err(BodyError::Idle { limit })))
    }
}
