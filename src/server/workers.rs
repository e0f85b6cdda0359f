//! Where connections are served: by a thread with a runtime of its own for each core, or by the runtime that all else runs on.
//!
//! Workers share nothing on the way of a hit but the store and the log. Each listens with a socket of its own, so that the kernel
//! spreads connections over them (`SO_REUSEPORT`); where it cannot, they take turns at one.

use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::pin::Pin;
use std::thread::JoinHandle;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::sync::{mpsc, watch};

/// How many connections may wait to be accepted. The system may allow fewer.
const BACKLOG: i32 = 4096;

/// So many sockets that listen on one address.
///
/// # Errors
/// The address cannot be listened on.
pub(super) fn listen(address: SocketAddr, number: usize) -> io::Result<Vec<TcpListener>> {
    // By itself first: with the option on, a second server of the same user would get every other connection of this one.
    let alone = socket(address, false)?;
    if number <= 1 {
        return Ok(vec![alone]);
    }
    let address = alone.local_addr()?;
    let shared = || (0..number).map(|_| socket(address, true)).collect::<io::Result<Vec<_>>>();
    drop(alone);
    shared().or_else(|error| {
        tracing::debug!(%address, %error, "the workers share one socket");
        let alone = socket(address, false)?;
        let mut all = (1..number).map(|_| alone.try_clone()).collect::<io::Result<Vec<_>>>()?;
        all.push(alone);
        Ok(all)
    })
}

fn socket(address: SocketAddr, is_shared: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    #[cfg(not(windows))]
    socket.set_reuse_address(true)?;
    #[cfg(unix)]
    if is_shared {
        socket.set_reuse_port(true)?;
    }
    #[cfg(not(unix))]
    if is_shared {
        return Err(io::ErrorKind::Unsupported.into());
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// The threads.
#[derive(Debug)]
pub(super) struct Workers {
    threads: Vec<JoinHandle<()>>,
    over: watch::Sender<bool>,
    /// Hears of each worker that has nothing left to do.
    drained: mpsc::Receiver<()>,
}

/// What a worker does until there is nothing left to do.
pub(super) type Work = Box<dyn FnOnce() -> Pin<Box<dyn Future<Output = ()>>> + Send>;

impl Workers {
    /// Starts a thread for each.
    ///
    /// # Errors
    /// The system gives no thread, or no way to wait for its sockets.
    pub(super) fn start(work: Vec<Work>) -> io::Result<Self> {
        let (over, _) = watch::channel(false);
        let (done, drained) = mpsc::channel(work.len().max(1));
        let mut threads = Vec::with_capacity(work.len());
        for (number, work) in work.into_iter().enumerate() {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let (done, mut over) = (done.clone(), over.subscribe());
            let work = move || {
                runtime.block_on(async {
                    let work = async {
                        work().await;
                        // Nobody is left to hear it only once all is over.
                        let _ = done.send(()).await;
                        // What it has opened, others may be using.
                        std::future::pending::<()>().await;
                    };
                    tokio::select! {
                        () = work => {}
                        _ = over.wait_for(|over| *over) => {}
                    }
                });
                runtime.shutdown_background();
            };
            threads.push(std::thread::Builder::new().name(format!("worker-{number}")).spawn(work)?);
        }
        Ok(Self { threads, over, drained })
    }

    /// Returns once all have nothing left to do.
    pub(super) async fn drained(&mut self) {
        for _ in 0..self.threads.len() {
            if self.drained.recv().await.is_none() {
                return;
            }
        }
    }
}

impl Drop for Workers {
    /// Ends them, whatever they are doing.
    fn drop(&mut self) {
        let _ = self.over.send(true);
        for thread in self.threads.drain(..) {
            // One that panicked has said so itself.
            let _ = thread.join();
        }
    }
}
