//! Carrying out an invalidation: append it to the log, then give memory back and count.
//!
//! The append is the invalidation: once it has returned, nothing older is usable, however many stored responses
//! carry the tag. What follows only finds out how many that were, and removes them.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::Uri;
use strsim::jaro_winkler;

use super::log::lock;
use super::{Appended, Log, Position, Standing, Tag, Target};
use crate::clock::Stopwatch;
use crate::keys::{Constructor, Key};
use crate::routes::{CacheRule, Route, Table};
use crate::store::{Memory, Stored};
use crate::uri;

/// Carries out invalidations, one at a time, so that every stored response is counted by exactly one.
#[derive(Debug)]
pub struct Invalidator {
    log: Arc<Log>,
    store: Arc<Memory>,
    routes: Arc<Table>,
    reclaiming: Mutex<()>,
}

/// What a purge answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Purged {
    /// The log's position: nothing that was fetched before it and is named by it is usable.
    pub position: Position,
    /// How many stored responses it matched that were usable until then.
    pub matched: u64,
    /// The bytes they accounted for.
    pub bytes: u64,
    /// How long it took, counting included.
    pub took: Duration,
}

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

impl Invalidator {
    /// Invalidates what is in `store`, by `log`; `routes` says what names mean.
    pub fn new(log: Arc<Log>, store: Arc<Memory>, routes: Arc<Table>) -> Self {
        Self { log, store, routes, reclaiming: Mutex::new(()) }
    }

    /// Once this returns, nothing that any target names and whose fetch began before is ever served again.
    ///
    /// # Errors
    /// A target that names nothing the configuration has. Then nothing has been purged.
    pub fn purge(&self, targets: &[Target]) -> Result<Purged, PurgeError> {
        let mut tags = Vec::new();
        let mut everything = false;
        for target in targets {
            match target {
                Target::Everything => everything = true,
                target => tags.extend(self.tags(target)?),
            }
        }
        Ok(if everything { self.append(None) } else { self.append(Some(&tags)) })
    }

    /// Checks a target without purging anything.
    ///
    /// # Errors
    /// As [`purge`](Self::purge).
    pub fn check(&self, target: &Target) -> Result<(), PurgeError> {
        self.tags(target).map(drop)
    }

    /// Invalidates what is stored for a URI, as an unsafe method does (RFC 9111 §4.4). `host` and `path` are
    /// normalised.
    pub fn purge_resource(&self, host: &str, path: &str, query: Option<&str>) -> Purged {
        self.append(Some(&self.resource_tags(host, path, query)))
    }

    /// Appends (`None`: everything), then reclaims and counts.
    fn append(&self, tags: Option<&[Tag]>) -> Purged {
        let stopwatch = Stopwatch::start();
        let reclaiming = lock(&self.reclaiming);
        let (appended, keys) = match tags {
            None => (self.log.append_everything(), self.store.iter().map(|(key, _)| key).collect()),
            Some([]) => {
                let position = self.log.head();
                return Purged { position, matched: 0, bytes: 0, took: stopwatch.elapsed() };
            }
            Some(tags) => {
                let appended = self.log.append(tags);
                let members: HashSet<_> =
                    appended.cells.iter().flat_map(|(cell, _)| cell.members()).collect();
                (appended, members)
            }
        };
        let (mut matched, mut bytes) = (0, 0);
        for key in keys {
            let (count, weight) = self.reclaim(&key, &appended);
            matched += count;
            bytes += weight;
        }
        drop(reclaiming);
        Purged { position: appended.position, matched, bytes, took: stopwatch.elapsed() }
    }

    /// Removes what is dead under a key; how many responses this append killed, and their bytes.
    fn reclaim(&self, key: &Arc<str>, appended: &Appended) -> (u64, u64) {
        let (mut matched, mut bytes) = (0, 0);
        if let Some(variants) = self.store.peek(key) {
            for stored in variants.stored.iter().filter(|stored| killed(stored, appended)) {
                matched += 1;
                bytes += u64::from(stored.weight);
            }
            self.store.retain(key, |stored| stored.carried.standing(&self.log) == Standing::Usable);
        }
        let left = self.store.peek(key);
        for (cell, _) in &appended.cells {
            let carried =
                left.iter().flat_map(|left| &left.stored).any(|stored| stored.carried.carries(cell));
            if !carried {
                cell.remove_member(key);
            }
        }
        (matched, bytes)
    }

    /// The tags that a target stands for.
    fn tags(&self, target: &Target) -> Result<Vec<Tag>, PurgeError> {
        Ok(match target {
            Target::Url(url) => {
                let (host, path, query) = split_url(url)?;
                self.resource_tags(&host, &path, query.as_deref())
            }
            Target::Tag(tag) => vec![Tag::application(tag)],
            Target::Host(host) => {
                let host = uri::normalize_authority(host, "http").map_err(|_| {
                    PurgeError::Invalid(format!("{host:?} is not a host such as example.com"))
                })?;
                vec![Tag::host(&host)]
            }
            Target::Route(name) => vec![Tag::route(&self.route(name)?.name)],
            Target::RoutePartition { route, values } => {
                let route = self.route(route)?;
                let Some(rule) = &route.cache else {
                    return Err(PurgeError::Invalid(format!("the route {:?} does not cache", route.name)));
                };
                check_partition(&partition_names(route, rule), values)?;
                vec![Tag::route_partition(&route.name, pairs(values))]
            }
            Target::Key(name) => vec![Tag::key(&self.key(name)?.name)],
            Target::KeyPartition { key, values } => {
                let constructor = self.key(key)?;
                let names = self.rules().filter(|(_, rule)| rule.key.name == constructor.name);
                let names: Vec<_> = names.flat_map(|(route, rule)| partition_names(route, rule)).collect();
                check_partition(&names, values)?;
                vec![Tag::key_partition(&constructor.name, pairs(values))]
            }
            Target::Namespace(name) => {
                let namespaces: Vec<_> = self.rules().map(|(_, rule)| &*rule.key.namespace).collect();
                if !namespaces.contains(&name.as_str()) {
                    return Err(unknown("namespace", name, namespaces));
                }
                vec![Tag::namespace(name)]
            }
            Target::Everything => Vec::new(),
        })
    }

    /// The `url` tags of whatever any route may have stored for a URI.
    fn resource_tags(&self, host: &str, path: &str, query: Option<&str>) -> Vec<Tag> {
        let candidates = self.routes.candidates(host, path);
        let mut tags = Vec::new();
        for (route, captures) in &candidates {
            let Some(rule) = &route.cache else { continue };
            let tag = Tag::url(&rule.key.resource(host, path, query, captures));
            if !tags.contains(&tag) {
                tags.push(tag);
            }
        }
        tags
    }

    fn route(&self, name: &str) -> Result<&Arc<Route>, PurgeError> {
        let names = || self.routes.routes().iter().map(|route| &*route.name);
        self.routes.by_name(name).ok_or_else(|| unknown("route", name, names()))
    }

    fn key(&self, name: &str) -> Result<&Arc<Constructor>, PurgeError> {
        let keys = || self.rules().map(|(_, rule)| &rule.key);
        keys()
            .find(|key| *key.name == *name)
            .ok_or_else(|| unknown("key", name, keys().map(|key| &*key.name)))
    }

    fn rules(&self) -> impl Iterator<Item = (&Route, &CacheRule)> {
        self.routes.routes().iter().filter_map(|route| Some((&**route, route.cache.as_ref()?)))
    }
}

/// Whether this append is what made a stored response unusable.
fn killed(stored: &Stored, appended: &Appended) -> bool {
    let as_of = stored.carried.as_of;
    if as_of >= appended.position || as_of < appended.floor_before {
        return false;
    }
    let named =
        appended.cells.is_empty() || appended.cells.iter().any(|(cell, _)| stored.carried.carries(cell));
    named
        && stored.carried.cells.iter().all(|cell| {
            let before = appended.cells.iter().find(|(other, _)| Arc::ptr_eq(other, cell));
            let newest = before.map_or_else(|| cell.hard(), |&(_, before)| before);
            newest <= as_of
        })
}

/// All tags of a response that is being stored: by URL, host, route, key, namespace and partition, and those of the
/// application. `resource` as [`Constructor::resource`] makes it.
pub fn tags_of(
    route: &Route,
    key: &Key,
    constructor: &Constructor,
    resource: &str,
    host: &str,
    application: impl Iterator<Item = String>,
) -> Vec<Tag> {
    let mut tags = vec![
        Tag::url(resource),
        Tag::host(host),
        Tag::route(&route.name),
        Tag::key(&constructor.name),
        Tag::namespace(&constructor.namespace),
    ];
    let fields = || key.partition.iter().map(|(name, value)| (&**name, value.as_str()));
    // One tag per field, and one for all of them together: what a purge can name.
    let parts =
        fields().map(|field| vec![field]).chain((key.partition.len() > 1).then(|| fields().collect()));
    for part in parts {
        tags.push(Tag::key_partition(&constructor.name, part.iter().copied()));
        tags.push(Tag::route_partition(&route.name, part));
    }
    tags.extend(application.map(|tag| Tag::application(&tag)));
    tags
}

/// The fields that partition what a route stores.
fn partition_names(route: &Route, rule: &CacheRule) -> Vec<String> {
    let own = rule.key.partition_fields().map(ToString::to_string);
    let captures = route.matching.path.captures().map(str::to_owned);
    own.chain(captures.filter(|_| rule.key.is_partitioned_by_captures())).collect()
}

/// All fields, or exactly one: what stored responses have tags for.
fn check_partition(names: &[String], values: &BTreeMap<String, String>) -> Result<(), PurgeError> {
    if let Some(name) = values.keys().find(|name| !names.contains(name)) {
        return Err(unknown("partition field", name, names.iter().map(String::as_str)));
    }
    let all: HashSet<_> = names.iter().collect();
    if values.len() == 1 || values.len() == all.len() {
        return Ok(());
    }
    Err(PurgeError::Invalid(format!("name one partition field or all of them: {}", names.join(", "))))
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
    let invalid = |why: &str| PurgeError::Invalid(format!("{url:?} {why}"));
    let parsed: Uri = url.parse().map_err(|_| invalid("is not a URL"))?;
    let (Some(scheme @ ("http" | "https")), Some(authority)) = (parsed.scheme_str(), parsed.authority())
    else {
        return Err(invalid("is not absolute; write http://host/path"));
    };
    let host =
        uri::normalize_authority(authority.as_str(), scheme).map_err(|why| invalid(&why.to_string()))?;
    let path = uri::normalize_path(parsed.path()).map_err(|why| invalid(&why.to_string()))?;
    Ok((host.into_owned(), path.into_owned(), parsed.query().map(str::to_owned)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_apart_as_a_request_is() {
        let split = |url| split_url(url).map(|(host, path, query)| format!("{host} {path} {query:?}"));
        assert_eq!(split("http://A.test:80/a/../%7eb?c=%7e"), Ok("a.test /~b Some(\"c=%7e\")".into()));
        assert_eq!(split("https://a.test"), Ok("a.test / None".into()));
        for bad in ["/a", "a.test/a", "ftp://a.test/", "http://", "http://a b/", "nonsense"] {
            assert!(split(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_not_known_comes_with_what_was_meant() {
        let error = unknown("route", "usr", ["user", "article"]);
        assert_eq!(error.to_string(), "no route is called \"usr\"; did you mean \"user\"?");
        assert_eq!(unknown("route", "xyz", ["user"]).to_string(), "no route is called \"xyz\"");
    }

    #[test]
    fn a_partition_is_named_by_one_field_or_by_all() {
        let names = ["a", "b", "c"].map(str::to_owned);
        let check = |fields: &[&str]| {
            let values = fields.iter().map(|name| ((*name).to_owned(), "1".to_owned())).collect();
            check_partition(&names, &values)
        };
        assert!(check(&["b"]).is_ok() && check(&["a", "b", "c"]).is_ok());
        assert!(matches!(check(&["a", "b"]), Err(PurgeError::Invalid(_))));
        assert!(matches!(check(&["d"]), Err(PurgeError::Unknown { .. })));
    }
}
