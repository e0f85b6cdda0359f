//! Which routes no request can ever reach.
//!
//! Since the most specific route wins, a route is only ever hidden by another with a path pattern of the same
//! shape for all of its hosts, that comes first and asks nothing more. Only what can be proven is named.

use super::path::Segment;
use super::{HeaderCondition, HostPattern, Match, Shadowed};
use http::Method;
use std::collections::HashMap;

/// See [`Table::shadowed`](super::Table::shadowed).
pub(super) fn shadowed(matches: &[Match]) -> Vec<Shadowed> {
    let mut rivals: HashMap<(Option<&HostPattern>, &[Segment]), Vec<usize>> = HashMap::new();
    for (i, route) in matches.iter().enumerate() {
        for place in places(route) {
            rivals.entry(place).or_default().push(i);
        }
    }
    let hidden_by = |hidden: usize| {
        let route = &matches[hidden];
        let others = places(route).next().and_then(|place| rivals.get(&place))?;
        others.iter().copied().find(|&by| {
            by != hidden
                && comes_first((by, &matches[by]), (hidden, route))
                && asks_nothing_more(&matches[by], route)
                && places(route).all(|place| rivals.get(&place).is_some_and(|there| there.contains(&by)))
        })
    };
    (0..matches.len()).filter_map(|route| Some(Shadowed { route, by: hidden_by(route)? })).collect()
}

/// Where a route stands in the table.
fn places(route: &Match) -> impl Iterator<Item = (Option<&HostPattern>, &[Segment])> {
    let any = route.hosts.is_empty().then_some(None);
    let shape = route.path.shape();
    any.into_iter().chain(route.hosts.iter().map(Some)).map(move |host| (host, shape))
}

/// Whether `first` is asked before `second` where both stand.
fn comes_first(first: (usize, &Match), second: (usize, &Match)) -> bool {
    let (a, b) = (first.1.conditions(), second.1.conditions());
    a > b || (a == b && first.0 < second.0)
}

/// Whether every request that meets the conditions of `other` meets those of `route`.
fn asks_nothing_more(route: &Match, other: &Match) -> bool {
    let methods = route.methods.is_empty()
        || (!other.methods.is_empty()
            && other.methods.iter().all(|method| {
                route.admits_method(method) && (*method != Method::GET || route.admits_method(&Method::HEAD))
            }));
    methods
        && route.headers.iter().all(|(name, asked)| {
            other.headers.iter().any(|(given_name, given)| given_name == name && implies(given, asked))
        })
}

fn implies(given: &HeaderCondition, asked: &HeaderCondition) -> bool {
    use HeaderCondition::{Absent, Equals, Matches, Present};
    match (given, asked) {
        (Present | Equals(_) | Matches(_), Present) | (Absent, Absent) => true,
        (Equals(given), Equals(asked)) => given == asked,
        (Equals(given), Matches(asked)) => asked.is_match(given),
        (Matches(given), Matches(asked)) => given.as_str() == asked.as_str(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routes::testing::matching;

    fn check(routes: &[&str], expected: &[(usize, usize)]) {
        let matches: Vec<_> = routes.iter().map(|text| matching(text)).collect();
        let found: Vec<_> = shadowed(&matches).iter().map(|found| (found.route, found.by)).collect();
        assert_eq!(found, expected, "{routes:?}");
    }

    #[test]
    fn a_repeated_route_cannot_be_reached() {
        check(&["/a", "/a"], &[(1, 0)]);
        check(&["/{a}", "/{b}"], &[(1, 0)]);
        check(&["/{a}.x", "/{b}.x"], &[(1, 0)]);
        check(&["/{*a}", "/{*b}", "/{*c}"], &[(1, 0), (2, 0)]);
        check(&["GET /a", "HEAD /a"], &[(1, 0)]);
        check(&["GET,POST /a", "POST /a"], &[(1, 0)]);
        check(&["/a x-a", "/a x-a=1"], &[(1, 0)]);
        check(&["/a x-a~^1", "/a x-a=12"], &[(1, 0)]);
        check(&["/a x-a~^1", "/a x-a~^1"], &[(1, 0)]);
        check(&["/a !x-a", "/a !x-a"], &[(1, 0)]);
    }

    #[test]
    fn a_later_route_with_more_conditions_that_ask_no_more_comes_first() {
        check(&["/a x-a=1", "/a x-a x-a~1"], &[(0, 1)]);
    }

    #[test]
    fn a_route_must_be_covered_on_all_its_hosts() {
        check(&["a.com,b.com /a", "b.com /a"], &[(1, 0)]);
        check(&["a.com /a", "a.com,b.com /a"], &[]);
        check(&["a.com /a", "b.com /a", "a.com,b.com /a"], &[]);
        check(&["a.COM /a", "a.com /a"], &[(1, 0)]);
    }

    #[test]
    fn what_some_request_reaches_is_not_reported() {
        check(&["/{*rest}", "/a"], &[]);
        check(&["/{a}", "/{a}.x", "/x{a}", "/{*a}"], &[]);
        check(&["/a", "GET /a"], &[]);
        check(&["GET /a", "/a"], &[]);
        check(&["HEAD /a", "GET /a"], &[]);
        check(&["GET /a", "GET,POST /a"], &[]);
        check(&["/a", "a.com /a"], &[]);
        check(&["a.com /a", "/a"], &[]);
        check(&["*.com /a", "a.com /a", "a.com:80 /a"], &[]);
        check(&["/a x-a=1", "/a x-a"], &[]);
        check(&["/a x-a=1", "/a x-b=1"], &[]);
        check(&["/a x-a~1", "/a x-a~2"], &[]);
        check(&["/a x-a", "/a !x-a"], &[]);
    }
}
