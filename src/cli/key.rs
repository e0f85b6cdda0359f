//! `staleproof key`

use std::borrow::Cow;
use std::fmt;

use clap::Args;
use serde::Serialize;
use serde_json::{Map, Value};

use super::{AskedArgs, ConfigFile, Failure, print};
use crate::clock::{Clock, Timestamp};
use crate::config::Plan;
use crate::keys::{Key as CacheKey, partition_text};
use crate::routes::{CacheRule, Route};
use crate::semantics::reuse::cacheable_request;

/// Prints what the key of a request would be: no network, nothing is sent anywhere.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  staleproof key 'http://www.example.com/users/42?page=2'
  staleproof key http://www.example.com/ -H 'Accept-Language: fr' -H 'Cookie: theme=dark'
  staleproof key http://www.example.com/users/42 --json | jq -r .digest")]
pub(super) struct Key {
    #[command(flatten)]
    asked: AskedArgs,

    /// Print JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    file: ConfigFile,
}

impl Key {
    pub(super) fn run(self) -> Result<(), Failure> {
        let plan = self.file.load()?;
        let answer = self.inspect(&plan, Clock::system().now())?;
        if self.json { print(serde_json::to_string_pretty(&answer)?) } else { print(answer) }
    }

    /// What the proxy would make of such a request.
    fn inspect(&self, plan: &Plan, now: Timestamp) -> Result<Answer, Failure> {
        let routed = self.asked.routed(plan)?;
        let (route, request) = (&routed.route, &routed.request);
        let (host, path, query) = (&*request.host, request.head.uri.path(), request.head.uri.query());
        let scheme = request.scheme.as_str();
        let unkeyed = |why: String| Answer { route: route.name.to_string(), uncached: Some(why), key: None };
        let Some(rule) = &route.cache else {
            return Ok(unkeyed("the route says `cache: off`".into()));
        };
        if let Err(reason) = cacheable_request(&request.head.method, &request.head.headers) {
            return Ok(unkeyed(format!("the origin answers such a request ({reason})")));
        }
        let input = routed.key_input(now);
        let (parts, key) = match rule.key.parts(&input).and_then(|parts| Ok((parts, rule.key.key(&input)?))) {
            Ok(built) => built,
            Err(problem) => return Ok(unkeyed(problem.to_string())),
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
        Ok(Answer { route: route.name.to_string(), uncached: None, key: Some(keyed) })
    }
}

/// The commands that purge what is stored under this key, the narrowest first.
fn purges(resource: &str, tags: &[String], route: &Route, rule: &CacheRule, key: &CacheKey) -> Vec<String> {
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

/// What is printed.
#[derive(Debug, Serialize)]
struct Answer {
    route: String,
    /// Why nothing is looked up or stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    uncached: Option<String>,
    #[serde(flatten)]
    key: Option<Keyed>,
}

#[derive(Debug, Serialize)]
struct Keyed {
    constructor: String,
    key: String,
    digest: String,
    partition: Map<String, Value>,
    #[serde(skip)]
    partition_text: String,
    suffix: String,
    parts: Vec<Part>,
    /// Those of the route; the app may send more.
    tags: Vec<String>,
    purged_by: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Part {
    field: String,
    partition: bool,
    value: String,
}

impl fmt::Display for Answer {
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

    fn inspect(url: &str, method: Method, headers: &[&str]) -> Result<Answer, Failure> {
        let plan = config::compile_text("test.yaml", CONFIG, &|_| None).expect("it is fine");
        let headers = headers.iter().map(ToString::to_string).collect();
        let client = IpAddr::from([127, 0, 0, 1]);
        let key = Key {
            asked: AskedArgs { url: url.into(), method, headers, client },
            json: false,
            file: ConfigFile { config: "test.yaml".into() },
        };
        key.inspect(&plan, Timestamp::from_secs(0))
    }

    fn key(url: &str, headers: &[&str]) -> Keyed {
        inspect(url, Method::GET, headers).unwrap().key.expect("it is cached")
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
            let answer = inspect(url, method, &[]).unwrap();
            assert!(answer.key.is_none());
            assert!(answer.to_string().contains(reason), "{answer}");
        }
    }

    #[test]
    fn what_is_no_request_is_refused_with_what_to_write() {
        for (url, headers, reason) in [
            ("/users/42", &[][..], "http://host/path"),
            ("ftp://a.test/", &[], "http://host/path"),
            ("http://a.test/%zz", &[], "%zz"),
            ("http://a.test/", &["Accept"], "Name: value"),
        ] {
            let Err(Failure::Usage(explanation)) = inspect(url, Method::GET, headers) else {
                panic!("{url} is refused")
            };
            assert!(explanation.contains(reason), "{explanation}");
        }
        assert!(matches!(inspect("http://a.test/nowhere", Method::GET, &[]), Err(Failure::Failed(_))));
    }
}
