//! Tags: everything that can be invalidated as a group is one. PURE.

use std::fmt;
use std::sync::Arc;

use crate::keys::escape;
use crate::uri::without_default_port;

/// How long the text of a tag may be, in bytes.
const MAX_BYTES: usize = 256;

/// The name of a group: `url:…`, `any-query:…`, `host:…`, `key:…`, `namespace:…`, `tag:…`, `group:…`, `template:…`,
/// `partition:…`. Readable, and injective: what is inside can never look like another kind's
/// delimiter. A long one has a digest of 256 bits in the place of its name (`url#…`), since clients choose URLs and
/// partition values.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Tag(Arc<str>);

impl Tag {
    /// A URL as far as a key can tell URLs apart ([`Constructor::resource`](crate::keys::Constructor::resource)).
    pub fn url(resource: &str) -> Self {
        Self::of("url", resource)
    }

    /// What a URL without its query leads to and may be served for other queries than its own.
    pub fn any_query(resource: &str) -> Self {
        Self::of("any-query", resource)
    }

    /// All that was fetched for a host (normalised; without a port that may be the default).
    pub fn host(host: &str) -> Self {
        Self::of("host", without_default_port(host))
    }

    /// All that is stored under keys of a constructor.
    pub fn key(name: &str) -> Self {
        Self::of("key", name)
    }

    /// All that is stored under keys of a namespace.
    pub fn namespace(name: &str) -> Self {
        Self::of("namespace", name)
    }

    /// What the application, or a route's `tags:`, calls so.
    pub fn application(tag: &str) -> Self {
        Self::of("tag", tag)
    }

    /// What the application calls it, if this is such a tag; of a long one only the digest is known.
    pub fn as_application(&self) -> Option<&str> {
        self.0.strip_prefix("tag:").or_else(|| self.0.starts_with("tag#").then_some(&*self.0))
    }

    /// What has more tags by a route's template than are listed.
    pub fn template(text: &str) -> Self {
        Self::of("template", text)
    }

    /// What an origin has given one group name (RFC 9875). `None`: responses that stand for every scheme, or for every
    /// host.
    pub fn group(scheme: Option<&str>, host: Option<&str>, name: &str) -> Self {
        let mut text = String::from("group:");
        for part in [scheme, host] {
            escape(part.unwrap_or_default(), &mut text);
            text.push('|');
        }
        escape(name, &mut text);
        Self::short(text)
    }

    /// What agrees in these partition fields under keys of a constructor. Their order makes no difference.
    pub fn partition<'a>(key: &str, fields: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut fields: Vec<_> = fields.into_iter().collect();
        fields.sort_unstable();
        // A capture may be a field twice, by its own name and as one of all captures.
        fields.dedup();
        let mut text = String::from("partition:");
        escape(key, &mut text);
        for (name, value) in fields {
            text.push('|');
            escape(name, &mut text);
            text.push('=');
            escape(value, &mut text);
        }
        Self::short(text)
    }

    fn of(kind: &str, name: &str) -> Self {
        // Only the first colon counts, and no kind contains one.
        Self::short(format!("{kind}:{name}"))
    }

    fn short(text: String) -> Self {
        if text.len() <= MAX_BYTES {
            return Self(text.into());
        }
        let kind = text.split(':').next().unwrap_or_default();
        Self(format!("{kind}#{}", blake3::hash(text.as_bytes()).to_hex()).into())
    }

    /// The bytes that remembering its text takes; of most tags it is not.
    pub(super) fn byte_size(&self) -> usize {
        // The counts of an `Arc`; an entry of a table with its share of the free room.
        const TEXT_BYTES: usize = 2 * size_of::<usize>() + 2 * (size_of::<TagId>() + size_of::<Tag>());
        self.as_application().map_or(0, |_| self.0.len() + TEXT_BYTES)
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What stands for a tag in the [log](super::Log) that made it: the text of it would take more memory than all that is remembered
/// of it. Two tags that share one are one to the log, so that what names one of them strikes both: too much is allowed. The
/// hash is another in each process, so that nobody outside knows which those are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TagId(pub(super) u64);

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn the_order_of_partition_fields_makes_no_difference() {
        assert_eq!(
            Tag::partition("k", [("a", "1"), ("b", "2")]),
            Tag::partition("k", [("b", "2"), ("a", "1")])
        );
    }

    #[test]
    fn what_clients_make_long_stays_short_and_of_its_own() {
        let long = "x".repeat(30_000);
        let tags = [
            Tag::url(&long),
            Tag::url(&long[1..]),
            Tag::host(&long),
            Tag::application(&long),
            Tag::partition("k", [("a", &*long)]),
            Tag::partition("l", [("a", &*long)]),
            Tag::partition("l", [("a", &*long), ("b", "")]),
            Tag::group(None, None, &long),
        ];
        let different: HashSet<_> = tags.iter().collect();
        assert_eq!(different.len(), tags.len());
        assert!(tags.iter().all(|tag| tag.byte_size() < 512), "{tags:?}");
        assert_eq!(Tag::url(&long), Tag::url(&long));
    }

    #[test]
    fn no_value_can_look_like_another_group() {
        let tags = [
            Tag::partition("k", [("a", "1|b=2")]),
            Tag::partition("k", [("a", "1"), ("b", "2")]),
            Tag::partition("k|a=1", [("b", "2")]),
            Tag::application("partition:k|a=1|b=2"),
            Tag::key("k"),
            Tag::host("k"),
            Tag::group(Some("a"), Some("b"), "c"),
            Tag::group(Some("a"), None, "b|c"),
            Tag::group(Some("a|b"), None, "c"),
            Tag::group(None, Some("a|b"), "c"),
            Tag::group(None, None, "a|b|c"),
        ];
        let different: HashSet<_> = tags.iter().collect();
        assert_eq!(different.len(), tags.len());
    }
}
