//! Tags: everything that can be invalidated as a group is one, and has a cell that remembers it. PURE.

use std::fmt;
use std::sync::Arc;

use super::log::lock;
use super::members::{Members, Tally};
use super::sync::{AtomicU64, Mutex, Ordering};
use super::{Marks, Position, Standing, Strength};
use crate::keys::escape;
use crate::uri::without_default_port;

/// How long the text of a tag may be, in bytes.
const MAX_BYTES: usize = 256;

/// What a place in the log takes at most, in bytes.
pub const PLACE_BYTES: usize = 256;

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

    /// The bytes that it and its cell account for, whoever carries them.
    pub(super) fn byte_size(&self) -> usize {
        // The counts of an `Arc`; an entry of a table with its share of the free room.
        const COUNTS: usize = 2 * size_of::<usize>();
        const fn entry<T>() -> usize {
            2 * (size_of::<u64>() + size_of::<T>())
        }
        let name = self.as_application().map_or(0, |name| name.len() + COUNTS + entry::<Self>());
        size_of::<TagCell>() + COUNTS + entry::<Arc<TagCell>>() + name
    }

    /// In how many places of the log it stands, so to speak, each of [`PLACE_BYTES`] at most: one whose text is remembered takes
    /// several, if that is long.
    pub(super) fn places(&self) -> usize {
        1 + self.as_application().map_or(0, |name| name.len() / 64)
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a tag remembers: the newest invalidations that named it, and who carries it.
#[derive(Debug, Default)]
pub struct TagCell {
    hard: AtomicU64,
    soft: AtomicU64,
    members: Mutex<Members>,
}

impl TagCell {
    /// The newest hard invalidation that named this tag.
    pub fn hard(&self) -> Position {
        Position(self.hard.load(Ordering::Acquire))
    }

    /// The newest soft one.
    pub fn soft(&self) -> Position {
        Position(self.soft.load(Ordering::Acquire))
    }

    /// Both.
    pub(super) fn marks(&self) -> Marks {
        Marks { hard: self.hard(), soft: self.soft() }
    }

    /// Notes an invalidation; what there was before it. Only while the log is appended to.
    pub(super) fn invalidate(&self, position: Position, strength: Strength) -> Before {
        // Counted and noted at once: what is stored from now on and struck all the same is found out by whoever stores it.
        let members = lock(&self.members);
        let before = Before { marks: self.marks(), struck: members.struck_by(strength) };
        let mark = match strength {
            Strength::Hard => &self.hard,
            Strength::Soft => &self.soft,
        };
        mark.fetch_max(position.0, Ordering::AcqRel);
        drop(members);
        before
    }

    /// One of those stored that carry this tag stands otherwise than before, or comes or goes.
    pub(super) fn moved(&self, one: &(Arc<str>, u32), from: Option<Standing>, to: Option<Standing>) {
        lock(&self.members).moved(one, from, to);
    }

    /// How many keys there are under which something that carries this tag is stored.
    pub fn number(&self) -> usize {
        lock(&self.members).number_of_keys()
    }

    /// The keys under which something that carries this tag is, or was until just now, stored.
    pub fn members(&self) -> Vec<Arc<str>> {
        lock(&self.members).keys()
    }
}

/// What there was of a tag when it was invalidated.
#[derive(Clone, Copy, Debug)]
pub struct Before {
    /// The newest invalidations that had named it.
    pub marks: Marks,
    /// What was stored and carried it, if it was not noted to be as bad already.
    pub struck: Tally,
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_tag_takes_no_more_than_its_places() {
        for length in [0, 1, 50, 60, 64, 100, 127, 200, 250, 256, 10_000] {
            let tag = Tag::application(&"x".repeat(length));
            assert!(tag.byte_size() <= tag.places() * PLACE_BYTES, "{length}: {}", tag.byte_size());
        }
    }

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
