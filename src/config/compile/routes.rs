//! `routes:` and `status_fields:`.

use super::super::diagnostics::{Problems, Span, quote};
use super::super::file::{
    self, CacheSection, ClientDirectivesWord, CollapseOff, ComplianceWord, FieldCondition, KeyField,
    RangesWord, Route as RouteSection, RouteMatch, SetCookieWord, ShowTo, StatusFieldsSection,
    StoreConditionSection, TagFieldsWord, Ttl,
};
use super::super::read::{Either, Entries, Given, Named, Optional, OptionalExt, Parse, Text, Word};
use super::super::scalars::{Percent, Statuses};
use super::keys::{DEFAULT, Found, Keys};
use super::server::purge_from;
use super::{
    KIB, MAX_OBJECT_BYTES, Names, check_name, count, duration, entries, exactly_one, flag, items, places,
    size, tell_repeated, tell_unknown_holes,
};
use crate::keys::Constructor;
use crate::routes::{
    BodyTag, CacheRule, Collapse, HeaderCondition, Match, PARAMETER, QueryRule, Ranges, Route, StatusFields,
    StatusFieldsAudience, StoreCondition, Table, Template,
};
use crate::semantics::{ClientDirectives, Policy, SetCookie, StalePolicy, TtlPolicy};
use http::{HeaderName, Method};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

/// `routes:`, checked and compiled as far as they are right.
pub(super) struct Routes<'f> {
    /// `None`: the section is wrong, so that nobody knows the names.
    known: Option<Vec<Known<'f>>>,
    /// Empty if any of them is wrong.
    routes: Vec<Arc<Route>>,
}

/// What references to a route need.
pub(super) struct Known<'f> {
    pub(super) name: Option<&'f Text>,
    /// `None`: the path pattern is wrong.
    pub(super) captures: Option<Vec<String>>,
    pub(super) key: KeyOfRoute,
}

pub(super) enum KeyOfRoute {
    /// `cache: off`.
    None,
    /// What it is has been told to be wrong.
    Wrong,
    Built(Arc<Constructor>),
}

impl<'f> Routes<'f> {
    /// Tells everything that is wrong with the routes.
    pub(super) fn new(file: &'f file::File, keys: &Keys<'_>, problems: &mut Problems) -> Self {
        let defaults = status_fields(&file.status_fields, SHOWN);
        let upstreams = match file.upstreams.value() {
            Some(entries) => Names::of("upstream", Some(entries)),
            None => Names { kind: "upstream", names: None },
        };
        let Some(list) = file.routes.value() else { return Self { known: None, routes: Vec::new() } };
        if list.is_empty() {
            problems
                .add(file.routes.span(), "there is no route")
                .help("requests must go somewhere: give one");
        }
        let names = items(list).filter_map(|(route, _)| Some((route.name.value()?, route.name.span())));
        tell_repeated("route", names, problems);

        let mut known = Vec::new();
        let mut routes = Vec::new();
        let mut spans = Vec::new();
        for (section, _) in items(list) {
            if let Some(name) = section.name.value() {
                check_name("route", name, section.name.span(), problems);
            }
            let matching = section.r#match.value().and_then(|section| matching(section, problems));
            let captures = path_captures(section);
            let upstream = section.upstream.value();
            let upstream = upstream.and_then(|name| upstreams.find(name, section.upstream.span(), problems));
            let compliance = file.compliance.value_or(ComplianceWord::Safe);
            let captures_known = captures.as_deref();
            let cache = Cache { keys, file, route: section, captures: captures_known, compliance };
            let cache = cache.compile(problems);
            let key = match &cache {
                Some(None) => KeyOfRoute::None,
                Some(Some(rule)) => KeyOfRoute::Built(Arc::clone(&rule.key)),
                None => KeyOfRoute::Wrong,
            };
            known.push(Known { name: section.name.value(), captures, key });
            let (Some(name), Some(matching), Some(upstream), Some(cache)) =
                (section.name.value(), matching, upstream, cache)
            else {
                continue;
            };
            let path = section.r#match.value().map(|section| section.path.span());
            spans.push((path.unwrap_or_default(), section.name.span(), name));
            let status_fields = status_fields(&section.status_fields, defaults);
            let purge_from = section.purge_requests.value().map(|section| purge_from(section).into());
            routes.push(Route {
                name: (**name).into(),
                matching,
                upstream,
                cache,
                status_fields,
                purge_from,
                takes_webhooks: flag(&section.webhooks, false),
            });
        }
        check_reach(&routes, &spans, problems);
        let complete = routes.len() == list.len();
        share_tags(&mut routes);
        let routes = if complete { routes.into_iter().map(Arc::new).collect() } else { Vec::new() };
        Self { known: Some(known), routes }
    }

    /// All routes, in the order of the file; `None` if nobody knows.
    pub(super) fn known(&self) -> Option<&[Known<'f>]> {
        self.known.as_deref()
    }

    /// The namespaces that something is stored in; `None` if nobody knows.
    pub(super) fn namespaces(&self) -> Option<Vec<&str>> {
        let mut namespaces = Vec::new();
        for route in self.known.as_ref()? {
            match &route.key {
                KeyOfRoute::Wrong => return None,
                KeyOfRoute::Built(key) if !key.namespace.is_empty() => namespaces.push(&*key.namespace),
                KeyOfRoute::Built(_) | KeyOfRoute::None => {}
            }
        }
        namespaces.sort_unstable();
        namespaces.dedup();
        Some(namespaces)
    }

    /// The keys of all routes.
    pub(super) fn constructors(&self) -> impl Iterator<Item = &Arc<Constructor>> {
        self.routes.iter().filter_map(|route| Some(&route.cache.as_ref()?.key))
    }

    /// `None` if there is none to serve requests from.
    pub(super) fn into_table(self) -> Option<Table> {
        (!self.routes.is_empty()).then(|| Table::new(self.routes))
    }
}

/// What routes store under one id carries the tags of all of them: it may be served on each.
fn share_tags(routes: &mut [Route]) {
    let rules = || routes.iter().filter_map(|route| route.cache.as_ref());
    let of_bodies: Vec<(Arc<str>, BodyTag)> = rules()
        .flat_map(|rule| rule.body_tags.iter().map(|tag| (Arc::clone(&rule.key.id), tag.clone())))
        .collect();
    let tags: Vec<(Arc<str>, Template)> = rules()
        .flat_map(|rule| rule.tags.iter().map(|tag| (Arc::clone(&rule.key.id), tag.clone())))
        .collect();
    for rule in routes.iter_mut().filter_map(|route| route.cache.as_mut()) {
        for (_, tag) in tags.iter().filter(|(id, _)| *id == rule.key.id) {
            if !rule.tags.contains(tag) {
                rule.tags.push(tag.clone());
            }
        }
        let of_body = of_bodies.iter().filter(|(id, _)| *id == rule.key.id);
        rule.body_tags = of_body.map(|(_, tag)| tag.clone()).collect();
    }
}

/// Tells routes that no request can reach.
fn check_reach(routes: &[Route], spans: &[(Span, Span, &Text)], problems: &mut Problems) {
    let matches: Vec<Match> = routes.iter().map(|route| route.matching.clone()).collect();
    for shadowed in Table::shadowed(&matches) {
        let (Some((path, _, name)), Some((_, by, by_name))) =
            (spans.get(shadowed.route), spans.get(shadowed.by))
        else {
            continue;
        };
        problems
            .add(*path, format!("no request can reach the route {}", name.shown()))
            .note(*by, format!("{} takes them all", by_name.shown()))
            .help("make its path, host, method or headers more specific, or move it up");
    }
}

fn path_captures(section: &RouteSection) -> Option<Vec<String>> {
    let path = section.r#match.value()?.path.value()?;
    Some(path.captures().map(str::to_owned).collect())
}

fn matching(section: &RouteMatch, problems: &mut Problems) -> Option<Match> {
    let hosts = section.host.value().map(|list| &**list).unwrap_or_default();
    let methods = section.method.value().map(|list| &**list).unwrap_or_default();
    let empty = [
        ("host", section.host.span().filter(|_| section.host.value().is_some_and(|list| list.is_empty()))),
        (
            "method",
            section.method.span().filter(|_| section.method.value().is_some_and(|list| list.is_empty())),
        ),
    ];
    for (what, span) in empty {
        if let Some(span) = span {
            problems.add(span, format!("no {what} is given, so no request could match")).help("leave it out");
        }
    }
    let headers = field_conditions(&section.headers, problems);
    Some(Match {
        hosts: items(hosts).map(|(host, _)| host.0.clone()).collect(),
        path: section.path.value()?.0.clone(),
        methods: items(methods).map(|(method, _)| method.0.clone()).collect(),
        headers,
    })
}

type FieldConditions = Optional<Entries<Either<Text, FieldCondition>>>;

fn field_conditions(given: &FieldConditions, problems: &mut Problems) -> Vec<(HeaderName, HeaderCondition)> {
    let mut conditions: Vec<(HeaderName, HeaderCondition)> = Vec::new();
    for (entry, condition) in entries(given) {
        let condition = match condition {
            Either::First(text) => Some(HeaderCondition::Equals(text.to_string())),
            Either::Second(section) => field_condition(section, entry, problems),
        };
        let Ok(name) = HeaderName::from_bytes(entry.name.as_bytes()) else {
            problems
                .add(entry.name_span, format!("{} is not a field name", quote(&entry.name)))
                .help("write it like accept-language");
            continue;
        };
        if conditions.iter().any(|(known, _)| *known == name) {
            problems
                .add(entry.name_span, "this field is given twice: upper and lower case make no difference");
        }
        conditions.extend(condition.map(|condition| (name, condition)));
    }
    conditions
}

fn field_condition<T>(
    section: &FieldCondition,
    entry: &Named<T>,
    problems: &mut Problems,
) -> Option<HeaderCondition> {
    let members = [
        ("equals", section.equals.span()),
        ("matches", section.matches.span()),
        ("present", section.present.span()),
        ("absent", section.absent.span()),
    ];
    Some(match exactly_one("the condition", entry.name_span, &members, problems)? {
        "equals" => HeaderCondition::Equals(section.equals.value()?.to_string()),
        "matches" => HeaderCondition::Matches(section.matches.value()?.0.clone()),
        "present" => HeaderCondition::Present,
        _ => HeaderCondition::Absent,
    })
}

/// `None`: each request for itself.
fn collapse(section: &CacheSection) -> Option<Collapse> {
    let standard = Collapse::default();
    match section.collapse.value() {
        None => Some(standard),
        Some(Either::First(CollapseOff::Off)) => None,
        Some(Either::Second(section)) => Some(Collapse {
            wait: duration(&section.wait, standard.wait),
            parallel: count(&section.parallel, standard.parallel),
            outlive_client: flag(&section.outlive_client, standard.outlive_client),
            unshared_for: duration(&section.unshared_for, standard.unshared_for),
        }),
    }
}

/// A route's `cache:` and what it needs to know of its surroundings.
struct Cache<'c, 'k> {
    keys: &'c Keys<'k>,
    file: &'c file::File,
    route: &'c RouteSection,
    /// `None`: nobody knows.
    captures: Option<&'c [String]>,
    /// Of the whole file.
    compliance: ComplianceWord,
}

impl Cache<'_, '_> {
    /// `Some(None)`: off; `None`: told to be wrong.
    fn compile(&self, problems: &mut Problems) -> Option<Option<CacheRule>> {
        let default = CacheSection::default();
        let section = match &self.route.cache {
            None => &default,
            Some(given) => match given.value.as_ref()? {
                Either::First(file::CacheOff::Off) => return Some(None),
                Either::Second(section) => section,
            },
        };
        let liberal = section.compliance.value_or(self.compliance) == ComplianceWord::Rfc9111;
        let set_cookie = if liberal { SetCookieWord::Store } else { SetCookieWord::Refuse };
        let targets = section.targeted_fields.value().or(self.file.targeted_fields.value());
        let targets = targets.map(|list| items(list).map(|(name, _)| name.0.clone()).collect());
        let policy = Policy {
            targeted_fields: targets.unwrap_or_else(|| Policy::default().targeted_fields),
            ttl: ttl(section, problems),
            stale: StalePolicy {
                while_revalidate: section.stale_while_revalidate.value().map(|word| word.0),
                if_error: section.stale_if_error.value().map(|word| word.0),
            },
            liberal,
            store_request_errors: liberal,
            store_close_delimited: flag(&section.store_close_delimited, liberal),
            set_cookie: match section.set_cookie.value_or(set_cookie) {
                SetCookieWord::Refuse => SetCookie::Refuse,
                SetCookieWord::Strip => SetCookie::Strip,
                SetCookieWord::Store => SetCookie::Store,
            },
            shows_tags: section.tag_fields.value_or(TagFieldsWord::Strip) == TagFieldsWord::Keep,
            client_directives: match section.client_directives.value_or(ClientDirectivesWord::Obey) {
                ClientDirectivesWord::Obey => ClientDirectives::Obey,
                ClientDirectivesWord::Ignore => ClientDirectives::Ignore,
            },
        };
        let store_if = store_condition(&section.store_if, problems);
        let store_unless = store_condition(&section.store_unless, problems);
        self.check_methods(section, problems);
        let key = self.key(section, problems);
        let tags = self.tags(section, key.as_ref(), problems);
        let key = key?;
        let no_vary_search = flag(&section.no_vary_search, false);
        if let Some(span) = section.no_vary_search.span()
            && no_vary_search
            && key.is_partitioned_by_query()
        {
            problems
                .add(span, "`no_vary_search` cannot go with a partition that comes from the query")
                .help("a response would answer for partitions that a purge of them does not reach: leave one of them out");
        }
        Some(Some(CacheRule {
            key: Arc::new(key),
            policy,
            tags,
            body_tags: self.body_tags(section, problems),
            store_if,
            store_unless,
            store_post: flag(&section.store_post, liberal),
            query: section.query.value().map(|query| QueryRule {
                max_body_bytes: query.max_body.value().map_or(DEFAULT_MAX_QUERY_BYTES, |size| size.0.0),
            }),
            groups: flag(&section.groups, true),
            no_vary_search,
            collapse: collapse(section),
            ranges: self.ranges(section, problems),
            refresh_ahead: share(&section.refresh_ahead),
            min_uses: count(&section.min_uses, 1),
        }))
    }

    fn ranges(&self, section: &CacheSection, problems: &mut Problems) -> Ranges {
        let (slices, span) = match section.ranges.value() {
            None | Some(Either::First(RangesWord::Forward)) => return Ranges::Forward,
            Some(Either::First(RangesWord::Whole)) => return Ranges::Whole,
            Some(Either::Second(section)) => match section.slices.value() {
                Some(size) => (size.0.0, section.slices.span()),
                None => return Ranges::Forward,
            },
        };
        let memory = self.file.store.value().and_then(|store| store.memory.value());
        let most = memory.map_or(MAX_OBJECT_BYTES, |memory| size(&memory.max_object, MAX_OBJECT_BYTES));
        if !(MIN_SLICE_BYTES..=most).contains(&slices) {
            problems
                .add(span, format!("a slice has at least 4KiB and at most {most} bytes"))
                .help("larger ones would not be stored (`store.memory.max_object`)");
        }
        Ranges::Slices(slices)
    }

    /// Tells options for requests that the route does not take.
    fn check_methods(&self, section: &CacheSection, problems: &mut Problems) {
        let Some(methods) = self.route.r#match.value().and_then(|matching| matching.method.value()) else {
            return;
        };
        let store_post = section.store_post.span().filter(|_| flag(&section.store_post, false));
        for (option, span, needed) in [
            ("store_post", store_post, &[Method::GET, Method::POST][..]),
            ("query", section.query.span(), &[Method::QUERY]),
        ] {
            let missing =
                needed.iter().find(|needed| !items(methods).any(|(method, _)| method.0 == **needed));
            if let (Some(span), Some(missing)) = (span, missing) {
                problems
                    .add(span, format!("`{option}` has no effect: the route takes no {missing}"))
                    .help(format!("add {missing} to its methods, or leave this out"));
            }
        }
    }

    fn key(&self, section: &CacheSection, problems: &mut Problems) -> Option<Constructor> {
        // Unless the key has an id, routes do not share entries: the same fields may mean other things elsewhere.
        let id = self.route.name.value().map_or("", |name| name);
        let default = || Constructor::safe_default(id, flag(&section.drop_tracking, false));
        let Some(Given { span, value, .. }) = &section.key else { return Some(default()) };
        if let Some(tracking) = section.drop_tracking.span()
            && !matches!(value, Some(Either::First(name)) if **name == *DEFAULT)
        {
            problems
                .add(tracking, "`drop_tracking` is for the default key only")
                .note(*span, "this route has another")
                .help("in a key, write `query: { preset: tracking }`");
        }
        match value.as_ref()? {
            Either::First(name) => match self.keys.find(name, *span, problems)? {
                Found::Default => Some(default()),
                Found::Named(key) => {
                    for field in self.keys.fields(key)? {
                        self.check_captures(field, Some((*span, name)), problems);
                    }
                    self.keys.build(name, id, key)
                }
            },
            Either::Second(key) => {
                self.keys.check(key, *span, problems);
                for field in self.keys.fields(key)? {
                    self.check_captures(field, None, problems);
                }
                self.keys.build(&format!("route:{id}"), id, key)
            }
        }
    }

    /// Tells captures that a key is built from and the path does not have. A key with a name is right by itself, so
    /// there the route is pointed at.
    fn check_captures(&self, entry: &Named<KeyField>, named: Option<(Span, &Text)>, problems: &mut Problems) {
        let Some(captures) = self.captures else { return };
        let Some(names) = entry.value.as_ref().and_then(|field| field.path.value()) else { return };
        for (name, span) in items(names).filter(|(name, _)| ***name != *"*") {
            if captures.iter().any(|capture| **capture == **name) {
                continue;
            }
            let problem = match named {
                Some((route, key)) => problems
                    .add(
                        route,
                        format!(
                            "the key {} takes {} from the path, which does not capture it",
                            key.shown(),
                            name.shown()
                        ),
                    )
                    .note(span, "taken here"),
                None => problems.add(span, format!("the path does not capture {}", name.shown())),
            };
            if let Some(path) = self.route.r#match.value().map(|section| section.path.span()) {
                problem.note(path, "the path");
            }
            if !name.filled() {
                problem.suggest(name, captures.iter().map(|capture| &**capture));
            }
        }
    }

    fn body_tags(&self, section: &CacheSection, problems: &mut Problems) -> Arc<[BodyTag]> {
        let list = section.tags_from_body.value().map(|list| &**list).unwrap_or_default();
        if let (Some(span), Some(Either::Second(_))) = (section.tags_from_body.span(), section.ranges.value())
        {
            problems
                .add(span, "`tags_from_body` cannot go with slices: nobody reads the whole body")
                .help("leave one of them out; a tag in `Cache-Tag` goes with slices");
        }
        items(list).map(|(tag, _)| tag.0.clone()).collect()
    }

    /// `key`: `None` if it is wrong, so that nobody knows its fields.
    fn tags(
        &self,
        section: &CacheSection,
        key: Option<&Constructor>,
        problems: &mut Problems,
    ) -> Vec<Template> {
        let list = section.tags.value().map(|list| &**list).unwrap_or_default();
        let mut tags = Vec::new();
        for (template, place) in places(list) {
            if let (Some(captures), Some(key)) = (self.captures, key) {
                let parameters = || template.0.names().filter(|name| name.starts_with(PARAMETER));
                let fields: Vec<_> = key.partition_fields().map(|name| &**name).collect();
                let known = || captures.iter().map(|capture| &**capture).chain(fields.iter().copied());
                let known = || known().chain(parameters());
                let missing = ("route", "capture or partition field");
                tell_unknown_holes(template, place, missing, known, problems);
            }
            tags.push(template.0.clone());
        }
        tags
    }
}

fn ttl(section: &CacheSection, problems: &mut Problems) -> TtlPolicy {
    let words = match section.ttl.value() {
        None => return TtlPolicy::default(),
        Some(Either::First(default)) => {
            return TtlPolicy { default: Some(default.0), ..TtlPolicy::default() };
        }
        Some(Either::Second(words)) => words,
    };
    check_ttl(words, problems);
    let value = |word: &Optional<Word<Duration>>| word.value().map(|word| word.0);
    TtlPolicy {
        default: value(&words.default),
        min: value(&words.min),
        max: value(&words.max),
        overriding: value(&words.r#override),
        by_status: by_status(&words.by_status, problems),
        jitter: share(&words.jitter),
    }
}

fn share(key: &Optional<Word<Percent>>) -> f64 {
    key.value().map_or(0.0, |percent| f64::from(percent.0.0) / 100.0)
}

/// Codes before classes.
fn by_status(
    given: &Optional<Entries<Word<Duration>>>,
    problems: &mut Problems,
) -> Vec<(RangeInclusive<u16>, Duration)> {
    let mut lifetimes: Vec<(RangeInclusive<u16>, Duration)> = Vec::new();
    for (entry, lifetime) in entries(given) {
        match Statuses::parse(&entry.name) {
            Ok(Statuses(codes)) => lifetimes.push((codes, lifetime.0)),
            Err(refusal) => {
                problems.add(entry.name_span, refusal.message).help("write it like 404 or 5xx");
            }
        }
    }
    lifetimes.sort_by_key(|(codes, _)| codes.len());
    lifetimes
}

fn check_ttl(words: &Ttl, problems: &mut Problems) {
    let mut check = |shorter: (&str, &Optional<Word<Duration>>),
                     longer: (&str, &Optional<Word<Duration>>),
                     at_longer: bool| {
        let (Some(Given { span: a, value: Some(short), .. }), Some(Given { span: b, value: Some(long), .. })) =
            (shorter.1, longer.1)
        else {
            return;
        };
        if short.0 <= long.0 {
            return;
        }
        let (span, other, note) = if at_longer { (*b, *a, shorter.0) } else { (*a, *b, longer.0) };
        problems
            .add(span, format!("`{}` is longer than `{}`", shorter.0, longer.0))
            .note(other, format!("`{note}` is here"));
    };
    check(("min", &words.min), ("max", &words.max), false);
    check(("default", &words.default), ("max", &words.max), false);
    check(("min", &words.min), ("default", &words.default), true);
    let Some(overriding) = words.r#override.span() else { return };
    for (word, given) in [("default", &words.default), ("min", &words.min), ("max", &words.max)] {
        if let Some(span) = given.span() {
            problems
                .add(span, format!("`{word}` has no effect beside `override`"))
                .note(overriding, "this applies to every response")
                .help("leave one of them out");
        }
    }
}

fn store_condition(
    given: &Optional<StoreConditionSection>,
    problems: &mut Problems,
) -> Option<StoreCondition> {
    let Given { span, value, .. } = given.as_ref()?;
    let section = value.as_ref()?;
    if section.status.is_none() && section.content_type.is_none() && section.headers.is_none() {
        problems
            .add(*span, "this condition holds for every response")
            .help("leave it out, or write `cache: off`");
    }
    let status = section.status.value().map(|list| &**list).unwrap_or_default();
    let types = section.content_type.value().map(|list| &**list).unwrap_or_default();
    for (media_type, span) in items(types) {
        let known = media_type.split_once('/').is_some_and(|(kind, subtype)| {
            let token = |text: &str| !text.is_empty() && !text.contains(['/', ';', ' ', ',']);
            token(kind) && token(subtype) && (kind != "*" || subtype == "*")
        });
        if !known {
            problems
                .add(span, format!("{} is not a media type", media_type.shown()))
                .help("write it like text/html or image/*, without parameters");
        }
    }
    Some(StoreCondition {
        status: items(status).flat_map(|(status, _)| status.0.0.clone()).collect(),
        content_type: items(types).map(|(media_type, _)| media_type.to_string()).collect(),
        headers: field_conditions(&section.headers, problems),
    })
}

/// How much content a QUERY may have if nobody says otherwise, in bytes.
/// The smallest slice.
const MIN_SLICE_BYTES: u64 = 4 * KIB;

const DEFAULT_MAX_QUERY_BYTES: u64 = 64 * 1024;

/// What responses show unless the file says otherwise.
const SHOWN: StatusFields = StatusFields {
    x_cache: true,
    cached_at: true,
    reset_at: true,
    cache_status: true,
    audience: StatusFieldsAudience::Everyone,
};

fn status_fields(given: &Optional<StatusFieldsSection>, defaults: StatusFields) -> StatusFields {
    let Some(section) = given.value() else { return defaults };
    StatusFields {
        x_cache: flag(&section.x_cache, defaults.x_cache),
        cached_at: flag(&section.cached_at, defaults.cached_at),
        reset_at: flag(&section.reset_at, defaults.reset_at),
        cache_status: flag(&section.cache_status, defaults.cache_status),
        audience: section.show_to.value().map_or(defaults.audience, |audience| match audience {
            ShowTo::Everyone => StatusFieldsAudience::Everyone,
            ShowTo::TokenHolders => StatusFieldsAudience::TokenHolders,
            ShowTo::Nobody => StatusFieldsAudience::Nobody,
        }),
    }
}

impl KeyOfRoute {
    /// The names of the partition's fields on a route with these captures.
    pub(super) fn partition(&self, captures: Option<&[String]>) -> Option<Vec<String>> {
        let Self::Built(key) = self else { return None };
        let mut names: Vec<String> = key.partition_fields().map(|name| name.as_ref().to_owned()).collect();
        if key.is_partitioned_by_captures() {
            names.extend(captures?.iter().cloned());
        }
        Some(names)
    }
}
