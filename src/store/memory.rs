//! The memory tier.

use crate::invalidation::Carried;
use crate::keys::Key;
use crate::semantics::StoredResponse;
use bytes::Bytes;
use http::HeaderMap;
use std::sync::Arc;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryLimits {
    pub capacity_bytes: u64,
    pub max_object_bytes: u64,
}

/// A stored response with its body and what it carries.
#[derive(Debug)]
pub struct Stored {
    pub key: Key,
    pub response: StoredResponse,
    pub body: Vec<Bytes>,
    pub body_len: u64,
    pub trailers: Option<HeaderMap>,
    pub carried: Carried,
    /// All bytes it accounts for: body, fields, key, overhead.
    pub weight: u32,
}

/// All stored responses under one key.
#[derive(Debug, Default)]
pub struct Variants {
    pub stored: Vec<Arc<Stored>>,
}

#[derive(Debug)]
pub struct Memory {}

impl Memory {
    /// All variants under a key, whatever their standing; does not count as a use.
    pub fn peek(&self, key: &str) -> Option<Arc<Variants>> {
        unimplemented!()
    }
    /// Removes the variants for which `keep` says no, and the key once none is left.
    pub fn retain(&self, key: &str, keep: impl Fn(&Stored) -> bool) {
        unimplemented!()
    }
    /// Removes everything.
    pub fn clear(&self) {
        unimplemented!()
    }
    /// Every key with its variants (a snapshot; for listing and counting everything).
    pub fn iter(&self) -> impl Iterator<Item = (Arc<str>, Arc<Variants>)> + '_ {
        std::iter::empty()
    }
    pub fn len(&self) -> u64 {
        unimplemented!()
    }
    pub fn bytes(&self) -> u64 {
        unimplemented!()
    }
}
