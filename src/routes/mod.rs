//! What the operator says: which requests belong together, and what holds for them. PURE.

mod matcher;
mod rule;

pub use matcher::{
    Captures, HeaderCondition, HostPattern, Match, PathPattern, PatternError, RouteQuery, Shadowed, Table,
};
pub use rule::{
    CacheRule, Predicate, Route, StatusFields, StatusFieldsAudience, StoreCondition, Template, TemplateError,
};
