//! `/v1`: purging, and what there is.

use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::AdminState;
use super::problem::Problem;
use super::token::authorize;
use crate::config::Scope;
use crate::invalidation::Target;

/// `POST /v1/purge`: one target, or `{"targets": […]}`. When it is answered, it has happened.
pub(super) async fn purge(
    State(state): State<AdminState>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let token = authorize(&state.0.tokens, &headers, Scope::Purge)?.name.clone();
    let is_json =
        headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).is_some_and(|value| {
            value.split(';').next().is_some_and(|essence| essence.trim() == "application/json")
        });
    if !is_json {
        let detail = "the body must be JSON, with Content-Type: application/json";
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
    }
    let body = body.map_err(|rejection| Problem::new(rejection.status(), rejection.body_text()))?;
    let targets = targets(&body)?;
    let named: Vec<_> = targets.iter().map(ToString::to_string).collect();
    let invalidator = state.0.invalidator.clone();
    // Counting walks what was stored, which may be a lot; not on a worker that serves.
    let purged = tokio::task::spawn_blocking(move || invalidator.purge(&targets))
        .await
        .map_err(|error| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))??;
    state.0.metrics.purge("api", purged.matched);
    tracing::info!(
        %token, targets = ?named, position = %purged.position, matched = purged.matched, bytes = purged.bytes,
        "purged"
    );
    let answer = json!({
        "position": purged.position.0,
        "matched": purged.matched,
        "bytes": purged.bytes,
        "took_ms": purged.took.as_secs_f64() * 1000.0,
    });
    Ok(answered(&answer))
}

fn targets(body: &[u8]) -> Result<Vec<Target>, Problem> {
    let invalid = |error: serde_json::Error| Problem::new(StatusCode::BAD_REQUEST, error.to_string());
    let mut body: Value = serde_json::from_slice(body).map_err(invalid)?;
    let Some(listed) = body.as_object_mut().and_then(|members| members.remove("targets")) else {
        return Ok(vec![serde_json::from_value(body).map_err(invalid)?]);
    };
    if let Some(other) = body.as_object().and_then(|members| members.keys().next()) {
        let detail = format!("\"targets\" stands alone: put {other:?} into one of them");
        return Err(Problem::new(StatusCode::BAD_REQUEST, detail));
    }
    serde_json::from_value(listed).map_err(invalid)
}

/// `GET /v1/status`: the version, the log, what is stored.
pub(super) async fn status(State(state): State<AdminState>, headers: HeaderMap) -> Result<Response, Problem> {
    authorize(&state.0.tokens, &headers, Scope::Read)?;
    let (log, store) = (&state.0.log, &state.0.store);
    Ok(answered(&json!({
        "version": env!("CARGO_PKG_VERSION"),
        "log": { "head": log.head().0, "floor": log.floor().0, "tags": log.tags() },
        "store": {
            "keys": store.len(),
            "bytes": store.bytes(),
            "capacity_bytes": store.limits().capacity_bytes,
        },
    })))
}

/// 200 with JSON.
pub(super) fn answered(answer: &impl serde::Serialize) -> Response {
    match serde_json::to_string(answer) {
        Ok(text) => ([(header::CONTENT_TYPE, "application/json")], text).into_response(),
        Err(error) => Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_target_or_several() {
        assert_eq!(targets(br#"{"tag": "a"}"#), Ok(vec![Target::Tag("a".into())]));
        assert_eq!(
            targets(br#"{"targets": [{"tag": "a"}, {"tag": "b"}]}"#),
            Ok(vec![Target::Tag("a".into()), Target::Tag("b".into())])
        );
    }

    #[test]
    fn what_is_no_target_is_refused_with_a_reason() {
        for (body, reason) in [
            ("", "EOF"),
            ("[]", "expected"),
            ("{}", "exactly one"),
            (r#"{"targets": {}}"#, "expected a sequence"),
            (r#"{"targets": [], "tag": "a"}"#, "stands alone"),
            (r#"{"tag": 1}"#, "expected a string"),
        ] {
            let Err(problem) = targets(body.as_bytes()) else { panic!("{body} is refused") };
            assert!(format!("{problem:?}").contains(reason), "{body}: {problem:?}");
        }
    }
}
