//! What one poll of a connection writes, written at once.
//!
//! h2 writes and flushes once for every DATA frame: with many streams on a connection, two system calls for each small
//! response. Here small writes are gathered, and [`Gathered::poll_send`] sends them when the connection has been
//! polled. So nothing waits longer than that poll takes, and for nothing but the socket. Knows nothing of HTTP.

use std::cell::Cell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How much is gathered; then it is written at once.
const MAX_GATHERED: usize = 64 * 1024;

/// What is not worth copying goes straight through, behind what was gathered.
const LARGE: usize = 8 * 1024;

/// How many slices go through at once; h2 has two.
const MAX_SLICES: usize = 16;

/// A stream that gathers what is written to it. It has two handles: the connection's, and that of whoever polls the
/// connection.
#[derive(Debug)]
pub(super) struct Gathered<S>(Arc<Mutex<Gather<S>>>);

#[derive(Debug)]
struct Gather<S> {
    stream: S,
    bytes: Vec<u8>,
    /// How many of these have been written.
    sent: usize,
    /// How many bytes the stream has taken since this was asked last.
    progress: usize,
    /// Why they could not be written; for the connection to hear.
    failed: Option<io::Error>,
}

thread_local! {
    /// Room in which nothing is gathered now. What one connection has sent, another can use: else each would keep its own, or get
    /// a new one for each poll.
    static ROOM: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

impl<S> Gathered<S> {
    /// Gathers what is written to `stream`.
    pub(super) fn new(stream: S) -> Self {
        let gather = Gather { stream, bytes: Vec::new(), sent: 0, progress: 0, failed: None };
        Self(Arc::new(Mutex::new(gather)))
    }

    /// The other handle.
    pub(super) fn handle(&self) -> Self {
        Self(Arc::clone(&self.0))
    }

    /// Whether anything was written since this was asked last.
    pub(super) fn progressed(&self) -> bool {
        std::mem::take(&mut self.lock().progress) > 0
    }

    fn lock(&self) -> MutexGuard<'_, Gather<S>> {
        // Nothing that holds this lock can panic half-way through a change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: AsyncWrite + Unpin> Gathered<S> {
    /// Writes what was gathered. To be asked each time the connection has been polled, by the same task. An error is the
    /// connection's to hear, which is woken for it.
    pub(super) fn poll_send(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut gather = self.lock();
        match ready!(gather.poll_send(cx)) {
            Ok(()) => {}
            Err(error) => {
                gather.failed = Some(error);
                cx.waker().wake_by_ref();
            }
        }
        Poll::Ready(())
    }
}

impl<S> Gather<S> {
    /// Tells, once, that something could not be written.
    fn fail(&mut self) -> io::Result<()> {
        self.failed.take().map_or(Ok(()), Err)
    }
}

impl<S: AsyncWrite + Unpin> Gather<S> {
    /// Writes what was gathered, to its last byte.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(rest) = self.bytes.get(self.sent..).filter(|rest| !rest.is_empty()) {
            match ready!(Pin::new(&mut self.stream).poll_write(cx, rest)) {
                Ok(0) => return Poll::Ready(Err(self.give_up(io::ErrorKind::WriteZero.into()))),
                Ok(written) => self.wrote(written),
                Err(error) => return Poll::Ready(Err(self.give_up(error))),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// What cannot be written is not tried again.
    fn give_up(&mut self, error: io::Error) -> io::Error {
        self.bytes.clear();
        self.sent = 0;
        error
    }

    /// So many of the gathered bytes have been written.
    fn wrote(&mut self, written: usize) {
        self.progress += written;
        self.sent += written;
        if self.sent >= self.bytes.len() {
            self.bytes.clear();
            self.sent = 0;
            let (own, other) = (std::mem::take(&mut self.bytes), ROOM.take());
            ROOM.set(if own.capacity() > other.capacity() { own } else { other });
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        self.fail()?;
        let length = slices.iter().map(|slice| slice.len()).sum::<usize>();
        let waiting = self.bytes.len() - self.sent;
        if length < LARGE && waiting + length <= MAX_GATHERED {
            if self.sent > 0 && self.bytes.len() + length > MAX_GATHERED {
                self.bytes.drain(..self.sent);
                self.sent = 0;
            }
            if self.bytes.capacity() == 0 {
                self.bytes = ROOM.take();
            }
            slices.iter().for_each(|slice| self.bytes.extend_from_slice(slice));
            return Poll::Ready(Ok(length));
        }
        loop {
            let ahead = self.bytes.get(self.sent..).unwrap_or_default();
            let waiting = ahead.len();
            let written = if waiting == 0 {
                Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
            } else {
                let mut all = [IoSlice::new(&[]); MAX_SLICES];
                let behind = slices.iter().map(|slice| IoSlice::new(slice));
                let number = all.iter_mut().zip([IoSlice::new(ahead)].into_iter().chain(behind));
                let number = number.map(|(place, slice)| *place = slice).count();
                let all = all.get(..number).unwrap_or_default();
                Pin::new(&mut self.stream).poll_write_vectored(cx, all)
            };
            let written = ready!(written)?;
            if waiting > 0 {
                self.wrote(written.min(waiting));
            }
            if written > waiting || written == 0 {
                let written = written.saturating_sub(waiting);
                self.progress += written;
                return Poll::Ready(Ok(written));
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Gathered<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut gather = self.lock();
        gather.fail()?;
        Pin::new(&mut gather.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gathered<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.lock().poll_write(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.lock().poll_write(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Later: see the [module](self).
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.lock().fail())
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut gather = self.lock();
        gather.fail()?;
        ready!(gather.poll_send(cx))?;
        ready!(Pin::new(&mut gather.stream).poll_flush(cx))?;
        Pin::new(&mut gather.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    /// Writes these, and sends after each of them that is not empty and after all; what came out of a pipe of this width.
    async fn written(width: usize, writes: &[Vec<u8>], sends: bool) -> Vec<u8> {
        let (mut client, server) = duplex(width);
        let mut stream = Gathered::new(server);
        let ours = stream.handle();
        let write = async move {
            for bytes in writes {
                stream.write_all(bytes).await.unwrap();
                stream.flush().await.unwrap();
                if sends {
                    poll_fn(|cx| ours.poll_send(cx)).await;
                }
            }
            stream.shutdown().await.unwrap();
            drop((stream, ours));
        };
        let mut seen = Vec::new();
        let read = async { client.read_to_end(&mut seen).await.unwrap() };
        tokio::join!(write, read);
        seen
    }

    #[tokio::test]
    async fn a_pipe_of_any_width_carries_the_same_bytes() {
        let lengths = [1, 9, 100, 5000, 0, 20_000, 7, LARGE - 1, LARGE, MAX_GATHERED, 3, 200_000, 40_000, 2];
        let writes: Vec<Vec<u8>> = lengths
            .iter()
            .enumerate()
            .map(|(number, &length)| (0..length).map(|at| (at * 7 + number) as u8).collect())
            .collect();
        let small: Vec<Vec<u8>> = (0..400).map(|number| vec![number as u8; 1000]).collect();
        for width in [29, 1000, 1_000_000] {
            for sends in [false, true] {
                for writes in [&writes, &small] {
                    assert!(written(width, writes, sends).await == writes.concat(), "{width} {sends}");
                }
            }
        }
    }

    fn pair(width: usize) -> (DuplexStream, Gathered<DuplexStream>) {
        let (client, server) = duplex(width);
        (client, Gathered::new(server))
    }

    #[tokio::test]
    async fn small_writes_are_sent_together_and_not_before() {
        let (mut client, mut stream) = pair(1000);
        for _ in 0..3 {
            stream.write_all(b"abc").await.unwrap();
            stream.flush().await.unwrap();
        }
        let mut buffer = [0; 100];
        tokio::select! {
            biased;
            _ = client.read(&mut buffer) => panic!("nothing is sent yet"),
            () = std::future::ready(()) => {}
        }
        poll_fn(|cx| stream.poll_send(cx)).await;
        assert_eq!(client.read(&mut buffer).await.unwrap(), 9);
        assert!(stream.progressed() && !stream.progressed());
    }

    #[tokio::test]
    async fn who_does_not_read_is_not_gathered_for_without_end() {
        let (_client, mut stream) = pair(10);
        let mut taken = 0;
        while taken < 10 * MAX_GATHERED {
            let polled = poll_fn(|cx| Poll::Ready(Pin::new(&mut stream).poll_write(cx, &[0; 1000]))).await;
            let Poll::Ready(written) = polled else { break };
            taken += written.unwrap();
        }
        assert!(taken <= MAX_GATHERED + 10, "{taken}");
    }

    #[tokio::test]
    async fn what_could_not_be_sent_is_told_to_the_connection() {
        let (client, mut stream) = pair(10);
        stream.write_all(b"abc").await.unwrap();
        drop(client);
        poll_fn(|cx| stream.poll_send(cx)).await;
        assert!(stream.read(&mut [0; 10]).await.is_err());
    }
}
