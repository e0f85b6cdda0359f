//! `/v1/deliveries`: what came by the webhooks, and what became of it.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde_json::json;

use super::AdminState;
use super::api::{answered, blocking};
use super::hooks::refused;
use super::problem::Problem;
use super::query::{Pairs, invalid, once, pairs};
use super::token::authorize;
use crate::clock::Stopwatch;
use crate::config::Scope;
use crate::webhooks::{Intake, Seen, newest};

/// `GET /v1/deliveries?webhook=…&limit=…`: the last deliveries, the newest first, and what became of them.
pub(super) async fn list(
    State(state): State<AdminState>,
    headers: HeaderMap,
    query: Pairs,
) -> Result<Response, Problem> {
    authorize(&state.0.tokens, &headers, Scope::Read)?;
    let (mut webhook, mut limit) = (None, None);
    for (name, value) in pairs(query)? {
        match &*name {
            "webhook" => once(&mut webhook, &name, value)?,
            "limit" => {
                let number = value.parse::<usize>().ok().filter(|limit| (1..=MAX_LISTED).contains(limit));
                let number = number.ok_or_else(|| invalid(format!("a limit is from 1 to {MAX_LISTED}")))?;
                once(&mut limit, &name, number)?;
            }
            _ => return Err(invalid(format!("there is no {name:?}: there are webhook and limit"))),
        }
    }
    let intakes = state.0.intakes.values();
    let of_hook = |intake: &&Arc<Intake>| webhook.as_deref().is_none_or(|name| name == &*intake.hook.name);
    let mut known = intakes.filter(of_hook).peekable();
    if let (Some(name), None) = (&webhook, known.peek()) {
        return Err(Problem::new(StatusCode::NOT_FOUND, format!("no webhook is called {name:?}")));
    }
    let seen = newest(known.map(|intake| intake.seen()), limit.unwrap_or(LISTED));
    Ok(answered(&json!({ "deliveries": seen })))
}

/// How many are listed, unless told; and how many may be.
const LISTED: usize = 100;
const MAX_LISTED: usize = 1000;

/// `GET /v1/deliveries/{number}`: one of them, with what it said, where that is kept.
pub(super) async fn show(
    State(state): State<AdminState>,
    headers: HeaderMap,
    number: Result<Path<u64>, PathRejection>,
) -> Result<Response, Problem> {
    authorize(&state.0.tokens, &headers, Scope::Read)?;
    let (_, seen) = find(&state, number)?;
    let events = seen.events.iter().map(|event| json!({ "event": event.name, "body": event.body }));
    Ok(answered(&json!({ "delivery": seen, "events": events.collect::<Vec<_>>() })))
}

/// `POST /v1/deliveries/{number}/replay`: what the rules say of it is done once more.
pub(super) async fn replay(
    State(state): State<AdminState>,
    headers: HeaderMap,
    number: Result<Path<u64>, PathRejection>,
) -> Result<Response, Problem> {
    let token = &authorize(&state.0.tokens, &headers, Scope::Purge)?.name;
    let (intake, seen) = find(&state, number)?;
    let (at, stopwatch) = (state.0.clock.now(), Stopwatch::start());
    tracing::info!(by = %token, webhook = %intake.hook.name, delivery = ?seen.id, "a delivery is replayed");
    let (inner, replayed) = (Arc::clone(&state.0), Arc::clone(&intake));
    match blocking(move || replayed.replay(seen, &inner.dispatchers)).await? {
        Ok(accepted) => {
            intake.remember(at, stopwatch.elapsed(), "replayed", Ok(&accepted));
            Ok(answered(&accepted))
        }
        Err(why) => Ok(refused(&why)),
    }
}

fn find(
    state: &AdminState,
    number: Result<Path<u64>, PathRejection>,
) -> Result<(Arc<Intake>, Seen), Problem> {
    let found = number.ok().and_then(|Path(number)| {
        state.0.intakes.values().find_map(|intake| Some((Arc::clone(intake), intake.find(number)?)))
    });
    found.ok_or_else(|| {
        let detail = "there is no such delivery; GET /v1/deliveries lists those that are remembered";
        Problem::new(StatusCode::NOT_FOUND, detail)
    })
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::{Method, Request};
    use serde_json::json;

    use crate::admin::testing::{Admin, accepted, changed};

    #[tokio::test]
    async fn the_last_deliveries_are_listed_with_what_became_of_them() {
        let admin = Admin::new();
        admin.deliver("msg_1", &changed(&json!({"slugs": ["a"]}))).await;
        admin.deliver("msg_1", &changed(&json!({"slugs": ["a"]}))).await;
        admin.deliver("msg_2", "{").await;
        admin.send(Request::post("/hooks/app").body(Body::from("{}")).unwrap()).await;
        let get = async |path: &str| admin.request(Method::GET, path, "reader's secret", "").await;
        let list = get("/v1/deliveries").await.json();
        let deliveries = list["deliveries"].as_array().unwrap();
        let outcomes: Vec<_> = deliveries.iter().map(|seen| seen["outcome"].as_str().unwrap()).collect();
        assert_eq!(outcomes, ["bad-signature", "malformed", "duplicate", "accepted"]);
        let first = &deliveries[3];
        assert_eq!((&first["id"], &first["event"]), (&json!("msg_1"), &json!("article.updated")));
        assert_eq!((&first["webhook"], &first["matched"]), (&json!("app"), &json!(1)));
        assert_eq!(first["rules"][0]["rule"], "article changed");
        assert!(deliveries[0]["why"].as_str().unwrap().contains("signature"), "{list}");
        assert_eq!(
            get("/v1/deliveries?webhook=app&limit=1").await.json()["deliveries"].as_array().unwrap().len(),
            1
        );
        get("/v1/deliveries?webhook=none").await.problem(404);
        get("/v1/deliveries?limit=0").await.problem(400);
        get("/v1/deliveries?hook=app").await.problem(400);
        admin.request(Method::GET, "/v1/deliveries", "", "").await.problem(401);
    }

    #[tokio::test]
    async fn a_delivery_whose_body_is_kept_can_be_shown_and_done_again() {
        let admin = Admin::new();
        let as_who = async |method, path: &str, who: &str| {
            admin.request(method, path, &format!("{who}'s secret"), "").await
        };
        admin.deliver("msg_1", &changed(&json!({"slugs": ["a"]}))).await;
        let list = as_who(Method::GET, "/v1/deliveries", "reader").await.json();
        let path = format!("/v1/deliveries/{}", list["deliveries"][0]["number"]);
        let shown = as_who(Method::GET, &path, "reader").await.json();
        assert_eq!(shown["events"][0]["body"]["data"]["slugs"], json!(["a"]));
        let head = admin.state.0.rooms.log.head();
        as_who(Method::POST, &format!("{path}/replay"), "reader").await.problem(403);
        let said = accepted(&as_who(Method::POST, &format!("{path}/replay"), "deploy").await);
        assert_eq!((&said["id"], &said["rules"][0]["targets"]), (&json!("msg_1"), &json!(2)));
        assert!(admin.state.0.rooms.log.head() > head);
        let list = as_who(Method::GET, "/v1/deliveries", "reader").await.json();
        assert_eq!(list["deliveries"][0]["outcome"], "replayed");
        for path in ["/v1/deliveries/0", "/v1/deliveries/x"] {
            as_who(Method::GET, path, "reader").await.problem(404);
            as_who(Method::POST, &format!("{path}/replay"), "deploy").await.problem(404);
        }
        // The last delivery that said more than is kept.
        let large = changed(&json!({"slugs": ["a"], "text": "x".repeat(5000)}));
        admin.deliver("msg_2", &large).await;
        let list = as_who(Method::GET, "/v1/deliveries", "reader").await.json();
        let path = format!("/v1/deliveries/{}/replay", list["deliveries"][0]["number"]);
        assert!(as_who(Method::POST, &path, "deploy").await.problem(409).contains("keep_bodies"));
    }
}
