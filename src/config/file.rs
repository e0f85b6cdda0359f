//! What the file may say. Its documentation is the manual: `staleproof schema` prints it.
//!
//! These types are as near to the text as possible; what it all means together is decided in
//! [`compile`](super::compile).

mod invalidation;
mod keys;
mod routes;
mod server;

pub(super) use invalidation::{
    AlgorithmWord, Dispatcher, EncodingWord, EventSection, KeyFormatWord, KindWord, ModeWord, OnErrorWord,
    PresetSection, PurgeTarget, RequireWord, Rule, RuleEvents, SchemeWord, TimeUnit, Unknown, VerifySection,
    Webhook,
};
pub(super) use keys::{
    Algorithm, Jwt, KeyConstructor, KeyField, KeyOverflow, KeyPart, NormalizeMapping, NormalizeWord,
    QueryOrder, QueryPreset, QuerySection,
};
pub(super) use routes::{
    CacheOff, CacheSection, ClientDirectivesWord, CollapseOff, ComplianceWord, FieldCondition, RangesWord,
    Route, RouteMatch, SetCookieWord, ShowTo, StatusFieldsSection, StoreConditionSection, TagFieldsWord, Ttl,
};
pub(super) use server::{
    AccessLogFormat, Admin, EvictionKind, FixedHost, HostWord, MemorySection, PurgeRequests, RetriesOff,
    SchedulingKind, Server, ServerTimeouts, Store, Switch, TokenScope, Upstream, UpstreamTimeouts,
    WarmSection,
};

use super::read::{Entries, List, OneOrMany, Optional, Required, Word, section};
use http::HeaderName;

section! {
    /// The configuration of Staleproof, an HTTP caching reverse proxy.
    ///
    /// Durations have a unit (`500ms`, `30s`, `5m`, `1h 30m`); sizes are bytes or have a unit (`1024`, `64MiB`,
    /// `2GB`). `${VAR}` and `${VAR:-default}` are filled in from the environment, `$${` is a literal `${`.
    /// Keys that begin with `x-` are ignored here at the top: a place for anchors.
    #[schemars(extend("patternProperties" = { "^x-": true }))]
    struct File {
        /// The public listener and its limits.
        server: Optional<Server>,
        /// The listener for purges, webhooks, health checks and metrics.
        admin: Optional<Admin>,
        /// The applications behind, by name.
        upstreams: Required<Entries<Upstream>>,
        /// Where stored responses are kept.
        store: Optional<Store>,
        /// How cache keys are built, by name.
        keys: Optional<Entries<KeyConstructor>>,
        /// Which requests go where, and what is kept of the answers. The most specific route wins; among equals
        /// the first. A request without a route gets 404.
        routes: Required<List<Route>>,
        /// Whether what is unsafe in practice is kept from being stored. Default: safe.
        compliance: Optional<ComplianceWord>,
        /// Response fields that take the place of `Cache-Control` and `Expires` here, the first that speaks (RFC 9213).
        /// Default: `[Staleproof-Cache-Control, CDN-Cache-Control]`. `[]`: none.
        targeted_fields: Optional<OneOrMany<Word<HeaderName>>>,
        /// What all responses show of the cache, unless their route says otherwise.
        status_fields: Optional<StatusFieldsSection>,
        /// Who may say that something changed, by name.
        webhooks: Optional<Entries<Webhook>>,
        /// Rules: when stored responses stop being usable.
        invalidation: Optional<List<Rule>>,
        /// Where the work of invalidating runs, by name. There is only `inline` so far.
        dispatchers: Optional<Entries<Dispatcher>>,
    }
}
