//! One reading only: what two parsers could read differently is refused (RFC 9112 §6, §3.2).

use crate::support::{Origin, Proxy, Reply, send};

const FRESH: &str = "Cache-Control: max-age=60\r\n";

#[tokio::test]
async fn a_request_that_can_be_read_in_two_ways_is_refused() {
    let origin = Origin::start().await;
    let proxy = Proxy::in_front_of(&origin).await;
    for (request, status) in [
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        ("GET http://a/ HTTP/1.1\r\nHost: b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n z\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
        ("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", 501),
        ("TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", 501),
        ("GET ftp://a/x HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n", 400),
        ("GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET /static/..%2faccount HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET /static/..;/account HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ] {
        let response = send(proxy.address, request).await;
        assert_eq!(response.status, status, "{request:?}");
    }
    assert_eq!(origin.count(), 0);
}

#[tokio::test]
async fn a_request_that_cannot_be_read_is_counted_all_the_same() {
    let origin = Origin::start().await;
    let proxy = Proxy::in_front_of(&origin).await;
    let too_large = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(100_000));
    for (number, (request, status)) in
        [("GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400), (&too_large, 431)].into_iter().enumerate()
    {
        assert_eq!(send(proxy.address, request).await.status, status);
        let counted = format!("requests_total{{cache=\"-\",status=\"4xx\"}} {}\n", number + 1);
        // Counted when the connection has ended, which we may hear of first.
        while !send(proxy.admin, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").await.body.contains(&counted) {
            tokio::task::yield_now().await;
        }
    }
}

/// RFC 9112 §6.1: hyper takes the chunks and forgets the length, so the only thing left to do is what must be done.
#[tokio::test]
async fn a_request_with_two_lengths_has_the_framing_of_its_chunks_and_is_its_connections_last() {
    for lengths in
        ["Content-Length: 5\r\nTransfer-Encoding: chunked", "Transfer-Encoding: chunked\r\nContent-Length: 5"]
    {
        let origin = Origin::start().await;
        origin.on("/a", [Reply::ok("", "hello")]);
        let proxy = Proxy::in_front_of(&origin).await;
        let mut client = proxy.connect().await;
        let request = format!("POST /a HTTP/1.1\r\nHost: a.test\r\n{lengths}\r\n\r\n3\r\nabc\r\n0\r\n\r\n");
        client.write(format!("{request}GET /smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n")).await;
        let response = client.response().await;
        assert_eq!((response.status, response.field("connection").as_str()), (200, "close"), "{response:?}");
        let [request] = &origin.requests()[..] else { panic!("{:?}", origin.requests()) };
        let head = request.to_lowercase();
        assert!(
            head.contains("transfer-encoding: chunked\r\n") && !head.contains("content-length"),
            "{head}"
        );
    }
}

#[tokio::test]
async fn a_response_with_two_lengths_has_the_framing_of_its_chunks() {
    let origin = Origin::start().await;
    let reply = "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    origin.on("/a", [Reply::raw(reply).close()]);
    let proxy = Proxy::in_front_of(&origin).await;
    for word in ["MISS", "HIT"] {
        let response = proxy.get("/a").await;
        assert_eq!((response.body.as_str(), response.x_cache().as_str()), ("hello", word));
        assert!(response.complete);
    }
}

#[tokio::test]
async fn a_response_whose_end_nobody_can_tell_is_a_bad_gateway() {
    for reply in [
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nxxx",
        "HTTP/1.1 200 OK\r\nContent-Length: 1, 2\r\n\r\nxxx",
        "HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        "nonsense\r\n\r\n",
        "",
    ] {
        let origin = Origin::start().await;
        origin.on("/a", [Reply::raw(reply).close()]);
        let proxy = Proxy::in_front_of(&origin).await;
        let response = proxy.get("/a").await;
        assert_eq!(response.status, 502, "{reply:?}");
        assert!(response.field("proxy-status").starts_with("staleproof; error="), "{response:?}");
    }
}

#[tokio::test]
async fn equal_lengths_are_one_length() {
    let origin = Origin::start().await;
    let reply = format!("HTTP/1.1 200 OK\r\n{FRESH}Content-Length: 5, 5\r\nContent-Length: 5\r\n\r\nhello");
    origin.on("/a", [Reply::raw(reply)]);
    let proxy = Proxy::in_front_of(&origin).await;
    for word in ["MISS", "HIT"] {
        let response = proxy.get("/a").await;
        assert_eq!((response.field("content-length").as_str(), response.x_cache().as_str()), ("5", word));
    }
}

#[tokio::test]
async fn a_truncated_response_is_neither_stored_nor_ended_cleanly() {
    let origin = Origin::start().await;
    let by_length = Reply::raw(format!("HTTP/1.1 200 OK\r\n{FRESH}Content-Length: 10\r\n\r\nhalf")).close();
    let by_chunks =
        Reply::raw(format!("HTTP/1.1 200 OK\r\n{FRESH}Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"))
            .close();
    origin.on("/length", [by_length, Reply::ok(FRESH, "whole")]);
    origin.on("/chunks", [by_chunks, Reply::ok(FRESH, "whole")]);
    let proxy = Proxy::in_front_of(&origin).await;
    for target in ["/length", "/chunks"] {
        let first = proxy.get(target).await;
        assert!(!first.complete, "{target} {first:?}");
        let second = proxy.get(target).await;
        assert_eq!((second.body.as_str(), second.x_cache().as_str()), ("whole", "MISS"), "{target}");
    }
}

#[tokio::test]
async fn a_response_that_only_its_connections_end_delimits_is_not_stored() {
    let origin = Origin::start().await;
    origin.on("/a", [Reply::raw(format!("HTTP/1.1 200 OK\r\n{FRESH}\r\nhello")).close()]);
    let proxy = Proxy::in_front_of(&origin).await;
    for _ in 0..2 {
        let response = proxy.get("/a").await;
        assert_eq!((response.body.as_str(), response.x_cache().as_str()), ("hello", "MISS"));
        assert!(response.field("cache-status").contains("detail=close-delimited"), "{response:?}");
    }
}

#[tokio::test]
async fn a_body_on_a_get_reaches_the_origin_and_fills_nothing() {
    let origin = Origin::start().await;
    origin.on("/a", [Reply::ok(FRESH, "hello")]);
    let proxy = Proxy::in_front_of(&origin).await;
    let chunked =
        "GET /a HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    assert_eq!(send(proxy.address, chunked).await.x_cache(), "BYPASS");
    assert!(origin.last().contains("abc"), "{}", origin.last());
    assert_eq!(proxy.request("GET", "/a", "", "abc").await.x_cache(), "BYPASS");
    assert!(origin.last().ends_with("abc"));
    assert_eq!(proxy.get("/a").await.x_cache(), "MISS");
}

#[tokio::test]
async fn a_connection_goes_on_after_a_hit_whose_request_body_nobody_read() {
    let origin = Origin::start().await;
    origin.on("/a", [Reply::ok(FRESH, "hello")]);
    let proxy = Proxy::in_front_of(&origin).await;
    let mut client = proxy.connect().await;
    for word in ["MISS", "HIT", "HIT"] {
        client.write("GET /a HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
        assert_eq!(client.response().await.x_cache(), word);
    }
    // A refused request with a body: the connection is closed or in step, never out of step.
    client.write("POST /a HTTP/1.1\r\nHost: a.test\r\nHost: b\r\nContent-Length: 30\r\n\r\n").await;
    assert_eq!(client.response().await.status, 400);
    client.write("GET /smuggled HTTP/1.1\r\nHost:x\r\n\r\n").await;
    client.response().await;
    assert!(!origin.requests().iter().any(|request| request.contains("smuggled")));
}
