//! The key constructor: fields in, an injective key out.

use super::encoding::{escape, replace_by_digest};
use super::query::QuerySelection;
use super::value::Reader;
use super::{Field, Key, KeyError, KeyInput, Part, Source};
use crate::clock::Timestamp;
use crate::routes::Captures;
use http::{HeaderMap, Method};
use smallvec::SmallVec;
use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

/// One entry of `keys:`, compiled (`extends` already resolved).
#[derive(Debug)]
pub struct Constructor {
    /// Its name under `keys:`; the safe default is called `default`.
    pub name: Arc<str>,
    /// What keeps whole families of keys apart; may be empty.
    pub namespace: Arc<str>,
    /// A bump makes older keys unreachable.
    pub version: u32,
    /// Constructors (and routes) with the same id share stored responses. Default: the name.
    pub id: Arc<str>,
    /// In any order: the key does not depend on it.
    pub fields: Vec<Field>,
    /// In bytes.
    pub max_suffix_length: usize,
    /// What happens to a longer suffix.
    pub on_overflow: OnOverflow,
}

/// What happens to a suffix that is longer than it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnOverflow {
    /// The suffix is replaced by its digest.
    Hash,
    /// The request is not cached ([`KeyError::TooLong`]).
    Reject,
}

/// How long a suffix may be if nobody says otherwise, in bytes.
pub const DEFAULT_MAX_SUFFIX_LENGTH: usize = 512;

impl Constructor {
    /// The safe default key: scheme class, host, normalised path (its captures as partition), sorted query, without
    /// [tracking parameters](super::TRACKING) if `drop_tracking`.
    pub fn safe_default(drop_tracking: bool) -> Self {
        let field = |name: &str, source| Field {
            name: name.into(),
            partition: matches!(source, Source::PathAll),
            source,
            hash: false,
            sort: false,
            normalize: Vec::new(),
        };
        let query = QuerySelection { drop_tracking, sorted: true, ..QuerySelection::default() };
        Self {
            name: "default".into(),
            namespace: "".into(),
            version: 1,
            id: "default".into(),
            fields: vec![
                field("scheme", Source::Scheme),
                field("host", Source::Host),
                field("path", Source::WholePath),
                field("captures", Source::PathAll),
                field("query", Source::Query(query)),
            ],
            max_suffix_length: DEFAULT_MAX_SUFFIX_LENGTH,
            on_overflow: OnOverflow::Hash,
        }
    }

    /// The request's key.
    ///
    /// # Errors
    ///
    /// The suffix is too long and may not be shortened, or a token cannot be believed.
    pub fn key(&self, input: &KeyInput<'_>) -> Result<Key, KeyError> {
        let reader = Reader::new(input);
        let mut text = String::with_capacity(128);
        let mut partition = Vec::new();
        self.push_head(&mut text);
        text.push('|');
        for field in in_order(&self.fields, |field| field.partition) {
            reader.push(field, &mut text, Some(&mut partition))?;
        }
        text.push('|');
        let start = text.len();
        for field in in_order(&self.fields, |field| !field.partition) {
            reader.push(field, &mut text, None)?;
        }
        let length = text.len() - start;
        if length > self.max_suffix_length {
            match self.on_overflow {
                OnOverflow::Hash => replace_by_digest(start, &mut text),
                OnOverflow::Reject => {
                    return Err(KeyError::TooLong { length, limit: self.max_suffix_length });
                }
            }
        }
        let partition = if partition.is_empty() { Arc::default() } else { partition.into() };
        Ok(Key { text: text.into(), partition })
    }

    /// What each field contributes to the key, in the key's order.
    ///
    /// # Errors
    ///
    /// A token cannot be believed.
    pub fn parts(&self, input: &KeyInput<'_>) -> Result<Vec<Part>, KeyError> {
        let reader = Reader::new(input);
        let partition = in_order(&self.fields, |field| field.partition);
        let suffix = in_order(&self.fields, |field| !field.partition);
        let part = |field: &Field| {
            let mut encoded = "|".to_owned();
            reader.push(field, &mut encoded, None)?;
            encoded.remove(0);
            Ok(Part { field: Arc::clone(&field.name), partition: field.partition, encoded })
        };
        partition.into_iter().chain(suffix).map(part).collect()
    }

    /// Names of the partition fields, sorted. Where [every capture is one](Self::is_partitioned_by_captures), those of
    /// the route come on top.
    pub fn partition_fields(&self) -> impl Iterator<Item = &Arc<str>> {
        let mut names: Vec<_> = self
            .fields
            .iter()
            .filter(|field| field.partition)
            .flat_map(|field| match &field.source {
                Source::PathAll => &[],
                Source::Path(captures) if field.is_spread() => &captures[..],
                _ => std::slice::from_ref(&field.name),
            })
            .collect();
        names.sort();
        names.into_iter()
    }

    /// Whether every capture of the route's path pattern is a partition field by its own name.
    pub fn is_partitioned_by_captures(&self) -> bool {
        self.fields.iter().any(|field| field.partition && matches!(field.source, Source::PathAll))
    }

    /// The URL as far as this key can tell URLs apart, without request fields: host, path or captures, and the
    /// query parameters that take part, each only if the key has it. Two URLs with one resource are purged together.
    ///
    /// The scheme is left out, so a purge reaches both. `captures` are those of `path` on the route that uses this
    /// key ([`Table::candidates`](crate::routes::Table::candidates) has them).
    pub fn resource(&self, host: &str, path: &str, query: Option<&str>, captures: &Captures) -> String {
        let headers = HeaderMap::new();
        let reader = Reader::new(&KeyInput {
            host,
            path,
            query,
            captures,
            // No field of the URL looks at these.
            headers: &headers,
            method: &Method::GET,
            scheme: "",
            client: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            now: Timestamp::default(),
        });
        let mut text = String::with_capacity(128);
        self.push_head(&mut text);
        text.push('|');
        for field in in_order(&self.fields, Field::is_of_url) {
            if reader.push(field, &mut text, None).is_err() {
                // Only tokens fail, and no token is part of the URL.
                break;
            }
        }
        text
    }

    fn push_head(&self, text: &mut String) {
        if !self.namespace.is_empty() {
            escape(&self.namespace, text);
            text.push(':');
        }
        escape(&self.id, text);
        // Writing to a string does not fail.
        let _ = write!(text, ":v{}", self.version);
    }
}

/// The fields of one section by name, so that the order of their declaration does not matter.
fn in_order(fields: &[Field], which: impl Fn(&Field) -> bool) -> SmallVec<[&Field; 8]> {
    let mut section: SmallVec<[&Field; 8]> = fields.iter().filter(|field| which(field)).collect();
    section.sort_by(|a, b| a.name.cmp(&b.name));
    section
}
