//! What a purge costs: how long it takes to be acknowledged, and to give memory back, by how much is stored and how much it
//! matches; and what hits lose while there are a thousand purges a second.
//!
//! ```console
//! $ cargo bench --bench purge_cost
//! $ cargo bench --bench purge_cost -- --stored 100000 --seconds 10
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
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use staleproof::clock::{Clock, Timestamp};
use staleproof::exchange::Scheme;
use staleproof::invalidation::{Invalidator, Log, Strength, Tag, Target};
use staleproof::routes::Table;
use staleproof::semantics::vary::Selecting;
use staleproof::semantics::{LifetimeSource, StoredResponse, Terms};
use staleproof::store::{Asked, Memory, MemoryLimits, Stored};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{MissedTickBehavior, interval};

use peers::beside::{compare, origin};
use peers::{argument, directory, free_address, quantile, start};

/// How many stored responses share a tag, of each of their three.
const MATCHING: [usize; 3] = [10, 1000, 100_000];

/// What is stored, and who purges it.
struct Town {
    log: Arc<Log>,
    store: Arc<Memory>,
    invalidator: Invalidator,
}

impl Town {
    fn of(responses: usize) -> Self {
        let log = Arc::new(Log::new(250_000));
        let limits = MemoryLimits {
            capacity_bytes: 1 << 40,
            max_object_bytes: 1 << 20,
            filling_bytes: 1 << 20,
            sendfile_from_bytes: None,
            eviction: Default::default(),
        };
        let store = Arc::new(Memory::new(limits));
        let routes = Arc::new(Table::new(Vec::new()));
        let invalidator = Invalidator::new(Arc::clone(&log), Arc::clone(&store), routes, Clock::system());
        let town = Self { log, store, invalidator };
        (0..responses).for_each(|number| town.fill(number));
        town
    }

    /// A page of 1 KiB with three tags of its app, and those that every page has.
    fn fill(&self, number: usize) {
        let path = format!("/articles/{number}");
        let key = format!("http|www.example.com|{path}|");
        let own = MATCHING.map(|matching| Tag::application(&tag(matching, number / matching)));
        let common =
            [Tag::url(&key), Tag::host("www.example.com"), Tag::key("articles"), Tag::namespace("articles")];
        let carried = self.log.carry(&self.log.begin_fetch(), own.into_iter().chain(common));
        let terms = Terms {
            lifetime: Duration::from_secs(3600).into(),
            lifetime_from: LifetimeSource::MaxAge,
            initial_age: Duration::ZERO.into(),
            received_at: Timestamp::default(),
            always_validate: false,
            never_stale: false,
            stale_while_revalidate: Duration::ZERO.into(),
            stale_if_error: Duration::ZERO.into(),
            refresh_at: None,
        };
        let response =
            StoredResponse::new(StatusCode::OK, HeaderMap::new(), |_| false, terms, Selecting::default());
        let asked =
            Asked { scheme: Scheme::Http, host: "www.example.com".into(), target: path.into(), again: None };
        let body = Bytes::from(vec![b'x'; 1024]);
        self.store.insert(Arc::new(Stored::new(key.into(), response, body, carried, Arc::new(asked))));
    }
}

fn tag(matching: usize, group: usize) -> String {
    format!("group-{matching}:{group}")
}

fn resident_bytes() -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() * 1024.0
}

fn costs(stored: usize) {
    let before = resident_bytes();
    let town = Town::of(stored);
    let each = (resident_bytes() - before) / stored as f64;
    let weight = town.store.iter().next().unwrap().1.stored()[0].weight;
    for matching in MATCHING.into_iter().filter(|matching| *matching <= stored) {
        let (mut answered, mut reclaimed) = (Vec::new(), Vec::new());
        for round in 0..if matching < 10_000 { 101 } else { 7 } {
            let group = round % (stored / matching);
            let target = [Target::Tag(tag(matching, group))];
            let began = Instant::now();
            let purged = town.invalidator.purge("bench", &target, Strength::Hard).unwrap();
            answered.push(began.elapsed().as_secs_f64() * 1e6);
            assert_eq!(purged.matched, matching as u64);
            town.invalidator.reclaim();
            reclaimed.push(began.elapsed().as_secs_f64() * 1e3);
            (group * matching..(group + 1) * matching).for_each(|number| town.fill(number));
        }
        answered.sort_by(f64::total_cmp);
        reclaimed.sort_by(f64::total_cmp);
        println!(
            "{stored:>9} {matching:>9} {:>6} {:>12.1} {:>12.1} {:>14.2} {each:>12.0} {weight:>8}",
            answered.len(),
            quantile(&answered, 0.5),
            quantile(&answered, 0.99),
            quantile(&reclaimed, 0.5),
        );
    }
}

const TOKEN: &str = "a-token-for-the-bench";

fn configuration(listen: SocketAddr, admin: SocketAddr, origin: SocketAddr) -> String {
    format!(
        "server: {{ listen: '{listen}', access_log: off }}\n\
         admin: {{ listen: '{admin}', tokens: [{{ name: bench, secret: {TOKEN}, may: [purge] }}] }}\n\
         upstreams: {{ app: {{ servers: 'http://{origin}' }} }}\n\
         routes: [{{ name: all, match: {{ path: '/{{*rest}}' }}, upstream: app }}]\n"
    )
}

/// Purges tags, of which what is read has none, a thousand times a second; how often it did.
async fn purge(admin: SocketAddr, stop: Arc<AtomicBool>) -> u64 {
    let stream = TcpStream::connect(admin).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let (mut read, mut write) = stream.into_split();
    // Answers are read as they come: the rate is what is asked for, not what one at a time allows.
    let drain = tokio::spawn(async move {
        let (mut answers, mut bytes) = (0, vec![0; 64 * 1024]);
        while let Ok(length @ 1..) = read.read(&mut bytes).await {
            answers += bytes[..length].windows(15).filter(|bytes| bytes == b"HTTP/1.1 200 OK").count() as u64;
        }
        answers
    });
    let mut ticks = interval(Duration::from_millis(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut number = 0_u64;
    while !stop.load(Ordering::Relaxed) {
        ticks.tick().await;
        number += 1;
        let body = format!("{{\"tag\": \"none-{}\"}}", number % 5000);
        let request = format!(
            "POST /v1/purge HTTP/1.1\r\nHost: a.test\r\nAuthorization: Bearer {TOKEN}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        write.write_all(request.as_bytes()).await.unwrap();
    }
    drop(write);
    drain.await.unwrap()
}

fn main() {
    let most = argument("--stored", 1_000_000);
    println!("  stored  matching purges  acked p50 µs  acked p99 µs  reclaimed ms  resident B each  weighed");
    for stored in [1000, 100_000, 1_000_000].into_iter().filter(|stored| *stored <= most) {
        costs(stored);
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(during_purges(Duration::from_secs(argument("--seconds", 30) as u64)));
}

async fn during_purges(time: Duration) {
    let (listen, admin, origin) = (free_address(), free_address(), origin().await);
    let directory = directory("purge-cost");
    let file = directory.join("proxy.yaml");
    fs::write(&file, configuration(listen, admin, origin)).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_staleproof"));
    let _proxy =
        start("staleproof", listen, directory.clone(), command.args(["run", "--config"]).arg(&file)).unwrap();
    compare("purges", listen, time, |stop| tokio::spawn(purge(admin, stop))).await;
}
