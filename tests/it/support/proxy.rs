//! A proxy on free ports, with a clock that can be moved.

use std::net::SocketAddr;
use std::time::Duration;

use staleproof::clock::Clock;
use staleproof::config;
use staleproof::server::{self, Started};

use super::{Client, Origin, Response, send};

/// See the [module](self).
#[derive(Debug)]
pub struct Proxy {
    pub address: SocketAddr,
    pub admin: SocketAddr,
    pub clock: Clock,
    pub started: Option<Started>,
}

/// The token of the tests' admin API.
pub const TOKEN: &str = "test-token";

impl Proxy {
    /// A proxy with one route for everything: the RFC's rules and the safe default key.
    pub async fn in_front_of(origin: &Origin) -> Self {
        Self::with_routes(origin, "  - { name: all, match: { path: \"/{*rest}\" }, upstream: app }\n").await
    }

    /// A proxy with these routes (the lines under `routes:`), to the upstream `app`.
    pub async fn with_routes(origin: &Origin, routes: &str) -> Self {
        Self::with_yaml(origin, &format!("routes:\n{routes}")).await
    }

    /// A proxy with this configuration after `server`, `admin`, `upstreams`.
    pub async fn with_yaml(origin: &Origin, yaml: &str) -> Self {
        Self::with_sections(origin, "", "", yaml).await
    }

    /// The same with more lines in `server:` and in the upstream `app`, each `"  name: value\n"`.
    pub async fn with_sections(origin: &Origin, server: &str, upstream: &str, yaml: &str) -> Self {
        // By the test's own thread, where nothing says otherwise: then what has been answered has also begun what follows from it.
        let scheduling = if server.contains("scheduling") { "" } else { "  scheduling: shared\n" };
        let text = format!(
            "server:\n  listen: 127.0.0.1:0\n  access_log: off\n{scheduling}{server}\
             admin:\n  listen: 127.0.0.1:0\n  tokens: [{{ name: test, secret: {TOKEN}, may: [purge, read, warm] }}]\n\
             upstreams:\n  app:\n    servers: [\"http://{origin}\"]\n{upstream}{yaml}",
            origin = origin.address,
        );
        Self::with_file(&text).await
    }

    /// A proxy with this configuration, from its first line to its last.
    pub async fn with_file(text: &str) -> Self {
        let plan = match config::compile_text("test.yaml", text, &|_| None) {
            Ok(plan) => plan,
            Err(problems) => panic!("{problems}"),
        };
        let clock = Clock::stopped();
        let bound = server::bind(&plan).await.expect("free ports");
        let (address, admin) = (bound.addresses[0], bound.admin_address);
        let started = bound.start(plan, clock.clone()).expect("a server");
        Self { address, admin, clock, started: Some(started) }
    }

    /// GET on a connection of its own, with the host `a.test`.
    pub async fn get(&self, target: &str) -> Response {
        self.get_with(target, "").await
    }

    /// GET with more field lines.
    pub async fn get_with(&self, target: &str, fields: &str) -> Response {
        self.request("GET", target, fields, "").await
    }

    /// Any request.
    pub async fn request(&self, method: &str, target: &str, fields: &str, body: &str) -> Response {
        let length =
            if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
        let request = format!("{method} {target} HTTP/1.1\r\nHost: a.test\r\n{fields}{length}\r\n{body}");
        send(self.address, &request).await
    }

    /// A connection to send bytes on.
    pub async fn connect(&self) -> Client {
        Client::connect(self.address).await
    }

    /// POST to the admin API, with the token.
    pub async fn admin_post(&self, target: &str, body: &str) -> Response {
        self.admin("POST", target, body).await
    }

    /// Any request to the admin API, with the token.
    pub async fn admin(&self, method: &str, target: &str, body: &str) -> Response {
        let request = format!(
            "{method} {target} HTTP/1.1\r\nHost: admin\r\nAuthorization: Bearer {TOKEN}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        send(self.admin, &request).await
    }

    /// Purges one target; how many stored responses it matched.
    pub async fn purge(&self, target: &str) -> u64 {
        let response = self.admin_post("/v1/purge", target).await;
        assert_eq!(response.status, 200, "{response:?}");
        let answer: serde_json::Value = serde_json::from_str(&response.body).expect("JSON");
        answer["matched"].as_u64().expect("a number")
    }

    /// What a gauge of `/metrics` says.
    pub async fn level(&self, name: &str) -> u64 {
        let text = send(self.admin, "GET /metrics HTTP/1.1\r\nHost: admin\r\n\r\n").await.body;
        let prefix = format!("staleproof_{name} ");
        let level = text.lines().find_map(|line| line.strip_prefix(&prefix));
        level.unwrap_or_else(|| panic!("{name} in {text}")).parse().expect("a number")
    }

    /// Returns once a gauge says so.
    pub async fn until(&self, name: &str, level: u64) {
        while self.level(name).await != level {
            tokio::task::yield_now().await;
        }
    }

    /// Moves the proxy's clock.
    pub fn later(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }
}
