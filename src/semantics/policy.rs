//! Where the operator may say more than the RFC does.

use std::time::Duration;

#[derive(Clone, Debug, Default)]
pub struct Policy {
    pub ttl: TtlPolicy,
    pub set_cookie: SetCookie,
    pub client_directives: ClientDirectives,
}

/// The four words of `ttl:`.
#[derive(Clone, Debug, Default)]
pub struct TtlPolicy {
    /// The freshness lifetime of responses that state none (instead of the heuristic of §4.2.2).
    pub default: Option<Duration>,
    /// A shorter stated or defaulted lifetime is raised to this.
    pub min: Option<Duration>,
    /// A longer one is cut to this.
    pub max: Option<Duration>,
    /// Replaces whatever the origin says about lifetime (never `no-store`, `private`).
    pub overriding: Option<Duration>,
}

/// Responses with `Set-Cookie`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SetCookie {
    /// Not stored unless the response says `public`.
    #[default]
    Refuse,
    /// Stored without the field (the client that caused the fetch still gets it).
    Strip,
    /// Stored with it.
    Store,
}

/// Whether a request's Cache-Control and Pragma reach past the cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientDirectives {
    #[default]
    Obey,
    Ignore,
}
