//! HTTP/2 (RFC 9113) on one connection, by hyper, and what hyper leaves to its callers.
//!
//! - Requests are made what they would be in HTTP/1.1: a target in origin-form and a `Host`, one line of `Cookie`. So no
//!   other room need know of HTTP/2.
//! - A response is handed over in pieces, as the client gives room for them. A client that gives none loses the stream, as one
//!   that does not read loses the connection: else it would keep the response, and what that holds, for ever.
//! - What one poll of the connection writes is written at once.
//! - A connection without streams ends after a while; hyper would keep it.
//!
//! Interim responses are not passed on: hyper has no way to send them, and the outlet is HTTP/1's.

use std::cell::Cell;
use std::convert::Infallible;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{COOKIE, HOST};
use http::uri::{PathAndQuery, Scheme};
use http::{HeaderMap, HeaderValue, Method, Request, Response, Uri};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::server::conn::http2;
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use pin_project_lite::pin_project;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Sleep;

use super::connection::Terms;
use super::gather::Gathered;
use super::patient::Patient;
use crate::clock::Stopwatch;
use crate::config;
use crate::semantics::fields::takes_trailers;

/// Streams open at once on one connection.
const MAX_STREAMS: u32 = 128;

/// How much of request bodies may be on its way on one stream, and on one connection.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;

/// How much of a response waits for room in a stream.
const MAX_SEND_BUFFER: usize = 64 * 1024;

/// How much of a body is handed over at once. What is handed over can no longer be taken back, and the last piece of a body
/// stays until its client makes room or leaves.
const PIECE: usize = 16 * 1024;

/// Streams that are given up before they were looked at, and streams that are reset for what is wrong with them, before the
/// connection is closed (CVE-2023-44487, CVE-2025-8671).
const MAX_PENDING_RESETS: usize = 32;
const MAX_ERROR_RESETS: usize = 256;

/// How often it is asked whether the client is there, and how long it has to say so.
const PING_INTERVAL: Duration = Duration::from_secs(20);

/// How long a client that was told to go, and waits for nothing, may stay.
const FAREWELL: Duration = Duration::from_secs(5);

/// Serves one connection until it ends or the server drains.
///
/// # Errors
/// Why it ended otherwise than it was meant to.
pub(super) async fn serve<T, S, B>(stream: Patient<T>, service: S, mut terms: Terms<'_>) -> hyper::Result<()>
where
    T: AsyncRead + AsyncWrite + Unpin,
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible, Future: Send + 'static>,
    B: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
{
    let streams = Streams { open: Arc::default(), stall: terms.settings.write_stall_timeout };
    let stream = Gathered::new(stream);
    let connection = builder(terms.settings, streams.clone())
        .serve_connection(TokioIo::new(stream.handle()), Exchanges { service });
    let idle = terms.settings.head_timeout;
    let connection = Connection {
        connection,
        stream,
        ended: None,
        streams,
        idle,
        timer: None,
        since: Stopwatch::start(),
        busy: false,
        leaving: false,
    };
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        biased;
        ended = connection.as_mut() => return ended,
        () = terms.stopped() => connection.as_mut().leave(),
    }
    connection.await
}

fn builder(settings: &config::Server, streams: Streams) -> http2::Builder<Streams> {
    let mut builder = http2::Builder::new(streams);
    builder
        .timer(TokioTimer::new())
        .max_header_list_size(u32::try_from(settings.max_head_bytes).unwrap_or(u32::MAX))
        .max_concurrent_streams(MAX_STREAMS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        // A window that grows with the client's speed has no bound that is written anywhere.
        .adaptive_window(false)
        .max_send_buf_size(MAX_SEND_BUFFER)
        .max_pending_accept_reset_streams(MAX_PENDING_RESETS)
        .max_local_error_reset_streams(MAX_ERROR_RESETS)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_INTERVAL);
    builder
}

/// What hyper's connection can be told.
trait Graceful: Future<Output = hyper::Result<()>> {
    fn graceful_shutdown(self: Pin<&mut Self>);
}

impl<T, S, B> Graceful for http2::Connection<TokioIo<Gathered<Patient<T>>>, Exchanges<S>, Streams>
where
    T: AsyncRead + AsyncWrite + Unpin,
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible, Future: Send + 'static>,
    B: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
{
    fn graceful_shutdown(self: Pin<&mut Self>) {
        http2::Connection::graceful_shutdown(self);
    }
}

pin_project! {
    /// hyper's connection, which ends when it has had no streams for a while.
    struct Connection<C, S> {
        #[pin]
        connection: C,
        // What it writes to.
        stream: Gathered<S>,
        // How it has ended, while what it wrote last is sent.
        ended: Option<hyper::Result<()>>,
        streams: Streams,
        // How long it may be without streams.
        idle: Duration,
        timer: Option<Pin<Box<Sleep>>>,
        // When it was last seen with streams.
        since: Stopwatch,
        busy: bool,
        // The client has been told to open no more.
        leaving: bool,
    }
}

impl<C: Graceful, S> Connection<C, S> {
    /// Lets the streams there are come to their ends, and takes no more.
    fn leave(self: Pin<&mut Self>) {
        let this = self.project();
        if !std::mem::replace(this.leaving, true) {
            this.connection.graceful_shutdown();
            *this.since = Stopwatch::start();
            *this.timer = None;
        }
    }
}

impl<C: Graceful, S: AsyncWrite + Unpin> Future for Connection<C, S> {
    type Output = hyper::Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<hyper::Result<()>> {
        loop {
            let this = self.as_mut().project();
            if this.ended.is_none()
                && let Poll::Ready(ended) = this.connection.poll(cx)
            {
                *this.ended = Some(ended);
            }
            let sent = this.stream.poll_send(cx);
            if this.ended.is_some() {
                ready!(sent);
                return Poll::Ready(this.ended.take().unwrap_or(Ok(())));
            }
            // The last stream may have ended just now, or long after this was polled last.
            let busy = this.streams.any();
            if std::mem::replace(this.busy, busy) || busy {
                *this.since = Stopwatch::start();
            }
            let limit = if *this.leaving { FAREWELL } else { *this.idle };
            let timer = this.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
            ready!(timer.as_mut().poll(cx));
            let left = limit.saturating_sub(this.since.elapsed());
            // The end of a last response may still be on its way.
            let busy = busy || (*this.leaving && this.stream.progressed());
            if busy || !left.is_zero() {
                timer.set(tokio::time::sleep(if busy { limit } else { left }));
            } else if *this.leaving {
                return Poll::Ready(Ok(()));
            } else {
                self.as_mut().leave();
            }
        }
    }
}

/// Where hyper puts the futures of streams: those that are not done at once, each into a task of its own.
#[derive(Clone, Debug)]
struct Streams {
    open: Arc<AtomicUsize>,
    /// How long a response may wait for its client.
    stall: Duration,
}

impl Streams {
    fn any(&self) -> bool {
        self.open.load(Ordering::Relaxed) > 0
    }
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Streams {
    fn execute(&self, exchange: F) {
        self.open.fetch_add(1, Ordering::Relaxed);
        let open = Open(Arc::clone(&self.open));
        let mut stream = Box::pin(Stream { exchange, limit: self.stall, stall: None, open });
        // A hit waits for nothing, and needs no task. What waits is polled again by its own, which is then woken.
        let mut unwoken = Context::from_waker(Waker::noop());
        let first = AssertUnwindSafe(|| stream.as_mut().poll(&mut unwoken));
        // As in a task: what panics here must not take the other streams with it.
        if let Ok(Poll::Pending) = catch_unwind(first) {
            tokio::spawn(stream);
        }
    }
}

/// A stream, as it is counted.
#[derive(Debug)]
struct Open(Arc<AtomicUsize>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

thread_local! {
    /// What came of asking the exchange or its body while a stream was polled last. It is hyper that asks, and this is
    /// all there is to tell what a stream waits for.
    static ASKED: Cell<Asked> = const { Cell::new(Asked::Nothing) };
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    /// It was not asked.
    Nothing,
    /// It had something, so that it is the client who has to take it now.
    Something,
    /// It has nothing yet.
    Waits,
}

/// Notes what came of asking.
fn noted<T>(polled: Poll<T>) -> Poll<T> {
    ASKED.set(if polled.is_pending() { Asked::Waits } else { Asked::Something });
    polled
}

pin_project! {
    /// An exchange as hyper runs it. It is given up, and the stream is reset, if its client takes nothing for too long.
    struct Stream<F> {
        #[pin]
        exchange: F,
        limit: Duration,
        stall: Option<Pin<Box<Sleep>>>,
        // Dropped last.
        open: Open,
    }
}

impl<F: Future<Output = ()>> Future for Stream<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        ASKED.set(Asked::Nothing);
        if this.exchange.poll(cx).is_ready() {
            return Poll::Ready(());
        }
        match ASKED.get() {
            // The answer and its body have limits of their own.
            Asked::Waits => {
                *this.stall = None;
                return Poll::Pending;
            }
            Asked::Something => *this.stall = None,
            Asked::Nothing => {}
        }
        let limit = *this.limit;
        this.stall.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit))).as_mut().poll(cx)
    }
}

/// The service of one connection's streams.
#[derive(Debug)]
struct Exchanges<S> {
    service: S,
}

impl<S, B> Service<Request<Incoming>> for Exchanges<S>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
{
    type Response = Response<Pieces<B>>;
    type Error = Infallible;
    type Future = Exchange<S::Future>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        let wanted = Wanted {
            content: *request.method() != Method::HEAD,
            trailers: takes_trailers(request.headers()),
        };
        in_origin_form(&mut request);
        join_cookies(request.headers_mut());
        Exchange { answer: self.service.call(request), wanted }
    }
}

/// What a client wants of a response beside its head.
#[derive(Clone, Copy, Debug)]
struct Wanted {
    content: bool,
    trailers: bool,
}

pin_project! {
    /// An answer on its way.
    struct Exchange<F> {
        #[pin]
        answer: F,
        wanted: Wanted,
    }
}

impl<F, B> Future for Exchange<F>
where
    F: Future<Output = Result<Response<B>, Infallible>>,
{
    type Output = Result<Response<Pieces<B>>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let wanted = *this.wanted;
        let Ok(response) = ready!(noted(this.answer.poll(cx)));
        Poll::Ready(Ok(response.map(|body| Pieces { body, rest: Bytes::new(), wanted })))
    }
}

pin_project! {
    /// A body in pieces.
    struct Pieces<B> {
        #[pin]
        body: B,
        // What has been taken from it, and goes first.
        rest: Bytes,
        wanted: Wanted,
    }
}

impl<B: Body<Data = Bytes>> Body for Pieces<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let mut this = self.project();
        if !this.wanted.content {
            return noted(Poll::Ready(None));
        }
        while this.rest.is_empty() {
            let Some(frame) = ready!(noted(this.body.as_mut().poll_frame(cx)?)) else {
                return Poll::Ready(None);
            };
            match frame.into_data() {
                Ok(data) if data.len() <= PIECE => return Poll::Ready(Some(Ok(Frame::data(data)))),
                Ok(data) => *this.rest = data,
                Err(frame) if this.wanted.trailers => return Poll::Ready(Some(Ok(frame))),
                Err(_) => {}
            }
        }
        let piece = if this.rest.len() > PIECE {
            this.rest.split_to(PIECE)
        } else {
            // Copied: it may stay for long, and would keep all that it is the end of.
            Bytes::copy_from_slice(&std::mem::take(this.rest))
        };
        noted(Poll::Ready(Some(Ok(Frame::data(piece)))))
    }

    fn is_end_stream(&self) -> bool {
        !self.wanted.content || (self.rest.is_empty() && self.body.is_end_stream())
    }

    /// Asked before the first frame only.
    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Makes of `:authority` what HTTP/1.1 has for it: the `Host` field, and a target without a host. Where the two
/// contradict each other, or the scheme is not what it seems here, both stay as they are, to be refused as in HTTP/1.1.
///
/// "An intermediary that converts a request [to HTTP/1.1] MUST retain any port information, and […] an intermediary that needs
/// to generate a Host header field […] MUST use the value from the ":authority" pseudo-header field" (RFC 9113 §8.3.1)
fn in_origin_form<B>(request: &mut Request<B>) {
    let Some(authority) = request.uri().authority() else { return };
    let authority = authority.as_str();
    match request.headers().get(HOST) {
        Some(host) if !host.as_bytes().eq_ignore_ascii_case(authority.as_bytes()) => return,
        Some(_) => {}
        None => {
            // An authority is printable, so there is always such a field.
            if let Ok(host) = HeaderValue::from_str(authority) {
                request.headers_mut().insert(HOST, host);
            }
        }
    }
    if request.uri().scheme() != Some(&Scheme::HTTP) || *request.method() == Method::CONNECT {
        return;
    }
    let target = request.uri().path_and_query().cloned();
    *request.uri_mut() = Uri::from(target.unwrap_or(PathAndQuery::from_static("/")));
}

/// "If there are multiple Cookie header fields after decompression, these MUST be concatenated into a single octet
/// string using the two-octet delimiter of 0x3b, 0x20 […] before being passed into a non-HTTP/2 context" (RFC 9113 §8.2.3)
fn join_cookies(fields: &mut HeaderMap) {
    let mut lines = fields.get_all(COOKIE).iter();
    let (Some(first), Some(second)) = (lines.next(), lines.next()) else { return };
    let mut joined = BytesMut::from(first.as_bytes());
    for line in [second].into_iter().chain(lines) {
        joined.extend_from_slice(b"; ");
        joined.extend_from_slice(line.as_bytes());
    }
    // Of bytes that each may stand in a field.
    if let Ok(joined) = HeaderValue::from_maybe_shared(joined.freeze()) {
        fields.insert(COOKIE, joined);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Version;
    use http_body_util::{BodyExt, Full};

    #[test]
    fn an_authority_is_a_host() {
        let check = |target: &str, host: Option<&str>, expected: (&str, &str)| {
            let mut request = Request::builder().uri(target).version(Version::HTTP_2);
            if let Some(host) = host {
                request = request.header(HOST, host);
            }
            let mut request = request.body(()).unwrap();
            in_origin_form(&mut request);
            let host = request.headers().get(HOST).map_or("", |host| host.to_str().unwrap());
            assert_eq!((request.uri().to_string().as_str(), host), expected);
        };
        check("http://a.test:8080/x?y", None, ("/x?y", "a.test:8080"));
        check("http://a.test/x", Some("A.test"), ("/x", "A.test"));
        check("/x", Some("a.test"), ("/x", "a.test"));
        // What they contradict each other in is for the rule of HTTP/1.1 to see.
        check("http://a.test/x", Some("b.test"), ("http://a.test/x", "b.test"));
        check("https://a.test/x", None, ("https://a.test/x", "a.test"));
    }

    #[test]
    fn crumbs_are_one_cookie() {
        let check = |lines: &[&'static str], expected: &[&str]| {
            let mut fields = HeaderMap::new();
            for &line in lines {
                fields.append(COOKIE, HeaderValue::from_static(line));
            }
            join_cookies(&mut fields);
            assert_eq!(fields.get_all(COOKIE).iter().collect::<Vec<_>>(), expected);
        };
        check(&[], &[]);
        check(&["a=1; b=2"], &["a=1; b=2"]);
        check(&["a=1", "b=2", "c=3; d=4"], &["a=1; b=2; c=3; d=4"]);
    }

    fn pieces(length: usize, wanted: Wanted) -> Pieces<Full<Bytes>> {
        Pieces { body: Full::new(Bytes::from(vec![b'x'; length])), rest: Bytes::new(), wanted }
    }

    #[tokio::test]
    async fn a_body_in_pieces_is_the_same_body() {
        let wanted = Wanted { content: true, trailers: true };
        for length in [0, 1, PIECE, PIECE + 1, 5 * PIECE, 5 * PIECE + 7] {
            let mut body = pieces(length, wanted);
            assert_eq!(body.size_hint().exact(), Some(length as u64));
            let mut seen = 0;
            while !body.is_end_stream() {
                let piece = body.frame().await.unwrap().unwrap().into_data().unwrap();
                assert!(piece.len() <= PIECE);
                seen += piece.len();
            }
            assert_eq!(seen, length);
            assert!(body.frame().await.is_none());
        }
    }

    #[tokio::test]
    async fn the_answer_to_a_head_has_no_content() {
        let mut body = pieces(10, Wanted { content: false, trailers: false });
        assert!(body.is_end_stream());
        assert!(body.frame().await.is_none());
    }
}
