//! From a plan to a running server.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};

use super::{connection, drain};
use crate::admin::{self, AdminState};
use crate::cache::{CacheLayer, Rooms};
use crate::clock::Clock;
use crate::config::Plan;
use crate::invalidation::{Invalidator, Log};
use crate::layers::observe::Observer;
use crate::origin::Origin;
use crate::stack::{self, Stack};
use crate::store::Memory;
use crate::telemetry::{AccessLog, Metrics};

/// Why the server could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the operating system said.
        source: io::Error,
    },
    /// The access log's writer cannot be started.
    #[error("cannot start the access log: {0}")]
    AccessLog(io::Error),
}

/// How many tags that nothing stored carries are remembered before the log's floor is raised instead.
const MAX_UNCARRIED_TAGS: usize = 1_000_000;

/// The listening sockets of a plan, and the addresses they got.
#[derive(Debug)]
pub struct Bound {
    listeners: Vec<TcpListener>,
    admin: TcpListener,
    /// Where requests are served.
    pub addresses: Vec<SocketAddr>,
    /// Where the admin API is served.
    pub admin_address: SocketAddr,
}

/// Listens on all addresses of a plan; serves nothing yet.
///
/// # Errors
/// The first address that cannot be listened on.
pub async fn bind(plan: &Plan) -> Result<Bound, StartError> {
    let mut listeners = Vec::new();
    for &address in &plan.server.listen {
        listeners.push(listen(address).await?);
    }
    let admin = listen(plan.admin.listen).await?;
    let local = |listener: &TcpListener, wanted: SocketAddr| listener.local_addr().unwrap_or(wanted);
    let addresses = listeners
        .iter()
        .zip(&plan.server.listen)
        .map(|(listener, &wanted)| local(listener, wanted))
        .collect();
    let admin_address = local(&admin, plan.admin.listen);
    Ok(Bound { listeners, admin, addresses, admin_address })
}

async fn listen(address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).await.map_err(|source| StartError::Listen { address, source })
}

/// Binds, serves, and drains once `shutdown` is ready.
///
/// # Errors
/// See [`StartError`].
pub async fn run(plan: Plan, clock: Clock, shutdown: impl Future<Output = ()>) -> Result<(), StartError> {
    let bound = bind(&plan).await?;
    bound.start(plan, clock)?.serve_until(shutdown).await;
    Ok(())
}

/// A server that serves, until it is told to stop.
#[derive(Debug)]
pub struct Started {
    stop: watch::Sender<bool>,
    ready: Arc<AtomicBool>,
    accepting: Vec<tokio::task::JoinHandle<GracefulShutdown>>,
    admin: tokio::task::JoinHandle<()>,
    housekeeping: tokio::task::JoinHandle<()>,
    grace: Duration,
}

/// The parts of a server that have no socket: all that a request meets, and all that an invalidation needs.
#[derive(Clone, Debug)]
pub struct Assembled {
    /// The layers, ready to be called.
    pub stack: Stack,
    /// What is stored.
    pub store: Arc<Memory>,
    /// What was invalidated.
    pub log: Arc<Log>,
    /// Carries out purges.
    pub invalidator: Arc<Invalidator>,
    /// The counts.
    pub metrics: Arc<Metrics>,
    /// The connections to the origins.
    pub origin: Origin,
}

/// Puts the parts of a plan together.
///
/// # Errors
/// [`StartError::AccessLog`].
pub fn assemble(plan: &Plan, clock: &Clock) -> Result<Assembled, StartError> {
    let instance: Arc<str> = format!("staleproof-{:016x}", random()).into();
    let log = Arc::new(Log::new(MAX_UNCARRIED_TAGS));
    let store = Arc::new(Memory::new(plan.memory));
    let invalidator =
        Arc::new(Invalidator::new(Arc::clone(&log), Arc::clone(&store), Arc::clone(&plan.routes)));
    let metrics = Arc::new(Metrics::new());
    let access_log = AccessLog::to_stdout(plan.server.access_log).map_err(StartError::AccessLog)?;
    let observer = Arc::new(Observer {
        clock: clock.clone(),
        tokens: plan.admin.tokens.clone(),
        access_log,
        metrics: Arc::clone(&metrics),
    });
    let rooms = Arc::new(Rooms {
        store: Arc::clone(&store),
        log: Arc::clone(&log),
        invalidator: Arc::clone(&invalidator),
        clock: clock.clone(),
    });
    let origin = Origin::new(&plan.upstreams);
    let stack = stack::build(plan, observer, CacheLayer::new(rooms), origin.clone(), &instance);
    Ok(Assembled { stack, store, log, invalidator, metrics, origin })
}

impl Bound {
    /// Starts to serve.
    ///
    /// # Errors
    /// [`StartError::AccessLog`].
    pub fn start(self, plan: Plan, clock: Clock) -> Result<Started, StartError> {
        let Assembled { stack, store, log, invalidator, metrics, origin } = assemble(&plan, &clock)?;
        let (stop, stopping) = watch::channel(false);
        let ready = Arc::new(AtomicBool::new(true));
        let settings = Arc::new(plan.server.clone());
        let connections = Arc::new(Semaphore::new(settings.max_connections.min(Semaphore::MAX_PERMITS)));
        let accepting = self
            .listeners
            .into_iter()
            .map(|listener| {
                let accept = Accept {
                    listener,
                    stack: stack.clone(),
                    settings: Arc::clone(&settings),
                    free: Arc::clone(&connections),
                };
                tokio::spawn(accept.run(stopping.clone()))
            })
            .collect();
        let grace = plan.server.shutdown_grace;
        let state = AdminState::new(plan, invalidator, log, store, metrics, Arc::clone(&ready), clock);
        let admin = tokio::spawn(serve_admin(self.admin, state, stopping));
        let housekeeping = tokio::spawn(async move {
            let mut tick = tokio::time::interval(Duration::from_secs(5));
            loop {
                tick.tick().await;
                origin.sweep();
            }
        });
        Ok(Started { stop, ready, accepting, admin, housekeeping, grace })
    }
}

impl Started {
    /// Serves until `shutdown` is ready, then drains: `/readyz` says no, nothing new is accepted, and what is in
    /// flight has the grace period to finish.
    pub async fn serve_until(self, shutdown: impl Future<Output = ()>) {
        shutdown.await;
        self.stop().await;
    }

    /// Drains and ends.
    pub async fn stop(self) {
        self.ready.store(false, Ordering::Release);
        // Nobody left to tell is as good as told.
        let _ = self.stop.send(true);
        for accepting in self.accepting {
            if let Ok(connections) = accepting.await {
                drain::drain(connections, self.grace).await;
            }
        }
        if tokio::time::timeout(self.grace, self.admin).await.is_err() {
            tracing::warn!("the admin listener did not finish in time");
        }
        self.housekeeping.abort();
    }
}

/// One listener's accept loop.
struct Accept {
    listener: TcpListener,
    stack: Stack,
    settings: Arc<crate::config::Server>,
    free: Arc<Semaphore>,
}

impl Accept {
    async fn run(self, mut stopping: watch::Receiver<bool>) -> GracefulShutdown {
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
                Ok((stream, peer)) => {
                    self.serve(stream, peer, connections.watcher(), permit.ok());
                }
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
        watcher: hyper_util::server::graceful::Watcher,
        permit: Option<tokio::sync::OwnedSemaphorePermit>,
    ) {
        // Heads and last pieces are written whole; waiting for more only adds delay.
        let _ = stream.set_nodelay(true);
        let (stack, settings) = (self.stack.clone(), Arc::clone(&self.settings));
        tokio::spawn(async move {
            connection::serve(stream, peer, stack, &settings, watcher).await;
            drop(permit);
        });
    }
}

async fn serve_admin(listener: TcpListener, state: AdminState, mut stopping: watch::Receiver<bool>) {
    let stopped = async move {
        // An error means that the sender is gone: the server has ended.
        let _ = stopping.wait_for(|stop| *stop).await;
    };
    if let Err(error) = axum::serve(listener, admin::router(state)).with_graceful_shutdown(stopped).await {
        tracing::error!(%error, "the admin listener ended");
    }
}

/// Tells this process from others; not a secret.
fn random() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::collections::hash_map::RandomState::new().build_hasher().finish()
}
