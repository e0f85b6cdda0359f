//! `routes:` and `status_fields:`.

use super::{KeyConstructor, PurgeRequests};
use crate::config::read::{Either, Entries, OneOrMany, Optional, Required, Text, Word, choice, section};
use crate::config::scalars::{Count, Percent, Size, Statuses, True};
use crate::routes::{BodyTag, HostPattern, PathPattern, Template};
use http::{HeaderName, Method};
use regex::Regex;
use std::time::Duration;

section! {
    /// Which requests belong together, where they go, and what is kept of the answers.
    struct Route {
        /// Its name: what purges, rules and logs call it.
        name: Required<Text>,
        /// Which requests it takes.
        r#match: Required<RouteMatch>,
        /// The upstream they go to.
        upstream: Required<Text>,
        /// What is kept of the answers. `off`: nothing. Default: what HTTP's own rules allow, under a safe key.
        cache: Optional<Either<CacheOff, CacheSection>>,
        /// What its responses show of the cache; what is left out is as at the top of the file.
        status_fields: Optional<StatusFieldsSection>,
        /// Its URLs are purged by the methods of other caches (`PURGE`, `BAN`, `REFRESH`, …), also on the public listener.
        /// Default: such requests go to the app.
        purge_requests: Optional<PurgeRequests>,
        /// Whether deliveries to the webhooks whose paths are its are taken on the public listener, too. Default: false.
        webhooks: Optional<Word<bool>>,
    }
}

section! {
    /// Which requests a route takes: all that is given must hold.
    struct RouteMatch {
        /// Hosts: `example.com`, `example.com:8080`, `*.example.com`; one or a list. Default: every host.
        host: Optional<OneOrMany<Word<HostPattern>>>,
        /// The path: `/users/{user_id}`, `/reports/{id}.json`, `/files/{*rest}`.
        path: Required<Word<PathPattern>>,
        /// Methods, one or a list; `GET` stands for `HEAD` too. Default: every method.
        method: Optional<OneOrMany<Word<Method>>>,
        /// Request fields by name: text that the value must equal, or a mapping.
        headers: Optional<Entries<Either<Text, FieldCondition>>>,
    }
}

section! {
    /// What must hold of a field: exactly one of these.
    struct FieldCondition {
        /// Its value is this.
        equals: Optional<Text>,
        /// This regular expression is found in its value.
        matches: Optional<Word<Regex>>,
        /// `true`: there is such a field.
        present: Optional<Word<True>>,
        /// `true`: there is no such field.
        absent: Optional<Word<True>>,
    }
}

choice! {
    /// No caching.
    enum CacheOff {
        /// Nothing is stored, and nothing stored is used.
        Off = "off",
    }
}

section! {
    /// What is kept of the answers.
    struct CacheSection {
        /// The key: a name from `keys`, or a key written here. Default: scheme, host, path and sorted query; the
        /// captures of the path are its partition.
        key: Optional<Either<Text, KeyConstructor>>,
        /// Whether the default key leaves out utm_*, gclid, fbclid and their kin; the app does not see them then. Only
        /// without `key`. Default: false.
        drop_tracking: Optional<Word<bool>>,
        /// How long responses are fresh. A plain duration is short for `{ default: … }`.
        ttl: Optional<Either<Word<Duration>, Ttl>>,
        /// How long a stale response is served while it is validated behind the client's back, if it does not say
        /// (`stale-while-revalidate`). Default: not at all.
        stale_while_revalidate: Optional<Word<Duration>>,
        /// What is asked for in this last part of the time for which it is fresh is fetched anew behind the client's back, so
        /// that what is asked for often never runs out. Default: 0%.
        refresh_ahead: Optional<Word<Percent>>,
        /// A response is stored once its key has been asked for so often. Default: 1.
        min_uses: Optional<Word<Count>>,
        /// How long a stale response is served when the app fails, if it does not say (`stale-if-error`). Default:
        /// not at all.
        stale_if_error: Optional<Word<Duration>>,
        /// Tags given to every stored response, with captures of the path (`user:{user_id}`), parameters of the query
        /// (`page:{query.page}`) and fields of the key's partition (`tenant:{tenant}`). One or a list.
        tags: Optional<OneOrMany<Word<Template>>>,
        /// Tags read out of every stored body that is JSON (of up to 2MiB; what cannot be read is not stored): text around a
        /// JSONPath, `product:{$.items[*].id}`. One or a list.
        tags_from_body: Optional<OneOrMany<Word<BodyTag>>>,
        /// Responses are stored only if this holds (and HTTP's rules allow it).
        store_if: Optional<StoreConditionSection>,
        /// Responses are not stored if this holds.
        store_unless: Optional<StoreConditionSection>,
        /// Response fields that take the place of `Cache-Control` here, the first that speaks. Default: as at the top of
        /// the file.
        targeted_fields: Optional<OneOrMany<Word<HeaderName>>>,
        /// The defaults of the settings below; also, `safe` does not store what clients can provoke (414, and 405
        /// without a lifetime of its own). Default: as at the top of the file.
        compliance: Optional<ComplianceWord>,
        /// What happens to responses with `Set-Cookie`. Default: refuse; with `compliance: rfc9111` store.
        set_cookie: Optional<SetCookieWord>,
        /// Whether clients see the fields in which the app names tags (`Surrogate-Key`, `Cache-Tag`, `xkey` and their kin).
        /// Default: strip.
        tag_fields: Optional<TagFieldsWord>,
        /// Whether bodies are stored that nothing but the end of the connection ends, so that a truncated one looks
        /// complete. Default: false; with `compliance: rfc9111` true.
        store_close_delimited: Optional<Word<bool>>,
        /// Whether the response to a POST that says how long it is fresh, and that it is what its URL holds from now
        /// on (`Content-Location`), answers later GETs. Default: false; with `compliance: rfc9111` true.
        store_post: Optional<Word<bool>>,
        /// Whether a client's `Cache-Control` and `Pragma` reach past the cache. Default: obey.
        client_directives: Optional<ClientDirectivesWord>,
        /// Responses to QUERY are stored, with the request's content in the key. Default: they are passed on.
        query: Optional<QueryMethodSection>,
        /// Whether `Cache-Groups` and `Cache-Group-Invalidation` (RFC 9875) are heard. Default: true.
        groups: Optional<Word<bool>>,
        /// Requests for the same thing at the same time are sent to the app once. `off`: each for itself.
        collapse: Optional<Either<CollapseOff, CollapseSection>>,
        /// What the app is asked for when a client wants a part (`Range`) of what is not stored: `forward` (that part),
        /// `whole`, or `{ slices: 1MiB }`, for what is too large to be stored whole: it is fetched, stored and served in
        /// slices of that size. Default: forward.
        ranges: Optional<Either<RangesWord, RangeSlices>>,
        /// Whether `No-Vary-Search` is heeded: a response answers all queries that it says are equivalent to its own.
        /// Default: false.
        no_vary_search: Optional<Word<bool>>,
    }
}

choice! {
    /// What happens to fields with tags.
    enum TagFieldsWord {
        /// They end here.
        Strip = "strip",
        /// They are passed on.
        Keep = "keep",
    }
}

choice! {
    /// What is fetched for a part.
    enum RangesWord {
        /// That part.
        Forward = "forward",
        /// The whole.
        Whole = "whole",
    }
}

section! {
    /// What is fetched in slices.
    struct RangeSlices {
        /// The size of a slice: at least 4KiB, at most what is stored of a response (`store.memory.max_object`).
        slices: Required<Word<Size>>,
    }
}

choice! {
    /// No collapsing.
    enum CollapseOff {
        /// Every request that the cache cannot answer is sent to the app.
        Off = "off",
    }
}

section! {
    /// How requests for the same thing at the same time are answered together.
    struct CollapseSection {
        /// How long a request waits for the beginning of an answer that another has asked for. Default: 10s.
        wait: Optional<Word<Duration>>,
        /// How many of those that have waited so long are sent to the app by themselves, at once. Default: 4.
        parallel: Optional<Word<Count>>,
        /// Whether a fetch goes on, to be stored, though every client that wanted it has left. Default: true.
        outlive_client: Optional<Word<bool>>,
        /// For how long nobody waits for others where the answer turned out to be for one client only. Default: 30s.
        unshared_for: Optional<Word<Duration>>,
    }
}

section! {
    /// How QUERY (RFC 10008) is cached.
    struct QueryMethodSection {
        /// Requests with more content are passed on. Default: 64KiB.
        max_body: Optional<Word<Size>>,
    }
}

section! {
    /// How long responses are fresh. None of it stores what the origin forbids to store.
    struct Ttl {
        /// Of responses that do not say. Default: a tenth of the time since they were last modified, if known.
        default: Optional<Word<Duration>>,
        /// What is shorter is raised to this.
        min: Optional<Word<Duration>>,
        /// What is longer is cut to this.
        max: Optional<Word<Duration>>,
        /// Whatever the response says. Stands alone.
        r#override: Optional<Word<Duration>>,
        /// Of responses with these status codes that do not say: by code or class, `404: 30s`, `5xx: 2s`.
        by_status: Optional<Entries<Word<Duration>>>,
        /// Each response is fresh for up to so much less than it might be, so that what was stored together does not
        /// run out together. Default: 0%.
        jitter: Optional<Word<Percent>>,
    }
}

section! {
    /// Conditions on a response: those given must all hold; a list holds if any of its items does.
    struct StoreConditionSection {
        /// Status codes or classes: `404`, `5xx`.
        status: Optional<OneOrMany<Word<Statuses>>>,
        /// Media types: `text/html`, `image/*`.
        content_type: Optional<OneOrMany<Text>>,
        /// Response fields by name: text that the value must equal, or a mapping.
        headers: Optional<Entries<Either<Text, FieldCondition>>>,
    }
}

choice! {
    /// Whether what is unsafe in practice is kept from being stored.
    enum ComplianceWord {
        /// What HTTP allows to store is not stored where apps and networks are known to get it wrong.
        Safe = "safe",
        /// All that RFC 9111 allows to store is stored.
        Rfc9111 = "rfc9111",
    }
}

choice! {
    /// What happens to responses with `Set-Cookie`.
    enum SetCookieWord {
        /// They are not stored.
        Refuse = "refuse",
        /// They are stored without the field; the client whose request fetched them still gets it.
        Strip = "strip",
        /// They are stored with it: every client gets the same cookie.
        Store = "store",
    }
}

choice! {
    /// Whether a client's directives reach past the cache.
    enum ClientDirectivesWord {
        /// As RFC 9111 has it.
        Obey = "obey",
        /// Clients cannot cause fetches.
        Ignore = "ignore",
    }
}

section! {
    /// What responses show of the cache.
    struct StatusFieldsSection {
        /// `X-Cache`: HIT, MISS, STALE, BYPASS or REFRESH. Default: true.
        x_cache: Optional<Word<bool>>,
        /// `X-Cached-At`. Default: true.
        cached_at: Optional<Word<bool>>,
        /// `X-Cache-Reset-At`. Default: true.
        reset_at: Optional<Word<bool>>,
        /// `Cache-Status` (RFC 9211). Default: true.
        cache_status: Optional<Word<bool>>,
        /// Who sees them. Default: everyone.
        show_to: Optional<ShowTo>,
    }
}

choice! {
    /// Who sees what responses say about the cache.
    enum ShowTo {
        /// Every client.
        Everyone = "everyone",
        /// Requests whose `Staleproof-Token` field carries an admin token that may `read`.
        TokenHolders = "token_holders",
        /// No client.
        Nobody = "nobody",
    }
}
