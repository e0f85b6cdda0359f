//! What a purge can name. PURE.

use std::collections::BTreeMap;
use std::fmt;

use std::time::Duration;

use bytesize::ByteSize;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

/// What can be purged.
///
/// In JSON, exactly one of: `{"url": "http://example.com/a"}`, `{"tag": "a"}`, `{"any_tag": ["a", "b"]}`,
/// `{"all_tags": ["a", "b"]}`, `{"host": "example.com"}`, `{"route": "user"}`, `{"key": "user_payload"}` (these two also with
/// `"partition": {"user": "42"}`), `{"namespace": "users"}`, `{"prefix": "http://example.com/blog/"}`,
/// `{"glob": "http://*.example.com/*/edit"}`, `{"everything": true}`; each also with a [`where`](Where), which may stand alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// An absolute URL, in all its variants.
    Url(String),
    /// What carries a tag.
    Tag(String),
    /// What carries one of these tags.
    AnyTag(Vec<String>),
    /// What carries all of these tags.
    AllTags(Vec<String>),
    /// What was fetched for a host.
    Host(String),
    /// What is stored by a route, or by another that shares it.
    Route(String),
    /// What agrees in these partition fields under a route.
    RoutePartition {
        /// The route's name.
        route: String,
        /// Values by field.
        values: BTreeMap<String, String>,
    },
    /// What is stored under a key constructor.
    Key(String),
    /// What agrees in these partition fields under a key constructor.
    KeyPartition {
        /// The constructor's name.
        key: String,
        /// Values by field.
        values: BTreeMap<String, String>,
    },
    /// What is stored under a namespace.
    Namespace(String),
    /// What was fetched for a URL that begins so: absolute, or of any host if it begins with a slash.
    Prefix(String),
    /// What was fetched for a URL like this, in which `*` stands for anything: absolute, or of any host.
    Glob(String),
    /// Of what the target names, what such responses are.
    Where(Box<Target>, Where),
    /// All of it.
    Everything,
}

/// What a stored response is like; all that is said must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Where {
    /// Its status is one of these.
    #[serde(default, deserialize_with = "one_or_many")]
    pub status: Vec<u16>,
    /// Its content type is one of these: `text/html`, `image/*`.
    #[serde(default, deserialize_with = "one_or_many")]
    pub content_type: Vec<String>,
    /// It has these fields: with this value, or at all (`true`), or not (`false`).
    #[serde(default, deserialize_with = "some")]
    pub fields: BTreeMap<String, FieldValue>,
    /// Its body has more bytes: a number, or `1MiB`.
    #[serde(default, deserialize_with = "size")]
    pub larger_than: Option<u64>,
    /// It was received so long ago: `1h`.
    #[serde(default, deserialize_with = "duration")]
    pub older_than: Option<Duration>,
}

impl fmt::Display for Where {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { status, content_type, fields, larger_than, older_than } = self;
        if !status.is_empty() {
            write!(f, " status {status:?}")?;
        }
        if !content_type.is_empty() {
            write!(f, " content type {content_type:?}")?;
        }
        for (name, value) in fields {
            match value {
                FieldValue::Present(true) => write!(f, " field {name:?}")?,
                FieldValue::Present(false) => write!(f, " no field {name:?}")?,
                FieldValue::Equals(value) => write!(f, " field {name:?} {value:?}")?,
            }
        }
        if let Some(bytes) = larger_than {
            write!(f, " larger than {bytes}")?;
        }
        match older_than {
            Some(age) => write!(f, " older than {age:?}"),
            None => Ok(()),
        }
    }
}

/// What a field is to be.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum FieldValue {
    /// There, or not.
    Present(bool),
    /// Exactly this.
    Equals(String),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany<T> {
    One(T),
    Many(Vec<T>),
}

fn one_or_many<'de, T: Deserialize<'de>, D: Deserializer<'de>>(from: D) -> Result<Vec<T>, D::Error> {
    let given = OneOrMany::deserialize(from).map_err(|_| D::Error::custom("one is expected, or a list"))?;
    match given {
        OneOrMany::One(one) => Ok(vec![one]),
        // Whoever's list came out empty meant less than everything.
        OneOrMany::Many(many) if many.is_empty() => Err(D::Error::custom("the list is empty")),
        OneOrMany::Many(many) => Ok(many),
    }
}

fn some<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<String, FieldValue>, D::Error> {
    let fields = BTreeMap::deserialize(from)?;
    if fields.is_empty() { Err(D::Error::custom("\"fields\" names none")) } else { Ok(fields) }
}

fn size<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Size {
        Bytes(u64),
        Text(String),
    }
    let wrong = || D::Error::custom("\"larger_than\" is a size such as 1MiB");
    match Size::deserialize(from).map_err(|_| wrong())? {
        Size::Bytes(bytes) => Ok(Some(bytes)),
        Size::Text(text) => text.parse::<ByteSize>().map(|size| Some(size.as_u64())).map_err(|_| wrong()),
    }
}

fn duration<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(from)?;
    let wrong = |_| D::Error::custom("\"older_than\" is a time such as 1h or 30m");
    humantime::parse_duration(&text).map(Some).map_err(wrong)
}

/// The JSON form, before it is known to name one thing.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    url: Option<String>,
    tag: Option<String>,
    any_tag: Option<Vec<String>>,
    all_tags: Option<Vec<String>>,
    host: Option<String>,
    route: Option<String>,
    key: Option<String>,
    namespace: Option<String>,
    prefix: Option<String>,
    glob: Option<String>,
    everything: Option<bool>,
    partition: Option<BTreeMap<String, String>>,
    r#where: Option<Where>,
}

impl<'de> Deserialize<'de> for Target {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Written {
            url,
            tag,
            any_tag,
            all_tags,
            host,
            route,
            key,
            namespace,
            prefix,
            glob,
            everything,
            partition,
            r#where,
        } = Written::deserialize(deserializer)?;
        if everything == Some(false) {
            return Err(D::Error::custom("\"everything\" can only be true"));
        }
        if [&any_tag, &all_tags].into_iter().flatten().any(Vec::is_empty) {
            return Err(D::Error::custom("the list of tags is empty"));
        }
        let has_partition = partition.is_some();
        let (of_route, of_key) = match partition {
            Some(values) if values.is_empty() => {
                return Err(D::Error::custom("\"partition\" names no field"));
            }
            Some(values) => (Some(values.clone()), Some(values)),
            None => (None, None),
        };
        let mut named = [
            url.map(Target::Url),
            tag.map(Target::Tag),
            any_tag.map(Target::AnyTag),
            all_tags.map(Target::AllTags),
            host.map(Target::Host),
            route.map(|route| match of_route {
                Some(values) => Target::RoutePartition { route, values },
                None => Target::Route(route),
            }),
            key.map(|key| match of_key {
                Some(values) => Target::KeyPartition { key, values },
                None => Target::Key(key),
            }),
            namespace.map(Target::Namespace),
            prefix.map(Target::Prefix),
            glob.map(Target::Glob),
            everything.map(|_| Target::Everything),
        ]
        .into_iter()
        .flatten();
        let target = match (named.next(), named.next()) {
            (Some(target), None) => target,
            (None, None) if r#where.is_some() && !has_partition => Target::Everything,
            _ => {
                return Err(D::Error::custom(
                    "a target is exactly one of url, tag, any_tag, all_tags, host, route, key, namespace, prefix, glob, \
                     everything",
                ));
            }
        };
        match target {
            Target::RoutePartition { .. } | Target::KeyPartition { .. } => {}
            _ if has_partition => {
                return Err(D::Error::custom("\"partition\" goes with \"route\" or \"key\""));
            }
            _ => {}
        }
        match r#where {
            Some(like) if like == Where::default() => Err(D::Error::custom("\"where\" says nothing")),
            Some(like) => Ok(Target::Where(Box::new(target), like)),
            None => Ok(target),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let partition = |f: &mut fmt::Formatter<'_>, kind, owner: &str, values: &BTreeMap<String, String>| {
            write!(f, "{kind} {owner:?} partition {values:?}")
        };
        match self {
            Target::Url(url) => write!(f, "url {url:?}"),
            Target::Tag(tag) => write!(f, "tag {tag:?}"),
            Target::AnyTag(tags) => write!(f, "any tag of {tags:?}"),
            Target::AllTags(tags) => write!(f, "all tags of {tags:?}"),
            Target::Host(host) => write!(f, "host {host:?}"),
            Target::Route(route) => write!(f, "route {route:?}"),
            Target::RoutePartition { route, values } => partition(f, "route", route, values),
            Target::Key(key) => write!(f, "key {key:?}"),
            Target::KeyPartition { key, values } => partition(f, "key", key, values),
            Target::Namespace(namespace) => write!(f, "namespace {namespace:?}"),
            Target::Prefix(prefix) => write!(f, "prefix {prefix:?}"),
            Target::Glob(glob) => write!(f, "glob {glob:?}"),
            Target::Where(target, like) => write!(f, "{target} where{like}"),
            Target::Everything => f.write_str("everything"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Target, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    #[test]
    fn a_target_names_one_thing() {
        assert_eq!(read(r#"{"tag": "a"}"#), Ok(Target::Tag("a".into())));
        assert_eq!(read(r#"{"everything": true}"#), Ok(Target::Everything));
        let values = BTreeMap::from([("user".to_owned(), "42".to_owned())]);
        assert_eq!(
            read(r#"{"key": "k", "partition": {"user": "42"}}"#),
            Ok(Target::KeyPartition { key: "k".into(), values })
        );
    }

    #[test]
    fn a_target_may_say_what_the_responses_are() {
        let like = Where {
            status: vec![404],
            content_type: vec!["image/*".into(), "text/css".into()],
            fields: BTreeMap::from([("x-a".to_owned(), FieldValue::Present(false))]),
            larger_than: Some(1 << 20),
            older_than: Some(Duration::from_secs(3600)),
        };
        let text = r#"{"route": "r", "where": {"status": 404, "content_type": ["image/*", "text/css"], "fields": {"x-a": false},
            "larger_than": "1MiB", "older_than": "1h"}}"#;
        assert_eq!(read(text), Ok(Target::Where(Box::new(Target::Route("r".into())), like)));
        let alone = Where {
            fields: BTreeMap::from([("a".to_owned(), FieldValue::Equals("b".into()))]),
            ..Where::default()
        };
        let expected = Target::Where(Box::new(Target::Everything), alone);
        assert_eq!(read(r#"{"where": {"fields": {"a": "b"}}}"#), Ok(expected));
    }

    #[test]
    fn what_could_mean_more_or_less_than_was_meant_is_refused() {
        for (json, reason) in [
            ("{}", "exactly one"),
            (r#"{"tag": "a", "route": "b"}"#, "exactly one"),
            (r#"{"tag": "a", "partition": {"b": "c"}}"#, "goes with"),
            (r#"{"partition": {"b": "c"}}"#, "exactly one"),
            (r#"{"route": "a", "partition": {}}"#, "no field"),
            (r#"{"everything": false}"#, "only be true"),
            (r#"{"tags": ["a"]}"#, "unknown field"),
            (r#"{"any_tag": []}"#, "is empty"),
            (r#"{"where": {}}"#, "says nothing"),
            (r#"{"tag": "a", "where": {"older": 1}}"#, "unknown field"),
            (r#"{"where": {"status": 404, "fields": {}}}"#, "names none"),
            (r#"{"where": {"status": 404, "content_type": []}}"#, "the list is empty"),
            (r#"{"where": {"older_than": "soon"}}"#, "such as 1h"),
            (r#"{"where": {"larger_than": "huge"}}"#, "such as 1MiB"),
        ] {
            let error = read(json).unwrap_err();
            assert!(error.contains(reason), "{json}: {error}");
        }
    }
}
