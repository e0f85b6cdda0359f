//! From a plan to a running server.

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tower::Service;

use super::accept::Accept;
use super::workers::{self, Workers};
use crate::admin::{self, AdminState, Desk, Reception};
use crate::cache::{CacheLayer, FillRoom, Flights, Rooms};
use crate::clock::Clock;
use crate::config::{self, Plan, Scheduling, Upstream};
use crate::dispatch::JournalError;
use crate::exchange::{Arrival, Outlet, RequestBody};
use crate::invalidation::{Invalidator, Log};
use crate::layers::deliveries::DeliveriesLayer;
use crate::layers::observe::Observer;
use crate::layers::purges::PurgesLayer;
use crate::origin::Origin;
use crate::routes::{Route, StatusFieldsAudience};
use crate::stack::{self, Stack};
use crate::store::{Memory, Searches, Uses};
use crate::telemetry::{AccessLog, Metrics};
use crate::warm::Warmer;

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
    /// A worker cannot be started.
    #[error("cannot start the workers: {0}")]
    Workers(io::Error),
    /// What a dispatcher has on disk cannot be read.
    #[error("cannot start a dispatcher: {0}")]
    Journal(#[from] JournalError),
}

/// How many tags that nothing stored carries are remembered before the log's floor is raised instead: 64 MB at most, for
/// clients that send unsafe requests while a fetch of theirs is under way can make as many as they like.
const MAX_UNCARRIED_TAGS: usize = 250_000;

/// How many connections the admin listener serves at once.
const MAX_ADMIN_CONNECTIONS: usize = 1000;

/// The listening sockets of a plan, and the addresses they got.
#[derive(Debug)]
pub struct Bound {
    /// For each address one for each worker.
    listeners: Vec<Vec<std::net::TcpListener>>,
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
    let sockets = match plan.server.scheduling {
        Scheduling::PerCore => plan.server.workers,
        Scheduling::Shared => 1,
    };
    let listen = |address, number| {
        workers::listen(address, number).map_err(|source| StartError::Listen { address, source })
    };
    let mut listeners = Vec::new();
    for &address in &plan.server.listen {
        listeners.push(listen(address, sockets)?);
    }
    let address = plan.admin.listen;
    let admin = TcpListener::bind(address).await.map_err(|source| StartError::Listen { address, source })?;
    let addresses = listeners
        .iter()
        .zip(&plan.server.listen)
        .map(|(sockets, &wanted)| local_address(sockets.first(), wanted))
        .collect();
    let admin_address = admin.local_addr().unwrap_or(address);
    Ok(Bound { listeners, admin, addresses, admin_address })
}

fn local_address(socket: Option<&std::net::TcpListener>, wanted: SocketAddr) -> SocketAddr {
    socket.and_then(|socket| socket.local_addr().ok()).unwrap_or(wanted)
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
    stop_public: watch::Sender<bool>,
    stop_admin: watch::Sender<bool>,
    ready: Arc<AtomicBool>,
    warmer: Arc<Warmer>,
    rooms: Arc<Rooms>,
    workers: Option<Workers>,
    state: AdminState,
    housekeeping: [JoinHandle<()>; 2],
    grace: Duration,
}

/// The parts of a server that have no socket: all that a request meets, and all that an invalidation needs.
#[derive(Clone, Debug)]
pub struct Assembled {
    /// The layers, ready to be called.
    pub stack: Stack,
    /// What is stored, what was invalidated, and who carries out purges.
    pub rooms: Arc<Rooms>,
    /// Where observations go.
    pub observer: Arc<Observer>,
    /// The counts.
    pub metrics: Arc<Metrics>,
    /// The connections to the origins.
    pub origin: Origin,
    /// Where deliveries go that come by the stack.
    pub reception: Reception,
}

/// Puts the parts of a plan together.
///
/// # Errors
/// [`StartError::AccessLog`].
pub fn assemble(plan: &Plan, clock: &Clock) -> Result<Assembled, StartError> {
    let instance: Arc<str> = format!("staleproof-{:016x}", random()).into();
    let log = Arc::new(Log::new(MAX_UNCARRIED_TAGS));
    let store = Arc::new(Memory::new(plan.memory));
    let invalidator = Arc::new(Invalidator::new(
        Arc::clone(&log),
        Arc::clone(&store),
        Arc::clone(&plan.routes),
        clock.clone(),
    ));
    let metrics = Arc::new(Metrics::new());
    let access_log = AccessLog::to_stdout(plan.server.access_log).map_err(StartError::AccessLog)?;
    let is_for_holders =
        |route: &Arc<Route>| route.status_fields.audience == StatusFieldsAudience::TokenHolders;
    let shows_to_token_holders = plan.routes.routes().iter().any(is_for_holders);
    let observer = Arc::new(Observer {
        clock: clock.clone(),
        tokens: if shows_to_token_holders { plan.admin.tokens.clone() } else { Vec::new() },
        access_log,
        metrics: Arc::clone(&metrics),
    });
    let rooms = Arc::new(Rooms {
        store,
        log,
        invalidator,
        routes: Arc::clone(&plan.routes),
        searches: Searches::default(),
        upstream_hosts: plan.upstreams.iter().map(Upstream::own_hosts).collect(),
        failing: plan.upstreams.iter().map(|_| AtomicBool::new(false)).collect(),
        uses: Uses::default(),
        clock: clock.clone(),
        flights: Flights::new(plan.server.max_in_flight),
        fills: Arc::new(FillRoom::new(plan.memory.filling_bytes)),
        unsafe_exchanges: Arc::new(Semaphore::new(plan.server.max_in_flight.min(Semaphore::MAX_PERMITS))),
    });
    let origin = Origin::new(&plan.upstreams, Arc::clone(&metrics));
    let cache = CacheLayer::new(Arc::clone(&rooms));
    let (tokens, invalidator) = (plan.admin.tokens.clone(), Arc::clone(&rooms.invalidator));
    let desk = Desk::new(tokens, invalidator, Arc::clone(&metrics));
    let purges = PurgesLayer::new(Arc::clone(&plan.routes), desk);
    let reception = Reception::default();
    let deliveries = DeliveriesLayer::new(Arc::clone(&plan.routes), &plan.webhooks, reception.clone());
    let stack =
        stack::build(plan, Arc::clone(&observer), deliveries, purges, cache, origin.clone(), &instance);
    Ok(Assembled { stack, rooms, observer, metrics, origin, reception })
}

impl Bound {
    /// Starts to serve.
    ///
    /// # Errors
    /// [`StartError::AccessLog`], [`StartError::Journal`].
    pub fn start(self, plan: Plan, clock: Clock) -> Result<Started, StartError> {
        let Assembled { stack, rooms, observer, metrics, origin, reception } = assemble(&plan, &clock)?;
        let ready = Arc::new(AtomicBool::new(true));
        let settings = Arc::new(plan.server.clone());
        let grace = plan.server.shutdown_grace;
        let (body_limit, body_idle) = (settings.max_request_body_bytes, settings.body_idle_timeout);
        let permits = |number: usize| Arc::new(Semaphore::new(number.min(Semaphore::MAX_PERMITS)));

        let (stop_public, stopping) = watch::channel(false);
        let free = permits(settings.max_connections);
        let accept = |listener: std::net::TcpListener| {
            let stack = stack.clone();
            let service = move |peer, outlet: &Arc<Outlet>| {
                // One for each connection. Calling it makes a future, and nothing more: it is never called within itself.
                let (stack, outlet) = (RefCell::new(stack.clone()), Arc::clone(outlet));
                service_fn(move |request: Request<Incoming>| {
                    let interims = outlet.begin(request.version());
                    let request = request.map(|body| RequestBody::incoming(body, body_limit, body_idle));
                    let arrival = Arrival::new(request, peer, interims.clone());
                    // It is always ready: admission is decided below.
                    interims.before(stack.borrow_mut().call(arrival))
                })
            };
            let observer = Arc::clone(&observer);
            let unread = move |peer, status| observer.unread(peer, status);
            let (settings, free, stopping) = (Arc::clone(&settings), Arc::clone(&free), stopping.clone());
            async move {
                // It was listened on, and does not block.
                match TcpListener::from_std(listener) {
                    Ok(listener) => {
                        let http2 = settings.http2;
                        Accept { listener, settings, http2, free, service, unread }.run(stopping).await;
                    }
                    Err(error) => tracing::error!(%error, "a listener cannot be waited for"),
                }
            }
        };
        let workers = serve(&plan.server, self.listeners, accept).map_err(StartError::Workers)?;

        let (stop_admin, stopping) = watch::channel(false);
        let warmer = Arc::new(Warmer::new(stack, &plan, clock.clone()));
        let (rooms_too, warmer_too) = (Arc::clone(&rooms), Arc::clone(&warmer));
        let state = AdminState::new(plan, rooms_too, warmer_too, metrics, Arc::clone(&ready), clock)?;
        reception.open(&state);
        let router = admin::router(state.clone());
        let service = move |peer: SocketAddr, _: &Arc<Outlet>| {
            let router = router.clone();
            service_fn(move |mut request: Request<Incoming>| {
                request.extensions_mut().insert(admin::Peer(peer.ip()));
                // Its own limits bound the size; a sender that stalls is not waited for here either.
                let request = request.map(|body| RequestBody::incoming(body, u64::MAX, body_idle));
                router.clone().call(request)
            })
        };
        let free = permits(MAX_ADMIN_CONNECTIONS);
        let listener = self.admin;
        let accept = Accept { listener, settings, http2: false, free, service, unread: |_, _| () };
        tokio::spawn(accept.run(stopping));

        let invalidator = Arc::clone(&rooms.invalidator);
        let reclaiming = tokio::spawn(async move {
            loop {
                invalidator.reclaimable().await;
                let invalidator = Arc::clone(&invalidator);
                if let Err(error) = tokio::task::spawn_blocking(move || invalidator.reclaim()).await {
                    tracing::error!(%error, "the memory of what was purged was not given back");
                }
            }
        });
        let forgetful = Arc::clone(&rooms.log);
        let housekeeping = tokio::spawn(async move {
            let mut connections = tokio::time::interval(Duration::from_secs(5));
            let mut tags = tokio::time::interval(Duration::from_secs(60));
            loop {
                tokio::select! {
                    _ = connections.tick() => origin.sweep(),
                    _ = tags.tick() => forgetful.forget(),
                }
            }
        });
        Ok(Started {
            stop_public,
            stop_admin,
            ready,
            warmer,
            rooms,
            workers,
            state,
            housekeeping: [reclaiming, housekeeping],
            grace,
        })
    }
}

impl Started {
    /// Serves until `shutdown` is ready, then [stops](Self::stop).
    pub async fn serve_until(self, shutdown: impl Future<Output = ()>) {
        shutdown.await;
        self.stop().await;
    }

    /// Drains and ends: `/readyz` says no, warm-ups end, nothing new is accepted, and what is in flight has the grace period to
    /// finish. The admin listener goes last: until then it tells how it is going.
    pub async fn stop(self) {
        self.ready.store(false, Ordering::Release);
        self.warmer.stop();
        drain(&self.stop_public, self.grace).await;
        // What is still fetched is for nobody.
        self.rooms.flights.stop();
        drain(&self.stop_admin, self.grace).await;
        if timeout(self.grace, self.state.drain()).await.is_err() {
            tracing::warn!(grace = ?self.grace, "some of what webhooks have queued was not done in time");
        }
        // Last: what one of them has opened, others may be using.
        drop(self.workers);
        self.housekeeping.iter().for_each(JoinHandle::abort);
    }
}

/// Has the loops that `accept` makes of sockets run where the settings say. `sockets`: for each address one for each worker.
fn serve<F, A>(
    settings: &config::Server,
    sockets: Vec<Vec<std::net::TcpListener>>,
    accept: F,
) -> io::Result<Option<Workers>>
where
    F: Fn(std::net::TcpListener) -> A,
    A: Future<Output = ()> + Send + 'static,
{
    match settings.scheduling {
        Scheduling::Shared => {
            sockets.into_iter().flatten().for_each(|socket| drop(tokio::spawn(accept(socket))));
            Ok(None)
        }
        Scheduling::PerCore => {
            let mut work: Vec<Vec<A>> = (0..settings.workers).map(|_| Vec::new()).collect();
            for sockets in sockets {
                work.iter_mut().zip(sockets).for_each(|(work, socket)| work.push(accept(socket)));
            }
            Workers::start(work).map(Some)
        }
    }
}

/// Tells listeners and their connections to stop, and waits until every exchange has finished, at most `grace`.
async fn drain(stop: &watch::Sender<bool>, grace: Duration) {
    // That nobody is left to be told is as good as told.
    let _ = stop.send(true);
    // Who has not heard it yet, or has an exchange to finish, still listens.
    if timeout(grace, stop.closed()).await.is_err() {
        tracing::warn!(?grace, "some exchanges did not finish in time and were cut off");
    }
}

/// Tells this process from others; not a secret.
fn random() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::collections::hash_map::RandomState::new().build_hasher().finish()
}
