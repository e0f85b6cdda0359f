//! `/v1/dead-letters`: work that a `durable` dispatcher could not do, and keeps.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::Deserialize;
use serde_json::json;

use super::AdminState;
use super::api::{self, answered, blocking, check_is_json, read};
use super::problem::Problem;
use super::query::{Pairs, invalid, once, pairs};
use super::token::authorize;
use crate::config::Scope;
use crate::dispatch::{Dead, JournalError, Which};

/// How many are listed, unless told; and how many may be.
const LISTED: usize = 100;
const MAX_LISTED: usize = 1000;

/// `GET /v1/dead-letters?dispatcher=…&from=…&limit=…`: those of a dispatcher from a number on, the oldest first.
pub(super) async fn list(
    State(state): State<AdminState>,
    headers: HeaderMap,
    query: Pairs,
) -> Result<Response, Problem> {
    authorize(&state.0.tokens, &headers, Scope::Read)?;
    let (mut dispatcher, mut from, mut limit) = (None, None, None);
    for (name, value) in pairs(query)? {
        let wrong = || invalid(format!("{name:?} is a number, and a limit is from 1 to {MAX_LISTED}"));
        match &*name {
            "dispatcher" => once(&mut dispatcher, &name, value)?,
            "from" => once(&mut from, &name, value.parse().map_err(|_| wrong())?)?,
            "limit" => {
                let number = value.parse().ok().filter(|limit| (1..=MAX_LISTED).contains(limit));
                once(&mut limit, &name, number.ok_or_else(wrong)?)?;
            }
            _ => return Err(invalid(format!("there is no {name:?}: there are dispatcher, from and limit"))),
        }
    }
    let name = chosen(&state, dispatcher)?;
    let (inner, asked) = (Arc::clone(&state.0), name.clone());
    let dead = blocking(move || inner.dispatchers.dead(&asked, from.unwrap_or(0), limit.unwrap_or(LISTED)));
    let dead: Vec<Dead> = dead.await?.ok_or_else(|| unknown(&name))??;
    Ok(answered(&json!({ "dead_letters": dead })))
}

/// `POST /v1/dead-letters/replay`: `{"dispatcher": "…", "numbers": […]}` or `{"all": true}`: they are tried again, as if they had
/// just come.
pub(super) async fn replay(
    State(state): State<AdminState>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let (name, which) = asked(&state, &headers, body)?;
    let (inner, of) = (Arc::clone(&state.0), name.clone());
    let done = blocking(move || inner.dispatchers.revive(&of, which)).await?;
    Ok(answered(&json!({ "replayed": done.ok_or_else(|| unknown(&name))?? })))
}

/// `POST /v1/dead-letters/discard`, with the same body: they are forgotten.
pub(super) async fn discard(
    State(state): State<AdminState>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let (name, which) = asked(&state, &headers, body)?;
    let (inner, of) = (Arc::clone(&state.0), name.clone());
    let done = blocking(move || inner.dispatchers.discard(&of, which)).await?;
    Ok(answered(&json!({ "discarded": done.ok_or_else(|| unknown(&name))?? })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    dispatcher: Option<String>,
    numbers: Option<Vec<u64>>,
    all: Option<bool>,
}

fn asked(
    state: &AdminState,
    headers: &HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<(String, Which), Problem> {
    authorize(&state.0.tokens, headers, Scope::Purge)?;
    check_is_json(headers)?;
    let Asked { dispatcher, numbers, all } = serde_json::from_value(read(body)?).map_err(api::invalid)?;
    let which = match (numbers, all) {
        (Some(numbers), None) => Which::These(numbers),
        (None, Some(true)) => Which::All,
        _ => return Err(invalid("say which: \"numbers\": [1, 2], or \"all\": true".to_owned())),
    };
    Ok((chosen(state, dispatcher)?, which))
}

/// The dispatcher that is meant: the one that is named, or the only one.
fn chosen(state: &AdminState, named: Option<String>) -> Result<String, Problem> {
    let durable: Vec<_> = state.0.dispatchers.durable().collect();
    match (named, &durable[..]) {
        (Some(name), known) if known.contains(&&*name) => Ok(name),
        (Some(name), _) => Err(unknown(&name)),
        (None, [only]) => Ok((*only).to_owned()),
        (None, []) => Err(Problem::new(StatusCode::NOT_FOUND, "there is no durable dispatcher")),
        (None, several) => Err(invalid(format!("say of which dispatcher: {}", several.join(", ")))),
    }
}

fn unknown(name: &str) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, format!("no durable dispatcher is called {name:?}"))
}

impl From<JournalError> for Problem {
    fn from(error: JournalError) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use axum::http::Method;
    use serde_json::{Value, json};

    use crate::admin::testing::{Admin, Answer, accepted, article_changed, changed, durable};
    use crate::dispatch::DeferredSettings;
    use crate::dispatch::testing::unreadable;
    use crate::invalidation::rule::{Action, Dispatcher, Rule, TargetTemplate};

    /// Refreshes, and where it works.
    fn refreshing(path: &std::path::Path) -> (Rule, DeferredSettings) {
        let actions = vec![Action::Refresh(TargetTemplate::Everything)];
        (Rule { dispatcher: Dispatcher::Deferred(0), actions, ..article_changed() }, durable(path))
    }

    async fn ask(admin: &Admin, method: Method, path: &str, body: &str) -> Answer {
        let answer = admin.request(method, path, "deploy's secret", body).await;
        assert_eq!(answer.status, 200, "{path} {body}: {}", answer.text);
        answer
    }

    async fn dead(admin: &Admin) -> Value {
        ask(admin, Method::GET, "/v1/dead-letters", "").await.json()["dead_letters"].take()
    }

    /// Until so many are dead; time passes meanwhile.
    async fn until_dead(admin: &Admin, number: usize) -> Value {
        for _ in 0..1000 {
            let dead = dead(admin).await;
            if dead.as_array().unwrap().len() == number {
                return dead;
            }
            admin.state.0.clock.advance(Duration::from_secs(60));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("{number} should be dead")
    }

    #[tokio::test]
    async fn what_fails_is_tried_again_then_kept_and_replayed_when_it_can_be_done() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("queue");
        unreadable(&path, 1..3);
        let (rule, durable) = refreshing(&path);
        let admin = Admin::with(rule, &[durable]);
        let dead = until_dead(&admin, 2).await;
        let first = &dead[0];
        assert_eq!((&first["attempts"], &first["delivery"]), (&json!(3), &Value::Null), "{dead}");
        assert!(first["why"].as_str().unwrap().contains("cannot be read"), "{dead}");
        let metrics = admin.metrics().await;
        assert!(metrics.contains("staleproof_dead_letters{dispatcher=\"kept\"} 2"), "{metrics}");

        let of_first = json!({"dispatcher": "kept", "numbers": [first["number"]]}).to_string();
        let said = ask(&admin, Method::POST, "/v1/dead-letters/replay", &of_first).await.json();
        assert_eq!(said["replayed"], 1);
        until_dead(&admin, 2).await;
        let said = ask(&admin, Method::POST, "/v1/dead-letters/discard", &of_first).await.json();
        assert_eq!(said["discarded"], 1);
        let said = ask(&admin, Method::POST, "/v1/dead-letters/replay", r#"{"all": true}"#).await.json();
        assert_eq!(said["replayed"], 1);
        until_dead(&admin, 1).await;
        ask(&admin, Method::POST, "/v1/dead-letters/discard", r#"{"all": true}"#).await;
        assert_eq!(self::dead(&admin).await, json!([]));
    }

    #[tokio::test]
    async fn a_refresh_that_cannot_begin_is_a_purge_and_nothing_is_left_to_try_again() {
        let scratch = tempfile::tempdir().unwrap();
        let (rule, durable) = refreshing(&scratch.path().join("queue"));
        let admin = Admin::with(rule, &[durable]);
        admin.state.0.warmer.stop();
        let said = accepted(&admin.deliver("msg_1", &changed(&json!({"slugs": ["a"]}))).await);
        assert_eq!((&said["rules"][0]["queued"], &said["matched"]), (&json!(true), &json!(0)));
        let done = async {
            while !admin.metrics().await.contains("outcome=\"purged-instead\"} 1") {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), done).await.unwrap();
        assert!(!admin.has("/articles/a") && !admin.has("/articles/b"));
        assert_eq!(dead(&admin).await, json!([]));
    }

    #[tokio::test]
    async fn who_asks_for_what_is_not_there_is_told() {
        let scratch = tempfile::tempdir().unwrap();
        let (rule, durable) = refreshing(&scratch.path().join("queue"));
        let admin = Admin::with(rule, &[durable]);
        let ask = async |method, path: &str, who: &str, body: &str| {
            admin.request(method, path, &format!("{who}'s secret"), body).await
        };
        let replay = "/v1/dead-letters/replay";
        for body in ["{}", r#"{"all": false}"#, r#"{"all": true, "numbers": []}"#, r#"{"numbers": ["x"]}"#] {
            ask(Method::POST, replay, "deploy", body).await.problem(400);
        }
        ask(Method::POST, replay, "reader", r#"{"all": true}"#).await.problem(403);
        ask(Method::POST, replay, "deploy", r#"{"all": true, "dispatcher": "x"}"#).await.problem(404);
        ask(Method::GET, "/v1/dead-letters?dispatcher=x", "reader", "").await.problem(404);
        for query in ["limit=0", "from=x", "what=1", "limit=1&limit=2"] {
            ask(Method::GET, &format!("/v1/dead-letters?{query}"), "reader", "").await.problem(400);
        }
        ask(Method::GET, "/v1/dead-letters", "nobody", "").await.problem(401);
        Admin::new().request(Method::GET, "/v1/dead-letters", "reader's secret", "").await.problem(404);
    }

    #[tokio::test]
    async fn what_is_equal_is_purged_once_and_what_is_bad_takes_no_other_with_it() {
        let scratch = tempfile::tempdir().unwrap();
        let settings =
            DeferredSettings { linger: Duration::from_millis(300), ..durable(&scratch.path().join("q")) };
        let admin =
            Admin::with(Rule { dispatcher: Dispatcher::Deferred(0), ..article_changed() }, &[settings]);
        for number in 0..20 {
            let url = if number == 7 { "/nowhere" } else { "http://a.test/articles/b" };
            let body = changed(&json!({"slugs": ["a"], "url": url}));
            accepted(&admin.deliver(&number.to_string(), &body).await);
        }
        let dead = until_dead(&admin, 1).await;
        assert_eq!(
            (&dead[0]["delivery"], &dead[0]["attempts"]),
            (&json!("7"), &json!(1)),
            "it cannot succeed"
        );
        assert!(dead[0]["why"].as_str().unwrap().contains("/nowhere"), "{dead}");
        assert!(!admin.has("/articles/a") && !admin.has("/articles/b"));
        let metrics = admin.metrics().await;
        assert!(metrics.contains("staleproof_purged_total{source=\"webhook\"} 2"), "{metrics}");
        assert!(metrics.contains("outcome=\"done\"} 19"), "{metrics}");
        let purges =
            metrics.lines().find(|line| line.starts_with("staleproof_purges_total{source=\"webhook\"}"));
        let purges: u32 = purges.unwrap().rsplit(' ').next().unwrap().parse().unwrap();
        assert!(purges < 20, "{purges} purges of 20 events");
    }

    #[tokio::test]
    async fn a_file_that_is_not_required_and_cannot_be_read_refuses_what_would_go_there() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("queue");
        std::fs::write(&path, "no queue").unwrap();
        let (rule, mut settings) = refreshing(&path);
        if let Some(durable) = &mut settings.durable {
            durable.required = false;
        }
        let admin = Admin::with(rule, &[settings]);
        let answer = admin.deliver("msg_1", &changed(&json!({"slugs": ["a"]}))).await;
        answer.problem(503);
        assert_eq!(answer.field("retry-after"), "1");
        let detail = admin.request(Method::GET, "/v1/dead-letters", "reader's secret", "").await.problem(503);
        assert!(detail.contains("hooks repair"), "{detail}");
    }
}
