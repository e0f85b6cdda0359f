//! A client that speaks HTTP/2 in cleartext, knowing that the proxy does.

use std::net::SocketAddr;

use bytes::Bytes;
use h2::client::{Builder, ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Request};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

/// A response as it came.
#[derive(Debug)]
pub struct Http2Response {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: String,
    pub trailers: Option<HeaderMap>,
}

impl Http2Response {
    /// The value of a field; empty if there is none.
    pub fn field(&self, name: &str) -> String {
        self.headers.get(name).map_or(String::new(), |value| value.to_str().unwrap_or("").to_owned())
    }

    /// The word of `X-Cache`.
    pub fn x_cache(&self) -> String {
        self.field("x-cache")
    }
}

/// A connection that is kept.
#[derive(Debug)]
pub struct Http2 {
    streams: SendRequest<Bytes>,
    connection: JoinHandle<Result<(), h2::Error>>,
}

impl Http2 {
    pub async fn connect(address: SocketAddr) -> Self {
        Self::with(address, &Builder::new()).await
    }

    /// With settings of its own.
    pub async fn with(address: SocketAddr, settings: &Builder) -> Self {
        let stream = TcpStream::connect(address).await.expect("the proxy listens");
        let (streams, connection) = settings.handshake(stream).await.expect("it speaks HTTP/2");
        Self { streams, connection: tokio::spawn(connection) }
    }

    /// Opens a stream.
    pub async fn open(&self, request: Request<()>, ends: bool) -> (ResponseFuture, SendStream<Bytes>) {
        let mut streams = self.streams.clone().ready().await.expect("the connection stands");
        streams.send_request(request, ends).expect("the request can be sent")
    }

    /// A request without content.
    pub async fn send(&self, request: Request<()>) -> Http2Response {
        read(self.open(request, true).await.0).await.expect("a response")
    }

    /// GET from the host `a.test`.
    pub async fn get(&self, target: &str) -> Http2Response {
        self.send(get(target)).await
    }

    /// Returns when the connection has ended.
    pub async fn ended(self) -> Result<(), h2::Error> {
        let Self { streams, connection } = self;
        let ended = connection.await.expect("it does not panic");
        drop(streams);
        ended
    }
}

/// A GET from the host `a.test`.
pub fn get(target: &str) -> Request<()> {
    Request::get(format!("http://a.test{target}")).body(()).expect("a request")
}

/// A response to its end.
pub async fn read(response: ResponseFuture) -> Result<Http2Response, h2::Error> {
    let (head, mut body) = response.await?.into_parts();
    let mut bytes = Vec::new();
    while let Some(piece) = next(&mut body).await? {
        bytes.extend_from_slice(&piece);
    }
    let trailers = body.trailers().await?;
    let body = String::from_utf8_lossy(&bytes).into_owned();
    Ok(Http2Response { status: head.status.as_u16(), headers: head.headers, body, trailers })
}

/// The next piece of a body; the room it took is given back.
pub async fn next(body: &mut RecvStream) -> Result<Option<Bytes>, h2::Error> {
    let Some(piece) = body.data().await.transpose()? else { return Ok(None) };
    body.flow_control().release_capacity(piece.len())?;
    Ok(Some(piece))
}
