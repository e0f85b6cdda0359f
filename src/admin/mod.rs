//! The admin listener: health, metrics, the versioned API, and the paths of the webhooks. Never public by default.

mod api;
mod asked;
mod dead_letters;
mod deliveries;
mod desk;
mod dialects;
mod hooks;
mod openapi;
mod problem;
mod query;
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

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderValue, Response, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::IntoResponse;
use axum::routing::{MethodRouter, get, post};
use bytes::Bytes;
use ipnet::IpNet;
use tokio::sync::Semaphore;

use self::problem::Problem;
use crate::cache::Rooms;
use crate::clock::Clock;
use crate::config::{Plan, Token};
use crate::dialects::Misread;
use crate::dispatch::{Dispatchers, JournalError, Means};
use crate::telemetry::Metrics;
use crate::warm::Warmer;
use crate::webhooks::Intake;

pub use desk::Desk;
pub use hooks::Reception;
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
    dispatchers: Dispatchers,
    desk: Desk,
    places: Semaphore,
    delivery_places: hooks::Places,
    purge_from: Vec<IpNet>,
    rooms: Arc<Rooms>,
    warmer: Arc<Warmer>,
    metrics: Arc<Metrics>,
    ready: Arc<AtomicBool>,
    clock: Clock,
}

impl AdminState {
    /// Takes from the plan what is the admin listener's.
    ///
    /// # Errors
    /// What a dispatcher has on disk cannot be read.
    pub fn new(
        plan: Plan,
        rooms: Arc<Rooms>,
        warmer: Arc<Warmer>,
        metrics: Arc<Metrics>,
        ready: Arc<AtomicBool>,
        clock: Clock,
    ) -> Result<Self, JournalError> {
        let intakes =
            plan.webhooks.into_iter().map(|hook| (hook.path.clone(), Arc::new(Intake::new(hook)))).collect();
        let desk = Desk::new(plan.admin.tokens.clone(), Arc::clone(&rooms.invalidator), Arc::clone(&metrics));
        let means = Means {
            invalidator: Arc::clone(&rooms.invalidator),
            warmer: Arc::clone(&warmer),
            metrics: Arc::clone(&metrics),
        };
        let dispatchers = Dispatchers::new(plan.rules.into(), means, &plan.dispatchers, &clock)?;
        Ok(Self(Arc::new(Inner {
            desk,
            places: Semaphore::new(MAX_AT_ONCE),
            delivery_places: hooks::Places::default(),
            purge_from: plan.admin.purge_from,
            tokens: plan.admin.tokens,
            max_body_bytes: plan.admin.max_body_bytes,
            intakes,
            dispatchers,
            rooms,
            warmer,
            metrics,
            ready,
            clock,
        })))
    }
}

impl AdminState {
    /// Does the work that is queued, and takes no more.
    pub async fn drain(&self) {
        self.0.dispatchers.drain().await;
    }
}

/// The other end of a request's connection, among its extensions.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub IpAddr);

/// What is told to whoever asks for a purge that cannot be understood.
pub fn misread(misread: Misread) -> Response<Bytes> {
    Problem::from(misread).to_response()
}

/// How many requests of the API, and for purges, are carried out at once.
const MAX_AT_ONCE: usize = 64;

/// Refuses what is too much at once; whoever asks may ask again. Health, metrics and webhooks are not counted.
async fn bound(State(state): State<AdminState>, request: Request, next: Next) -> axum::response::Response {
    let path = request.uri().path();
    let is_free = matches!(path, "/healthz" | "/readyz" | "/metrics") || state.0.intakes.contains_key(path);
    if is_free {
        return next.run(request).await;
    }
    let Ok(_place) = state.0.places.try_acquire() else {
        let detail = format!("{MAX_AT_ONCE} requests are being carried out: try again in a moment");
        let mut response = Problem::new(StatusCode::TOO_MANY_REQUESTS, detail).into_response();
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        return response;
    };
    next.run(request).await
}

/// The paths of the API, with what answers them. `docs/openapi.yaml` describes each.
fn paths() -> [(&'static str, MethodRouter<AdminState>); 20] {
    [
        ("/healthz", get(|| async { "ok\n" })),
        ("/readyz", get(readyz)),
        ("/metrics", get(metrics)),
        ("/v1/openapi.json", get(openapi::show)),
        ("/v1/purge", post(api::purge)),
        ("/v1/refresh", post(refresh::start)),
        ("/v1/entries", get(stored::entries)),
        ("/v1/tags", get(stored::tags)),
        ("/v1/log", get(stored::log)),
        ("/v1/deliveries", get(deliveries::list)),
        ("/v1/deliveries/{number}", get(deliveries::show)),
        ("/v1/deliveries/{number}/replay", post(deliveries::replay)),
        ("/v1/dead-letters", get(dead_letters::list)),
        ("/v1/dead-letters/replay", post(dead_letters::replay)),
        ("/v1/dead-letters/discard", post(dead_letters::discard)),
        ("/v1/status", get(api::status)),
        ("/v1/key", get(asked::key)),
        ("/v1/explain", get(asked::explain)),
        ("/v1/warm", get(warm::list).post(warm::start)),
        ("/v1/warm/{id}", get(warm::show).delete(warm::cancel)),
    ]
}

/// All paths of the admin listener.
pub fn router(state: AdminState) -> Router {
    let max_body_bytes = state.0.max_body_bytes;
    paths()
        .into_iter()
        .fold(Router::new(), |router, (path, methods)| router.route(path, methods))
        // Webhook paths are the operator's choice, and each has a body limit of its own.
        .fallback(hooks::deliver)
        .method_not_allowed_fallback(|| async { Problem::method_not_allowed() })
        .layer(DefaultBodyLimit::max(max_body_bytes))
        // Whatever their paths are here, they are those of the pages that are purged.
        .layer(middleware::from_fn_with_state(state.clone(), dialects::answer))
        .layer(middleware::from_fn_with_state(state.clone(), bound))
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
    for (dispatcher, waiting, dead) in state.0.dispatchers.lengths() {
        state.0.metrics.queue(dispatcher, waiting, dead);
    }
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
    async fn too_much_at_once_may_be_tried_again() {
        let admin = Admin::new();
        let places = admin.state.0.places.acquire_many(MAX_AT_ONCE as u32).await.unwrap();
        for (method, path) in
            [(Method::POST, "/v1/purge"), (Method::GET, "/v1/status"), (Method::GET, "/purge/a")]
        {
            let answer = admin.request(method, path, "deploy's secret", r#"{"tag": "article:a"}"#).await;
            assert!(answer.problem(429).contains("try again"));
            assert_eq!(answer.field("retry-after"), "1");
        }
        assert_eq!(admin.request(Method::GET, "/healthz", "", "").await.status, 200);
        assert_eq!(admin.deliver("1", "{}").await.status, 200, "webhooks have their own limits");
        drop(places);
        assert!(admin.has("/articles/a"));
        assert_eq!(admin.purge(r#"{"tag": "article:a"}"#).await.status, 200);
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
