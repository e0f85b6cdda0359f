//! `PURGE`, `BAN`, `REFRESH` and their kin, as they are configured in many a VCL and sent by many a plugin.

use http::{HeaderMap, HeaderName, Method};

use super::pattern::{self, Unreadable};
use super::{Deed, Misread, Order, Reply, Sent, of_tags};
use crate::invalidation::target::Where;
use crate::invalidation::{Strength, Target};
use crate::semantics::response_tags;

/// Lists of tags beside those that responses have, with white space or commas: of purges, and of soft ones.
const LISTS: [&str; 4] = ["xkey-purge", "key", "x-xkey-purge", "x-location-id"];
const SOFT_LISTS: [&str; 2] = ["xkey-softpurge", "x-xkey-softpurge"];

/// Regular expressions that list tags.
const TAG_PATTERNS: [&str; 2] = ["x-magento-tags-pattern", "apiplatform-ban-regex"];

/// Regular expressions of URLs, of hosts and of content types.
const URL_PATTERNS: [&str; 3] = ["x-url", "x-ban-url", "x-ban-regex"];
const HOST_PATTERNS: [&str; 2] = ["x-host", "x-ban-host"];
const CONTENT_TYPE_PATTERN: &str = "x-content-type";

/// Under which nginx's plugins purge by GET.
const PURGE_PATH: &str = "/purge/";

/// What a method means.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Purge,
    SoftPurge,
    Ban,
    Refresh,
}

fn kind(method: &Method) -> Option<Kind> {
    match method.as_str() {
        "PURGE" | "PURGEKEYS" | "PURGETAGS" | "URLPURGE" | "FULLPURGE" => Some(Kind::Purge),
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
    let Some(kind) = kind(sent.method) else {
        return Ok(match sent.target.strip_prefix(PURGE_PATH) {
            Some(path) => purge(Strength::Hard, vec![of_url(sent, &format!("/{path}"), false)]),
            None => refresh(sent),
        });
    };
    if kind == Kind::Refresh {
        return Ok(refresh(sent));
    }
    let fields = sent.headers;
    let mut strength = match kind {
        Kind::SoftPurge => Strength::Soft,
        _ if is_soft(fields) => Strength::Soft,
        _ => Strength::Hard,
    };
    let mut targets = Vec::new();
    for name in TAG_PATTERNS {
        for expression in values(fields, name) {
            targets.push(of_tag_pattern(name, expression)?);
        }
    }
    let mut tags = Vec::new();
    if kind == Kind::Ban {
        for name in fields.keys().filter(|name| response_tags::is_one(name) || is_listed(name)) {
            for expression in values(fields, name.as_str()) {
                targets.push(of_tag_pattern(name.as_str(), expression)?);
            }
        }
    } else {
        tags.extend(response_tags::of(fields));
        LISTS.iter().for_each(|name| tags.extend(listed(fields, name)));
    }
    let softly: Vec<_> = SOFT_LISTS.iter().flat_map(|name| listed(fields, name)).collect();
    if !softly.is_empty() {
        if !tags.is_empty() || !targets.is_empty() {
            let why = "what is purged softly and what is not cannot be named in one request";
            return Err(Misread::Invalid(why.to_owned()));
        }
        strength = Strength::Soft;
        tags = softly;
    }
    if !tags.is_empty() {
        targets.push(of_tags(tags));
    }
    if targets.is_empty() {
        targets =
            if kind == Kind::Ban || has_patterns(fields) { of_patterns(sent)? } else { of_target(sent) };
    }
    Ok(purge(strength, targets))
}

fn purge(strength: Strength, targets: Vec<Target>) -> Order {
    Order { targets, deed: Deed::Purge(strength), reply: Reply::Ok }
}

fn refresh(sent: &Sent<'_>) -> Order {
    Order { targets: vec![Target::Url(absolute(sent, sent.target))], deed: Deed::Refresh, reply: Reply::Ok }
}

/// The URL of the request, or what begins so: a star at its end, and `.*`, stand for anything.
fn of_target(sent: &Sent<'_>) -> Vec<Target> {
    let is_regex = values(sent.headers, "x-purge-method").any(|how| how.eq_ignore_ascii_case("regex"));
    vec![of_url(sent, sent.target, is_regex)]
}

fn of_url(sent: &Sent<'_>, target: &str, begins_so: bool) -> Target {
    match target.strip_suffix(".*").or_else(|| target.strip_suffix('*')) {
        Some(begins) => Target::Prefix(absolute(sent, begins)),
        None if begins_so => Target::Prefix(absolute(sent, target)),
        None => Target::Url(absolute(sent, target)),
    }
}

fn absolute(sent: &Sent<'_>, target: &str) -> String {
    format!("{}://{}{target}", sent.scheme, sent.host)
}

fn has_patterns(fields: &HeaderMap) -> bool {
    let names = URL_PATTERNS.iter().chain(&HOST_PATTERNS);
    names.chain([&CONTENT_TYPE_PATTERN]).any(|name| fields.contains_key(*name))
}

/// What the expressions in its fields match; without any, what its own URL does as an expression, on its own host.
fn of_patterns(sent: &Sent<'_>) -> Result<Vec<Target>, Misread> {
    let fields = sent.headers;
    let read = |names: &[&str], read: fn(&str) -> Result<Vec<String>, Unreadable>| {
        let given = names.iter().find_map(|name| Some((*name, values(fields, name).next()?)));
        let globs =
            given.map(|(name, expression)| read(expression).map_err(|why| Misread::pattern(name, why)));
        globs.transpose()
    };
    let urls = read(&URL_PATTERNS, pattern::globs)?;
    let hosts = read(&HOST_PATTERNS, pattern::hosts)?;
    let types = read(&[CONTENT_TYPE_PATTERN], pattern::globs)?;
    let is_about_the_url = urls.is_none() && hosts.is_none() && types.is_none();
    let (urls, hosts) = if is_about_the_url {
        let urls =
            pattern::globs(&format!("^{}", sent.target)).map_err(|why| Misread::pattern("the URL", why))?;
        (urls, vec![sent.host.to_owned()])
    } else {
        let any = || vec!["*".to_owned()];
        (urls.unwrap_or_else(any), hosts.unwrap_or_else(any))
    };
    let mut targets = Vec::new();
    for host in &hosts {
        for url in &urls {
            targets.push(of_globs(host, url));
        }
    }
    let Some(types) = types else { return Ok(targets) };
    if types.iter().any(|of_type| of_type == "*") {
        return Ok(targets);
    }
    let content_type = types.iter().map(|of_type| media_type(of_type)).collect::<Option<Vec<_>>>();
    let Some(content_type) = content_type else {
        let why = "a content type is text/html, or ^image/ for all of a kind";
        return Err(Misread::Invalid(format!("{CONTENT_TYPE_PATTERN}: {why}")));
    };
    let like = Where { content_type, ..Where::default() };
    Ok(targets.into_iter().map(|target| Target::Where(Box::new(target), like.clone())).collect())
}

fn of_globs(host: &str, url: &str) -> Target {
    // Where a path begins with anything, it begins with a slash.
    let path = if url.starts_with('/') { url.to_owned() } else { format!("/{url}") };
    // What is meant to be found within a path may be at its very beginning.
    let path = match path.strip_prefix("/*/") {
        Some(rest) if url.starts_with('*') => format!("/*{rest}"),
        _ => path,
    };
    match (host, path.as_str()) {
        ("*", "/*") => Target::Everything,
        (_, "/*") if !host.contains('*') => Target::Prefix(format!("http://{host}/")),
        ("*", _) => Target::Glob(path),
        _ => Target::Glob(format!("http://{host}{path}")),
    }
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

fn of_tag_pattern(name: &str, expression: &str) -> Result<Target, Misread> {
    let tags = pattern::tags(expression).map_err(|why| Misread::pattern(name, why))?;
    Ok(tags.map_or(Target::Everything, of_tags))
}

fn is_soft(fields: &HeaderMap) -> bool {
    ["fastly-soft-purge", "x-soft-purge"]
        .iter()
        .any(|name| values(fields, name).any(|value| value.trim() == "1"))
}

fn is_listed(name: &HeaderName) -> bool {
    LISTS.contains(&name.as_str())
}

fn listed(fields: &HeaderMap, name: &str) -> Vec<String> {
    let is_between = |character: char| character.is_ascii_whitespace() || character == ',';
    let members = values(fields, name).flat_map(|value| value.split(is_between));
    members.filter(|member| !member.is_empty()).map(str::to_owned).collect()
}

fn values<'f>(fields: &'f HeaderMap, name: &str) -> impl Iterator<Item = &'f str> {
    fields.get_all(name).into_iter().filter_map(|value| std::str::from_utf8(value.as_bytes()).ok())
}
