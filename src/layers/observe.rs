//! Observe: one access-log record, one set of counts and the status fields per exchange, whatever happened below.
//!
//! Outermost, so that nothing is answered unseen. What it tells is told when the body has been sent or given up,
//! for only then is it known how the exchange ended.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::AGE;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tower::{Layer, Service};

use super::admit::Permit;
use crate::clock::{Clock, Stopwatch};
use crate::config::{Scope, Token};
use crate::exchange::{Answer, AnswerBody, Arrival, AsStored, BodyError, MARKED, Note};
use crate::routes::{StatusFields, StatusFieldsAudience};
use crate::semantics::cache_status::{CACHE_STATUS, X_CACHE, X_CACHE_RESET_AT, X_CACHED_AT};
use crate::semantics::{CacheStatus, lines};
use crate::telemetry::{AccessLog, Metrics, Record};

const TOKEN: HeaderName = HeaderName::from_static("staleproof-token");

/// Where observations go.
#[derive(Debug)]
pub struct Observer {
    /// What time it is.
    pub clock: Clock,
    /// Who may see status fields that are shown to token holders only; none, where none are shown so.
    pub tokens: Vec<Token>,
    /// One line per exchange.
    pub access_log: AccessLog,
    /// The counts.
    pub metrics: Arc<Metrics>,
}

impl Observer {
    /// A request came whose head could not be read; it was told `status`, and no layer ever saw it.
    pub fn unread(&self, peer: SocketAddr, status: StatusCode) {
        self.tell(&Record::unread(self.clock.now(), peer.ip().to_canonical(), status));
    }

    fn tell(&self, record: &Record) {
        self.access_log.write(record);
        self.metrics.exchange(record.cache.unwrap_or("-"), record.status.as_u16(), record.bytes);
    }
}

/// Makes [`Observe`].
#[derive(Clone, Debug)]
pub struct ObserveLayer {
    observer: Arc<Observer>,
}

impl ObserveLayer {
    /// Tells `observer`.
    pub fn new(observer: Arc<Observer>) -> Self {
        Self { observer }
    }
}

impl<S> Layer<S> for ObserveLayer {
    type Service = Observe<S>;

    fn layer(&self, inner: S) -> Observe<S> {
        Observe { inner, observer: Arc::clone(&self.observer) }
    }
}

/// See the [module](self).
#[derive(Clone, Debug)]
pub struct Observe<S> {
    inner: S,
    observer: Arc<Observer>,
}

impl<S> Service<Arrival> for Observe<S>
where
    S: Service<Arrival, Response = Answer, Error = Infallible>,
{
    type Response = Response<ClientBody>;
    type Error = Infallible;
    type Future = Observed<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, arrival: Arrival) -> Self::Future {
        let request = &arrival.request;
        let tokens = &self.observer.tokens;
        let exchange = Exchange {
            observer: Arc::clone(&self.observer),
            stopwatch: Stopwatch::start(),
            token: if tokens.is_empty() { None } else { request.headers().get(TOKEN).cloned() },
            note: None,
            record: Record {
                at: self.observer.clock.now(),
                took: std::time::Duration::ZERO,
                client: arrival.peer.ip().to_canonical(),
                method: Some(request.method().clone()),
                target: Some(request.uri().clone()),
                host: request.headers().get(http::header::HOST).cloned(),
                // What stands if the client leaves before there is an answer; nginx's word for it.
                status: CLIENT_CLOSED_REQUEST,
                bytes: 0,
                complete: false,
                route: None,
                cache: None,
                forward: None,
                detail: None,
            },
        };
        // In a box: it is handed on several times until the body has been sent.
        Observed { answer: self.inner.call(arrival), exchange: Some(Box::new(exchange)) }
    }
}

/// 499: never sent, since nobody is there to read it.
const CLIENT_CLOSED_REQUEST: StatusCode = match StatusCode::from_u16(499) {
    Ok(status) => status,
    Err(_) => StatusCode::BAD_REQUEST,
};

pin_project! {
    /// The response on its way.
    #[derive(Debug)]
    pub struct Observed<F> {
        #[pin]
        answer: F,
        exchange: Option<Box<Exchange>>,
    }
}

impl<F: Future<Output = Result<Answer, Infallible>>> Future for Observed<F> {
    type Output = Result<Response<ClientBody>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let Ok(answer) = ready!(this.answer.poll(cx));
        let Answer { response, as_stored, route, note, client, permit } = answer;
        let (mut head, body) = response.into_parts();
        if let Some(exchange) = this.exchange {
            exchange.record.status = head.status;
            if let Some(client) = client {
                exchange.record.client = client;
            }
            if let Some(note) = &note {
                exchange.record.cache = Some(note.word.as_str());
                exchange.record.forward = note.status.forward.map(|reason| reason.as_str());
                exchange.record.detail = note.status.detail;
            }
            let shown = route.as_ref().zip(note.as_ref());
            match as_stored {
                Some(AsStored { stored, interims }) => {
                    let mark = interims.lines(|lines| {
                        stored
                            .response
                            .lines
                            .without_length()
                            .iter()
                            .for_each(|part| lines.extend_from_slice(part));
                        if let Some((route, note)) = shown {
                            exchange.tell(route.status_fields, note, lines);
                        }
                    });
                    // It takes them, or they would not be there.
                    head.headers.extend(mark.map(|mark| (MARKED, mark)));
                }
                None => {
                    if let Some((route, note)) = shown {
                        exchange.tell(route.status_fields, note, &mut head.headers);
                    }
                }
            }
            exchange.record.route = route.map(|route| Arc::clone(&route.name));
            exchange.record.complete = body.is_end_stream();
            exchange.note = note;
        }
        let body = ClientBody { body, exchange: this.exchange.take(), permit };
        Poll::Ready(Ok(Response::from_parts(head, body)))
    }
}

/// What status fields are added to. Of all but `Cache-Status` the last cache's word counts.
trait StatusSink {
    /// Of a value that is always there.
    fn constant(&mut self, name: HeaderName, value: &'static str);

    /// Of a value that is made now: printable characters, all of them.
    fn bytes(&mut self, name: HeaderName, value: &[u8]);

    /// "each cache […] appends" (RFC 9211 §2): what caches nearer to the origin said stays.
    fn cache_status(&mut self, status: &CacheStatus);
}

impl StatusSink for HeaderMap {
    fn constant(&mut self, name: HeaderName, value: &'static str) {
        self.insert(name, HeaderValue::from_static(value));
    }

    fn bytes(&mut self, name: HeaderName, value: &[u8]) {
        if let Ok(value) = HeaderValue::from_bytes(value) {
            self.insert(name, value);
        }
    }

    fn cache_status(&mut self, status: &CacheStatus) {
        self.append(CACHE_STATUS, status.to_value());
    }
}

/// Lines beside those of what is stored, of which none has such a name but `Cache-Status`.
impl StatusSink for Vec<u8> {
    fn constant(&mut self, name: HeaderName, value: &'static str) {
        lines::push(name.as_str(), value.as_bytes(), self);
    }

    fn bytes(&mut self, name: HeaderName, value: &[u8]) {
        lines::push(name.as_str(), value, self);
    }

    fn cache_status(&mut self, status: &CacheStatus) {
        lines::push_text(&CACHE_STATUS, self, |text| status.write(text));
    }
}

/// One exchange while it lasts; told when dropped.
#[derive(Debug)]
struct Exchange {
    observer: Arc<Observer>,
    stopwatch: Stopwatch,
    token: Option<HeaderValue>,
    note: Option<Note>,
    record: Record,
}

impl Exchange {
    /// Says what the cache did: the age, where it is not yet said, and the status fields (design: each switchable, visible to
    /// everyone, to token holders or to nobody).
    fn tell(&self, shown: StatusFields, note: &Note, fields: &mut impl StatusSink) {
        if let Some(age) = note.age_secs {
            fields.bytes(AGE, itoa::Buffer::new().format(age).as_bytes());
        }
        let visible = match shown.audience {
            StatusFieldsAudience::Everyone => true,
            StatusFieldsAudience::TokenHolders => self.has_token(),
            StatusFieldsAudience::Nobody => false,
        };
        if !visible {
            return;
        }
        if shown.x_cache {
            fields.constant(X_CACHE, note.word.as_str());
        }
        if let Some(at) = note.cached_at.filter(|_| shown.cached_at) {
            fields.bytes(X_CACHED_AT, &at.iso8601_bytes());
        }
        if let Some(at) = note.reset_at.filter(|_| shown.reset_at) {
            fields.bytes(X_CACHE_RESET_AT, &at.iso8601_bytes());
        }
        if shown.cache_status {
            fields.cache_status(&note.status);
        }
    }

    fn has_token(&self) -> bool {
        self.token
            .as_ref()
            .and_then(|token| token.to_str().ok())
            .and_then(|secret| crate::admin::token_named_by(&self.observer.tokens, secret))
            .is_some_and(|token| token.may.contains(&Scope::Read))
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.record.took = self.stopwatch.elapsed();
        self.observer.tell(&self.record);
    }
}

/// A response body on its way to the client: counts what is sent, and keeps the permit until the end.
#[derive(Debug)]
pub struct ClientBody {
    body: AnswerBody,
    exchange: Option<Box<Exchange>>,
    permit: Option<Permit>,
}

impl ClientBody {
    /// What the cache did, if the request came that far; gone with the last of the body.
    pub fn note(&self) -> Option<&Note> {
        self.exchange.as_ref()?.note.as_ref()
    }

    fn finished(&mut self, complete: bool) {
        if let Some(mut exchange) = self.exchange.take() {
            exchange.record.complete = complete;
        }
        self.permit = None;
    }
}

impl Body for ClientBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        let frame = ready!(Pin::new(&mut this.body).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                if let (Some(data), Some(exchange)) = (frame.data_ref(), &mut this.exchange) {
                    exchange.record.bytes += data.len() as u64;
                    // hyper does not ask again for what a Content-Length says is over.
                    exchange.record.complete = this.body.is_end_stream();
                } else if frame.is_trailers() {
                    // hyper asks for nothing after these.
                    this.finished(true);
                }
            }
            Some(Err(_)) => this.finished(false),
            None => this.finished(true),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::admit::Permit;
    use http_body_util::BodyExt;

    #[tokio::test]
    async fn an_exchange_is_over_with_its_trailers() {
        let (permit, is_free) = Permit::for_test();
        let body = AnswerBody::trailed(Bytes::from_static(b"hello"), HeaderMap::new());
        let mut body = ClientBody { body, exchange: None, permit };
        assert!(body.frame().await.unwrap().unwrap().is_data());
        assert!(!is_free());
        // hyper drops a body after its trailers, and asks for nothing more.
        assert!(body.frame().await.unwrap().unwrap().is_trailers());
        assert!(is_free());
    }
}
