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
use crate::semantics::fields::{end_to_end, without_where};
use crate::semantics::targeted::SURROGATE_CAPABILITY;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const CDN_LOOP: HeaderName = HeaderName::from_static("cdn-loop");

/// Makes [`Forward`].
#[derive(Clone, Debug)]
pub struct ForwardLayer {
    instance: Arc<str>,
    forward_fields: Arc<[HeaderName]>,
}

impl ForwardLayer {
    /// `instance`: this process's token in `CDN-Loop` (RFC 8586); `forward_fields`: those that are let through though
    /// others of their kind are not.
    pub fn new(instance: Arc<str>, forward_fields: Arc<[HeaderName]>) -> Self {
        Self { instance, forward_fields }
    }
}

impl<S> Layer<S> for ForwardLayer {
    type Service = Forward<S>;

    fn layer(&self, inner: S) -> Forward<S> {
        let Self { instance, forward_fields } = self.clone();
        Forward { inner, instance, forward_fields }
    }
}

/// See the [module](self).
#[derive(Clone, Debug)]
pub struct Forward<S> {
    inner: S,
    instance: Arc<str>,
    forward_fields: Arc<[HeaderName]>,
}

impl<S: Service<ToOrigin>> Service<Outbound> for Forward<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, outbound: Outbound) -> S::Future {
        let Outbound { mut request, upstream, heeds_surrogate_control } = outbound;
        let received = std::mem::take(&mut request.head.headers);
        let mut headers = onward(&request, received, &self.instance, &self.forward_fields);
        if heeds_surrogate_control {
            headers.append("surrogate-capability", HeaderValue::from_static(SURROGATE_CAPABILITY));
        }
        let Normalized { head, body, interims, .. } = request;
        let mut request = Request::new(body);
        *request.method_mut() = head.method;
        *request.uri_mut() = head.uri;
        *request.headers_mut() = headers;
        self.inner.call(ToOrigin { request, upstream, interims })
    }
}

/// How many fields are mostly added.
const ADDED: usize = 6;

/// Of the fields that were `received` those that travel on, and those that are added.
fn onward(
    request: &Normalized,
    received: HeaderMap,
    instance: &str,
    forward_fields: &[HeaderName],
) -> HeaderMap {
    let mut fields =
        without_where(end_to_end(received), |name| !claims::passes(name, request.trusted, forward_fields));
    fields.reserve(ADDED);
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
    HeaderValue::from_static(match version {
        Version::HTTP_10 => "1.0 staleproof",
        Version::HTTP_2 => "2.0 staleproof",
        _ => "1.1 staleproof",
    })
}

/// RFC 7239, and the older fields for the same: host and scheme as the key has them, and the way as far as it is known
/// from those who can be trusted.
fn forwarded(request: &Normalized, fields: &mut HeaderMap) {
    let mut elements = String::with_capacity(64);
    let mut addresses = String::with_capacity(32);
    for (index, hop) in request.hops.iter().enumerate() {
        if index > 0 {
            elements.push_str(", ");
            addresses.push_str(", ");
        }
        let start = addresses.len();
        push_address(*hop, &mut addresses);
        let address = &addresses[start..];
        match hop {
            IpAddr::V4(_) => push_all(&mut elements, &["for=", address]),
            IpAddr::V6(_) => push_all(&mut elements, &["for=\"[", address, "]\""]),
        }
        if index == 0 {
            push_all(&mut elements, &[";host=\"", &request.host, "\";proto=", request.scheme.as_str()]);
        }
    }
    for (name, value) in [
        (FORWARDED, HeaderValue::try_from(elements)),
        (X_FORWARDED_FOR, HeaderValue::try_from(addresses)),
        (X_FORWARDED_HOST, HeaderValue::try_from(&*request.host)),
        (X_FORWARDED_PROTO, Ok(HeaderValue::from_static(request.scheme.as_str()))),
    ] {
        if let Ok(value) = value {
            fields.insert(name, value);
        }
    }
}

fn push_all(text: &mut String, parts: &[&str]) {
    parts.iter().for_each(|part| text.push_str(part));
}

/// As it is written by `Display`, which takes several times as long.
fn push_address(address: IpAddr, text: &mut String) {
    match address {
        IpAddr::V4(address) => {
            for (index, octet) in address.octets().into_iter().enumerate() {
                if index > 0 {
                    text.push('.');
                }
                text.push_str(itoa::Buffer::new().format(octet));
            }
        }
        // Writing to a String cannot fail.
        IpAddr::V6(address) => drop(write!(text, "{address}")),
    }
}
