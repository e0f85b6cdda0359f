//! What a purge can name. PURE.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::Error as _;

/// One of the things that can be purged.
///
/// In JSON, exactly one of: `{"url": "http://example.com/a"}`, `{"tag": "a"}`, `{"host": "example.com"}`,
/// `{"route": "user"}`, `{"key": "user_payload"}` (these two also with `"partition": {"user": "42"}`),
/// `{"namespace": "users"}`, `{"everything": true}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// An absolute URL, in all its variants.
    Url(String),
    /// What carries a tag.
    Tag(String),
    /// What was fetched for a host.
    Host(String),
    /// What was fetched by a route.
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
    /// All of it.
    Everything,
}

/// The JSON form, before it is known to name one thing.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    url: Option<String>,
    tag: Option<String>,
    host: Option<String>,
    route: Option<String>,
    key: Option<String>,
    namespace: Option<String>,
    everything: Option<bool>,
    partition: Option<BTreeMap<String, String>>,
}

impl<'de> Deserialize<'de> for Target {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Written { url, tag, host, route, key, namespace, everything, partition } =
            Written::deserialize(deserializer)?;
        if everything == Some(false) {
            return Err(D::Error::custom("\"everything\" can only be true"));
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
            everything.map(|_| Target::Everything),
        ]
        .into_iter()
        .flatten();
        let (Some(target), None) = (named.next(), named.next()) else {
            return Err(D::Error::custom(
                "a target is exactly one of url, tag, host, route, key, namespace, everything",
            ));
        };
        match target {
            Target::RoutePartition { .. } | Target::KeyPartition { .. } => Ok(target),
            _ if has_partition => Err(D::Error::custom("\"partition\" goes with \"route\" or \"key\"")),
            _ => Ok(target),
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
            Target::Host(host) => write!(f, "host {host:?}"),
            Target::Route(route) => write!(f, "route {route:?}"),
            Target::RoutePartition { route, values } => partition(f, "route", route, values),
            Target::Key(key) => write!(f, "key {key:?}"),
            Target::KeyPartition { key, values } => partition(f, "key", key, values),
            Target::Namespace(namespace) => write!(f, "namespace {namespace:?}"),
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
    fn what_could_mean_more_or_less_than_was_meant_is_refused() {
        for (json, reason) in [
            ("{}", "exactly one"),
            (r#"{"tag": "a", "route": "b"}"#, "exactly one"),
            (r#"{"tag": "a", "partition": {"b": "c"}}"#, "goes with"),
            (r#"{"partition": {"b": "c"}}"#, "exactly one"),
            (r#"{"route": "a", "partition": {}}"#, "no field"),
            (r#"{"everything": false}"#, "only be true"),
            (r#"{"tags": ["a"]}"#, "unknown field"),
        ] {
            let error = read(json).unwrap_err();
            assert!(error.contains(reason), "{json}: {error}");
        }
    }
}
