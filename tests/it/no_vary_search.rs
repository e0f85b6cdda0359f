//! Answers that stand for other queries than their own (No-Vary-Search).

use crate::support::{Origin, Proxy, Reply};

const FRESH: &str = "Cache-Control: max-age=60\r\n";
const UTM: &str = "Cache-Control: max-age=60\r\nNo-Vary-Search: params=(\"utm\"), key-order\r\n";

async fn heeding(origin: &Origin) -> Proxy {
    let routes =
        "  - { name: all, match: { path: \"/{*rest}\" }, upstream: app, cache: { no_vary_search: true } }\n";
    Proxy::with_routes(origin, routes).await
}

#[tokio::test]
async fn an_answer_stands_for_all_queries_that_it_calls_equivalent() {
    let origin = Origin::start().await;
    origin.on("/a?x=1&y=2&utm=mail", [Reply::ok(UTM, "one")]);
    origin.on("/a?x=2", [Reply::ok(UTM, "two")]);
    let proxy = heeding(&origin).await;
    assert_eq!(proxy.get("/a?x=1&y=2&utm=mail").await.x_cache(), "MISS");
    for query in ["x=1&y=2", "y=2&x=1", "utm=other&x=1&y=2", "x=1&y=2&utm=mail"] {
        let response = proxy.get(&format!("/a?{query}")).await;
        assert_eq!((response.x_cache().as_str(), response.body.as_str()), ("HIT", "one"), "{query}");
    }
    assert_eq!(proxy.get("/a?x=2").await.body, "two");
    assert_eq!(proxy.get("/a?utm=1&x=2").await.x_cache(), "HIT");
    assert_eq!(origin.count(), 2);
}

#[tokio::test]
async fn who_has_not_asked_for_it_gets_each_query_by_itself() {
    let origin = Origin::start().await;
    origin.on("/a?utm=1", [Reply::ok(UTM, "one")]);
    origin.on("/a?utm=2", [Reply::ok(UTM, "two")]);
    let proxy = Proxy::in_front_of(&origin).await;
    assert_eq!(proxy.get("/a?utm=1").await.body, "one");
    assert_eq!(proxy.get("/a?utm=2").await.body, "two");
}

#[tokio::test]
async fn an_answer_that_does_not_say_so_stands_for_its_own_query_alone() {
    let origin = Origin::start().await;
    origin.on("/a?utm=1", [Reply::ok(UTM, "one")]);
    origin.on("/a?utm=2&x=1", [Reply::ok(FRESH, "silent")]);
    origin.on("/a?utm=3&x=1", [Reply::ok(FRESH, "other")]);
    let proxy = heeding(&origin).await;
    proxy.get("/a?utm=1").await;
    assert_eq!(proxy.get("/a?utm=2&x=1").await.body, "silent");
    assert_eq!(proxy.get("/a?utm=2&x=1").await.x_cache(), "HIT");
    // It lies where the rule of its neighbour leads to, and is not taken for an answer.
    assert_eq!(proxy.get("/a?utm=3&x=1").await.body, "other");
}

#[tokio::test]
async fn a_purge_of_one_query_reaches_what_is_served_for_it() {
    for purge in [r#"{"url": "http://a.test/a?utm=2"}"#, r#"{"url": "http://a.test/a"}"#] {
        let origin = Origin::start().await;
        origin.on("/a?utm=1", [Reply::ok(UTM, "old")]);
        origin.on("/a?utm=2", [Reply::ok(UTM, "new")]);
        let proxy = heeding(&origin).await;
        proxy.get("/a?utm=1").await;
        assert_eq!(proxy.get("/a?utm=2").await.body, "old");
        assert_eq!(proxy.purge(purge).await, 1);
        assert_eq!(proxy.get("/a?utm=2").await.body, "new");
    }
}

#[tokio::test]
async fn an_unsafe_request_to_one_query_reaches_what_is_served_for_it() {
    let origin = Origin::start().await;
    origin.on("/a?utm=1", [Reply::ok(UTM, "old"), Reply::ok(UTM, "new")]);
    origin.on("/a?utm=2", [Reply::ok("", "done")]);
    let proxy = heeding(&origin).await;
    proxy.get("/a?utm=1").await;
    assert_eq!(proxy.request("POST", "/a?utm=2", "", "x").await.body, "done");
    assert_eq!(proxy.get("/a?utm=1").await.body, "new");
}
