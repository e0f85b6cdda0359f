//! A crowd at a cold object: how soon each client gets the first byte, how often the origin is asked, what a follower costs.
//!
//! The origin sends the head and the first of 64 pieces of 1 MiB at once, and the last two seconds later. All clients are
//! connected before any of them asks. `nginx` (with `proxy_cache_lock on`) and `varnishd` take part if they are installed; all
//! take turns, several rounds each, on this machine.
//!
//! ```console
//! $ cargo bench --bench collapse                        # 1,000 clients, 3 rounds
//! $ cargo bench --bench collapse -- --clients 10000 --rounds 1
//! ```

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a bench that cannot go on says so"
)]
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "real time is what it is about")]
#![allow(unreachable_pub, missing_docs, reason = "a bench is its own crate")]

mod peers;

use std::fs;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Barrier;
use tokio::time::sleep;

use peers::{Peer, argument, directory, free_address, quantile, start};

const BODY_BYTES: usize = 1024 * 1024;
const PIECES: usize = 64;
const DRIP: Duration = Duration::from_secs(2);

/// Answers every GET with the object, in pieces. What counts the requests.
async fn origin() -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, asked) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
    let count = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let count = Arc::clone(&count);
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    match stream.read_u8().await {
                        Ok(byte) => head.push(byte),
                        Err(_) => return,
                    }
                }
                count.fetch_add(1, Ordering::Relaxed);
                let answer = format!(
                    "HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nConnection: close\r\nContent-Length: {BODY_BYTES}\r\n\r\n"
                );
                let piece = vec![b'x'; BODY_BYTES / PIECES];
                let _ = stream.set_nodelay(true);
                let _ = stream.write_all(answer.as_bytes()).await;
                for number in 0..PIECES {
                    if number > 0 {
                        sleep(DRIP / (PIECES as u32 - 1)).await;
                    }
                    if stream.write_all(&piece).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    (address, asked)
}

/// What a crowd has seen, in ms.
#[derive(Default)]
struct Seen {
    first: Vec<f64>,
    last: Vec<f64>,
    failed: usize,
    asked: usize,
}

/// All ask for the same cold object at once.
async fn crowd(address: SocketAddr, clients: usize, target: &str) -> Seen {
    let barrier = Arc::new(Barrier::new(clients + 1));
    let mut tasks = Vec::new();
    for _ in 0..clients {
        let mut stream = loop {
            match TcpStream::connect(address).await {
                Ok(stream) => break stream,
                Err(_) => sleep(Duration::from_millis(20)).await,
            }
        };
        let (barrier, target) = (Arc::clone(&barrier), target.to_owned());
        tasks.push(tokio::spawn(async move {
            barrier.wait().await;
            let begun = Instant::now();
            let request = format!("GET {target} HTTP/1.1\r\nHost: bench.test\r\nConnection: close\r\n\r\n");
            stream.write_all(request.as_bytes()).await.ok()?;
            let mut buffer = vec![0; 16 * 1024];
            let mut read = stream.read(&mut buffer).await.ok().filter(|read| *read > 0)?;
            let first = begun.elapsed();
            let is_ok = buffer.starts_with(b"HTTP/1.1 200");
            loop {
                match stream.read(&mut buffer).await.ok()? {
                    0 => break,
                    more => read += more,
                }
            }
            (is_ok && read > BODY_BYTES).then(|| (first, begun.elapsed()))
        }));
    }
    barrier.wait().await;
    let mut seen = Seen::default();
    for task in tasks {
        match task.await.unwrap() {
            Some((first, last)) => {
                seen.first.push(first.as_secs_f64() * 1e3);
                seen.last.push(last.as_secs_f64() * 1e3);
            }
            None => seen.failed += 1,
        }
    }
    seen
}

fn staleproof(origin: SocketAddr) -> Option<Peer> {
    let (address, admin, directory) = (free_address(), free_address(), directory("staleproof"));
    let file = directory.join("proxy.yaml");
    let text = format!(
        "server: {{ listen: {address}, access_log: off, max_connections: 20000, max_in_flight: 20000 }}\n\
         admin: {{ listen: {admin}, tokens: [] }}\n\
         upstreams: {{ app: {{ servers: \"http://{origin}\" }} }}\n\
         routes: [{{ name: all, match: {{ path: \"/{{*rest}}\" }}, upstream: app }}]\n"
    );
    fs::write(&file, text).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_staleproof"));
    command.arg("run").arg("--config").arg(file);
    start("staleproof", address, directory, &mut command)
}

fn nginx(origin: SocketAddr) -> Option<Peer> {
    let (address, directory) = (free_address(), directory("nginx"));
    let at = directory.display();
    let text = format!(
        "daemon off; pid {at}/pid; error_log {at}/error.log; worker_processes auto; worker_rlimit_nofile 20000;\n\
         events {{ worker_connections 10500; }}\n\
         http {{ access_log off; proxy_temp_path {at}/temp; client_body_temp_path {at}/body;\n\
         fastcgi_temp_path {at}/f; uwsgi_temp_path {at}/u; scgi_temp_path {at}/s;\n\
         proxy_cache_path {at}/cache keys_zone=all:10m max_size=1g;\n\
         server {{ listen {address} backlog=16384; location / {{ proxy_pass http://{origin}; proxy_cache all;\n\
         proxy_cache_lock on; proxy_cache_lock_timeout 10s; }} }} }}\n"
    );
    fs::write(directory.join("nginx.conf"), text).unwrap();
    let mut command = Command::new("nginx");
    command.arg("-c").arg(directory.join("nginx.conf")).arg("-e").arg(directory.join("error.log"));
    start("nginx", address, directory, &mut command)
}

fn varnish(origin: SocketAddr) -> Option<Peer> {
    let (address, directory) = (free_address(), directory("varnish"));
    let backend =
        format!("vcl 4.1; backend app {{ .host = \"{}\"; .port = \"{}\"; }}\n", origin.ip(), origin.port());
    fs::write(directory.join("app.vcl"), backend).unwrap();
    let mut command = Command::new("varnishd");
    command.arg("-F").arg("-a").arg(address.to_string()).arg("-n").arg(directory.join("work"));
    command.arg("-f").arg(directory.join("app.vcl")).args(["-s", "malloc,256m", "-p", "listen_depth=16384"]);
    start("varnish", address, directory, &mut command)
}

#[tokio::main]
async fn main() {
    let (clients, rounds) = (argument("--clients", 1000), argument("--rounds", 3));
    let (origin, asked) = origin().await;
    let peers: Vec<Peer> =
        [staleproof, nginx, varnish].into_iter().filter_map(|start| start(origin)).collect();
    // The origin itself: what a client would see without a proxy.
    let direct = crowd(origin, 1, "/direct").await;
    println!(
        "{clients} clients, {rounds} rounds; the origin itself: first byte after {:.1} ms",
        direct.first[0]
    );
    println!("| | first byte p50 | p99 | max | last byte p99 | asked of the origin | failed | peak memory |");
    println!("|---|---|---|---|---|---|---|---|");
    let mut all: Vec<Seen> = peers.iter().map(|_| Seen::default()).collect();
    let idle: Vec<u64> = peers.iter().map(Peer::peak_kib).collect();
    for round in 0..rounds {
        for (peer, all) in peers.iter().zip(&mut all) {
            let before = asked.load(Ordering::Relaxed);
            let seen = crowd(peer.address, clients, &format!("/cold-{round}")).await;
            all.asked += asked.load(Ordering::Relaxed) - before;
            all.first.extend(seen.first);
            all.last.extend(seen.last);
            all.failed += seen.failed;
        }
    }
    for ((peer, mut seen), idle) in peers.iter().zip(all).zip(idle) {
        seen.first.sort_by(f64::total_cmp);
        seen.last.sort_by(f64::total_cmp);
        let ms = |times: &[f64], share| format!("{:.0} ms", quantile(times, share));
        let peak = peer.peak_kib();
        println!(
            "| {} | {} | {} | {} | {} | {:.1} a round | {} | {} MiB, {:.1} KiB a client |",
            peer.name,
            ms(&seen.first, 0.5),
            ms(&seen.first, 0.99),
            ms(&seen.first, 1.0),
            ms(&seen.last, 0.99),
            seen.asked as f64 / rounds as f64,
            seen.failed,
            peak / 1024,
            (peak.saturating_sub(idle)) as f64 / clients as f64,
        );
    }
    // One client through a fill, beside one without a proxy, in turns.
    let (mut through, mut without) = (Vec::new(), Vec::new());
    if let Some(own) = peers.first() {
        for number in 0..5 {
            without.extend(crowd(origin, 1, "/direct").await.first);
            through.extend(crowd(own.address, 1, &format!("/alone-{number}")).await.first);
        }
    }
    through.sort_by(f64::total_cmp);
    without.sort_by(f64::total_cmp);
    println!(
        "\none client: first byte after {:.2} ms through {}, {:.2} ms without a proxy (medians of 5)",
        quantile(&through, 0.5),
        peers.first().map_or("none", |peer| peer.name),
        quantile(&without, 0.5),
    );
}
