//! What goes into a key and what comes out.

use super::encoding::push_entry;
use super::value::Value;
use super::{DEFAULT_MAX_SUFFIX_LENGTH, digest_hex};
use crate::clock::Timestamp;
use crate::routes::Captures;
use crate::semantics::range::Slice;
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, HeaderName, Method};
use std::fmt::{self, Write as _};
use std::hash::{Hash, Hasher};
use std::net::IpAddr;
use std::sync::Arc;

/// What a key may be built from. `host` is lower-case with port, `path` normalised, `query` as sent.
#[derive(Clone, Copy, Debug)]
pub struct KeyInput<'a> {
    /// The method, in its own case.
    pub method: &'a Method,
    /// `http` or `https`.
    pub scheme: &'a str,
    /// In lower case, with the port if there is one.
    pub host: &'a str,
    /// Normalised (RFC 3986 §6.2.2), without the query.
    pub path: &'a str,
    /// What follows the question mark; `None` without one.
    pub query: Option<&'a str>,
    /// The request's fields.
    pub headers: &'a HeaderMap,
    /// What the route's pattern captured from `path`.
    pub captures: &'a Captures,
    /// The client's address.
    pub client: IpAddr,
    /// For the `exp` and `nbf` of tokens.
    pub now: Timestamp,
}

/// The section that tells parts from the whole. No other section can be read so.
const PARTS: &str = "|parts";

/// What begins the section that tells a slice from the whole.
const SLICE: &str = "|slice:";

/// A built key. Equal iff the text is equal; the text is the identity. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Key {
    /// The whole key, readable and injective: `users:user_payload:v1|user=42|lang=en,page={page=1}`.
    pub text: Arc<str>,
    /// Partition fields by name, decoded: what a purge names. A field without a value has an empty one; one that can be
    /// read in several ways comes several times, with more than [`MAX_READINGS`](super::MAX_READINGS) values if those
    /// are not all.
    pub partition: Arc<[(Arc<str>, String)]>,
}

impl Key {
    /// The partition fields, each with the reading that is shown.
    pub fn shown_partition(&self) -> impl Iterator<Item = (&Arc<str>, &str)> {
        let mut shown: Vec<&Arc<str>> = Vec::new();
        let fields = self.partition.iter().map(|(name, value)| (name, value.as_str()));
        fields.filter(move |(name, _)| {
            let is_first = !shown.contains(name);
            shown.push(name);
            is_first
        })
    }

    /// The partition's own part of the text (empty if the constructor has none).
    pub fn partition_str(&self) -> &str {
        self.section(1)
    }

    /// The part of the text behind the partition: everything that tells the members of a partition apart.
    pub fn suffix(&self) -> &str {
        self.section(2)
    }

    /// The key that parts of the response lie under.
    pub fn for_parts(&self) -> Self {
        Self { text: format!("{}{PARTS}", self.text).into(), partition: Arc::clone(&self.partition) }
    }

    /// The key that a slice of the response lies under.
    pub fn for_slice(&self, slice: Slice) -> Self {
        let mut text = self.text.to_string();
        Self::add_slice(&mut text, slice);
        Self { text: text.into(), partition: Arc::clone(&self.partition) }
    }

    /// Makes a key's text that of [a slice](Self::for_slice).
    pub(crate) fn add_slice(text: &mut String, Slice { index, size }: Slice) {
        // Writing to a string does not fail.
        let _ = write!(text, "{SLICE}{index}*{size}");
    }

    /// The key that the whole response lies under, of which this may be the [key of its parts](Self::for_parts) or of
    /// [a slice](Self::for_slice).
    pub fn for_whole(&self) -> Self {
        Self { text: Self::of_whole(&self.text), partition: Arc::clone(&self.partition) }
    }

    /// The same, of texts.
    pub fn of_whole(text: &Arc<str>) -> Arc<str> {
        let part = text.strip_suffix(PARTS).or_else(|| Some(text.rsplit_once(SLICE)?.0));
        part.map_or_else(|| Arc::clone(text), Arc::from)
    }

    /// This key for a request with content: it has one more section, with the content and all that describes it (the
    /// `content-*` fields but the length), byte for byte.
    ///
    /// A long section becomes its digest, of 256 bits, since anyone may choose the content.
    pub fn with_content(&self, headers: &HeaderMap, content: &[u8]) -> Self {
        let mut text = self.text.to_string();
        Self::add_content(&mut text, headers, content);
        Self { text: text.into(), partition: Arc::clone(&self.partition) }
    }

    /// Makes a key's text that of [a request with content](Self::with_content).
    pub(crate) fn add_content(text: &mut String, headers: &HeaderMap, content: &[u8]) {
        text.push('|');
        let start = text.len();
        push_entry(b"content", &Value::One(content.into()), false, text);
        let mut names: Vec<_> = headers.keys().filter(|name| describes_content(name)).collect();
        names.sort_unstable_by_key(|name| name.as_str());
        for name in names {
            let lines = headers.get_all(name).iter().map(|line| line.as_bytes().into());
            push_entry(name.as_str().as_bytes(), &Value::List(lines.collect()), false, text);
        }
        if text.len() - start > DEFAULT_MAX_SUFFIX_LENGTH {
            let digest = blake3::hash(&text.as_bytes()[start..]).to_hex();
            text.truncate(start);
            text.push('#');
            text.push_str(&digest);
        }
    }

    /// 128-bit BLAKE3 of the text in lower-case hex.
    pub fn digest(&self) -> String {
        digest_hex(self.text.as_bytes())
    }

    /// The bar is escaped wherever it does not delimit.
    fn section(&self, i: usize) -> &str {
        self.text.split('|').nth(i).unwrap_or_default()
    }
}

fn describes_content(name: &HeaderName) -> bool {
    name.as_str().starts_with("content-") && name != CONTENT_LENGTH
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Key {}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// One field's contribution, for `staleproof key`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The field's name.
    pub field: Arc<str>,
    /// Whether it belongs to the partition.
    pub partition: bool,
    /// What it adds to the key: `lang=en`, or `lang` alone if there is no value. Empty if it stands for all captures
    /// and the route has none.
    pub encoded: String,
}

/// Why no key was built: the request is answered by the origin, uncached.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The constructor says that a long key is not to be shortened.
    #[error("the key's suffix would be {length} bytes, more than {limit}")]
    TooLong {
        /// Of the suffix, in bytes.
        length: usize,
        /// In bytes.
        limit: usize,
    },
    /// There is a token, but not one that can be believed: malformed, not signed with the key given, expired, not
    /// yet valid, meant for somebody else, or there are several.
    #[error("the token in field {field} could not be verified")]
    Unverified {
        /// The field's name.
        field: Arc<str>,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn key(text: &str) -> Key {
        Key { text: text.into(), partition: Arc::default() }
    }

    fn with(fields: &[(&str, &str)], content: &[u8]) -> Key {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
        }
        key("a:v1|p=1|s=2").with_content(&headers, content)
    }

    const JSON: (&str, &str) = ("content-type", "application/json");

    #[test]
    fn a_key_with_content_reads_like_what_it_is_made_of() {
        let key = with(&[JSON, ("content-length", "7"), ("accept", "*/*")], b"{\"a\":1}");
        assert_eq!(&*key.text, "a:v1|p=1|s=2|content=%7B%22a%22%3A1%7D,content-type=[application/json]");
        assert_eq!((key.partition_str(), key.suffix()), ("p=1", "s=2"));
    }

    #[test]
    fn content_and_what_describes_it_tell_keys_apart() {
        let long = "x".repeat(2000);
        let keys = [
            key("a:v1|p=1|s=2"),
            with(&[], b""),
            with(&[JSON], b""),
            with(&[JSON], b"a"),
            with(&[JSON], b"a "),
            with(&[JSON], b"a,content-type=[application/json]"),
            with(&[("content-type", "application/json; charset=utf-8")], b"a"),
            with(&[JSON, JSON], b"a"),
            with(&[("content-type", "application/json, application/json")], b"a"),
            with(&[JSON, ("content-encoding", "gzip")], b"a"),
            with(&[JSON, ("content-encoding", "")], b"a"),
            with(&[JSON, ("content-language", "gzip")], b"a"),
            with(&[JSON, ("content-encoding", "gzip"), ("content-encoding", "br")], b"a"),
            with(&[JSON, ("content-encoding", "br"), ("content-encoding", "gzip")], b"a"),
            with(&[JSON], long.as_bytes()),
            with(&[JSON, ("content-language", "en")], long.as_bytes()),
            with(&[JSON], &long.as_bytes()[1..]),
            with(&[JSON], &[0xFF]),
        ];
        let different: HashSet<_> = keys.iter().collect();
        assert_eq!(different.len(), keys.len());
    }

    #[test]
    fn the_order_of_different_fields_and_how_the_length_was_sent_make_no_difference() {
        let (encoding, length) = (("content-encoding", "gzip"), ("content-length", "1"));
        assert_eq!(with(&[JSON, encoding, length], b"a"), with(&[encoding, JSON], b"a"));
    }

    #[test]
    fn long_content_does_not_make_a_long_key() {
        let key = with(&[JSON], "x".repeat(100_000).as_bytes());
        assert_eq!(key.text.len(), "a:v1|p=1|s=2|#".len() + 64);
    }
}
