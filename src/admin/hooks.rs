//! The paths of the webhooks.

use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::AdminState;
use super::api::answered;
use super::problem::Problem;
use crate::webhooks::{Intake, Refused};

/// Every path that is not the API's: a webhook's, or nobody's.
pub(super) async fn deliver(State(state): State<AdminState>, request: Request) -> Response {
    let Some(intake) = state.0.intakes.get(request.uri().path()) else {
        return Problem::new(StatusCode::NOT_FOUND, "there is nothing here").into_response();
    };
    if *request.method() != Method::POST {
        let mut response =
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "webhooks are POSTed").into_response();
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
        return response;
    }
    let (outcome, response) = take(&state, Arc::clone(intake), request).await;
    state.0.metrics.webhook(&intake.hook.name, outcome);
    response
}

/// The outcome, for the counts, and the answer.
async fn take(state: &AdminState, intake: Arc<Intake>, request: Request) -> (&'static str, Response) {
    let hook = intake.hook.name.clone();
    let (head, body): (_, Body) = request.into_parts();
    let Ok(body) = to_bytes(body, intake.hook.max_body_bytes).await else {
        tracing::warn!(%hook, "a delivery was too large or broke off");
        let problem = Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large");
        return ("too-large", problem.into_response());
    };
    let inner = Arc::clone(&state.0);
    let now = inner.clock.now();
    // Purging counts what was stored, which may take a while; not on a worker that serves.
    let taken = tokio::task::spawn_blocking(move || {
        intake.take(&head.headers, &body, &inner.rules, &inner.invalidator, now)
    })
    .await;
    match taken {
        Ok(Ok(accepted)) => {
            if !accepted.duplicate {
                state.0.metrics.purge("webhook", accepted.matched);
            }
            (if accepted.duplicate { "duplicate" } else { "accepted" }, answered(&accepted))
        }
        Ok(Err(Refused::Signature(reason))) => {
            // The sender, whoever it is, learns nothing.
            tracing::warn!(%hook, %reason, "a delivery was not believed");
            ("bad-signature", Problem::new(StatusCode::UNAUTHORIZED, "not accepted").into_response())
        }
        Ok(Err(refused @ Refused::Json(_))) => {
            tracing::warn!(%hook, reason = %refused, "a delivery could not be read");
            ("malformed", Problem::new(StatusCode::BAD_REQUEST, refused.to_string()).into_response())
        }
        Err(error) => {
            tracing::error!(%hook, %error, "a delivery's work was cut off");
            let problem = Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "please try again");
            ("failed", problem.into_response())
        }
    }
}
