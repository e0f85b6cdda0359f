//! `PURGE`, `BAN`, `REFRESH` and their kin, as they are configured in many a VCL and sent by many a plugin.

use std::collections::BTreeMap;
use std::net::IpAddr;

use http::{HeaderMap, HeaderName, HeaderValue, Method};

use super::pattern::{self, Unreadable};
use super::{Deed, Misread, Order, Reply, Sent, of_tags};
use crate::invalidation::target::{FieldValue, Where};
use crate::invalidation::{Strength, Target};
use crate::semantics::response_tags;

/// Fields with tags beside those that responses have.
const TAGS: [&str; 6] =
    ["xkey-purge", "x-xkey-purge", "key", "x-location-id", "x-ban-tags", "apiplatform-ban-regex"];
const SOFT_TAGS: [&str; 2] = ["xkey-softpurge", "x-xkey-softpurge"];

/// Fields with regular expressions that list tags, whatever the method.
const TAG_PATTERNS: [&str; 3] = ["x-magento-tags-pattern", "x-cache-tags-pattern", "apiplatform-ban-regex"];

/// Fields with regular expressions of URLs, of hosts and of content types.
const URL_PATTERNS: [&str; 3] = ["x-url", "x-ban-url", "x-ban-regex"];
const HOST_PATTERNS: [&str; 2] = ["x-host", "x-ban-host"];
const CONTENT_TYPE_PATTERN: &str = "x-content-type";

/// Fields that say that all is meant.
const EVERYTHING: [&str; 3] = ["x-ban-all", "varnish-ban-all", "clear-cache"];

/// Fields that what is purged has as well, with the same value; and what the names of others begin with.
const SAME_FIELDS: [&str; 2] = ["x-site", "x-pool"];
const TYPO3: &str = "varnish-ban-typo3-";

/// Under which nginx's plugins purge by GET, and where some purge the whole site.
const PURGE_PATH: &str = "/purge/";
const PURGE_ALL_PATH: &str = "/purgeall";

/// What of a text may be meant as a regular expression.
const SYNTAX: [char; 11] = ['^', '$', '(', ')', '[', ']', '\\', '*', '+', '?', '|'];

/// What a method means.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Purge,
    SoftPurge,
    /// By tags, which must be named.
    PurgeTags,
    Ban,
    Refresh,
}

fn kind(method: &Method) -> Option<Kind> {
    match method.as_str() {
        "PURGE" | "URLPURGE" | "FULLPURGE" | "URIBAN" => Some(Kind::Purge),
        "PURGEKEYS" | "PURGETAGS" => Some(Kind::PurgeTags),
        "SOFTPURGE" => Some(Kind::SoftPurge),
        "BAN" => Some(Kind::Ban),
        "REFRESH" => Some(Kind::Refresh),
        _ => None,
    }
}

pub(super) fn is_one(sent: &Sent<'_>) -> bool {
    kind(sent.method).is_some()
        || (*sent.method == Method::GET
            && (sent.target.starts_with(PURGE_PATH) || sent.headers.contains_key("x-refresh")))
}

pub(super) fn order(sent: &Sent<'_>) -> Result<Order, Misread> {
    let fields = sent.headers;
    let kind = kind(sent.method);
    let target = match sent.target.strip_prefix(PURGE_PATH) {
        Some(_) if kind != Some(Kind::Refresh) => &sent.target[PURGE_PATH.len() - 1..],
        _ => sent.target,
    };
    let Some(kind) = kind else {
        let is_purge = sent.target.starts_with(PURGE_PATH);
        return Ok(if is_purge { purge(Strength::Hard, of_target(sent, target)?) } else { refresh(sent) });
    };
    if kind == Kind::Refresh {
        return Ok(refresh(sent));
    }
    check_readable(fields)?;
    let is_soft = |name| fields.get(name).is_some_and(|value| value == "1");
    let mut strength = match kind {
        Kind::SoftPurge => Strength::Soft,
        _ if is_soft("fastly-soft-purge") || is_soft("x-soft-purge") => Strength::Soft,
        _ => Strength::Hard,
    };
    let mut targets = of_tag_fields(fields, kind)?;
    let like = like(fields, !targets.is_empty());
    if has_any(fields, &EVERYTHING) {
        return Ok(purge(strength, restricted(vec![Target::Everything], like)));
    }
    let softly = response_tags::listed(fields, &SOFT_TAGS);
    if !softly.is_empty() {
        if !targets.is_empty() {
            let why = "what is purged softly and what is not cannot be named in one request";
            return Err(Misread::Invalid(why.to_owned()));
        }
        strength = Strength::Soft;
        targets.push(of_tags(softly));
    }
    if targets.is_empty() && kind == Kind::PurgeTags {
        return Err(Misread::Invalid("no tags are named: give them in xkey, or Surrogate-Key".to_owned()));
    }
    if targets.is_empty() {
        targets = if has_any(fields, &URL_PATTERNS)
            || has_any(fields, &HOST_PATTERNS)
            || fields.contains_key(CONTENT_TYPE_PATTERN)
        {
            of_patterns(fields)?
        } else if like != Where::default() {
            vec![Target::Everything]
        } else if kind == Kind::Ban {
            of_expression(sent, target)?
        } else {
            of_target(sent, target)?
        };
    }
    Ok(purge(strength, restricted(targets, like)))
}

/// What cannot be read may name something, and without it the rest means something else.
fn check_readable(fields: &HeaderMap) -> Result<(), Misread> {
    let known =
        [&TAGS[..], &SOFT_TAGS, &TAG_PATTERNS, &URL_PATTERNS, &HOST_PATTERNS, &[CONTENT_TYPE_PATTERN]];
    let is_known = |name: &HeaderName| {
        response_tags::is_one(name) || known.iter().any(|names| names.contains(&name.as_str()))
    };
    let is_text = |value: &HeaderValue| std::str::from_utf8(value.as_bytes()).is_ok();
    match fields.iter().find(|(name, value)| is_known(name) && !is_text(value)) {
        Some((name, _)) => Err(Misread::Invalid(format!("{name} is not text in UTF-8"))),
        None => Ok(()),
    }
}

fn purge(strength: Strength, targets: Vec<Target>) -> Order {
    Order { targets, deed: Deed::Purge(strength), reply: Reply::Ok }
}

fn refresh(sent: &Sent<'_>) -> Order {
    Order { targets: vec![Target::Url(absolute(sent, sent.target))], deed: Deed::Refresh, reply: Reply::Ok }
}

/// Those of a purge are lists, those of a ban may be lists or expressions.
fn of_tag_fields(fields: &HeaderMap, kind: Kind) -> Result<Vec<Target>, Misread> {
    let mut targets = Vec::new();
    let mut tags = Vec::new();
    for name in fields.keys().filter(|name| response_tags::is_one(name) || TAGS.contains(&name.as_str())) {
        let is_expression = TAG_PATTERNS.contains(&name.as_str())
            || (kind == Kind::Ban && values(fields, name.as_str()).any(|value| value.contains(SYNTAX)));
        if !is_expression {
            tags.extend(response_tags::listed(fields, &[name.as_str()]));
        }
        for expression in values(fields, name.as_str()).filter(|_| is_expression) {
            targets.push(of_tag_pattern(name.as_str(), expression)?);
        }
    }
    for name in TAG_PATTERNS.iter().filter(|name| !TAGS.contains(*name)) {
        for expression in values(fields, name) {
            targets.push(of_tag_pattern(name, expression)?);
        }
    }
    if !tags.is_empty() {
        targets.push(of_tags(tags));
    }
    Ok(targets)
}

fn of_tag_pattern(name: &str, expression: &str) -> Result<Target, Misread> {
    let tags = pattern::tags(expression).map_err(|why| Misread::pattern(name, why))?;
    Ok(tags.map_or(Target::Everything, of_tags))
}

/// The URL of the request; or what begins so, where it ends with `*` or `.*`, or a field says so.
fn of_target(sent: &Sent<'_>, target: &str) -> Result<Vec<Target>, Misread> {
    if target == PURGE_ALL_PATH {
        return Ok(vec![begins(sent, "/")]);
    }
    let is_regex = values(sent.headers, "x-purge-method").any(|how| how.eq_ignore_ascii_case("regex"));
    if let Some(start) = target.strip_suffix(".*").or_else(|| target.strip_suffix('*')) {
        return Ok(vec![begins(sent, start)]);
    }
    // No URL has these.
    if target.contains(['\\', '[']) {
        return of_expression(sent, target);
    }
    if is_regex || values(sent.headers, "x-purge-regex").any(|rest| rest.trim() == ".*") {
        return Ok(vec![begins(sent, target)]);
    }
    // Who sends it to the cache by the cache's own name means the page of every site.
    Ok(vec![if is_of_no_site(sent.host) {
        Target::Glob(target.to_owned())
    } else {
        Target::Url(absolute(sent, target))
    }])
}

/// What an expression in the place of the URL matches, from its beginning.
fn of_expression(sent: &Sent<'_>, target: &str) -> Result<Vec<Target>, Misread> {
    // `/news/*` is no expression, though it could be.
    let globs = match target.strip_suffix("/*") {
        Some(start) if !start.contains(SYNTAX) => vec![format!("{start}/*")],
        _ if !target.contains(SYNTAX) => vec![format!("{target}*")],
        _ => pattern::globs(&format!("^{target}")).map_err(|why| Misread::pattern("the URL", why))?,
    };
    let host = if is_of_no_site(sent.host) { "*" } else { sent.host };
    Ok(globs.iter().map(|glob| of_globs(host, glob)).collect())
}

/// What the expressions in its fields match.
fn of_patterns(fields: &HeaderMap) -> Result<Vec<Target>, Misread> {
    let read = |names: &[&str], read: fn(&str) -> Result<Vec<String>, Unreadable>| {
        let given = names.iter().find_map(|name| Some((*name, values(fields, name).next()?)));
        let globs =
            given.map(|(name, expression)| read(expression).map_err(|why| Misread::pattern(name, why)));
        Ok(globs.transpose()?.unwrap_or_else(|| vec!["*".to_owned()]))
    };
    let urls = read(&URL_PATTERNS, pattern::globs)?;
    let hosts = read(&HOST_PATTERNS, pattern::hosts)?;
    let types = read(&[CONTENT_TYPE_PATTERN], pattern::globs)?;
    let of_host = |host: &String| urls.iter().map(|url| of_globs(host, url)).collect::<Vec<_>>();
    let targets: Vec<_> = hosts.iter().flat_map(of_host).collect();
    if types.iter().any(|of_type| of_type == "*") {
        return Ok(targets);
    }
    let content_type = types.iter().map(|of_type| media_type(of_type)).collect::<Option<Vec<_>>>();
    let content_type = content_type.ok_or_else(|| {
        let why = "a content type is text/html, or ^image/ for all of a kind";
        Misread::Invalid(format!("{CONTENT_TYPE_PATTERN}: {why}"))
    })?;
    Ok(restricted(targets, Where { content_type, ..Where::default() }))
}

/// Of hosts and paths that are like these.
fn of_globs(host: &str, url: &str) -> Target {
    // Where a path begins with anything, that begins with a slash, and may be no more.
    let path = match url.strip_prefix('*') {
        Some(rest) => format!("/*{}", rest.trim_start_matches(['/', '*'])),
        None => url.to_owned(),
    };
    if host == "*" && path == "/*" {
        return Target::Everything;
    }
    let glob = if host == "*" { path } else { format!("http://{host}{path}") };
    match glob.strip_suffix('*') {
        Some(start) if !start.contains('*') => Target::Prefix(start.to_owned()),
        _ => Target::Glob(glob),
    }
}

fn begins(sent: &Sent<'_>, start: &str) -> Target {
    if is_of_no_site(sent.host) {
        return of_globs("*", &format!("{start}*"));
    }
    Target::Prefix(absolute(sent, start))
}

fn absolute(sent: &Sent<'_>, target: &str) -> String {
    format!("{}://{}{target}", sent.scheme, sent.host)
}

/// Whether it is an address, or a name that nobody outside could use: a cache's, as its clients call it.
fn is_of_no_site(host: &str) -> bool {
    let name = host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()));
    let name = name.map_or(host, |(name, _)| name);
    let is_address = name.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
    is_address || !name.contains('.')
}

/// `*text/html*` and `image/*`, as a condition has them.
fn media_type(glob: &str) -> Option<String> {
    let (kind, subtype) = glob.trim_start_matches('*').split_once('/')?;
    let is_whole = |part: &str| !part.is_empty() && !part.contains('*');
    match subtype.trim_end_matches('*') {
        "" if is_whole(kind) => Some(format!("{kind}/*")),
        whole if is_whole(kind) && is_whole(whole) => Some(format!("{kind}/{whole}")),
        _ => None,
    }
}

/// The fields that what is purged has as well. `are_tags`: TYPO3's tags tell its sites apart by themselves.
fn like(fields: &HeaderMap, are_tags: bool) -> Where {
    let names = fields.keys().map(HeaderName::as_str);
    let same = |name: &str| match name.strip_prefix(TYPO3) {
        Some(rest) => (!are_tags).then(|| format!("typo3-{rest}")),
        None => SAME_FIELDS.contains(&name).then(|| name.to_owned()),
    };
    let conditions: BTreeMap<_, _> = names
        .filter_map(|name| {
            let value = values(fields, name).next().filter(|value| !value.contains(SYNTAX))?;
            Some((same(name)?, FieldValue::Equals(value.to_owned())))
        })
        .collect();
    Where { fields: conditions, ..Where::default() }
}

fn restricted(targets: Vec<Target>, like: Where) -> Vec<Target> {
    if like == Where::default() {
        return targets;
    }
    let restrict = |target| match target {
        Target::Where(target, known) => Target::Where(target, Where { fields: like.fields.clone(), ..known }),
        target => Target::Where(Box::new(target), like.clone()),
    };
    targets.into_iter().map(restrict).collect()
}

fn has_any(fields: &HeaderMap, names: &[&str]) -> bool {
    names.iter().any(|name| fields.contains_key(*name))
}

fn values<'f>(fields: &'f HeaderMap, name: &str) -> impl Iterator<Item = &'f str> {
    fields.get_all(name).into_iter().filter_map(|value| std::str::from_utf8(value.as_bytes()).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_that_cannot_be_read_is_refused_and_not_left_out() {
        for (name, is_refused) in [("x-magento-tags-pattern", true), ("xkey", true), ("user-agent", false)] {
            let mut headers = HeaderMap::new();
            headers.insert(HeaderName::from_static(name), HeaderValue::from_bytes(b"\xffcat").unwrap());
            let method = Method::from_bytes(b"PURGE").unwrap();
            let sent =
                Sent { method: &method, scheme: "http", host: "a.test", target: "/x", headers: &headers };
            assert_eq!(order(&sent).is_err(), is_refused, "{name}");
        }
    }
}
