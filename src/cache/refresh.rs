//! Refreshing behind the client's back: who asked has been served, and a task of its own asks the origin.

use std::sync::Arc;

use http::{Method, Response};
use tower::Service;

use super::fetch::{self, Quest};
use super::flight::Entry;
use super::service::{Errand, Rooms};
use crate::exchange::{Interims, Outbound, Routed};
use crate::origin::{OriginBody, OriginError};
use crate::store::Stored;

/// Carries out the errand, unless the same is under way for this stored response, or for others who wait for it.
pub(super) fn spawn<F>(
    rooms: &Arc<Rooms>,
    forward: F,
    mut routed: Routed,
    stored: &Arc<Stored>,
    errand: Errand,
) where
    F: Service<Outbound, Response = Response<OriginBody>, Error = OriginError> + Clone + Send + 'static,
    F::Future: Send,
{
    let Errand::Fetch { reason, key, candidates, part } = errand else { return };
    let Some(turn) = Turn::take(stored) else { return };
    // What is stored is a response to GET, also when it was a HEAD that it served.
    if routed.request.head.method == Method::HEAD {
        routed.request.head.method = Method::GET;
    }
    routed.request.interims = Interims::none();
    let (rooms, quest) = (Arc::clone(rooms), Quest { reason, key, candidates, part });
    tokio::spawn(async move {
        let Some(rule) = routed.rule() else { return };
        match rooms.enter(&routed, rule, &quest) {
            Entry::Follow(_) => {}
            Entry::Lead(leader) => {
                leader.fly(&rooms, forward, Arc::new(routed), quest).answer().await;
            }
            Entry::Alone => drop(fetch::alone(&rooms, forward, &routed, &quest, None).await),
        }
        drop(turn);
    });
}

/// There is one at a time for each stored response; it ends with the errand, however that ends.
struct Turn(Arc<Stored>);

impl Turn {
    fn take(stored: &Arc<Stored>) -> Option<Self> {
        stored.begin_refresh().then(|| Self(Arc::clone(stored)))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.end_refresh();
    }
}
