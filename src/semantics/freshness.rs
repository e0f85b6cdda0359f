//! Freshness lifetime and age: RFC 9111 §4.2.
//!
//! What was measured when the response was stored stands in its [`Terms`]; here it is set against `now`.
//! Clocks that run backwards make no response younger than it was when it arrived.

use super::Terms;
use super::cache_control::delta_seconds;
use super::dates;
use super::storing::{Exchanged, LifetimeSource};
use super::targeted::Statement;
use crate::clock::Timestamp;
use http::HeaderMap;
use http::header::{AGE, DATE, EXPIRES, LAST_MODIFIED};
use std::time::Duration;

impl Terms {
    /// `response_is_fresh = (freshness_lifetime > current_age)` (§4.2).
    pub fn is_fresh(&self, now: Timestamp) -> bool {
        self.lifetime.get() > self.current_age(now)
    }

    /// The same for a response that is stale, however fresh it would be.
    pub fn run_out(&self, now: Timestamp) -> Self {
        Self { lifetime: self.lifetime.min(self.current_age(now).into()), ..*self }
    }

    /// `current_age` (§4.2.3): `corrected_initial_age + resident_time`.
    pub fn current_age(&self, now: Timestamp) -> Duration {
        self.initial_age.get().saturating_add(now.since(self.received_at))
    }

    /// The lifetime left, in seconds rounded down: 0 in the last second, negative once stale.
    pub fn ttl_secs(&self, now: Timestamp) -> i64 {
        let millis = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        (millis(self.lifetime.get()) - millis(self.current_age(now))).div_euclid(1000)
    }

    /// When it stops being fresh; before `received_at` if it was stale on arrival.
    pub fn expires_at(&self) -> Timestamp {
        let (lifetime, initial_age) = (self.lifetime.get(), self.initial_age.get());
        match lifetime.checked_sub(initial_age) {
            Some(left) => self.received_at.plus(left),
            None => self.received_at.minus(initial_age - lifetime),
        }
    }
}

impl Terms {
    /// With a lifetime that is cut by up to `share` of it; `luck`, from 0 to 1, says by how much.
    pub fn jittered(self, share: f64, luck: f64) -> Self {
        let lifetime = self.lifetime.get().mul_f64(1.0 - share.clamp(0.0, 1.0) * luck.clamp(0.0, 1.0));
        Self { lifetime: lifetime.into(), ..self }
    }

    /// To be refreshed by hits in the last `share` of the lifetime, early enough for a fetch that takes as long as the one
    /// before (`fetch`) to be over when it ends. `luck`, from 0 to 1: where in that time it begins, so that not all that was
    /// stored together is refreshed together.
    pub fn refreshed_ahead(self, share: f64, fetch: Duration, luck: f64) -> Self {
        if share <= 0.0 || self.always_validate {
            return self;
        }
        let window = self.lifetime.get().mul_f64(share.min(1.0));
        let ahead = window.mul_f64(1.0 - luck.clamp(0.0, 1.0)).max(fetch.saturating_mul(2)).min(window);
        Self { refresh_at: Some(self.expires_at().minus(ahead)), ..self }
    }

    /// Whether a hit should refresh it.
    pub fn is_to_be_refreshed(&self, now: Timestamp) -> bool {
        self.refresh_at.is_some_and(|at| now >= at)
    }
}

/// The lifetime the origin states (§4.2.1): the first of `s-maxage`, `max-age` and `Expires` minus `Date`.
pub(super) fn stated_lifetime(
    Statement { directives, targeted, .. }: &Statement,
    headers: &HeaderMap,
    exchanged: Exchanged,
) -> Option<(Duration, LifetimeSource)> {
    let seconds = |seconds: u32| Duration::from_secs(seconds.into());
    // "If the cache is shared and the s-maxage response directive is present, use its value, or"
    if let Some(s_maxage) = directives.s_maxage {
        return Some((seconds(s_maxage), LifetimeSource::SMaxage));
    }
    // "If the max-age response directive is present, use its value, or"
    if let Some(max_age) = directives.max_age {
        return Some((seconds(max_age), LifetimeSource::MaxAge));
    }
    // "If the Expires response header field is present, use its value minus the value of the Date
    // response header field"
    if targeted.is_some() {
        // It is for those that the targeted field is not for (RFC 9213 §2.2).
        return None;
    }
    let mut lines = headers.get_all(EXPIRES).iter().peekable();
    lines.peek()?;
    // Of several lines the earliest counts, and one that is no date is "a time in the past" (§5.3).
    let expires = lines
        .map(|line| dates::parse(line.as_bytes(), exchanged.received_at).unwrap_or_default())
        .min()
        .unwrap_or_default();
    Some((expires.since(date_value(headers, exchanged)), LifetimeSource::Expires))
}

/// A tenth of the time for which the response has not changed (§4.2.2), at most a day; `None` without a
/// valid `Last-Modified`. Whether a heuristic is allowed at all is decided elsewhere.
pub(super) fn heuristic_lifetime(headers: &HeaderMap, exchanged: Exchanged) -> Option<Duration> {
    const AT_MOST: Duration = Duration::from_secs(24 * 60 * 60);
    let last_modified = dates::field(headers, LAST_MODIFIED, exchanged.received_at)?;
    Some((date_value(headers, exchanged).since(last_modified) / 10).min(AT_MOST))
}

/// `corrected_initial_age` (§4.2.3).
pub(super) fn initial_age(headers: &HeaderMap, exchanged: Exchanged) -> Duration {
    let Exchanged { requested_at, received_at } = exchanged;
    // apparent_age = max(0, response_time - date_value): in whole seconds, because Date knows no
    // fractions and would make every response look up to a second old
    let apparent_age = Timestamp::from_secs(received_at.as_secs()).since(date_value(headers, exchanged));
    // response_delay = response_time - request_time
    let response_delay = received_at.since(requested_at);
    // corrected_age_value = age_value + response_delay
    let corrected_age_value = age_value(headers).saturating_add(response_delay);
    // corrected_initial_age = max(apparent_age, corrected_age_value)
    apparent_age.max(corrected_age_value)
}

/// The `Age` the response came with: the first member of the first line, nothing if that is no number (§5.1).
fn age_value(headers: &HeaderMap) -> Duration {
    let first = headers.get(AGE).and_then(|line| line.as_bytes().split(|&byte| byte == b',').next());
    let seconds = first.and_then(|first| delta_seconds(first.trim_ascii())).unwrap_or(0);
    Duration::from_secs(seconds.into())
}

/// When the response was generated; without a valid `Date`, when it was received (RFC 9110 §6.6.1).
fn date_value(headers: &HeaderMap, exchanged: Exchanged) -> Timestamp {
    dates::field(headers, DATE, exchanged.received_at)
        .unwrap_or(Timestamp::from_secs(exchanged.received_at.as_secs()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Millis;
    use crate::semantics::samples::{at, date, fields, terms};
    use crate::semantics::targeted::CDN_CACHE_CONTROL;

    fn check_stated(received: &[(&str, &str)], expected: Option<(u64, LifetimeSource)>) {
        let headers = fields(received);
        let stated = stated_lifetime(
            &Statement::of(&headers, &[CDN_CACHE_CONTROL]),
            &headers,
            exchanged(100.0, 100.0),
        );
        let expected = expected.map(|(seconds, source)| (Duration::from_secs(seconds), source));
        assert_eq!(stated, expected, "{received:?}");
    }

    fn exchanged(requested_at: f64, received_at: f64) -> Exchanged {
        Exchanged { requested_at: at(requested_at), received_at: at(received_at) }
    }

    #[test]
    fn chance_only_ever_cuts_a_lifetime() {
        let check = |share, luck, expected| {
            assert_eq!(
                terms(100, 0, 1000).jittered(share, luck).lifetime.get(),
                Duration::from_secs(expected)
            );
        };
        check(0.0, 1.0, 100);
        check(0.1, 0.0, 100);
        check(0.1, 0.5, 95);
        check(0.1, 1.0, 90);
        check(2.0, 2.0, 0);
    }

    #[test]
    fn what_is_hot_is_refreshed_in_the_last_part_of_its_lifetime_and_in_time_for_a_slow_fetch() {
        let check = |share, fetch, luck, expected: Option<f64>| {
            let refreshed = terms(100, 20, 1000).refreshed_ahead(share, Duration::from_secs(fetch), luck);
            assert_eq!(refreshed.refresh_at, expected.map(at), "{share} {fetch} {luck}");
            if let Some(moment) = expected {
                assert!(
                    !refreshed.is_to_be_refreshed(at(moment - 0.1))
                        && refreshed.is_to_be_refreshed(at(moment))
                );
            }
        };
        // It was 20 seconds old on arrival: it expires at 1080.
        check(0.0, 5, 0.0, None);
        check(0.1, 0, 0.0, Some(1070.0));
        check(0.1, 0, 0.5, Some(1075.0));
        check(0.1, 4, 1.0, Some(1072.0));
        check(0.1, 60, 1.0, Some(1070.0));
        let each_time = Terms { always_validate: true, ..terms(100, 0, 1000) };
        assert_eq!(each_time.refreshed_ahead(0.5, Duration::ZERO, 0.5).refresh_at, None);
    }

    #[test]
    fn s_maxage_wins_over_max_age_and_max_age_over_expires() {
        use LifetimeSource::{Expires, MaxAge, SMaxage};
        let past = ("expires", "0");
        check_stated(&[("cache-control", "max-age=1, s-maxage=60"), past], Some((60, SMaxage)));
        check_stated(&[("cache-control", "s-maxage=1, max-age=60"), past], Some((1, SMaxage)));
        check_stated(&[("cache-control", "max-age=60"), past], Some((60, MaxAge)));
        check_stated(&[("cache-control", "max-age=0"), ("expires", &date(500))], Some((0, MaxAge)));
        check_stated(&[("cache-control", "public"), ("expires", &date(500))], Some((400, Expires)));
        check_stated(&[("cache-control", "public")], None);
    }

    #[test]
    fn beside_a_targeted_field_neither_cache_control_nor_expires_counts() {
        let future = ("expires", &*date(500));
        let check = |targeted, expected| {
            check_stated(
                &[("cache-control", "max-age=1"), future, ("cdn-cache-control", targeted)],
                expected,
            );
        };
        check("max-age=60", Some((60, LifetimeSource::MaxAge)));
        check("public", None);
        check("max-age=60,", Some((1, LifetimeSource::MaxAge)));
    }

    #[test]
    fn expires_counts_from_date() {
        use LifetimeSource::Expires;
        check_stated(&[("expires", &date(130)), ("date", &date(110))], Some((20, Expires)));
        check_stated(&[("expires", &date(130)), ("date", &date(130))], Some((0, Expires)));
        check_stated(&[("expires", &date(130)), ("date", &date(140))], Some((0, Expires)));
        check_stated(&[("expires", &date(130)), ("date", "foo")], Some((30, Expires)));
    }

    #[test]
    fn an_invalid_expires_is_in_the_past() {
        for invalid in ["0", "-1", "", "tomorrow", "Thu, 18 Aug 2050 02:01:18 UTC"] {
            check_stated(&[("expires", invalid)], Some((0, LifetimeSource::Expires)));
            check_stated(
                &[("expires", &date(500)), ("expires", invalid)],
                Some((0, LifetimeSource::Expires)),
            );
        }
        check_stated(
            &[("expires", &date(500)), ("expires", &date(200))],
            Some((100, LifetimeSource::Expires)),
        );
    }

    #[test]
    fn the_heuristic_is_a_tenth_of_the_time_without_change() {
        let check = |last_modified: &str, now: u64, seconds: Option<f64>| {
            let headers = fields(&[("last-modified", last_modified), ("date", &date(now))]);
            let lifetime = heuristic_lifetime(&headers, exchanged(now as f64, now as f64));
            assert_eq!(lifetime, seconds.map(Duration::from_secs_f64), "{last_modified}");
        };
        check(&date(0), 1000, Some(100.0));
        check(&date(995), 1000, Some(0.5));
        check(&date(2000), 1000, Some(0.0));
        check(&date(0), 100 * 24 * 60 * 60, Some(86_400.0));
        check("yesterday", 1000, None);
    }

    #[test]
    fn the_initial_age_is_the_greater_of_two_estimates() {
        let check = |requested: f64, received: f64, date_at: u64, age: &str, expected: f64| {
            let headers = fields(&[("date", &date(date_at)), ("age", age)]);
            let age = initial_age(&headers, exchanged(requested, received));
            assert_eq!(age, Duration::from_secs_f64(expected));
        };
        check(100.0, 100.0, 100, "0", 0.0);
        check(100.0, 102.5, 102, "0", 2.5); // response delay
        check(100.0, 102.5, 101, "30", 32.5); // Age and response delay
        check(100.0, 100.5, 40, "30", 60.0); // apparent age
        check(100.0, 100.0, 900, "0", 0.0); // the origin's clock is ahead
        check(100.0, 40.0, 100, "5", 5.0); // ours ran backwards
    }

    #[test]
    fn a_date_without_fractions_makes_nothing_older() {
        let headers = fields(&[("date", &date(100))]);
        assert_eq!(initial_age(&headers, exchanged(100.9, 100.9)), Duration::ZERO);
        assert_eq!(initial_age(&fields(&[]), exchanged(100.9, 100.9)), Duration::ZERO);
    }

    #[test]
    fn age_is_the_first_number_or_nothing() {
        let check = |lines: &[&str], seconds| {
            let lines: Vec<_> = lines.iter().map(|line| ("age", *line)).collect();
            assert_eq!(age_value(&fields(&lines)), Duration::from_secs(seconds), "{lines:?}");
        };
        check(&[], 0);
        check(&["7200"], 7200);
        check(&["7200, 0"], 7200);
        check(&["0, 7200"], 0);
        check(&["7200", "0"], 7200);
        check(&["0", "7200"], 0);
        check(&["abc"], 0);
        check(&["-7200"], 0);
        check(&["7200.0"], 0);
        check(&["7200;foo=bar"], 0);
        check(&["2147483649"], 1 << 31);
        check(&["99999999999999999999"], 1 << 31);
    }

    #[test]
    fn fresh_until_the_age_reaches_the_lifetime() {
        // 60 s of lifetime, 10 s old on arrival at 100
        let terms = terms(60, 10, 100);
        let check = |now: f64, age: f64, ttl, fresh| {
            let seen = (terms.current_age(at(now)), terms.ttl_secs(at(now)), terms.is_fresh(at(now)));
            assert_eq!(seen, (Duration::from_secs_f64(age), ttl, fresh), "{now}");
        };
        check(100.0, 10.0, 50, true);
        check(149.5, 59.5, 0, true);
        check(150.0, 60.0, 0, false);
        check(150.001, 60.001, -1, false);
        check(150.5, 60.5, -1, false);
        check(152.0, 62.0, -2, false);
        check(20.0, 10.0, 50, true);
        assert_eq!(terms.expires_at(), at(150.0));
    }

    #[test]
    fn what_arrives_stale_expired_before_it_came() {
        let terms = terms(60, 100, 500);
        assert_eq!(terms.expires_at(), at(460.0));
        assert_eq!(terms.ttl_secs(at(500.0)), -40);
        assert!(!terms.is_fresh(at(500.0)));
    }

    #[test]
    fn the_end_of_time_overflows_nothing() {
        let end = Timestamp::from_millis(u64::MAX);
        let terms =
            Terms { lifetime: Duration::MAX.into(), initial_age: Duration::MAX.into(), ..terms(0, 0, 0) };
        assert!(terms.current_age(end) >= terms.lifetime.get());
        assert!(!terms.is_fresh(end));
        let fresh = Terms { initial_age: Millis::ZERO, received_at: end, ..terms };
        assert_eq!(fresh.ttl_secs(end), i64::MAX / 1000);
        assert!(Terms { lifetime: Millis::ZERO, ..terms }.ttl_secs(end) < 0);
    }
}
