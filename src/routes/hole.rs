//! What fills the holes of a route's `tags`.

use super::{Route, Template};

/// Of which kind a hole is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hole<'n> {
    /// `{slug}`: what the path's pattern captures.
    Capture,
    /// `{query.page}`: this parameter of the query.
    Parameter(&'n str),
    /// `{tenant}`: a field of the key's partition.
    Partition,
}

/// What names of parameters begin with.
pub const PARAMETER: &str = "query.";

impl<'n> Hole<'n> {
    /// The kind that a name is of, on this route.
    pub fn of(name: &'n str, route: &Route) -> Self {
        if let Some(parameter) = name.strip_prefix(PARAMETER) {
            return Self::Parameter(parameter);
        }
        let is_capture = route.matching.path.captures().any(|capture| *capture == *name);
        if is_capture { Self::Capture } else { Self::Partition }
    }

    /// Whether a response may have many tags by this template.
    pub fn may_be_many(template: &'n Template, route: &Route) -> bool {
        template.names().any(|name| Self::of(name, route) != Self::Capture)
    }
}
