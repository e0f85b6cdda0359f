//! What the proxy would make of a request, worked out without sending it anywhere.
//!
//! Behind `staleproof key` and `staleproof explain`, `GET /v1/key` and `GET /v1/explain`. Knows neither what is stored nor
//! the network.

pub mod key;

use std::net::IpAddr;

use http::header::HOST;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri};

use crate::exchange::{Cause, Interims, Normalized, RequestBody, Routed, Scheme};
use crate::routes::{RouteQuery, Table};
use crate::semantics::fields::end_to_end;
use crate::semantics::fields::is_plain;
use crate::uri;

/// A request that somebody asks about.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Absolute: `http://host/path`.
    pub url: String,
    /// The method.
    pub method: Method,
    /// Its fields. A `Host` takes the place of the URL's.
    pub headers: HeaderMap,
    /// The client's address.
    pub client: IpAddr,
}

/// Why nothing can be said of a request; a sentence for whoever asked.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoAnswer {
    /// It is no request.
    #[error("{url:?} {why}")]
    Url {
        /// What was given.
        url: String,
        /// What is wrong with it.
        why: String,
    },
    /// A field is not `Name: value`.
    #[error("{0:?} is not 'Name: value'")]
    Field(String),
    /// It would be answered with 404.
    #[error("no route matches: the answer would be 404")]
    NoRoute,
}

impl Asked {
    /// The request as it would come to the cache.
    ///
    /// # Errors
    /// [`NoAnswer::Url`], [`NoAnswer::NoRoute`].
    pub fn routed(&self, routes: &Table) -> Result<Routed, NoAnswer> {
        let invalid = |why: &str| NoAnswer::Url { url: self.url.clone(), why: why.to_owned() };
        let url: Uri = self.url.parse().map_err(|_| invalid("is not a URL"))?;
        let scheme = match url.scheme_str() {
            Some("http") => Scheme::Http,
            Some("https") => Scheme::Https,
            _ => return Err(invalid("is not absolute: write http://host/path")),
        };
        let authority = url.authority().ok_or_else(|| invalid("is not absolute: write http://host/path"))?;
        let headers = end_to_end(self.headers.clone());
        let named = headers.get(HOST).and_then(|host| host.to_str().ok());
        let named = named.unwrap_or(authority.as_str());
        let host =
            uri::normalize_authority(named, scheme.as_str()).map_err(|why| invalid(&why.to_string()))?;
        let path = uri::normalize_path(url.path()).map_err(|why| invalid(&why.to_string()))?;
        let query = RouteQuery { method: &self.method, host: &host, path: &path, headers: &headers };
        let (route, captures) = routes.find(query).ok_or(NoAnswer::NoRoute)?;

        let query = url.query().map(uri::normalize_query);
        let target = query.map_or_else(|| path.to_string(), |query| format!("{path}?{query}"));
        let (mut head, ()) = Request::new(()).into_parts();
        head.method = self.method.clone();
        head.uri = target.parse().map_err(|_| invalid("has a path that no request can have"))?;
        head.headers.clone_from(&headers);
        let request = Normalized {
            is_plain: is_plain(&head.headers),
            head,
            body: RequestBody::empty(),
            host: host.into(),
            scheme,
            client: self.client,
            hops: smallvec::smallvec![self.client],
            trusted: false,
            interims: Interims::none(),
            takes_trailers: false,
            cause: Cause::Client,
        };
        Ok(Routed { request, route: route.clone(), captures, slice: None })
    }
}

/// Fields from lines such as `Accept-Language: fr`.
///
/// # Errors
/// [`NoAnswer::Field`].
pub fn fields(lines: impl IntoIterator<Item = impl AsRef<str>>) -> Result<HeaderMap, NoAnswer> {
    let mut headers = HeaderMap::new();
    for line in lines {
        let line = line.as_ref();
        let field = line.split_once(':').and_then(|(name, value)| {
            let name = HeaderName::from_bytes(name.trim().as_bytes()).ok()?;
            Some((name, HeaderValue::from_str(value.trim()).ok()?))
        });
        let Some((name, value)) = field else { return Err(NoAnswer::Field(line.to_owned())) };
        headers.append(name, value);
    }
    Ok(headers)
}
