//! What hits lose while something else is done beside them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::quantile;

const CLIENTS: usize = 16;

/// Answers every request with 1 KiB that has three tags.
pub async fn origin() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let body = "x".repeat(1024);
    let answer = format!(
        "HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nCache-Tag: a,b,c\r\nContent-Length: 1024\r\n\r\n{body}"
    );
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let answer = answer.clone();
            tokio::spawn(async move {
                let mut request = [0; 4096];
                while stream.read(&mut request).await.is_ok_and(|read| read > 0) {
                    if stream.write_all(answer.as_bytes()).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

/// One page, again and again; how long each took, in µs.
async fn read(address: SocketAddr, page: usize, stop: Arc<AtomicBool>) -> Vec<f64> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let request = format!("GET /{page} HTTP/1.1\r\nHost: a.test\r\n\r\n");
    let (mut took, mut answer) = (Vec::new(), vec![0; 16 * 1024]);
    while !stop.load(Ordering::Relaxed) {
        let began = Instant::now();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut end = 0;
        loop {
            end += stream.read(&mut answer[end..]).await.unwrap();
            let head = answer[..end].windows(4).position(|bytes| bytes == b"\r\n\r\n");
            if head.is_some_and(|head| end >= head + 4 + 1024) {
                break;
            }
        }
        took.push(began.elapsed().as_secs_f64() * 1e6);
    }
    took
}

/// Hits a second and their latency, and how often what is beside them was done in a second.
async fn hits(
    address: SocketAddr,
    beside: Option<&impl Fn(Arc<AtomicBool>) -> JoinHandle<u64>>,
    time: Duration,
) -> (f64, Vec<f64>, f64) {
    let stop = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> =
        (0..CLIENTS).map(|page| tokio::spawn(read(address, page, Arc::clone(&stop)))).collect();
    let beside = beside.map(|beside| beside(Arc::clone(&stop)));
    tokio::time::sleep(time).await;
    stop.store(true, Ordering::Relaxed);
    let mut took = Vec::new();
    for reader in readers {
        took.extend(reader.await.unwrap());
    }
    let done = match beside {
        Some(beside) => beside.await.unwrap() as f64 / time.as_secs_f64(),
        None => 0.0,
    };
    took.sort_by(f64::total_cmp);
    (took.len() as f64 / time.as_secs_f64(), took, done)
}

/// Interleaved: without, with, without, with. `what`: what is done beside hits.
pub async fn compare(
    what: &str,
    address: SocketAddr,
    time: Duration,
    beside: impl Fn(Arc<AtomicBool>) -> JoinHandle<u64>,
) {
    let rounds = 5;
    let each = time / (2 * rounds);
    let mut ratios = Vec::new();
    println!("\n      hits/s   p50 µs   p99 µs  {what}/s");
    for _ in 0..rounds {
        let mut figures = Vec::new();
        for with in [None, Some(&beside)] {
            let (rate, took, done) = hits(address, with, each).await;
            let (p50, p99) = (quantile(&took, 0.5), quantile(&took, 0.99));
            println!("{rate:>12.0} {p50:>8.0} {p99:>8.0} {done:>9.0}");
            figures.push((rate, p99));
        }
        ratios.push((figures[1].0 / figures[0].0, figures[1].1 / figures[0].1));
    }
    let median = |mut figures: Vec<f64>| {
        figures.sort_by(f64::total_cmp);
        quantile(&figures, 0.5)
    };
    let rate = median(ratios.iter().map(|ratio| ratio.0).collect());
    let p99 = median(ratios.iter().map(|ratio| ratio.1).collect());
    println!("with {what}: {rate:.2} of the hits, {p99:.2} times the p99 (medians of {rounds} rounds)");
}
