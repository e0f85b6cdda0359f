//! Matching a request to its route: host, path pattern, method, header fields.
//!
//! The most specific route wins. The host decides first (exact with port, exact, the longest wildcard, any), then
//! the path, segment by segment from the left (literal, capture with text around it, capture, rest), then the
//! number of further conditions, then the order in the file. A route whose conditions a request does not meet is
//! passed over for the next most specific one that matches in full.
//!
//! Knows nothing of what a route does with a request.

use super::host::split_port;
use super::tree::{Ranges, Tree};
use super::{HostPattern, PathPattern, Route};
use http::{HeaderMap, HeaderName, Method};
use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;

/// What must hold of one request or response field. Several lines of a field are taken as one, joined by `, `
/// (RFC 9110 §5.3).
#[derive(Clone, Debug)]
pub enum HeaderCondition {
    /// There is such a field, though it may be empty.
    Present,
    /// There is no such field.
    Absent,
    /// The field's value is exactly this.
    Equals(String),
    /// The field's value is UTF-8 text in which the expression is found.
    Matches(regex::Regex),
}

impl HeaderCondition {
    /// Whether the condition holds of the field `name`.
    pub fn holds(&self, name: &HeaderName, headers: &HeaderMap) -> bool {
        let value = joined_lines(name, headers);
        match (self, value) {
            (Self::Present, value) => value.is_some(),
            (Self::Absent, value) => value.is_none(),
            (Self::Equals(text), Some(value)) => *value == *text.as_bytes(),
            (Self::Matches(regex), Some(value)) => {
                std::str::from_utf8(&value).is_ok_and(|value| regex.is_match(value))
            }
            (Self::Equals(_) | Self::Matches(_), None) => false,
        }
    }
}

/// All lines of a field as one value; `None` if the field is missing.
pub(crate) fn joined_lines<'h>(name: &HeaderName, headers: &'h HeaderMap) -> Option<Cow<'h, [u8]>> {
    let mut lines = headers.get_all(name).iter();
    let first = lines.next()?.as_bytes();
    Some(lines.fold(Cow::Borrowed(first), |mut joined, line| {
        joined.to_mut().extend_from_slice(b", ");
        joined.to_mut().extend_from_slice(line.as_bytes());
        joined
    }))
}

/// What a route asks of a request; empty lists ask nothing.
#[derive(Clone, Debug)]
pub struct Match {
    /// Any of these.
    pub hosts: Vec<HostPattern>,
    /// The path, normalised.
    pub path: PathPattern,
    /// Any of these; `GET` stands for `HEAD` too.
    pub methods: Vec<Method>,
    /// All of these.
    pub headers: Vec<(HeaderName, HeaderCondition)>,
}

impl Match {
    /// Whether the conditions beside host and path hold.
    fn admits(&self, method: &Method, headers: &HeaderMap) -> bool {
        self.admits_method(method)
            && self.headers.iter().all(|(name, condition)| condition.holds(name, headers))
    }

    pub(super) fn admits_method(&self, method: &Method) -> bool {
        self.methods.is_empty()
            || self.methods.contains(method)
            || (*method == Method::HEAD && self.methods.contains(&Method::GET))
    }

    /// Whether some request for this host can meet it; without a port, for this host on any port.
    pub fn could_take_host(&self, host: &str) -> bool {
        self.hosts.is_empty() || self.hosts.iter().any(|pattern| pattern.could_take(host))
    }

    /// How many conditions there are beside host and path.
    pub(super) fn conditions(&self) -> usize {
        usize::from(!self.methods.is_empty()) + self.headers.len()
    }
}

/// The parts of a request that routing looks at. `host` is lower-case, `path` normalised (RFC 3986 §6.2.2).
#[derive(Clone, Copy, Debug)]
pub struct RouteQuery<'a> {
    /// The method, in its own case.
    pub method: &'a Method,
    /// In lower case, with the port if there is one.
    pub host: &'a str,
    /// Normalised, without the query.
    pub path: &'a str,
    /// The request's fields.
    pub headers: &'a HeaderMap,
}

/// Where in the normalised path each capture lies. Holds no text: the path is passed in again.
#[derive(Clone, Debug, Default)]
pub struct Captures {
    /// The names, in the pattern's order; `None` if the pattern captures nothing.
    pub names: Option<Arc<[Arc<str>]>>,
    /// Start and end in bytes, one pair for each name.
    pub ranges: Ranges,
}

impl Captures {
    fn of(pattern: &PathPattern, ranges: &Ranges) -> Self {
        let names = pattern.names();
        Self { names: (!names.is_empty()).then(|| Arc::clone(names)), ranges: ranges.clone() }
    }

    /// The capture as it stands in the path, percent-encoding and all.
    pub fn raw<'p>(&self, path: &'p str, name: &str) -> Option<&'p str> {
        self.entries(path).find_map(|(known, raw)| (**known == *name).then_some(raw))
    }

    /// All captures, in the pattern's order, as (name, raw text).
    pub fn iter<'s, 'p: 's>(&'s self, path: &'p str) -> impl Iterator<Item = (&'s str, &'p str)> {
        self.entries(path).map(|(name, raw)| (&**name, raw))
    }

    /// Like [`iter`](Self::iter), with names that can be kept.
    pub(crate) fn entries<'s, 'p: 's>(
        &'s self,
        path: &'p str,
    ) -> impl Iterator<Item = (&'s Arc<str>, &'p str)> {
        let names = self.names.as_deref().unwrap_or_default();
        names.iter().zip(&self.ranges).filter_map(|(name, &(start, end))| {
            Some((name, path.get(usize::try_from(start).ok()?..usize::try_from(end).ok()?)?))
        })
    }
}

/// A route that no request can reach, and the one that takes its requests (indices into the list given).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shadowed {
    /// The route that cannot be reached.
    pub route: usize,
    /// The route that takes every request it would match.
    pub by: usize,
}

/// All routes, ready to be matched: the most specific first, ties by order.
#[derive(Debug)]
pub struct Table {
    routes: Vec<Arc<Route>>,
    names: HashMap<Arc<str>, usize, foldhash::fast::RandomState>,
    /// By host, with or without port.
    exact: Trees,
    /// By what the host ends with, dot first, with or without port.
    wildcard: Trees,
    any: Tree,
}

type Trees = HashMap<Box<str>, Tree, foldhash::fast::RandomState>;

impl Table {
    /// Indexes the routes, given in the order of the file.
    pub fn new(routes: Vec<Arc<Route>>) -> Self {
        let mut table = Self {
            names: routes.iter().enumerate().rev().map(|(i, route)| (Arc::clone(&route.name), i)).collect(),
            exact: Trees::default(),
            wildcard: Trees::default(),
            any: Tree::default(),
            routes,
        };
        for index in 0..table.routes.len() {
            table.insert(index);
        }
        table
    }

    /// The route that takes this request, and where its captures lie.
    pub fn find(&self, request: RouteQuery<'_>) -> Option<(&Arc<Route>, Captures)> {
        self.for_host(request.host, |tree| {
            tree.walk(request.path, |routes, ranges| {
                let admits = |route: &&Arc<Route>| route.matching.admits(request.method, request.headers);
                match routes.iter().map(|&i| &self.routes[i]).find(admits) {
                    Some(route) => ControlFlow::Break((route, Captures::of(&route.matching.path, ranges))),
                    None => ControlFlow::Continue(()),
                }
            })
        })
        .break_value()
    }

    /// Every route that some request for this host and path could reach, whatever its method and fields; the
    /// most specific first. With an empty `host`: a request for any host.
    pub fn candidates<'t>(&'t self, host: &str, path: &str) -> Vec<(&'t Arc<Route>, Captures)> {
        let mut found: Vec<(&'t Arc<Route>, Captures)> = Vec::new();
        let mut visit = |tree: &'t Tree| {
            tree.walk(path, |routes, ranges| {
                for &i in routes {
                    let route = &self.routes[i];
                    if !found.iter().any(|(known, _)| Arc::ptr_eq(known, route)) {
                        found.push((route, Captures::of(&route.matching.path, ranges)));
                    }
                    // It takes every request that comes this far.
                    if route.matching.conditions() == 0 {
                        return ControlFlow::Break(());
                    }
                }
                ControlFlow::Continue(())
            })
        };
        if host.is_empty() {
            for tree in self.exact.values().chain(self.wildcard.values()).chain([&self.any]) {
                // What takes every request of one host leaves those of the others.
                let _ = visit(tree);
            }
            // Hash maps have no order of their own.
            found.sort_by_key(|(route, _)| self.names.get(&route.name).copied());
        } else {
            let _ = self.for_host(host, visit);
        }
        found
    }

    /// All routes, in the order of the file.
    pub fn routes(&self) -> &[Arc<Route>] {
        &self.routes
    }

    /// The (first) route of this name.
    pub fn by_name(&self, name: &str) -> Option<&Arc<Route>> {
        self.names.get(name).map(|&i| &self.routes[i])
    }

    /// Routes that can never match because another one takes everything they would. Names only what one other
    /// route does alone: a route that several take apart together is not reported.
    pub fn shadowed(matches: &[Match]) -> Vec<Shadowed> {
        super::shadow::shadowed(matches)
    }

    fn insert(&mut self, index: usize) {
        let routes = &self.routes;
        let Match { hosts, path, .. } = &routes[index].matching;
        let conditions = routes[index].matching.conditions();
        let add = |tree: &mut Tree| {
            let leaf = tree.leaf(path.shape());
            if !leaf.contains(&index) {
                let at = leaf.partition_point(|&other| routes[other].matching.conditions() >= conditions);
                leaf.insert(at, index);
            }
        };
        if hosts.is_empty() {
            add(&mut self.any);
        }
        for host in hosts {
            match host.ending() {
                Some(ending) => add(self.wildcard.entry(ending.into()).or_default()),
                None => add(self.exact.entry(host.as_str().into()).or_default()),
            }
        }
    }

    /// Visits the trees that a request for `host` goes through, the most specific first.
    fn for_host<'t, B>(
        &'t self,
        host: &str,
        mut visit: impl FnMut(&'t Tree) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        if self.exact.is_empty() && self.wildcard.is_empty() {
            return visit(&self.any);
        }
        let (name, port) = split_port(host);
        if !self.exact.is_empty() {
            if port.is_some()
                && let Some(tree) = self.exact.get(host)
            {
                visit(tree)?;
            }
            if let Some(tree) = self.exact.get(name) {
                visit(tree)?;
            }
        }
        if !self.wildcard.is_empty() {
            // A star stands for at least one character: a host that begins with a dot is none of its hosts.
            for (dot, _) in name.match_indices('.').filter(|&(dot, _)| dot > 0) {
                if port.is_some()
                    && let Some(tree) = self.wildcard.get(&host[dot..])
                {
                    visit(tree)?;
                }
                if let Some(tree) = self.wildcard.get(&name[dot..]) {
                    visit(tree)?;
                }
            }
        }
        visit(&self.any)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routes::testing::route;

    fn table(routes: &[&str]) -> Table {
        Table::new(routes.iter().map(|text| route(text)).collect())
    }

    fn find<'t>(
        table: &'t Table,
        method: &str,
        host: &str,
        path: &str,
        fields: &[(&str, &str)],
    ) -> Option<(&'t Arc<Route>, Captures)> {
        let mut headers = HeaderMap::new();
        for &(name, value) in fields {
            headers.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        }
        table.find(RouteQuery { method: &method.parse().unwrap(), host, path, headers: &headers })
    }

    /// `expected`: the route and its captures, as `name=text`; an empty route for none.
    fn check(table: &Table, host: &str, path: &str, expected: (&str, &str)) {
        let found = find(table, "GET", host, path, &[]);
        let found = found.as_ref().map_or(("", String::new()), |(route, captures)| {
            let captures: Vec<_> = captures.iter(path).map(|(name, raw)| format!("{name}={raw}")).collect();
            (&route.name, captures.join(" "))
        });
        assert_eq!((found.0, &*found.1), expected, "{host} {path}");
    }

    #[test]
    fn the_most_specific_path_wins_whatever_the_order() {
        let patterns = [
            "/{*rest}",
            "/users/{*all}",
            "/users/{id}",
            "/users/{name}.json",
            "/users/v{n}.json",
            "/users/me",
            "/users/{id}/posts",
            "/{a}/me/posts",
            "/",
        ];
        let forwards = table(&patterns);
        let backwards = table(&patterns.iter().rev().copied().collect::<Vec<_>>());
        for table in [forwards, backwards] {
            check(&table, "h", "/users/me", ("/users/me", ""));
            check(&table, "h", "/users/42", ("/users/{id}", "id=42"));
            check(&table, "h", "/users/42.json", ("/users/{name}.json", "name=42"));
            check(&table, "h", "/users/v42.json", ("/users/v{n}.json", "n=42"));
            check(&table, "h", "/users/v.json", ("/users/{name}.json", "name=v"));
            check(&table, "h", "/users/.json", ("/users/{id}", "id=.json"));
            check(&table, "h", "/users/", ("/users/{*all}", "all="));
            check(&table, "h", "/users", ("/{*rest}", "rest=users"));
            check(&table, "h", "/users/42/posts", ("/users/{id}/posts", "id=42"));
            check(&table, "h", "/users/me/posts", ("/users/{id}/posts", "id=me"));
            check(&table, "h", "/u/me/posts", ("/{a}/me/posts", "a=u"));
            check(&table, "h", "/users/42/posts/7", ("/users/{*all}", "all=42/posts/7"));
            check(&table, "h", "/users//x", ("/users/{*all}", "all=/x"));
            check(&table, "h", "/", ("/", ""));
            check(&table, "h", "/%7B/x", ("/{*rest}", "rest=%7B/x"));
            check(&table, "h", "*", ("", ""));
            check(&table, "h", "", ("", ""));
        }
    }

    #[test]
    fn a_dead_end_is_left_for_the_next_most_specific_pattern() {
        let table = table(&["/a/b/c", "/a/{x}.y/d", "/a/{x}/d/{y}", "/{p}/b/e"]);
        check(&table, "h", "/a/b/d/1", ("/a/{x}/d/{y}", "x=b y=1"));
        check(&table, "h", "/a/b/e", ("/{p}/b/e", "p=a"));
        check(&table, "h", "/a/z.y/d/1", ("/a/{x}/d/{y}", "x=z.y y=1"));
        check(&table, "h", "/a/b", ("", ""));
        check(&table, "h", "/a/b/c/", ("", ""));
    }

    #[test]
    fn the_host_decides_before_the_path() {
        let table = table(&[
            "/users/me",
            "*.example.com /users/{id}",
            "*.b.example.com /{*wild}",
            "example.com,localhost /{*rest}",
            "example.com:8080 /{*port}",
            "*.example.com:8080 /{*wildport}",
            "[::1] /{*v6}",
        ]);
        check(&table, "example.com", "/users/me", ("example.com,localhost /{*rest}", "rest=users/me"));
        check(&table, "localhost:1", "/users/me", ("example.com,localhost /{*rest}", "rest=users/me"));
        check(&table, "example.com:8080", "/x", ("example.com:8080 /{*port}", "port=x"));
        check(&table, "example.com:81", "/x", ("example.com,localhost /{*rest}", "rest=x"));
        check(&table, "a.example.com", "/users/me", ("*.example.com /users/{id}", "id=me"));
        check(&table, "a.example.com:8080", "/x", ("*.example.com:8080 /{*wildport}", "wildport=x"));
        check(&table, "a.b.example.com", "/users/me", ("*.b.example.com /{*wild}", "wild=users/me"));
        check(&table, "b.example.com", "/users/me", ("*.example.com /users/{id}", "id=me"));
        check(&table, ".example.com", "/users/me", ("/users/me", ""));
        check(&table, "notexample.com", "/users/me", ("/users/me", ""));
        check(&table, "other.org", "/x", ("", ""));
        check(&table, "[::1]:8080", "/x", ("[::1] /{*v6}", "v6=x"));
    }

    #[test]
    fn a_route_whose_conditions_fail_is_passed_over() {
        let table = table(&[
            "/{*rest}",
            "/a",
            "POST /a",
            "GET /a x-kind=1",
            "example.com POST /a",
            "GET /a x-kind=2 x-more=1",
        ]);
        for (method, host, fields, expected) in [
            ("GET", "h", &[][..], "/a"),
            ("POST", "h", &[], "POST /a"),
            ("POST", "example.com", &[], "example.com POST /a"),
            ("GET", "example.com", &[], "/a"),
            ("GET", "h", &[("x-kind", "1")], "GET /a x-kind=1"),
            ("HEAD", "h", &[("x-kind", "1")], "GET /a x-kind=1"),
            ("PUT", "h", &[("x-kind", "1")], "/a"),
            ("GET", "h", &[("x-kind", "2")], "/a"),
            ("GET", "h", &[("x-kind", "2"), ("x-more", "1")], "GET /a x-kind=2 x-more=1"),
            ("GET", "h", &[("x-kind", "1"), ("x-kind", "1")], "/a"),
        ] {
            let (route, _) = find(&table, method, host, "/a", fields).unwrap();
            assert_eq!(&*route.name, expected, "{method} {host} {fields:?}");
        }
    }

    #[test]
    fn head_is_not_get_the_other_way_round() {
        let table = table(&["HEAD /a"]);
        assert!(find(&table, "HEAD", "h", "/a", &[]).is_some());
        assert!(find(&table, "GET", "h", "/a", &[]).is_none());
    }

    #[test]
    fn ties_are_broken_by_order() {
        let table = table(&["POST,GET /{a}", "GET /{b}", "/{c}"]);
        check(&table, "h", "/x", ("POST,GET /{a}", "a=x"));
    }

    #[test]
    fn candidates_are_every_route_that_some_request_could_reach() {
        let table = table(&[
            "/{*rest}",
            "GET /a/{id}",
            "/a/{x}",
            "example.com POST /a/{y}",
            "*.com DELETE /a/b",
            "other.com /a/{z}",
        ]);
        for (host, path, expected) in [
            ("h", "/a/b", &["GET /a/{id}", "/a/{x}"][..]),
            ("h", "/b", &["/{*rest}"]),
            (
                "example.com",
                "/a/b",
                &["example.com POST /a/{y}", "*.com DELETE /a/b", "GET /a/{id}", "/a/{x}"],
            ),
            ("other.com:80", "/a/b", &["other.com /a/{z}"]),
            (
                "",
                "/a/b",
                &[
                    "GET /a/{id}",
                    "/a/{x}",
                    "example.com POST /a/{y}",
                    "*.com DELETE /a/b",
                    "other.com /a/{z}",
                ],
            ),
        ] {
            let found = table.candidates(host, path);
            let names: Vec<_> = found.iter().map(|(route, _)| &*route.name).collect();
            assert_eq!(names, expected, "{host:?} {path}");
        }
        let found = table.candidates("example.com", "/a/b%20c");
        assert_eq!(found[0].1.raw("/a/b%20c", "y"), Some("b%20c"));
    }

    #[test]
    fn routes_are_found_by_name() {
        let table = table(&["/a", "/b"]);
        assert_eq!(&*table.by_name("/b").unwrap().name, "/b");
        assert!(table.by_name("/c").is_none());
        assert_eq!(table.routes().len(), 2);
    }

    #[test]
    fn a_header_condition_sees_all_lines_of_a_field() {
        let name = HeaderName::from_static("x-a");
        let two = [("x-a", "1"), ("x-a", "2")].map(|(n, v)| (n.parse().unwrap(), v.parse().unwrap()));
        let two: HeaderMap = two.into_iter().collect();
        let none = HeaderMap::new();
        let matches = |text| HeaderCondition::Matches(regex::Regex::new(text).unwrap());
        assert!(HeaderCondition::Equals("1, 2".into()).holds(&name, &two));
        assert!(!HeaderCondition::Equals("1".into()).holds(&name, &two));
        assert!(matches("^1.*2$").holds(&name, &two));
        assert!(!matches("").holds(&name, &none));
        assert!(HeaderCondition::Present.holds(&name, &two) && !HeaderCondition::Present.holds(&name, &none));
        assert!(HeaderCondition::Absent.holds(&name, &none) && !HeaderCondition::Absent.holds(&name, &two));
    }

    #[test]
    fn a_thousand_routes_are_told_apart() {
        let texts: Vec<_> = (0..1000).map(|i| format!("/section{i}/{{id}}/part{i}")).collect();
        let table = table(&texts.iter().map(|text| &**text).collect::<Vec<_>>());
        for i in [0, 1, 499, 999] {
            check(&table, "h", &format!("/section{i}/x/part{i}"), (&texts[i], "id=x"));
        }
        check(&table, "h", "/section1/x/part2", ("", ""));
    }
}
