//! Tags: everything that can be invalidated as a group, and the cell that remembers it.

use super::Position;
use std::sync::Arc;

/// The injective, readable name of a group: `url:…`, `host:…`, `route:…`, `key:…`, `namespace:…`, `tag:…`,
/// `key-partition:…`, `route-partition:…`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Tag(pub Arc<str>);

impl Tag {
    /// `resource` as [`crate::keys::Constructor::resource`] makes it.
    pub fn url(resource: &str) -> Self {
        unimplemented!()
    }
    pub fn host(host: &str) -> Self {
        unimplemented!()
    }
    pub fn route(name: &str) -> Self {
        unimplemented!()
    }
    pub fn key(name: &str) -> Self {
        unimplemented!()
    }
    pub fn namespace(name: &str) -> Self {
        unimplemented!()
    }
    pub fn application(tag: &str) -> Self {
        unimplemented!()
    }
    /// Fields in any order; the tag is the same.
    pub fn key_partition<'a>(key: &str, fields: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        unimplemented!()
    }
    pub fn route_partition<'a>(route: &str, fields: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        unimplemented!()
    }
}

/// What a tag remembers.
#[derive(Debug)]
pub struct TagCell {/* helper D */}

impl TagCell {
    pub fn hard(&self) -> Position {
        unimplemented!()
    }
    pub fn add_member(&self, key: &Arc<str>) {
        unimplemented!()
    }
    pub fn remove_member(&self, key: &Arc<str>) {
        unimplemented!()
    }
    pub fn members(&self) -> Vec<Arc<str>> {
        unimplemented!()
    }
}
