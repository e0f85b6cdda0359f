//! What goes into a key and what comes out.

use super::digest_hex;
use crate::clock::Timestamp;
use crate::routes::Captures;
use http::{HeaderMap, Method};
use std::fmt;
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

/// A built key. Equal iff the text is equal; the text is the identity. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Key {
    /// The whole key, readable and injective: `users:user_payload:v1|user=42|lang=en,page={page=1}`.
    pub text: Arc<str>,
    /// Partition fields by name, decoded: what a purge names. A field without a value has an empty one.
    pub partition: Arc<[(Arc<str>, String)]>,
}

impl Key {
    /// The partition's own part of the text (empty if the constructor has none).
    pub fn partition_str(&self) -> &str {
        self.section(1)
    }

    /// The part of the text behind the partition: everything that tells the members of a partition apart.
    pub fn suffix(&self) -> &str {
        self.section(2)
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
