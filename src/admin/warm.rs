//! `/v1/warm`: warm-ups, from their beginning to their end.

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;

use super::AdminState;
use super::api::{answered, check_is_json, invalid, read};
use super::problem::Problem;
use super::token::authorize;
use crate::config::Scope;
use crate::warm::{Progress, Refusal, Wanted};

/// `POST /v1/warm`: begins one. It goes on by itself; its `Location` tells how it stands.
pub(super) async fn start(
    State(state): State<AdminState>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let token = &authorize(&state.0.tokens, &headers, Scope::Warm)?.name;
    check_is_json(&headers)?;
    if matches!(&body, Err(rejection) if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE) {
        let detail = "the body is larger than admin.max_body: give fewer URLs at once, or a sitemap";
        return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail));
    }
    let wanted: Wanted = serde_json::from_value(read(body)?).map_err(invalid)?;
    let progress = state.0.warmer.start(wanted, &format!("token {token:?}"))?;
    Ok(accepted(&progress))
}

/// 202, and where to see how it goes.
pub(super) fn accepted(progress: &Progress) -> Response {
    let mut response = answered(progress);
    *response.status_mut() = StatusCode::ACCEPTED;
    if let Ok(location) = HeaderValue::try_from(format!("/v1/warm/{}", progress.id)) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

/// `GET /v1/warm`: those that are under way, and the last that are over.
pub(super) async fn list(State(state): State<AdminState>, headers: HeaderMap) -> Result<Response, Problem> {
    may_look(&state, &headers)?;
    Ok(answered(&state.0.warmer.list()))
}

/// `GET /v1/warm/{id}`: how it stands.
pub(super) async fn show(
    State(state): State<AdminState>,
    headers: HeaderMap,
    id: Result<Path<u64>, PathRejection>,
) -> Result<Response, Problem> {
    may_look(&state, &headers)?;
    found(id.ok().and_then(|Path(id)| state.0.warmer.get(id)))
}

/// `DELETE /v1/warm/{id}`: ends it.
pub(super) async fn cancel(
    State(state): State<AdminState>,
    headers: HeaderMap,
    id: Result<Path<u64>, PathRejection>,
) -> Result<Response, Problem> {
    authorize(&state.0.tokens, &headers, Scope::Warm)?;
    found(id.ok().and_then(|Path(id)| state.0.warmer.cancel(id)))
}

/// Who may begin warm-ups may see what comes of them.
fn may_look(state: &AdminState, headers: &HeaderMap) -> Result<(), Problem> {
    let tokens = &state.0.tokens;
    authorize(tokens, headers, Scope::Warm).or_else(|_| authorize(tokens, headers, Scope::Read)).map(|_| ())
}

fn found(progress: Option<Progress>) -> Result<Response, Problem> {
    let progress = progress.ok_or_else(|| {
        let detail = "there is no such warm-up; GET /v1/warm lists those that are remembered";
        Problem::new(StatusCode::NOT_FOUND, detail)
    })?;
    Ok(answered(&progress))
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let status = match refusal {
            Refusal::Nothing | Refusal::Concurrency { .. } | Refusal::Field(_) | Refusal::Ours(_) => {
                StatusCode::BAD_REQUEST
            }
            Refusal::Busy => StatusCode::TOO_MANY_REQUESTS,
            Refusal::Stopping => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self::new(status, refusal.to_string())
    }
}

#[cfg(test)]
mod tests {
    use axum::http::Method;
    use serde_json::{Value, json};

    use crate::admin::testing::{Admin, Answer};

    async fn ask(admin: &Admin, method: Method, path: &str, who: &str, body: &str) -> Answer {
        admin.request(method, path, &format!("{who}'s secret"), body).await
    }

    #[tokio::test]
    async fn a_warm_up_is_accepted_and_can_be_followed_and_ended() {
        let admin = Admin::new();
        let body = r#"{"urls": ["http://a.test/x", "no url"], "headers": {"accept": "text/html"}, "concurrency": 2}"#;
        let answer = ask(&admin, Method::POST, "/v1/warm", "deploy", body).await;
        assert_eq!((answer.status, answer.field("location")), (202, "/v1/warm/1"));
        assert_eq!((&answer.json()["id"], &answer.json()["state"]), (&json!(1), &json!("reading")));
        let progress = loop {
            let progress = ask(&admin, Method::GET, "/v1/warm/1", "reader", "").await.json();
            if progress["state"] == "done" {
                break progress;
            }
            tokio::task::yield_now().await;
        };
        assert_eq!((&progress["total"], &progress["failed"]), (&json!(2), &json!(2)));
        let reasons: Vec<&Value> =
            progress["failures"].as_array().unwrap().iter().map(|told| &told["reason"]).collect();
        assert!(reasons.contains(&&json!("no route takes it")), "{reasons:?}");
        assert!(reasons.contains(&&json!("it is not a URL")), "{reasons:?}");
        let list = ask(&admin, Method::GET, "/v1/warm", "deploy", "").await.json();
        assert_eq!(list.as_array().unwrap().len(), 1);
        let ended = ask(&admin, Method::DELETE, "/v1/warm/1", "deploy", "").await;
        assert_eq!((ended.status, &ended.json()["state"]), (200, &json!("done")), "it was over");
    }

    #[tokio::test]
    async fn who_may_not_warm_does_not() {
        let admin = Admin::new();
        let body = r#"{"urls": ["http://a.test/"]}"#;
        for (who, status) in [("nobody", 401), ("reader", 403)] {
            ask(&admin, Method::POST, "/v1/warm", who, body).await.problem(status);
            ask(&admin, Method::DELETE, "/v1/warm/1", who, "").await.problem(status);
        }
        ask(&admin, Method::GET, "/v1/warm", "nobody", "").await.problem(401);
        let list = ask(&admin, Method::GET, "/v1/warm", "reader", "").await;
        assert_eq!(list.json(), json!([]));
    }

    #[tokio::test]
    async fn what_cannot_be_warmed_is_refused_with_what_to_do() {
        let admin = Admin::new();
        let long = format!(r#"{{"urls": ["{}"]}}"#, "x".repeat(2000));
        for (body, status, hint) in [
            ("{}", 400, "give \"urls\""),
            ("[", 400, "EOF"),
            (r#"{"url": "http://a.test/"}"#, 400, "unknown field `url`"),
            (r#"{"urls": [], "urls": []}"#, 400, "given twice"),
            (r#"{"urls": ["x"], "headers": {"a": "b", "a": "c"}}"#, 400, "given twice"),
            (r#"{"urls": ["x"], "concurrency": null}"#, 400, "null is no value"),
            (r#"{"urls": ["x"], "concurrency": 0}"#, 400, "from 1 to 16"),
            (r#"{"urls": ["x"], "concurrency": 17}"#, 400, "admin.warm.max_concurrency"),
            (r#"{"urls": ["x"], "headers": {"host": "b.test"}}"#, 400, "\"host\" cannot be given"),
            (&long, 413, "or a sitemap"),
        ] {
            let detail = ask(&admin, Method::POST, "/v1/warm", "deploy", body).await.problem(status);
            assert!(detail.contains(hint), "{body}: {detail}");
        }
        for path in ["/v1/warm/1", "/v1/warm/x"] {
            let detail = ask(&admin, Method::GET, path, "deploy", "").await.problem(404);
            assert!(detail.contains("GET /v1/warm"), "{detail}");
        }
        admin.state.0.warmer.stop();
        let body = r#"{"urls": ["http://a.test/"]}"#;
        ask(&admin, Method::POST, "/v1/warm", "deploy", body).await.problem(503);
    }
}
