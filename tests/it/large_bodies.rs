//! Large bodies lie in sealed memory and are sent from there; nobody who reads them can tell.

use std::fmt::Write;
use std::time::Duration;

use tokio::net::TcpSocket;
use tokio::task::JoinSet;

use crate::support::{Client, Origin, Proxy, Reply};

const TAGGED: &str = "Cache-Control: max-age=60\r\nETag: \"v1\"\r\n";

const MIB: usize = 1 << 20;

/// No two pieces of it are the same.
fn body(length: usize) -> String {
    let mut body = String::with_capacity(length + 8);
    let mut number = 0;
    while body.len() < length {
        write!(body, "{number:07} ").unwrap();
        number += 1;
    }
    body.truncate(length);
    body
}

/// A proxy that has stored what is at `/large`, of so many bytes, and `small` at `/small`.
async fn stored(length: usize, yaml: &str) -> (Origin, Proxy, String) {
    let (origin, body) = (Origin::start().await, body(length));
    origin.on("/large", [Reply::ok(TAGGED, &body)]);
    origin.on("/small", [Reply::ok(TAGGED, "small")]);
    let routes = "routes: [{ name: all, match: { path: \"/{*rest}\" }, upstream: app }]\n";
    let proxy = Proxy::with_yaml(&origin, &format!("{routes}{yaml}")).await;
    let miss = proxy.get("/large").await;
    assert!(miss.x_cache() == "MISS" && miss.body == body);
    proxy.get("/small").await;
    (origin, proxy, body)
}

/// A client that little can be sent to before it has read.
async fn narrow(proxy: &Proxy) -> Client {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    Client::over(socket.connect(proxy.address).await.unwrap())
}

fn request(method: &str, target: &str, fields: &str) -> String {
    format!("{method} {target} HTTP/1.1\r\nHost: a.test\r\n{fields}\r\n")
}

/// What `/v1/entries` says of the only thing stored.
async fn weight(proxy: &Proxy, target: &str) -> u64 {
    let entries = proxy.admin("GET", &format!("/v1/entries?url=http://a.test{target}"), "").await.body;
    let entries: serde_json::Value = serde_json::from_str(&entries).unwrap();
    entries["entries"][0]["weight_bytes"].as_u64().unwrap_or_else(|| panic!("{entries}"))
}

#[tokio::test]
async fn a_hit_is_what_was_stored_whatever_its_size() {
    for length in [64 * 1024 - 1, 64 * 1024, 64 * 1024 + 1, MIB, 5_000_001] {
        let (_origin, proxy, body) = stored(length, "").await;
        let mut client = proxy.connect().await;
        for _ in 0..3 {
            client.write(request("GET", "/large", "")).await;
            let hit = client.response().await;
            assert_eq!((hit.status, hit.x_cache().as_str()), (200, "HIT"));
            assert!(hit.body == body, "{length}");
        }
    }
}

#[tokio::test]
async fn a_slow_reader_gets_every_byte() {
    for length in [MIB, 5_000_001] {
        let (_origin, proxy, body) = stored(length, "").await;
        let mut client = narrow(&proxy).await;
        client.write(request("GET", "/large", "")).await;
        assert!(client.response().await.body == body, "{length}");
    }
}

#[tokio::test]
async fn large_and_small_follow_each_other_on_one_connection() {
    let (origin, proxy, body) = stored(MIB, "").await;
    let (from, to) = (70_001, 900_002);
    let range = format!("Range: bytes={from}-{}\r\n", to - 1);
    let asked = [
        ("GET", "/small", "", "small"),
        ("GET", "/large", "", &body),
        ("GET", "/large", &range, &body[from..to]),
        ("HEAD", "/large", "", ""),
        ("GET", "/small", "", "small"),
        ("GET", "/large", "Range: bytes=-5\r\n", &body[MIB - 5..]),
        ("GET", "/large", "If-None-Match: \"v1\"\r\n", ""),
        ("GET", "/large", "", &body),
        ("GET", "/large", "", &body),
        ("GET", "/small", "", "small"),
    ];
    let requests: String =
        asked.iter().map(|(method, target, fields, _)| request(method, target, fields)).collect();
    for mut client in [proxy.connect().await, narrow(&proxy).await] {
        client.write(&requests).await;
        for (number, (method, _, _, expected)) in asked.iter().enumerate() {
            let hit = client.response_to(method).await;
            assert!(hit.complete && hit.x_cache() == "HIT", "{number}: {}", hit.head);
            assert!(hit.body == *expected, "{number}: {}", hit.head);
        }
    }
    assert_eq!(origin.count(), 2);
}

#[tokio::test]
async fn several_parts_are_cut_from_a_large_body() {
    let (_origin, proxy, body) = stored(MIB, "").await;
    let hit = proxy.get_with("/large", "Range: bytes=0-99999,500000-699999\r\n").await;
    assert_eq!((hit.status, hit.x_cache().as_str()), (206, "HIT"));
    assert!(hit.body.contains(&body[..100_000]) && hit.body.contains(&body[500_000..700_000]));
}

#[tokio::test]
async fn many_read_one_body_at_their_own_pace() {
    let (origin, proxy, body) = stored(MIB, "").await;
    let mut readers = JoinSet::new();
    for number in 0..16 {
        let mut client = if number % 2 == 0 { proxy.connect().await } else { narrow(&proxy).await };
        readers.spawn(async move {
            client.write(request("GET", "/large", "").repeat(3)).await;
            let mut bodies = Vec::new();
            for _ in 0..3 {
                bodies.push(client.response().await.body);
            }
            bodies
        });
    }
    while let Some(bodies) = readers.join_next().await {
        assert!(bodies.unwrap().iter().all(|read| *read == body));
    }
    assert_eq!(origin.count(), 2);
}

#[tokio::test]
async fn a_client_that_leaves_in_mid_body_disturbs_nobody() {
    let (_origin, proxy, body) = stored(5_000_001, "").await;
    let mut stays = narrow(&proxy).await;
    stays.write(request("GET", "/large", "")).await;
    stays.read_until("0000100 ").await;
    for _ in 0..3 {
        let mut leaves = narrow(&proxy).await;
        leaves.write(request("GET", "/large", "")).await;
        leaves.read_until("0000100 ").await;
    }
    assert!(stays.response().await.body == body);
    assert!(proxy.get("/large").await.body == body);
}

#[tokio::test]
async fn a_client_that_does_not_read_is_not_waited_for() {
    let (origin, body) = (Origin::start().await, body(16 * MIB));
    origin.on("/large", [Reply::ok(TAGGED, &body)]);
    let routes = "routes: [{ name: all, match: { path: \"/{*rest}\" }, upstream: app }]\n";
    let server = "  timeouts: { write_stall: 100ms }\n";
    let proxy = Proxy::with_sections(&origin, server, "", routes).await;
    proxy.get("/large").await;
    let mut client = narrow(&proxy).await;
    client.write(request("GET", "/large", "")).await;
    client.read_until("0000100 ").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!client.response().await.complete);
    assert!(proxy.get("/large").await.body == body);
}

#[tokio::test]
async fn what_is_purged_while_it_is_read_is_read_to_its_end() {
    let (origin, proxy, body) = stored(5_000_001, "").await;
    let mut client = narrow(&proxy).await;
    client.write(request("GET", "/large", "")).await;
    client.read_until("0000100 ").await;
    assert_eq!(proxy.purge("{\"url\": \"http://a.test/large\"}").await, 1);
    origin.on("/large", [Reply::ok(TAGGED, "another")]);
    assert_eq!(proxy.get("/large").await.body, "another");
    assert!(client.response().await.body == body);
}

#[tokio::test]
async fn chunks_and_trailers_go_around_a_large_body() {
    let (origin, body) = (Origin::start().await, body(MIB));
    let head = "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTrailer: Server-Timing\r\nTransfer-Encoding: chunked\r\n\r\n";
    let trailers = "\r\n0\r\nserver-timing: db\r\n\r\n";
    origin.on("/large", [Reply::raw(format!("{head}{MIB:x}\r\n{body}{trailers}"))]);
    let proxy = Proxy::in_front_of(&origin).await;
    proxy.get("/large").await;
    for mut client in [proxy.connect().await, narrow(&proxy).await] {
        client.write(request("GET", "/large", "TE: trailers\r\nConnection: close, TE\r\n")).await;
        let all = client.read_to_end().await;
        let (head, sent) = all.split_once("\r\n\r\n").unwrap();
        assert!(head.contains("x-cache: HIT"), "{head}");
        assert!(sent.eq_ignore_ascii_case(&format!("{MIB:x}\r\n{body}{trailers}")));
    }
}

#[tokio::test]
async fn parts_that_make_a_whole_are_served_as_one() {
    let (origin, body) = (Origin::start().await, body(300_000));
    let proxy = Proxy::in_front_of(&origin).await;
    // They overlap, and the second begins before the first.
    for (from, to) in [(90_000, 300_000), (0, 120_000)] {
        let fields = format!("{TAGGED}Content-Range: bytes {from}-{}/300000\r\n", to - 1);
        origin.on("/large", [Reply::status("206 Partial Content", &fields, &body[from..to])]);
        let part = proxy.get_with("/large", &format!("Range: bytes={from}-{}\r\n", to - 1)).await;
        assert!(part.body == body[from..to]);
    }
    let hit = proxy.get("/large").await;
    assert_eq!((hit.status, hit.x_cache().as_str()), (200, "HIT"));
    assert!(hit.body == body);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn from_the_configured_size_on_bodies_are_kept_in_whole_pages() {
    let length = 100_001;
    let mut weights = Vec::new();
    for memory in ["sendfile_from: off", "sendfile_from: 100002", "sendfile_from: 100001", ""] {
        let (_origin, proxy, body) = stored(length, &format!("store: {{ memory: {{ {memory} }} }}\n")).await;
        let hit = proxy.get("/large").await;
        assert!(hit.x_cache() == "HIT" && hit.body == body, "{memory}");
        weights.push(weight(&proxy, "/large").await);
    }
    let [off, larger, equal, unset] = weights[..] else { panic!("{weights:?}") };
    assert_eq!(off, larger);
    assert_eq!(equal, unset);
    // With what the kernel keeps of a file.
    assert!(equal > off && equal < off + 2 * 4096 + 64 * 1024, "{weights:?}");
}
