//! One listener's accept loop.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::service::Service;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::connection;
use crate::config;
use crate::exchange::Outlet;

/// Accepts connections and serves each in a task of its own.
pub(super) struct Accept<F> {
    pub(super) listener: TcpListener,
    pub(super) settings: Arc<config::Server>,
    /// One permit per connection. Without one nothing is accepted: what waits, waits in the backlog.
    pub(super) free: Arc<Semaphore>,
    /// Makes the service of a connection; the outlet is where its interim responses go.
    pub(super) service: F,
}

impl<F, S, B> Accept<F>
where
    F: Fn(SocketAddr, &Arc<Outlet>) -> S,
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible, Future: Send> + Send + 'static,
    B: Body<Data: Send, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
{
    /// Accepts until it is told to stop; then hands over what is still being served.
    pub(super) async fn run(self, mut stopping: watch::Receiver<bool>) -> GracefulShutdown {
        let connections = GracefulShutdown::new();
        loop {
            let permit = tokio::select! {
                _ = stopping.wait_for(|stop| *stop) => break,
                permit = Arc::clone(&self.free).acquire_owned() => permit,
            };
            let accepted = tokio::select! {
                _ = stopping.wait_for(|stop| *stop) => break,
                accepted = self.listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => self.serve(stream, peer, connections.watcher(), permit.ok()),
                Err(error) => {
                    // Mostly "too many open files": waiting lets some be closed, spinning helps nobody.
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
        connections
    }

    fn serve(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        watcher: Watcher,
        permit: Option<OwnedSemaphorePermit>,
    ) {
        // Heads and last pieces are written whole; waiting for more only adds delay.
        let _ = stream.set_nodelay(true);
        let outlet = Arc::<Outlet>::default();
        let (service, settings) = ((self.service)(peer, &outlet), Arc::clone(&self.settings));
        tokio::spawn(async move {
            connection::serve(stream, peer, service, outlet, &settings, watcher).await;
            drop(permit);
        });
    }
}
