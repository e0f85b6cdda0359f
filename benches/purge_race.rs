//! Races between readers and purges: how many answers are older than the newest purge that was acknowledged before they
//! were asked for.
//!
//! A writer changes 100 pages, one after another at random, 200 times a second, and purges each; the origin takes up to 50 ms
//! to answer with what a page was when the request came. Eight clients read. `varnishd` takes part if it is installed, by PURGE,
//! by ban and, with varnish-modules, by xkey. nginx has no purging of its own.
//!
//! ```console
//! $ cargo bench --bench purge_race                     # 20 s each
//! $ cargo bench --bench purge_race -- --seconds 60
//! ```

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a bench that cannot go on says so"
)]
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "real time is what it is about")]
#![allow(unreachable_pub, missing_docs, dead_code, reason = "a bench is its own crate")]

mod peers;

use std::fs;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{MissedTickBehavior, interval, sleep};

use peers::{Peer, argument, directory, free_address, quantile, start};

const PAGES: usize = 100;
const READERS: usize = 8;
const PURGERS: usize = 8;
const CHANGES_PER_SECOND: u64 = 200;
const MAX_DELAY_MS: u64 = 50;
const TOKEN: &str = "a-token-for-the-bench";

/// What the pages are, and what of them has been purged.
#[derive(Default)]
struct Truth {
    versions: Vec<AtomicU64>,
    acknowledged: Vec<AtomicU64>,
}

/// A connection that is kept.
struct Client(BufReader<TcpStream>);

impl Client {
    async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self(BufReader::new(stream))
    }

    /// Status and body of the answer.
    async fn ask(&mut self, request: &str) -> (u16, String) {
        self.0.get_mut().write_all(request.as_bytes()).await.unwrap();
        let (mut status, mut length) = (0, 0);
        loop {
            let mut line = String::new();
            assert!(self.0.read_line(&mut line).await.unwrap() > 0, "the connection has ended");
            let line = line.trim_end().to_ascii_lowercase();
            if let Some(rest) = line.strip_prefix("http/1.1 ") {
                status = rest[..3].parse().unwrap();
            } else if let Some(value) = line.strip_prefix("content-length: ") {
                length = value.parse().unwrap();
            } else if line.is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).await.unwrap();
        (status, String::from_utf8(body).unwrap())
    }
}

async fn origin(truth: Arc<Truth>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let truth = Arc::clone(&truth);
            tokio::spawn(async move {
                let mut stream = BufReader::new(stream);
                loop {
                    let (mut page, mut line) = (0, String::new());
                    while line != "\r\n" {
                        line.clear();
                        match stream.read_line(&mut line).await {
                            Ok(read) if read > 0 => {}
                            _ => return,
                        }
                        if let Some(rest) = line.strip_prefix("GET /k/") {
                            page = rest.split('/').next().unwrap().parse().unwrap();
                        }
                    }
                    let version = truth.versions[page].load(Ordering::SeqCst).to_string();
                    sleep(Duration::from_millis(fastrand::u64(0..=MAX_DELAY_MS))).await;
                    let answer = format!(
                        "HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nCache-Tag: k{page}\r\nxkey: k{page}\r\n\
                         Content-Length: {}\r\n\r\n{version}",
                        version.len()
                    );
                    if stream.get_mut().write_all(answer.as_bytes()).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

/// A way to purge a page.
#[derive(Clone, Copy)]
struct Way {
    name: &'static str,
    peer: usize,
    request: fn(usize) -> String,
}

fn staleproof_purge(target: &str) -> String {
    format!(
        "POST /v1/purge HTTP/1.1\r\nHost: admin\r\nAuthorization: Bearer {TOKEN}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{target}",
        target.len()
    )
}

fn varnish_purge(method: &str, page: usize) -> String {
    format!(
        "{method} /k/{page}/ HTTP/1.1\r\nHost: bench.test\r\nxkey-purge: k{page}\r\nContent-Length: 0\r\n\r\n"
    )
}

const WAYS: [Way; 6] = [
    Way {
        name: "staleproof, url",
        peer: 0,
        request: |page| staleproof_purge(&format!(r#"{{"url": "http://bench.test/k/{page}/"}}"#)),
    },
    Way {
        name: "staleproof, tag",
        peer: 0,
        request: |page| staleproof_purge(&format!(r#"{{"tag": "k{page}"}}"#)),
    },
    Way {
        name: "staleproof, prefix",
        peer: 0,
        request: |page| staleproof_purge(&format!(r#"{{"prefix": "http://bench.test/k/{page}/"}}"#)),
    },
    Way { name: "varnish, PURGE", peer: 1, request: |page| varnish_purge("PURGE", page) },
    Way { name: "varnish, ban", peer: 1, request: |page| varnish_purge("BAN", page) },
    Way { name: "varnish, xkey", peer: 1, request: |page| varnish_purge("XKEY", page) },
];

fn staleproof(origin: SocketAddr, admin: SocketAddr) -> Option<Peer> {
    let (address, directory) = (free_address(), directory("race-staleproof"));
    let file = directory.join("proxy.yaml");
    let text = format!(
        "server: {{ listen: {address}, access_log: off }}\n\
         admin: {{ listen: {admin}, tokens: [{{ name: bench, secret: {TOKEN}, may: [purge] }}] }}\n\
         upstreams: {{ app: {{ servers: \"http://{origin}\" }} }}\n\
         routes: [{{ name: all, match: {{ path: \"/{{*rest}}\" }}, upstream: app }}]\n"
    );
    fs::write(&file, text).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_staleproof"));
    command.arg("--log").arg("warn").arg("run").arg("--config").arg(file);
    start("staleproof", address, directory, &mut command)
}

fn varnish(origin: SocketAddr) -> Option<Peer> {
    let (address, directory) = (free_address(), directory("race-varnish"));
    let text = format!(
        "vcl 4.1; import xkey;\nbackend app {{ .host = \"{}\"; .port = \"{}\"; }}\n\
         sub vcl_recv {{\n\
           if (req.method == \"PURGE\") {{ return (purge); }}\n\
           if (req.method == \"BAN\") {{ ban(\"obj.http.x-url == \" + req.url); return (synth(200)); }}\n\
           if (req.method == \"XKEY\") {{ set req.http.n = xkey.purge(req.http.xkey-purge); return (synth(200)); }}\n\
         }}\n\
         sub vcl_backend_response {{ set beresp.http.x-url = bereq.url; }}\n",
        origin.ip(),
        origin.port()
    );
    fs::write(directory.join("app.vcl"), text).unwrap();
    let mut command = Command::new("varnishd");
    command.arg("-F").arg("-a").arg(address.to_string()).arg("-n").arg(directory.join("work"));
    command.arg("-f").arg(directory.join("app.vcl")).args(["-s", "malloc,256m"]);
    start("varnish", address, directory, &mut command)
}

/// What a race led to.
struct Raced {
    answers: u64,
    stale: u64,
    purges: Vec<f64>,
}

async fn race(reads: SocketAddr, purges: SocketAddr, way: Way, truth: &Arc<Truth>, time: Duration) -> Raced {
    let end = Instant::now() + time;
    let (answers, stale) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let mut tasks = Vec::new();
    for _ in 0..READERS {
        let (truth, answers, stale) = (Arc::clone(truth), Arc::clone(&answers), Arc::clone(&stale));
        tasks.push(tokio::spawn(async move {
            let mut client = Client::connect(reads).await;
            while Instant::now() < end {
                let page = fastrand::usize(0..PAGES);
                let acknowledged = truth.acknowledged[page].load(Ordering::SeqCst);
                let request = format!("GET /k/{page}/ HTTP/1.1\r\nHost: bench.test\r\n\r\n");
                let (status, body) = client.ask(&request).await;
                assert_eq!(status, 200, "{body}");
                answers.fetch_add(1, Ordering::Relaxed);
                if body.parse::<u64>().unwrap() < acknowledged {
                    stale.fetch_add(1, Ordering::Relaxed);
                }
            }
        }));
    }
    let took = Arc::new(Mutex::new(Vec::new()));
    for _ in 0..PURGERS {
        let (truth, took) = (Arc::clone(truth), Arc::clone(&took));
        tasks.push(tokio::spawn(async move {
            let mut client = Client::connect(purges).await;
            let mut turns = interval(Duration::from_micros(1_000_000 * PURGERS as u64 / CHANGES_PER_SECOND));
            turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
            while Instant::now() < end {
                turns.tick().await;
                let page = fastrand::usize(0..PAGES);
                let version = truth.versions[page].fetch_add(1, Ordering::SeqCst) + 1;
                let begun = Instant::now();
                let (status, body) = client.ask(&(way.request)(page)).await;
                assert_eq!(status, 200, "{body}");
                truth.acknowledged[page].fetch_max(version, Ordering::SeqCst);
                took.lock().unwrap().push(begun.elapsed().as_secs_f64() * 1e3);
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    let mut purges = std::mem::take(&mut *took.lock().unwrap());
    purges.sort_by(f64::total_cmp);
    Raced { answers: answers.load(Ordering::Relaxed), stale: stale.load(Ordering::Relaxed), purges }
}

#[tokio::main]
async fn main() {
    let time = Duration::from_secs(argument("--seconds", 20) as u64);
    let cells = || (0..PAGES).map(|_| AtomicU64::new(0)).collect();
    let truth = Arc::new(Truth { versions: cells(), acknowledged: cells() });
    let origin = origin(Arc::clone(&truth)).await;
    let admin = free_address();
    let peers = [staleproof(origin, admin), varnish(origin)];
    println!("{READERS} readers of {PAGES} pages, {CHANGES_PER_SECOND} changes a second, {time:?} each");
    println!("| | answers | older than an acknowledged purge | purges | acknowledged after, p50 | p99 |");
    println!("|---|---|---|---|---|---|");
    let mut broken = 0;
    for way in WAYS {
        let Some(peer) = &peers[way.peer] else { continue };
        let purges = if way.peer == 0 { admin } else { peer.address };
        let raced = race(peer.address, purges, way, &truth, time).await;
        println!(
            "| {} | {} | {} | {} | {:.2} ms | {:.2} ms |",
            way.name,
            raced.answers,
            raced.stale,
            raced.purges.len(),
            quantile(&raced.purges, 0.5),
            quantile(&raced.purges, 0.99),
        );
        broken += if way.peer == 0 { raced.stale } else { 0 };
    }
    assert_eq!(broken, 0, "the promise is broken");
}
