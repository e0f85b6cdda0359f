//! From what people name to tags: what a target stands for, and what a stored response carries. PURE.
//!
//! The two halves belong together: a purge reaches exactly what was given the tag that it names.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use http::Uri;
use strsim::jaro_winkler;

use super::like::{of_url, response_pattern};
use super::sharing::{is_read_alike, is_shared_with_host, may_be_served_under_another, rules, sharing};
use super::{Pattern, Tag, Target};
use crate::clock::Timestamp;
use crate::keys::{Constructor, Key, MAX_READINGS};
use crate::routes::{CacheRule, Hole, Route, Table};
use crate::uri;

/// Why a target cannot be purged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PurgeError {
    /// It names something that the configuration does not have.
    #[error("no {kind} is called {name:?}{}", hint.as_ref().map(|hint| format!("; did you mean {hint:?}?")).unwrap_or_default())]
    Unknown {
        /// Route, key, namespace or partition field.
        kind: &'static str,
        /// As it was named.
        name: String,
        /// What was probably meant.
        hint: Option<String>,
    },
    /// It cannot be understood; what to do.
    #[error("{0}")]
    Invalid(String),
}

/// All tags of a response that is being stored: by URL, host, key, namespace and partition, and those of the
/// application. `resource` as [`Constructor::resource`] makes it.
pub fn tags_of(
    key: &Key,
    constructor: &Constructor,
    resource: &str,
    host: &str,
    application: impl Iterator<Item = String>,
) -> Vec<Tag> {
    let mut tags = vec![
        Tag::url(resource),
        Tag::host(host),
        // Who names no port means all of them.
        Tag::host(uri::without_port(host)),
        // By id: constructors of one id share what is stored, so each of them names all of it.
        Tag::key(&constructor.id),
    ];
    if !constructor.namespace.is_empty() {
        tags.push(Tag::namespace(&constructor.namespace));
    }
    // A route needs none: what names it, or a partition of it, names that of all that share what is stored.
    tags.extend(partitions(key).into_iter().map(|part| Tag::partition(&constructor.id, part)));
    tags.extend(application.map(|tag| Tag::application(&tag)));
    tags
}

/// How many partitions a response can be listed in.
const MAX_PARTITIONS: usize = 64;

/// What a purge can name: each field, and all of them together, in every reading. Where that is too many, the partition
/// that has no field, which every purge of one names as well ([`UNLISTED`]).
fn partitions(key: &Key) -> Vec<Vec<(&str, &str)>> {
    let mut fields: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (name, value) in &*key.partition {
        fields.entry(name).or_default().insert(value);
    }
    let together = fields.values().map(BTreeSet::len).fold(1, usize::saturating_mul);
    let is_listed = together <= MAX_PARTITIONS && fields.values().all(|values| values.len() <= MAX_READINGS);
    if !is_listed {
        return vec![UNLISTED.to_vec()];
    }
    let each = fields.iter().flat_map(|(name, values)| values.iter().map(|value| vec![(*name, *value)]));
    let mut all: Vec<Vec<(&str, &str)>> = (fields.len() > 1).then(Vec::new).into_iter().collect();
    for (name, values) in &fields {
        let with = |known: &Vec<(_, _)>, value| [known.as_slice(), &[(*name, value)]].concat();
        all = all.iter().flat_map(|known| values.iter().map(|value| with(known, *value))).collect();
    }
    each.chain(all).collect()
}

/// The partition of what is in too many to list them. A target always has a field.
const UNLISTED: [(&str, &str); 0] = [];

/// The tags of a response that its origin has given these groups. What its key does not tell apart is one origin: a
/// response that stands for every host is in the groups of all of them.
pub fn tags_of_groups<'a>(
    constructor: &Constructor,
    scheme: &'a str,
    host: &'a str,
    groups: &'a [String],
) -> impl Iterator<Item = Tag> + use<'a> {
    let scheme = constructor.has_scheme().then_some(scheme);
    let host = constructor.has_host().then_some(host);
    groups.iter().map(move |group| Tag::group(scheme, host, group))
}

/// The tags that these groups of an origin stand for: whatever [`tags_of_groups`] may have given.
pub fn tags_of_invalidated_groups(scheme: &str, host: &str, groups: &[String]) -> Vec<Tag> {
    let scopes = [(Some(scheme), Some(host)), (Some(scheme), None), (None, Some(host)), (None, None)];
    let tags = groups.iter().flat_map(|group| scopes.map(|(scheme, host)| Tag::group(scheme, host, group)));
    tags.collect()
}

/// What a target stands for.
#[derive(Clone, Debug)]
pub(super) enum Named {
    /// What carries any of these tags.
    Tags(Vec<Tag>),
    /// What is like this.
    Like(Pattern<Tag>),
    /// All of it.
    Everything,
}

/// What a target stands for. `now`: what ages are counted back from.
pub(super) fn named(target: &Target, table: &Table, now: Timestamp) -> Result<Named, PurgeError> {
    let groups =
        |tags: &[String]| tags.iter().map(|tag| named_by_application(tag, table)).collect::<Result<_, _>>();
    Ok(match target {
        Target::Everything => Named::Everything,
        Target::AllTags(tags) if tags.len() > 1 => {
            Named::Like(Pattern { groups: groups(tags)?, ..Pattern::default() })
        }
        Target::Prefix(text) => Named::Like(of_url(text, "*", table)?),
        Target::Glob(text) => Named::Like(of_url(text, "", table)?),
        Target::RoutePartition { route, values } => {
            let route = known_route(route, table)?;
            let Some(rule) = &route.cache else {
                return Err(PurgeError::Invalid(format!("the route {:?} does not cache", route.name)));
            };
            partly(target, values, &[partition_fields(route, rule)], table)?
        }
        Target::KeyPartition { key, values } => {
            partly(target, values, &partitions_of_keys(&known_keys(key, table)?, table), table)?
        }
        Target::Where(target, like) => {
            let response = Some(response_pattern(like, now)?);
            Named::Like(match named(target, table, now)? {
                Named::Everything => Pattern { response, ..Pattern::default() },
                Named::Tags(tags) => Pattern { groups: vec![tags], response, ..Pattern::default() },
                Named::Like(pattern) => Pattern { response, ..pattern },
            })
        }
        _ => Named::Tags(tags_named(target, table)?),
    })
}

/// A partition of which some fields are named is what agrees in each of them.
fn partly(
    target: &Target,
    values: &BTreeMap<String, String>,
    partitions: &[BTreeSet<&str>],
    table: &Table,
) -> Result<Named, PurgeError> {
    check_partition(partitions, values)?;
    if is_listed(partitions, values) {
        return tags_named(target, table).map(Named::Tags);
    }
    let of_one = |(name, value): (&String, &String)| {
        let values = BTreeMap::from([(name.clone(), value.clone())]);
        match target {
            Target::RoutePartition { route, .. } => {
                tags_named(&Target::RoutePartition { route: route.clone(), values }, table)
            }
            Target::KeyPartition { key, .. } => {
                tags_named(&Target::KeyPartition { key: key.clone(), values }, table)
            }
            _ => Ok(Vec::new()),
        }
    };
    let groups = values.iter().map(of_one).collect::<Result<_, _>>()?;
    Ok(Named::Like(Pattern { groups, ..Pattern::default() }))
}

fn named_by_application(tag: &str, table: &Table) -> Result<Vec<Tag>, PurgeError> {
    if tag.is_empty() {
        return Err(PurgeError::Invalid("the tag is empty".into()));
    }
    Ok(tags_of_application(tag, table))
}

/// The tags that a target stands for which has any.
fn tags_named(target: &Target, table: &Table) -> Result<Vec<Tag>, PurgeError> {
    Ok(match target {
        Target::Url(url) => {
            let (host, path, query) = split_url(url)?;
            tags_of_uri(table, &host, &path, query.as_deref())
        }
        Target::Tag(tag) => named_by_application(tag, table)?,
        Target::AnyTag(tags) | Target::AllTags(tags) => {
            let mut all = Vec::new();
            for tag in tags {
                all.extend(named_by_application(tag, table)?);
            }
            all
        }
        Target::Host(host) => tags_of_host(host, table)?,
        Target::Route(name) => {
            let route = known_route(name, table)?;
            // What it stores is served on all routes that share it.
            route.cache.iter().map(|rule| Tag::key(&rule.key.id)).collect()
        }
        Target::RoutePartition { route, values } => {
            let route = known_route(route, table)?;
            let Some(rule) = &route.cache else {
                return Err(PurgeError::Invalid(format!("the route {:?} does not cache", route.name)));
            };
            tags_of_partition(&rule.key, values, table)
        }
        Target::Key(name) => known_keys(name, table)?.iter().map(|key| Tag::key(&key.id)).collect(),
        Target::KeyPartition { key, values } => {
            let constructors = known_keys(key, table)?.into_iter();
            constructors.flat_map(|constructor| tags_of_partition(constructor, values, table)).collect()
        }
        Target::Namespace(name) => {
            // Constructors without a namespace are in none.
            let namespaces = rules(table).map(|(_, rule)| &*rule.key.namespace);
            let namespaces: BTreeSet<_> = namespaces.filter(|known| !known.is_empty()).collect();
            if !namespaces.contains(name.as_str()) {
                return Err(unknown("namespace", name, namespaces));
            }
            vec![Tag::namespace(name)]
        }
        Target::Prefix(_) | Target::Glob(_) | Target::Where(..) | Target::Everything => Vec::new(),
    })
}

/// The tags of what has these values in its partition, and is stored under keys of this constructor or of one that shares its id.
fn tags_of_partition(
    constructor: &Constructor,
    values: &BTreeMap<String, String>,
    table: &Table,
) -> Vec<Tag> {
    let id = &constructor.id;
    if !is_read_alike(constructor, table) {
        return vec![Tag::key(id)];
    }
    let spellings = spellings(id, values, table);
    let named = spellings.iter().map(|values| Tag::partition(id, pairs(values)));
    named.chain([Tag::partition(id, UNLISTED)]).collect()
}

/// The partitions of what is stored under these. Where captures are the partition, each route has fields of its own.
fn partitions_of_keys<'t>(constructors: &[&Arc<Constructor>], table: &'t Table) -> Vec<BTreeSet<&'t str>> {
    let is_shared = |id: &str| constructors.iter().any(|constructor| *constructor.id == *id);
    let sharing = rules(table).filter(|(_, rule)| is_shared(&rule.key.id));
    sharing.map(|(route, rule)| partition_fields(route, rule)).collect()
}

/// The tags of whatever any route may have stored for a URI. `host` and `path` are normalised.
pub(super) fn tags_of_uri(table: &Table, host: &str, path: &str, query: Option<&str>) -> Vec<Tag> {
    let mut tags = Vec::new();
    for (route, captures) in table.candidates(host, path) {
        let Some(rule) = &route.cache else { continue };
        let tag = if is_read_alike(&rule.key, table) {
            Tag::url(&rule.key.resource(host, path, query, &captures))
        } else {
            Tag::key(&rule.key.id)
        };
        // Which of them it is served for, only each stored response knows.
        let any_query =
            rule.no_vary_search.then(|| Tag::any_query(&rule.key.resource(host, path, None, &captures)));
        for tag in [Some(tag), any_query].into_iter().flatten() {
            if !tags.contains(&tag) {
                tags.push(tag);
            }
        }
    }
    tags
}

/// What carries the tag, and what may be served where a route's template makes it.
fn tags_of_application(tag: &str, table: &Table) -> Vec<Tag> {
    let mut tags = vec![Tag::application(tag)];
    for (route, rule) in rules(table) {
        for template in rule.tags.iter().filter(|template| template.could_be(tag)) {
            let unlisted =
                Some(Tag::template(&template.to_string())).filter(|_| Hole::may_be_many(template, route));
            let whole = Some(Tag::key(&rule.key.id))
                .filter(|_| may_be_served_under_another(template, (route, rule), table));
            for tag in [unlisted, whole].into_iter().flatten() {
                if !tags.contains(&tag) {
                    tags.push(tag);
                }
            }
        }
    }
    tags
}

/// What was fetched for the host, and what may be served for it though it was fetched for another.
fn tags_of_host(host: &str, table: &Table) -> Result<Vec<Tag>, PurgeError> {
    // Which port is the default depends on the scheme, which is not named here.
    let normal = uri::normalize_authority(host, "http");
    let normal = normal.map_err(|why| PurgeError::Invalid(format!("{host:?}: {why}; write example.com")))?;
    Ok(tags_of_normal_host(&normal, table))
}

/// The same for a host that is normalised.
pub(super) fn tags_of_normal_host(host: &str, table: &Table) -> Vec<Tag> {
    let host = uri::without_default_port(host);
    let mut tags = vec![Tag::host(host)];
    for (_, rule) in rules(table).filter(|(_, rule)| is_shared_with_host(&rule.key, host, table)) {
        let tag = Tag::key(&rule.key.id);
        if !tags.contains(&tag) {
            tags.push(tag);
        }
    }
    tags
}

fn known_route<'t>(name: &str, table: &'t Table) -> Result<&'t Arc<Route>, PurgeError> {
    let names = || table.routes().iter().map(|route| &*route.name);
    table.by_name(name).ok_or_else(|| unknown("route", name, names()))
}

/// The constructors of a name: one for each route that uses it, unless they share an id.
fn known_keys<'t>(name: &str, table: &'t Table) -> Result<Vec<&'t Arc<Constructor>>, PurgeError> {
    let keys = || rules(table).map(|(_, rule)| &rule.key);
    let mut found: Vec<&Arc<Constructor>> = Vec::new();
    for key in keys().filter(|key| *key.name == *name) {
        if !found.iter().any(|known| known.id == key.id) {
            found.push(key);
        }
    }
    if found.is_empty() {
        return Err(unknown("key", name, keys().map(|key| &*key.name)));
    }
    Ok(found)
}

/// How many fields a partition may have for every mixture of spellings to be named.
const MAX_MIXED_FIELDS: usize = 6;

/// The values as they were given, and as the steps of the keys with this id make them: who purges may have either in
/// hand, and naming what is not there costs nothing.
fn spellings(id: &str, values: &BTreeMap<String, String>, table: &Table) -> Vec<BTreeMap<String, String>> {
    let mut spellings = vec![BTreeMap::new()];
    for (number, (name, given)) in values.iter().enumerate() {
        let made: BTreeSet<String> =
            sharing(table, id).map(|(_, rule)| rule.key.partition_value(name, given)).collect();
        let as_given = Some(given).filter(|given| number < MAX_MIXED_FIELDS && !made.contains(*given));
        let forms: Vec<&String> = as_given.into_iter().chain(&made).collect();
        spellings = forms
            .iter()
            .flat_map(|form| {
                spellings.iter().map(|known| {
                    let mut spelling = known.clone();
                    spelling.insert(name.clone(), (*form).clone());
                    spelling
                })
            })
            .collect();
    }
    spellings
}

/// The fields that partition what a route stores.
fn partition_fields<'t>(route: &'t Route, rule: &'t CacheRule) -> BTreeSet<&'t str> {
    let own = rule.key.partition_fields().map(|name| &**name);
    let captures = route.matching.path.captures().filter(|_| rule.key.is_partitioned_by_captures());
    own.chain(captures).collect()
}

/// Fields that some partition has, all of them. Anything else would match nothing and be believed to have worked.
fn check_partition(
    partitions: &[BTreeSet<&str>],
    values: &BTreeMap<String, String>,
) -> Result<(), PurgeError> {
    if values.is_empty() {
        return Err(PurgeError::Invalid("the partition names no field".into()));
    }
    let known = || partitions.iter().flatten().copied();
    if let Some(name) = values.keys().find(|name| !known().any(|known| known == *name)) {
        return Err(unknown("partition field", name, known()));
    }
    let has_all = |partition: &BTreeSet<&str>| values.keys().all(|name| partition.contains(name.as_str()));
    if partitions.iter().any(has_all) {
        return Ok(());
    }
    let lists: BTreeSet<_> = partitions.iter().collect();
    let lists: Vec<_> =
        lists.into_iter().map(|list| list.iter().copied().collect::<Vec<_>>().join(" and ")).collect();
    let why = format!("no partition has all of these fields; there are: {}", lists.join(", or "));
    Err(PurgeError::Invalid(why))
}

/// Whether stored responses have a tag for these fields: for each by itself, and for all of a partition.
fn is_listed(partitions: &[BTreeSet<&str>], values: &BTreeMap<String, String>) -> bool {
    let is_all = |partition: &BTreeSet<&str>| partition.iter().copied().eq(values.keys().map(String::as_str));
    values.len() == 1 || partitions.iter().any(is_all)
}

fn pairs(values: &BTreeMap<String, String>) -> impl Iterator<Item = (&str, &str)> {
    values.iter().map(|(name, value)| (name.as_str(), value.as_str()))
}

fn unknown<'n>(kind: &'static str, name: &str, known: impl IntoIterator<Item = &'n str>) -> PurgeError {
    let likeness = |known: &&str| jaro_winkler(name, known);
    let nearest = known.into_iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
    let hint = nearest.filter(|nearest| likeness(nearest) > 0.7).map(str::to_owned);
    PurgeError::Unknown { kind, name: name.to_owned(), hint }
}

/// Host, path and query of an absolute URL, normalised as those of a request are.
fn split_url(url: &str) -> Result<(String, String, Option<String>), PurgeError> {
    let invalid = |why: &str| PurgeError::Invalid(format!("{url:?}: {why}"));
    const EXAMPLE: &str = "write all of it, as in http://example.com/path";
    let parsed: Uri = url.parse().map_err(|_| invalid(&format!("it is not a URL; {EXAMPLE}")))?;
    let (scheme, authority) = match (parsed.scheme_str(), parsed.authority()) {
        (Some(scheme @ ("http" | "https")), Some(authority)) => (scheme, authority),
        (Some(_), _) => return Err(invalid("only http and https URLs are stored")),
        (None, _) => return Err(invalid(&format!("it has no scheme and host; {EXAMPLE}"))),
    };
    let host =
        uri::normalize_authority(authority.as_str(), scheme).map_err(|why| invalid(&why.to_string()))?;
    let path = uri::normalize_path(parsed.path()).map_err(|why| invalid(&why.to_string()))?;
    Ok((host.into_owned(), path.into_owned(), parsed.query().map(str::to_owned)))
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use http::{HeaderMap, HeaderName, Method};

    use super::*;
    use crate::clock::Timestamp;
    use crate::keys::{Field, KeyInput, Source};
    use crate::routes::Template;
    use crate::routes::{
        HostPattern, Match, PathPattern, Ranges, RouteQuery, StatusFields, StatusFieldsAudience,
    };
    use crate::semantics::Policy;

    fn route(name: &str, path: &str, key: Option<&Arc<Constructor>>) -> Arc<Route> {
        let status_fields = StatusFields {
            x_cache: true,
            cached_at: true,
            reset_at: true,
            cache_status: true,
            audience: StatusFieldsAudience::Everyone,
        };
        let cache = key.map(|key| CacheRule {
            key: Arc::clone(key),
            policy: Policy::default(),
            tags: Vec::new(),
            body_tags: Arc::default(),
            store_if: None,
            store_unless: None,
            store_post: false,
            query: None,
            groups: true,
            no_vary_search: false,
            collapse: None,
            refresh_ahead: 0.0,
            ranges: Ranges::Forward,
            min_uses: 1,
        });
        let path = PathPattern::parse(path).unwrap();
        let matching = Match { hosts: Vec::new(), path, methods: Vec::new(), headers: Vec::new() };
        Arc::new(Route {
            name: name.into(),
            matching,
            upstream: 0,
            cache,
            status_fields,
            purge_from: None,
            takes_webhooks: false,
        })
    }

    fn constructor(name: &str, id: &str, partition: &[&str]) -> Arc<Constructor> {
        let fields = partition.iter().map(|&name| Field {
            name: name.into(),
            source: Source::Path(vec![name.into()]),
            partition: true,
            hash: false,
            sort: false,
            normalize: Vec::new(),
        });
        Arc::new(Constructor {
            name: name.into(),
            namespace: "pages".into(),
            id: id.into(),
            fields: fields.collect(),
            ..Constructor::safe_default("default", false)
        })
    }

    /// Two routes under the safe default key, two under constructors that share their id, one that caches nothing.
    fn table() -> Table {
        let default = |route| Arc::new(Constructor::safe_default(route, false));
        Table::new(vec![
            route("user", "/users/{user_id}", Some(&default("user"))),
            route("article", "/news/{year}/{slug}", Some(&default("article"))),
            route(
                "shop",
                "/shop/{item}/{size}/{colour}",
                Some(&constructor("shop", "goods", &["item", "size", "colour"])),
            ),
            route(
                "sale",
                "/sale/{item}/{size}/{colour}",
                Some(&constructor("sale", "goods", &["item", "size", "colour"])),
            ),
            route("raw", "/raw/{*rest}", None),
        ])
    }

    /// What is stored for a path carries these.
    fn carried(path: &str) -> Vec<Tag> {
        let (table, headers) = (table(), HeaderMap::new());
        let request = RouteQuery { method: &Method::GET, host: "a.test", path, headers: &headers };
        let (route, captures) = table.find(request).unwrap();
        let constructor = &route.cache.as_ref().unwrap().key;
        let input = KeyInput {
            method: &Method::GET,
            scheme: "http",
            host: "a.test",
            path,
            query: None,
            headers: &headers,
            captures: &captures,
            client: IpAddr::V4(Ipv4Addr::LOCALHOST),
            now: Timestamp::default(),
        };
        let key = constructor.key(&input).unwrap();
        let resource = constructor.resource("a.test", path, None, &captures);
        tags_of(&key, constructor, &resource, "a.test", ["t".to_owned()].into_iter())
    }

    fn named(json: &str) -> Result<Vec<Tag>, String> {
        let target: Target = serde_json::from_str(json).unwrap();
        match super::named(&target, &table(), Timestamp::default()).map_err(|error| error.to_string())? {
            Named::Tags(tags) => Ok(tags),
            other => panic!("{json} is no list of tags: {other:?}"),
        }
    }

    fn like(json: &str) -> Pattern<Tag> {
        let target: Target = serde_json::from_str(json).unwrap();
        match super::named(&target, &table(), Timestamp::default()) {
            Ok(Named::Like(pattern)) => pattern,
            other => panic!("{json} is no pattern: {other:?}"),
        }
    }

    #[test]
    fn some_fields_of_a_partition_are_what_agrees_in_each() {
        let pattern = like(r#"{"key": "shop", "partition": {"item": "1", "size": "m"}}"#);
        let of =
            |name, value| vec![Tag::partition("goods", [(name, value)]), Tag::partition("goods", UNLISTED)];
        assert_eq!(pattern.groups, [of("item", "1"), of("size", "m")]);
    }

    #[test]
    fn a_pattern_of_urls_is_written_as_stored_ones_are() {
        for (target, host, expected) in [
            (r#"{"prefix": "http://A.test:80/%7eb"}"#, Some("a.test"), ("/~b*", false)),
            (r#"{"prefix": "/blog/"}"#, None, ("/blog/*", false)),
            (r#"{"prefix": "/blog?page="}"#, None, ("/blog", true)),
            (r#"{"glob": "https://*.a.test/*/edit?x=*"}"#, Some("*.a.test"), ("/*/edit", true)),
        ] {
            let url = like(target).url.unwrap();
            assert_eq!((url.host.as_deref(), (&*url.target, url.any_query)), (host, expected), "{target}");
        }
    }

    #[test]
    fn what_narrows_a_target_narrows_what_it_names() {
        let pattern = like(r#"{"route": "user", "where": {"status": 404}}"#);
        assert_eq!((pattern.groups.len(), pattern.url.is_none()), (1, true));
        assert_eq!(pattern.response.unwrap().condition.status, [404]);
        let pattern = like(r#"{"prefix": "/a", "where": {"older_than": "0s"}}"#);
        assert!(pattern.url.is_some() && pattern.response.unwrap().received_before.is_some());
        let pattern = like(r#"{"all_tags": ["a", "b"]}"#);
        assert_eq!(pattern.groups.len(), 2);
    }

    #[test]
    fn a_target_reaches_what_it_names_and_nothing_else() {
        let paths = ["/users/1", "/users/2", "/news/2026/a", "/shop/1/m/red", "/sale/1/m/blue"];
        for (target, reached) in [
            (r#"{"url": "http://a.test/users/1"}"#, &["/users/1"][..]),
            (r#"{"url": "https://A.test/users/%31"}"#, &["/users/1"]),
            (r#"{"url": "http://b.test/users/1"}"#, &[]),
            (r#"{"url": "http://a.test/raw/1"}"#, &[]),
            (r#"{"tag": "t"}"#, &paths),
            (r#"{"tag": "T"}"#, &[]),
            (r#"{"host": "A.test.:80"}"#, &paths),
            (r#"{"host": "a.test:443"}"#, &paths),
            // Their key has no host.
            (r#"{"host": "b.test"}"#, &["/shop/1/m/red", "/sale/1/m/blue"]),
            (r#"{"route": "user"}"#, &["/users/1", "/users/2"]),
            (r#"{"route": "user", "partition": {"user_id": "2"}}"#, &["/users/2"]),
            (r#"{"key": "default", "partition": {"user_id": "2"}}"#, &["/users/2"]),
            (r#"{"key": "default", "partition": {"slug": "a", "year": "2026"}}"#, &["/news/2026/a"]),
            (r#"{"key": "default"}"#, &["/users/1", "/users/2", "/news/2026/a"]),
            (r#"{"namespace": "pages"}"#, &["/shop/1/m/red", "/sale/1/m/blue"]),
            // What is stored under a shared id is everybody's who shares it.
            (r#"{"route": "shop", "partition": {"item": "1"}}"#, &["/shop/1/m/red", "/sale/1/m/blue"]),
            (r#"{"route": "shop", "partition": {"item": "2"}}"#, &[]),
            (r#"{"key": "sale"}"#, &["/shop/1/m/red", "/sale/1/m/blue"]),
            (r#"{"key": "sale", "partition": {"item": "1"}}"#, &["/shop/1/m/red", "/sale/1/m/blue"]),
            (
                r#"{"key": "shop", "partition": {"colour": "red", "item": "1", "size": "m"}}"#,
                &["/shop/1/m/red"],
            ),
        ] {
            let named = named(target).unwrap();
            let matched: Vec<_> = paths
                .into_iter()
                .filter(|path| carried(path).iter().any(|tag| named.contains(tag)))
                .collect();
            assert_eq!(matched, reached, "{target}");
        }
    }

    #[test]
    fn what_is_served_on_another_route_or_host_is_reached_by_its_names() {
        let field = |name: &str, source, partition| Field {
            name: name.into(),
            source,
            partition,
            hash: false,
            sort: false,
            normalize: Vec::new(),
        };
        let key = |name: &str, id: &str, source| {
            let mut fields = vec![field("id", source, true)];
            if id != "anywhere" {
                fields.push(field("host", Source::Host, false));
            }
            Arc::new(Constructor {
                name: name.into(),
                id: id.into(),
                fields,
                ..Constructor::safe_default(id, false)
            })
        };
        let capture = || Source::Path(vec!["id".into()]);
        let header = Source::Header(HeaderName::from_static("x-id"));
        let tagged = |mut route: Arc<Route>, template: &str, host: &str| {
            let own = Arc::get_mut(&mut route).unwrap();
            own.cache.as_mut().unwrap().tags.push(Template::parse(template).unwrap());
            own.matching.hosts.extend((!host.is_empty()).then(|| HostPattern::parse(host).unwrap()));
            route
        };
        let alike = [key("one", "alike", capture()), key("two", "alike", capture())];
        let mixed = [key("path", "mixed", capture()), key("field", "mixed", header)];
        let anywhere = key("anywhere", "anywhere", capture());
        let table = Table::new(vec![
            tagged(route("one", "/one/{id}", Some(&alike[0])), "one:{id}", ""),
            tagged(route("two", "/two/{id}", Some(&alike[1])), "two:{id}", ""),
            tagged(route("path", "/path/{id}", Some(&mixed[0])), "path:{id}", ""),
            tagged(route("field", "/field", Some(&mixed[1])), "field", ""),
            tagged(route("any", "/any/{lang}/{id}", Some(&anywhere)), "lang:{lang}", "*.any.test"),
        ]);
        let partition = || vec![Tag::partition("alike", [("id", "5")]), Tag::partition("alike", UNLISTED)];
        for (target, expected) in [
            (r#"{"route": "two"}"#, vec![Tag::key("alike")]),
            (r#"{"route": "one", "partition": {"id": "5"}}"#, partition()),
            (r#"{"key": "two", "partition": {"id": "5"}}"#, partition()),
            // What is told of the one tells nothing of the other.
            (r#"{"route": "path", "partition": {"id": "5"}}"#, vec![Tag::key("mixed")]),
            (r#"{"key": "field", "partition": {"id": "5"}}"#, vec![Tag::key("mixed")]),
            (r#"{"url": "http://a.test/path/5"}"#, vec![Tag::key("mixed")]),
            (r#"{"tag": "path:5"}"#, vec![Tag::application("path:5"), Tag::key("mixed")]),
            // Routes that read alike carry each other's tags.
            (r#"{"tag": "two:5"}"#, vec![Tag::application("two:5")]),
            (r#"{"tag": "lang:fr"}"#, vec![Tag::application("lang:fr"), Tag::key("anywhere")]),
            (r#"{"host": "b.any.test"}"#, vec![Tag::host("b.any.test"), Tag::key("anywhere")]),
            (r#"{"host": "other.test"}"#, vec![Tag::host("other.test")]),
        ] {
            let target: Target = serde_json::from_str(target).unwrap();
            assert_eq!(tags_named(&target, &table).unwrap(), expected, "{target}");
        }
    }

    #[test]
    fn equivalent_urls_and_hosts_are_purged_together() {
        let table = Table::new(vec![route(
            "all",
            "/{*rest}",
            Some(&Arc::new(Constructor::safe_default("all", false))),
        )]);
        let tags = |host: &str, path: &str, query: Option<&str>| {
            let (route, captures) = table.candidates(host, path).remove(0);
            let constructor = &route.cache.as_ref().unwrap().key;
            let key = Key { text: "k".into(), partition: Arc::default() };
            let resource = constructor.resource(host, path, query, &captures);
            tags_of(&key, constructor, &resource, host, std::iter::empty())
        };
        let reaches = |target: Target, carried: &[Tag]| {
            let named = tags_named(&target, &table).unwrap();
            named.iter().any(|tag| carried.contains(tag))
        };
        for (host, query, url) in [
            ("a.test", Some("q=%C3%A9"), "http://a.test/s?q=%c3%a9"),
            ("a.test", Some("q=%C3%A9"), "http://a.test/s?q=\u{e9}"),
            ("a.test", Some("q=~me"), "http://a.test/s?%71=%7eme"),
            ("a.test", Some("q=a+b"), "http://a.test/s?q=a%20b"),
            ("a.test", Some(""), "http://a.test/s"),
            ("a.test", None, "http://a.test/s?"),
            ("a.test", None, "http://A.TEST.:80/s"),
            ("a.test:443", None, "https://a.test/s"),
            ("a.test", None, "http://a.test:443/s"),
            ("a.test:80", None, "http://a.test/s"),
            ("[::1]", None, "http://[0:0:0:0:0:0:0:1]/s"),
        ] {
            assert!(reaches(Target::Url(url.into()), &tags(host, "/s", query)), "{url}");
        }
        for (host, query, url) in [
            ("a.test", Some("q=a%2Bb"), "http://a.test/s?q=a+b"),
            ("a.test", Some("q=a%26b"), "http://a.test/s?q=a&b"),
            ("a.test", Some("q=a%3Db"), "http://a.test/s?q%3Da=b"),
            ("a.test:8080", None, "http://a.test/s"),
        ] {
            assert!(!reaches(Target::Url(url.into()), &tags(host, "/s", query)), "{url}");
        }
        for (host, named, reached) in [
            ("a.test:8080", "a.test", true),
            ("a.test:8080", "a.test:8080", true),
            ("a.test:443", "a.test:443", true),
            ("a.test", "a.test.", true),
            ("[::1]:8080", "[0::1]", true),
            ("a.test:8080", "a.test:8081", false),
            ("a.test", "a.test:8080", false),
        ] {
            assert_eq!(reaches(Target::Host(named.into()), &tags(host, "/s", None)), reached, "{named}");
        }
    }

    #[test]
    fn a_response_is_in_every_partition_that_its_fields_can_be_read_as() {
        let key = |partition: &[(&str, &str)]| {
            let partition = partition.iter().map(|&(name, value)| (name.into(), value.to_owned())).collect();
            partitions(&Key { text: "k".into(), partition })
                .iter()
                .map(|part| part.iter().map(|(name, value)| format!("{name}={value} ")).collect::<String>())
                .collect::<String>()
        };
        assert_eq!(key(&[]), "");
        assert_eq!(key(&[("a", "1")]), "a=1 ");
        assert_eq!(key(&[("a", "1"), ("a", "2")]), "a=1 a=2 ");
        assert_eq!(key(&[("a", "1"), ("a", "2"), ("b", "3"), ("b", "3")]), "a=1 a=2 b=3 a=1 b=3 a=2 b=3 ");
        let many: Vec<_> = (0..=MAX_READINGS).map(|n| n.to_string()).collect();
        let many: Vec<_> = many.iter().map(|value| ("a", &**value)).collect();
        let unlisted = |fields| {
            let key = Key { text: "k".into(), partition: fields };
            partitions(&key) == [UNLISTED.to_vec()]
        };
        let fields = |pairs: &[(&str, &str)]| -> Arc<[_]> {
            pairs.iter().map(|&(name, value)| (name.into(), value.to_owned())).collect()
        };
        assert!(unlisted(fields(&many)));
        assert!(!unlisted(fields(&many[1..])));
        let second: Vec<_> = many.iter().skip(1).map(|&(_, value)| ("b", value)).collect();
        assert!(unlisted(fields(&[&many[1..], &second].concat())));
    }

    #[test]
    fn what_would_match_nothing_and_be_believed_is_refused() {
        for (target, reason) in [
            (r#"{"route": "usr"}"#, "no route is called \"usr\"; did you mean \"user\"?"),
            (r#"{"route": "qqq"}"#, "no route is called \"qqq\""),
            (r#"{"key": "shopp"}"#, "no key is called \"shopp\"; did you mean \"shop\"?"),
            (r#"{"namespace": "page"}"#, "no namespace is called \"page\"; did you mean \"pages\"?"),
            (r#"{"namespace": ""}"#, "no namespace is called \"\""),
            (r#"{"tag": ""}"#, "the tag is empty"),
            (r#"{"all_tags": ["a", ""]}"#, "the tag is empty"),
            (r#"{"prefix": "blog"}"#, "\"blog\": it is neither absolute nor a path; "),
            (r#"{"glob": "ftp://a.test/*"}"#, "\"ftp://a.test/*\": only http and https URLs are stored; "),
            (r#"{"prefix": "http://a.test"}"#, "\"http://a.test\": it has no path; "),
            (r#"{"tag": "a", "where": {"fields": {"a b": true}}}"#, "\"a b\" is no field name"),
            (r#"{"host": "a b"}"#, "\"a b\": it is not a host with an optional port; write example.com"),
            (
                r#"{"route": "user", "partition": {"userid": "1"}}"#,
                "no partition field is called \"userid\"; did you mean \"user_id\"?",
            ),
            (r#"{"route": "raw", "partition": {"rest": "1"}}"#, "the route \"raw\" does not cache"),
            // No stored response has all of these: they are of two routes.
            (
                r#"{"key": "default", "partition": {"user_id": "1", "year": "2026", "slug": "a"}}"#,
                "no partition has all of these fields; there are: ",
            ),
            (
                r#"{"route": "article", "partition": {"user_id": "1"}}"#,
                "no partition field is called \"user_id\"",
            ),
        ] {
            let error = named(target).unwrap_err();
            assert!(error.starts_with(reason), "{target}: {error}");
        }
    }

    #[test]
    fn a_url_is_taken_apart_as_a_request_is() {
        let split = |url| split_url(url).map(|(host, path, query)| format!("{host} {path} {query:?}"));
        assert_eq!(split("http://A.test:80/a/../%7eb?c=%7e#d"), Ok("a.test /~b Some(\"c=%7e\")".into()));
        assert_eq!(split("https://a.test"), Ok("a.test / None".into()));
        for (bad, reason) in [
            ("/a", "it has no scheme and host"),
            ("a.test/a", "write all of it"),
            ("nonsense", "write all of it"),
            ("http://", "write all of it"),
            ("http://a b/", "write all of it"),
            ("ftp://a.test/", "only http and https"),
            ("http://u@a.test/", "not a host"),
            ("http://a.test/%zz", "two hexadecimal digits"),
        ] {
            let error = split(bad).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
    }

    #[test]
    fn a_key_that_several_routes_use_is_purged_on_all_of_them() {
        let (one, other) = (constructor("page", "one", &["a"]), constructor("page", "other", &["a"]));
        let table =
            Table::new(vec![route("one", "/1/{a}", Some(&one)), route("other", "/2/{a}", Some(&other))]);
        let whole = tags_named(&Target::Key("page".into()), &table).unwrap();
        assert_eq!(whole, [Tag::key("one"), Tag::key("other")]);
        let values = BTreeMap::from([("a".to_owned(), "x".to_owned())]);
        let part = tags_named(&Target::KeyPartition { key: "page".into(), values }, &table).unwrap();
        assert_eq!(
            part,
            ["one", "other"]
                .map(|id| [Tag::partition(id, [("a", "x")]), Tag::partition(id, UNLISTED)])
                .concat()
        );
    }

    #[test]
    fn a_value_is_named_as_it_was_given_and_as_the_key_makes_it() {
        let lower = Constructor {
            fields: vec![Field {
                name: "user".into(),
                source: Source::Path(vec!["user_id".into()]),
                partition: true,
                hash: false,
                sort: false,
                normalize: vec![crate::keys::Normalizer::Lower],
            }],
            name: "k".into(),
            id: "k".into(),
            ..Constructor::safe_default("default", false)
        };
        let table = Table::new(vec![route("user", "/{user_id}", Some(&Arc::new(lower)))]);
        let named = |value: &str| {
            let values = BTreeMap::from([("user".to_owned(), value.to_owned())]);
            tags_named(&Target::RoutePartition { route: "user".into(), values }, &table).unwrap()
        };
        let tag = |value| Tag::partition("k", [("user", value)]);
        let unlisted = || Tag::partition("k", UNLISTED);
        assert_eq!(named("Ada"), [tag("Ada"), tag("ada"), unlisted()]);
        assert_eq!(named("ada"), [tag("ada"), unlisted()]);
    }
}
