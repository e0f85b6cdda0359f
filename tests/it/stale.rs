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

#[tokio::test]
async fn while_the_origin_is_known_to_fail_nobody_waits_for_it() {
    let origin = Origin::start().await;
    let gate = Gate::closed();
    let down = || Reply::status("503 Service Unavailable", "", "down");
    origin.on("/a", [Reply::ok(ON_ERROR, "one"), down(), Reply::ok(ON_ERROR, "two")]);
    origin.on("/b", [Reply::ok(ON_ERROR, "one"), Reply::ok(ON_ERROR, "two").after(&gate)]);
    let proxy = Proxy::in_front_of(&origin).await;
    proxy.get("/a").await;
    proxy.get("/b").await;
    proxy.later(70);
    assert_eq!(proxy.get("/a").await.body, "one");
    // The first has found out for the others. Behind their backs it is asked again.
    let stale = proxy.get("/b").await;
    assert_eq!((stale.body.as_str(), stale.x_cache().as_str()), ("one", "STALE"));
    assert_eq!(stale.field("cache-status"), "staleproof; fwd=stale; ttl=-10; detail=stale-if-error");
    gate.open();
    assert_eq!(until_hit(&proxy, "/b").await.body, "two");
    // It answers again, and who asks now waits for the answer.
    assert_eq!(proxy.get("/a").await.body, "two");
}

#[tokio::test]
async fn what_is_asked_for_shortly_before_its_end_never_runs_out() {
    let origin = Origin::start().await;
    // When exactly is left to chance: so long a time that its last moment is surely after that.
    let fresh = "Cache-Control: max-age=1000000\r\n";
    origin.on("/a", [Reply::ok(fresh, "one"), Reply::ok(fresh, "two")]);
    let routes =
        "  - { name: all, match: { path: \"/{*rest}\" }, upstream: app, cache: { refresh_ahead: 20% } }\n";
    let proxy = Proxy::with_routes(&origin, routes).await;
    proxy.get("/a").await;
    proxy.later(799_999);
    assert_eq!(proxy.get("/a").await.body, "one");
    proxy.until("fetches", 0).await;
    assert_eq!(origin.count(), 1);
    proxy.clock.advance(std::time::Duration::from_millis(200_000_999));
    // Still fresh, and nobody waits.
    let hit = proxy.get("/a").await;
    assert_eq!((hit.body.as_str(), hit.x_cache().as_str()), ("one", "HIT"));
    while proxy.get("/a").await.body != "two" {}
    proxy.later(2);
    assert_eq!(proxy.get("/a").await.x_cache(), "HIT");
    assert_eq!(origin.count(), 2);
}

#[tokio::test]
async fn what_is_stored_together_does_not_run_out_together() {
    let origin = Origin::start().await;
    let routes =
        "  - { name: all, match: { path: \"/{*rest}\" }, upstream: app, cache: { ttl: { jitter: 50% } } }\n";
    let proxy = Proxy::with_routes(&origin, routes).await;
    let mut lifetimes = std::collections::BTreeSet::new();
    for index in 0..20 {
        let target = format!("/{index}");
        origin.on(&target, [Reply::ok("Cache-Control: max-age=10000\r\n", "one")]);
        let status = proxy.get(&target).await.field("cache-status");
        let lifetime: u32 = status.rsplit_once("ttl=").unwrap().1.parse().unwrap();
        assert!((5000..=10000).contains(&lifetime), "{status}");
        lifetimes.insert(lifetime);
    }
    assert!(lifetimes.len() > 5, "{lifetimes:?}");
}

#[tokio::test]
async fn a_route_may_store_what_is_asked_for_twice() {
    let origin = Origin::start().await;
    origin.on("/a", [Reply::ok("Cache-Control: max-age=60\r\n", "one")]);
    let routes = "  - { name: all, match: { path: \"/{*rest}\" }, upstream: app, cache: { min_uses: 2 } }\n";
    let proxy = Proxy::with_routes(&origin, routes).await;
    let first = proxy.get("/a").await;
    assert_eq!(first.field("cache-status"), "staleproof; fwd=uri-miss; fwd-status=200; detail=min-uses");
    assert!(proxy.get("/a").await.field("cache-status").contains("stored"));
    assert_eq!(proxy.get("/a").await.x_cache(), "HIT");
}

#[tokio::test]
async fn an_error_may_be_kept_for_a_moment() {
    let origin = Origin::start().await;
    origin.on("/a", [Reply::status("503 Service Unavailable", "", "down"), Reply::ok("", "up")]);
    let cache = "{ ttl: { by_status: { 5xx: 2s } } }";
    let routes =
        format!("  - {{ name: all, match: {{ path: \"/{{*rest}}\" }}, upstream: app, cache: {cache} }}\n");
    let proxy = Proxy::with_routes(&origin, &routes).await;
    assert_eq!(proxy.get("/a").await.x_cache(), "MISS");
    let kept = proxy.get("/a").await;
    assert_eq!((kept.status, kept.x_cache().as_str()), (503, "HIT"));
    proxy.later(2);
    assert_eq!(proxy.get("/a").await.body, "up");
}
