//! What travels: requests gain as they go down, answers lose as they come up.
//!
//! [`Arrival`] (a head, a body, a peer) → [`Routed`] (normalised, with its route) → [`Outbound`] (for the
//! origin); and back: [`OriginBody`] → [`Answer`] (a response with what the cache has to say of it) → the
//! response the client gets. The types are what keeps the layers in order.

mod interim;
mod request_body;

use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Request, Response};
use http_body::{Body, Frame, SizeHint};
use smallvec::SmallVec;
use tokio::time::Sleep;

use crate::cache::{Joined, Reader};
use crate::clock::Timestamp;
use crate::keys::KeyInput;
use crate::layers::admit::Permit;
use crate::origin::OriginBody;
use crate::routes::{Captures, Route};
use crate::semantics::CacheStatus;
use crate::semantics::fields::is_plain;
use crate::semantics::range::Slice;
use crate::store::Stored;

pub use interim::{Answering, Interims, MARKED, Mark, NextLines, Outlet, Unmarked};
pub(crate) use request_body::onward;
pub use request_body::{Demand, Refused, RequestBody};

/// A request as it came in.
#[derive(Debug)]
pub struct Arrival {
    /// The request, with nothing changed yet.
    pub request: Request<RequestBody>,
    /// The other end of the connection.
    pub peer: SocketAddr,
    /// The scheme, where this server knows it by itself; else it is what a trusted proxy says, or `http`.
    pub scheme: Option<Scheme>,
    /// Where interim responses go.
    pub interims: Interims,
    /// Why it is made.
    pub cause: Cause,
}

impl Arrival {
    /// One of a client.
    pub fn new(request: Request<RequestBody>, peer: SocketAddr, interims: Interims) -> Self {
        Self { request, peer, scheme: None, interims, cause: Cause::Client }
    }
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

/// Why a request is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A client has sent it.
    Client,
    /// Its answer is to be stored before clients come.
    WarmUp,
    /// What is stored is to be fetched again: the origin is asked, whatever is stored.
    Refresh,
}

/// Addresses in the order of a request's way, the client's first.
pub type Hops = SmallVec<[IpAddr; 2]>;

/// A request that a key may be built from: one valid host, a normalised target, a known client.
#[derive(Debug)]
pub struct Normalized {
    /// Method and fields as sent, but for `Host`, which is [`host`](Self::host); the target in origin-form, its path
    /// normalised (RFC 3986 §6.2.2).
    pub head: http::request::Parts,
    /// The body.
    pub body: RequestBody,
    /// Lower-case, with the port unless it is the scheme's default.
    pub host: Arc<str>,
    /// The scheme the client used.
    pub scheme: Scheme,
    /// The client's address: the peer's, or what a trusted proxy says it is.
    pub client: IpAddr,
    /// The way to here: the client, and the trusted proxies after it. What these say of the way to the client is
    /// hearsay.
    pub hops: Hops,
    /// The peer is one of the trusted proxies.
    pub trusted: bool,
    /// Where interim responses go.
    pub interims: Interims,
    /// Whether the client takes trailer fields (RFC 9110 §6.5.1).
    pub takes_trailers: bool,
    /// Whether its fields are [plain](crate::semantics::fields::is_plain).
    pub is_plain: bool,
    /// Why it is made.
    pub cause: Cause,
}

impl Normalized {
    /// The same request with other fields and another body.
    pub fn with(&self, headers: HeaderMap, body: RequestBody) -> Self {
        let (mut head, ()) = Request::new(()).into_parts();
        head.method = self.head.method.clone();
        head.uri = self.head.uri.clone();
        head.version = self.head.version;
        let is_plain = is_plain(&headers);
        head.headers = headers;
        let Self { ref host, scheme, client, ref hops, trusted, ref interims, takes_trailers, cause, .. } =
            *self;
        let (host, hops, interims) = (Arc::clone(host), hops.clone(), interims.clone());
        Self { head, body, host, scheme, client, hops, trusted, interims, takes_trailers, is_plain, cause }
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
    /// Only this piece of the response is wanted, which is stored by itself.
    pub slice: Option<Slice>,
}

impl Routed {
    /// Host, and path with query.
    pub fn url(&self) -> (&str, &str) {
        let target = self.request.head.uri.path_and_query().map_or("/", PathAndQuery::as_str);
        (&self.request.host, target)
    }

    /// The content that is part of the key: a QUERY's, which was read before anything was looked up. It may be empty.
    pub fn keyed_content(&self) -> Option<Bytes> {
        let is_query = self.request.head.method == Method::QUERY;
        is_query.then(|| self.request.body.as_whole().cloned().unwrap_or_default())
    }

    /// What the key is built from.
    pub fn key_input(&self, now: Timestamp) -> KeyInput<'_> {
        let request = &self.request;
        KeyInput {
            method: &request.head.method,
            scheme: request.scheme.as_str(),
            host: &request.host,
            path: request.head.uri.path(),
            query: request.head.uri.query(),
            headers: &request.head.headers,
            captures: &self.captures,
            client: request.client,
            now,
        }
    }
}

/// A request for the origin. Below the cache, above the fields of one hop.
#[derive(Debug)]
pub struct Outbound {
    /// The request.
    pub request: Normalized,
    /// Index into the plan's upstreams.
    pub upstream: usize,
    /// Whether the origin is to be told that its `Surrogate-Control` is heard.
    pub heeds_surrogate_control: bool,
}

/// A response with what there is to say of it.
#[derive(Debug)]
pub struct Answer {
    /// The response.
    pub response: Response<AnswerBody>,
    /// Its fields are those of what is stored, as they are; it has none.
    pub as_stored: Option<AsStored>,
    /// Its route, once one was found.
    pub route: Option<Arc<Route>>,
    /// What the cache did, if the request came that far.
    pub note: Option<Note>,
    /// The client's address, once a trusted proxy's word on it has been heard.
    pub client: Option<IpAddr>,
    /// What it was admitted with; given back with the last byte.
    pub permit: Option<Permit>,
}

/// A stored response whose fields are sent as they are, and where they go.
#[derive(Debug)]
pub struct AsStored {
    /// What is stored.
    pub stored: Arc<Stored>,
    /// Where the exchange's own bytes go.
    pub interims: Interims,
}

impl Answer {
    /// The answer to a request that came as far as the cache.
    pub fn new(response: Response<AnswerBody>, routed: &Routed, note: Note) -> Self {
        let (route, client) = (Some(Arc::clone(&routed.route)), Some(routed.request.client));
        Self { response, as_stored: None, route, note: Some(note), client, permit: None }
    }

    /// An answer from above the cache: refused before anything could be looked up.
    pub fn refused(response: Response<AnswerBody>) -> Self {
        Self { response, as_stored: None, route: None, note: None, client: None, permit: None }
    }
}

/// What the cache did with a request. The status fields, the access log and the metrics all say this.
#[derive(Clone, Debug)]
pub struct Note {
    /// The word of `X-Cache`.
    pub word: CacheWord,
    /// The member of `Cache-Status`.
    pub status: CacheStatus,
    /// How old the stored response is, in seconds, where its fields do not say it yet.
    pub age_secs: Option<u64>,
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
    Origin(Box<OriginBody>),
    /// Read from a fill, by itself or with others.
    Fill(Box<Reader>),
    /// Put together from slices.
    Joined(Box<Joined>),
    /// Stored, and followed by trailer fields.
    Trailed(Box<Trailed>),
}

/// A stored body with its trailer fields; each taken when sent.
#[derive(Debug)]
pub struct Trailed {
    body: Option<Bytes>,
    trailers: Option<HeaderMap>,
}

impl AnswerBody {
    /// A body that is all there.
    pub fn whole(bytes: Bytes) -> Self {
        if bytes.is_empty() { Self::Empty } else { Self::Whole(Some(bytes)) }
    }

    /// A body that still comes from the origin.
    pub fn origin(body: OriginBody) -> Self {
        Self::Origin(Box::new(body))
    }

    /// A body that is all there, and trailer fields after it. Has no length that could be announced: only a chunked
    /// message has room for trailers.
    pub fn trailed(bytes: Bytes, trailers: HeaderMap) -> Self {
        let body = (!bytes.is_empty()).then_some(bytes);
        Self::Trailed(Box::new(Trailed { body, trailers: Some(trailers) }))
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
            AnswerBody::Origin(body) => Pin::new(&mut **body).poll_frame(cx),
            AnswerBody::Fill(reader) => Pin::new(&mut **reader).poll_frame(cx),
            AnswerBody::Joined(joined) => Pin::new(&mut **joined).poll_frame(cx),
            AnswerBody::Trailed(trailed) => {
                let data = trailed.body.take().map(Frame::data);
                Poll::Ready(data.or_else(|| trailed.trailers.take().map(Frame::trailers)).map(Ok))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            AnswerBody::Empty => true,
            AnswerBody::Whole(bytes) => bytes.is_none(),
            AnswerBody::Origin(body) => body.is_end_stream(),
            AnswerBody::Fill(reader) => reader.is_end_stream(),
            AnswerBody::Joined(joined) => joined.is_end_stream(),
            AnswerBody::Trailed(trailed) => trailed.trailers.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            AnswerBody::Empty => SizeHint::with_exact(0),
            AnswerBody::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            AnswerBody::Origin(body) => body.size_hint(),
            AnswerBody::Fill(reader) => reader.size_hint(),
            AnswerBody::Joined(joined) => joined.size_hint(),
            AnswerBody::Trailed(_) => SizeHint::default(),
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
    /// The origin's message broke off, or the client held up others for too long.
    #[error("the response broke off")]
    Incomplete,
    /// Nobody asked for it: the final response came first.
    #[error("the origin answered without the body")]
    Refused,
    /// The connection broke, or the framing was wrong.
    #[error("the message broke off")]
    Broken(#[source] hyper::Error),
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
        polled: Poll<Option<Result<T, BodyError>>>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<T, BodyError>>> {
        if let Poll::Ready(ready) = polled {
            self.pause = None;
            return Poll::Ready(ready);
        }
        if self.limit == Duration::MAX {
            return Poll::Pending;
        }
        let limit = self.limit;
        let pause = self.pause.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        pause.as_mut().poll(cx).map(|()| Some(Err(BodyError::Idle { limit })))
    }
}
