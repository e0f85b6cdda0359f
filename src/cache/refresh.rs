//! Refreshing behind the client's back: who asked has been served, and a task of its own asks the origin.

use std::sync::Arc;
use std::time::Duration;

use http::{Method, Response};
use tower::Service;

use super::fetch::{self, Quest};
use super::flight::Entry;
use super::service::{Errand, Rooms};
use crate::exchange::{Answer, Interims, Outbound, Routed};
use crate::origin::{OriginBody, OriginError};
use crate::store::Stored;

/// How long a stored response is left alone after it could not be refreshed.
const PAUSE: Duration = Duration::from_secs(1);

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
        let answer = match rooms.enter(&routed, rule, &quest) {
            Entry::Follow(_) => return,
            Entry::Lead(leader) => {
                leader.behind().fly(&rooms, forward, Arc::new(routed), quest).answer().await
            }
            // Without a place it would be one more than there may be.
            Entry::Alone => match rooms.flights.place() {
                Some(place) => Some(fetch::alone(&rooms, forward, &routed, &quest, Some(place)).await),
                None => return,
            },
        };
        // Of an origin that fails, or whose answer is not to be stored, nobody asks the same again at once.
        let refreshed = |answer: &Answer| answer.note.as_ref().is_some_and(|note| note.status.stored);
        if !answer.is_some_and(|answer| refreshed(&answer)) {
            tokio::time::sleep(PAUSE).await;
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
