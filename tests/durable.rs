//! What a durable dispatcher has acknowledged is done, though the process is killed in the middle of it.

#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    reason = "a test that cannot go on says so by panicking"
)]

use std::collections::{HashMap, HashSet};
use std::fs::{self, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const DELIVERIES: usize = 10_000;
const SENDERS: usize = 16;

const YAML: &str = r#"
server: { listen: "127.0.0.1:0", access_log: off }
admin: { listen: "127.0.0.1:0", tokens: [{ name: test, secret: t, may: [read] }] }
upstreams: { app: { servers: "http://127.0.0.1:1" } }
routes: [{ name: page, match: { path: "/{*rest}" }, upstream: app, cache: { ttl: 1h } }]
webhooks:
  app: { path: /hooks/app, verify: { scheme: token, from: header.x-token }, secret: s, delivery: $.id, event: { name: $.type } }
dispatchers:
  kept: { kind: durable, path: queue.redb }
invalidation:
  - name: page changed
    on: { webhook: app }
    fields: { id: $.id }
    dispatcher: kept
    do: { purge: { url: "http://a.test/{id}" } }
"#;

/// The program, from its start until it is killed.
struct Process {
    child: Child,
    admin: String,
}

impl Process {
    /// Its log is appended to what those before it have told.
    fn start(directory: &Path) -> Self {
        let log = directory.join("log");
        let before = fs::metadata(&log).map_or(0, |log| log.len());
        let told = OpenOptions::new().create(true).append(true).open(&log).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_staleproof"))
            .args(["run", "--config", "proxy.yaml"])
            .current_dir(directory)
            .env("STALEPROOF_LOG", "info")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(told)
            .spawn()
            .unwrap();
        for _ in 0..1000 {
            let told = fs::read(&log).unwrap();
            let told = String::from_utf8_lossy(&told[before as usize..]).into_owned();
            let admin =
                told.lines().find_map(|line| line.split_once("administration and webhooks on http://"));
            if let Some((_, admin)) = admin {
                return Self { child, admin: admin.trim().to_owned() };
            }
            assert!(child.try_wait().unwrap().is_none(), "it ended: {told}");
            std::thread::park_timeout(Duration::from_millis(10));
        }
        panic!("it does not start: {}", fs::read_to_string(&log).unwrap());
    }

    /// As by `kill -9`.
    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A connection that is used again.
struct Sender(Option<BufReader<TcpStream>>);

impl Sender {
    /// Whether the answer is 200; `None`: there is none.
    fn deliver(&mut self, admin: &str, id: usize) -> Option<bool> {
        let body = format!(r#"{{"id": "{id}", "type": "page.updated"}}"#);
        let request = format!(
            "POST /hooks/app HTTP/1.1\r\nHost: a\r\nX-Token: s\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        if self.0.is_none() {
            self.0 = TcpStream::connect(admin).ok().map(BufReader::new);
        }
        let answer = self.0.as_mut().and_then(|stream| exchange(stream, &request).ok());
        if answer.is_none() {
            self.0 = None;
        }
        Some(answer?.0 == 200)
    }
}

fn exchange(stream: &mut BufReader<TcpStream>, request: &str) -> std::io::Result<(u16, String)> {
    stream.get_mut().write_all(request.as_bytes())?;
    let (mut status, mut length) = (0, 0);
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        if let Some(rest) = line.strip_prefix("HTTP/1.1 ") {
            status = rest[..3].parse().unwrap();
        } else if let Some((name, value)) = line.split_once(':') {
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse().unwrap();
            }
        } else if line.trim().is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    Ok((status, String::from_utf8(body).unwrap()))
}

/// Until nothing waits.
fn wait_until_done(admin: &str) {
    let mut stream = BufReader::new(TcpStream::connect(admin).unwrap());
    for _ in 0..3000 {
        let (_, metrics) = exchange(&mut stream, "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        if metrics.contains("staleproof_queued{dispatcher=\"kept\"} 0") {
            // What is taken is noted once it is settled.
            std::thread::park_timeout(Duration::from_millis(300));
            return;
        }
        std::thread::park_timeout(Duration::from_millis(10));
    }
    panic!("it is never done");
}

/// How often the log tells that a rule heard each delivery.
fn applied(directory: &Path) -> HashMap<usize, usize> {
    let log = fs::read(directory.join("log")).unwrap();
    let mut applied = HashMap::new();
    for line in String::from_utf8_lossy(&log).lines().filter(|line| line.contains("a rule heard an event")) {
        let id = line.split_once("delivery=\"").and_then(|(_, rest)| rest.split_once('"')).unwrap().0;
        *applied.entry(id.parse().unwrap()).or_default() += 1;
    }
    applied
}

fn directory() -> (tempfile::TempDir, PathBuf) {
    let scratch = tempfile::tempdir().unwrap();
    fs::write(scratch.path().join("proxy.yaml"), YAML).unwrap();
    let path = scratch.path().to_owned();
    (scratch, path)
}

#[test]
fn what_was_acknowledged_before_a_kill_is_done_after_it() {
    let (_scratch, directory) = directory();
    let acknowledged = Mutex::new(HashSet::new());
    let next = AtomicUsize::new(0);
    // Killed twice while they come; the third time all of it comes.
    for stop_at in [DELIVERIES / 3, DELIVERIES * 2 / 3, DELIVERIES] {
        let process = Process::start(&directory);
        let admin = process.admin.clone();
        let (killed, process) = (AtomicUsize::new(0), Mutex::new(Some(process)));
        std::thread::scope(|scope| {
            for _ in 0..SENDERS {
                scope.spawn(|| {
                    let mut sender = Sender(None);
                    while killed.load(Ordering::Relaxed) == 0 {
                        let id = next.fetch_add(1, Ordering::Relaxed);
                        if id >= DELIVERIES {
                            return;
                        }
                        if sender.deliver(&admin, id) == Some(true) {
                            acknowledged.lock().unwrap().insert(id);
                        }
                        if id == stop_at {
                            killed.store(1, Ordering::Relaxed);
                            process.lock().unwrap().take().unwrap().kill();
                        }
                    }
                });
            }
        });
        if let Some(process) = process.into_inner().unwrap() {
            wait_until_done(&process.admin);
            process.kill();
        }
    }
    let (acknowledged, applied) = (acknowledged.into_inner().unwrap(), applied(&directory));
    assert!(acknowledged.len() > DELIVERIES * 9 / 10, "{}", acknowledged.len());
    let lost: Vec<_> = acknowledged.iter().filter(|id| !applied.contains_key(id)).collect();
    assert_eq!(lost, Vec::<&usize>::new(), "of {}", acknowledged.len());
    // Again is only what was under way at a kill.
    let again = applied.values().filter(|times| **times > 1).count();
    println!("{} acknowledged, {} applied, {again} of them twice", acknowledged.len(), applied.len());
    assert!(again <= 2 * 200, "{again}");
}

#[test]
fn what_comes_again_is_applied_once() {
    let (_scratch, directory) = directory();
    let process = Process::start(&directory);
    let mut sender = Sender(None);
    for id in 0..200 {
        assert_eq!(sender.deliver(&process.admin, id % 100), Some(true));
    }
    wait_until_done(&process.admin);
    let applied = applied(&directory);
    assert_eq!((applied.len(), applied.values().max()), (100, Some(&1)));
}
