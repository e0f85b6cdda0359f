//! Refreshing behind the client's back: who asked has been served, and a task of its own asks the origin.

use std::pin::Pin;
use std::sync::Arc;

use http::{Method, Response};
use http_body::Body;
use tower::Service;

use super::service::Errand;
use super::{Rooms, fetch};
use crate::exchange::{AnswerBody, Interims, Outbound, Routed};
use crate::origin::{OriginBody, OriginError};
use crate::store::Stored;

/// Carries out the errand, unless the same is under way for this stored response.
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
    let Some(turn) = Turn::take(stored) else { return };
    let rooms = Arc::clone(rooms);
    // What is stored is a response to GET, also when it was a HEAD that it served.
    if routed.request.head.method == Method::HEAD {
        routed.request.head.method = Method::GET;
    }
    routed.request.interims = Interims::none();
    tokio::spawn(async move {
        let answer = fetch::run(&rooms, forward, routed, errand).await;
        drain(answer.response.into_body()).await;
        drop(turn);
    });
}

/// Reads to the end though nobody listens, so that the response is stored.
pub(super) async fn drain(mut body: AnswerBody) {
    while let Some(Ok(_)) = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {}
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
