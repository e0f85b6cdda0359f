//! The end: nothing new is accepted, what is in flight is finished, and after the grace period that is it.

use std::time::Duration;

use hyper_util::server::graceful::GracefulShutdown;
use tokio::time::timeout;

/// Waits until every connection has finished its exchange, at most `grace`.
pub(super) async fn drain(connections: GracefulShutdown, grace: Duration) {
    let open = connections.count();
    if open > 0 {
        tracing::info!(connections = open, "finishing what is in flight");
    }
    if timeout(grace, connections.shutdown()).await.is_err() {
        tracing::warn!(grace = ?grace, "some exchanges did not finish in time and were cut off");
    }
}
