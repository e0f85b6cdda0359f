//! The access log: one line per exchange, written by a thread of its own.
//!
//! An exchange never waits for the log. A line that finds the queue full is dropped and counted, and the next
//! that is written says how many were.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use http::uri::PathAndQuery;
use http::{Method, StatusCode, Uri};

use crate::clock::Timestamp;
use crate::config;

/// How many lines may wait to be written.
const QUEUE: usize = 8192;

/// What one exchange was.
#[derive(Debug)]
pub struct Record {
    /// When the request head was read.
    pub at: Timestamp,
    /// From the request head to the last byte of the response.
    pub took: Duration,
    /// The peer, or what a trusted proxy calls the client.
    pub client: IpAddr,
    /// The request's method; `None` if its head could not be read.
    pub method: Option<Method>,
    /// The request's target as it was sent; `None` if its head could not be read.
    pub target: Option<Uri>,
    /// The host, if the request had a field for it.
    pub host: Option<http::HeaderValue>,
    /// The response's status.
    pub status: StatusCode,
    /// Body bytes handed to the connection.
    pub bytes: u64,
    /// Whether the body was sent to its end.
    pub complete: bool,
    /// The name of the route.
    pub route: Option<Arc<str>>,
    /// The word of `X-Cache`.
    pub cache: Option<&'static str>,
    /// Why the origin was asked (RFC 9211 §2.2).
    pub forward: Option<&'static str>,
    /// Why the response was not stored, or whatever else there is to say.
    pub detail: Option<&'static str>,
}

impl Record {
    /// Of a request whose head could not be read, so that nothing is known but who sent it and what it was told.
    pub fn unread(at: Timestamp, client: IpAddr, status: StatusCode) -> Self {
        Self {
            at,
            took: Duration::ZERO,
            client,
            method: None,
            target: None,
            host: None,
            status,
            bytes: 0,
            complete: true,
            route: None,
            cache: None,
            forward: None,
            detail: Some("unreadable"),
        }
    }
}

/// The sending end of the log.
#[derive(Debug)]
pub struct AccessLog {
    format: config::AccessLog,
    lines: Option<SyncSender<String>>,
    dropped: Arc<AtomicU64>,
    writer: Option<JoinHandle<()>>,
}

impl Drop for AccessLog {
    /// Waits until what was handed over has been written: the last exchanges of a process are told, too.
    fn drop(&mut self) {
        self.lines = None;
        if let Some(writer) = self.writer.take() {
            // A writer that panicked has said so itself.
            let _ = writer.join();
        }
    }
}

impl AccessLog {
    /// Starts the writer, which ends when the log is dropped; none if the log is off.
    pub fn to_stdout(format: config::AccessLog) -> io::Result<Self> {
        let dropped = Arc::<AtomicU64>::default();
        if format == config::AccessLog::Off {
            return Ok(Self { format, lines: None, dropped, writer: None });
        }
        let (lines, queue) = sync_channel(QUEUE);
        let lost = Arc::clone(&dropped);
        let writer = std::thread::Builder::new()
            .name("access-log".into())
            .spawn(move || write_lines(&queue, &lost))?;
        Ok(Self { format, lines: Some(lines), dropped, writer: Some(writer) })
    }

    /// Hands over a record; never waits.
    pub fn write(&self, record: &Record) {
        let Some(lines) = &self.lines else { return };
        let line = match self.format {
            config::AccessLog::Off => return,
            config::AccessLog::Text => text(record),
            config::AccessLog::Json => json(record),
        };
        if let Err(TrySendError::Full(_)) = lines.try_send(line) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn write_lines(queue: &Receiver<String>, lost: &AtomicU64) {
    let mut out = io::stdout();
    let mut buffer = Vec::with_capacity(64 * 1024);
    while let Ok(line) = queue.recv() {
        buffer.extend_from_slice(line.as_bytes());
        while let Ok(line) = queue.try_recv() {
            buffer.extend_from_slice(line.as_bytes());
            if buffer.len() > 60 * 1024 {
                break;
            }
        }
        let lost = lost.swap(0, Ordering::Relaxed);
        // A log that cannot be written (a closed pipe, a full disk) must not stop the proxy.
        let _ = out.write_all(&buffer).and_then(|()| out.flush());
        buffer.clear();
        if lost > 0 {
            tracing::warn!(lost, "the access log could not keep up");
        }
    }
}

/// Space-separated, for people: what a client wrote is quoted and escaped, so it cannot forge a line.
fn text(record: &Record) -> String {
    let mut line = String::with_capacity(160);
    // Writing to a String cannot fail.
    let _ = writeln!(
        line,
        "{at:?} {client} {method} {target:?} {status} {bytes}B {took:.1}ms {cache} {why} route={route}{cut}",
        at = record.at,
        client = record.client,
        method = record.method.as_ref().map_or("-", Method::as_str),
        target = record.target.as_ref().map_or("-", path_and_query),
        status = record.status.as_u16(),
        bytes = record.bytes,
        took = record.took.as_secs_f64() * 1000.0,
        cache = record.cache.unwrap_or("-"),
        why = record.detail.or(record.forward).unwrap_or("-"),
        route = record.route.as_deref().unwrap_or("-"),
        cut = if record.complete { "" } else { " incomplete" },
    );
    line
}

fn path_and_query(target: &Uri) -> &str {
    target.path_and_query().map_or("/", PathAndQuery::as_str)
}

/// One JSON object per line.
fn json(record: &Record) -> String {
    let mut line = serde_json::json!({
        "time": format!("{:?}", record.at),
        "client": record.client.to_string(),
        "method": record.method.as_ref().map(Method::as_str),
        "host": record.host.as_ref().map(|host| String::from_utf8_lossy(host.as_bytes())),
        "target": record.target.as_ref().map(Uri::to_string),
        "status": record.status.as_u16(),
        "bytes": record.bytes,
        "seconds": record.took.as_secs_f64(),
        "complete": record.complete,
        "route": record.route.as_deref(),
        "cache": record.cache,
        "fwd": record.forward,
        "detail": record.detail,
    })
    .to_string();
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(target: &str) -> Record {
        Record {
            at: Timestamp::from_secs(1_000_000_000),
            took: Duration::from_micros(1500),
            client: IpAddr::from([192, 0, 2, 1]),
            method: Some(Method::GET),
            target: Some(target.parse().unwrap()),
            host: Some(http::HeaderValue::from_bytes(b"a.test\xff").unwrap()),
            status: StatusCode::OK,
            bytes: 5,
            complete: true,
            route: Some("users".into()),
            cache: Some("MISS"),
            forward: Some("uri-miss"),
            detail: None,
        }
    }

    #[test]
    fn a_line_of_text_says_what_happened() {
        assert_eq!(
            text(&record("/users/1?a=b")),
            "2001-09-09T01:46:40.000Z 192.0.2.1 GET \"/users/1?a=b\" 200 5B 1.5ms MISS uri-miss route=users\n"
        );
    }

    #[test]
    fn a_request_that_could_not_be_read_has_a_line() {
        let client = IpAddr::from([192, 0, 2, 1]);
        let unread = Record::unread(Timestamp::from_secs(1_000_000_000), client, StatusCode::BAD_REQUEST);
        let line = text(&unread);
        assert_eq!(line, "2001-09-09T01:46:40.000Z 192.0.2.1 - \"-\" 400 0B 0.0ms - unreadable route=-\n");
        let parsed: serde_json::Value = serde_json::from_str(&json(&unread)).unwrap();
        assert_eq!((&parsed["method"], &parsed["status"]), (&serde_json::Value::Null, &400.into()));
    }

    #[test]
    fn what_a_client_wrote_cannot_forge_a_line() {
        let line = text(&record("/a\"b"));
        assert_eq!(line.matches('\n').count(), 1);
        assert!(line.contains(r#""/a\"b""#), "{line}");
        let parsed: serde_json::Value = serde_json::from_str(&json(&record("/a\"b"))).unwrap();
        assert_eq!(parsed["target"], "/a\"b");
    }
}
