//! Matching a request to its route: host, path pattern, method, header fields.

use http::{HeaderMap, HeaderName, Method};
use smallvec::SmallVec;
use std::sync::Arc;

use super::Route;

/// A path pattern such as `/users/{user_id}` or `/files/{*rest}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathPattern {/* owned by helper A */}

/// Why a pattern was refused: byte offset into the pattern, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct PatternError {
    pub at: usize,
    pub message: String,
}

impl PathPattern {
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        unimplemented!()
    }
    /// Names of the captures, in order.
    pub fn captures(&self) -> impl Iterator<Item = &str> {
        std::iter::empty()
    }
}

/// `example.com`, `example.com:8080`, `*.example.com`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPattern {/* owned by helper A */}

impl HostPattern {
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        unimplemented!()
    }
}

/// What must hold of one request field.
#[derive(Clone, Debug)]
pub enum HeaderCondition {
    Present,
    Absent,
    Equals(String),
    Matches(regex::Regex),
}

/// What a route asks of a request; empty lists ask nothing.
#[derive(Clone, Debug)]
pub struct Match {
    pub hosts: Vec<HostPattern>,
    pub path: PathPattern,
    pub methods: Vec<Method>,
    pub headers: Vec<(HeaderName, HeaderCondition)>,
}

/// The parts of a request that routing looks at. `host` is lower-case, `path` normalised (RFC 3986 §6.2.2).
#[derive(Clone, Copy, Debug)]
pub struct RouteQuery<'a> {
    pub method: &'a Method,
    pub host: &'a str,
    pub path: &'a str,
    pub headers: &'a HeaderMap,
}

/// Where in the normalised path each capture lies. Holds no text: the path is passed in again.
#[derive(Clone, Debug, Default)]
pub struct Captures {
    pub names: Option<Arc<[Box<str>]>>,
    pub ranges: SmallVec<[(u32, u32); 4]>,
}

impl Captures {
    /// The capture as it stands in the path, percent-encoding and all.
    pub fn raw<'p>(&self, path: &'p str, name: &str) -> Option<&'p str> {
        unimplemented!()
    }
    /// All captures, in the pattern's order, as (name, raw text).
    pub fn iter<'s, 'p: 's>(&'s self, path: &'p str) -> impl Iterator<Item = (&'s str, &'p str)> {
        std::iter::empty()
    }
}

/// A route that no request can reach, and the one that takes its requests (indices into the list given).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shadowed {
    pub route: usize,
    pub by: usize,
}

/// All routes, ready to be matched: the most specific first, ties by order.
#[derive(Debug)]
pub struct Table {/* owned by helper A */}

impl Table {
    pub fn new(routes: Vec<Arc<Route>>) -> Self {
        unimplemented!()
    }
    pub fn find(&self, request: RouteQuery<'_>) -> Option<(&Arc<Route>, Captures)> {
        unimplemented!()
    }
    /// Every route that some request for this host and path could reach, whatever its method and fields.
    /// With `host: None`, of any host.
    pub fn candidates<'t>(&'t self, host: &str, path: &str) -> Vec<(&'t Arc<Route>, Captures)> {
        unimplemented!()
    }
    pub fn routes(&self) -> &[Arc<Route>] {
        unimplemented!()
    }
    pub fn by_name(&self, name: &str) -> Option<&Arc<Route>> {
        unimplemented!()
    }
    /// Routes that can never match because an earlier one takes everything they would.
    pub fn shadowed(matches: &[Match]) -> Vec<Shadowed> {
        unimplemented!()
    }
}
