//! Routes in one line, and what must hold of every table.

use super::{Captures, HeaderCondition, HostPattern, Match, PathPattern, Route, RouteQuery, Table};
use super::{StatusFields, StatusFieldsAudience};
use http::{HeaderMap, HeaderName, Method};
use proptest::prelude::*;
use std::sync::Arc;

/// `GET,POST a.com,b.com /path x-a x-b=v x-c~re !x-d`: methods, hosts, path pattern and fields, each optional.
pub(super) fn matching(text: &str) -> Match {
    let mut route = Match {
        hosts: Vec::new(),
        path: PathPattern::parse("/").unwrap(),
        methods: Vec::new(),
        headers: Vec::new(),
    };
    for word in text.split_whitespace() {
        let (name, condition) = if word.starts_with('/') {
            route.path = PathPattern::parse(word).unwrap();
            continue;
        } else if word.starts_with(|c: char| c.is_ascii_uppercase()) {
            route.methods = word.split(',').map(|method| method.parse().unwrap()).collect();
            continue;
        } else if let Some((name, value)) = word.split_once('=') {
            (name, HeaderCondition::Equals(value.into()))
        } else if let Some((name, value)) = word.split_once('~') {
            (name, HeaderCondition::Matches(regex::Regex::new(value).unwrap()))
        } else if let Some(name) = word.strip_prefix('!') {
            (name, HeaderCondition::Absent)
        } else if word.starts_with("x-") {
            (word, HeaderCondition::Present)
        } else {
            route.hosts = word.split(',').map(|host| HostPattern::parse(host).unwrap()).collect();
            continue;
        };
        route.headers.push((name.parse().unwrap(), condition));
    }
    route
}

/// A route of that name, matched like [`matching`].
pub(super) fn route(text: &str) -> Arc<Route> {
    let status_fields = StatusFields {
        x_cache: true,
        cached_at: true,
        reset_at: true,
        cache_status: true,
        audience: StatusFieldsAudience::Everyone,
    };
    Arc::new(Route {
        name: text.into(),
        matching: matching(text),
        upstream: 0,
        cache: None,
        status_fields,
        purge_from: None,
        takes_webhooks: false,
    })
}

/// What `pattern` captures from `path`, which it must match.
pub(crate) fn captures(pattern: &str, path: &str) -> Captures {
    let table = Table::new(vec![route(pattern)]);
    let request = RouteQuery { method: &Method::GET, host: "h", path, headers: &HeaderMap::new() };
    table.find(request).unwrap().1
}

/// Out of so few that routes often get into each other's way.
fn any_route() -> impl Strategy<Value = String> {
    let methods = prop::sample::select(vec!["", "GET", "HEAD", "GET,POST"]);
    let hosts = prop::sample::select(vec!["", "a.com", "*.com", "a.com,b.com"]);
    let path =
        prop::sample::select(vec!["/{x}", "/{y}", "/a", "/a{x}", "/{x}b", "/{*x}", "/{x}/b", "/a/{*x}"]);
    let fields = prop::sample::select(vec!["", "", "x-a", "x-a=1", "!x-a", "x-a x-a=1"]);
    (methods, hosts, path, fields).prop_map(|(m, h, p, f)| format!("{m} {h} {p} {f}"))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(5000) })]

    #[test]
    fn no_request_reaches_a_shadowed_route_and_every_route_found_is_a_candidate(
        texts in prop::collection::vec(any_route(), 2..6),
        method in prop::sample::select(vec![Method::GET, Method::HEAD, Method::POST]),
        host in prop::sample::select(vec!["a.com", "b.com:80", "x.com", "c.org"]),
        path in prop::sample::select(vec!["/a", "/b", "/ab", "/a/b", "/"]),
        field in prop::sample::select(vec![None, Some("1"), Some("2")]),
    ) {
        let mut headers = HeaderMap::new();
        if let Some(field) = field {
            headers.insert(HeaderName::from_static("x-a"), field.parse().unwrap());
        }
        let routes: Vec<_> = texts.iter().map(|text| route(text)).collect();
        let matches: Vec<_> = texts.iter().map(|text| matching(text)).collect();
        let table = Table::new(routes.clone());
        let request = RouteQuery { method: &method, host, path, headers: &headers };
        if let Some((found, captures)) = table.find(request) {
            for shadowed in Table::shadowed(&matches) {
                prop_assert!(!Arc::ptr_eq(found, &routes[shadowed.route]), "{:?} by {:?}", found.name, shadowed);
            }
            let candidates = table.candidates(host, path);
            let same = candidates.iter().find(|(candidate, _)| Arc::ptr_eq(candidate, found));
            prop_assert_eq!(same.map(|(_, captures)| captures.ranges.clone()), Some(captures.ranges));
            prop_assert!(table.candidates("", path).iter().any(|(candidate, _)| Arc::ptr_eq(candidate, found)));
        }
    }
}
