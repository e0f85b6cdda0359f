//! Interim responses (RFC 9110 §15.2, RFC 8297): between the messages, in time, for whom they are meant.

use tokio::net::TcpListener;

use crate::support::{Client, Gate, Origin, Proxy, Reply, send};

const FRESH: &str = "Cache-Control: max-age=60\r\n";
const HINTS: &str = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n";

/// [`HINTS`] as they reach the client.
const HINTED: &str = "HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\n\r\n";

fn ok(fields: &str, body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: {}\r\n\r\n{body}", body.len())
}

async fn accept(listener: &TcpListener) -> Client {
    Client::over(listener.accept().await.expect("a connection").0)
}

#[tokio::test]
async fn hints_arrive_while_the_origin_is_still_thinking() {
    let origin = Origin::start().await;
    for request in [
        "GET /a HTTP/1.1\r\nHost: a.test\r\n\r\n",
        "HEAD /a HTTP/1.1\r\nHost: a.test\r\n\r\n",
        "POST /a HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3\r\n\r\nabc",
    ] {
        let gate = Gate::closed();
        let is_head = request.starts_with("HEAD");
        let last = if is_head { ok(FRESH, "") } else { ok(FRESH, "hello") };
        let reply = Reply::raw("HTTP/1.1 102 Processing\r\n\r\n").then(HINTS).wait(&gate).then(last);
        origin.on("/a", [reply]);
        let proxy = Proxy::in_front_of(&origin).await;
        let mut client = proxy.connect().await;
        client.write(request).await;
        let interim = client.take_until(HINTED).await;
        assert_eq!(interim, format!("HTTP/1.1 102 Processing\r\n\r\n{HINTED}"), "{request}");
        gate.open();
        let response = client.response_to(if is_head { "HEAD" } else { "GET" }).await;
        assert_eq!(response.status, 200, "{request} {response:?}");
        assert_eq!(response.field("link"), "");
    }
}

#[tokio::test]
async fn hints_that_come_with_the_response_go_before_it_and_are_not_stored() {
    let origin = Origin::start().await;
    origin.on("/a", [Reply::raw(format!("{HINTS}{HINTS}{}", ok(FRESH, "hello")))]);
    let proxy = Proxy::in_front_of(&origin).await;
    let mut client = proxy.connect().await;
    for statuses in [&[103, 103, 200][..], &[200]] {
        client.write("GET /a HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
        for &status in statuses {
            let response = client.response().await;
            assert_eq!(response.status, status, "{response:?}");
            assert_eq!(response.field("link").is_empty(), status == 200);
        }
    }
    assert_eq!(origin.count(), 1);
}

#[tokio::test]
async fn pipelined_responses_are_not_torn_apart_by_the_hints_of_the_next() {
    let origin = Origin::start().await;
    let gate = Gate::closed();
    let large = "x".repeat(300_000);
    let slow = Reply::raw(
        "HTTP/1.1 200 OK\r\nCache-Control: no-store\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n",
    )
    .wait(&gate)
    .then("3\r\ntwo\r\n0\r\n\r\n");
    origin.on("/slow", [slow]);
    origin.on("/large", [Reply::raw(format!("{HINTS}{}", ok(FRESH, &large)))]);
    origin.on("/hinted", [Reply::raw(format!("{HINTS}{}", ok("Cache-Control: no-store\r\n", "hello")))]);
    let proxy = Proxy::in_front_of(&origin).await;
    let mut client = proxy.connect().await;
    let targets = ["/slow", "/hinted", "/large", "/large", "/hinted", "/slow"];
    client
        .write(targets.map(|target| format!("GET {target} HTTP/1.1\r\nHost: a.test\r\n\r\n")).concat())
        .await;
    client.read_until("one").await;
    gate.open();
    gate.open();
    for (target, hinted) in targets.into_iter().zip([false, true, true, false, true, false]) {
        if hinted {
            assert_eq!(client.take_until("\r\n\r\n").await, HINTED, "{target}");
        }
        let response = client.response().await;
        assert_eq!((response.status, response.complete), (200, true), "{target} {response:?}");
        assert!(
            response.body
                == if target == "/large" {
                    &*large
                } else if target == "/slow" {
                    "onetwo"
                } else {
                    "hello"
                }
        );
    }
}

/// hyper may take the next request into its hands before the response is flushed.
#[tokio::test]
async fn an_upload_that_ends_after_its_response_is_not_torn_apart_either() {
    let (origin, listener) = Origin::by_hand().await;
    let proxy = Proxy::in_front_of(&origin).await;
    let mut client = proxy.connect().await;
    client.write("POST /a HTTP/1.1\r\nHost: a.test\r\nContent-Length: 10\r\n\r\n12345").await;
    let mut first = accept(&listener).await;
    first.read_until("12345").await;
    let large = "x".repeat(4_000_000);
    first.write(ok("", &large)).await;
    client.read_until("xxx").await;
    client.write("67890GET /b HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    first.read_until("1234567890").await;
    let response = client.response().await;
    assert!(response.body == large && response.complete);
    first.take_until("1234567890").await;
    // On the same connection, or on another.
    let mut second = tokio::select! {
        other = accept(&listener) => other,
        again = async { first.read_until("GET /b").await; first } => again,
    };
    second.read_until("GET /b").await;
    second.write(format!("{HINTS}{}", ok("", "b"))).await;
    assert_eq!(client.take_until("\r\n\r\n").await, HINTED);
    assert_eq!(client.response().await.body, "b");
}

#[tokio::test]
async fn an_old_client_gets_none() {
    let origin = Origin::start().await;
    origin.on("/a", [Reply::raw(format!("{HINTS}{}", ok(FRESH, "hello")))]);
    let proxy = Proxy::in_front_of(&origin).await;
    let response = send(proxy.address, "GET /a HTTP/1.0\r\nHost: a.test\r\n\r\n").await;
    assert_eq!((response.status, response.body.as_str()), (200, "hello"));
}

#[tokio::test]
async fn ten_thousand_hints_are_a_few() {
    let origin = Origin::start().await;
    origin.on("/a", [Reply::raw(format!("{}{}", HINTS.repeat(10_000), ok(FRESH, "hello")))]);
    let proxy = Proxy::in_front_of(&origin).await;
    let mut client = proxy.connect().await;
    client.write("GET /a HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n").await;
    let all = client.read_to_end().await;
    let hints = all.matches("103 Early Hints").count();
    assert!((1..=32).contains(&hints), "{hints}");
    assert!(all[hints * HINTED.len()..].starts_with("HTTP/1.1 200 OK\r\n"), "{all}");
    assert!(all.ends_with("\r\n\r\nhello"), "{all}");
}

#[tokio::test]
async fn an_interim_response_frames_nothing() {
    let origin = Origin::start().await;
    let sly = "HTTP/1.1 103 x\r\nContent-Length: 40\r\nTransfer-Encoding: chunked\r\nConnection: close, x-hop\r\n\
               X-Hop: 1\r\nX-End: 2\r\n\r\n";
    origin.on("/a", [Reply::raw(format!("{sly}{}", ok(FRESH, "hello")))]);
    let proxy = Proxy::in_front_of(&origin).await;
    let mut client = proxy.connect().await;
    client.write("GET /a HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    assert_eq!(client.take_until("\r\n\r\n").await, "HTTP/1.1 103 Early Hints\r\nx-end: 2\r\n\r\n");
    assert_eq!(client.response().await.body, "hello");
    client.write("GET /a HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    assert_eq!(client.response().await.x_cache(), "HIT");
}

#[tokio::test]
async fn an_origin_that_dies_after_its_hints_is_a_bad_gateway_after_them() {
    let origin = Origin::start().await;
    origin.on("/a", [Reply::raw(HINTS).close()]);
    let proxy = Proxy::in_front_of(&origin).await;
    let mut client = proxy.connect().await;
    client.write("GET /a HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    assert_eq!(client.take_until("\r\n\r\n").await, HINTED);
    assert_eq!(client.response().await.status, 502);
}

#[tokio::test]
async fn the_hints_of_a_validation_are_for_the_client_that_caused_it() {
    let origin = Origin::start().await;
    let fields = "Cache-Control: max-age=1\r\nETag: \"v1\"\r\n";
    let confirmed = Reply::raw(format!("{HINTS}HTTP/1.1 304 Not Modified\r\n{fields}\r\n"));
    origin.on("/a", [Reply::ok(fields, "hello"), confirmed]);
    let proxy = Proxy::in_front_of(&origin).await;
    proxy.get("/a").await;
    proxy.later(5);
    let mut client = proxy.connect().await;
    client.write("GET /a HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    assert_eq!(client.take_until("\r\n\r\n").await, HINTED);
    let response = client.response().await;
    assert_eq!((response.body.as_str(), response.x_cache().as_str()), ("hello", "REFRESH"));
}

#[tokio::test]
async fn a_client_that_left_takes_nobody_with_it() {
    let (origin, listener) = Origin::by_hand().await;
    let proxy = Proxy::in_front_of(&origin).await;
    let mut client = proxy.connect().await;
    client.write("GET /a HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    let mut first = accept(&listener).await;
    first.read_until("\r\n\r\n").await;
    first.write(HINTS).await;
    client.read_until(HINTED).await;
    drop(client);
    // The fetch goes on, but what the origin still says before the answer is heard by nobody.
    first.write(HINTS).await;
    first.write(ok("", "a")).await;
    let mut client = proxy.connect().await;
    client.write("GET /b HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    let mut second = accept(&listener).await;
    second.read_until("\r\n\r\n").await;
    second.write(ok("", "b")).await;
    assert_eq!(client.response().await.body, "b");
}
