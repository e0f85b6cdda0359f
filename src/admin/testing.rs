//! An admin listener without a socket, in front of a store with three articles.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tower::ServiceExt;

use super::{AdminState, Desk, Inner, router};
use crate::cache::{FillRoom, Flights, Rooms};
use crate::clock::Clock;
use crate::config::{self, Scope, Secret, Token};
use crate::dispatch::{DeferredSettings, Dispatchers, DurableSettings, Means};
use crate::exchange::Scheme;
use crate::invalidation::apply::tags_of;
use crate::invalidation::rule::{Action, Dispatcher, OnError, Require, Rule, TargetTemplate, WatchUnknown};
use crate::invalidation::{Invalidator, Log, Strength};
use crate::keys::{Constructor, KeyInput};
use crate::routes::{
    CacheRule, Match, PathPattern, Ranges, Route, RouteQuery, StatusFields, StatusFieldsAudience, Table,
    Template,
};
use crate::selector::Selector;
use crate::semantics::vary::Selecting;
use crate::semantics::{LifetimeSource, Policy, StoredResponse, Terms};
use crate::server;
use crate::store::{Asked, Memory, MemoryLimits, Searches, Stored, Uses};
use crate::telemetry::Metrics;
use crate::warm::Warmer;
use crate::webhooks::{Hook, Intake};

/// The secret of the hook at `/hooks/app`.
const HOOK_SECRET: &str = "the app's own secret";

/// What was answered.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) text: String,
}

impl Answer {
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("JSON, not {:?}", self.text))
    }

    pub(super) fn field(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The detail of the problem (RFC 9457), which this must be.
    #[track_caller]
    pub(super) fn problem(&self, status: u16) -> String {
        assert_eq!(self.status, status, "{}", self.text);
        assert_eq!(self.field("content-type"), "application/problem+json");
        let problem = self.json();
        assert_eq!((&problem["status"], &problem["type"]), (&json!(status), &json!("about:blank")));
        assert!(problem["title"].is_string());
        problem["detail"].as_str().unwrap().to_owned()
    }
}

/// The listener, and what is behind it.
pub(super) struct Admin {
    pub(super) state: AdminState,
}

impl Admin {
    /// `/articles/a`, `/articles/b` and `/articles/c++` of `a.test` are stored, the first two with a tag.
    pub(super) fn new() -> Self {
        Self::with(article_changed(), &[])
    }

    /// The same, with another rule, and dispatchers.
    pub(super) fn with(rule: Rule, deferred: &[DeferredSettings]) -> Self {
        let routes = Arc::new(Table::new(vec![Arc::new(article_route())]));
        let log = Arc::new(Log::new(1000));
        let limits = MemoryLimits {
            capacity_bytes: 1 << 20,
            max_object_bytes: 1 << 16,
            filling_bytes: 1 << 20,
            sendfile_from_bytes: None,
            eviction: Default::default(),
        };
        let store = Arc::new(Memory::new(limits));
        let invalidator =
            Arc::new(Invalidator::new(log.clone(), store.clone(), routes.clone(), Clock::system()));
        for path in ["/articles/a", "/articles/b", "/articles/c++"] {
            store_article(&routes, &log, &store, path);
        }
        let intake = Arc::new(Intake::new(hook()));
        let clock = Clock::stopped();
        let metrics = Arc::new(Metrics::new());
        let warmer = Arc::new(warmer(&clock));
        let rooms = Arc::new(Rooms {
            store,
            log,
            invalidator,
            routes,
            searches: Searches::default(),
            upstream_hosts: Vec::new(),
            failing: Vec::new(),
            uses: Uses::default(),
            clock: clock.clone(),
            flights: Flights::new(64),
            fills: Arc::new(FillRoom::new(1 << 24)),
            unsafe_exchanges: Arc::new(Semaphore::new(1)),
        });
        Self {
            state: AdminState(Arc::new(Inner {
                desk: Desk::new(tokens(), Arc::clone(&rooms.invalidator), Arc::clone(&metrics)),
                places: Semaphore::new(super::MAX_AT_ONCE),
                delivery_places: super::hooks::Places::default(),
                purge_from: Vec::new(),
                tokens: tokens(),
                max_body_bytes: 1024,
                intakes: [(intake.hook.path.clone(), intake)].into(),
                dispatchers: Dispatchers::new(
                    vec![rule].into(),
                    Means {
                        invalidator: Arc::clone(&rooms.invalidator),
                        warmer: Arc::clone(&warmer),
                        metrics: Arc::clone(&metrics),
                    },
                    deferred,
                    &clock,
                )
                .unwrap(),
                rooms,
                warmer,
                metrics,
                ready: Arc::new(AtomicBool::new(true)),
                clock,
            })),
        }
    }

    /// Whether anything is stored for the path.
    pub(super) fn has(&self, path: &str) -> bool {
        self.state.0.rooms.invalidator.reclaim();
        self.state
            .0
            .rooms
            .store
            .iter()
            .any(|(_, variants)| variants.stored().iter().any(|stored| *stored.body == *path.as_bytes()))
    }

    pub(super) async fn send(&self, request: Request<Body>) -> Answer {
        let response = router(self.state.clone()).oneshot(request).await.unwrap();
        let (head, body) = response.into_parts();
        let text = String::from_utf8(to_bytes(body, usize::MAX).await.unwrap().to_vec()).unwrap();
        Answer { status: head.status.as_u16(), headers: head.headers, text }
    }

    /// A request with the secret of a token (none if it is empty) and a JSON body.
    pub(super) async fn request(&self, method: Method, path: &str, secret: &str, body: &str) -> Answer {
        let mut request =
            Request::builder().method(method).uri(path).header("content-type", "application/json");
        if !secret.is_empty() {
            request = request.header("authorization", format!("Bearer {secret}"));
        }
        self.send(request.body(Body::from(body.to_owned())).unwrap()).await
    }

    pub(super) async fn purge(&self, body: &str) -> Answer {
        self.request(Method::POST, "/v1/purge", "deploy's secret", body).await
    }

    /// A delivery as the app signs it, now.
    pub(super) async fn deliver(&self, id: &str, body: &str) -> Answer {
        self.send(self.delivery(id, body)).await
    }

    pub(super) fn delivery(&self, id: &str, body: &str) -> Request<Body> {
        let timestamp = self.state.0.clock.now().as_secs();
        let mut mac = Hmac::<sha2::Sha256>::new_from_slice(HOOK_SECRET.as_bytes()).unwrap();
        mac.update(format!("{id}.{timestamp}.{body}").as_bytes());
        let signature = STANDARD.encode(mac.finalize().into_bytes());
        Request::post("/hooks/app")
            .header("webhook-id", id)
            .header("webhook-timestamp", timestamp)
            .header("webhook-signature", HeaderValue::from_str(&format!("v1,{signature}")).unwrap())
            .body(Body::from(body.to_owned()))
            .unwrap()
    }

    pub(super) async fn metrics(&self) -> String {
        self.request(Method::GET, "/metrics", "", "").await.text
    }
}

/// The body of an event: an article has changed.
pub(super) fn changed(data: &Value) -> String {
    json!({"type": "article.updated", "data": data}).to_string()
}

/// The JSON of an answer that every sender takes for success.
#[track_caller]
pub(super) fn accepted(answer: &Answer) -> Value {
    assert_eq!((answer.status, answer.field("content-type")), (200, "application/json"), "{}", answer.text);
    let said = answer.json();
    assert_eq!(said["ok"], true);
    said
}

/// Its requests meet a route for another host only.
fn warmer(clock: &Clock) -> Warmer {
    let yaml = "server: { access_log: off }\nupstreams: { app: { servers: 'http://127.0.0.1:1' } }\n\
                routes: [{ name: b, match: { host: b.test, path: '/{*rest}' }, upstream: app }]\n";
    let plan = config::compile_text("test.yaml", yaml, &|_| None).unwrap();
    let stack = server::assemble(&plan, clock).unwrap().stack;
    Warmer::new(stack, &plan, clock.clone())
}

fn tokens() -> Vec<Token> {
    vec![token("deploy", &[Scope::Purge, Scope::Read, Scope::Warm]), token("reader", &[Scope::Read])]
}

fn token(name: &str, may: &[Scope]) -> Token {
    Token { name: name.into(), secret: Secret::new(format!("{name}'s secret")), may: may.to_vec() }
}

fn article_route() -> Route {
    Route {
        name: "article".into(),
        matching: Match {
            hosts: Vec::new(),
            path: PathPattern::parse("/articles/{slug}").unwrap(),
            methods: Vec::new(),
            headers: Vec::new(),
        },
        upstream: 0,
        cache: Some(CacheRule {
            key: Arc::new(Constructor::safe_default("article", false)),
            policy: Policy::default(),
            tags: Vec::new(),
            body_tags: Arc::default(),
            store_if: None,
            store_unless: None,
            store_post: false,
            query: None,
            groups: true,
            no_vary_search: false,
            collapse: None,
            refresh_ahead: 0.0,
            ranges: Ranges::Forward,
            min_uses: 1,
        }),
        status_fields: StatusFields {
            x_cache: true,
            cached_at: true,
            reset_at: true,
            cache_status: true,
            audience: StatusFieldsAudience::Everyone,
        },
        purge_from: None,
        takes_webhooks: false,
    }
}

/// Stores a response whose body is its path, as the cache does.
fn store_article(routes: &Table, log: &Arc<Log>, store: &Memory, path: &str) {
    let (method, headers, host) = (Method::GET, HeaderMap::new(), "a.test");
    let (route, captures) =
        routes.find(RouteQuery { method: &method, host, path, headers: &headers }).unwrap();
    let constructor = &route.cache.as_ref().unwrap().key;
    let input = KeyInput {
        method: &method,
        scheme: "http",
        host,
        path,
        query: None,
        headers: &headers,
        captures: &captures,
        client: IpAddr::V4(Ipv4Addr::LOCALHOST),
        now: Clock::system().now(),
    };
    let key = constructor.key(&input).unwrap();
    let resource = constructor.resource(host, path, None, &captures);
    let slug = captures.raw(path, "slug").unwrap();
    let tags = Some(format!("article:{slug}")).filter(|_| slug.len() == 1).into_iter();
    let tags = tags_of(&key, constructor, &resource, host, tags);
    let terms = Terms {
        lifetime: Duration::from_secs(3600).into(),
        lifetime_from: LifetimeSource::MaxAge,
        initial_age: Duration::ZERO.into(),
        received_at: Clock::system().now(),
        always_validate: false,
        never_stale: false,
        stale_while_revalidate: Duration::ZERO.into(),
        stale_if_error: Duration::ZERO.into(),
        refresh_at: None,
    };
    let response =
        StoredResponse::new(StatusCode::OK, HeaderMap::new(), |_| false, terms, Selecting::default());
    let carried = log.carry(&log.begin_fetch(), tags);
    let asked = Arc::new(Asked { scheme: Scheme::Http, host: host.into(), target: path.into(), again: None });
    let body = Bytes::copy_from_slice(path.as_bytes());
    store.insert(Arc::new(Stored::new(key.text, response, body, carried, asked)));
}

/// As a file says it with the preset `standard-webhooks`.
fn hook() -> Hook {
    let yaml = format!(
        "upstreams: {{ app: {{ servers: 'http://127.0.0.1:1' }} }}\n\
         routes: [{{ name: a, match: {{ path: '/{{*rest}}' }}, upstream: app }}]\n\
         webhooks: {{ app: {{ path: /hooks/app, preset: standard-webhooks, secret: \"{HOOK_SECRET}\", max_body: 64KiB, keep_bodies: 4KiB, challenge: $.challenge }} }}\n"
    );
    config::compile_text("test.yaml", &yaml, &|_| None).unwrap().webhooks.remove(0)
}

/// Tries three times, within minutes.
pub(super) fn durable(path: &Path) -> DeferredSettings {
    let durable = DurableSettings {
        path: path.to_owned(),
        required: true,
        max_attempts: 3,
        backoff: Duration::from_secs(10),
        max_backoff: Duration::from_secs(60),
        dead_letters: 10,
    };
    DeferredSettings {
        name: "kept".into(),
        max_waiting: 100,
        max_waiting_bytes: 1 << 20,
        workers: 1,
        batch: 100,
        linger: Duration::ZERO,
        durable: Some(durable),
    }
}

/// Purges by tag and by URL what `$.data.slugs` names, if `$.title` has changed.
pub(super) fn article_changed() -> Rule {
    let at = |path| Selector::parse(path).unwrap();
    let hole = |text| Template::parse(text).unwrap();
    Rule {
        name: "article changed".into(),
        webhook: "app".into(),
        events: vec!["article.*".into()],
        fields: vec![
            ("slug".into(), vec![at("$.data.slugs[*]")]),
            ("url".into(), vec![at("$.data.url"), at("$.data.urls[*]")]),
        ],
        when: Vec::new(),
        expression: None,
        watch: vec![at("$.title")],
        watch_unknown: WatchUnknown::Fire,
        on_create: false,
        strength: Strength::Hard,
        refresh_limit: None,
        require: Require::These(vec!["slug".into()]),
        actions: vec![
            Action::Purge(TargetTemplate::Tag(hole("article:{slug}"))),
            Action::Purge(TargetTemplate::Url(hole("http://a.test/articles/{slug}"))),
            Action::Purge(TargetTemplate::Url(hole("{url}"))),
        ],
        dispatcher: Dispatcher::Inline,
        debounce: Duration::ZERO,
        on_error: OnError::Log,
    }
}
