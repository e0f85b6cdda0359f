//! When the origin or the client fails: one clear answer, nothing stored.

use crate::support::{Gate, Origin, Proxy, Reply};

const ALL: &str = "routes:\n  - { name: all, match: { path: \"/{*rest}\" }, upstream: app }\n";

#[tokio::test]
async fn an_origin_that_is_down_is_a_bad_gateway() {
    let mut nobody = Origin::start().await;
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    nobody.address = port;
    let proxy = Proxy::in_front_of(&nobody).await;
    let response = proxy.get("/a").await;
    assert_eq!(response.status, 502);
    assert_eq!(response.field("proxy-status"), "staleproof; error=connection_refused");
    assert_eq!(response.field("cache-status"), "staleproof; fwd=uri-miss");
    assert!(!response.body.contains(&port.port().to_string()), "no internals: {}", response.body);
    let problem = proxy.get_with("/a", "Accept: application/json\r\n").await;
    assert_eq!(problem.field("content-type"), "application/problem+json");
}

#[tokio::test]
async fn an_origin_that_does_not_answer_in_time_is_a_gateway_timeout() {
    let origin = Origin::start().await;
    origin.on("/a", [Reply::ok("", "late").after(&Gate::closed()), Reply::ok("", "hello")]);
    let proxy = Proxy::with_sections(&origin, "", "    timeouts: { head: 50ms }\n", ALL).await;
    let response = proxy.get("/a").await;
    assert_eq!(response.status, 504);
    assert_eq!(response.field("proxy-status"), "staleproof; error=http_response_timeout");
    assert_eq!(proxy.get("/a").await.body, "hello", "the next request starts anew");
}

#[tokio::test]
async fn an_origin_that_stalls_in_mid_body_is_cut_off() {
    let origin = Origin::start().await;
    let fields = "Cache-Control: max-age=60\r\n";
    let stalled = Reply::raw(format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: 10\r\n\r\nhalf"))
        .wait(&Gate::closed());
    origin.on("/a", [stalled, Reply::ok(fields, "whole")]);
    let proxy = Proxy::with_sections(&origin, "", "    timeouts: { body_idle: 50ms }\n", ALL).await;
    let first = proxy.get("/a").await;
    assert_eq!((first.body.as_str(), first.complete), ("half", false));
    assert_eq!(proxy.get("/a").await.body, "whole");
}

#[tokio::test]
async fn a_kept_connection_that_the_origin_has_closed_is_replaced_unnoticed() {
    let origin = Origin::start().await;
    origin.on("/a", [Reply::ok("", "one").close(), Reply::ok("", "two").close(), Reply::ok("", "three")]);
    let proxy = Proxy::in_front_of(&origin).await;
    for body in ["one", "two", "three"] {
        let response = proxy.get("/a").await;
        assert_eq!((response.status, response.body.as_str()), (200, body));
    }
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused() {
    let origin = Origin::start().await;
    origin.on("/a", [Reply::ok("", "hello")]);
    let proxy = Proxy::with_sections(&origin, "  max_request_body: 10\n", "", ALL).await;
    assert_eq!(proxy.request("POST", "/a", "", "0123456789").await.status, 200);
    assert_eq!(proxy.request("POST", "/a", "", "0123456789a").await.status, 413);
    let chunked =
        "POST /a HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\nb\r\n0123456789a\r\n0\r\n\r\n";
    assert_eq!(crate::support::send(proxy.address, chunked).await.status, 413);
    assert_eq!(origin.count(), 1, "what is too large is never completed towards the origin");
}

#[tokio::test]
async fn a_head_over_the_limit_is_refused() {
    let origin = Origin::start().await;
    let proxy = Proxy::with_sections(&origin, "  max_head: 8KiB\n", "", ALL).await;
    let response = proxy.get_with("/a", &format!("X: {}\r\n", "x".repeat(10_000))).await;
    assert_eq!(response.status, 431);
}

#[tokio::test]
async fn beyond_the_bound_there_is_a_clear_no_at_once() {
    let origin = Origin::start().await;
    let gate = Gate::closed();
    origin.on("/slow", [Reply::ok("", "slow").after(&gate)]);
    let proxy = Proxy::with_sections(&origin, "  max_in_flight: 1\n", "", ALL).await;
    let mut first = proxy.connect().await;
    first.write("GET /slow HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    while origin.count() == 0 {
        tokio::task::yield_now().await;
    }
    let second = proxy.get("/a").await;
    assert_eq!((second.status, second.field("retry-after").as_str()), (503, "1"));
    gate.open();
    assert_eq!(first.response().await.body, "slow");
    assert_eq!(proxy.get("/a").await.status, 404, "and it is over when the first is done");
}

#[tokio::test]
async fn the_next_server_is_asked_when_one_is_down() {
    let origin = Origin::start().await;
    origin.on("/a", [Reply::ok("", "hello")]);
    let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let yaml = format!(
        "  two:\n    servers: [\"http://{dead}\", \"http://{}\"]\nroutes:\n  - {{ name: all, match: {{ path: \"/{{*rest}}\" }}, upstream: two }}\n",
        origin.address
    );
    let proxy = Proxy::with_yaml(&origin, &yaml).await;
    for _ in 0..4 {
        assert_eq!(proxy.request("POST", "/a", "", "body").await.body, "hello");
    }
}

#[tokio::test]
async fn an_upload_may_take_longer_than_the_origin_may_take_to_answer() {
    let origin = Origin::start().await;
    origin.on("/a", [Reply::ok("", "thanks")]);
    let proxy = Proxy::with_sections(&origin, "", "    timeouts: { head: 100ms }\n", ALL).await;
    let mut client = proxy.connect().await;
    client.write("POST /a HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2\r\n\r\nx").await;
    // Real time is what this is about.
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    client.write("y").await;
    assert_eq!(client.response().await.body, "thanks");
}

#[tokio::test]
async fn a_client_that_never_finishes_its_head_is_not_waited_for() {
    let origin = Origin::start().await;
    let proxy = Proxy::with_sections(&origin, "  timeouts: { head: 50ms }\n", "", ALL).await;
    let mut client = proxy.connect().await;
    client.write("GET /a HTTP/1.1\r\nHost: a.te").await;
    let response = client.response().await;
    assert!(matches!(response.status, 0 | 408), "closed, with or without a word: {response:?}");
    assert_eq!(origin.count(), 0);
}

#[tokio::test]
async fn a_client_that_stalls_in_its_body_is_told_so() {
    let origin = Origin::start().await;
    origin.on("/a", [Reply::ok("", "hello")]);
    let proxy = Proxy::with_sections(&origin, "  timeouts: { body_idle: 50ms }\n", "", ALL).await;
    let mut client = proxy.connect().await;
    client.write("POST /a HTTP/1.1\r\nHost: a.test\r\nContent-Length: 10\r\n\r\nhalf").await;
    assert_eq!(client.response().await.status, 408);
    assert_eq!(origin.count(), 0, "what the client did not finish is never completed");
}
