//! HTTP/2 in cleartext, with prior knowledge (RFC 9113 §3.3): the same exchanges in other frames.

use std::time::Duration;

use bytes::Bytes;
use h2::Reason;
use h2::client::Builder;
use http::{HeaderMap, Method, Request};
use tokio::net::TcpStream;

use crate::support::http2::{Http2, get, next, read};
use crate::support::{Client, Gate, Origin, Proxy, Reply, send};

const FRESH: &str = "Cache-Control: max-age=60\r\n";

/// A proxy with one route for everything, and these lines in `server:`.
async fn proxy_with(origin: &Origin, server: &str) -> Proxy {
    let routes = "routes:\n  - { name: all, match: { path: \"/{*rest}\" }, upstream: app }\n";
    Proxy::with_sections(origin, server, "", routes).await
}

#[tokio::test]
async fn what_one_version_stored_is_a_hit_in_the_other() {
    let origin = Origin::start().await;
    origin.on("/a?b", [Reply::ok(FRESH, "hello")]);
    let proxy = Proxy::in_front_of(&origin).await;
    let client = Http2::connect(proxy.address).await;
    for word in ["MISS", "HIT", "HIT"] {
        let response = client.get("/a?b").await;
        assert_eq!(
            (response.status, response.body.as_str(), response.x_cache().as_str()),
            (200, "hello", word)
        );
        assert_eq!(response.field("content-length"), "5");
        assert!(response.field("cache-status").starts_with("staleproof; "), "{response:?}");
    }
    assert_eq!(proxy.get("/a?b").await.x_cache(), "HIT");
    let request = origin.last();
    assert!(request.starts_with("GET /a?b HTTP/1.1\r\n"), "{request}");
    assert!(request.to_lowercase().contains("\r\nhost: a.test\r\n"), "{request}");
    assert!(request.contains("2.0 staleproof"), "{request}");
    let metrics = send(proxy.admin, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").await.body;
    assert!(metrics.contains("requests_total{cache=\"HIT\",status=\"2xx\"} 3\n"), "{metrics}");
}

#[tokio::test]
async fn fields_are_those_of_what_is_stored_now() {
    let origin = Origin::start().await;
    let proxy = Proxy::in_front_of(&origin).await;
    let client = Http2::connect(proxy.address).await;
    // More than a worker remembers the fields of.
    for version in ["1", "2"] {
        for number in 0..100 {
            let fields = format!("{FRESH}X-Page: {number}\r\nX-Version: {version}\r\n");
            origin.on(&format!("/{number}"), [Reply::ok(&fields, "hello")]);
        }
        for word in ["MISS", "HIT", "HIT"] {
            for number in 0..100 {
                let response = client.get(&format!("/{number}")).await;
                assert_eq!(response.x_cache(), word);
                assert_eq!(
                    (response.field("x-page"), response.field("x-version")),
                    (number.to_string(), version.to_owned())
                );
            }
        }
        assert_eq!(proxy.purge("{\"everything\": true}").await, 100);
    }
}

#[tokio::test]
async fn many_streams_are_served_at_once() {
    let origin = Origin::start().await;
    let gate = Gate::closed();
    for number in 0..100 {
        origin.on(&format!("/{number}"), [Reply::ok(FRESH, &number.to_string()).after(&gate)]);
    }
    let proxy = Proxy::in_front_of(&origin).await;
    let client = Http2::connect(proxy.address).await;
    let mut responses = Vec::new();
    for number in 0..100 {
        responses.push(client.open(get(&format!("/{number}")), true).await.0);
    }
    while origin.count() < 100 {
        tokio::task::yield_now().await;
    }
    for _ in 0..100 {
        gate.open();
    }
    for (number, response) in responses.into_iter().enumerate() {
        assert_eq!(read(response).await.unwrap().body, number.to_string());
    }
}

#[tokio::test]
async fn content_streams_both_ways() {
    let origin = Origin::start().await;
    let large = "0123456789abcdef".repeat(64 * 1024);
    origin.on("/a", [Reply::ok("", &large)]);
    let proxy = Proxy::in_front_of(&origin).await;
    let client = Http2::connect(proxy.address).await;
    let (response, mut content) = client.open(post("/a"), false).await;
    for piece in large.as_bytes().chunks(10_000) {
        content.send_data(Bytes::copy_from_slice(piece), false).unwrap();
    }
    content.send_data(Bytes::new(), true).unwrap();
    let response = read(response).await.unwrap();
    assert_eq!(response.status, 200);
    assert!(response.body == large, "{} bytes", response.body.len());
    let request = origin.last();
    assert!(request.to_lowercase().contains("transfer-encoding: chunked\r\n"));
    assert!(request.len() > large.len());
}

fn post(target: &str) -> Request<()> {
    Request::post(format!("http://a.test{target}")).body(()).unwrap()
}

#[tokio::test]
async fn trailers_pass_both_ways() {
    let (origin, listener) = Origin::by_hand().await;
    let proxy = Proxy::in_front_of(&origin).await;
    let client = Http2::connect(proxy.address).await;
    let mut request = post("/a");
    request.headers_mut().insert("te", "trailers".parse().unwrap());
    request.headers_mut().insert("trailer", "x-sum".parse().unwrap());
    let (response, mut content) = client.open(request, false).await;
    content.send_data("abc".into(), false).unwrap();
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", "1".parse().unwrap());
    content.send_trailers(trailers).unwrap();
    let mut app = Client::over(listener.accept().await.unwrap().0);
    let request = app.read_until("x-sum: 1\r\n\r\n").await;
    assert!(request.contains("\r\n3\r\nabc\r\n0\r\nx-sum: 1\r\n\r\n"), "{request}");
    app.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 2\r\n\r\n")
        .await;
    let response = read(response).await.unwrap();
    assert_eq!(
        (response.body.as_str(), &response.trailers.unwrap()["x-sum"]),
        ("hello", &"2".parse().unwrap())
    );
}

#[tokio::test]
async fn who_does_not_take_trailers_gets_none() {
    let origin = Origin::start().await;
    let trailed = "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 2\r\n\r\n";
    origin.on("/a", [Reply::raw(trailed)]);
    let proxy = Proxy::in_front_of(&origin).await;
    let client = Http2::connect(proxy.address).await;
    for word in ["MISS", "HIT"] {
        let response = client.get("/a").await;
        assert_eq!((response.body.as_str(), response.x_cache().as_str()), ("hello", word));
        assert!(response.trailers.is_none(), "{word}");
    }
    let mut request = get("/a");
    request.headers_mut().insert("te", "trailers".parse().unwrap());
    assert!(client.send(request).await.trailers.is_some(), "they were stored");
}

#[tokio::test]
async fn the_authority_is_the_host_and_may_not_be_contradicted() {
    let origin = Origin::start().await;
    origin.on("/a", [Reply::ok(FRESH, "hello")]);
    let proxy = Proxy::in_front_of(&origin).await;
    let client = Http2::connect(proxy.address).await;
    for (host, status) in [("a.test", 200), ("A.TEST", 200), ("b.test", 400)] {
        let mut request = get("/a");
        request.headers_mut().insert("host", host.parse().unwrap());
        assert_eq!(client.send(request).await.status, status, "{host}");
    }
    let secured = Request::get("https://a.test/a").body(()).unwrap();
    assert_eq!(client.send(secured).await.status, 400, "this is no secured connection");
    let tunnel = Request::builder().method(Method::CONNECT).uri("a.test:443").body(()).unwrap();
    assert_eq!(client.send(tunnel).await.status, 501);
}

#[tokio::test]
async fn the_crumbs_of_a_cookie_are_put_together() {
    let origin = Origin::start().await;
    origin.on("/a", [Reply::ok("", "hello")]);
    let proxy = Proxy::in_front_of(&origin).await;
    let client = Http2::connect(proxy.address).await;
    let mut request = get("/a");
    for crumb in ["a=1", "b=2"] {
        request.headers_mut().append("cookie", crumb.parse().unwrap());
    }
    assert_eq!(client.send(request).await.status, 200);
    assert!(origin.last().to_lowercase().contains("\r\ncookie: a=1; b=2\r\n"), "{}", origin.last());
}

#[tokio::test]
async fn fields_of_one_connection_are_not_sent() {
    let origin = Origin::start().await;
    let hop = "Connection: keep-alive, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nProxy-Connection: x\r\nX-End: 2\r\n";
    origin.on(
        "/a",
        [Reply::raw(format!(
            "HTTP/1.1 200 OK\r\n{FRESH}{hop}Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"
        ))],
    );
    let proxy = Proxy::in_front_of(&origin).await;
    let client = Http2::connect(proxy.address).await;
    for word in ["MISS", "HIT"] {
        let response = client.get("/a").await;
        assert_eq!((response.x_cache().as_str(), response.field("x-end").as_str()), (word, "2"));
        for name in ["connection", "x-hop", "keep-alive", "proxy-connection", "transfer-encoding"] {
            assert_eq!(response.field(name), "", "{name}");
        }
    }
}

#[tokio::test]
async fn interim_responses_end_here() {
    let origin = Origin::start().await;
    let hints = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n";
    origin.on("/a", [Reply::raw(hints).then("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")]);
    let proxy = Proxy::in_front_of(&origin).await;
    let client = Http2::connect(proxy.address).await;
    let response = client.get("/a").await;
    assert_eq!(
        (response.status, response.body.as_str(), response.field("link").as_str()),
        (200, "hello", "")
    );
}

#[tokio::test]
async fn the_answer_to_a_head_has_a_length_and_no_content() {
    let origin = Origin::start().await;
    origin.on("/a", [Reply::ok(FRESH, "hello")]);
    let proxy = Proxy::in_front_of(&origin).await;
    let client = Http2::connect(proxy.address).await;
    client.get("/a").await;
    for (target, length) in [("/a", Some("5")), ("http://", None)] {
        let request = match length {
            Some(_) => Request::head(format!("http://a.test{target}")),
            // Refused: its host is contradicted.
            None => Request::head("http://a.test/a").header("host", "b.test"),
        };
        let response = client.send(request.body(()).unwrap()).await;
        assert_eq!(response.body, "");
        assert!(length.is_none_or(|length| response.field("content-length") == length), "{response:?}");
    }
}

#[tokio::test]
async fn beyond_what_may_be_in_flight_a_stream_is_told_so() {
    let origin = Origin::start().await;
    let gate = Gate::closed();
    origin.on("/slow", [Reply::ok("", "slow").after(&gate)]);
    let proxy = proxy_with(&origin, "  max_in_flight: 1\n").await;
    let client = Http2::connect(proxy.address).await;
    let slow = client.open(get("/slow"), true).await.0;
    while origin.count() == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(client.get("/other").await.status, 503);
    gate.open();
    assert_eq!(read(slow).await.unwrap().body, "slow");
}

#[tokio::test]
async fn a_response_that_breaks_off_is_reset() {
    let origin = Origin::start().await;
    origin.on("/a", [Reply::raw("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf").close()]);
    let proxy = Proxy::in_front_of(&origin).await;
    let client = Http2::connect(proxy.address).await;
    let error = read(client.open(get("/a"), true).await.0).await.unwrap_err();
    assert!(error.is_reset() && error.is_remote(), "{error}");
}

#[tokio::test]
async fn a_stream_that_its_client_gives_up_is_given_up() {
    let origin = Origin::start().await;
    let gate = Gate::closed();
    origin.on("/slow", [Reply::ok("", "slow").after(&gate)]);
    let proxy = proxy_with(&origin, "  max_in_flight: 1\n").await;
    let client = Http2::connect(proxy.address).await;
    let (slow, mut content) = client.open(get("/slow"), true).await;
    while origin.count() == 0 {
        tokio::task::yield_now().await;
    }
    content.send_reset(Reason::CANCEL);
    drop(slow);
    origin.on("/a", [Reply::ok("", "hello")]);
    while client.get("/a").await.status == 503 {}
}

#[tokio::test]
async fn a_client_that_makes_no_room_is_not_waited_for() {
    let origin = Origin::start().await;
    origin.on("/a", [Reply::ok(FRESH, "hello")]);
    origin.on("/large", [Reply::ok(FRESH, &"x".repeat(300_000))]);
    let proxy = proxy_with(&origin, "  timeouts: { write_stall: 200ms }\n").await;
    for (room, target) in [(0, "/a"), (100_000, "/large")] {
        let client = Http2::with(proxy.address, Builder::new().initial_window_size(room)).await;
        let (head, mut body) = client.open(get(target), true).await.0.await.unwrap().into_parts();
        assert_eq!(head.status, 200);
        let error = loop {
            // Read, but the room is not given back.
            match body.data().await {
                Some(Ok(_)) => {}
                Some(Err(error)) => break error,
                None => panic!("it cannot have come"),
            }
        };
        assert!(error.is_reset() && error.is_remote(), "{target} {error}");
        assert_eq!(client.send(Request::head("http://a.test/a").body(()).unwrap()).await.status, 200);
    }
}

#[tokio::test]
async fn a_reader_that_pauses_gets_it_all() {
    let origin = Origin::start().await;
    origin.on("/large", [Reply::ok(FRESH, &"x".repeat(300_000))]);
    let proxy = proxy_with(&origin, "  timeouts: { write_stall: 2s }\n").await;
    let client = Http2::with(proxy.address, Builder::new().initial_window_size(40_000)).await;
    let (_, mut body) = client.open(get("/large"), true).await.0.await.unwrap().into_parts();
    let mut read = 0;
    while let Some(piece) = next(&mut body).await.unwrap() {
        read += piece.len();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(read, 300_000);
}

#[tokio::test]
async fn content_that_does_not_come_is_not_waited_for() {
    let origin = Origin::start().await;
    let proxy = proxy_with(&origin, "  timeouts: { body_idle: 50ms }\n").await;
    let client = Http2::connect(proxy.address).await;
    let (response, _content) = client.open(post("/a"), false).await;
    assert_eq!(read(response).await.unwrap().status, 408);
}

#[tokio::test]
async fn content_that_is_too_large_is_refused() {
    let origin = Origin::start().await;
    let proxy = proxy_with(&origin, "  max_request_body: 10\n").await;
    let client = Http2::connect(proxy.address).await;
    let (response, mut content) = client.open(post("/a"), false).await;
    content.send_data("x".repeat(100).into(), false).unwrap();
    assert_eq!(read(response).await.unwrap().status, 413);
}

#[tokio::test]
async fn a_connection_that_says_nothing_or_half_a_preface_is_closed_at_the_head_timeout() {
    let origin = Origin::start().await;
    let proxy = proxy_with(&origin, "  timeouts: { head: 50ms }\n").await;
    for first in ["", "P", "PRI * HTTP/2.0\r\n\r\nSM"] {
        let mut client = proxy.connect().await;
        client.write(first).await;
        assert!(client.is_closed().await, "{first:?}");
    }
}

#[tokio::test]
async fn a_connection_without_streams_is_told_to_go() {
    let origin = Origin::start().await;
    let gate = Gate::closed();
    origin.on("/a", [Reply::ok("", "hello").after(&gate)]);
    let proxy = proxy_with(&origin, "  timeouts: { head: 50ms }\n").await;
    let client = Http2::connect(proxy.address).await;
    let response = client.open(get("/a"), true).await.0;
    // Not while there is a stream.
    tokio::time::sleep(Duration::from_millis(150)).await;
    gate.open();
    assert_eq!(read(response).await.unwrap().body, "hello");
    client.ended().await.unwrap();
}

#[tokio::test]
async fn methods_that_begin_like_the_preface_are_read_in_pieces_and_whole() {
    let origin = Origin::start().await;
    let proxy = Proxy::in_front_of(&origin).await;
    for method in ["POST", "PUT", "PATCH", "PROPFIND", "PRI"] {
        origin.on("/a", [Reply::ok("", "hello")]);
        let mut client = proxy.connect().await;
        for _ in 0..2 {
            client.write(format!("{method} /a HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0\r\n\r\n")).await;
            assert_eq!(client.response().await.body, "hello", "{method}");
        }
        let mut client = proxy.connect().await;
        for byte in format!("{method} /a HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0\r\n\r\n").bytes() {
            client.write([byte]).await;
            tokio::task::yield_now().await;
        }
        assert_eq!(client.response().await.body, "hello", "{method}");
    }
}

#[tokio::test]
async fn an_upgrade_to_it_is_not_made() {
    let origin = Origin::start().await;
    origin.on("/a", [Reply::ok("", "hello")]);
    let proxy = Proxy::in_front_of(&origin).await;
    let mut client = proxy.connect().await;
    let upgrade =
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n";
    for _ in 0..2 {
        client.write(format!("GET /a HTTP/1.1\r\nHost: a.test\r\n{upgrade}\r\n")).await;
        let response = client.response().await;
        assert_eq!((response.status, response.body.as_str()), (200, "hello"));
    }
}

#[tokio::test]
async fn where_it_is_off_the_preface_is_no_request() {
    let origin = Origin::start().await;
    let proxy = proxy_with(&origin, "  http2: off\n").await;
    let stream = TcpStream::connect(proxy.address).await.unwrap();
    if let Ok((mut streams, connection)) = h2::client::handshake(stream).await {
        let connection = tokio::spawn(connection);
        if let Ok((response, _)) = streams.send_request(get("/a"), true) {
            response.await.unwrap_err();
        }
        let _ = connection.await.unwrap();
    }
    let mut admin = Client::connect(proxy.admin).await;
    admin.write("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    assert!(admin.is_closed().await);
    assert_eq!(origin.count(), 0);
}

#[tokio::test]
async fn a_shutdown_lets_streams_finish_and_ends_the_rest() {
    let origin = Origin::start().await;
    let gate = Gate::closed();
    origin.on("/slow", [Reply::ok("", "slow").after(&gate)]);
    let mut proxy = Proxy::in_front_of(&origin).await;
    let client = Http2::connect(proxy.address).await;
    let slow = client.open(get("/slow"), true).await.0;
    let idle = Http2::connect(proxy.address).await;
    let mut silent = proxy.connect().await;
    while origin.count() == 0 {
        tokio::task::yield_now().await;
    }
    let stopping = tokio::spawn(proxy.started.take().unwrap().stop());
    idle.ended().await.unwrap();
    assert!(silent.is_closed().await);
    assert!(!stopping.is_finished());
    gate.open();
    assert_eq!(read(slow).await.unwrap().body, "slow");
    client.ended().await.unwrap();
    stopping.await.unwrap();
}
