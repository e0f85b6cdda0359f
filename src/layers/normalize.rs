//! Normalize: what no key may be built from is refused here.
//!
//! Routing, the key and the origin all see one and the same host and target: a missing, repeated or contradictory
//! `Host` is refused (RFC 9112 §3.2), host and path are normalised (RFC 3986 §6.2.2) for the key *and* for the origin,
//! and what a client says of itself counts only if it comes through a trusted proxy.

use std::borrow::Cow;
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::task::{Context, Poll};

use http::header::{CONNECTION, FORWARDED, HOST};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Uri, Version};
use ipnet::IpNet;
use smallvec::smallvec;
use tower::{Layer, Service};

use super::Early;
use crate::exchange::{Answer, Arrival, Hops, Normalized, Scheme};
use crate::respond::Failure;
use crate::semantics::fields::{self, CDN_LOOP, end_to_end, transfer_is_understood};
use crate::uri;

/// Makes [`Normalize`].
#[derive(Clone, Debug)]
pub struct NormalizeLayer {
    ground: Arc<Ground>,
}

/// What the layer goes by.
#[derive(Debug)]
struct Ground {
    trusted_proxies: Vec<IpNet>,
    instance: Arc<str>,
}

impl NormalizeLayer {
    /// `trusted_proxies`: whose word on the client counts; `instance`: this process's token in `CDN-Loop`.
    pub fn new(trusted_proxies: Vec<IpNet>, instance: Arc<str>) -> Self {
        Self { ground: Arc::new(Ground { trusted_proxies, instance }) }
    }
}

impl<S> Layer<S> for NormalizeLayer {
    type Service = Normalize<S>;

    fn layer(&self, inner: S) -> Normalize<S> {
        Normalize { inner, ground: Arc::clone(&self.ground), last_host: None }
    }
}

/// See the [module](self).
#[derive(Clone, Debug)]
pub struct Normalize<S> {
    inner: S,
    ground: Arc<Ground>,
    /// What the last request was for. The next of the connection is mostly for the same.
    last_host: Option<KnownHost>,
}

/// A host as it was normalised under a scheme.
#[derive(Clone, Debug)]
struct KnownHost {
    scheme: Scheme,
    host: Arc<str>,
}

impl<S> Service<Arrival> for Normalize<S>
where
    S: Service<Normalized, Response = Answer, Error = Infallible, Future = Early>,
{
    type Response = Answer;
    type Error = Infallible;
    type Future = Early;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, arrival: Arrival) -> Self::Future {
        match self.ground.check(&arrival, self.last_host.as_ref()) {
            Err(failure) => {
                let request = &arrival.request;
                Early::now(Answer::refused(failure.respond(request.method(), request.headers())))
            }
            Ok(Checked { host, target, scheme, hops, trusted, is_plain }) => {
                let Arrival { request, peer, interims, cause, .. } = arrival;
                let client = hops.first().copied().unwrap_or_else(|| peer.ip());
                let (mut head, body) = request.into_parts();
                let takes_trailers =
                    !is_plain && head.version >= Version::HTTP_11 && fields::takes_trailers(&head.headers);
                if let Some(target) = target {
                    head.uri = target;
                }
                // What goes no further than here may not choose a variant either: the origin would never see it.
                if names_fields(&head.headers) {
                    head.headers = end_to_end(head.headers);
                }
                write_host(&host, &mut head.headers);
                if !self.last_host.as_ref().is_some_and(|last| Arc::ptr_eq(&last.host, &host)) {
                    self.last_host = Some(KnownHost { scheme, host: Arc::clone(&host) });
                }
                self.inner.call(Normalized {
                    head,
                    body,
                    host,
                    scheme,
                    client,
                    hops,
                    trusted,
                    interims,
                    takes_trailers,
                    is_plain,
                    cause,
                })
            }
        }
    }
}

/// What was made out about a request.
#[derive(Debug)]
struct Checked {
    host: Arc<str>,
    /// The normalised target, if it is not the one that came.
    target: Option<Uri>,
    scheme: Scheme,
    hops: Hops,
    trusted: bool,
    is_plain: bool,
}

impl Ground {
    fn check(&self, arrival: &Arrival, last: Option<&KnownHost>) -> Result<Checked, Failure<'static>> {
        let request = &arrival.request;
        let headers = request.headers();
        if *request.method() == Method::CONNECT {
            return Err(Failure::NotImplemented("CONNECT is not supported: this is not a forward proxy."));
        }
        // What comes back shows all that proxies in front added, cookies and addresses among it (RFC 9110 §9.3.8).
        if *request.method() == Method::TRACE {
            return Err(Failure::NotImplemented("TRACE is not supported."));
        }
        let is_plain = fields::is_plain(headers);
        if !is_plain {
            // hyper takes off the outermost coding only, and the origin would get a body it cannot read.
            if !transfer_is_understood(headers) {
                return Err(Failure::NotImplemented("Of the transfer codings only chunked is supported."));
            }
            if !fields::expectation_is_understood(headers) {
                return Err(Failure::UnknownExpectation);
            }
            if headers.get_all(CDN_LOOP).iter().any(|line| names(line.as_bytes(), &self.instance)) {
                return Err(Failure::Loop);
            }
        }
        if request.body().exceeds_limit() {
            return Err(Failure::BodyTooLarge);
        }
        let peer = arrival.peer.ip().to_canonical();
        let trusted = self.trusts(peer);
        let scheme = match arrival.scheme {
            Some(known) => known,
            None if trusted => forwarded_scheme(headers),
            None => Scheme::Http,
        };
        Ok(Checked {
            host: host(request.uri(), headers, request.version(), scheme, last)?,
            target: target(request.method(), request.uri(), scheme)?,
            scheme,
            is_plain,
            hops: if trusted { self.forwarded_hops(headers, peer) } else { smallvec![peer] },
            trusted,
        })
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.trusted_proxies.iter().any(|network| network.contains(&address))
    }

    /// The way as the trusted proxies name it. It begins with the client: from the right, the first address that is not
    /// one of them.
    fn forwarded_hops(&self, headers: &HeaderMap, peer: IpAddr) -> Hops {
        let lines = if headers.contains_key("x-forwarded-for") {
            headers.get_all("x-forwarded-for")
        } else {
            headers.get_all(FORWARDED)
        };
        let said: Vec<_> =
            lines.iter().filter_map(|line| line.to_str().ok()).flat_map(|line| line.split(',')).collect();
        let mut hops: Hops = smallvec![peer];
        for hop in said.into_iter().rev() {
            let Some(address) = hop_address(hop) else { break };
            hops.push(address);
            if !self.trusts(address) {
                break;
            }
        }
        hops.reverse();
        hops
    }
}

/// The one host that everything goes by.
///
/// "A server MUST respond with a 400 (Bad Request) status code to any HTTP/1.1 request message that lacks a Host
/// header field and to any request message that contains more than one Host header field line or a Host header
/// field with an invalid field value." (RFC 9112 §3.2)
fn host(
    target: &Uri,
    headers: &HeaderMap,
    version: Version,
    scheme: Scheme,
    last: Option<&KnownHost>,
) -> Result<Arc<str>, Failure<'static>> {
    let mut lines = headers.get_all(HOST).iter();
    if let (Some(last), None) = (last, target.authority())
        && let (Some(field), None) = (lines.next(), lines.next())
        // What came out of it goes through it as it is.
        && field.as_bytes() == last.host.as_bytes()
        && last.scheme == scheme
    {
        return Ok(Arc::clone(&last.host));
    }
    let mut lines = headers.get_all(HOST).iter();
    let field = match (lines.next(), lines.next()) {
        (Some(host), None) => {
            Some(host.to_str().map_err(|_| Failure::BadRequest("The Host field is not valid."))?)
        }
        (None, _) => None,
        (Some(_), Some(_)) => return Err(Failure::BadRequest("The request has more than one Host field.")),
    };
    if field.is_none() && version >= Version::HTTP_11 {
        return Err(Failure::BadRequest("The request has no Host field."));
    }
    let named = match (target.authority(), field) {
        // What a parser makes of a contradiction is anybody's guess, so there may be none.
        (Some(authority), Some(field)) if !authority.as_str().eq_ignore_ascii_case(field) => {
            return Err(Failure::BadRequest("The Host field contradicts the request target."));
        }
        (Some(authority), _) => authority.as_str(),
        (None, Some(field)) => field,
        (None, None) => return Err(Failure::BadRequest("The request names no host.")),
    };
    uri::normalize_authority(named, scheme.as_str())
        .map(|host| Arc::from(&*host))
        .map_err(|_| Failure::BadRequest("The Host field is not valid."))
}

/// Makes the field say what was made of it. Of two spellings of one host, with one key, the origin would otherwise see
/// the one that happened to be asked for first, and may answer with it: in links, in redirects.
fn write_host(host: &str, headers: &mut HeaderMap) {
    if headers.get(HOST).is_none_or(|field| field != host)
        && let Ok(field) = HeaderValue::from_str(host)
    {
        headers.insert(HOST, field);
    }
}

/// The target in origin-form with path and query normalised; `None` if it is so already.
fn target(method: &Method, uri: &Uri, scheme: Scheme) -> Result<Option<Uri>, Failure<'static>> {
    const INVALID: Failure<'static> = Failure::BadRequest("The request target is not valid.");
    // `OPTIONS *` speaks of the server as a whole (RFC 9112 §3.2.4).
    if uri.path() == "*" {
        return if *method == Method::OPTIONS { Ok(None) } else { Err(INVALID) };
    }
    // "a request for an "https" resource MUST be rejected unless it has been received over a connection that has been
    // secured" (RFC 9110 §7.4); other schemes are not HTTP's, and a host without one is for CONNECT.
    let is_ours = match uri.scheme_str() {
        None => uri.authority().is_none(),
        Some(named) => named.eq_ignore_ascii_case("http") || named.eq_ignore_ascii_case(scheme.as_str()),
    };
    if !is_ours {
        return Err(INVALID);
    }
    let path = uri::normalize_path(uri.path()).map_err(|_| INVALID)?;
    let query = uri.query().map(uri::normalize_query);
    let is_normal = matches!(path, Cow::Borrowed(_)) && matches!(query, None | Some(Cow::Borrowed(_)));
    if is_normal && uri.authority().is_none() && path.len() == uri.path().len() {
        return Ok(None);
    }
    let text = match query {
        Some(query) => format!("{path}?{query}"),
        None => path.into_owned(),
    };
    PathAndQuery::try_from(text).map(|target| Some(Uri::from(target))).map_err(|_| INVALID)
}

/// Whether a `CDN-Loop` line names this instance (RFC 8586 §2).
fn names(line: &[u8], instance: &str) -> bool {
    line.split(|&byte| byte == b',')
        .filter_map(|member| member.split(|&byte| byte == b';').next())
        .any(|member| member.trim_ascii() == instance.as_bytes())
}

/// Whether `Connection` names anything but what has no field of its own (RFC 9110 §7.6.1). Mostly it does not, and
/// then the fields stay as they are until the request is forwarded.
fn names_fields(headers: &HeaderMap) -> bool {
    headers
        .get_all(CONNECTION)
        .iter()
        .flat_map(|line| line.as_bytes().split(|&byte| byte == b','))
        .map(<[u8]>::trim_ascii)
        .any(|name| !name.eq_ignore_ascii_case(b"keep-alive") && !name.eq_ignore_ascii_case(b"close"))
}

/// The scheme as the trusted proxy next to us says it.
fn forwarded_scheme(headers: &HeaderMap) -> Scheme {
    let said = headers.get_all("x-forwarded-proto").iter().next_back().and_then(|line| line.to_str().ok());
    let said = said.and_then(|line| line.rsplit(',').next()).map(str::trim).or_else(|| {
        let element = headers.get_all(FORWARDED).iter().next_back()?.to_str().ok()?.rsplit(',').next()?;
        parameter(element, "proto")
    });
    if said.is_some_and(|said| said.eq_ignore_ascii_case("https")) { Scheme::Https } else { Scheme::Http }
}

/// The address in an element of `X-Forwarded-For` or `Forwarded`, with or without a port.
fn hop_address(hop: &str) -> Option<IpAddr> {
    let node = parameter(hop, "for").unwrap_or(hop).trim().trim_matches('"');
    node.parse::<IpAddr>()
        .or_else(|_| node.parse::<SocketAddr>().map(|node| node.ip()))
        .or_else(|_| node.trim_start_matches('[').trim_end_matches(']').parse())
        .ok()
        .map(|address| address.to_canonical())
}

/// The value of a parameter in an element of `Forwarded` (RFC 7239 §4).
fn parameter<'e>(element: &'e str, wanted: &str) -> Option<&'e str> {
    element.split(';').find_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        name.trim().eq_ignore_ascii_case(wanted).then_some(value.trim().trim_matches('"'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::{Interims, RequestBody};
    use http::Request;

    fn ground() -> Ground {
        Ground { trusted_proxies: vec!["10.0.0.0/8".parse().unwrap()], instance: "staleproof-1".into() }
    }

    fn check(peer: &str, target: &str, fields: &[(&str, &str)]) -> Result<Checked, Failure<'static>> {
        let mut request = Request::builder().uri(target);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let request = request.body(RequestBody::empty()).unwrap();
        let (peer, interims) = (peer.parse().unwrap(), Interims::none());
        ground().check(&Arrival::new(request, peer, interims), None)
    }

    const STRANGER: &str = "192.0.2.1:1234";
    const PROXY: &str = "10.1.1.1:1234";

    #[test]
    fn one_valid_host_is_needed() {
        assert!(check(STRANGER, "/", &[("host", "a.test")]).is_ok());
        for bad in [
            &[][..],
            &[("host", "a.test"), ("host", "a.test")],
            &[("host", "a.test, b.test")],
            &[("host", "a.test/x")],
            &[("host", "a.test@b.test")],
            &[("host", "")],
            &[("host", "a.test:99999")],
        ] {
            assert!(matches!(check(STRANGER, "/", bad), Err(Failure::BadRequest(_))), "{bad:?}");
        }
    }

    #[test]
    fn an_absolute_target_may_not_contradict_the_host() {
        let checked = check(STRANGER, "http://a.test/x?y", &[("host", "A.test")]).unwrap();
        assert_eq!(&*checked.host, "a.test");
        assert_eq!(checked.target.unwrap().to_string(), "/x?y");
        assert!(check(STRANGER, "http://a.test/", &[("host", "b.test")]).is_err());
    }

    #[test]
    fn a_target_of_another_scheme_or_form_is_refused() {
        for bad in ["ftp://a.test/x", "https://a.test/x", "a.test:80", "*"] {
            let checked = check(STRANGER, bad, &[("host", "a.test")]);
            assert!(matches!(checked, Err(Failure::BadRequest(_))), "{bad}");
        }
        let secured = [("host", "a.test"), ("x-forwarded-proto", "https")];
        for good in ["HTTPS://a.test/x", "http://a.test/x"] {
            assert_eq!(check(PROXY, good, &secured).unwrap().target.unwrap(), "/x", "{good}");
        }
    }

    #[test]
    fn path_and_query_are_normalised() {
        let target =
            |target| check(STRANGER, target, &[("host", "a")]).unwrap().target.map(|uri| uri.to_string());
        assert_eq!(target("/a/b?x=~"), None);
        assert_eq!(target("/a/b?"), None);
        assert_eq!(target("/a/b?x=%7e"), Some("/a/b?x=~".into()));
        assert_eq!(target("/a/../b/%7euser/%2f?x=%2f"), Some("/b/~user/%2F?x=%2F".into()));
    }

    #[test]
    fn a_stranger_cannot_say_who_it_is() {
        let fields = [("host", "a"), ("x-forwarded-for", "203.0.113.9"), ("x-forwarded-proto", "https")];
        let checked = check(STRANGER, "/", &fields).unwrap();
        assert_eq!((&checked.hops[..], checked.scheme), (&["192.0.2.1".parse().unwrap()][..], Scheme::Http));
    }

    #[test]
    fn a_scheme_that_is_known_here_is_believed_before_anybody() {
        for peer in [STRANGER, PROXY] {
            for (scheme, said) in [(Scheme::Https, "http"), (Scheme::Http, "https")] {
                let request =
                    Request::get("/").header("host", "a.test:443").header("x-forwarded-proto", said);
                let request = request.body(RequestBody::empty()).unwrap();
                let (peer, interims) = (peer.parse().unwrap(), Interims::none());
                let arrival = Arrival { scheme: Some(scheme), ..Arrival::new(request, peer, interims) };
                let checked = ground().check(&arrival, None).unwrap();
                let host = if scheme == Scheme::Https { "a.test" } else { "a.test:443" };
                assert_eq!((checked.scheme, &*checked.host), (scheme, host));
            }
        }
    }

    #[test]
    fn the_client_is_the_rightmost_address_that_no_trusted_proxy_has() {
        let hops = |name, value| {
            let hops = check(PROXY, "/", &[("host", "a"), (name, value)]).unwrap().hops;
            hops.iter().map(IpAddr::to_string).collect::<Vec<_>>()
        };
        let said = "198.51.100.1, 203.0.113.9, 10.2.2.2";
        assert_eq!(hops("x-forwarded-for", said), ["203.0.113.9", "10.2.2.2", "10.1.1.1"]);
        assert_eq!(hops("x-forwarded-for", "10.3.3.3"), ["10.3.3.3", "10.1.1.1"]);
        assert_eq!(hops("x-forwarded-for", "203.0.113.9:4711"), ["203.0.113.9", "10.1.1.1"]);
        assert_eq!(hops("x-forwarded-for", "unknown"), ["10.1.1.1"]);
        assert_eq!(hops("forwarded", "for=\"[2001:db8::1]:80\";proto=https"), ["2001:db8::1", "10.1.1.1"]);
        let checked =
            check(PROXY, "/", &[("host", "a"), ("forwarded", "for=203.0.113.9;proto=https")]).unwrap();
        assert_eq!(checked.scheme, Scheme::Https);
    }

    #[test]
    fn a_request_that_was_here_before_is_a_loop() {
        assert!(matches!(
            check(STRANGER, "/", &[("host", "a"), ("cdn-loop", "other, staleproof-1; v=1")]),
            Err(Failure::Loop)
        ));
        assert!(check(STRANGER, "/", &[("host", "a"), ("cdn-loop", "staleproof-2")]).is_ok());
    }

    #[test]
    fn a_transfer_coding_other_than_chunked_is_not_supported() {
        let fields = [("host", "a"), ("transfer-encoding", "gzip, chunked")];
        assert!(matches!(check(STRANGER, "/", &fields), Err(Failure::NotImplemented(_))));
    }
}
