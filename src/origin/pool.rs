//! Connections to one server: opened when needed, kept for the next request, bounded in number.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::uri::Authority;
use http::{HeaderMap, HeaderValue};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::OriginError;
use crate::clock::Stopwatch;
use crate::config::Upstream;
use crate::exchange::{Refused, RequestBody};

/// The connections to one server.
#[derive(Debug)]
pub(super) struct Pool {
    pub(super) authority: Authority,
    address: String,
    settings: Arc<Upstream>,
    /// Oldest first; taken from the back, so that what is not needed grows old and is closed.
    idle: Mutex<VecDeque<Idle>>,
    /// One permit per connection in use. Idle ones hold none: whoever waits may have them.
    free: Arc<Semaphore>,
}

#[derive(Debug)]
struct Idle {
    sender: SendRequest<RequestBody>,
    since: Stopwatch,
    limit: Duration,
}

impl Idle {
    fn is_fresh(&self) -> bool {
        self.since.elapsed() < self.limit
    }
}

/// A connection in use. Dropped without [`give_back`](Self::give_back), it is closed.
#[derive(Debug)]
pub(super) struct Lease {
    sender: SendRequest<RequestBody>,
    pool: Arc<Pool>,
    permit: OwnedSemaphorePermit,
    /// How long it may be idle afterwards.
    idle_limit: Duration,
    /// It has carried a request before, so the server may be closing it just now.
    pub(super) reused: bool,
    /// The body of its last request was announced and not sent, so no other request can follow.
    pub(super) refused: Option<Refused>,
}

impl Lease {
    pub(super) fn sender(&mut self) -> &mut SendRequest<RequestBody> {
        &mut self.sender
    }

    pub(super) fn authority(&self) -> &Authority {
        &self.pool.authority
    }

    /// Keeps the connection for less than the server says it does (`Keep-Alive: timeout=5`, as Node.js sends by
    /// default). Taken at the very moment the server closes it, it would lose a request that may not be asked twice.
    pub(super) fn heed_keep_alive(&mut self, response: &HeaderMap) {
        let Some(seconds) = response.get("keep-alive").and_then(timeout_parameter) else { return };
        let limit = Duration::from_secs(seconds).saturating_sub(KEEP_ALIVE_MARGIN);
        self.idle_limit = self.idle_limit.min(limit);
    }

    /// Puts the connection back for the next request.
    pub(super) fn give_back(self) {
        let Self { sender, pool, permit, idle_limit: limit, refused, .. } = self;
        if !sender.is_closed() && limit > Duration::ZERO && refused.is_none() {
            let mut idle = pool.idle();
            idle.push_back(Idle { sender, since: Stopwatch::start(), limit });
            if idle.len() > pool.settings.idle_connections_per_server {
                idle.pop_front();
            }
        }
        // Last, so that whoever waits for the permit finds the connection.
        drop(permit);
    }
}

/// For the way of the request, and for clocks that do not agree.
const KEEP_ALIVE_MARGIN: Duration = Duration::from_secs(1);

/// The `timeout` of a `Keep-Alive` field, in seconds.
fn timeout_parameter(field: &HeaderValue) -> Option<u64> {
    let mut parameters = field.to_str().ok()?.split(',').filter_map(|parameter| parameter.split_once('='));
    let (_, seconds) = parameters.find(|(name, _)| name.trim().eq_ignore_ascii_case("timeout"))?;
    seconds.trim().parse().ok()
}

impl Pool {
    pub(super) fn new(authority: Authority, settings: Arc<Upstream>) -> Arc<Self> {
        let port = authority.port_u16().unwrap_or(80);
        let address = format!("{}:{port}", authority.host());
        let free = Arc::new(Semaphore::new(settings.max_connections_per_server));
        Arc::new(Self { authority, address, settings, idle: Mutex::default(), free })
    }

    /// A connection to send one request on: one that was used before and still stands, else a new one.
    /// With `fresh`, a new one in any case.
    pub(super) async fn lease(self: &Arc<Self>, fresh: bool) -> Result<Lease, OriginError> {
        let limit = self.settings.connect_timeout;
        let Ok(Ok(permit)) = timeout(limit, Arc::clone(&self.free).acquire_owned()).await else {
            return Err(OriginError::Busy {
                authority: self.authority.clone(),
                limit: self.settings.max_connections_per_server,
            });
        };
        let idle = if fresh { None } else { self.reuse().await };
        let reused = idle.is_some();
        let sender = match idle {
            Some(sender) => sender,
            None => self.open().await?,
        };
        let idle_limit = self.settings.idle_timeout;
        Ok(Lease { sender, pool: Arc::clone(self), permit, idle_limit, reused, refused: None })
    }

    async fn reuse(&self) -> Option<SendRequest<RequestBody>> {
        loop {
            let mut idle = self.idle().pop_back()?;
            // The server may have closed it meanwhile, or may still owe the end of the last exchange.
            let stands = idle.is_fresh()
                && matches!(timeout(self.settings.connect_timeout, idle.sender.ready()).await, Ok(Ok(())));
            if stands {
                return Some(idle.sender);
            }
        }
    }

    async fn open(&self) -> Result<SendRequest<RequestBody>, OriginError> {
        let limit = self.settings.connect_timeout;
        let connect_failed = |source| OriginError::Connect { authority: self.authority.clone(), source };
        let stream = match timeout(limit, TcpStream::connect(&self.address)).await {
            Err(_) => return Err(OriginError::ConnectTimeout { authority: self.authority.clone(), limit }),
            Ok(stream) => stream.map_err(connect_failed)?,
        };
        stream.set_nodelay(true).map_err(connect_failed)?;
        let (sender, driver) = http1::Builder::new()
            .max_header_size(self.settings.max_response_head_bytes)
            .max_buf_size(self.settings.max_response_head_bytes.max(64 * 1024))
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|source| OriginError::from_hyper(&self.authority, source))?;
        let authority = self.authority.clone();
        tokio::spawn(async move {
            if let Err(error) = driver.await {
                tracing::debug!(%authority, %error, "a connection to the origin ended");
            }
        });
        Ok(sender)
    }

    /// Closes what has been idle for too long.
    pub(super) fn sweep(&self) {
        self.idle().retain(|idle| idle.is_fresh() && !idle.sender.is_closed());
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, VecDeque<Idle>> {
        // Nothing that holds this lock can panic half-way through a change.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_says_how_long_it_keeps_a_connection() {
        let check = |field: &'static str, seconds| {
            assert_eq!(timeout_parameter(&HeaderValue::from_static(field)), seconds, "{field}");
        };
        check("timeout=5", Some(5));
        check("max=100, Timeout = 15", Some(15));
        check("timeout", None);
        check("timeout=soon", None);
        check("max=100", None);
    }
}
