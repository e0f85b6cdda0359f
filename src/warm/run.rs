//! Carrying out a warm-up: sitemaps are read, then each URL is requested; so many at once.

use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HOST, USER_AGENT};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri};
use http_body::Body;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tower::ServiceExt;

use super::job::{Job, Outcome};
use super::sitemap::{self, Sitemap, SitemapError};
use super::urls::Urls;
use crate::exchange::{Arrival, BodyError, CacheWord, Cause, Interims, Note, RequestBody, Scheme};
use crate::layers::observe::ClientBody;
use crate::semantics::NotStored;
use crate::stack::Stack;
use crate::store::Asked;

/// Who the app sees, unless what is stored depends on who asks.
const REFRESHER: HeaderValue =
    HeaderValue::from_static(concat!("staleproof/", env!("CARGO_PKG_VERSION"), " (refresh)"));

/// How long one request may take. Upstreams' timeouts end what stalls; this ends what goes on for ever.
const PATIENCE: Duration = Duration::from_secs(300);

/// What requests go through.
#[derive(Debug)]
pub(super) struct House {
    pub(super) stack: Stack,
    /// Larger bodies are not stored.
    pub(super) max_object_bytes: u64,
    /// The most URLs of one warm-up.
    pub(super) max_urls: usize,
    /// Whether any client can come by `https`.
    pub(super) has_https: bool,
}

/// What is to be done.
#[derive(Debug)]
pub(super) struct Errand {
    pub(super) what: What,
    pub(super) concurrency: usize,
}

/// What is to be requested.
#[derive(Debug)]
pub(super) enum What {
    /// These, and those of a sitemap.
    Urls { urls: Vec<String>, sitemap: Option<String>, fields: HeaderMap },
    /// What led to stored responses, again.
    Stored {
        /// In this order.
        requests: Vec<Arc<Asked>>,
        /// How many can only be asked for by their clients.
        others: u64,
    },
}

impl What {
    /// In a word, for the log.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Urls { .. } => "warm",
            Self::Stored { .. } => "refresh",
        }
    }
}

/// Requests everything. Dropped, it gives up what is under way.
pub(super) async fn run(job: &Job, house: &Arc<House>, errand: Errand) {
    let Errand { what, concurrency } = errand;
    match what {
        What::Urls { urls, sitemap, fields } => {
            let urls = Arc::new(gather(job, house, urls, sitemap, &fields).await);
            job.begin(urls.len() as u64, urls.left_out());
            let fields = Arc::new(fields);
            each(job, urls.len(), concurrency, |index| {
                let (house, urls, fields) = (Arc::clone(house), Arc::clone(&urls), Arc::clone(&fields));
                async move {
                    let url = urls.get(index).unwrap_or_default();
                    let outcome = house.visit(house.ask(url, &fields)).await;
                    (url.to_owned(), outcome)
                }
            })
            .await;
        }
        What::Stored { requests, others } => {
            job.begin(requests.len() as u64, others);
            each(job, requests.len(), concurrency, |index| {
                let (house, asked) = (Arc::clone(house), requests.get(index).cloned());
                async move {
                    let Some(asked) = asked else { return (String::new(), Outcome::Already) };
                    let outcome = house.visit(house.ask_again(&asked)).await;
                    (asked.to_string(), outcome)
                }
            })
            .await;
        }
    }
}

/// So many at once, in their order.
async fn each<V>(job: &Job, number: usize, concurrency: usize, visit: impl Fn(usize) -> V)
where
    V: Future<Output = (String, Outcome)> + Send + 'static,
{
    let mut requests = JoinSet::new();
    let mut next = 0..number;
    loop {
        for index in next.by_ref().take(concurrency - requests.len()) {
            requests.spawn(visit(index));
        }
        match requests.join_next().await {
            Some(Ok((url, outcome))) => job.tell(&url, outcome),
            Some(Err(error)) => job.tell("", Outcome::Failed(error.to_string())),
            None => break,
        }
    }
}

/// All URLs: those that were given, then those of the sitemaps.
async fn gather(
    job: &Job,
    house: &House,
    given: Vec<String>,
    sitemap: Option<String>,
    fields: &HeaderMap,
) -> Urls {
    let mut urls = Urls::new(house.max_urls);
    given.iter().for_each(|url| urls.add(url.trim()));
    drop(given);
    // What a coding is for, a page or a sitemap, makes a difference: sitemaps are not decoded here.
    let mut fields = fields.clone();
    fields.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    let mut left = Vec::new();
    if let Some(url) = sitemap {
        match house.sitemap(&url, &fields).await {
            Ok(Sitemap::Urls(found)) => {
                job.read_sitemap();
                found.iter().for_each(|url| urls.add(url));
            }
            Ok(Sitemap::Index(found)) => {
                job.read_sitemap();
                left = found;
            }
            Err(reason) => job.failed_sitemap(&url, reason),
        }
    }
    for (index, url) in left.iter().enumerate() {
        if urls.is_full() {
            urls.leave_out(left.len() - index);
            break;
        }
        match house.sitemap(url, &fields).await {
            Ok(Sitemap::Urls(found)) => {
                job.read_sitemap();
                found.iter().for_each(|url| urls.add(url));
            }
            Ok(Sitemap::Index(_)) => job.failed_sitemap(url, NESTED.to_owned()),
            Err(reason) => job.failed_sitemap(url, reason),
        }
    }
    urls.finish();
    urls
}

const NESTED: &str =
    "it is an index that an index names, which the protocol does not allow: warm it by itself";

impl House {
    async fn visit(&self, asked: impl Future<Output = Result<Response<ClientBody>, String>>) -> Outcome {
        let answer = async {
            let response = asked.await?;
            let (status, note) = (response.status(), response.body().note().cloned());
            let ending = drain(response.into_body(), self.max_object_bytes).await;
            Ok(outcome(status, note.as_ref(), &ending))
        };
        match timeout(PATIENCE, answer).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(reason)) => Outcome::Failed(reason),
            Err(_) => Outcome::Failed(too_long()),
        }
    }

    /// Reads a sitemap; an error is a sentence.
    async fn sitemap(&self, url: &str, fields: &HeaderMap) -> Result<Sitemap, String> {
        let answer = async {
            let response = self.ask(url, fields).await?;
            let status = response.status();
            if status != StatusCode::OK {
                return Err(not_answered(status, response.body().note()));
            }
            let (head, body) = response.into_parts();
            let value = |name| head.headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
            if value(CONTENT_ENCODING).is_some_and(|coding| !coding.trim().eq_ignore_ascii_case("identity")) {
                return Err(SitemapError::Gzip.to_string());
            }
            let essence = value(CONTENT_TYPE).and_then(|value| value.split(';').next()).unwrap_or_default();
            let is_text = essence.trim().eq_ignore_ascii_case("text/plain");
            Ok((collect(body).await?, is_text))
        };
        let (bytes, is_text) = timeout(PATIENCE, answer).await.unwrap_or_else(|_| Err(too_long()))?;
        // Up to 50 MiB: not on a worker that serves.
        let read = tokio::task::spawn_blocking(move || sitemap::read(&bytes, is_text)).await;
        read.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
    }

    /// The answer that a client would get.
    async fn ask(&self, url: &str, fields: &HeaderMap) -> Result<Response<ClientBody>, String> {
        const NOT_ABSOLUTE: &str = "it is not absolute: write http://host/path";
        let uri: Uri = url.parse().map_err(|_| "it is not a URL".to_owned())?;
        let scheme = match uri.scheme_str().map(str::to_ascii_lowercase).as_deref() {
            Some("http") => Scheme::Http,
            Some("https") if self.has_https => Scheme::Https,
            Some("https") => {
                return Err(
                    "no client comes by https: no proxy is trusted (server.trusted_proxies)".to_owned()
                );
            }
            _ => return Err(NOT_ABSOLUTE.to_owned()),
        };
        let host = uri.authority().and_then(|host| HeaderValue::from_str(host.as_str()).ok());
        let (Some(host), Some(target)) = (host, uri.path_and_query()) else {
            return Err(NOT_ABSOLUTE.to_owned());
        };
        let mut request = Request::new(RequestBody::empty());
        *request.uri_mut() = target.clone().into();
        request.headers_mut().clone_from(fields);
        request.headers_mut().insert(HOST, host);
        let peer = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let arrival = Arrival {
            scheme: Some(scheme),
            cause: Cause::WarmUp,
            ..Arrival::new(request, peer, Interims::none())
        };
        let Ok(response) = self.stack.clone().oneshot(arrival).await;
        Ok(response)
    }

    /// The answer of the origin to a request that was made before.
    async fn ask_again(&self, asked: &Asked) -> Result<Response<ClientBody>, String> {
        let Some(again) = &asked.again else { return Err("only its client can ask for it".to_owned()) };
        let uri: Uri = asked.target.parse().map_err(|_| "its target is no URL".to_owned())?;
        let host = HeaderValue::from_str(&asked.host).map_err(|_| "its host is none".to_owned())?;
        let content = again.content.as_deref().cloned();
        let mut request = Request::new(content.map_or_else(RequestBody::empty, RequestBody::whole));
        *request.method_mut() = again.method();
        *request.uri_mut() = uri;
        *request.headers_mut() = again.fields.to_map();
        request.headers_mut().insert(HOST, host);
        request.headers_mut().entry(USER_AGENT).or_insert(REFRESHER);
        if let Some(content) = &again.content {
            request.headers_mut().insert(CONTENT_LENGTH, content.len().into());
        }
        let scheme = asked.scheme;
        let peer =
            SocketAddr::from((again.client.as_deref().copied().unwrap_or(Ipv4Addr::LOCALHOST.into()), 0));
        let arrival = Arrival::new(request, peer, Interims::none());
        let arrival = Arrival { scheme: Some(scheme), cause: Cause::Refresh, ..arrival };
        let Ok(response) = self.stack.clone().oneshot(arrival).await;
        Ok(response)
    }
}

/// How a body ended.
enum Ending {
    /// As it should.
    Whole,
    /// It was larger than what is stored, and given up.
    TooLarge,
    Broken(BodyError),
}

/// Reads a body to its end, which is what stores it.
async fn drain(mut body: ClientBody, max_bytes: u64) -> Ending {
    let mut read = 0;
    while let Some(frame) = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        match frame {
            Ok(frame) => read += frame.data_ref().map_or(0, |data| data.len() as u64),
            Err(error) => return Ending::Broken(error),
        }
        if read > max_bytes {
            return Ending::TooLarge;
        }
    }
    Ending::Whole
}

async fn collect(mut body: ClientBody) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    while let Some(frame) = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let frame = frame.map_err(|error| error.to_string())?;
        let data = frame.data_ref().map_or(&[][..], |data| data);
        if bytes.len() + data.len() > sitemap::MAX_BYTES {
            return Err(
                "the sitemap is larger than 50 MiB, the most that the protocol allows: split it".to_owned()
            );
        }
        bytes.extend_from_slice(data);
    }
    Ok(bytes)
}

/// What came of a request, by what the cache says of it.
fn outcome(status: StatusCode, note: Option<&Note>, ending: &Ending) -> Outcome {
    let Some(note) = note.filter(|_| !status.is_client_error() && !status.is_server_error()) else {
        return Outcome::Failed(not_answered(status, note));
    };
    match (note.word, ending) {
        (_, Ending::Broken(error)) => Outcome::Failed(error.to_string()),
        (CacheWord::Hit, _) => Outcome::Already,
        // It is stored, and validated meanwhile; or the app was asked and has failed.
        (CacheWord::Stale, _) if note.status.hit => Outcome::Already,
        (CacheWord::Stale, _) => Outcome::Failed("the app failed: what is stored is stale".to_owned()),
        (_, Ending::TooLarge) => Outcome::NotStored(NotStored::TooLarge.as_str()),
        (_, Ending::Whole) if note.status.stored => Outcome::Warmed,
        (_, Ending::Whole) => {
            let forward = note.status.forward.map(|reason| reason.as_str());
            Outcome::NotStored(note.status.detail.or(forward).unwrap_or("unknown"))
        }
    }
}

/// What there is to say of an answer that nobody wants.
fn not_answered(status: StatusCode, note: Option<&Note>) -> String {
    match note {
        // Above the cache only what has no route is not found.
        None if status == StatusCode::NOT_FOUND => "no route takes it".to_owned(),
        None => format!("the request was refused: {status}"),
        Some(_) => format!("the answer was {status}"),
    }
}

fn too_long() -> String {
    format!("it took longer than {} s", PATIENCE.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::semantics::{CacheStatus, ForwardReason};

    #[test]
    fn the_outcome_is_what_the_cache_notes() {
        use CacheWord::{Bypass, Hit, Miss, Refresh, Stale};
        let base = CacheStatus::default();
        let hit = CacheStatus { hit: true, ..base.clone() };
        let stored = CacheStatus { stored: true, ..base.clone() };
        let private =
            CacheStatus { detail: Some("private"), forward: Some(ForwardReason::UriMiss), ..base.clone() };
        let bypass = CacheStatus { forward: Some(ForwardReason::Bypass), ..base.clone() };
        let failed = |reason: &str| Outcome::Failed(reason.to_owned());
        for (status, word, said, ending, expected) in [
            (200, Hit, &hit, Ending::Whole, Outcome::Already),
            (200, Stale, &hit, Ending::Whole, Outcome::Already),
            (200, Stale, &base, Ending::Whole, failed("the app failed: what is stored is stale")),
            (200, Miss, &stored, Ending::Whole, Outcome::Warmed),
            (301, Miss, &stored, Ending::Whole, Outcome::Warmed),
            (200, Refresh, &stored, Ending::Whole, Outcome::Warmed),
            (200, Miss, &stored, Ending::TooLarge, Outcome::NotStored("too-large")),
            (
                200,
                Miss,
                &stored,
                Ending::Broken(BodyError::Refused),
                failed("the origin answered without the body"),
            ),
            (200, Miss, &private, Ending::Whole, Outcome::NotStored("private")),
            (200, Bypass, &bypass, Ending::Whole, Outcome::NotStored("bypass")),
            (404, Miss, &stored, Ending::Whole, failed("the answer was 404 Not Found")),
            (502, Miss, &base, Ending::Whole, failed("the answer was 502 Bad Gateway")),
        ] {
            let note = Note { word, status: said.clone(), age_secs: None, cached_at: None, reset_at: None };
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(outcome(status, Some(&note), &ending), expected, "{status} {note:?}");
        }
        let refused = |status| outcome(status, None, &Ending::Whole);
        assert_eq!(refused(StatusCode::NOT_FOUND), failed("no route takes it"));
        assert_eq!(refused(StatusCode::BAD_REQUEST), failed("the request was refused: 400 Bad Request"));
    }
}
