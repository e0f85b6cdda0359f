//! `/v1/refresh`: what is stored is fetched again, by the requests that led to it.

use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde_json::Value;

use super::AdminState;
use super::api::{check_is_json, read, targets};
use super::problem::Problem;
use super::token::authorize;
use super::warm::accepted;
use crate::config::Scope;
use crate::dispatch::audit;
use crate::invalidation::PurgeError;

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
    let mut option = |name| body.as_object_mut().and_then(|members| members.remove(name));
    let wrong = |detail| Problem::new(StatusCode::BAD_REQUEST, detail);
    let concurrency = match option("concurrency") {
        None => None,
        Some(value) => {
            let number = value.as_u64().and_then(|number| usize::try_from(number).ok());
            Some(number.ok_or_else(|| wrong("\"concurrency\" is a number"))?)
        }
    };
    let purge = match option("purge") {
        None | Some(Value::Bool(false)) => false,
        Some(Value::Bool(true)) => true,
        Some(_) => return Err(wrong("\"purge\" is true or false")),
    };
    if purge {
        authorize(&state.0.tokens, &headers, Scope::Purge)?;
    }
    let targets = targets(body)?;
    let invalidator = state.0.rooms.invalidator.clone();
    let who = by.clone();
    let (requests, others, matched) = tokio::task::spawn_blocking(move || {
        // Before the purge: it takes away what it names.
        let (requests, others) = invalidator.requests(&targets)?;
        let mut matched = None;
        if purge {
            let purged = invalidator.purge(&targets)?;
            audit(&who, &targets, &purged);
            matched = Some(purged.matched);
        }
        Ok::<_, PurgeError>((requests, others, matched))
    })
    .await
    .map_err(|error| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))??;
    if let Some(matched) = matched {
        state.0.metrics.purge("api", matched);
    }
    let progress = state.0.warmer.refresh(requests, others, concurrency, &by)?;
    Ok(accepted(&progress))
}
