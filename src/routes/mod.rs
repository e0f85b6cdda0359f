//! What the operator says: which requests belong together, and what holds for them. PURE.
//!
//! A request's host and path lead to one [`Route`]; the route says where the request goes and what may be
//! kept of the answer. Knows nothing of sockets, stores or time.

mod body_tags;
mod hole;
mod host;
mod matcher;
mod path;
mod rule;
mod shadow;
mod template;
#[cfg(test)]
pub(crate) mod testing;
mod tree;

pub use body_tags::{BodyTag, NoTags, body_tags};
pub use hole::{Hole, PARAMETER};
pub use host::HostPattern;
pub(crate) use matcher::joined_lines;
pub use matcher::{Captures, HeaderCondition, Match, RouteQuery, Shadowed, Table};
pub use path::{PathPattern, PatternError};
pub use rule::{
    CacheRule, Collapse, QueryRule, Ranges, Route, StatusFields, StatusFieldsAudience, StoreCondition,
};
pub use template::{Template, TemplateError};
