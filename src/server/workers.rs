//! Where connections are served: by a thread with a runtime of its own for each core, or by the runtime that all else runs on.
//!
//! Workers share nothing on the way of a hit but the store and the log. Each listens with a socket of its own, so that the kernel
//! spreads connections over them (`SO_REUSEPORT`); where it cannot, they take turns at one.

use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::thread::JoinHandle;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::sync::watch;

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
}

impl Workers {
    /// Starts a thread for each: it does all of that at the same time, and whatever comes of it, until it is ended.
    ///
    /// # Errors
    /// The system gives no thread, or no way to wait for its sockets.
    pub(super) fn start<W>(work: Vec<Vec<W>>) -> io::Result<Self>
    where
        W: Future<Output = ()> + Send + 'static,
    {
        let mut workers = Self { threads: Vec::with_capacity(work.len()), over: watch::Sender::new(false) };
        for (number, work) in work.into_iter().enumerate() {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let mut over = workers.over.subscribe();
            let work = move || {
                runtime.block_on(async {
                    work.into_iter().for_each(|work| drop(tokio::spawn(work)));
                    // That nobody is left to say so says it, too.
                    let _ = over.wait_for(|over| *over).await;
                });
                runtime.shutdown_background();
            };
            workers.threads.push(std::thread::Builder::new().name(format!("worker-{number}")).spawn(work)?);
        }
        Ok(workers)
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
