//! A stream that does not wait for ever for a reader, and that speaks between hyper's messages.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use smallvec::SmallVec;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use super::http1::Activity;
use crate::exchange::{Mark, NextLines, Outlet};

/// A stream whose writes may be held up for a while, and not for ever: a client that does not read would keep
/// its response, and what that response holds. What comes out of its outlet is written between hyper's messages.
#[derive(Debug)]
pub(super) struct Patient<S> {
    stream: S,
    outlet: Arc<Outlet>,
    /// Hears when a write is held up, and that the connection is being closed.
    activity: Arc<Activity>,
    /// What has been taken from the outlet and not been written: it goes before whatever hyper writes next.
    interim: Bytes,
    /// What has been taken to be written in the place of a mark, of which nothing has been written yet.
    lines: Option<Vec<u8>>,
    limit: Duration,
    /// Made when a write is first held up.
    stall: Option<Pin<Box<Sleep>>>,
    /// Made when the connection is closed: how long what the client still sends is read.
    linger: Option<Pin<Box<Sleep>>>,
}

/// How long a client may take to read a last response before the connection is closed for good.
const LINGER: Duration = Duration::from_secs(1);

impl<S: AsyncWrite + Unpin> Patient<S> {
    pub(super) fn new(stream: S, limit: Duration, outlet: Arc<Outlet>, activity: Arc<Activity>) -> Self {
        Self {
            stream,
            outlet,
            activity,
            interim: Bytes::new(),
            lines: None,
            limit,
            stall: None,
            linger: None,
        }
    }

    /// What is between two messages waited at.
    pub(super) fn inner(&mut self) -> &mut S {
        &mut self.stream
    }

    /// Writes what has been taken from the outlet, to its last byte.
    fn poll_interim(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.interim.has_remaining() {
            let polled = Pin::new(&mut self.stream).poll_write(cx, &self.interim);
            match ready!(self.watch(polled, cx))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.interim.advance(written),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Writes a head with the lines that belong to it in the place of its mark, and what follows it. How much of what hyper has
    /// given that was.
    fn poll_write_lines(
        &mut self,
        cx: &mut Context<'_>,
        mark: Mark,
        head: &[u8],
        bodies: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let lines = self.lines.get_or_insert_with(|| self.outlet.take_lines());
        let mut slices: SmallVec<[io::IoSlice<'_>; 8]> = SmallVec::new();
        slices.extend([&head[..mark.start], lines].map(io::IoSlice::new));
        // Behind it may be the mark of others.
        if self.outlet.lines_waiting() <= 1 {
            slices.push(io::IoSlice::new(&head[mark.end..]));
            slices.extend(bodies.iter().map(|body| io::IoSlice::new(body)));
        }
        let length = lines.len();
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, &slices);
        drop(slices);
        let written = ready!(self.watch(polled, cx))?;
        if written <= mark.start {
            return Poll::Ready(Ok(written));
        }
        self.outlet.lines_written();
        let lines = self.lines.take().unwrap_or_default();
        let written_lines = (written - mark.start).min(length);
        if written_lines < length {
            // The rest goes before whatever hyper writes next.
            self.interim = Bytes::from(lines).slice(written_lines..);
        } else {
            Outlet::spare(lines);
        }
        Poll::Ready(Ok(written - written_lines + (mark.end - mark.start)))
    }

    fn watch<T>(&mut self, polled: Poll<io::Result<T>>, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            if self.stall.take().is_some() {
                self.activity.set_held_up(false);
            }
            return polled;
        }
        let (limit, activity) = (self.limit, &self.activity);
        let stall = self.stall.get_or_insert_with(|| {
            activity.set_held_up(true);
            Box::pin(tokio::time::sleep(limit))
        });
        stall.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_interim(cx))?;
        let mut bytes = bytes;
        if self.outlet.has_lines() {
            match self.outlet.next_lines(bytes).map_err(io::Error::other)? {
                NextLines::At(mark) => return self.poll_write_lines(cx, mark, bytes, &[]),
                NextLines::After(plain) => bytes = &bytes[..plain],
            }
        }
        let polled = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.watch(polled, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_interim(cx))?;
        // Heads wait in the first of them, if any do.
        if self.outlet.has_lines()
            && let Some((first, others)) = slices.split_first()
        {
            match self.outlet.next_lines(first).map_err(io::Error::other)? {
                NextLines::At(mark) => return self.poll_write_lines(cx, mark, first, others),
                NextLines::After(plain) if plain < first.len() => {
                    let polled = Pin::new(&mut self.stream).poll_write(cx, &first[..plain]);
                    return self.watch(polled, cx);
                }
                NextLines::After(_) => {}
            }
        }
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.watch(polled, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// hyper flushes when it has nothing left to write: this is the place between its messages.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_interim(cx))?;
        if let Some(interim) = self.outlet.take() {
            self.interim = interim;
            // An answer may wait for its place behind these.
            cx.waker().wake_by_ref();
            ready!(self.poll_interim(cx))?;
        }
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    /// Says that nothing more will come, and then reads what the client is still sending: closed with bytes unread,
    /// the connection would be reset, and the client might lose the response that tells it why.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let linger = match &mut this.linger {
            Some(linger) => linger,
            None => {
                ready!(this.poll_interim(cx))?;
                ready!(Pin::new(&mut this.stream).poll_shutdown(cx))?;
                this.activity.set_held_up(true);
                this.linger.insert(Box::pin(tokio::time::sleep(LINGER)))
            }
        };
        let mut discarded = [0; 4096];
        while linger.as_mut().poll(cx).is_pending() {
            let mut buffer = ReadBuf::new(&mut discarded);
            match ready!(Pin::new(&mut this.stream).poll_read(cx, &mut buffer)) {
                Ok(()) if !buffer.filled().is_empty() => {}
                _ => break,
            }
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::MARKED;
    use http::{HeaderMap, Request, Response, StatusCode};
    use http_body_util::Full;
    use hyper::body::Incoming;
    use hyper::server::conn::http1;
    use hyper::service::service_fn;
    use hyper_util::rt::TokioIo;
    use std::convert::Infallible;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio::task::JoinHandle;

    const HINT: &str = "HTTP/1.1 103 Early Hints\r\n\r\n";
    const LINE: &str = "x-line: as it is stored\r\n";

    /// A connection through a pipe of `capacity` bytes. `/3/500/2` is answered with three interim responses, a body of
    /// 500 bytes, and two fields that are given as lines.
    fn serve_through(capacity: usize, limit: Duration, vectored: bool) -> (DuplexStream, JoinHandle<bool>) {
        let (client, server) = duplex(capacity);
        let outlet = Arc::<Outlet>::default();
        let io = TokioIo::new(Patient::new(server, limit, Arc::clone(&outlet), Arc::default()));
        let service = service_fn(move |request: Request<Incoming>| {
            let interims = outlet.begin(request.version());
            interims.clone().before(async move {
                let mut numbers = request.uri().path().split('/').filter_map(|number| number.parse().ok());
                let mut next = || numbers.next().unwrap_or(0);
                let (hints, length, lines) = (next(), next(), next());
                for number in 0..hints {
                    // Some come alone, some together, some with the answer.
                    if number % 3 == 0 {
                        tokio::task::yield_now().await;
                    }
                    interims.send(StatusCode::EARLY_HINTS, &HeaderMap::new());
                }
                if request.headers().contains_key("x-forget") {
                    interims.lines(|written| written.extend(LINE.bytes()));
                }
                let mut response = Response::new(Full::new(Bytes::from("x".repeat(length))));
                if lines > 0 {
                    let mark = interims.lines(|written| written.extend(LINE.repeat(lines).bytes()));
                    response.headers_mut().insert(MARKED, mark.unwrap());
                }
                Ok::<_, Infallible>(response)
            })
        });
        let connection =
            http1::Builder::new().auto_date_header(false).writev(vectored).serve_connection(io, service);
        (client, tokio::spawn(async move { connection.await.is_ok() }))
    }

    #[tokio::test]
    async fn a_pipe_of_any_width_carries_the_same_bytes() {
        let exchanges = [
            (0, 10, 0),
            (1, 0, 1),
            (4, 500, 0),
            (0, 500, 40),
            (7, 70_000, 3),
            (0, 0, 0),
            (0, 0, 2),
            (0, 9, 1),
            (0, 70_000, 1),
            (0, 8, 1),
            (0, 7, 0),
            (2, 3, 9),
        ];
        let mut requests = String::new();
        let mut expected = String::new();
        for (hints, length, lines) in exchanges {
            requests.push_str(&format!("GET /{hints}/{length}/{lines} HTTP/1.1\r\n\r\n"));
            let (body, lines) = ("x".repeat(length), LINE.repeat(lines));
            expected.push_str(&HINT.repeat(hints));
            expected.push_str(&format!("HTTP/1.1 200 OK\r\n{lines}content-length: {length}\r\n\r\n{body}"));
        }
        let widths = [1, 2, 7, 29, 64, 1000, 1_000_000];
        for (capacity, vectored) in widths.into_iter().flat_map(|width| [(width, true), (width, false)]) {
            let (mut client, served) = serve_through(capacity, Duration::from_secs(10), vectored);
            let (mut reads, mut writes) = tokio::io::split(&mut client);
            let mut seen = vec![0; expected.len()];
            let (written, read) =
                tokio::join!(writes.write_all(requests.as_bytes()), reads.read_exact(&mut seen));
            written.unwrap();
            read.unwrap();
            assert!(seen == expected.as_bytes(), "{capacity}: {}", String::from_utf8_lossy(&seen));
            client.shutdown().await.unwrap();
            assert!(served.await.unwrap(), "{capacity}");
        }
    }

    #[tokio::test]
    async fn lines_in_the_place_of_others_end_the_connection() {
        let (mut client, served) = serve_through(1_000_000, Duration::from_secs(10), true);
        // These are given and never written: the second has the mark of another.
        client
            .write_all(b"GET /0/5/1 HTTP/1.1\r\nx-forget: 1\r\n\r\nGET /0/5/1 HTTP/1.1\r\n\r\n")
            .await
            .unwrap();
        assert!(!served.await.unwrap(), "it ends with an error");
        let mut seen = String::new();
        client.read_to_string(&mut seen).await.unwrap();
        assert_eq!(seen.matches(LINE).count(), 0, "{seen}");
    }

    #[tokio::test]
    async fn a_client_that_does_not_read_its_hints_is_not_waited_for() {
        let (mut client, served) = serve_through(29, Duration::from_millis(20), true);
        client.write_all(b"GET /5/5 HTTP/1.1\r\n\r\n").await.unwrap();
        assert!(!served.await.unwrap(), "it ends with an error");
    }
}
