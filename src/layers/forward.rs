//! Forward: the fields of one hop are taken off, and those of the next put on (RFC 9110 §7.6).
//!
//! Below the cache on purpose: keys and `Vary` see what the client sent, and what is stored is not tied to the
//! client that happened to cause the fetch.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, FORWARDED, TE, TRANSFER_ENCODING, VIA};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Version};
use http_body::Body;
use tower::{Layer, Service};

use super::claims;
use crate::exchange::{Normalized, Outbound};
use crate::origin::ToOrigin;
use crate::semantics::fields::{end_to_end, only};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const CDN_LOOP: HeaderName = HeaderName::from_static("cdn-loop");

/// Makes [`Forward`].
#[derive(Clone, Debug)]
pub struct ForwardLayer {
    instance: Arc<str>,
}

impl ForwardLayer {
    /// `instance`: this process's token in `CDN-Loop` (RFC 8586).
    pub fn new(instance: Arc<str>) -> Self {
        Self { instance }
    }
}

impl<S> Layer<S> for ForwardLayer {
    type Service = Forward<S>;

    fn layer(&self, inner: S) -> Forward<S> {
        Forward { inner, instance: Arc::clone(&self.instance) }
    }
}

/// See the [module](self).
#[derive(Clone, Debug)]
pub struct Forward<S> {
    inner: S,
    instance: Arc<str>,
}

impl<S: Service<ToOrigin>> Service<Outbound> for Forward<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, Outbound { request, upstream }: Outbound) -> S::Future {
        let headers = onward(&request, &self.instance);
        let Normalized { head, body, interims, .. } = request;
        let mut request = Request::new(body);
        *request.method_mut() = head.method;
        *request.uri_mut() = head.uri;
        *request.headers_mut() = headers;
        self.inner.call(ToOrigin { request, upstream, interims })
    }
}

/// The fields that travel on.
fn onward(request: &Normalized, instance: &str) -> HeaderMap {
    let mut fields =
        only(&end_to_end(&request.head.headers), |name| claims::passes(name.as_str(), request.trusted));
    fields.remove("staleproof-token");
    // Without a body nothing can be waited for; "A server that receives a 100-continue expectation in an HTTP/1.0
    // request MUST ignore that expectation." (RFC 9110 §10.1.1)
    if request.body.is_end_stream() || request.head.version < Version::HTTP_11 {
        fields.remove(EXPECT);
    }
    if request.takes_trailers {
        fields.insert(TE, HeaderValue::from_static("trailers"));
        // "a sender of TE MUST also send a "TE" connection option" (RFC 9110 §10.1.4)
        fields.insert(CONNECTION, HeaderValue::from_static("te"));
    }
    // One framing only: hyper's client makes it from the body. Without a length it would take a GET's or HEAD's
    // body for none, and silently drop it.
    if !request.body.is_end_stream() && request.body.size_hint().exact().is_none() {
        fields.remove(CONTENT_LENGTH);
        fields.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    via(request, &mut fields);
    forwarded(request, &mut fields);
    if let Ok(token) = HeaderValue::from_str(instance) {
        fields.append(CDN_LOOP, token);
    }
    fields
}

/// RFC 9110 §7.6.3.
fn via(request: &Normalized, fields: &mut HeaderMap) {
    fields.append(VIA, via_value(request.head.version));
}

/// This proxy's member of `Via`, for a message received in `version`.
pub(crate) fn via_value(version: Version) -> HeaderValue {
    HeaderValue::from_static(if version == Version::HTTP_10 { "1.0 staleproof" } else { "1.1 staleproof" })
}

/// RFC 7239, and the older fields for the same. What a stranger says is overwritten, what a trusted proxy says
/// is carried on.
fn forwarded(request: &Normalized, fields: &mut HeaderMap) {
    let peer = request.peer.ip().to_canonical();
    let mut element = String::with_capacity(64);
    // Writing to a String cannot fail.
    let _ = match peer {
        IpAddr::V4(address) => write!(element, "for={address}"),
        IpAddr::V6(address) => write!(element, "for=\"[{address}]\""),
    };
    let _ = write!(element, ";host=\"{}\";proto={}", request.host, request.scheme.as_str());
    let address = HeaderValue::try_from(peer.to_string()).ok();
    let element = HeaderValue::try_from(element).ok();
    let mut put = |name: HeaderName, value: Option<HeaderValue>, told: Told| {
        let Some(value) = value else { return };
        match told {
            Told::ByEveryHop if request.trusted => drop(fields.append(name, value)),
            Told::ByTheFirst if request.trusted && fields.contains_key(&name) => {}
            Told::ByEveryHop | Told::ByTheFirst => drop(fields.insert(name, value)),
        }
    };
    put(FORWARDED, element, Told::ByEveryHop);
    put(X_FORWARDED_FOR, address, Told::ByEveryHop);
    put(X_FORWARDED_PROTO, Some(HeaderValue::from_static(request.scheme.as_str())), Told::ByTheFirst);
    put(X_FORWARDED_HOST, HeaderValue::from_str(&request.host).ok(), Told::ByTheFirst);
}

/// Whether each hop adds to a field, or the hop next to the client says it for all.
enum Told {
    ByEveryHop,
    ByTheFirst,
}
