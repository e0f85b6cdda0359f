//! `Expect: 100-continue` (RFC 9110 §10.1.1): the client's body is asked for when the origin asks.

use std::time::Duration;

use tokio::net::TcpListener;
use tokio::time::timeout;

use crate::support::{Client, Origin, Proxy, Reply, send};

const CONTINUE: &str = "HTTP/1.1 100 Continue\r\n\r\n";
const UPLOAD: &str = "POST /a HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";

async fn accept(listener: &TcpListener) -> Client {
    Client::over(listener.accept().await.expect("a connection").0)
}

/// A proxy, a client that has sent `request`, and the origin's end of the connection, the request's head read.
async fn asked(request: &str) -> (Proxy, TcpListener, Client, Client, String) {
    let (origin, listener) = Origin::by_hand().await;
    let proxy = Proxy::in_front_of(&origin).await;
    let mut client = proxy.connect().await;
    client.write(request).await;
    let mut server = accept(&listener).await;
    let head = server.take_until("\r\n\r\n").await;
    (proxy, listener, client, server, head)
}

#[tokio::test]
async fn the_body_is_asked_for_when_the_origin_asks() {
    let chunked =
        "PUT /a HTTP/1.1\r\nHost: a.test\r\nExpect: 100-Continue\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (request, body) in [(UPLOAD, "hello"), (chunked, "5\r\nhello\r\n0\r\n\r\n")] {
        let (_proxy, _listener, mut client, mut server, head) = asked(request).await;
        assert!(head.to_lowercase().contains("expect: 100-continue\r\n"), "{head}");
        // Another interim response asks for nothing: had we asked on our own, it would come first.
        server.write("HTTP/1.1 103 Early Hints\r\n\r\n").await;
        assert_eq!(client.take_until("\r\n\r\n").await, "HTTP/1.1 103 Early Hints\r\n\r\n");
        server.write(CONTINUE).await;
        // In time: an origin that does not ask gets the body after a second.
        let asked = timeout(Duration::from_millis(800), client.take_until("\r\n\r\n")).await;
        assert_eq!(asked.expect("at once"), CONTINUE);
        client.write(body).await;
        server.take_until(body).await;
        server.write("HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n").await;
        assert_eq!(client.response().await.status, 201);
        // Both connections go on.
        client.write("GET /b HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
        server.take_until("\r\n\r\n").await;
        server.write("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nb").await;
        assert_eq!(client.response().await.body, "b");
    }
}

#[tokio::test]
async fn a_final_response_comes_instead_of_the_body() {
    for status in ["401 Unauthorized", "417 Expectation Failed", "200 OK"] {
        let (proxy, listener, mut client, mut server, _) = asked(UPLOAD).await;
        server.write(format!("HTTP/1.1 {status}\r\nContent-Length: 8\r\n\r\nno ")).await;
        client.read_until("no ").await;
        server.write("thanks").await;
        let all = client.read_to_end().await;
        assert!(all.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{all}");
        assert!(all.contains("connection: close\r\n"), "{all}");
        assert!(all.ends_with("no thank"), "{all}");
        // What would come next on this connection would be taken for the body.
        assert_eq!(server.read_to_end().await, "");
        let mut client = Client::connect(proxy.address).await;
        client.write("GET /b HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
        let mut server = accept(&listener).await;
        server.take_until("\r\n\r\n").await;
        server.write("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nb").await;
        assert_eq!(client.response().await.body, "b");
    }
}

/// "a client … SHOULD NOT wait for an indefinite period before sending the content", and so does the proxy.
#[tokio::test]
async fn an_origin_that_does_not_know_of_expectations_gets_the_body_all_the_same() {
    let (_proxy, _listener, mut client, mut server, _) = asked(UPLOAD).await;
    assert_eq!(client.take_until("\r\n\r\n").await, CONTINUE);
    client.write("hello").await;
    server.take_until("hello").await;
    server.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    assert_eq!(client.response().await.status, 200);
}

#[tokio::test]
async fn a_client_that_does_not_wait_is_served_as_well() {
    let (_proxy, _listener, mut client, mut server, _) = asked(&format!("{UPLOAD}hello")).await;
    server.write(CONTINUE).await;
    server.take_until("hello").await;
    server.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    assert_eq!(client.take_until("\r\n\r\n").await, CONTINUE);
    assert_eq!(client.response().await.status, 200);
}

#[tokio::test]
async fn a_body_that_nobody_asked_for_is_no_request() {
    let (origin, listener) = Origin::by_hand().await;
    let proxy = Proxy::in_front_of(&origin).await;
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n";
    let mut client = proxy.connect().await;
    let head = "POST /a HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\n";
    client
        .write(format!("{head}Content-Length: {}\r\n\r\n{smuggled}{smuggled}", 2 * smuggled.len() + 1))
        .await;
    let mut server = accept(&listener).await;
    server.take_until("\r\n\r\n").await;
    server.write("HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n").await;
    let all = client.read_to_end().await;
    assert!(all.starts_with("HTTP/1.1 413 "), "{all}");
    assert_eq!(all.matches("HTTP/1.1").count(), 1, "{all}");
    assert_eq!(server.read_to_end().await, "");
}

#[tokio::test]
async fn another_expectation_cannot_be_met() {
    let origin = Origin::start().await;
    let proxy = Proxy::in_front_of(&origin).await;
    for expectation in ["fast", "100-continue, fast", "y 100-continue", "100-continue\r\nExpect: fast"] {
        let request = format!("GET /a HTTP/1.1\r\nHost: a.test\r\nExpect: {expectation}\r\n\r\n");
        assert_eq!(send(proxy.address, &request).await.status, 417, "{expectation}");
    }
    assert_eq!(origin.count(), 0);
}

#[tokio::test]
async fn where_there_is_nothing_to_wait_for_the_expectation_ends_here() {
    let origin = Origin::start().await;
    origin.on("/a", [Reply::ok("", "hello")]);
    let proxy = Proxy::in_front_of(&origin).await;
    for request in [
        "GET /a HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\n\r\n",
        "POST /a HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\nContent-Length: 0\r\n\r\n",
        "POST /a HTTP/1.0\r\nHost: a.test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello",
    ] {
        let response = send(proxy.address, request).await;
        assert_eq!((response.status, response.body.as_str()), (200, "hello"), "{request}");
        assert!(!origin.last().to_lowercase().contains("expect"), "{}", origin.last());
    }
}

#[tokio::test]
async fn a_body_that_is_announced_too_large_is_not_asked_for() {
    let origin = Origin::start().await;
    let routes = "routes:\n  - { name: all, match: { path: \"/{*rest}\" }, upstream: app }\n";
    let proxy = Proxy::with_sections(&origin, "  max_request_body: 4B\n", "", routes).await;
    let mut client = proxy.connect().await;
    client.write(UPLOAD).await;
    let all = client.read_to_end().await;
    assert!(all.starts_with("HTTP/1.1 413 "), "{all}");
    assert_eq!(origin.count(), 0);
}
