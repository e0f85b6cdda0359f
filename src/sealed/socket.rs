//! A client's connection that sends sealed bytes from their file, and all others as they are.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

use super::memory::{self, Place};

/// Less than this is copied faster than it is sent from its file, in bytes.
const WORTH_BYTES: usize = 32 * 1024;

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Socket {
    stream: TcpStream,
    /// Nothing is sent from files: that has failed.
    plain: bool,
}

impl Socket {
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self { stream, plain: false }
    }

    /// Sends by `send` what there is room for. `None`: it cannot be done so.
    fn poll_send(
        &self,
        cx: &mut Context<'_>,
        send: impl Fn(&TcpStream) -> io::Result<usize>,
    ) -> Poll<Option<usize>> {
        loop {
            if ready!(self.stream.poll_write_ready(cx)).is_err() {
                return Poll::Ready(None);
            }
            match self.stream.try_io(Interest::WRITABLE, || send(&self.stream)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                sent => return Poll::Ready(sent.ok().filter(|sent| *sent > 0)),
            }
        }
    }
}

/// The first slice that is to be sent from a file, how long it is, and where it lies there.
fn first_sealed(slices: &[IoSlice<'_>]) -> Option<(usize, usize, Place)> {
    let large = slices.iter().enumerate().filter(|(_, slice)| slice.len() >= WORTH_BYTES);
    let mut sealed = large.filter_map(|(index, slice)| Some((index, slice.len(), memory::place(slice)?)));
    sealed.next()
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if !self.plain
            && let Some((index, length, place)) = first_sealed(slices)
        {
            let before = &slices[..index];
            let sent = if before.iter().all(|slice| slice.is_empty()) {
                self.poll_send(cx, |socket| place.send(socket, length))
            } else {
                self.poll_send(cx, |socket| memory::send_before_more(socket, before))
            };
            if let Some(sent) = ready!(sent) {
                return Poll::Ready(Ok(sent));
            }
            // Whether it is the file or the connection that fails shows when the bytes are written.
            self.plain = true;
        }
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

#[cfg(target_os = "linux")]
#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use std::future::poll_fn;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    async fn connected() -> (Socket, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (Socket::new(listener.accept().await.unwrap().0), client)
    }

    fn body(length: usize) -> Vec<u8> {
        (0..length).map(|number| (number / 7) as u8).collect()
    }

    async fn write(socket: &mut Socket, slices: &[&[u8]]) -> usize {
        let slices: Vec<_> = slices.iter().map(|slice| IoSlice::new(slice)).collect();
        poll_fn(|cx| Pin::new(&mut *socket).poll_write_vectored(cx, &slices)).await.unwrap()
    }

    /// As hyper does: what is left is offered again. What each attempt wrote.
    async fn write_all(socket: &mut Socket, slices: &[&[u8]]) -> Vec<usize> {
        let mut left = slices.to_vec();
        let mut attempts = Vec::new();
        while !left.is_empty() {
            let mut written = write(socket, &left).await;
            attempts.push(written);
            while let Some(first) = left.first_mut() {
                let taken = written.min(first.len());
                *first = &first[taken..];
                written -= taken;
                if !first.is_empty() {
                    break;
                }
                left.remove(0);
            }
        }
        attempts
    }

    /// What the client gets of these slices, and what each attempt wrote.
    async fn sent(mut socket: Socket, mut client: TcpStream, slices: &[&[u8]]) -> (Vec<u8>, Vec<usize>) {
        let mut received = Vec::new();
        let writing = async {
            let attempts = write_all(&mut socket, slices).await;
            socket.shutdown().await.unwrap();
            attempts
        };
        let (attempts, _) = tokio::join!(writing, client.read_to_end(&mut received));
        (received, attempts)
    }

    #[tokio::test]
    async fn what_goes_before_sealed_bytes_goes_by_itself() {
        let (socket, client) = connected().await;
        let body = Bytes::from(body(3_000_000));
        let sealed = memory::gathered(std::slice::from_ref(&body)).unwrap();
        let slices = [b"head, ", &b"chunk "[..], &sealed, b", end, ", &sealed[..10], &sealed[1_000_001..]];
        let (received, attempts) = sent(socket, client, &slices).await;
        assert!(received == slices.concat());
        assert_eq!(attempts[0], 12);
        assert!(attempts[1] <= body.len() && attempts.len() > 4, "{attempts:?}");
    }

    #[tokio::test]
    async fn a_few_sealed_bytes_are_written_with_what_goes_before() {
        let (socket, client) = connected().await;
        let sealed = memory::gathered(&[Bytes::from(body(100_000))]).unwrap();
        let slices = [b"head", &sealed[50_000..51_000], b"end"];
        let (received, attempts) = sent(socket, client, &slices).await;
        assert!(received == slices.concat());
        assert_eq!(attempts, [1007]);
    }

    #[tokio::test]
    async fn what_cannot_be_sent_from_its_file_is_written() {
        let (socket, client) = connected().await;
        let misplaced = memory::misplaced(body(500_000)).unwrap();
        assert!(memory::place(misplaced).is_some());
        let sealed = memory::gathered(&[Bytes::from(body(500_000))]).unwrap();
        let slices = [b"head", misplaced, b"head", &sealed];
        let (received, attempts) = sent(socket, client, &slices).await;
        assert!(received == slices.concat());
        assert_eq!(attempts[0], 4);
    }

    #[tokio::test]
    async fn a_client_that_has_left_is_an_error() {
        let (mut socket, client) = connected().await;
        let sealed = memory::gathered(&[Bytes::from(body(500_000))]).unwrap();
        client.set_zero_linger().unwrap();
        drop(client);
        let slices = [IoSlice::new(&sealed)];
        let ended = loop {
            let written = poll_fn(|cx| Pin::new(&mut socket).poll_write_vectored(cx, &slices)).await;
            if let Err(error) = written {
                break error.kind();
            }
        };
        assert!(matches!(ended, io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset), "{ended}");
    }
}
