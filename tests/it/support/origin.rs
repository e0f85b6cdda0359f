//! An origin that says exactly the bytes it is told to, when it is told to.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

/// Holds an origin's reply back until it is opened.
#[derive(Clone, Debug)]
pub struct Gate(Arc<Semaphore>);

impl Gate {
    pub fn closed() -> Self {
        Self(Arc::new(Semaphore::new(0)))
    }

    /// Lets one waiting step pass.
    pub fn open(&self) {
        self.0.add_permits(1);
    }
}

/// One step of a reply.
#[derive(Clone, Debug)]
enum Step {
    Send(Vec<u8>),
    Wait(Gate),
    Close,
    Reset,
}

/// What the origin answers to a request.
#[derive(Clone, Debug, Default)]
pub struct Reply(Vec<Step>);

impl Reply {
    /// 200 with these field lines (`"Cache-Control: max-age=60\r\n"`) and this body.
    pub fn ok(fields: &str, body: &str) -> Self {
        Self::status("200 OK", fields, body)
    }

    pub fn status(status: &str, fields: &str, body: &str) -> Self {
        Self::raw(format!("HTTP/1.1 {status}\r\n{fields}Content-Length: {}\r\n\r\n{body}", body.len()))
    }

    pub fn raw(bytes: impl Into<Vec<u8>>) -> Self {
        Self(vec![Step::Send(bytes.into())])
    }

    pub fn then(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.0.push(Step::Send(bytes.into()));
        self
    }

    /// Waits for the gate before what follows.
    pub fn wait(mut self, gate: &Gate) -> Self {
        self.0.push(Step::Wait(gate.clone()));
        self
    }

    /// Waits for the gate before anything.
    pub fn after(mut self, gate: &Gate) -> Self {
        self.0.insert(0, Step::Wait(gate.clone()));
        self
    }

    /// Closes the connection.
    pub fn close(mut self) -> Self {
        self.0.push(Step::Close);
        self
    }

    /// Breaks the connection, as a crash does: what its client has not read by then may be lost.
    pub fn reset(mut self) -> Self {
        self.0.push(Step::Reset);
        self
    }
}

#[derive(Debug, Default)]
struct Script {
    /// By path and query; each list is said in order, and its last reply for ever.
    replies: HashMap<String, Vec<Reply>>,
    requests: Vec<String>,
    connections: usize,
}

/// See the [module](self).
#[derive(Clone, Debug)]
pub struct Origin {
    pub address: SocketAddr,
    script: Arc<Mutex<Script>>,
}

impl Origin {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let script = Arc::<Mutex<Script>>::default();
        let said = Arc::clone(&script);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&said)));
            }
        });
        Self { address, script }
    }

    /// One without a script: the test accepts its connections and says what is said on them.
    pub async fn by_hand() -> (Self, TcpListener) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        (Self { address, script: Arc::default() }, listener)
    }

    /// Answers requests for `target` with these replies in turn, the last one for ever.
    pub fn on(&self, target: &str, replies: impl IntoIterator<Item = Reply>) {
        let replies = replies.into_iter().collect();
        self.script.lock().expect("no test panics with the lock").replies.insert(target.to_owned(), replies);
    }

    /// The heads of the requests so far, with their bodies.
    pub fn requests(&self) -> Vec<String> {
        self.script.lock().expect("no test panics with the lock").requests.clone()
    }

    /// How many requests there were.
    pub fn count(&self) -> usize {
        self.requests().len()
    }

    /// How many connections there were.
    pub fn connections(&self) -> usize {
        self.script.lock().expect("no test panics with the lock").connections
    }

    /// The last request.
    pub fn last(&self) -> String {
        self.requests().pop().unwrap_or_default()
    }
}

async fn serve(mut stream: TcpStream, script: Arc<Mutex<Script>>) {
    script.lock().expect("no test panics with the lock").connections += 1;
    let mut buffer = Vec::new();
    while let Some(request) = read_request(&mut stream, &mut buffer).await {
        let target = request.split(' ').nth(1).unwrap_or("").to_owned();
        let reply = {
            let mut script = script.lock().expect("no test panics with the lock");
            script.requests.push(request);
            match script.replies.get_mut(&target) {
                Some(replies) if replies.len() > 1 => replies.remove(0),
                Some(replies) => replies.first().cloned().unwrap_or_default(),
                None => Reply::status("404 Not Found", "", "the script has no such target"),
            }
        };
        for step in reply.0 {
            match step {
                Step::Send(bytes) => {
                    if stream.write_all(&bytes).await.is_err() {
                        return;
                    }
                }
                Step::Wait(gate) => gate.0.acquire().await.expect("never closed").forget(),
                Step::Close => return,
                Step::Reset => {
                    let _ = stream.set_zero_linger();
                    return;
                }
            }
        }
    }
}

/// A request with its body, or `None` at the end of the connection.
async fn read_request(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<String> {
    loop {
        if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&buffer[..end + 4]).to_lowercase();
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length:"))
                .map_or(0, |length| length.trim().parse::<usize>().unwrap_or(0));
            let whole = if head.contains("transfer-encoding: chunked") {
                let last = buffer[end + 4..].windows(5).position(|window| window == b"0\r\n\r\n");
                last.map(|last| end + 4 + last + 5)
            } else {
                (buffer.len() >= end + 4 + length).then_some(end + 4 + length)
            };
            if let Some(whole) = whole {
                let request: Vec<u8> = buffer.drain(..whole).collect();
                return Some(String::from_utf8_lossy(&request).into_owned());
            }
        }
        let mut piece = vec![0; 16 * 1024];
        match stream.read(&mut piece).await {
            Ok(read) if read > 0 => buffer.extend_from_slice(&piece[..read]),
            _ => return None,
        }
    }
}
