//! One client connection: HTTP/1.1 or HTTP/2, over a stream that does not wait for ever for a reader.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;

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
    let mut protocol = Protocol::Http1;
    if terms.http2 {
        let limit = terms.settings.head_timeout;
        tokio::select! {
            decided = timeout(limit, stream.protocol()) => match decided {
                Ok(Ok(decided)) => protocol = decided,
                // It broke before it began, or nothing that could be answered came in time.
                Ok(Err(_)) | Err(_) => return Ok(()),
            },
            () = terms.stopped() => return Ok(()),
        }
    }
    let stream = Patient::new(stream, terms.settings.write_stall_timeout, outlet);
    match protocol {
        Protocol::Http1 => serve_http1(stream, service, terms).await,
        // Boxed, for it is large, and most connections are not of this kind.
        Protocol::Http2 => Box::pin(http2::serve(stream, service, terms)).await,
    }
}

async fn serve_http1<S, B>(
    stream: Patient<Peekable<Socket>>,
    service: S,
    mut terms: Terms<'_>,
) -> hyper::Result<()>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
    B: Body<Error: Into<Box<dyn std::error::Error + Send + Sync>>> + 'static,
{
    let settings = terms.settings;
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        // Runs from the moment the connection is idle, so it bounds that, too.
        .header_read_timeout(settings.head_timeout)
        .max_header_size(settings.max_head_bytes)
        .max_buf_size(settings.max_head_bytes.max(64 * 1024))
        // Not `pipeline_flush`: with it, hyper does not flush its answer to a head it cannot parse.
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    tokio::select! {
        biased;
        ended = connection.as_mut() => return ended,
        () = terms.stopped() => connection.as_mut().graceful_shutdown(),
    }
    connection.await
}
