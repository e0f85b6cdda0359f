//! What holds for the requests of one route.

use super::{HeaderCondition, Match};
use crate::keys::Constructor;
use crate::semantics::Policy;
use http::HeaderName;
use std::sync::Arc;

/// One entry of `routes:`.
#[derive(Debug)]
pub struct Route {
    pub name: Arc<str>,
    pub matching: Match,
    /// Index into the plan's upstreams.
    pub upstream: usize,
    /// `None`: `cache: off`.
    pub cache: Option<CacheRule>,
    pub status_fields: StatusFields,
}

/// A route's `cache:` block.
#[derive(Debug)]
pub struct CacheRule {
    pub key: Arc<Constructor>,
    /// What semantics needs to know: TTLs, Set-Cookie, client directives.
    pub policy: Policy,
    /// Tags given to every stored response of the route.
    pub tags: Vec<Template>,
    /// Stored only if every condition holds.
    pub store_if: Option<StoreCondition>,
    /// Not stored if every condition given holds.
    pub store_unless: Option<StoreCondition>,
}

/// `store_if:` / `store_unless:`: members given must all hold; each list holds if any of its items does.
#[derive(Debug, Default)]
pub struct StoreCondition {
    pub status: Vec<u16>,
    /// Essence without parameters, `text/*` allowed.
    pub content_type: Vec<String>,
    pub headers: Vec<(HeaderName, HeaderCondition)>,
}

impl StoreCondition {
    pub fn holds(&self, status: http::StatusCode, headers: &http::HeaderMap) -> bool {
        unimplemented!()
    }
}

/// Which status fields a route's responses show (design: X-Cache, X-Cached-At, X-Cache-Reset-At, Cache-Status).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatusFields {
    pub x_cache: bool,
    pub cached_at: bool,
    pub reset_at: bool,
    pub cache_status: bool,
    pub audience: StatusFieldsAudience,
}

/// Who sees the status fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusFieldsAudience {
    Everyone,
    /// Requests whose `Staleproof-Token` field carries an admin token that may `read`.
    TokenHolders,
    Nobody,
}

/// Text with `{capture}` holes, such as `user:{user_id}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {/* owned by helper A */}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct TemplateError {
    pub at: usize,
    pub message: String,
}

impl Template {
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        unimplemented!()
    }
    /// The names in the holes, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        std::iter::empty()
    }
    /// The text with every hole filled; `None` if a value is missing.
    pub fn render<'v>(&self, value: impl Fn(&str) -> Option<std::borrow::Cow<'v, str>>) -> Option<String> {
        unimplemented!()
    }
}

/// Placeholder re-export target; delete if unused.
pub type Predicate = StoreCondition;
