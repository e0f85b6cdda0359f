//! Storing responses in caches: RFC 9111 §3.
//!
//! Decides from a response's head whether it may be kept, and on what terms. Whether the rest of it arrives
//! complete, is small enough and has not been overtaken by an invalidation is for others to see; their
//! refusals are named in [`NotStored`] too, so that there is one vocabulary.

pub use super::not_stored::NotStored;

use super::cache_control::RequestDirectives;
use super::policy::{ClientDirectives, Policy, SetCookie, TtlPolicy};
use super::targeted::Statement;
use super::{EntityTag, dates, freshness, reuse, vary};
use crate::clock::{Millis, Timestamp};
use http::header::{AUTHORIZATION, CONTENT_TYPE, LAST_MODIFIED, SET_COOKIE};
use http::{HeaderMap, Method, StatusCode};
use std::time::Duration;

/// When the exchange with the origin took place (§4.2.3: request_time, response_time).
#[derive(Clone, Copy, Debug)]
pub struct Exchanged {
    /// When the request was sent.
    pub requested_at: Timestamp,
    /// When the response's head was there.
    pub received_at: Timestamp,
}

/// On what terms a response is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Freshness lifetime (§4.2.1).
    pub lifetime: Millis,
    /// Where that comes from.
    pub lifetime_from: LifetimeSource,
    /// `corrected_initial_age` (§4.2.3).
    pub initial_age: Millis,
    /// `response_time` (§4.2.3).
    pub received_at: Timestamp,
    /// May only be reused after successful validation (`no-cache`).
    pub always_validate: bool,
    /// May never be served stale (`must-revalidate`, `proxy-revalidate`, `s-maxage`, `no-cache`).
    pub never_stale: bool,
    /// How long past its lifetime it may be served while it is being validated (RFC 5861 §3); zero if `never_stale`.
    pub stale_while_revalidate: Millis,
    /// How long past its lifetime it may be served when the origin fails (RFC 5861 §4); zero if `never_stale`.
    pub stale_if_error: Millis,
    /// From when on a hit refreshes it, though it is fresh.
    pub refresh_at: Option<Timestamp>,
}

/// What a freshness lifetime was taken from, before `min` and `max`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LifetimeSource {
    /// The route's `ttl.override`.
    Override,
    /// The response's `s-maxage`.
    SMaxage,
    /// The response's `max-age`.
    MaxAge,
    /// The response's `Expires`.
    Expires,
    /// The route's `ttl.by_status`.
    Status,
    /// The route's `ttl.default`.
    Default,
    /// The time since `Last-Modified` (§4.2.2); or nothing, and the lifetime is zero.
    Heuristic,
}

impl LifetimeSource {
    /// How it is written in a configuration or a response: `s-maxage`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Override => "override",
            Self::SMaxage => "s-maxage",
            Self::MaxAge => "max-age",
            Self::Expires => "expires",
            Self::Status => "by_status",
            Self::Default => "default",
            Self::Heuristic => "heuristic",
        }
    }
}

/// §3: whether the response may be stored, and on what terms.
///
/// Of GET, QUERY whose key contains its content (RFC 10008), and POST whose response
/// [represents its target](super::post::represents_target).
///
/// `headers` are the response's end-to-end fields, `Date` already stamped (without one, the time of receipt counts);
/// `request` the end-to-end fields of the request as the client made it. For a stored response that a 304
/// freshened, ask again with GET, the stored status code and the freshened fields.
pub fn terms(
    method: &Method,
    request: &HeaderMap,
    status: StatusCode,
    headers: &HeaderMap,
    policy: &Policy,
    exchanged: Exchanged,
) -> Result<Terms, NotStored> {
    terms_told(method, request, status, headers, policy, exchanged, |_, _| ())
}

/// The same; `tell` hears of each rule, in order and up to the one that decides, what it says and whether it refuses.
pub fn terms_told(
    method: &Method,
    request: &HeaderMap,
    status: StatusCode,
    headers: &HeaderMap,
    policy: &Policy,
    exchanged: Exchanged,
    tell: impl FnMut(&'static str, Option<NotStored>),
) -> Result<Terms, NotStored> {
    let mut rules = Rules(tell);
    let statement = Statement::of(headers, &policy.targeted_fields);
    let directives = &statement.directives;

    // "A cache MUST NOT store a response to a request unless:
    // the request method is understood by the cache;"
    rules.refuse(
        NotStored::Method,
        ![Method::GET, Method::POST, Method::QUERY].contains(method),
        "the answer to such a method can be stored (RFC 9111 §3)",
    )?;
    // Of a GET no key contains the content; a QUERY's is in its key, and a POST's was for this once.
    rules.refuse(
        NotStored::RequestContent,
        *method == Method::GET && reuse::has_content(request),
        "a GET has no content",
    )?;
    // "the response status code is final;" and one of HTTP's: others are to be taken for an error (RFC 9110 §15).
    rules.refuse(
        NotStored::Status,
        !(200..600).contains(&status.as_u16()),
        "the status code is final (§3), and below 600",
    )?;
    // "if the response status code is 206 or 304, or the must-understand cache directive is present: the
    // cache understands the response status code;"
    rules.refuse(NotStored::Partial, status == StatusCode::PARTIAL_CONTENT, "it is not a part (§3.3)")?;
    rules.refuse(
        NotStored::Status,
        is_about_this_exchange(status),
        "the status code is not about this one exchange",
    )?;
    let stated = freshness::stated_lifetime(&statement, headers, exchanged);
    let may_be_provoked = match status {
        StatusCode::URI_TOO_LONG => true,
        StatusCode::METHOD_NOT_ALLOWED => stated.is_none(),
        _ => false,
    };
    rules.refuse(
        NotStored::Status,
        may_be_provoked && !policy.store_request_errors,
        "one request is not refused for another's length or method",
    )?;
    rules.refuse(
        NotStored::MustUnderstand,
        directives.must_understand() && !is_understood(status),
        "must-understand: the status code is understood (§5.2.2.3)",
    )?;
    // "the no-store cache directive is not present in the response", which a cache that understands
    // the status code "SHOULD ignore" beside must-understand (§5.2.2.3)
    rules.refuse(
        NotStored::NoStore,
        directives.no_store() && !directives.must_understand(),
        "the response has no no-store (§5.2.2.5)",
    )?;
    // "a cache MUST NOT store any part of either this request or any response to it" (§5.2.1.5)
    rules.refuse(
        NotStored::RequestNoStore,
        policy.client_directives == ClientDirectives::Obey && RequestDirectives::of(request).no_store(),
        "the request has no no-store (§5.2.1.5)",
    )?;
    // "if the cache is shared: the private response directive is either not present or allows a shared
    // cache to store a modified response;"
    rules.refuse(NotStored::Private, directives.private(), "the response is not private (§5.2.2.7)")?;
    // "if the cache is shared: the Authorization header field is not present in the request or a response
    // directive is present that explicitly allows shared caching;" (§3.5)
    let allows_sharing =
        directives.must_revalidate() || directives.public() || directives.has_valid_s_maxage();
    rules.refuse(
        NotStored::Authorization,
        request.contains_key(AUTHORIZATION) && !allows_sharing,
        "without Authorization, or public, must-revalidate or s-maxage (§3.5)",
    )?;
    // "the response contains at least one of the following: a public response directive; … an Expires
    // header field; a max-age response directive; … an s-maxage response directive; … or a status code that is
    // defined as heuristically cacheable"; and beyond that, something that makes a lifetime of it
    let lifetime = lifetime(status, &statement, headers, &policy.ttl, exchanged);
    let (lifetime, lifetime_from) =
        rules.ask(lifetime, "it is known how long it is fresh (§4.2.1, §4.2.2)")?;
    // "Responses to POST requests are only cacheable when they include explicit freshness information" (RFC 9110 §9.3.3)
    rules.refuse(
        NotStored::NoFreshness,
        *method == Method::POST && stated.is_none(),
        "a POST's answer states its freshness (RFC 9110 §9.3.3)",
    )?;
    // It may never end, and tells its one reader what happens now: no route's lifetime is meant for it.
    rules.refuse(
        NotStored::NoFreshness,
        stated.is_none() && is_event_stream(headers),
        "an event stream states its freshness",
    )?;

    // "A stored response with a Vary header field value containing a member "*" always fails to match" (§4.1)
    rules.refuse(NotStored::VaryStar, !vary::is_selectable(headers), "Vary can be met (§4.1)")?;
    let sets_cookie = headers.contains_key(SET_COOKIE) && !statement.withheld.contains(&SET_COOKIE);
    rules.refuse(
        NotStored::SetCookie,
        policy.set_cookie == SetCookie::Refuse && sets_cookie,
        "it sets no cookie, or the route allows it",
    )?;

    // §4.2.4, §5.2.2.2, §5.2.2.8, §5.2.2.10
    let never_stale = directives.must_revalidate()
        || directives.proxy_revalidate()
        || directives.s_maxage.is_some()
        || directives.no_cache();
    let window = |stated: Option<u32>, otherwise: Option<Duration>| {
        let stated = stated.map(|seconds| Duration::from_secs(seconds.into()));
        if never_stale { Millis::ZERO } else { stated.or(otherwise).unwrap_or_default().into() }
    };
    let terms = Terms {
        lifetime: lifetime.into(),
        lifetime_from,
        initial_age: freshness::initial_age(headers, exchanged).into(),
        received_at: exchanged.received_at,
        always_validate: directives.no_cache() && lifetime_from != LifetimeSource::Override,
        never_stale,
        stale_while_revalidate: window(directives.stale_while_revalidate, policy.stale.while_revalidate),
        stale_if_error: window(directives.stale_if_error, policy.stale.if_error),
        refresh_at: None,
    };
    // "some caches will not store a response that has neither a cache validator nor an explicit expiration
    // time, as such responses are not usually useful to store" (§3); nor one that expired before it came.
    let needs_validation = terms.always_validate || !terms.is_fresh(exchanged.received_at);
    let has_validator = EntityTag::of(headers).is_some()
        || dates::field(headers, LAST_MODIFIED, exchanged.received_at).is_some();
    rules.refuse(
        NotStored::NoValidator,
        needs_validation && !has_validator,
        "it is fresh, or can be validated (§3)",
    )?;
    Ok(terms)
}

/// Tells of each rule that is asked.
struct Rules<T>(T);

impl<T: FnMut(&'static str, Option<NotStored>)> Rules<T> {
    fn ask<V>(&mut self, verdict: Result<V, NotStored>, says: &'static str) -> Result<V, NotStored> {
        (self.0)(says, verdict.as_ref().err().copied());
        verdict
    }

    fn refuse(&mut self, refusal: NotStored, broken: bool, says: &'static str) -> Result<(), NotStored> {
        self.ask(if broken { Err(refusal) } else { Ok(()) }, says)
    }
}

/// The freshness lifetime as [`TtlPolicy`] has it.
fn lifetime(
    status: StatusCode,
    statement: &Statement,
    headers: &HeaderMap,
    ttl: &TtlPolicy,
    exchanged: Exchanged,
) -> Result<(Duration, LifetimeSource), NotStored> {
    let directives = &statement.directives;
    let stated = freshness::stated_lifetime(statement, headers, exchanged);
    // "heuristics can only be used on responses without explicit freshness whose status codes are defined as
    // heuristically cacheable and on responses without explicit freshness that have been explicitly
    // marked as cacheable (e.g., with a public response directive)" (§4.2.2); so can policies
    let of_status = ttl.of_status(status).map(|lifetime| (lifetime, LifetimeSource::Status));
    let named = stated.is_some() || of_status.is_some();
    if !named && !is_heuristically_cacheable(status) && !directives.public() {
        return Err(NotStored::Status);
    }
    let heuristic = || {
        freshness::heuristic_lifetime(headers, exchanged)
            .map(|lifetime| (lifetime, LifetimeSource::Heuristic))
    };
    let at_most = ttl.max.unwrap_or(Duration::MAX);

    if status.is_server_error() {
        let (lifetime, source) = stated.or(of_status).or_else(heuristic).ok_or(NotStored::NoFreshness)?;
        return Ok((lifetime.min(at_most), source));
    }
    if let Some(overriding) = ttl.overriding {
        return Ok((overriding, LifetimeSource::Override));
    }
    if let (None, Some((lifetime, source))) = (stated, of_status) {
        return Ok((lifetime.min(at_most), source));
    }
    let default = ttl.default.map(|default| (default, LifetimeSource::Default));
    if let Some((lifetime, source)) = stated.or(default).or_else(heuristic) {
        return Ok((lifetime.max(ttl.min.unwrap_or_default()).min(at_most), source));
    }
    // The origin allows to keep it without saying for how long: for no longer than until it is validated.
    if directives.public() || directives.no_cache() {
        return Ok((Duration::ZERO, LifetimeSource::Heuristic));
    }
    Err(NotStored::NoFreshness)
}

/// Server-sent events (HTML, §9.2).
fn is_event_stream(headers: &HeaderMap) -> bool {
    let media_type =
        headers.get(CONTENT_TYPE).and_then(|value| value.as_bytes().split(|&byte| byte == b';').next());
    media_type.is_some_and(|media_type| media_type.trim_ascii().eq_ignore_ascii_case(b"text/event-stream"))
}

/// RFC 9110 §15.1, without 206.
fn is_heuristically_cacheable(status: StatusCode) -> bool {
    matches!(status.as_u16(), 200 | 203 | 204 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 501)
}

/// Codes that answer one request and no other: what was asked of that one exchange (its conditions, its range, its
/// expectation, its size, its pace) was the reason. A stored one would be served to requests that gave no such
/// reason, and whoever can provoke it could take a page away from everyone.
fn is_about_this_exchange(status: StatusCode) -> bool {
    matches!(
        status.as_u16(),
        // Reset Content: of the form that one client sent; and some send content with it, which it may not have.
        205
        // Not Modified, Proxy Authentication Required, Request Timeout, Precondition Failed, Content Too Large
        | 304 | 407 | 408 | 412 | 413
        // Range Not Satisfiable, Expectation Failed, Misdirected Request, Too Early, Upgrade Required
        | 416 | 417 | 421 | 425 | 426
        // "MUST NOT be stored by a cache" (RFC 6585): Precondition Required, Too Many Requests,
        // Request Header Fields Too Large, Network Authentication Required
        | 428 | 429 | 431 | 511
    )
}

/// The final status codes of RFC 9110 §15 that are stored at all: none of them has caching rules of its own.
fn is_understood(status: StatusCode) -> bool {
    matches!(status.as_u16(), 200..=204 | 300..=303 | 307 | 308 | 400..=406 | 409..=411 | 414 | 415 | 422 | 500..=505)
}

#[cfg(test)]
mod tests {
    use super::NotStored as No;
    use super::*;
    use crate::semantics::StalePolicy;
    use crate::semantics::samples::{at, date, fields};

    /// A response received at 1000, as seen by `check`.
    struct Case {
        method: Method,
        request: &'static [(&'static str, &'static str)],
        status: u16,
        policy: Policy,
    }

    const NOTHING: &[(&str, &str)] = &[];

    fn get() -> Case {
        Case { method: Method::GET, request: NOTHING, status: 200, policy: Policy::default() }
    }

    impl Case {
        fn status(status: u16) -> Self {
            Self { status, ..get() }
        }

        fn ttl(ttl: TtlPolicy) -> Self {
            Self { policy: Policy { ttl, ..Policy::default() }, ..get() }
        }

        fn terms(&self, response: &[(&str, &str)]) -> Result<Terms, NotStored> {
            let exchanged = Exchanged { requested_at: at(1000.0), received_at: at(1000.0) };
            let status = StatusCode::from_u16(self.status).unwrap();
            terms(&self.method, &fields(self.request), status, &fields(response), &self.policy, exchanged)
        }

        /// The lifetime in seconds, or why there is none.
        fn check(&self, response: &[(&str, &str)], expected: Result<u64, NotStored>) {
            let lifetime = self.terms(response).map(|terms| terms.lifetime.get().as_secs());
            assert_eq!(lifetime, expected, "{} {} {response:?}", self.method, self.status);
        }

        /// With nothing but this Cache-Control.
        fn check_cc(&self, cache_control: &str, expected: Result<u64, NotStored>) {
            self.check(&[("cache-control", cache_control)], expected);
        }
    }

    const fn secs(seconds: u64) -> Option<Duration> {
        Some(Duration::from_secs(seconds))
    }

    #[test]
    fn only_answers_to_get_query_and_post_are_stored() {
        for method in [Method::HEAD, Method::PUT, Method::OPTIONS, Method::from_bytes(b"FOO").unwrap()] {
            Case { method, ..get() }.check_cc("max-age=60, public", Err(No::Method));
        }
        for method in [Method::GET, Method::QUERY, Method::POST] {
            Case { method, ..get() }.check_cc("max-age=60", Ok(60));
        }
    }

    #[test]
    fn the_content_of_a_query_or_a_post_is_no_obstacle() {
        for method in [Method::QUERY, Method::POST] {
            Case { method, request: &[("content-length", "3")], ..get() }.check_cc("max-age=60", Ok(60));
        }
    }

    #[test]
    fn the_answer_to_a_post_must_say_itself_how_long_it_is_fresh() {
        let ttl = TtlPolicy { default: secs(60), overriding: secs(60), ..TtlPolicy::default() };
        let post = Case { method: Method::POST, ..Case::ttl(ttl) };
        post.check(&[("etag", "\"a\"")], Err(No::NoFreshness));
        post.check_cc("public", Err(No::NoFreshness));
        post.check_cc("max-age=5", Ok(60));
        let expires = date(1100);
        Case { method: Method::POST, ..get() }.check(&[("expires", &expires)], Ok(100));
    }

    #[test]
    fn an_event_stream_must_say_itself_how_long_it_is_fresh() {
        let stream = |field| ("content-type", field);
        for ttl in [
            TtlPolicy::default(),
            TtlPolicy { default: secs(60), ..TtlPolicy::default() },
            TtlPolicy { overriding: secs(60), ..TtlPolicy::default() },
            TtlPolicy { by_status: vec![(200..=200, Duration::from_secs(60))], ..TtlPolicy::default() },
        ] {
            let lifetime = ttl.overriding.map_or(5, |overriding| overriding.as_secs());
            let case = Case::ttl(ttl);
            for name in ["text/event-stream", "Text/Event-Stream ;charset=utf-8"] {
                case.check(&[stream(name), ("last-modified", &date(0))], Err(No::NoFreshness));
                case.check(
                    &[stream(name), ("cache-control", "public"), ("etag", "\"a\"")],
                    Err(No::NoFreshness),
                );
                case.check(&[stream(name), ("cache-control", "max-age=5")], Ok(lifetime));
                case.check(&[stream(name), ("cache-control", "no-store")], Err(No::NoStore));
            }
        }
        let default = Case::ttl(TtlPolicy { default: secs(60), ..TtlPolicy::default() });
        for name in ["text/event-streams", "text/html", "", "text/html; a=text/event-stream"] {
            default.check(&[stream(name)], Ok(60));
        }
    }

    #[test]
    fn an_answer_to_a_get_with_content_is_not_stored() {
        Case { request: &[("content-length", "3")], ..get() }.check_cc("max-age=60", Err(No::RequestContent));
        Case { request: &[("transfer-encoding", "chunked")], ..get() }
            .check_cc("max-age=60", Err(No::RequestContent));
        Case { request: &[("content-length", "0")], ..get() }.check_cc("max-age=60", Ok(60));
    }

    #[test]
    fn explicit_freshness_makes_any_status_storable() {
        for status in
            [200, 203, 204, 299, 301, 302, 303, 307, 308, 400, 403, 404, 410, 499, 500, 502, 503, 504, 599]
        {
            Case::status(status).check_cc("max-age=60", Ok(60));
            Case::status(status).check(&[("expires", &date(1060))], Ok(60));
        }
    }

    #[test]
    fn codes_about_one_exchange_are_never_stored() {
        for status in
            [100, 103, 205, 304, 407, 408, 412, 413, 416, 417, 421, 425, 426, 428, 429, 431, 511, 600, 999]
        {
            Case::status(status).check_cc("max-age=60, public", Err(No::Status));
        }
    }

    #[test]
    fn what_a_client_can_provoke_is_stored_only_where_the_rfc_is_taken_at_its_word() {
        let unchanged_since_0 = [("last-modified", &*date(0)), ("date", &*date(1000))];
        let default = TtlPolicy { default: secs(300), ..TtlPolicy::default() };
        for (status, stated) in [(405, Ok(60)), (414, Err(No::Status))] {
            let case = |store_request_errors, ttl: &TtlPolicy| {
                let policy = Policy { store_request_errors, ttl: ttl.clone(), ..Policy::default() };
                Case { status, policy, ..get() }
            };
            case(false, &default).check(&[], Err(No::Status));
            case(false, &default).check_cc("public", Err(No::Status));
            case(false, &default).check_cc("max-age=60", stated);
            case(true, &default).check(&[], Ok(300));
            case(true, &TtlPolicy::default()).check(&unchanged_since_0, Ok(100));
            case(true, &default).check_cc("max-age=60", Ok(60));
        }
    }

    #[test]
    fn parts_are_not_stored() {
        Case::status(206).check_cc("max-age=60", Err(No::Partial));
    }

    #[test]
    fn content_range_means_nothing_but_on_a_206() {
        get().check(&[("cache-control", "max-age=60"), ("content-range", "bytes 0-1/2")], Ok(60));
    }

    #[test]
    fn must_understand_outweighs_no_store_for_codes_we_understand() {
        get().check_cc("max-age=60, no-store, must-understand", Ok(60));
        Case::status(599).check_cc("max-age=60, no-store, must-understand", Err(No::MustUnderstand));
        Case::status(599).check_cc("max-age=60, must-understand", Err(No::MustUnderstand));
        get().check_cc("max-age=60, no-store", Err(No::NoStore));
    }

    #[test]
    fn no_store_and_private_hold_against_everything_else() {
        let anything = Case::ttl(TtlPolicy {
            default: secs(5),
            min: secs(5),
            max: secs(5),
            overriding: secs(5),
            ..TtlPolicy::default()
        });
        for case in [get(), anything] {
            case.check_cc("no-store, public, max-age=60, s-maxage=60", Err(No::NoStore));
            case.check_cc("private, public, max-age=60, s-maxage=60", Err(No::Private));
            case.check_cc("private=\"content-type\", max-age=60", Err(No::Private));
            case.check_cc("max-age=60, extension=\"", Err(No::NoStore));
        }
    }

    #[test]
    fn a_code_may_have_a_lifetime_of_its_own() {
        let ttl = TtlPolicy {
            default: secs(300),
            min: secs(100),
            max: secs(400),
            by_status: vec![
                (404..=404, Duration::from_secs(30)),
                (500..=599, Duration::from_secs(2)),
                (400..=499, Duration::from_secs(500)),
            ],
            ..TtlPolicy::default()
        };
        let check = |status, cache_control, expected| {
            Case { status, ..Case::ttl(ttl.clone()) }.check_cc(cache_control, expected);
        };
        check(200, "", Ok(300));
        check(404, "", Ok(30));
        check(403, "", Ok(400));
        check(503, "", Ok(2));
        check(404, "max-age=200", Ok(200));
        check(503, "max-age=200", Ok(200));
        check(404, "no-store", Err(No::NoStore));
        // About one exchange only, whatever the operator says.
        check(429, "", Err(No::Status));
    }

    #[test]
    fn a_client_may_forbid_to_store_if_it_is_obeyed() {
        let request = &[("cache-control", "no-store")];
        Case { request, ..get() }.check_cc("max-age=60", Err(No::RequestNoStore));
        let policy = Policy { client_directives: ClientDirectives::Ignore, ..Policy::default() };
        Case { request, policy, ..get() }.check_cc("max-age=60", Ok(60));
    }

    #[test]
    fn authorization_is_unlocked_by_the_response_alone() {
        let with_credentials = Case { request: &[("authorization", "Basic Zm9v")], ..get() };
        with_credentials.check_cc("max-age=60", Err(No::Authorization));
        with_credentials.check_cc("max-age=60, proxy-revalidate", Err(No::Authorization));
        with_credentials.check_cc("max-age=60, s-maxage=x", Err(No::Authorization));
        with_credentials.check_cc("max-age=60, public", Ok(60));
        with_credentials.check_cc("max-age=60, must-revalidate", Ok(60));
        with_credentials.check_cc("s-maxage=60", Ok(60));
        let overriding = Case::ttl(TtlPolicy { overriding: secs(5), ..TtlPolicy::default() });
        Case { request: with_credentials.request, ..overriding }
            .check_cc("max-age=60", Err(No::Authorization));
    }

    #[test]
    fn without_stated_freshness_only_some_codes_are_stored() {
        let unchanged_since_0 = [("last-modified", &*date(0)), ("date", &*date(1000))];
        for status in [200, 203, 204, 300, 301, 308, 404, 410, 501] {
            Case::status(status).check(&unchanged_since_0, Ok(100));
            Case::status(status).check(&[], Err(No::NoFreshness));
        }
        for status in [201, 202, 302, 307, 400, 401, 403, 500, 502, 503, 504, 599] {
            Case::status(status).check(&unchanged_since_0, Err(No::Status));
        }
        let public = [unchanged_since_0[0], unchanged_since_0[1], ("cache-control", "public")];
        Case::status(599).check(&public, Ok(100));
        Case::status(403).check(&public, Ok(100));
    }

    #[test]
    fn the_default_ttl_never_keeps_an_error_that_is_not_a_stable_one() {
        let default =
            |status| Case { status, ..Case::ttl(TtlPolicy { default: secs(300), ..TtlPolicy::default() }) };
        for status in [200, 203, 204, 300, 301, 308, 404, 410] {
            default(status).check(&[], Ok(300));
        }
        for status in [302, 401, 403, 422, 500, 502, 503, 504] {
            default(status).check(&[], Err(No::Status));
        }
        default(501).check(&[], Err(No::NoFreshness));
        default(503).check_cc("public", Err(No::NoFreshness));
        default(302).check_cc("public", Ok(300));
        default(200).check_cc("max-age=10", Ok(10));
        default(200).check(&[("expires", "0"), ("etag", "\"a\"")], Ok(0));
    }

    #[test]
    fn min_raises_max_cuts_and_max_wins() {
        let ttl = |min, max| Case::ttl(TtlPolicy { min: secs(min), max: secs(max), ..TtlPolicy::default() });
        ttl(10, 100).check_cc("max-age=1", Ok(10));
        ttl(10, 100).check_cc("max-age=0", Ok(10));
        ttl(10, 100).check_cc("max-age=50", Ok(50));
        ttl(10, 100).check_cc("max-age=500", Ok(100));
        ttl(200, 100).check_cc("max-age=50", Ok(100));
        ttl(10, 100).check(&[], Err(No::NoFreshness));
        ttl(10, 20).check(&[("last-modified", &date(0))], Ok(20));
    }

    #[test]
    fn a_server_error_is_kept_for_no_longer_than_it_says() {
        let ttl = TtlPolicy {
            default: secs(300),
            min: secs(300),
            max: secs(500),
            overriding: secs(400),
            ..TtlPolicy::default()
        };
        let outage = Case { status: 503, ..Case::ttl(ttl) };
        outage.check_cc("max-age=2", Ok(2));
        outage.check_cc("max-age=2000", Ok(500));
        outage.check(&[], Err(No::Status));
    }

    #[test]
    fn overriding_replaces_lifetime_and_no_cache_and_nothing_else() {
        let ttl = TtlPolicy { min: secs(50), max: secs(60), overriding: secs(5), ..TtlPolicy::default() };
        let overriding = |status| Case { status, ..Case::ttl(ttl.clone()) };
        overriding(200).check(&[], Ok(5));
        overriding(200).check_cc("max-age=3600", Ok(5));
        overriding(403).check_cc("max-age=0", Ok(5));
        overriding(403).check(&[], Err(No::Status));
        let no_cache = overriding(200).terms(&[("cache-control", "no-cache, max-age=0")]).unwrap();
        assert!(!no_cache.always_validate && no_cache.never_stale);
        assert_eq!(no_cache.lifetime_from, LifetimeSource::Override);
    }

    #[test]
    fn vary_star_is_not_stored() {
        get().check(&[("cache-control", "max-age=60"), ("vary", "accept, *")], Err(No::VaryStar));
        get().check(&[("cache-control", "max-age=60"), ("vary", "accept")], Ok(60));
    }

    #[test]
    fn cookies_are_not_shared_unless_the_route_says_so() {
        let with = |set_cookie| Case { policy: Policy { set_cookie, ..Policy::default() }, ..get() };
        let response = [("cache-control", "max-age=60"), ("set-cookie", "a=b")];
        with(SetCookie::Refuse).check(&response, Err(No::SetCookie));
        with(SetCookie::Strip).check(&response, Ok(60));
        with(SetCookie::Store).check(&response, Ok(60));
        for directives in ["max-age=60, public", "s-maxage=60, public, must-revalidate"] {
            let response = [("cache-control", directives), ("set-cookie", "a=b")];
            with(SetCookie::Refuse).check(&response, Err(No::SetCookie));
            with(SetCookie::Store).check(&response, Ok(60));
        }
        // It is not stored at all: its response may be.
        for list in ["private=\"set-cookie\"", "no-cache=\"Set-Cookie, x-user\""] {
            let cache_control = format!("max-age=60, {list}");
            with(SetCookie::Refuse)
                .check(&[("cache-control", &cache_control), ("set-cookie", "a=b")], Ok(60));
        }
    }

    #[test]
    fn what_always_needs_validation_needs_a_validator() {
        get().check_cc("no-cache", Err(No::NoValidator));
        get().check_cc("no-cache, max-age=60", Err(No::NoValidator));
        get().check_cc("max-age=0", Err(No::NoValidator));
        get().check(&[("cache-control", "max-age=60"), ("age", "60")], Err(No::NoValidator));
        get().check(&[("cache-control", "max-age=60"), ("age", "60"), ("etag", "abc")], Err(No::NoValidator));
        get().check(&[("cache-control", "max-age=60"), ("age", "60"), ("etag", "W/\"abc\"")], Ok(60));
        get().check(&[("cache-control", "no-cache"), ("etag", "\"abc\"")], Ok(0));
        get().check(&[("cache-control", "max-age=0"), ("last-modified", &date(1))], Ok(0));
        get().check(&[("cache-control", "public"), ("etag", "\"abc\"")], Ok(0));
        get().check(&[("etag", "\"abc\"")], Err(No::NoFreshness));
    }

    #[test]
    fn terms_remember_when_stale_is_forbidden() {
        let check = |cache_control: &str, always_validate, never_stale| {
            let terms = get().terms(&[("cache-control", cache_control), ("etag", "\"a\"")]).unwrap();
            assert_eq!(
                (terms.always_validate, terms.never_stale),
                (always_validate, never_stale),
                "{cache_control}"
            );
        };
        check("max-age=60", false, false);
        check("max-age=60, must-revalidate", false, true);
        check("max-age=60, proxy-revalidate", false, true);
        check("s-maxage=60", false, true);
        check("no-cache", true, true);
        check("no-cache=\"a\", max-age=60", false, false);
    }

    #[test]
    fn terms_remember_how_long_stale_is_allowed() {
        let own = StalePolicy { while_revalidate: secs(7), if_error: secs(8) };
        let own = Case { policy: Policy { stale: own, ..Policy::default() }, ..get() };
        let check = |case: &Case, cache_control: &str, while_revalidate, if_error| {
            let terms = case.terms(&[("cache-control", cache_control), ("etag", "\"a\"")]).unwrap();
            let windows = (Some(terms.stale_while_revalidate.get()), Some(terms.stale_if_error.get()));
            assert_eq!(windows, (secs(while_revalidate), secs(if_error)), "{cache_control}");
        };
        check(&get(), "max-age=60", 0, 0);
        check(&get(), "max-age=60, stale-while-revalidate=30, stale-if-error=90", 30, 90);
        check(&get(), "max-age=60, stale-while-revalidate=x", 0, 0);
        check(&own, "max-age=60", 7, 8);
        check(&own, "max-age=60, stale-while-revalidate=0", 0, 8);
        for forbidden in ["must-revalidate", "proxy-revalidate", "s-maxage=60", "no-cache"] {
            let line = format!("max-age=60, stale-while-revalidate=30, stale-if-error=90, {forbidden}");
            check(&own, &line, 0, 0);
        }
    }

    #[test]
    fn the_rules_are_told_up_to_the_one_that_decides() {
        let told = |cache_control: &str| {
            let mut told = Vec::new();
            let headers = fields(&[("cache-control", cache_control)]);
            let exchanged = Exchanged { requested_at: at(1000.0), received_at: at(1000.0) };
            let request = HeaderMap::new();
            let _ = terms_told(
                &Method::GET,
                &request,
                StatusCode::OK,
                &headers,
                &Policy::default(),
                exchanged,
                |says, refusal| told.push((says, refusal)),
            );
            told
        };
        let refused = told("private, max-age=60");
        assert_eq!(refused.last(), Some(&("the response is not private (§5.2.2.7)", Some(No::Private))));
        assert!(refused.iter().rev().skip(1).all(|(_, refusal)| refusal.is_none()));
        let stored = told("max-age=60");
        assert!(stored.len() > refused.len() && stored.iter().all(|(_, refusal)| refusal.is_none()));
    }

    #[test]
    fn terms_carry_age_and_source() {
        let response = [("cache-control", "s-maxage=60"), ("age", "10"), ("date", &date(995))];
        let terms = get().terms(&response).unwrap();
        assert_eq!(terms.initial_age.get(), Duration::from_secs(10));
        assert_eq!((terms.received_at, terms.lifetime_from), (at(1000.0), LifetimeSource::SMaxage));
        assert_eq!(terms.expires_at(), at(1050.0));
    }
}
