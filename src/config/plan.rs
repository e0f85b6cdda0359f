//! The plan: what the program runs on once the file has been compiled.
//!
//! Everything in it is complete and consistent: names are resolved, defaults filled in. Knows nothing of YAML.

use crate::dispatch::DeferredSettings;
use crate::invalidation::rule::Rule;
use crate::keys::Constructor;
use crate::routes::Table;
use crate::store::MemoryLimits;
use crate::webhooks::Hook;
use http::uri::Authority;
use http::{HeaderName, HeaderValue};
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

/// What the program runs on.
#[derive(Debug)]
pub struct Plan {
    /// The public listener and its limits.
    pub server: Server,
    /// The listener for purges, webhooks, health checks and metrics.
    pub admin: Admin,
    /// The applications behind; routes refer to them by index.
    pub upstreams: Vec<Upstream>,
    /// The bounds of the memory for stored responses.
    pub memory: MemoryLimits,
    /// Which requests go where, and what is kept of the answers.
    pub routes: Arc<Table>,
    /// Every constructor by name, the safe default included. A route has one of its own: of the same name and fields,
    /// but unless the file gives an id, with the route's.
    pub keys: Vec<Arc<Constructor>>,
    /// Who may say that something changed.
    pub webhooks: Vec<Hook>,
    /// What then stops being usable.
    pub rules: Vec<Rule>,
    /// Where that work runs, if not in the request that brought the event; rules refer to them by index.
    pub dispatchers: Vec<DeferredSettings>,
}

/// `server:`
#[derive(Clone, Debug)]
pub struct Server {
    /// Where clients connect; at least one.
    pub listen: Vec<SocketAddr>,
    /// Peers that are believed on who the client is, and which scheme it used.
    pub trusted_proxies: Vec<ipnet::IpNet>,
    /// Request fields that reach origins though apps may take them for the truth about the request.
    pub forward_fields: Arc<[HeaderName]>,
    /// How many threads serve clients.
    pub workers: usize,
    /// Who serves a connection.
    pub scheduling: Scheduling,
    /// Requests served at once; more get 503.
    pub max_in_flight: usize,
    /// Connections open at once.
    pub max_connections: usize,
    /// Larger request bodies get 413.
    pub max_request_body_bytes: u64,
    /// The largest request head.
    pub max_head_bytes: usize,
    /// A request head must arrive within this; also how long an idle connection is kept.
    pub head_timeout: Duration,
    /// Between two pieces of a request body.
    pub body_idle_timeout: Duration,
    /// For a client to take the next piece of a response.
    pub write_stall_timeout: Duration,
    /// How long a shutdown waits for exchanges in flight.
    pub shutdown_grace: Duration,
    /// Whether clients may speak HTTP/2.
    pub http2: bool,
    /// How requests are logged.
    pub access_log: AccessLog,
}

/// Who serves a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheduling {
    /// The worker that accepted it.
    PerCore,
    /// Whoever of them has nothing else to do.
    Shared,
}

/// How requests are logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessLog {
    /// Not at all.
    Off,
    /// For people.
    Text,
    /// For machines: one JSON object a line.
    Json,
}

/// `admin:`
#[derive(Clone, Debug)]
pub struct Admin {
    /// Its address; never one of the public ones.
    pub listen: SocketAddr,
    /// Who may use the API.
    pub tokens: Vec<Token>,
    /// The largest request body of the API.
    pub max_body_bytes: usize,
    /// How much a warm-up may ask for.
    pub warm: WarmLimits,
    /// From where purges are obeyed without a token, as other caches are purged.
    pub purge_from: Vec<ipnet::IpNet>,
}

/// `admin.warm:`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WarmLimits {
    /// Requests of one warm-up at once.
    pub max_concurrency: usize,
    /// URLs of one warm-up.
    pub max_urls: usize,
}

/// A bearer token of the admin API.
#[derive(Clone)]
pub struct Token {
    /// What logs call it.
    pub name: Arc<str>,
    /// Never empty.
    pub secret: Secret,
    /// What it allows.
    pub may: Vec<Scope>,
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Token").field("name", &self.name).field("may", &self.may).finish_non_exhaustive()
    }
}

/// What a token allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// To purge.
    Purge,
    /// To look at the state of the cache.
    Read,
    /// To have URLs requested.
    Warm,
}

/// Text that never appears in errors, logs or the API.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<str>);

impl Secret {
    /// Takes the text.
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
    /// Its name.
    pub name: Arc<str>,
    /// At least one, each only once. Plain HTTP/1.1 for now; without a port, 80.
    pub servers: Vec<Authority>,
    /// The Host it sees.
    pub host: HostRewrite,
    /// For a server to accept a connection.
    pub connect_timeout: Duration,
    /// From the request sent to the response head.
    pub head_timeout: Duration,
    /// Between two pieces of the response body.
    pub body_idle_timeout: Duration,
    /// Connections to each server at once.
    pub max_connections_per_server: usize,
    /// Idle connections kept to each server.
    pub idle_connections_per_server: usize,
    /// How long an idle connection is kept.
    pub idle_timeout: Duration,
    /// The largest response head.
    pub max_response_head_bytes: usize,
    /// What is asked again.
    pub retries: Retries,
}

/// What is asked again if it failed: of another server, if there is one.
#[derive(Clone, Debug)]
pub struct Retries {
    /// How often one request at most.
    pub attempts: u32,
    /// How many retries there may be in a hundred requests.
    pub budget_percent: u8,
    /// After which failures.
    pub on: Vec<RetryOn>,
}

impl Default for Retries {
    fn default() -> Self {
        Self { attempts: 1, budget_percent: 20, on: vec![RetryOn::Reset] }
    }
}

/// A failure after which a request may be asked again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RetryOn {
    /// The connection ended before there was a response head.
    Reset,
    /// No response head came in time.
    Timeout,
    /// A response with such a status.
    Status(RangeInclusive<u16>),
}

impl Upstream {
    /// The hosts that its servers may name in their answers for themselves.
    pub fn own_hosts(&self) -> Vec<Box<str>> {
        let fixed = match &self.host {
            HostRewrite::Fixed(host) => host.to_str().ok(),
            HostRewrite::Preserve | HostRewrite::Server => None,
        };
        self.servers.iter().map(Authority::as_str).chain(fixed).map(Into::into).collect()
    }
}

/// The Host the origin sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostRewrite {
    /// The one the client asked for.
    Preserve,
    /// The server's own authority.
    Server,
    /// Always this.
    Fixed(HeaderValue),
}
