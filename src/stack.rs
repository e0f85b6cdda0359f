//! THE list of layers, in the order a request meets them.

use std::sync::Arc;

use tower::ServiceBuilder;

use crate::cache::{Cache, CacheLayer};
use crate::config::Plan;
use crate::layers::admit::{Admit, AdmitLayer};
use crate::layers::deliveries::{Deliveries, DeliveriesLayer};
use crate::layers::forward::{Forward, ForwardLayer};
use crate::layers::normalize::{Normalize, NormalizeLayer};
use crate::layers::observe::{Observe, ObserveLayer, Observer};
use crate::layers::purges::{Purges, PurgesLayer};
use crate::layers::route::{Route, RouteLayer};
use crate::origin::Origin;

/// A request's way through the house: `Arrival → Normalized → Routed → Outbound → ToOrigin`, and back
/// `Response<OriginBody> → Answer → Response<ClientBody>`. The types keep the order.
pub type Stack = Observe<Admit<Normalize<Deliveries<Purges<Route<Cache<Forward<Origin>>>>>>>>;

/// Builds the stack of a plan.
pub fn build(
    plan: &Plan,
    observer: Arc<Observer>,
    deliveries: DeliveriesLayer,
    purges: PurgesLayer,
    cache: CacheLayer,
    origin: Origin,
    instance: &Arc<str>,
) -> Stack {
    ServiceBuilder::new()
        // Outermost: every exchange is told exactly once, also one that is refused by the next layer.
        .layer(ObserveLayer::new(observer))
        // Before any work is done: what is refused here should cost next to nothing.
        .layer(AdmitLayer::new(plan.server.max_in_flight))
        // Before routing: routes, keys and the origin must see one and the same host and target.
        .layer(NormalizeLayer::new(plan.server.trusted_proxies.clone(), Arc::clone(instance)))
        // Before routing: what has changed is for this program to know.
        .layer(deliveries)
        // Before routing: PURGE and its kin are no requests for a page.
        .layer(purges)
        // Before the cache: the route says how the key is built and what may be stored.
        .layer(RouteLayer::new(Arc::clone(&plan.routes)))
        // Errors end here: whatever the origin does, there is an answer above this line.
        .layer(cache)
        // Below the cache: the fields of one hop are neither part of a key nor stored.
        .layer(ForwardLayer::new(Arc::clone(instance), Arc::clone(&plan.server.forward_fields)))
        // Innermost: servers, connections, deadlines.
        .service(origin)
}
