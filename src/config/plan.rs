//! The plan: what the program runs on once the file has been compiled.

use crate::invalidation::rule::Rule;
use crate::keys::Constructor;
use crate::routes::Table;
use crate::store::MemoryLimits;
use crate::webhooks::Hook;
use http::HeaderValue;
use http::uri::{Authority, Scheme};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

#[derive(Debug)]
pub struct Plan {
    pub server: Server,
    pub admin: Admin,
    pub upstreams: Vec<Upstream>,
    pub memory: MemoryLimits,
    pub routes: Arc<Table>,
    /// Every constructor by name, the safe default included.
    pub keys: Vec<Arc<Constructor>>,
    pub webhooks: Vec<Hook>,
    pub rules: Vec<Rule>,
}

/// `server:`
#[derive(Clone, Debug)]
pub struct Server {
    pub listen: Vec<SocketAddr>,
    /// Peers whose Forwarded / X-Forwarded-* are believed.
    pub trusted_proxies: Vec<ipnet::IpNet>,
    /// Requests served at once; more get 503.
    pub max_in_flight: usize,
    pub max_connections: usize,
    pub max_request_body_bytes: u64,
    pub max_head_bytes: usize,
    /// A request head must arrive within this; also how long an idle connection is kept.
    pub head_timeout: Duration,
    pub body_idle_timeout: Duration,
    pub write_stall_timeout: Duration,
    /// How long a shutdown waits for exchanges in flight.
    pub shutdown_grace: Duration,
    pub access_log: AccessLog,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessLog {
    Off,
    Text,
    Json,
}

/// `admin:`
#[derive(Clone, Debug)]
pub struct Admin {
    pub listen: SocketAddr,
    pub tokens: Vec<Token>,
    pub max_body_bytes: usize,
}

/// A bearer token of the admin API.
#[derive(Clone)]
pub struct Token {
    pub name: Arc<str>,
    pub secret: Secret,
    pub may: Vec<Scope>,
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Token").field("name", &self.name).field("may", &self.may).finish_non_exhaustive()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    Purge,
    Read,
}

/// Text that never appears in errors, logs or the API.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<str>);

impl Secret {
    pub fn new(text: impl Into<Box<str>>) -> Self {
        Self(text.into())
    }
    /// The text itself, for comparing and signing only.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// One entry of `upstreams:`.
#[derive(Clone, Debug)]
pub struct Upstream {
    pub name: Arc<str>,
    /// Plain HTTP/1.1 for now.
    pub servers: Vec<Authority>,
    pub host: HostRewrite,
    pub connect_timeout: Duration,
    /// From the request sent to the response head.
    pub head_timeout: Duration,
    /// Between two pieces of the response body.
    pub body_idle_timeout: Duration,
    pub max_connections_per_server: usize,
    pub idle_connections_per_server: usize,
    pub idle_timeout: Duration,
    pub max_response_head_bytes: usize,
}

/// The Host the origin sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostRewrite {
    /// As the client sent it.
    Preserve,
    /// The server's own authority.
    Server,
    Fixed(HeaderValue),
}
