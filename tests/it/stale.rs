//! Serving stale: while it is validated, and when the origin fails (RFC 5861, RFC 9111 §4.2.4).

use crate::support::{Gate, Origin, Proxy, Reply, Response};

const WINDOW: &str = "Cache-Control: max-age=60, stale-while-revalidate=30\r\nETag: \"v1\"\r\n";
const ON_ERROR: &str = "Cache-Control: max-age=60, stale-if-error=30\r\nETag: \"v1\"\r\n";

/// Asks until the answer is a hit: what was fetched behind the client's back is stored by then.
async fn until_hit(proxy: &Proxy, target: &str) -> Response {
    loop {
        let response = proxy.get(target).await;
        if response.x_cache() == "HIT" {
            return response;
        }
    }
}

#[tokio::test]
async fn within_its_window_a_stale_response_is_served_at_once_and_replaced() {
    let origin = Origin::start().await;
    let gate = Gate::closed();
    origin.on("/a", [Reply::ok(WINDOW, "one"), Reply::ok(WINDOW, "two").after(&gate)]);
    let proxy = Proxy::in_front_of(&origin).await;
    proxy.get("/a").await;
    proxy.later(89);
    // The origin does not answer, and nobody waits for it.
    let stale = proxy.get("/a").await;
    assert_eq!((stale.body.as_str(), stale.x_cache().as_str()), ("one", "STALE"));
    assert_eq!(
        (stale.field("cache-status").as_str(), stale.field("age").as_str()),
        ("staleproof; hit; ttl=-29", "89")
    );
    gate.open();
    assert_eq!(until_hit(&proxy, "/a").await.body, "two");
    assert!(origin.last().to_lowercase().contains("if-none-match: \"v1\""), "{}", origin.last());
}

#[tokio::test]
async fn past_its_window_the_client_waits_for_the_origin() {
    let origin = Origin::start().await;
    origin.on("/a", [Reply::ok(WINDOW, "one"), Reply::ok(WINDOW, "two")]);
    let proxy = Proxy::in_front_of(&origin).await;
    proxy.get("/a").await;
    proxy.later(90);
    assert_eq!(proxy.get("/a").await.body, "two");
}

#[tokio::test]
async fn a_crowd_that_is_served_stale_causes_one_validation() {
    let origin = Origin::start().await;
    let gate = Gate::closed();
    origin.on("/a", [Reply::ok(WINDOW, "one"), Reply::ok(WINDOW, "two").after(&gate)]);
    let proxy = Proxy::in_front_of(&origin).await;
    proxy.get("/a").await;
    proxy.later(70);
    for _ in 0..20 {
        assert_eq!(proxy.get("/a").await.x_cache(), "STALE");
    }
    gate.open();
    until_hit(&proxy, "/a").await;
    assert_eq!(origin.count(), 2);
}

#[tokio::test]
async fn a_head_that_is_served_stale_refreshes_the_response_to_get() {
    let origin = Origin::start().await;
    origin.on("/a", [Reply::ok(WINDOW, "one"), Reply::ok(WINDOW, "two")]);
    let proxy = Proxy::in_front_of(&origin).await;
    proxy.get("/a").await;
    proxy.later(70);
    assert_eq!(proxy.request("HEAD", "/a", "", "").await.x_cache(), "STALE");
    assert_eq!(until_hit(&proxy, "/a").await.body, "two");
    assert!(origin.requests().iter().all(|request| request.starts_with("GET")));
}

#[tokio::test]
async fn a_refresh_that_fails_is_tried_again_by_the_next_request() {
    let origin = Origin::start().await;
    origin.on(
        "/a",
        [Reply::ok(WINDOW, "one"), Reply::raw("").close(), Reply::raw("").close(), Reply::ok(WINDOW, "two")],
    );
    let proxy = Proxy::in_front_of(&origin).await;
    proxy.get("/a").await;
    proxy.later(70);
    assert_eq!(until_hit(&proxy, "/a").await.body, "two");
}

#[tokio::test]
async fn what_is_purged_is_not_served_stale_nor_brought_back_by_its_refresh() {
    let origin = Origin::start().await;
    let gate = Gate::closed();
    let confirmed = "HTTP/1.1 304 Not Modified\r\nCache-Control: max-age=60\r\nETag: \"v1\"\r\n\r\n";
    origin.on("/a", [Reply::ok(WINDOW, "one"), Reply::raw(confirmed).after(&gate), Reply::ok(WINDOW, "two")]);
    let proxy = Proxy::in_front_of(&origin).await;
    proxy.get("/a").await;
    proxy.later(70);
    assert_eq!(proxy.get("/a").await.x_cache(), "STALE");
    while origin.count() < 2 {
        tokio::task::yield_now().await;
    }
    assert_eq!(proxy.purge(r#"{"url": "http://a.test/a"}"#).await, 1);
    gate.open();
    for _ in 0..3 {
        assert_eq!(proxy.get("/a").await.body, "two");
    }
}

#[tokio::test]
async fn a_route_gives_a_window_to_responses_that_name_none() {
    let origin = Origin::start().await;
    let silent = "Cache-Control: max-age=60\r\n";
    let strict = "Cache-Control: max-age=60, must-revalidate\r\n";
    origin.on("/a", [Reply::ok(silent, "one"), Reply::ok(silent, "two")]);
    origin.on("/b", [Reply::ok(strict, "one"), Reply::ok(strict, "two")]);
    origin.on("/c", [Reply::ok(silent, "one"), Reply::status("503 Service Unavailable", "", "")]);
    let routes = "  - { name: all, match: { path: \"/{*rest}\" }, upstream: app, \
                  cache: { stale_while_revalidate: 30s, stale_if_error: 60s } }\n";
    let proxy = Proxy::with_routes(&origin, routes).await;
    for target in ["/a", "/b", "/c"] {
        proxy.get(target).await;
    }
    proxy.later(70);
    assert_eq!(proxy.get("/a").await.body, "one");
    assert_eq!(proxy.get("/b").await.body, "two", "stale was forbidden");
    proxy.later(30);
    assert_eq!(proxy.get("/c").await.body, "one");
}

#[tokio::test]
async fn a_failing_origin_is_covered_for_by_a_stale_response() {
    let origin = Origin::start().await;
    let failures = [
        Reply::status("500 Internal Server Error", "", "oops"),
        Reply::status("503 Service Unavailable", "", "down"),
        Reply::raw("nonsense\r\n\r\n"),
    ];
    for (index, failure) in failures.into_iter().enumerate() {
        let target = format!("/{index}");
        origin.on(&target, [Reply::ok(ON_ERROR, "hello"), failure]);
        let proxy = Proxy::in_front_of(&origin).await;
        proxy.get(&target).await;
        proxy.later(89);
        let stale = proxy.get(&target).await;
        assert_eq!((stale.status, stale.body.as_str(), stale.x_cache().as_str()), (200, "hello", "STALE"));
        assert!(stale.field("cache-status").contains("fwd=stale"), "{stale:?}");
        assert!(stale.field("cache-status").ends_with("ttl=-29; detail=stale-if-error"), "{stale:?}");
        proxy.later(1);
        assert!(proxy.get(&target).await.status >= 500, "the window is over");
    }
}

#[tokio::test]
async fn an_error_that_is_an_answer_is_not_covered_up() {
    let origin = Origin::start().await;
    origin.on("/a", [Reply::ok(ON_ERROR, "hello"), Reply::status("404 Not Found", "", "gone")]);
    let proxy = Proxy::in_front_of(&origin).await;
    proxy.get("/a").await;
    proxy.later(70);
    assert_eq!(proxy.get("/a").await.status, 404);
}

#[tokio::test]
async fn a_failure_does_not_bring_back_what_was_purged_meanwhile() {
    let origin = Origin::start().await;
    let gate = Gate::closed();
    let failure = Reply::status("503 Service Unavailable", "", "down").after(&gate);
    origin.on("/a", [Reply::ok(ON_ERROR, "hello"), failure]);
    let proxy = Proxy::in_front_of(&origin).await;
    proxy.get("/a").await;
    proxy.later(70);
    let (second, ()) = tokio::join!(proxy.get("/a"), async {
        while origin.count() < 2 {
            tokio::task::yield_now().await;
        }
        assert_eq!(proxy.purge(r#"{"url": "http://a.test/a"}"#).await, 1);
        gate.open();
    });
    assert_eq!(second.status, 503);
}
