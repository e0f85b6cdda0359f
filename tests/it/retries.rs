//! What failed is asked again: once, of another server if there is one, and never what the client has got something of.

use crate::support::{Gate, Origin, Proxy, Reply};

const ROUTES: &str = "routes:\n  - { name: all, match: { path: \"/{*rest}\" }, upstream: app }\n";

fn dead() -> Reply {
    Reply::default().close()
}

fn unavailable() -> Reply {
    Reply::status("503 Service Unavailable", "", "down")
}

async fn with_retries(origin: &Origin, retries: &str) -> Proxy {
    Proxy::with_sections(origin, "", &format!("    retries: {retries}\n"), ROUTES).await
}

#[tokio::test]
async fn a_connection_that_ends_without_a_response_is_asked_again() {
    let origin = Origin::start().await;
    origin.on("/a", [dead(), Reply::ok("", "there")]);
    let proxy = Proxy::in_front_of(&origin).await;
    let response = proxy.get("/a").await;
    assert_eq!((response.status, response.body.as_str()), (200, "there"));
    assert_eq!(origin.count(), 2);
    assert_eq!(proxy.level("origin_retries_total").await, 1);
}

#[tokio::test]
async fn but_only_once() {
    let origin = Origin::start().await;
    origin.on("/a", [dead()]);
    let proxy = Proxy::in_front_of(&origin).await;
    assert_eq!(proxy.get("/a").await.status, 502);
    assert_eq!(origin.count(), 2);
}

#[tokio::test]
async fn or_as_often_as_told() {
    for (retries, count) in [("off", 1), ("{ attempts: 3 }", 4), ("{ on: timeout }", 1)] {
        let origin = Origin::start().await;
        origin.on("/a", [dead()]);
        let proxy = with_retries(&origin, retries).await;
        assert_eq!(proxy.get("/a").await.status, 502);
        assert_eq!(origin.count(), count, "{retries}");
    }
}

#[tokio::test]
async fn what_may_have_an_effect_twice_is_asked_once() {
    let origin = Origin::start().await;
    origin.on("/a", [dead(), Reply::ok("", "there")]);
    let proxy = Proxy::in_front_of(&origin).await;
    assert_eq!(proxy.request("POST", "/a", "", "").await.status, 502);
    assert_eq!(origin.count(), 1);
}

#[tokio::test]
async fn a_body_that_is_gone_cannot_be_sent_again() {
    let origin = Origin::start().await;
    origin.on("/a", [dead(), Reply::ok("", "there")]);
    let proxy = Proxy::in_front_of(&origin).await;
    assert_eq!(proxy.request("PUT", "/a", "", "new").await.status, 502);
    assert_eq!(origin.count(), 1);
    // Without one there is nothing to miss.
    origin.on("/b", [dead(), Reply::ok("", "there")]);
    assert_eq!(proxy.request("DELETE", "/b", "", "").await.status, 200);
}

#[tokio::test]
async fn a_query_is_asked_again_with_its_content() {
    let origin = Origin::start().await;
    origin.on("/a", [dead(), Reply::ok("", "there")]);
    let routes = "  - { name: all, match: { path: \"/{*rest}\" }, upstream: app, cache: { query: {} } }\n";
    let proxy = Proxy::with_routes(&origin, routes).await;
    let response = proxy.request("QUERY", "/a", "Content-Type: text/plain\r\n", "what?").await;
    assert_eq!(response.status, 200);
    assert!(origin.requests().iter().all(|request| request.ends_with("what?")), "{:?}", origin.requests());
}

#[tokio::test]
async fn another_server_is_asked_if_there_is_one() {
    let (bad, good) = (Origin::start().await, Origin::start().await);
    bad.on("/a", [unavailable()]);
    good.on("/a", [Reply::ok("", "there")]);
    let text = format!(
        "server: {{ listen: 127.0.0.1:0, access_log: off }}\nadmin: {{ listen: 127.0.0.1:0, tokens: [] }}\n\
         upstreams:\n  app:\n    servers: [\"http://{}\", \"http://{}\"]\n    retries: {{ on: 5xx }}\n{ROUTES}",
        bad.address, good.address
    );
    let proxy = Proxy::with_file(&text).await;
    for _ in 0..4 {
        assert_eq!(proxy.get("/a").await.body, "there");
    }
    assert!(bad.count() > 0, "it had its turns");
}

#[tokio::test]
async fn a_response_is_a_response_unless_the_upstream_says_otherwise() {
    let origin = Origin::start().await;
    origin.on("/a", [unavailable(), Reply::ok("", "there")]);
    let proxy = Proxy::in_front_of(&origin).await;
    assert_eq!(proxy.get("/a").await.status, 503);
    assert_eq!(origin.count(), 1);
    // The last failure is the client's if it does not get better.
    origin.on("/b", [unavailable(), Reply::status("504 Gateway Timeout", "", "too late")]);
    let proxy = with_retries(&origin, "{ on: [reset, 503, 504] }").await;
    let response = proxy.get("/b").await;
    assert_eq!((response.status, response.body.as_str()), (504, "too late"));
}

#[tokio::test]
async fn a_server_that_does_not_answer_in_time_is_asked_again() {
    let origin = Origin::start().await;
    origin.on("/a", [Reply::default().wait(&Gate::closed()), Reply::ok("", "there")]);
    let upstream = "    timeouts: { head: 50ms }\n    retries: { on: timeout }\n";
    let proxy = Proxy::with_sections(&origin, "", upstream, ROUTES).await;
    assert_eq!(proxy.get("/a").await.body, "there");
}

#[tokio::test]
async fn who_has_got_an_interim_response_is_not_given_a_second_one() {
    let origin = Origin::start().await;
    let hints = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n";
    origin.on("/a", [Reply::raw(hints).close(), Reply::ok("", "there")]);
    let proxy = Proxy::in_front_of(&origin).await;
    let mut client = proxy.connect().await;
    client.write("GET /a HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n").await;
    let all = client.read_to_end().await;
    assert!(all.starts_with("HTTP/1.1 103") && all.contains("HTTP/1.1 502"), "{all}");
    assert_eq!(origin.count(), 1);
}

#[tokio::test]
async fn beyond_the_budget_failures_are_passed_on() {
    let origin = Origin::start().await;
    let proxy = with_retries(&origin, "{ budget: 10% }").await;
    for number in 0..30 {
        let target = format!("/{number}");
        origin.on(&target, [dead()]);
        assert_eq!(proxy.get(&target).await.status, 502);
    }
    // Ten at first, and one for every ten requests.
    assert_eq!(proxy.level("origin_retries_total").await, 12);
    assert_eq!(proxy.level("origin_retries_refused_total").await, 18);
    assert_eq!(origin.count(), 42);
}
