//! `/v1/refresh`: what is stored is fetched again, by the requests that led to it.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;

use super::AdminState;
use super::api::{blocking, check_is_json, flag, read, targets};
use super::problem::Problem;
use super::token::authorize;
use super::warm::accepted;
use crate::config::Scope;
use crate::invalidation::{PurgeError, Strength};

/// `POST /v1/refresh`: one target, or `{"targets": […]}`, as of a purge; with `"concurrency"`, and with `"purge": true` if what
/// is stored is not to be served any more meanwhile. It goes on by itself; its `Location` tells how it stands.
pub(super) async fn start(
    State(state): State<AdminState>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let by = format!("token {:?}", authorize(&state.0.tokens, &headers, Scope::Warm)?.name);
    check_is_json(&headers)?;
    let mut body = read(body)?;
    let purge = flag(&mut body, "purge")?;
    let concurrency = match body.as_object_mut().and_then(|members| members.remove("concurrency")) {
        None => None,
        Some(value) => {
            let number = value.as_u64().and_then(|number| usize::try_from(number).ok());
            let wrong = || Problem::new(StatusCode::BAD_REQUEST, "\"concurrency\" is a number");
            Some(number.ok_or_else(wrong)?)
        }
    };
    if purge {
        authorize(&state.0.tokens, &headers, Scope::Purge)?;
    }
    let targets = targets(body)?;
    let invalidator = state.0.rooms.invalidator.clone();
    let who = by.clone();
    let (requests, matched) = blocking(move || {
        // Before the purge: it takes away what it names.
        let requests = invalidator.requests(&targets, Duration::MAX)?;
        let purged = purge.then(|| invalidator.purge(&who, &targets, Strength::Hard)).transpose()?;
        Ok::<_, PurgeError>((requests, purged.map(|purged| purged.matched)))
    })
    .await??;
    if let Some(matched) = matched {
        state.0.metrics.purge("api", matched);
    }
    let progress = state.0.warmer.refresh(requests.again, requests.others.len() as u64, concurrency, &by)?;
    Ok(accepted(&progress))
}
