//! The access log: one line per exchange, written by a thread of its own.
//!
//! An exchange never waits for the log: each worker writes into a buffer of its own, and wakes the writer only with the
//! first line of it. A line that finds its buffer full is dropped and counted, and told of.

use std::borrow::Cow;
use std::fmt;
use std::io::{self, Write};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use http::uri::PathAndQuery;
use http::{Method, StatusCode, Uri};
use serde::Serialize;

use super::{SHARDS, shard};
use crate::clock::Timestamp;
use crate::config;

/// How much may wait in one, in bytes, and how much room one keeps.
const MAX_BUFFERED: usize = 1 << 20;
const KEPT_BUFFER: usize = 64 << 10;

/// How long the writer waits for more lines once there is one.
const LINGER: Duration = Duration::from_millis(20);

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

/// The log, for those who write to it.
#[derive(Debug)]
pub struct AccessLog {
    format: config::AccessLog,
    lines: Option<Arc<Lines>>,
    writer: Option<JoinHandle<()>>,
}

/// What waits to be written: a buffer for each worker, so that none waits for another.
#[derive(Debug)]
struct Lines {
    shards: [Mutex<Shard>; SHARDS],
    dropped: AtomicU64,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Shard {
    buffer: Vec<u8>,
    /// The last second that a line was of, as it is written.
    second: (u64, String),
}

#[derive(Debug, Default)]
struct State {
    /// Something waits.
    pending: bool,
    /// Nothing more will come.
    over: bool,
}

impl Drop for AccessLog {
    /// Waits until what was handed over has been written: the last exchanges of a process are told, too.
    fn drop(&mut self) {
        if let Some(lines) = &self.lines {
            lock(&lines.state).over = true;
            lines.changed.notify_one();
        }
        if let Some(writer) = self.writer.take() {
            // A writer that panicked has said so itself.
            let _ = writer.join();
        }
    }
}

impl AccessLog {
    /// Starts the writer, which ends when the log is dropped; none if the log is off.
    pub fn to_stdout(format: config::AccessLog) -> io::Result<Self> {
        if format == config::AccessLog::Off {
            return Ok(Self { format, lines: None, writer: None });
        }
        let lines = Arc::new(Lines::new());
        let written = Arc::clone(&lines);
        let writer = std::thread::Builder::new()
            .name("access-log".into())
            .spawn(move || written.write(io::stdout()))?;
        Ok(Self { format, lines: Some(lines), writer: Some(writer) })
    }

    /// Hands over a record; waits for nobody but whoever takes the lines away.
    pub fn write(&self, record: &Record) {
        if let Some(lines) = &self.lines {
            lines.add(record, self.format);
        }
    }
}

impl Lines {
    fn new() -> Self {
        let (dropped, state, changed) = (AtomicU64::new(0), Mutex::default(), Condvar::new());
        Self { shards: std::array::from_fn(|_| Mutex::default()), dropped, state, changed }
    }

    fn add(&self, record: &Record, format: config::AccessLog) {
        let mut shard = lock(&self.shards[shard()]);
        if shard.buffer.len() > MAX_BUFFERED {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let was_empty = shard.buffer.is_empty();
        let Shard { buffer, second } = &mut *shard;
        // Writing to memory cannot fail.
        let _ = match format {
            config::AccessLog::Off => Ok(()),
            config::AccessLog::Text => text(record, Moment::of(record.at, second), buffer),
            config::AccessLog::Json => json(record, Moment::of(record.at, second), buffer),
        };
        drop(shard);
        // Whoever comes first wakes the writer, and it waits for the others.
        if was_empty {
            lock(&self.state).pending = true;
            self.changed.notify_one();
        }
    }

    /// Writes until nothing more will come.
    fn write(&self, mut out: impl Write) {
        let mut taken = Vec::new();
        loop {
            let is_over = self.wait();
            for shard in &self.shards {
                std::mem::swap(&mut taken, &mut lock(shard).buffer);
                // A log that cannot be written (a closed pipe, a full disk) must not stop the proxy.
                let _ = out.write_all(&taken);
                taken.clear();
                taken.shrink_to(KEPT_BUFFER);
            }
            let _ = out.flush();
            let lost = self.dropped.swap(0, Ordering::Relaxed);
            if lost > 0 {
                tracing::warn!(lost, "the access log could not keep up");
            }
            if is_over {
                return;
            }
        }
    }

    /// Until something waits, and then for more; whether it is the last.
    fn wait(&self) -> bool {
        let mut state = lock(&self.state);
        while !state.pending && !state.over {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let (mut state, _) = self
            .changed
            .wait_timeout_while(state, LINGER, |state| !state.over)
            .unwrap_or_else(PoisonError::into_inner);
        state.pending = false;
        state.over
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// When, as it is written: what is the same for all of a second is made once.
struct Moment<'s> {
    second: &'s str,
    millis: u64,
}

impl<'s> Moment<'s> {
    fn of(at: Timestamp, (known, written): &'s mut (u64, String)) -> Self {
        let second = at.as_secs();
        if *known != second || written.is_empty() {
            let whole = at.iso8601().to_string();
            written.clear();
            written.push_str(whole.trim_end_matches('Z'));
            *known = second;
        }
        Self { second: written, millis: at.as_millis() % 1000 }
    }
}

impl Moment<'_> {
    fn push(&self, line: &mut Vec<u8>) {
        let digit = |unit: u64| b'0' + u8::try_from(self.millis / unit % 10).unwrap_or_default();
        line.extend_from_slice(self.second.as_bytes());
        line.extend_from_slice(&[b'.', digit(100), digit(10), digit(1), b'Z']);
    }
}

impl fmt::Display for Moment<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03}Z", self.second, self.millis)
    }
}

/// Space-separated, for people: what a client wrote is quoted and escaped, so it cannot forge a line.
fn text(record: &Record, at: Moment<'_>, line: &mut Vec<u8>) -> io::Result<()> {
    let mut number = itoa::Buffer::new();
    at.push(line);
    line.push(b' ');
    match record.client {
        IpAddr::V4(address) => {
            for (place, octet) in address.octets().into_iter().enumerate() {
                line.extend_from_slice(if place == 0 { b"" } else { b"." });
                line.extend_from_slice(number.format(octet).as_bytes());
            }
        }
        IpAddr::V6(address) => write!(line, "{address}")?,
    }
    line.push(b' ');
    line.extend_from_slice(record.method.as_ref().map_or("-", Method::as_str).as_bytes());
    line.push(b' ');
    push_quoted(record.target.as_ref().map_or("-", path_and_query), line)?;
    for part in [" ", record.status.as_str(), " ", number.format(record.bytes), "B "] {
        line.extend_from_slice(part.as_bytes());
    }
    // Rounded to tenths of a millisecond.
    let tenths = (record.took.as_micros() + 50) / 100;
    line.extend_from_slice(number.format(tenths / 10).as_bytes());
    line.push(b'.');
    line.extend_from_slice(number.format(tenths % 10).as_bytes());
    for part in [
        "ms ",
        record.cache.unwrap_or("-"),
        " ",
        record.detail.or(record.forward).unwrap_or("-"),
        " route=",
        record.route.as_deref().unwrap_or("-"),
        if record.complete { "\n" } else { " incomplete\n" },
    ] {
        line.extend_from_slice(part.as_bytes());
    }
    Ok(())
}

/// As Rust's debug format has it.
fn push_quoted(text: &str, line: &mut Vec<u8>) -> io::Result<()> {
    if text.bytes().any(|byte| !byte.is_ascii_graphic() || matches!(byte, b'"' | b'\\')) {
        return write!(line, "{text:?}");
    }
    line.push(b'"');
    line.extend_from_slice(text.as_bytes());
    line.push(b'"');
    Ok(())
}

fn path_and_query(target: &Uri) -> &str {
    target.path_and_query().map_or("/", PathAndQuery::as_str)
}

/// One JSON object per line.
fn json(record: &Record, at: Moment<'_>, line: &mut Vec<u8>) -> io::Result<()> {
    #[derive(Serialize)]
    struct Line<'r> {
        time: String,
        client: IpAddr,
        method: Option<&'r str>,
        host: Option<Cow<'r, str>>,
        target: Option<String>,
        status: u16,
        bytes: u64,
        seconds: f64,
        complete: bool,
        route: Option<&'r str>,
        cache: Option<&'r str>,
        fwd: Option<&'r str>,
        detail: Option<&'r str>,
    }
    let told = Line {
        time: at.to_string(),
        client: record.client,
        method: record.method.as_ref().map(Method::as_str),
        host: record.host.as_ref().map(|host| String::from_utf8_lossy(host.as_bytes())),
        target: record.target.as_ref().map(Uri::to_string),
        status: record.status.as_u16(),
        bytes: record.bytes,
        seconds: record.took.as_secs_f64(),
        complete: record.complete,
        route: record.route.as_deref(),
        cache: record.cache,
        fwd: record.forward,
        detail: record.detail,
    };
    serde_json::to_writer(&mut *line, &told)?;
    line.push(b'\n');
    Ok(())
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

    fn written(write: fn(&Record, Moment<'_>, &mut Vec<u8>) -> io::Result<()>, record: &Record) -> String {
        let (mut second, mut line) = Default::default();
        write(record, Moment::of(record.at, &mut second), &mut line).unwrap();
        String::from_utf8(line).unwrap()
    }

    #[test]
    fn a_line_of_text_says_what_happened() {
        assert_eq!(
            written(text, &record("/users/1?a=b")),
            "2001-09-09T01:46:40.000Z 192.0.2.1 GET \"/users/1?a=b\" 200 5B 1.5ms MISS uri-miss route=users\n"
        );
    }

    #[test]
    fn a_request_that_could_not_be_read_has_a_line() {
        let client = IpAddr::from([192, 0, 2, 1]);
        let unread = Record::unread(Timestamp::from_secs(1_000_000_000), client, StatusCode::BAD_REQUEST);
        let line = written(text, &unread);
        assert_eq!(line, "2001-09-09T01:46:40.000Z 192.0.2.1 - \"-\" 400 0B 0.0ms - unreadable route=-\n");
        let parsed: serde_json::Value = serde_json::from_str(&written(json, &unread)).unwrap();
        assert_eq!((&parsed["method"], &parsed["status"]), (&serde_json::Value::Null, &400.into()));
    }

    #[test]
    fn what_a_client_wrote_cannot_forge_a_line() {
        let line = written(text, &record("/a\"b"));
        assert_eq!(line.matches('\n').count(), 1);
        assert!(line.contains(r#""/a\"b""#), "{line}");
        let parsed: serde_json::Value = serde_json::from_str(&written(json, &record("/a\"b"))).unwrap();
        assert_eq!(parsed["target"], "/a\"b");
    }

    #[test]
    fn a_second_is_written_once_and_each_line_has_its_own() {
        let mut second = Default::default();
        for (millis, expected) in
            [(1_000_000_000_007, "40.007Z"), (1_000_000_000_999, "40.999Z"), (1_000_000_001_000, "41.000Z")]
        {
            let moment = Moment::of(Timestamp::from_millis(millis), &mut second).to_string();
            assert!(moment.starts_with("2001-09-09T01:46:") && moment.ends_with(expected), "{moment}");
        }
        assert_eq!(
            Moment::of(Timestamp::default(), &mut Default::default()).to_string(),
            "1970-01-01T00:00:00.000Z"
        );
    }

    #[test]
    fn all_that_was_handed_over_is_written_whoever_it_came_from() {
        #[derive(Clone, Default)]
        struct Out(Arc<Mutex<Vec<u8>>>);
        impl Write for Out {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                lock(&self.0).write(bytes)
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let (lines, out) = (Arc::new(Lines::new()), Out::default());
        let writer = std::thread::spawn({
            let (lines, out) = (Arc::clone(&lines), out.clone());
            move || lines.write(out)
        });
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let lines = &lines;
                scope.spawn(move || {
                    for number in 0..500 {
                        lines.add(&record(&format!("/{thread}/{number}")), config::AccessLog::Text);
                    }
                });
            }
        });
        lock(&lines.state).over = true;
        lines.changed.notify_one();
        writer.join().unwrap();
        let told = String::from_utf8(std::mem::take(&mut *lock(&out.0))).unwrap();
        let dropped = lines.dropped.load(Ordering::Relaxed);
        assert_eq!((told.lines().count(), dropped), (4000, 0));
        let of_one: Vec<_> = told.lines().filter(|line| line.contains("\"/3/")).collect();
        assert!(of_one.len() == 500 && of_one[499].contains("/3/499"), "in their order");
    }

    #[test]
    fn what_nobody_takes_away_is_dropped_and_counted() {
        let lines = Lines::new();
        for _ in 0..20_000 {
            lines.add(&record("/a"), config::AccessLog::Text);
        }
        let kept: usize = lines.shards.iter().map(|shard| lock(shard).buffer.len()).sum();
        assert!(kept < MAX_BUFFERED + 1000 && lines.dropped.load(Ordering::Relaxed) > 1000, "{kept}");
    }
}
