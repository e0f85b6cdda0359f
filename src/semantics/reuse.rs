//! Constructing responses from stored ones: RFC 9111 §4.
//!
//! Decides what a request gets, once its key and `Vary` have selected a stored response or none. Knows nothing of
//! invalidations: whether the stored response still stands is asked before this.

use super::cache_control::RequestDirectives;
use super::precondition;
use super::{ClientDirectives, ForwardReason, Terms};
use crate::clock::Timestamp;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, Method, StatusCode};
use std::time::Duration;

/// What to do with a request, given the stored response its key and `Vary` selected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reuse {
    /// Serve it as it is.
    Serve,
    /// Serve it though it is stale, and validate it meanwhile (RFC 5861 §3).
    ServeStale,
    /// Ask the origin whether it still holds; why.
    Validate(ForwardReason),
    /// Do not use it: forward; why.
    Forward(ForwardReason),
    /// `only-if-cached` and nothing to serve: 504 (§5.2.1.7).
    Refuse,
}

/// §4, after selection. `stored`: the terms of the response; `None` if nothing is stored under the key (`variants_exist: false`)
/// or nothing that `Vary` selects (`true`).
pub fn reuse(
    stored: Option<&Terms>,
    variants_exist: bool,
    method: &Method,
    request: &HeaderMap,
    client_directives: ClientDirectives,
    now: Timestamp,
) -> Reuse {
    reuse_told(stored, variants_exist, method, request, client_directives, now, |_, _| ())
}

/// The same; `tell` hears of each rule, in order and up to the one that decides, what it says and whether it holds.
pub fn reuse_told(
    stored: Option<&Terms>,
    variants_exist: bool,
    method: &Method,
    request: &HeaderMap,
    client_directives: ClientDirectives,
    now: Timestamp,
    mut tell: impl FnMut(&'static str, bool),
) -> Reuse {
    let mut rule = |holds: bool, says: &'static str| {
        tell(says, holds);
        holds
    };
    // "the request method associated with the stored response allows it to be used for the presented
    // request": what is stored are answers to GET, or to a QUERY with the same content
    let method_is_understood = is_understood(method) || *method == Method::QUERY;
    if !rule(method_is_understood, "stored responses answer such a method (RFC 9111 §4)") {
        return Reuse::Forward(ForwardReason::Method);
    }
    let asked = match client_directives {
        ClientDirectives::Obey => RequestDirectives::of(request),
        ClientDirectives::Ignore => RequestDirectives::default(),
    };
    // "the presented target URI and that of the stored response match"
    let verdict = if !rule(variants_exist, "something usable is stored under the key (§4)") {
        Reuse::Forward(ForwardReason::UriMiss)
    // "request header fields nominated by the stored response (if any) match those presented"
    } else if !rule(stored.is_some(), "the request's fields select one of it by its Vary (§4.1)") {
        Reuse::Forward(ForwardReason::VaryMiss)
    } else {
        stored.map_or(Reuse::Forward(ForwardReason::Miss), |terms| with_stored(terms, &asked, now, &mut rule))
    };
    // "the client only wishes to obtain a stored response": one "consistent with the other constraints of the
    // request", or a 504 (§5.2.1.7)
    let served = matches!(verdict, Reuse::Serve | Reuse::ServeStale);
    if asked.only_if_cached() && !rule(served, "only-if-cached: it can be served from the store (§5.2.1.7)")
    {
        return Reuse::Refuse;
    }
    verdict
}

/// Whether a response may be served because the origin failed to validate it: "a cached stale response MAY be used to
/// satisfy the request, regardless of other freshness information" (RFC 5861 §4). Asked after the failure; the
/// client's own directives sent it to the origin if `reason` says so.
pub fn on_error(terms: &Terms, reason: ForwardReason, now: Timestamp) -> bool {
    let Terms { always_validate, lifetime, stale_if_error, .. } = *terms;
    reason == ForwardReason::Stale
        && !always_validate
        && terms.current_age(now) < lifetime.get().saturating_add(stale_if_error.get())
}

/// The status codes that are such failures (RFC 5861 §4).
pub fn is_failure(status: StatusCode) -> bool {
    matches!(status.as_u16(), 500 | 502 | 503 | 504)
}

/// Whether this request may be answered from, or fill, the cache at all; the reason if not.
///
/// `request` are the fields as received: `Content-Length` and `Transfer-Encoding` say whether it has content. A
/// `Range` is no obstacle here: a stored response may be served whole, and a fetch made without it.
pub fn cacheable_request(method: &Method, request: &HeaderMap) -> Result<(), ForwardReason> {
    understood(method)?;
    // No key contains the content, and the origin may well look at it.
    if has_content(request) {
        return Err(ForwardReason::Bypass);
    }
    // Only the origin can evaluate these.
    if precondition::forwards(request) {
        return Err(ForwardReason::Request);
    }
    Ok(())
}

/// Whether a request with this method and plain fields may.
///
/// # Errors
/// It is none that a stored response answers.
pub fn understood(method: &Method) -> Result<(), ForwardReason> {
    if is_understood(method) { Ok(()) } else { Err(ForwardReason::Method) }
}

/// Whether the request has content, or says anything about its length that is not a plain zero.
pub(super) fn has_content(request: &HeaderMap) -> bool {
    request.contains_key(TRANSFER_ENCODING)
        || request.get_all(CONTENT_LENGTH).iter().any(|length| length.as_bytes() != b"0")
}

fn is_understood(method: &Method) -> bool {
    *method == Method::GET || *method == Method::HEAD
}

/// Whether the selected response may be used without validation.
fn with_stored(
    terms: &Terms,
    asked: &RequestDirectives,
    now: Timestamp,
    rule: &mut impl FnMut(bool, &'static str) -> bool,
) -> Reuse {
    let age = terms.current_age(now);
    let seconds = |seconds: u32| Duration::from_secs(seconds.into());

    // "the stored response does not contain the no-cache directive, unless it is successfully validated"
    if !rule(!terms.always_validate, "the stored response has no no-cache (§5.2.2.4)") {
        return Reuse::Validate(ForwardReason::Stale);
    }
    let mut verdict = Reuse::Serve;
    // "the stored response is one of the following: fresh, allowed to be served stale, or successfully validated"
    if !rule(terms.lifetime.get() > age, "it is fresh (§4.2)") {
        // "the client is willing to accept a response that has exceeded its freshness lifetime by no more than
        // the specified number of seconds" (§5.2.1.2), unless the response forbids it (§4.2.4)
        let staleness = age.saturating_sub(terms.lifetime.get());
        let accepted = !terms.never_stale && asked.max_stale.is_some_and(|most| staleness <= seconds(most));
        if !rule(accepted, "the request accepts it stale: max-stale (§5.2.1.2), and it may be (§4.2.4)") {
            let in_window = staleness < terms.stale_while_revalidate.get();
            if !rule(
                in_window,
                "it may be served while it is validated: stale-while-revalidate (RFC 5861 §3)",
            ) {
                return Reuse::Validate(ForwardReason::Stale);
            }
            verdict = Reuse::ServeStale;
        }
    }
    // "the client prefers stored response not be used to satisfy the request without successful
    // validation on the origin server" (§5.2.1.4)
    if !rule(!asked.no_cache(), "the request has no no-cache (§5.2.1.4)") {
        return Reuse::Validate(ForwardReason::Request);
    }
    // "the client prefers a response whose age is less than or equal to the specified number of seconds" (§5.2.1.1)
    let young = asked.max_age.is_none_or(|max_age| age <= seconds(max_age));
    if !rule(young, "it is no older than the request's max-age (§5.2.1.1)") {
        return Reuse::Validate(ForwardReason::Request);
    }
    // "the client prefers a response whose freshness lifetime is no less than its current age plus the specified
    // time in seconds" (§5.2.1.3)
    let lasts =
        asked.min_fresh.is_none_or(|least| terms.lifetime.get() >= age.saturating_add(seconds(least)));
    if !rule(lasts, "it stays fresh for the request's min-fresh (§5.2.1.3)") {
        return Reuse::Validate(ForwardReason::Request);
    }
    verdict
}

#[cfg(test)]
mod tests {
    use super::ForwardReason::{Bypass, Request, Stale, UriMiss, VaryMiss};
    use super::Reuse::{Forward, Refuse, Serve, ServeStale, Validate};
    use super::*;
    use crate::semantics::samples::{at, fields, stored};
    use proptest::prelude::*;

    /// What a request with this Cache-Control gets of a response that is fresh for 60 seconds.
    fn check(cache_control: &str, age: f64, expected: Reuse) {
        check_terms(|_| (), cache_control, age, expected);
    }

    fn check_terms(change: impl Fn(&mut Terms), cache_control: &str, age: f64, expected: Reuse) {
        let mut stored = stored(&[]);
        change(&mut stored.terms);
        let request = fields(&[("cache-control", cache_control)]);
        for method in [Method::GET, Method::HEAD] {
            let verdict =
                reuse(Some(&stored.terms), true, &method, &request, ClientDirectives::Obey, at(1000.0 + age));
            assert_eq!(verdict, expected, "{cache_control} at {age}");
        }
    }

    #[test]
    fn fresh_is_served_and_stale_is_validated() {
        check("", 0.0, Serve);
        check("", 59.9, Serve);
        check("", 60.0, Validate(Stale));
        check("", 1e9, Validate(Stale));
        check("", -500.0, Serve); // the clock ran backwards
    }

    #[test]
    fn no_cache_in_the_response_is_validated_though_fresh() {
        check_terms(|terms| terms.always_validate = true, "", 0.0, Validate(Stale));
        check_terms(|terms| terms.always_validate = true, "max-stale", 0.0, Validate(Stale));
    }

    #[test]
    fn clients_may_ask_for_fresher_responses() {
        check("no-cache", 5.0, Validate(Request));
        check("no-cache", 65.0, Validate(Stale));
        check("max-age=0", 5.0, Validate(Request));
        check("max-age=4", 5.0, Validate(Request));
        check("max-age=5", 5.0, Serve);
        check("max-age=x", 5.0, Validate(Request));
        check("min-fresh=55", 5.0, Serve);
        check("min-fresh=56", 5.0, Validate(Request));
        check("min-fresh=99999999999", 5.0, Validate(Request));
        check("no-store", 5.0, Serve);
    }

    #[test]
    fn clients_may_accept_stale_responses() {
        check("max-stale", 1e9, Serve);
        check("max-stale=10", 70.0, Serve);
        check("max-stale=10", 70.5, Validate(Stale));
        check("max-stale=10, max-age=65", 70.0, Validate(Request));
        check("max-stale=10, min-fresh=0", 70.0, Validate(Request));
        check_terms(|terms| terms.never_stale = true, "max-stale", 61.0, Validate(Stale));
        check_terms(|terms| terms.never_stale = true, "max-stale", 59.0, Serve);
    }

    #[test]
    fn stale_is_served_within_the_window_while_it_is_validated() {
        let within = |cache_control: &str, age, expected| {
            let window = Duration::from_secs(30);
            check_terms(|terms| terms.stale_while_revalidate = window.into(), cache_control, age, expected);
        };
        within("", 59.9, Serve);
        within("", 60.0, ServeStale);
        within("", 89.9, ServeStale);
        within("", 90.0, Validate(Stale));
        within("only-if-cached", 70.0, ServeStale);
        within("max-stale=20", 70.0, Serve);
        within("max-stale=5", 70.0, ServeStale);
        within("no-cache", 70.0, Validate(Request));
        within("max-age=65", 70.0, Validate(Request));
        within("min-fresh=0", 70.0, Validate(Request));
    }

    #[test]
    fn a_failure_is_answered_with_stale_within_its_window() {
        let mut stored = stored(&[]);
        let mut check = |window, reason, age, expected| {
            stored.terms.stale_if_error = Duration::from_secs(window).into();
            assert_eq!(on_error(&stored.terms, reason, at(1000.0 + age)), expected, "{window} {age}");
        };
        check(30, Stale, 60.0, true);
        check(30, Stale, 89.9, true);
        check(30, Stale, 90.0, false);
        check(0, Stale, 60.0, false);
        check(30, Request, 70.0, false);
        check(30, UriMiss, 70.0, false);
        for (status, fails) in
            [(500, true), (502, true), (503, true), (504, true), (501, false), (404, false)]
        {
            assert_eq!(is_failure(StatusCode::from_u16(status).unwrap()), fails);
        }
    }

    #[test]
    fn only_if_cached_never_reaches_the_origin() {
        check("only-if-cached", 5.0, Serve);
        check("only-if-cached", 65.0, Refuse);
        check("only-if-cached, max-stale", 65.0, Serve);
        check("only-if-cached, no-cache", 5.0, Refuse);
        check_nothing("only-if-cached", ClientDirectives::Obey, Refuse, Refuse);
    }

    fn check_nothing(cache_control: &str, directives: ClientDirectives, no_variants: Reuse, variants: Reuse) {
        let request = fields(&[("cache-control", cache_control)]);
        let verdict = |exist| reuse(None, exist, &Method::GET, &request, directives, at(1000.0));
        assert_eq!((verdict(false), verdict(true)), (no_variants, variants));
    }

    #[test]
    fn a_miss_says_what_was_missed() {
        check_nothing("", ClientDirectives::Obey, Forward(UriMiss), Forward(VaryMiss));
    }

    #[test]
    fn ignored_clients_ask_for_nothing() {
        check_nothing("only-if-cached", ClientDirectives::Ignore, Forward(UriMiss), Forward(VaryMiss));
        for (name, value) in
            [("cache-control", "no-cache"), ("cache-control", "max-age=0"), ("pragma", "no-cache")]
        {
            let request = fields(&[(name, value)]);
            let verdict = |directives| {
                reuse(Some(&stored(&[]).terms), true, &Method::GET, &request, directives, at(1005.0))
            };
            assert_eq!(verdict(ClientDirectives::Ignore), Serve);
            assert_eq!(verdict(ClientDirectives::Obey), Validate(Request));
        }
    }

    #[test]
    fn a_query_is_answered_by_what_is_stored_under_its_content() {
        let (stored, none) = (stored(&[]), HeaderMap::new());
        let verdict =
            reuse(Some(&stored.terms), true, &Method::QUERY, &none, ClientDirectives::Obey, at(1000.0));
        assert_eq!(verdict, Serve);
        // Without its content nothing is found.
        assert_eq!(cacheable_request(&Method::QUERY, &none), Err(ForwardReason::Method));
    }

    #[test]
    fn only_get_and_head_are_answered() {
        for method in [Method::POST, Method::PUT, Method::OPTIONS, Method::from_bytes(b"get").unwrap()] {
            let verdict = reuse(
                Some(&stored(&[]).terms),
                true,
                &method,
                &HeaderMap::new(),
                ClientDirectives::Obey,
                at(1000.0),
            );
            assert_eq!(verdict, Forward(ForwardReason::Method));
            assert_eq!(cacheable_request(&method, &HeaderMap::new()), Err(ForwardReason::Method));
        }
    }

    #[test]
    fn requests_with_content_or_for_the_origin_pass_by() {
        let check = |lines: &[(&str, &str)], expected| {
            for method in [Method::GET, Method::HEAD] {
                assert_eq!(cacheable_request(&method, &fields(lines)), expected, "{lines:?}");
            }
        };
        check(&[], Ok(()));
        check(&[("content-length", "0")], Ok(()));
        check(&[("range", "bytes=0-1"), ("if-none-match", "*")], Ok(()));
        check(&[("content-length", "1")], Err(Bypass));
        check(&[("content-length", "00")], Err(Bypass));
        check(&[("content-length", "0"), ("content-length", "5")], Err(Bypass));
        check(&[("transfer-encoding", "chunked")], Err(Bypass));
        check(&[("if-match", "\"a\"")], Err(Request));
        check(&[("if-unmodified-since", "x")], Err(Request));
    }

    proptest! {
        #[test]
        fn nothing_is_served_beyond_its_lifetime_and_the_staleness_asked_for(
            (lifetime, initial_age, resident, max_stale) in (0u64..99, 0u64..99, -99i32..99, 0u64..99),
            (window, on_failure) in (0u64..99, 0u64..99),
            never_stale: bool,
        ) {
            let mut stored = stored(&[]);
            stored.terms = crate::semantics::samples::terms(lifetime, initial_age, 1000);
            stored.terms.never_stale = never_stale;
            if !never_stale {
                stored.terms.stale_while_revalidate = Duration::from_secs(window).into();
                stored.terms.stale_if_error = Duration::from_secs(on_failure).into();
            }
            let request = fields(&[("cache-control", &format!("max-stale={max_stale}"))]);
            let now = at(1000.0 + f64::from(resident));
            let verdict = reuse(Some(&stored.terms), true, &Method::GET, &request, ClientDirectives::Obey, now);
            let age = initial_age + u64::try_from(resident).unwrap_or(0);
            let allowed = age < lifetime || (!never_stale && age <= lifetime + max_stale);
            prop_assert_eq!(verdict == Serve, allowed);
            let meanwhile = !allowed && !never_stale && age < lifetime + window;
            prop_assert_eq!(verdict == ServeStale, meanwhile);
            let covered = age < lifetime || (!never_stale && age < lifetime + on_failure);
            prop_assert_eq!(on_error(&stored.terms, Stale, now), covered);
        }
    }
}
