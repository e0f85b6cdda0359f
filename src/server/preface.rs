//! Which protocol a connection begins with: HTTP/2 with prior knowledge (RFC 9113 §3.3, §3.4), or HTTP/1.
//!
//! Decided on the first bytes, as soon as they can no longer be the preface; what was looked at is read again by whoever
//! serves the connection. Knows neither protocol.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// "the client connection preface starts with a sequence of 24 octets" (RFC 9113 §3.4)
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    /// HTTP/1.1, or what is to be answered as it: also nothing at all.
    Http1,
    /// HTTP/2.
    Http2,
}

/// A stream whose next bytes can be looked at before they are read.
#[derive(Debug)]
pub(super) struct Peekable<S> {
    stream: S,
    /// What was read of the stream to look at it.
    ahead: BytesMut,
}

impl<S> Peekable<S> {
    /// Nothing of it has been looked at.
    pub(super) fn new(stream: S) -> Self {
        Self { stream, ahead: BytesMut::new() }
    }

    /// Puts back what was read of it last. Only where nothing is ahead.
    pub(super) fn put_back(&mut self, bytes: &[u8]) {
        self.ahead = BytesMut::from(bytes);
    }
}

impl<S: AsyncRead + Unpin> Peekable<S> {
    /// Waits until there is something, and it is certain what the client speaks.
    ///
    /// # Errors
    /// The stream's.
    pub(super) async fn protocol(&mut self, may_be_http2: bool) -> io::Result<Protocol> {
        loop {
            let more = self.peek().await?;
            if !more || !may_be_http2 || !PREFACE.starts_with(&self.ahead) {
                return Ok(Protocol::Http1);
            }
            if self.ahead == PREFACE[..] {
                return Ok(Protocol::Http2);
            }
        }
    }

    /// Looks at more of what comes, some bytes at least; false at the end. Of what is ahead nothing is lost if this is given up.
    ///
    /// # Errors
    /// The stream's.
    pub(super) async fn peek(&mut self) -> io::Result<bool> {
        poll_fn(|cx| self.poll_peek(cx)).await
    }

    fn poll_peek(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        // Never more than the preface has, for what follows is not to be copied.
        let mut bytes = [0; PREFACE.len()];
        let free = PREFACE.len() - self.ahead.len().min(PREFACE.len() - 1);
        let mut bytes = ReadBuf::new(bytes.get_mut(..free).unwrap_or_default());
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut bytes))?;
        self.ahead.extend_from_slice(bytes.filled());
        Poll::Ready(Ok(!bytes.filled().is_empty()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Peekable<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.ahead.is_empty() {
            return Pin::new(&mut this.stream).poll_read(cx, buffer);
        }
        let fits = this.ahead.len().min(buffer.remaining());
        buffer.put_slice(&this.ahead.split_to(fits));
        if this.ahead.is_empty() {
            // Gives its memory back.
            this.ahead = BytesMut::new();
        }
        if buffer.remaining() > 0 {
            // What lies behind them comes along. That there is nothing, or that the stream has ended, is found out next time.
            let _ = Pin::new(&mut this.stream).poll_read(cx, buffer);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Peekable<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    async fn check(first: &[u8], protocol: Protocol) {
        for width in [1, 3, 24, 1000] {
            let (mut client, server) = duplex(width);
            let mut server = Peekable::new(server);
            let write = async {
                client.write_all(first).await.unwrap();
                client.shutdown().await.unwrap();
            };
            let read = async {
                assert_eq!(server.protocol(true).await.unwrap(), protocol, "{first:?} {width}");
                let mut read = Vec::new();
                server.read_to_end(&mut read).await.unwrap();
                assert_eq!(read, first, "{width}");
            };
            tokio::join!(write, read);
        }
    }

    #[tokio::test]
    async fn the_preface_begins_http_2_and_nothing_else_does() {
        check(PREFACE, Protocol::Http2).await;
        check(&[PREFACE, &b"\0\0\0\x04\0\0\0\0\0"[..]].concat(), Protocol::Http2).await;
        for other in [
            "",
            "P",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\rx",
            "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a.test\r\n\r\n",
            "PRI * HTTP/1.1\r\nHost: a.test\r\n\r\n",
        ] {
            check(other.as_bytes(), Protocol::Http1).await;
        }
    }

    #[tokio::test]
    async fn the_first_byte_that_is_not_the_prefaces_decides() {
        for first in ["G", "PO", "PU", "PA", "PRO"] {
            let (mut client, server) = duplex(100);
            client.write_all(first.as_bytes()).await.unwrap();
            assert_eq!(Peekable::new(server).protocol(true).await.unwrap(), Protocol::Http1);
        }
    }
}
