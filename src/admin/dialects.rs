//! Purges as other systems ask for them, on the admin listener: by method whatever the path, and by the paths of their APIs.

use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::HOST;
use axum::http::uri::{Authority, PathAndQuery};
use axum::http::{StatusCode, request};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::problem::Problem;
use super::warm::accepted;
use super::{AdminState, Peer};
use crate::dialects::{self, Deed, Order, Sent};
use crate::invalidation::Target;
use crate::warm::Wanted;

/// Answers what is such a request; the others go on.
pub(super) async fn answer(State(state): State<AdminState>, request: Request, next: Next) -> Response {
    let (head, body) = request.into_parts();
    let sent = sent(&head);
    // A GET of `/purge/…` has its meaning on the public listener, and on this one.
    if !dialects::is_by_method(&sent) && !dialects::is_by_api(&sent) {
        return next.run(Request::from_parts(head, body)).await;
    }
    match carry_out(&state, &head, body).await {
        Ok(response) => response,
        Err(problem) => problem.into_response(),
    }
}

async fn carry_out(state: &AdminState, head: &request::Parts, body: Body) -> Result<Response, Problem> {
    let sent = sent(head);
    let client = head.extensions.get::<Peer>().map(|Peer(address)| *address);
    let nobody = std::net::Ipv4Addr::UNSPECIFIED.into();
    let by = state.0.desk.who(&head.headers, client.unwrap_or(nobody), &state.0.purge_from)?;
    let order = if dialects::is_by_api(&sent) {
        let body = to_bytes(body, state.0.max_body_bytes).await.map_err(|_| {
            let detail = "the body is larger than admin.max_body, or could not be read to its end";
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
        })?;
        let not_found = || Problem::new(StatusCode::NOT_FOUND, "there is nothing here");
        dialects::by_api(&sent, &body).ok_or_else(not_found)?
    } else {
        dialects::by_method(&sent)
    };
    let Order { targets, deed, reply } = order?;
    match deed {
        Deed::Purge(strength) => {
            let response = state.0.desk.purge(by, targets, strength, &reply).await;
            Ok(response.map(Body::from))
        }
        Deed::Refresh => refresh(state, &targets, &by),
    }
}

/// Fetches again what is stored; what is not is fetched once, to be stored.
fn refresh(state: &AdminState, targets: &[Target], by: &str) -> Result<Response, Problem> {
    let requests = state.0.rooms.invalidator.requests(targets, Duration::MAX)?;
    let progress = if requests.again.is_empty() && requests.others.is_empty() {
        let url = |target: &Target| match target {
            Target::Url(url) => Some(url.clone()),
            _ => None,
        };
        let urls = targets.iter().filter_map(url).collect();
        state.0.warmer.start(Wanted { urls, ..Wanted::default() }, by)?
    } else {
        state.0.warmer.refresh(requests.again, requests.others.len() as u64, None, by)?
    };
    Ok(accepted(&progress))
}

/// Whose URL it is, the `Host` says, as on the public listener.
fn sent(head: &request::Parts) -> Sent<'_> {
    let authority = head.uri.authority().map(Authority::as_str);
    let host = head.headers.get(HOST).and_then(|host| host.to_str().ok());
    Sent {
        method: &head.method,
        scheme: head.uri.scheme_str().unwrap_or("http"),
        host: authority.or(host).unwrap_or_default(),
        target: head.uri.path_and_query().map_or("/", PathAndQuery::as_str),
        headers: &head.headers,
    }
}
