//! The key constructor: fields in, an injective key out.

use super::Field;
use crate::clock::Timestamp;
use crate::routes::Captures;
use http::{HeaderMap, Method};
use std::net::IpAddr;
use std::sync::Arc;

/// One entry of `keys:`, compiled (`extends` already resolved).
#[derive(Debug)]
pub struct Constructor {
    /// Its name under `keys:`; the safe default is called `default`.
    pub name: Arc<str>,
    pub namespace: Arc<str>,
    pub version: u32,
    /// Constructors (and routes) with the same id share stored responses. Default: the name.
    pub id: Arc<str>,
    pub fields: Vec<Field>,
    pub max_suffix_length: usize,
    pub on_overflow: OnOverflow,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnOverflow {
    /// The suffix is replaced by its digest.
    Hash,
    /// The request is not cached ([`KeyError::TooLong`]).
    Reject,
}

/// What a key may be built from. `host` is lower-case with port, `path` normalised, `query` as sent.
#[derive(Clone, Copy, Debug)]
pub struct KeyInput<'a> {
    pub method: &'a Method,
    pub scheme: &'a str,
    pub host: &'a str,
    pub path: &'a str,
    pub query: Option<&'a str>,
    pub headers: &'a HeaderMap,
    pub captures: &'a Captures,
    pub client: IpAddr,
    /// For the `exp` and `nbf` of tokens.
    pub now: Timestamp,
}

/// A built key. Equal iff the text is equal; the text is the identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// The whole key, readable and injective: `users:user_payload:v1|user=42|lang=en,page={page=1}`.
    pub text: Arc<str>,
    /// Partition fields by name, decoded: what a purge names.
    pub partition: Vec<(Arc<str>, String)>,
}

/// One field's contribution, for `staleproof key`.
#[derive(Clone, Debug)]
pub struct Part {
    pub field: Arc<str>,
    pub partition: bool,
    pub encoded: String,
}

/// Why no key was built: the request is answered by the origin, uncached.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    #[error("the key's suffix would be {length} bytes, more than {limit}")]
    TooLong { length: usize, limit: usize },
    #[error("the token in field {field} could not be verified")]
    Unverified { field: Arc<str> },
}

impl Constructor {
    /// The safe default key: scheme class, host, normalised path, sorted query (without `exclude`d parameters).
    pub fn safe_default(drop_tracking: bool) -> Self {
        unimplemented!()
    }
    pub fn key(&self, input: &KeyInput<'_>) -> Result<Key, KeyError> {
        unimplemented!()
    }
    pub fn parts(&self, input: &KeyInput<'_>) -> Result<Vec<Part>, KeyError> {
        unimplemented!()
    }
    /// Names of the partition fields, sorted.
    pub fn partition_fields(&self) -> impl Iterator<Item = &Arc<str>> {
        std::iter::empty()
    }
    /// The URL as far as this key can tell URLs apart, without request fields: host, path, and the canonical
    /// form of the query parameters that take part in the key. Two URLs with one resource are purged together.
    pub fn resource(&self, host: &str, path: &str, query: Option<&str>) -> String {
        unimplemented!()
    }
}

impl Key {
    /// The partition's own part of the text (empty if the constructor has none).
    pub fn partition_str(&self) -> &str {
        unimplemented!()
    }
    pub fn suffix(&self) -> &str {
        unimplemented!()
    }
    /// 128-bit BLAKE3 of the text in lower-case hex.
    pub fn digest(&self) -> String {
        unimplemented!()
    }
}
