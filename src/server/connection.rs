//! One client connection: HTTP/1.1 or HTTP/2, over a stream that does not wait for ever for a reader.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::service::Service;
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::http1::{self, Activity, Patience};
use super::http2;
use super::patient::Patient;
use super::preface::{Peekable, Protocol};
use crate::config;
use crate::exchange::Outlet;
use crate::sealed::Socket;

/// How one connection is served.
#[derive(Debug)]
pub(super) struct Terms<'s> {
    pub(super) settings: &'s config::Server,
    /// Whether it may be HTTP/2.
    pub(super) http2: bool,
    /// Becomes true when the server drains. Whoever drains waits until this has been dropped.
    pub(super) stopping: watch::Receiver<bool>,
}

impl Terms<'_> {
    /// Ready once the server drains.
    pub(super) async fn stopped(&mut self) {
        // That nobody is left to say so says it, too.
        let _ = self.stopping.wait_for(|stop| *stop).await;
    }
}

/// Serves one connection until it ends or the server drains.
///
/// # Errors
/// Why it ended otherwise than between two requests.
pub(super) async fn serve<S, B>(
    stream: TcpStream,
    service: S,
    outlet: Arc<Outlet>,
    mut terms: Terms<'_>,
) -> hyper::Result<()>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible, Future: Send + 'static>,
    B: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
{
    let mut stream = Peekable::new(Socket::new(stream));
    // Until the first byte is there, this is all that there is of a connection.
    let mut patience = Patience::new(terms.settings.head_timeout);
    let protocol = tokio::select! {
        biased;
        protocol = stream.protocol(terms.http2) => match protocol {
            Ok(protocol) => protocol,
            // It broke before it began.
            Err(_) => return Ok(()),
        },
        () = patience.over() => return Ok(()),
        () = terms.stopped() => return Ok(()),
    };
    let activity = Arc::<Activity>::default();
    let stream = Patient::new(stream, terms.settings.write_stall_timeout, outlet, Arc::clone(&activity));
    match protocol {
        Protocol::Http1 => http1::serve(stream, service, activity, patience, terms).await,
        // Boxed, for it is large, and most connections are not of this kind.
        Protocol::Http2 => Box::pin(http2::serve(stream, service, terms)).await,
    }
}
