//! One request to the admin API of a running server.

use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

use super::Failure;

/// A purge counts what it matched, which may be a lot.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The largest answer that is read, in bytes.
const MAX_ANSWER_BYTES: usize = 16 * 1024 * 1024;

/// A running server's admin API.
#[derive(Debug, Args)]
pub(super) struct AdminArgs {
    /// The admin listener
    #[arg(long, env = "STALEPROOF_ADMIN", default_value = "http://127.0.0.1:9090", value_name = "URL")]
    admin: Uri,

    /// A token that may do this
    #[arg(long, env = "STALEPROOF_TOKEN", hide_env_values = true, value_name = "SECRET")]
    token: Option<String>,
}

impl AdminArgs {
    /// Asks; what the server refuses is the failure.
    pub(super) fn ask(&self, method: Method, path: &str, body: Option<String>) -> Result<Value, Failure> {
        let (status, answer) = ask(method, &self.admin, path, self.token.as_deref(), body, TIMEOUT)?;
        let answer: Value = serde_json::from_slice(&answer)
            .map_err(|_| Failure::Failed(format!("{} is not an admin listener ({status})", self.admin)))?;
        if status.is_success() {
            return Ok(answer);
        }
        let detail = answer["detail"].as_str().unwrap_or("no reason was given");
        let hint = if status == StatusCode::UNAUTHORIZED { " (--token or STALEPROOF_TOKEN)" } else { "" };
        Err(Failure::Failed(format!("{detail}{hint}")))
    }
}

/// Asks, and reads the whole answer; all of it within `limit`.
pub(super) fn ask(
    method: Method,
    base: &Uri,
    path: &str,
    token: Option<&str>,
    body: Option<String>,
    limit: Duration,
) -> Result<(StatusCode, Bytes), Failure> {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(token) = token {
        let bearer = HeaderValue::try_from(format!("Bearer {token}"))
            .map_err(|_| Failure::usage("the token has characters that no token can have"))?;
        headers.insert(header::AUTHORIZATION, bearer);
    }
    let answer = within(limit, base, exchange(method, base, path, headers, body.unwrap_or_default()))?;
    Ok((answer.status(), answer.into_body()))
}

/// The whole response to a request.
pub(super) fn fetch(
    method: Method,
    base: &Uri,
    target: &str,
    headers: HeaderMap,
    body: Bytes,
    limit: Duration,
) -> Result<Response<Bytes>, Failure> {
    within(limit, base, exchange(method, base, target, headers, body))
}

fn within<T>(
    limit: Duration,
    base: &Uri,
    answer: impl Future<Output = Result<T, String>>,
) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match tokio::time::timeout(limit, answer).await {
            Ok(answer) => answer.map_err(Failure::Failed),
            Err(_) => Err(Failure::Failed(format!("{base} did not answer within {limit:?}"))),
        }
    })
}

/// One request on a connection of its own; an error is a sentence.
pub(crate) async fn exchange(
    method: Method,
    base: &Uri,
    path: &str,
    mut headers: HeaderMap,
    body: impl Into<Bytes>,
) -> Result<Response<Bytes>, String> {
    let (Some("http"), Some(authority)) = (base.scheme_str(), base.authority()) else {
        return Err(format!("{base} is not an address such as http://127.0.0.1:9090"));
    };
    let address = (authority.host().trim_matches(['[', ']']), authority.port_u16().unwrap_or(80));
    let stream = TcpStream::connect(address).await.map_err(|error| {
        format!("cannot connect to {authority}: {error}\nIs the server running? --admin says where its admin listener is.")
    })?;
    let broken = |error: hyper::Error| format!("{authority} broke off: {error}");
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    tokio::spawn(connection);
    if !headers.contains_key(header::HOST) {
        let host = HeaderValue::try_from(authority.as_str()).map_err(|error| error.to_string())?;
        headers.insert(header::HOST, host);
    }
    let mut request = Request::new(Full::new(body.into()));
    *request.method_mut() = method;
    *request.uri_mut() = path.parse().map_err(|error| format!("{path:?} is not a path: {error}"))?;
    *request.headers_mut() = headers;
    let response = sender.send_request(request).await.map_err(broken)?;
    let (head, body) = response.into_parts();
    let body = Limited::new(body, MAX_ANSWER_BYTES).collect().await;
    let body = body.map_err(|error| format!("the answer broke off: {error}"))?;
    Ok(Response::from_parts(head, body.to_bytes()))
}
