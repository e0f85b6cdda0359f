//! What hits lose while a thousand signed deliveries a second are verified, understood and purged: before the answer, from a
//! queue in memory, and from one on disk.
//!
//! ```console
//! $ cargo bench --bench deliveries
//! $ cargo bench --bench deliveries -- --seconds 10 --rate 500
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
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use staleproof::clock::Clock;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{MissedTickBehavior, interval};

use peers::beside::{compare, origin};
use peers::{argument, directory, free_address, start};

const SECRET: &str = "a-secret-for-the-bench";

/// Each sends one delivery after the other.
const SENDERS: u64 = 20;

fn configuration(listen: SocketAddr, admin: SocketAddr, origin: SocketAddr, dispatcher: &str) -> String {
    format!(
        "server: {{ listen: '{listen}', access_log: off }}\n\
         admin: {{ listen: '{admin}' }}\n\
         upstreams: {{ app: {{ servers: 'http://{origin}' }} }}\n\
         routes: [{{ name: all, match: {{ path: '/{{*rest}}' }}, upstream: app }}]\n\
         webhooks: {{ app: {{ path: /hooks/app, preset: standard-webhooks, secret: {SECRET} }} }}\n\
         dispatchers: {{ soon: {{ kind: background, queue: 100000 }}, kept: {{ kind: durable, path: queue.redb }} }}\n\
         invalidation:\n  - name: page changed\n    on: {{ webhook: app, event: 'page.*' }}\n\
         \x20   watch: [$.slug, $.title]\n    fields: {{ slug: [$.data.before.slug, $.data.after.slug] }}\n\
         \x20   dispatcher: {dispatcher}\n    do: [{{ purge: {{ tag: 'page:{{slug}}' }} }}, {{ purge: {{ tag: pages }} }}]\n"
    )
}

fn delivery(number: u64) -> String {
    let page = number % 5000;
    let body = format!(
        r#"{{"type": "page.updated", "data": {{"id": {page}, "before": {{"slug": "old-{page}", "title": "One"}},
            "after": {{"slug": "new-{page}", "title": "Another"}}, "text": "{}"}}}}"#,
        "x".repeat(600)
    );
    let now = Clock::system().now().as_secs();
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(format!("msg_{number}.{now}.{body}").as_bytes());
    let signature = STANDARD.encode(mac.finalize().into_bytes());
    format!(
        "POST /hooks/app HTTP/1.1\r\nHost: a.test\r\nWebhook-Id: msg_{number}\r\nWebhook-Timestamp: {now}\r\n\
         Webhook-Signature: v1,{signature}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// Of all deliveries its share; how many were accepted.
async fn send(admin: SocketAddr, rate: u64, numbers: Arc<AtomicU64>, stop: Arc<AtomicBool>) -> u64 {
    let mut stream = TcpStream::connect(admin).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let mut ticks = interval(Duration::from_secs(1) / (rate / SENDERS) as u32);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let (mut accepted, mut answer) = (0, vec![0; 16 * 1024]);
    while !stop.load(Ordering::Relaxed) {
        ticks.tick().await;
        let request = delivery(numbers.fetch_add(1, Ordering::Relaxed));
        stream.write_all(request.as_bytes()).await.unwrap();
        let read = stream.read(&mut answer).await.unwrap();
        assert!(answer[..read].starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer[..read]));
        accepted += 1;
    }
    accepted
}

fn deliver(
    admin: SocketAddr,
    rate: u64,
    numbers: &Arc<AtomicU64>,
    stop: &Arc<AtomicBool>,
) -> JoinHandle<u64> {
    let mut senders = JoinSet::new();
    for _ in 0..SENDERS {
        senders.spawn(send(admin, rate, Arc::clone(numbers), Arc::clone(stop)));
    }
    tokio::spawn(async move { senders.join_all().await.into_iter().sum() })
}

fn main() {
    let time = Duration::from_secs(argument("--seconds", 30) as u64);
    let rate = argument("--rate", 1000) as u64;
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for dispatcher in ["inline", "soon", "kept"] {
        runtime.block_on(async {
            let (listen, admin, origin) = (free_address(), free_address(), origin().await);
            let directory = directory("deliveries");
            let file = directory.join("proxy.yaml");
            fs::write(&file, configuration(listen, admin, origin, dispatcher)).unwrap();
            let mut command = Command::new(env!("CARGO_BIN_EXE_staleproof"));
            command.args(["run", "--log", "warn", "--config"]).arg(&file);
            let _proxy = start("staleproof", listen, directory, &mut command).unwrap();
            let numbers = Arc::new(AtomicU64::new(0));
            println!("\ndispatcher: {dispatcher}");
            compare("deliveries", listen, time, |stop| deliver(admin, rate, &numbers, &stop)).await;
        });
    }
}
