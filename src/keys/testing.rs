//! Requests and constructors in one line.

use super::{Constructor, Field, KeyInput, OnOverflow, Source};
use crate::clock::Timestamp;
use crate::routes::{Captures, testing};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use std::net::IpAddr;

/// A request to `https://example.com:8080`.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    pub(super) path: String,
    pub(super) query: Option<String>,
    pub(super) headers: HeaderMap,
    pub(super) captures: Captures,
    pub(super) client: IpAddr,
    pub(super) now: Timestamp,
}

impl Sample {
    /// `target`: path and query.
    pub(super) fn new(target: &str) -> Self {
        let (path, query) =
            target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
        Self {
            path: path.to_owned(),
            query: query.map(str::to_owned),
            headers: HeaderMap::new(),
            captures: Captures::default(),
            client: IpAddr::from([192, 0, 2, 1]),
            now: Timestamp::default(),
        }
    }

    /// The path matched this pattern.
    pub(super) fn captured(mut self, pattern: &str) -> Self {
        self.captures = testing::captures(pattern, &self.path);
        self
    }

    pub(super) fn field(mut self, name: &'static str, value: &str) -> Self {
        let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
        self.headers.append(HeaderName::from_static(name), value);
        self
    }

    pub(super) fn client(mut self, address: &str) -> Self {
        self.client = address.parse().unwrap();
        self
    }

    pub(super) fn input(&self) -> KeyInput<'_> {
        KeyInput {
            method: &Method::GET,
            scheme: "https",
            host: "example.com:8080",
            path: &self.path,
            query: self.query.as_deref(),
            headers: &self.headers,
            captures: &self.captures,
            client: self.client,
            now: self.now,
        }
    }
}

pub(super) fn field(name: &str, source: Source) -> Field {
    Field { name: name.into(), source, partition: false, hash: false, sort: false, normalize: Vec::new() }
}

/// Its id is `id`, its version 1.
pub(super) fn constructor(fields: Vec<Field>) -> Constructor {
    Constructor {
        name: "name".into(),
        namespace: "".into(),
        version: 1,
        id: "id".into(),
        fields,
        max_suffix_length: 10_000,
        on_overflow: OnOverflow::Reject,
    }
}
