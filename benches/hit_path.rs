//! The whole stack without a socket: what a hit costs.
//!
//! Guards: a hit makes no `dyn` call, waits for nothing, and clones one `HeaderMap`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    unreachable_pub,
    missing_docs,
    reason = "a test that cannot go on says so by panicking"
)]

use criterion::{Criterion, criterion_group, criterion_main};
use http::Request;
use http_body_util::BodyExt;
use staleproof::clock::Clock;
use staleproof::exchange::{Arrival, Interims, RequestBody};
use staleproof::{config, server};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tower::ServiceExt;

/// An origin that answers every request on a connection with the same bytes.
async fn origin(reply: String) -> std::net::SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let reply = reply.clone();
            tokio::spawn(async move {
                let mut request = [0; 4096];
                while stream.read(&mut request).await.is_ok_and(|read| read > 0) {
                    if stream.write_all(reply.as_bytes()).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

fn arrival(fields: &[(&str, &str)]) -> Arrival {
    let mut request =
        Request::get("/articles/a-path-of-usual-length?page=2").header("host", "www.example.com");
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    let request = request.body(RequestBody::empty()).expect("a valid request");
    Arrival::new(request, ([127, 0, 0, 1], 1).into(), Interims::none())
}

fn hits(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let mut group = criterion.benchmark_group("hit");
    for (case, vary, length) in
        [("1KiB", "", 1024), ("1KiB_vary", "Vary: Accept-Encoding\r\n", 1024), ("1MiB", "", 1024 * 1024)]
    {
        let reply = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nCache-Control: max-age=86400\r\n\
             ETag: \"0123456789abcdef\"\r\n{vary}Content-Length: {length}\r\n\r\n{}",
            "x".repeat(length)
        );
        let stack = runtime.block_on(async {
            let address = origin(reply).await;
            let yaml = format!(
                "server: {{ access_log: off }}\nupstreams: {{ app: {{ servers: [\"http://{address}\"] }} }}\n\
                 routes: [{{ name: all, match: {{ path: \"/{{*rest}}\" }}, upstream: app }}]\n"
            );
            let plan = config::compile_text("bench.yaml", &yaml, &|_| None).expect("a valid configuration");
            let stack = server::assemble(&plan, &Clock::system()).expect("a stack").stack;
            let Ok(miss) = stack.clone().oneshot(arrival(&[])).await;
            miss.into_body().collect().await.expect("a whole body");
            stack
        });
        group.bench_function(case, |bencher| {
            bencher.to_async(&runtime).iter(|| async {
                let Ok(response) = stack.clone().oneshot(arrival(&[])).await;
                assert_eq!(response.headers()["x-cache"], "HIT");
                response
            });
        });
    }
}

criterion_group!(benches, hits);
criterion_main!(benches);
