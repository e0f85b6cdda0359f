//! A client that sends what it is told, byte for byte.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A response as it came, with its body de-chunked.
#[derive(Clone, Debug, Default)]
pub struct Response {
    pub status: u16,
    pub head: String,
    pub body: String,
    /// The framing was met: `Content-Length` bytes, or the last chunk.
    pub complete: bool,
}

impl Response {
    /// The value of a field; all its lines joined with `, `. Empty if there is none.
    pub fn field(&self, name: &str) -> String {
        let lines = self.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        let values: Vec<_> = lines
            .filter(|(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim())
            .collect();
        values.join(", ")
    }

    /// The word of `X-Cache`.
    pub fn x_cache(&self) -> String {
        self.field("x-cache")
    }
}

/// A connection that is kept.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Client {
    pub async fn connect(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).await.expect("the proxy listens"))
    }

    /// The words of a client on any connection: those of an origin, if it was accepted.
    pub fn over(stream: TcpStream) -> Self {
        Self { stream, buffer: Vec::new() }
    }

    pub async fn write(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.expect("the proxy reads");
    }

    /// Whether the other end has closed the connection (and sends nothing more).
    pub async fn is_closed(&mut self) -> bool {
        let mut byte = [0; 1];
        matches!(self.stream.read(&mut byte).await, Ok(0) | Err(_))
    }

    /// Reads until the text so far contains `text`; what was read.
    pub async fn read_until(&mut self, text: &str) -> String {
        while !contains(&self.buffer, text.as_bytes()) {
            if self.read_more().await == 0 {
                break;
            }
        }
        String::from_utf8_lossy(&self.buffer).into_owned()
    }

    /// Reads until the text so far ends with `text`, and takes it.
    pub async fn take_until(&mut self, text: &str) -> String {
        let read = self.read_until(text).await;
        let end = read.find(text).map_or(read.len(), |start| start + text.len());
        self.buffer.drain(..end);
        read[..end].to_owned()
    }

    /// Reads to the end of the connection; what was read.
    pub async fn read_to_end(&mut self) -> String {
        while self.read_more().await > 0 {}
        String::from_utf8_lossy(&std::mem::take(&mut self.buffer)).into_owned()
    }

    /// Reads one response to a GET.
    pub async fn response(&mut self) -> Response {
        self.response_to("GET").await
    }

    /// Reads one response to a request of this method.
    pub async fn response_to(&mut self, method: &str) -> Response {
        let end = loop {
            if let Some(end) = position(&self.buffer, b"\r\n\r\n") {
                break end + 4;
            }
            if self.read_more().await == 0 {
                return Response::default();
            }
        };
        let head = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
        self.buffer.drain(..end);
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
        let mut response = Response { status, head, ..Response::default() };
        let chunked = response.field("transfer-encoding").eq_ignore_ascii_case("chunked");
        let length = response.field("content-length").parse::<usize>().ok();
        if method == "HEAD" || status < 200 || status == 204 || status == 304 {
            response.complete = true;
        } else if chunked {
            (response.body, response.complete) = self.chunks().await;
        } else if let Some(length) = length {
            while self.buffer.len() < length && self.read_more().await > 0 {}
            response.complete = self.buffer.len() >= length;
            let taken: Vec<u8> = self.buffer.drain(..length.min(self.buffer.len())).collect();
            response.body = String::from_utf8_lossy(&taken).into_owned();
        } else {
            while self.read_more().await > 0 {}
            response.body = String::from_utf8_lossy(&std::mem::take(&mut self.buffer)).into_owned();
            response.complete = true;
        }
        response
    }

    async fn chunks(&mut self) -> (String, bool) {
        let mut body = Vec::new();
        loop {
            let Some(line_end) = position(&self.buffer, b"\r\n") else {
                if self.read_more().await == 0 {
                    return (String::from_utf8_lossy(&body).into_owned(), false);
                }
                continue;
            };
            let size = String::from_utf8_lossy(&self.buffer[..line_end]).into_owned();
            let size = usize::from_str_radix(size.split(';').next().unwrap_or(""), 16).unwrap_or(0);
            let needed = line_end + 2 + size + 2;
            while self.buffer.len() < needed {
                if self.read_more().await == 0 {
                    let rest = self.buffer.get(line_end + 2..).unwrap_or_default();
                    body.extend_from_slice(rest);
                    return (String::from_utf8_lossy(&body).into_owned(), false);
                }
            }
            body.extend_from_slice(&self.buffer[line_end + 2..line_end + 2 + size]);
            self.buffer.drain(..needed);
            if size == 0 {
                return (String::from_utf8_lossy(&body).into_owned(), true);
            }
        }
    }

    async fn read_more(&mut self) -> usize {
        let mut piece = vec![0; 64 * 1024];
        let read = self.stream.read(&mut piece).await.unwrap_or(0);
        self.buffer.extend_from_slice(&piece[..read]);
        read
    }
}

/// Sends a whole request on a connection of its own and reads the response.
pub async fn send(address: SocketAddr, request: &str) -> Response {
    let mut client = Client::connect(address).await;
    client.write(request).await;
    let method = request.split(' ').next().unwrap_or("GET").to_owned();
    client.response_to(&method).await
}

fn position(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    position(bytes, wanted).is_some()
}
