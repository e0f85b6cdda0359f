//! `/v1`: purging, and what there is.

use std::collections::BTreeMap;

use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::AdminState;
use super::problem::Problem;
use super::token::authorize;
use super::unique::Unique;
use crate::config::Scope;
use crate::invalidation::{Preview, Purged, Strength, Target};

/// `POST /v1/purge`: one target, or `{"targets": […]}`; with `"soft": true`, what they name is stale and not gone; with
/// `"dry_run": true` nothing is changed. When it is answered, it has happened.
pub(super) async fn purge(
    State(state): State<AdminState>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let by = format!("token {:?}", authorize(&state.0.tokens, &headers, Scope::Purge)?.name);
    check_is_json(&headers)?;
    let mut body = read(body)?;
    let strength = if flag(&mut body, "soft")? { Strength::Soft } else { Strength::Hard };
    let dry_run = flag(&mut body, "dry_run")?;
    let several = body.get("targets").is_some();
    let targets = targets(body)?;
    let invalidator = state.0.rooms.invalidator.clone();
    let soft = strength == Strength::Soft;
    // Only where there are several: there is nothing to tell apart in one.
    let results = |each: &[u64]| {
        several.then(|| each.iter().map(|matched| json!({ "matched": matched })).collect::<Vec<_>>())
    };
    // Counting walks what was stored, which may be a lot; not on a worker that serves. Done to its end even if the
    // client leaves.
    let mut answer = if dry_run {
        let preview = blocking(move || invalidator.preview(&targets, strength)).await??;
        let Preview { matched, bytes, each, examples } = preview;
        json!({
            "dry_run": true, "soft": soft, "matched": matched, "bytes": bytes, "examples": examples,
            "results": results(&each),
        })
    } else {
        let purged = blocking(move || invalidator.purge(&by, &targets, strength)).await??;
        state.0.metrics.purge("api", purged.matched);
        let Purged { position, matched, at_least, bytes, each, took } = purged;
        json!({
            "position": position.0, "soft": soft, "matched": matched, "at_least": at_least, "bytes": bytes,
            "took_ms": took.as_secs_f64() * 1000.0, "results": results(&each),
        })
    };
    if let Some(members) = answer.as_object_mut() {
        // Only where there is something to tell.
        members.retain(|name, value| match name.as_str() {
            "results" => several,
            "at_least" => *value == true,
            _ => true,
        });
    }
    Ok(answered(&answer))
}

/// Does what takes long where it holds up nobody, and to its end.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Problem> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))
}

pub(super) fn invalid(error: serde_json::Error) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, error.to_string())
}

/// A body in JSON, with no member given twice.
pub(super) fn read(body: Result<Bytes, BytesRejection>) -> Result<Value, Problem> {
    let body = body.map_err(|rejection| Problem::new(rejection.status(), rejection.body_text()))?;
    serde_json::from_slice::<Unique>(&body).map_err(invalid)?;
    serde_json::from_slice(&body).map(whole).map_err(invalid)
}

/// JSON has one kind of number: `4.0`, as some write it, is 4.
fn whole(value: Value) -> Value {
    /// Beyond it not every whole number is a double, so what was meant cannot be told.
    const MOST: f64 = 9_007_199_254_740_991.0;
    match value {
        Value::Number(number) => match number.as_f64().filter(|_| number.is_f64()) {
            Some(float) if float.fract() == 0.0 && float.abs() <= MOST => json!(float as i64),
            _ => Value::Number(number),
        },
        Value::Array(items) => items.into_iter().map(whole).collect(),
        Value::Object(members) => members.into_iter().map(|(name, member)| (name, whole(member))).collect(),
        other => other,
    }
}

/// A member that is true or false, taken out of a body.
pub(super) fn flag(body: &mut Value, name: &str) -> Result<bool, Problem> {
    match body.as_object_mut().and_then(|members| members.remove(name)) {
        None => Ok(false),
        Some(Value::Bool(flag)) => Ok(flag),
        Some(_) => Err(Problem::new(StatusCode::BAD_REQUEST, format!("{name:?} is true or false"))),
    }
}

/// What a body names: one target, or `{"targets": […]}`.
pub(super) fn targets(mut body: Value) -> Result<Vec<Target>, Problem> {
    let Some(listed) = body.as_object_mut().and_then(|members| members.remove("targets")) else {
        return Ok(vec![serde_json::from_value(body).map_err(invalid)?]);
    };
    if let Some(other) = body.as_object().and_then(|members| members.keys().next()) {
        let detail = format!("\"targets\" stands alone: put {other:?} into one of them");
        return Err(Problem::new(StatusCode::BAD_REQUEST, detail));
    }
    serde_json::from_value(listed).map_err(invalid)
}

/// `GET /v1/status`: the version, the log, what is stored, how requests were answered.
pub(super) async fn status(State(state): State<AdminState>, headers: HeaderMap) -> Result<Response, Problem> {
    authorize(&state.0.tokens, &headers, Scope::Read)?;
    let (log, store) = (&state.0.rooms.log, &state.0.rooms.store);
    Ok(answered(&json!({
        "version": env!("CARGO_PKG_VERSION"),
        "log": { "head": log.head().0, "floor": log.floor().0, "tags": log.tags() },
        "store": {
            "keys": store.len(),
            "bytes": store.bytes(),
            "capacity_bytes": store.limits().capacity_bytes,
        },
        "requests": state.0.metrics.exchanges().collect::<BTreeMap<_, _>>(),
    })))
}

/// Refuses a body that is not JSON, or does not say so: a page in a browser cannot send one that does without asking.
pub(super) fn check_is_json(headers: &HeaderMap) -> Result<(), Problem> {
    let is_json =
        headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).is_some_and(|value| {
            let essence = value.split(';').next().unwrap_or_default();
            essence.trim().eq_ignore_ascii_case("application/json")
        });
    if is_json {
        return Ok(());
    }
    let detail = "the body must be JSON, with Content-Type: application/json";
    Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail))
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

    fn said(body: &'static str) -> Result<Vec<Target>, Problem> {
        targets(read(Ok(Bytes::from_static(body.as_bytes())))?)
    }

    #[test]
    fn one_target_or_several() {
        assert_eq!(said(r#"{"tag": "a"}"#), Ok(vec![Target::Tag("a".into())]));
        assert_eq!(
            said(r#"{"targets": [{"tag": "a"}, {"tag": "b"}]}"#),
            Ok(vec![Target::Tag("a".into()), Target::Tag("b".into())])
        );
    }

    #[test]
    fn a_whole_number_is_one_however_it_is_written() {
        for text in ["404", "404.0", "4.04e2"] {
            let body = format!(r#"{{"tag": "a", "where": {{"status": [{text}]}}}}"#);
            let read = targets(read(Ok(Bytes::from(body))).unwrap());
            assert_eq!(read, said(r#"{"tag": "a", "where": {"status": 404}}"#), "{text}");
        }
    }

    #[test]
    fn what_is_no_target_is_refused_with_a_reason() {
        for (body, reason) in [
            ("", "EOF"),
            ("[]", "expected"),
            ("null", "null is no value"),
            (r#"{"tag": "a", "where": null}"#, "null is no value"),
            (r#"{"tag": "a", "where": {"status": 404.5}}"#, "one is expected"),
            ("{}", "exactly one"),
            (r#"{"targets": {}}"#, "expected a sequence"),
            (r#"{"targets": [], "tag": "a"}"#, "stands alone"),
            (r#"{"tag": 1}"#, "expected a string"),
            (r#"{"url": "http://a.test/", "url": "http://b.test/"}"#, "\\\"url\\\" is given twice"),
            (r#"{"targets": [{"tag": "a"}], "targets": [{"tag": "b"}]}"#, "given twice"),
            (r#"{"targets": [{"tag": "a"}, {"tag": "b", "t\u0061g": "c"}]}"#, "given twice"),
            (r#"{"route": "a", "partition": {"x": "1", "x": "2"}}"#, "given twice"),
        ] {
            let Err(problem) = said(body) else { panic!("{body} is refused") };
            assert!(format!("{problem:?}").contains(reason), "{body}: {problem:?}");
        }
    }

    use crate::admin::testing::Admin;
    use axum::body::Body;
    use axum::http::{Method, Request};

    #[tokio::test]
    async fn a_purge_says_what_it_did_and_has_done_it() {
        let admin = Admin::new();
        let answer = admin.purge(r#"{"tag": "article:a"}"#).await;
        assert_eq!((answer.status, answer.field("content-type")), (200, "application/json"));
        let said = answer.json();
        assert_eq!((&said["position"], &said["matched"]), (&json!(1), &json!(1)));
        assert!(said["bytes"].as_u64() > Some(0) && said["took_ms"].is_f64(), "{said}");
        assert!(!admin.has("/articles/a") && admin.has("/articles/b"));

        let several = r#"{"targets": [{"url": "http://a.test/articles/b"}, {"url": "https://a.test/articles/c++"}, {"tag": "x"}]}"#;
        assert_eq!(admin.purge(several).await.json()["matched"], 2);
        assert_eq!(admin.purge(r#"{"everything": true}"#).await.json()["matched"], 0);
        let metrics = admin.metrics().await;
        assert!(metrics.contains("staleproof_purges_total{source=\"api\"} 3"), "{metrics}");
        assert!(metrics.contains("staleproof_purged_total{source=\"api\"} 3"), "{metrics}");
    }

    #[tokio::test]
    async fn who_may_not_purge_does_not() {
        let admin = Admin::new();
        for (secret, status) in [("", 401), ("deploy's secre", 401), ("reader's secret", 403)] {
            let answer = admin.request(Method::POST, "/v1/purge", secret, r#"{"everything": true}"#).await;
            let detail = answer.problem(status);
            assert!(!detail.contains("secret"), "{detail}");
            assert_eq!(answer.field("www-authenticate"), if status == 401 { "Bearer" } else { "" });
        }
        assert!(admin.has("/articles/a"));
        admin.request(Method::GET, "/v1/status", "", "").await.problem(401);
    }

    #[tokio::test]
    async fn a_target_that_names_nothing_known_purges_nothing_and_comes_with_what_was_meant() {
        let admin = Admin::new();
        for (body, status, hint) in [
            (r#"{"route": "articl"}"#, 404, "did you mean \"article\"?"),
            (r#"{"targets": [{"tag": "article:a"}, {"key": "x"}]}"#, 404, "no key is called \"x\""),
            (r#"{"route": "article", "partition": {"slag": "a"}}"#, 404, "did you mean \"slug\"?"),
            (r#"{"url": "/articles/a"}"#, 400, "no scheme and host"),
            (r#"{"tag": "a", "route": "article"}"#, 400, "exactly one"),
            ("{", 400, "EOF"),
        ] {
            let detail = admin.purge(body).await.problem(status);
            assert!(detail.contains(hint), "{body}: {detail}");
        }
        assert!(admin.has("/articles/a"));
    }

    #[tokio::test]
    async fn a_body_that_is_too_large_or_no_json_is_refused() {
        let admin = Admin::new();
        admin.purge(&format!(r#"{{"tag": "{}"}}"#, "x".repeat(2000))).await.problem(413);
        let request = |content_type: &str| {
            Request::post("/v1/purge")
                .header("authorization", "Bearer deploy's secret")
                .header("content-type", content_type)
                .body(Body::from(r#"{"tag": "a"}"#))
                .unwrap()
        };
        admin.send(request("text/plain")).await.problem(415);
        assert_eq!(admin.send(request("Application/JSON; charset=utf-8")).await.status, 200);
    }

    #[tokio::test]
    async fn the_status_says_what_there_is() {
        let admin = Admin::new();
        admin.state.0.metrics.exchange("HIT", 200, 1);
        admin.purge(r#"{"tag": "x"}"#).await;
        let status = admin.request(Method::GET, "/v1/status", "reader's secret", "").await.json();
        assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
        assert_eq!(status["log"]["head"], 1);
        assert_eq!(status["store"]["capacity_bytes"], 1 << 20);
        assert_eq!((&status["requests"]["HIT"], &status["requests"]["MISS"]), (&json!(1), &json!(0)));
    }
}
