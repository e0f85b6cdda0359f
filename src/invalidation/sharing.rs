//! What routes have in common because their keys have one id. PURE.
//!
//! A response is stored by one route and served on every other whose key is equal. It is known by the id
//! of its key, which names a route with all that share it, and by what the route that stored it could tell: that must be
//! widened to what the others would have told. Where they read their keys differently, only the whole id is certain to be wide enough.

use crate::keys::Constructor;
use crate::routes::{CacheRule, Hole, Route, Table, Template};

/// The routes that cache.
pub(super) fn rules(table: &Table) -> impl Iterator<Item = (&Route, &CacheRule)> {
    table.routes().iter().filter_map(|route| Some((&**route, route.cache.as_ref()?)))
}

/// The routes whose keys have this id.
pub(super) fn sharing<'t>(table: &'t Table, id: &str) -> impl Iterator<Item = (&'t Route, &'t CacheRule)> {
    rules(table).filter(move |(_, rule)| *rule.key.id == *id)
}

/// Whether all that share the id of this constructor take one key for one URL and one partition.
pub(super) fn is_read_alike(constructor: &Constructor, table: &Table) -> bool {
    sharing(table, &constructor.id).all(|(_, rule)| rule.key.agrees_with(constructor))
}

/// Whether a response that carries the tags of a route's template may be served where the template would have made
/// another one.
pub(super) fn may_be_served_under_another(
    template: &Template,
    (route, rule): (&Route, &CacheRule),
    table: &Table,
) -> bool {
    let is_shared = sharing(table, &rule.key.id).nth(1).is_some();
    let by_path = rule.key.tells_path() && !is_shared;
    let is_told = template.names().all(|name| match Hole::of(name, route) {
        Hole::Capture => by_path || rule.key.tells_capture(name),
        Hole::Parameter(name) => rule.key.tells_parameter(name),
        Hole::Partition => rule.key.partition_fields().any(|field| **field == *name),
    });
    !is_told || (is_shared && !is_read_alike(&rule.key, table))
}

/// Whether what the constructor's routes store may be served for this host, whichever it was fetched for.
pub(super) fn is_shared_with_host(constructor: &Constructor, host: &str, table: &Table) -> bool {
    !constructor.has_host()
        && sharing(table, &constructor.id).any(|(route, _)| route.matching.could_take_host(host))
}
