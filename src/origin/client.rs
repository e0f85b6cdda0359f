//! Asking the origin: which server, how often, how long, and what of its answer is believed.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use http::header::{CONTENT_LENGTH, EXPECT, HOST, TRANSFER_ENCODING};
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version};
use http_body::Body;
use hyper::body::Incoming;
use tower::Service;

use super::budget::Budget;
use super::pool::{Lease, Pool};
use super::{OriginBody, OriginError};
use crate::config::{HostRewrite, RetryOn, Upstream};
use crate::exchange::{Demand, Interims, RequestBody};
use crate::semantics::method;
use crate::telemetry::Metrics;

/// A request with nothing left to decide but the server.
#[derive(Debug)]
pub struct ToOrigin {
    /// The request, in origin-form, with the fields of this hop.
    pub request: Request<RequestBody>,
    /// Index into the plan's upstreams.
    pub upstream: usize,
    /// Where interim responses go.
    pub interims: Interims,
}

/// The service at the bottom of the stack.
#[derive(Clone, Debug)]
pub struct Origin {
    upstreams: Arc<[Arc<Servers>]>,
    metrics: Arc<Metrics>,
}

/// The servers of one upstream, asked in turn.
#[derive(Debug)]
struct Servers {
    settings: Arc<Upstream>,
    pools: Vec<Arc<Pool>>,
    next: AtomicUsize,
    budget: Budget,
}

impl Origin {
    /// Opens nothing yet.
    pub fn new(upstreams: &[Upstream], metrics: Arc<Metrics>) -> Self {
        let upstreams = upstreams
            .iter()
            .map(|upstream| {
                let settings = Arc::new(upstream.clone());
                let pools = settings
                    .servers
                    .iter()
                    .map(|authority| Pool::new(authority.clone(), Arc::clone(&settings)))
                    .collect();
                let budget = Budget::new(settings.retries.budget_percent);
                Arc::new(Servers { settings, pools, next: AtomicUsize::new(0), budget })
            })
            .collect();
        Self { upstreams, metrics }
    }

    /// Closes connections that have been idle for too long. To be called every few seconds.
    pub fn sweep(&self) {
        for servers in self.upstreams.iter() {
            for pool in &servers.pools {
                pool.sweep();
            }
        }
    }
}

impl Service<ToOrigin> for Origin {
    type Response = Response<OriginBody>;
    type Error = OriginError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, OriginError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), OriginError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, to_origin: ToOrigin) -> Self::Future {
        // The configuration's compiler makes only indices that exist.
        let servers = Arc::clone(&self.upstreams[to_origin.upstream]);
        let metrics = Arc::clone(&self.metrics);
        Box::pin(async move {
            metrics.origin_request();
            let answer = servers.ask(to_origin.request, &to_origin.interims, &metrics).await;
            if let Err(error) = &answer {
                metrics.origin_error(error.as_str());
            }
            answer
        })
    }
}

impl Servers {
    /// Asks one server; the next one if no connection could be had, since then nothing was sent; and once more what failed
    /// and may be asked twice.
    async fn ask(
        &self,
        mut request: Request<RequestBody>,
        interims: &Interims,
        metrics: &Metrics,
    ) -> Result<Response<OriginBody>, OriginError> {
        self.budget.earn();
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        let (mut turn, mut unconnected, mut retries) = (0, 0, 0);
        loop {
            let pool = &self.pools[first.wrapping_add(turn) % self.pools.len()];
            turn += 1;
            let copy = replay(&request);
            let answer = match self.ask_server(pool, request, copy.as_ref(), interims).await {
                Ok(response) => Ok(response),
                Err((Some(unsent), _)) if unconnected + 1 < self.pools.len() => {
                    unconnected += 1;
                    request = unsent;
                    continue;
                }
                Err((_, error)) => Err(error),
            };
            let again = copy.filter(|_| {
                retries < self.settings.retries.attempts && self.is_to_be_retried(&answer) && !interims.any()
            });
            let Some(copy) = again else { return answer };
            if !self.budget.spend() {
                metrics.retry_refused();
                tracing::info!(
                    upstream = %self.settings.name,
                    "a failure is not asked again: there were too many retries for the number of requests"
                );
                return answer;
            }
            metrics.retry();
            retries += 1;
            request = copy;
        }
    }

    fn is_to_be_retried(&self, answer: &Result<Response<OriginBody>, OriginError>) -> bool {
        self.settings.retries.on.iter().any(|on| match (on, answer) {
            (RetryOn::Reset, Err(OriginError::Closed { .. })) => true,
            (RetryOn::Timeout, Err(OriginError::HeadTimeout { .. })) => true,
            (RetryOn::Status(statuses), Ok(response)) => statuses.contains(&response.status().as_u16()),
            _ => false,
        })
    }

    /// Asks this server. `copy`: of the request, if it may be asked twice. An error comes with the request if no byte of it
    /// has left.
    async fn ask_server(
        &self,
        pool: &Arc<Pool>,
        mut request: Request<RequestBody>,
        copy: Option<&Request<RequestBody>>,
        interims: &Interims,
    ) -> Result<Response<OriginBody>, (Option<Request<RequestBody>>, OriginError)> {
        self.rewrite_host(&pool.authority, request.headers_mut());
        let mut fresh = false;
        loop {
            let mut lease = match pool.lease(fresh).await {
                Ok(lease) => lease,
                Err(error) => return Err((Some(request), error)),
            };
            let method = request.method().clone();
            let expects = request.headers().contains_key(EXPECT);
            let demand = if expects { request.body_mut().wait_for_demand() } else { None };
            hear_interims(&mut request, interims.clone(), demand.clone());
            let limit = self.settings.head_timeout;
            let sent = request.body_mut().sent();
            // From the moment the request has been sent whole: how long an upload takes is the client's affair.
            let overdue = async {
                if let Some(sent) = sent {
                    sent.await;
                }
                tokio::time::sleep(limit).await;
            };
            let answer = tokio::select! {
                answer = lease.sender().try_send_request(request) => Ok(answer),
                () = overdue => Err(()),
            };
            match answer {
                Err(()) => {
                    return Err((
                        None,
                        OriginError::HeadTimeout { authority: pool.authority.clone(), limit },
                    ));
                }
                Ok(Ok(response)) => {
                    lease.refused = demand.and_then(|demand| demand.refuse());
                    if lease.refused.is_some() {
                        // The client's connection looks up once more before it gets the answer, and sees that it must
                        // end with it: the announced body may still come, or not.
                        tokio::task::yield_now().await;
                    }
                    return self.receive(&method, response, lease).map_err(|error| (None, error));
                }
                Ok(Err(mut failure)) => {
                    // A kept connection may have been closed by the server in the very moment it was taken.
                    // What never left, or may be asked twice (RFC 9110 §9.2.2), is asked on a new one.
                    let unsent = failure.take_message();
                    let error = failure.into_error();
                    match unsent.or_else(|| copy.filter(|_| lease.reused && !interims.any()).and_then(replay))
                    {
                        Some(message) if lease.reused && OriginError::is_end_of_connection(&error) => {
                            request = message;
                            fresh = true;
                        }
                        _ => return Err((None, OriginError::from_hyper(&pool.authority, error))),
                    }
                }
            }
        }
    }

    fn rewrite_host(&self, server: &Authority, headers: &mut HeaderMap) {
        match &self.settings.host {
            HostRewrite::Preserve => {}
            HostRewrite::Server => {
                if let Ok(host) = HeaderValue::from_str(server.as_str()) {
                    headers.insert(HOST, host);
                }
            }
            HostRewrite::Fixed(host) => {
                headers.insert(HOST, host.clone());
            }
        }
    }

    /// Accepts a response head if its framing can be read in one way only (RFC 9112 §6.3).
    fn receive(
        &self,
        method: &Method,
        response: Response<Incoming>,
        mut lease: Lease,
    ) -> Result<Response<OriginBody>, OriginError> {
        let authority = lease.authority().clone();
        let (mut head, incoming) = response.into_parts();
        lease.heed_keep_alive(&head.headers);
        let malformed = |reason| OriginError::Malformed { authority: authority.clone(), reason };
        if head.status == StatusCode::SWITCHING_PROTOCOLS {
            return Err(malformed("it switches protocols though nobody asked"));
        }
        let coding = transfer_coding(&head.headers).map_err(malformed)?;
        match content_length(&head.headers) {
            Err(reason) => return Err(malformed(reason)),
            // "If a message is received with both […], the Transfer-Encoding overrides the Content-Length."
            Ok(_) if coding.is_some() => {
                head.headers.remove(CONTENT_LENGTH);
            }
            Ok(Some(length)) if !is_said_plainly(&head.headers, length) => {
                head.headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
            }
            Ok(_) => {}
        }
        let framed = coding == Some(TransferCoding::Chunked) || head.headers.contains_key(CONTENT_LENGTH);
        let close_delimited = !framed && *method != Method::HEAD && !incoming.is_end_stream();
        head.version = Version::HTTP_11;
        let body = OriginBody::new(incoming, lease, self.settings.body_idle_timeout, close_delimited);
        Ok(Response::from_parts(head, body))
    }
}

/// What the origin says before its final response: 100 is for us, all else for the client.
fn hear_interims(request: &mut Request<RequestBody>, interims: Interims, demand: Option<Demand>) {
    hyper::ext::on_informational(request, move |interim| match (interim.status(), &demand) {
        (StatusCode::CONTINUE, Some(demand)) => demand.ask(),
        (StatusCode::CONTINUE, None) => {}
        (status, _) => interims.send(status, interim.headers()),
    });
}

/// A second copy of a request that may be sent twice: idempotent, and with a body that is all there, if any.
fn replay(request: &Request<RequestBody>) -> Option<Request<RequestBody>> {
    if !method::is_idempotent(request.method()) {
        return None;
    }
    let mut copy = Request::new(request.body().copy()?);
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    Some(copy)
}

/// What a body is coded with on this hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TransferCoding {
    Chunked,
    /// A name that stands for no coding. The body "is determined by reading the connection until it is closed"
    /// (RFC 9112 §6.3); that it means something else than its bytes is not known of anybody.
    Unknown,
}

/// The coding of the body. We never asked for another than `chunked` (RFC 9112 §7.4), and could not undo it.
fn transfer_coding(headers: &HeaderMap) -> Result<Option<TransferCoding>, &'static str> {
    const KNOWN: [&str; 5] = ["gzip", "x-gzip", "compress", "x-compress", "deflate"];
    let mut lines = headers.get_all(TRANSFER_ENCODING).iter().map(|line| line.as_bytes().trim_ascii());
    let (line, None) = (lines.next(), lines.next()) else {
        return Err("it has several lines of Transfer-Encoding");
    };
    match line {
        None => Ok(None),
        Some(coding) if coding.eq_ignore_ascii_case(b"chunked") => Ok(Some(TransferCoding::Chunked)),
        Some(coding) if KNOWN.iter().any(|known| coding.eq_ignore_ascii_case(known.as_bytes())) => {
            Err("its Transfer-Encoding is one that nobody asked for")
        }
        Some(coding) if !coding.is_empty() && coding.iter().all(u8::is_ascii_alphanumeric) => {
            Ok(Some(TransferCoding::Unknown))
        }
        Some(_) => Err("its Transfer-Encoding is not just one coding"),
    }
}

/// The one length that all lines and list members agree on.
fn content_length(headers: &HeaderMap) -> Result<Option<u64>, &'static str> {
    const REASON: &str = "its Content-Length is not one number";
    let mut agreed = None;
    for line in headers.get_all(CONTENT_LENGTH) {
        for member in line.as_bytes().split(|&byte| byte == b',') {
            let member = member.trim_ascii();
            if member.is_empty() || !member.iter().all(u8::is_ascii_digit) {
                return Err(REASON);
            }
            let length = std::str::from_utf8(member).ok().and_then(|digits| digits.parse::<u64>().ok());
            let length = length.ok_or(REASON)?;
            if *agreed.get_or_insert(length) != length {
                return Err(REASON);
            }
        }
    }
    Ok(agreed)
}

/// Whether this length is said once, and as everybody writes it.
fn is_said_plainly(headers: &HeaderMap, length: u64) -> bool {
    let mut lines = headers.get_all(CONTENT_LENGTH).iter();
    let is_plain = lines.next().is_some_and(|line| line == itoa::Buffer::new().format(length));
    is_plain && lines.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(lines: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(
                http::HeaderName::from_bytes(name.as_bytes()).unwrap(),
                HeaderValue::from_str(value).unwrap(),
            );
        }
        headers
    }

    #[test]
    fn a_length_said_twice_is_one_length() {
        let check = |lines: &[&str]| {
            let lines: Vec<_> = lines.iter().map(|line| ("content-length", *line)).collect();
            content_length(&fields(&lines))
        };
        assert_eq!(check(&[]), Ok(None));
        assert_eq!(check(&["5"]), Ok(Some(5)));
        assert_eq!(check(&["5, 5"]), Ok(Some(5)));
        assert_eq!(check(&["5", "5"]), Ok(Some(5)));
        for bad in
            [&["5", "6"][..], &["5, 6"], &["-5"], &["+5"], &[""], &["5,"], &["99999999999999999999999"]]
        {
            assert!(check(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_known_coding_that_nobody_asked_for_is_refused() {
        let check = |lines: &[&str]| {
            let lines: Vec<_> = lines.iter().map(|line| ("transfer-encoding", *line)).collect();
            transfer_coding(&fields(&lines))
        };
        assert_eq!(check(&[]), Ok(None));
        assert_eq!(check(&["chunked"]), Ok(Some(TransferCoding::Chunked)));
        assert_eq!(check(&["Chunked "]), Ok(Some(TransferCoding::Chunked)));
        assert_eq!(check(&["identity"]), Ok(Some(TransferCoding::Unknown)));
        for bad in
            [&["GZIP"][..], &["gzip, chunked"], &["chunked", "chunked"], &["foo, bar"], &["foo;q=1"], &[""]]
        {
            assert!(check(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn only_what_may_be_asked_twice_is_asked_twice() {
        let request = |method: Method, body: &'static str| {
            let mut request = Request::new(RequestBody::whole(bytes::Bytes::from_static(body.as_bytes())));
            *request.method_mut() = method;
            replay(&request).is_some()
        };
        assert!(request(Method::GET, ""));
        assert!(request(Method::DELETE, ""));
        assert!(request(Method::QUERY, "x"));
        assert!(!request(Method::POST, ""));
        assert!(!request(Method::POST, "x"));
    }
}
