//! The admin listener: health, metrics, the versioned API, and the paths of the webhooks. Never public by default.

mod api;
mod desk;
mod dialects;
mod hooks;
mod problem;
mod refresh;
mod stored;
#[cfg(test)]
mod testing;
mod token;
mod unique;
mod warm;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::extract::{DefaultBodyLimit, State};
use axum::http::{Response, StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::{Router, middleware};
use bytes::Bytes;
use ipnet::IpNet;

use self::problem::Problem;
use crate::cache::Rooms;
use crate::clock::Clock;
use crate::config::{Plan, Token};
use crate::dialects::Misread;
use crate::invalidation::rule::Rule;
use crate::telemetry::Metrics;
use crate::warm::Warmer;
use crate::webhooks::Intake;

pub use desk::Desk;
pub use token::token_named_by;

/// What the admin listener needs.
#[derive(Clone, Debug)]
pub struct AdminState(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    tokens: Vec<Token>,
    max_body_bytes: usize,
    /// By path.
    intakes: HashMap<String, Arc<Intake>>,
    rules: Arc<[Rule]>,
    desk: Desk,
    purge_from: Vec<IpNet>,
    rooms: Arc<Rooms>,
    warmer: Arc<Warmer>,
    metrics: Arc<Metrics>,
    ready: Arc<AtomicBool>,
    clock: Clock,
}

impl AdminState {
    /// Takes from the plan what is the admin listener's.
    pub fn new(
        plan: Plan,
        rooms: Arc<Rooms>,
        warmer: Arc<Warmer>,
        metrics: Arc<Metrics>,
        ready: Arc<AtomicBool>,
        clock: Clock,
    ) -> Self {
        let intakes =
            plan.webhooks.into_iter().map(|hook| (hook.path.clone(), Arc::new(Intake::new(hook)))).collect();
        let desk = Desk::new(plan.admin.tokens.clone(), Arc::clone(&rooms.invalidator), Arc::clone(&metrics));
        Self(Arc::new(Inner {
            desk,
            purge_from: plan.admin.purge_from,
            tokens: plan.admin.tokens,
            max_body_bytes: plan.admin.max_body_bytes,
            intakes,
            rules: plan.rules.into(),
            rooms,
            warmer,
            metrics,
            ready,
            clock,
        }))
    }
}

/// The other end of a request's connection, among its extensions.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub IpAddr);

/// What is told to whoever asks for a purge that cannot be understood.
pub fn misread(misread: Misread) -> Response<Bytes> {
    Problem::from(misread).to_response()
}

/// All paths of the admin listener.
pub fn router(state: AdminState) -> Router {
    let max_body_bytes = state.0.max_body_bytes;
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route("/v1/purge", post(api::purge))
        .route("/v1/refresh", post(refresh::start))
        .route("/v1/entries", get(stored::entries))
        .route("/v1/tags", get(stored::tags))
        .route("/v1/log", get(stored::log))
        .route("/v1/status", get(api::status))
        .route("/v1/explain", get(api::explain))
        .route("/v1/warm", get(warm::list).post(warm::start))
        .route("/v1/warm/{id}", get(warm::show).delete(warm::cancel))
        // Webhook paths are the operator's choice, and each has a body limit of its own.
        .fallback(hooks::deliver)
        .method_not_allowed_fallback(|| async { Problem::method_not_allowed() })
        .layer(DefaultBodyLimit::max(max_body_bytes))
        // Whatever their paths are here, they are those of the pages that are purged.
        .layer(middleware::from_fn_with_state(state.clone(), dialects::answer))
        .with_state(state)
}

/// Ready until the server drains.
async fn readyz(State(state): State<AdminState>) -> impl IntoResponse {
    if state.0.ready.load(Ordering::Acquire) {
        (StatusCode::OK, "ready\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "draining\n")
    }
}

async fn metrics(State(state): State<AdminState>) -> impl IntoResponse {
    const TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    match state.0.metrics.encode(state.0.rooms.levels()) {
        Ok(text) => ([(header::CONTENT_TYPE, TYPE)], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::testing::Admin;
    use super::*;
    use axum::http::Method;

    #[tokio::test]
    async fn it_is_ready_until_it_drains_and_alive_all_along() {
        let admin = Admin::new();
        for (ready, status) in [(true, 200), (false, 503)] {
            admin.state.0.ready.store(ready, Ordering::Release);
            assert_eq!(admin.request(Method::GET, "/readyz", "", "").await.status, status);
            assert_eq!(admin.request(Method::GET, "/healthz", "", "").await.status, 200);
        }
    }

    #[tokio::test]
    async fn the_counts_are_in_a_format_that_says_what_it_is() {
        let answer = Admin::new().request(Method::GET, "/metrics", "", "").await;
        assert!(answer.field("content-type").starts_with("application/openmetrics-text; version=1.0.0"));
        assert!(answer.text.ends_with("# EOF\n"), "{}", answer.text);
    }

    #[tokio::test]
    async fn whatever_is_not_there_is_a_problem_that_says_so() {
        let admin = Admin::new();
        admin.request(Method::POST, "/v1/nothing", "deploy's secret", "{}").await.problem(404);
        for (method, path, allow) in [
            (Method::GET, "/v1/purge", "POST"),
            (Method::DELETE, "/v1/status", "GET,HEAD"),
            (Method::POST, "/healthz", "GET,HEAD"),
            (Method::GET, "/hooks/app", "POST"),
        ] {
            let answer = admin.request(method, path, "deploy's secret", "").await;
            answer.problem(405);
            assert_eq!(answer.field("allow"), allow, "{path}");
        }
    }
}
