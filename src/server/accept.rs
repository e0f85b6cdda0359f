//! One listener's accept loop.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::Body;
use hyper::body::Incoming;
use hyper::service::Service;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::connection::{self, Terms};
use crate::config;
use crate::exchange::Outlet;
use crate::respond;

/// Accepts connections and serves each in a task of its own.
pub(super) struct Accept<F, U> {
    pub(super) listener: TcpListener,
    pub(super) settings: Arc<config::Server>,
    /// Whether clients may speak HTTP/2.
    pub(super) http2: bool,
    /// One permit per connection. Without one nothing is accepted: what waits, waits in the backlog.
    pub(super) free: Arc<Semaphore>,
    /// Makes the service of a connection; the outlet is where its interim responses go.
    pub(super) service: F,
    /// Hears of requests whose heads could not be read, and what they were told: the service never sees them.
    pub(super) unread: U,
}

impl<F, U, S, B> Accept<F, U>
where
    F: Fn(SocketAddr, &Arc<Outlet>) -> S,
    U: Fn(SocketAddr, StatusCode) + Clone + Send + 'static,
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible, Future: Send + 'static>
        + Send
        + 'static,
    B: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
{
    /// Accepts until it is told to stop. Each connection it has accepted keeps a copy of `stopping` until it is over.
    pub(super) async fn run(self, mut stopping: watch::Receiver<bool>) {
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
                Ok((stream, peer)) => self.serve(stream, peer, stopping.clone(), permit.ok()),
                Err(error) => {
                    // Mostly "too many open files": waiting lets some be closed, spinning helps nobody.
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }

    fn serve(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        stopping: watch::Receiver<bool>,
        permit: Option<OwnedSemaphorePermit>,
    ) {
        // Heads and last pieces are written whole; waiting for more only adds delay.
        let _ = stream.set_nodelay(true);
        let outlet = Arc::<Outlet>::default();
        let (service, settings) = ((self.service)(peer, &outlet), Arc::clone(&self.settings));
        let (unread, http2) = (self.unread.clone(), self.http2);
        tokio::spawn(async move {
            let terms = Terms { settings: &settings, http2, stopping };
            if let Err(error) = connection::serve(stream, service, outlet, terms).await {
                tracing::debug!(%peer, error = &error as &dyn std::error::Error, "a client connection ended");
                if let Some(status) = respond::answered_by_hyper(&error) {
                    unread(peer, status);
                }
            }
            drop(permit);
        });
    }
}
