//! Purging through the APIs of Fastly, of Cloudflare, of Souin and of the draft for one of HTTP's own.

use http::Method;
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::{Deed, Misread, Order, Reply, Sent, of_tags};
use crate::invalidation::{Strength, Target};
use crate::semantics::response_tags;

/// Where the draft's documents are sent to.
const HTTP_INVALIDATION: &str = "/v1/http-invalidation";

/// Souin's base path and the name of its API.
const SOUIN: &str = "/souin-api/souin";

/// What is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call<'a> {
    /// `/service/{id}/purge/{key}`
    FastlyKey(&'a str),
    /// `/service/{id}/purge`
    FastlyKeys,
    /// `/service/{id}/purge_all`
    FastlyAll,
    /// `/purge/{host}/{path}`
    FastlyUrl(&'a str),
    /// `/zones/{id}/purge_cache`
    Cloudflare { zone: &'a str },
    /// What follows Souin's path.
    Souin(&'a str),
    /// A document that says what is invalid.
    HttpInvalidation,
}

impl<'a> Call<'a> {
    pub(super) fn of(sent: &Sent<'a>) -> Option<Self> {
        let path = sent.target.split('?').next().unwrap_or_default();
        let is_post = *sent.method == Method::POST;
        let is_delete = *sent.method == Method::DELETE;
        if let Some(rest) = path.strip_prefix(SOUIN) {
            let is_purge = is_post || sent.method.as_str() == "PURGE";
            return (is_purge && (rest.is_empty() || rest.starts_with('/'))).then_some(Self::Souin(rest));
        }
        if !is_post && !is_delete {
            return None;
        }
        if is_post && path == HTTP_INVALIDATION {
            return Some(Self::HttpInvalidation);
        }
        if let Some(url) = path.strip_prefix("/purge/").filter(|_| is_post) {
            return Some(Self::FastlyUrl(url));
        }
        let mut segments = path.strip_prefix("/client/v4").unwrap_or(path).strip_prefix('/')?.splitn(4, '/');
        let parts = [segments.next(), segments.next(), segments.next(), segments.next()];
        match parts {
            // Cloudflare was once asked so.
            [Some("zones"), Some(zone), Some("purge_cache"), None] => Some(Self::Cloudflare { zone }),
            _ if is_delete => None,
            [Some("service"), Some(_), Some("purge"), Some(key)] => Some(Self::FastlyKey(key)),
            [Some("service"), Some(_), Some("purge"), None] => Some(Self::FastlyKeys),
            [Some("service"), Some(_), Some("purge_all"), None] => Some(Self::FastlyAll),
            _ => None,
        }
    }

    pub(super) fn order(self, sent: &Sent<'_>, body: &[u8]) -> Result<Order, Misread> {
        let is_soft = sent.headers.get("fastly-soft-purge").is_some_and(|value| value == "1");
        let fastly = |targets, keys| {
            let strength = if is_soft { Strength::Soft } else { Strength::Hard };
            Order { targets, deed: Deed::Purge(strength), reply: Reply::Fastly(keys) }
        };
        let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        match self {
            Self::FastlyKey(key) => Ok(fastly(vec![Target::Tag(decoded(key))], Vec::new())),
            Self::FastlyKeys => {
                let mut keys = response_tags::listed(sent.headers, &["surrogate-key"]);
                if keys.is_empty() {
                    let Keys { surrogate_keys } = read(body)?;
                    keys = surrogate_keys;
                }
                if keys.is_empty() {
                    let why =
                        "no surrogate key is named: give them in Surrogate-Key, or as \"surrogate_keys\"";
                    return Err(Misread::Invalid(why.to_owned()));
                }
                // Each by itself, since each is told of.
                Ok(fastly(keys.iter().cloned().map(Target::Tag).collect(), keys))
            }
            // Which cannot be soft there.
            Self::FastlyAll => Ok(Order {
                deed: Deed::Purge(Strength::Hard),
                ..fastly(vec![Target::Everything], Vec::new())
            }),
            Self::FastlyUrl(url) => {
                let query =
                    sent.target.split_once('?').map(|(_, query)| format!("?{query}")).unwrap_or_default();
                Ok(fastly(vec![Target::Url(format!("{}{query}", with_scheme(url)))], Vec::new()))
            }
            Self::Cloudflare { zone } => cloudflare(zone, read(body)?),
            Self::Souin(rest) => souin(rest, sent, body),
            Self::HttpInvalidation => http_invalidation(read(body)?),
        }
    }
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Misread> {
    serde_json::from_slice(body).map_err(|error| Misread::Invalid(format!("the body: {error}")))
}

fn hard(targets: Vec<Target>, reply: Reply) -> Order {
    Order { targets, deed: Deed::Purge(Strength::Hard), reply }
}

#[derive(Deserialize)]
struct Keys {
    surrogate_keys: Vec<String>,
}

/// Exactly one of these, as Cloudflare has it.
#[derive(Default, Deserialize)]
#[serde(default)]
struct PurgeCache {
    purge_everything: bool,
    files: Vec<File>,
    tags: Vec<String>,
    hosts: Vec<String>,
    prefixes: Vec<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum File {
    Url(String),
    /// With the fields that choose a variant. Here they are all purged.
    Variant {
        url: String,
    },
}

fn cloudflare(zone: &str, asked: PurgeCache) -> Result<Order, Misread> {
    let PurgeCache { purge_everything, files, tags, hosts, prefixes } = asked;
    let mut targets = Vec::new();
    if purge_everything {
        targets.push(Target::Everything);
    }
    targets.extend(files.into_iter().map(|file| match file {
        File::Url(url) | File::Variant { url } => Target::Url(url),
    }));
    if !tags.is_empty() {
        targets.push(of_tags(tags));
    }
    targets.extend(hosts.into_iter().map(Target::Host));
    targets.extend(prefixes.into_iter().map(|prefix| {
        // `www.example.com/foo`, and a host alone.
        let path = if prefix.contains('/') { "" } else { "/" };
        Target::Prefix(format!("http://{prefix}{path}"))
    }));
    if targets.is_empty() {
        let why = "nothing is named: give purge_everything, files, tags, hosts or prefixes";
        return Err(Misread::Invalid(why.to_owned()));
    }
    Ok(hard(targets, Reply::Cloudflare(zone.to_owned())))
}

fn souin(rest: &str, sent: &Sent<'_>, body: &[u8]) -> Result<Order, Misread> {
    if *sent.method == Method::POST {
        return http_invalidation(read(body)?);
    }
    let tags = response_tags::listed(sent.headers, &["surrogate-key"]);
    let targets = match rest.trim_matches('/') {
        "flush" => vec![Target::Everything],
        "" if !tags.is_empty() => vec![of_tags(tags)],
        "" => {
            let why = "nothing is named: give Surrogate-Key, or /flush for everything";
            return Err(Misread::Invalid(why.to_owned()));
        }
        key => of_souin_key(key)?,
    };
    Ok(hard(targets, Reply::NoContent))
}

/// `GET-http-example.com-/path`, or an expression that such keys match.
fn of_souin_key(key: &str) -> Result<Vec<Target>, Misread> {
    let key = percent_decode_str(key).decode_utf8_lossy().into_owned();
    if matches!(key.as_str(), ".*" | ".+" | "*") {
        return Ok(vec![Target::Everything]);
    }
    let unreadable = || {
        let why = "a key is GET-http-example.com-/path, and .+ is all of them";
        Misread::Invalid(format!("{key:?}: {why}"))
    };
    let (_, rest) = key.split_once('-').ok_or_else(unreadable)?;
    let (scheme, rest) = rest.split_once('-').ok_or_else(unreadable)?;
    let (host, path) = rest.split_once("-/").ok_or_else(unreadable)?;
    if !matches!(scheme, "http" | "https") {
        return Err(unreadable());
    }
    let url = format!("{scheme}://{host}/");
    // It is an expression, which keys begin with unless it says where they end.
    Ok(vec![match path.strip_suffix('$') {
        Some(whole) => Target::Url(format!("{url}{whole}")),
        None => {
            let begins = path.strip_suffix(".*").or_else(|| path.strip_suffix(".+")).unwrap_or(path);
            Target::Prefix(format!("{url}{begins}"))
        }
    }])
}

fn with_scheme(url: &str) -> String {
    if url.contains("://") { url.to_owned() } else { format!("http://{url}") }
}

/// A document of the draft. Whether what it names is removed or must be validated is left to the cache; it is removed.
#[derive(Deserialize)]
struct Invalidation {
    r#type: String,
    #[serde(default)]
    selectors: Vec<String>,
    /// Of the type `group`; the selectors are then the origins whose they are.
    #[serde(default)]
    groups: Vec<String>,
}

fn http_invalidation(said: Invalidation) -> Result<Order, Misread> {
    let Invalidation { r#type, selectors, groups } = said;
    let named = if r#type == "group" { &groups } else { &selectors };
    if named.is_empty() {
        let member = if r#type == "group" { "groups" } else { "selectors" };
        return Err(Misread::Invalid(format!("{member:?} names nothing")));
    }
    let targets = match r#type.as_str() {
        "uri" => selectors.iter().map(|uri| Target::Url(with_scheme(uri))).collect(),
        "uri-prefix" => selectors.iter().flat_map(|uri| below(&with_scheme(uri))).collect(),
        "origin" => selectors.iter().map(|origin| of_origin(origin)).collect(),
        "group" => vec![of_tags(groups)],
        other => {
            let why = "there are uri, uri-prefix, origin and group";
            return Err(Misread::Invalid(format!("the type {other:?} is not known: {why}")));
        }
    };
    Ok(hard(targets, Reply::Ok))
}

/// A URI and all below it, by whole segments.
fn below(uri: &str) -> Vec<Target> {
    let is_origin = uri.split_once("://").is_some_and(|(_, rest)| !rest.contains('/'));
    if is_origin || uri.ends_with('/') {
        let slash = if is_origin { "/" } else { "" };
        return vec![Target::Prefix(format!("{uri}{slash}"))];
    }
    let begins = |with| Target::Prefix(format!("{uri}{with}"));
    vec![Target::Url(uri.to_owned()), begins("/"), begins("?")]
}

fn of_origin(origin: &str) -> Target {
    let Some((scheme, authority)) = origin.split_once("://") else { return Target::Host(origin.to_owned()) };
    let port = if scheme == "https" { ":443" } else { ":80" };
    let authority = authority.trim_end_matches('/');
    Target::Prefix(format!("{scheme}://{}/", authority.strip_suffix(port).unwrap_or(authority)))
}
