//! What the key of a request would be, what it is made of, and how what is stored under it is purged.
//!
//! `staleproof key` prints it, `GET /v1/key` sends it.

use std::borrow::Cow;
use std::fmt;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::clock::Timestamp;
use crate::exchange::Routed;
use crate::keys::{Key, partition_text};
use crate::routes::{CacheRule, Route};
use crate::semantics::reuse::cacheable_request;

/// What the key of a request would be, or why it has none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KeyReport {
    /// The route it takes.
    pub route: String,
    /// Why nothing is looked up or stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uncached: Option<String>,
    /// The key, and what it is made of; `None` if nothing is looked up or stored.
    #[serde(flatten)]
    pub key: Option<Keyed>,
}

/// A key, and what it is made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Keyed {
    /// What built it: the name under `keys:`, the route's, or `default`.
    pub constructor: String,
    /// The whole of it.
    pub key: String,
    /// Its digest: as long for any key.
    pub digest: String,
    /// The fields that are wiped together, with their values.
    pub partition: Map<String, Value>,
    /// The same, as it stands in the key.
    #[serde(skip)]
    pub partition_text: String,
    /// What tells apart the responses of a partition.
    pub suffix: String,
    /// What its fields have read, in their order.
    pub parts: Vec<Part>,
    /// Those of the route; the app may send more.
    pub tags: Vec<String>,
    /// The commands that purge what is stored under it, the narrowest first.
    pub purged_by: Vec<String>,
}

/// What a field of a key has read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Part {
    /// The field's name.
    pub field: String,
    /// Whether it belongs to the partition.
    pub partition: bool,
    /// What it has read, as it stands in the key.
    pub value: String,
}

/// What the key of a request would be. `now`: what the expiry of tokens is held against.
pub fn report(routed: &Routed, now: Timestamp) -> KeyReport {
    let (route, request) = (&routed.route, &routed.request);
    let (host, path, query) = (&*request.host, request.head.uri.path(), request.head.uri.query());
    let scheme = request.scheme.as_str();
    let unkeyed = |why: String| KeyReport { route: route.name.to_string(), uncached: Some(why), key: None };
    let Some(rule) = &route.cache else {
        return unkeyed("the route says `cache: off`".into());
    };
    if let Err(reason) = cacheable_request(&request.head.method, &request.head.headers) {
        return unkeyed(format!("the origin answers such a request ({reason})"));
    }
    let input = routed.key_input(now);
    let (parts, key) = match rule.key.parts(&input).and_then(|parts| Ok((parts, rule.key.key(&input)?))) {
        Ok(built) => built,
        Err(problem) => return unkeyed(problem.to_string()),
    };
    let tag = |name: &str| Some(Cow::Owned(partition_text(routed.captures.raw(path, name)?)));
    let tags: Vec<_> = rule.tags.iter().filter_map(|template| template.render(tag)).collect();
    let resource =
        format!("{scheme}://{host}{path}{}", query.map_or(String::new(), |query| format!("?{query}")));
    let keyed = Keyed {
        constructor: rule.key.name.to_string(),
        parts: parts
            .into_iter()
            .map(|part| Part {
                field: part.field.to_string(),
                partition: part.partition,
                value: part.encoded,
            })
            .collect(),
        partition: key.shown_partition().map(|(name, value)| (name.to_string(), value.into())).collect(),
        partition_text: key.partition_str().to_owned(),
        suffix: key.suffix().to_owned(),
        digest: key.digest(),
        purged_by: purges(&resource, &tags, route, rule, &key),
        tags,
        key: key.text.to_string(),
    };
    KeyReport { route: route.name.to_string(), uncached: None, key: Some(keyed) }
}

/// The commands that purge what is stored under this key, the narrowest first.
fn purges(resource: &str, tags: &[String], route: &Route, rule: &CacheRule, key: &Key) -> Vec<String> {
    let command = |option: &str, value: &str| format!("staleproof purge {option} {}", shell_word(value));
    let partition: String = key
        .shown_partition()
        .map(|(name, value)| format!(" --partition {}", shell_word(&format!("{name}={value}"))))
        .collect();
    let mut commands = vec![command("--url", resource), command("--route", &route.name) + &partition];
    // Of the constructors, those that have a name of their own under `keys:`.
    if *rule.key.name != *route.name && &*rule.key.name != "default" {
        commands.push(command("--key", &rule.key.name) + &partition);
    }
    commands.extend(tags.iter().map(|tag| command("--tag", tag)));
    commands
}

/// A word as a POSIX shell takes it for itself.
fn shell_word(text: &str) -> Cow<'_, str> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:=@%+,".contains(&byte);
    if !text.is_empty() && text.bytes().all(plain) {
        return text.into();
    }
    format!("'{}'", text.replace('\'', r"'\''")).into()
}

impl fmt::Display for KeyReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "route      {}", self.route)?;
        if let Some(why) = &self.uncached {
            write!(f, "\nnot cached {why}")?;
        }
        let Some(keyed) = &self.key else { return Ok(()) };
        write!(f, "\nbuilt by   {}", keyed.constructor)?;
        let width = keyed.parts.iter().map(|part| part.field.chars().count()).max().unwrap_or_default();
        for Part { field, partition, value } in &keyed.parts {
            let value = if value.is_empty() { "-" } else { value };
            write!(f, "\n  {field:<width$}  {value}{}", if *partition { "  (partition)" } else { "" })?;
        }
        write!(f, "\npartition  {}", or_dash(&keyed.partition_text))?;
        write!(f, "\nsuffix     {}", or_dash(&keyed.suffix))?;
        write!(f, "\nkey        {}", keyed.key)?;
        write!(f, "\ndigest     {}", keyed.digest)?;
        if !keyed.tags.is_empty() {
            write!(f, "\ntags       {}", keyed.tags.join(", "))?;
        }
        write!(f, "\n\npurged by")?;
        keyed.purged_by.iter().try_for_each(|command| write!(f, "\n  {command}"))
    }
}

fn or_dash(text: &str) -> &str {
    if text.is_empty() { "-" } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::inspect::{Asked, fields};
    use http::Method;
    use std::net::IpAddr;

    const CONFIG: &str = r#"
upstreams: { app: { servers: ["http://127.0.0.1:1"] } }
keys:
  user_page:
    fields:
      user: { path: user_id, partition: true }
      lang: { header: accept-language, normalize: { language: [en, fr] } }
routes:
  - { name: user, match: { path: "/users/{user_id}" }, upstream: app, cache: { key: user_page, ttl: 1m, tags: ["u:{user_id}"] } }
  - { name: secret, match: { path: /secret }, upstream: app, cache: off }
  - { name: page, match: { path: "/pages/{slug}" }, upstream: app, cache: { ttl: 1m } }
"#;

    fn inspect(url: &str, method: Method, headers: &[&str]) -> KeyReport {
        let plan = config::compile_text("test.yaml", CONFIG, &|_| None).expect("it is fine");
        let headers = fields(headers).expect("they are fields");
        let asked = Asked { url: url.into(), method, headers, client: IpAddr::from([127, 0, 0, 1]) };
        report(&asked.routed(&plan.routes).expect("a route takes it"), Timestamp::from_secs(0))
    }

    fn key(url: &str, headers: &[&str]) -> Keyed {
        inspect(url, Method::GET, headers).key.expect("it is cached")
    }

    #[test]
    fn the_parts_are_those_of_the_constructor_and_the_partition_is_marked() {
        let keyed = key("http://a.test/users/42", &["Accept-Language: fr-CH"]);
        assert_eq!(keyed.constructor, "user_page");
        let marked: Vec<_> =
            keyed.parts.iter().filter(|part| part.partition).map(|part| &part.value).collect();
        assert_eq!(marked, ["user=42"]);
        assert!(keyed.suffix.contains("lang=fr"), "{}", keyed.suffix);
        assert_eq!(keyed.partition["user"], "42");
        assert_eq!(keyed.tags, ["u:42"]);
    }

    #[test]
    fn every_way_to_purge_it_is_told_ready_for_the_shell() {
        assert_eq!(
            key("http://A.test:80/users/it's?x=1&y", &[]).purged_by,
            [
                r"staleproof purge --url 'http://a.test/users/it'\''s?x=1&y'",
                r"staleproof purge --route user --partition 'user=it'\''s'",
                r"staleproof purge --key user_page --partition 'user=it'\''s'",
                r"staleproof purge --tag 'u:it'\''s'",
            ]
        );
        assert_eq!(
            key("http://a.test/pages/tea", &[]).purged_by,
            [
                "staleproof purge --url http://a.test/pages/tea",
                "staleproof purge --route page --partition slug=tea",
            ]
        );
    }

    #[test]
    fn a_host_field_takes_the_place_of_the_urls_host() {
        let named = key("http://127.0.0.1:8080/pages/tea", &["Host: A.test"]);
        assert_eq!(named.key, key("http://a.test/pages/tea", &[]).key);
    }

    #[test]
    fn what_is_not_cached_has_no_key_but_a_reason() {
        for (url, method, reason) in [
            ("http://a.test/secret", Method::GET, "cache: off"),
            ("http://a.test/pages/tea", Method::POST, "method"),
        ] {
            let answer = inspect(url, method, &[]);
            assert!(answer.key.is_none());
            assert!(answer.to_string().contains(reason), "{answer}");
        }
    }
}
