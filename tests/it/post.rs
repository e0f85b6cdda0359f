//! A POST's response that says what its target is like from now on answers later GETs (RFC 9110 §9.3.3).

use std::sync::Arc;

use crate::support::{Gate, Origin, Proxy, Reply};

const CURRENT: &str = "Cache-Control: max-age=600\r\nContent-Location: /a\r\n";

const ROUTES: &str = "  - { name: all, match: { path: \"/{*rest}\" }, upstream: app, cache: { store_post: true, tags: [t] } }\n";

async fn proxy(replies: impl IntoIterator<Item = Reply>) -> (Origin, Proxy) {
    let origin = Origin::start().await;
    origin.on("/a", replies);
    let proxy = Proxy::with_routes(&origin, ROUTES).await;
    (origin, proxy)
}

#[tokio::test]
async fn a_get_is_answered_with_what_a_post_said_of_its_target() {
    let (origin, proxy) = proxy([Reply::ok(CURRENT, "of the post"), Reply::ok("", "of a get")]).await;
    let first = proxy.request("POST", "/a", "Content-Type: text/plain\r\n", "x").await;
    assert_eq!(first.field("cache-status"), "staleproof; fwd=method; fwd-status=200; stored; ttl=600");
    let second = proxy.get("/a").await;
    assert_eq!((second.x_cache().as_str(), second.body.as_str()), ("HIT", "of the post"));
    assert_eq!(proxy.request("HEAD", "/a", "", "").await.x_cache(), "HIT");
    assert_eq!(origin.count(), 1);
}

#[tokio::test]
async fn it_replaces_what_was_stored_before() {
    let (_origin, proxy) =
        proxy([Reply::ok("Cache-Control: max-age=600\r\n", "old"), Reply::ok(CURRENT, "new")]).await;
    assert_eq!(proxy.get("/a").await.body, "old");
    proxy.request("POST", "/a", "", "x").await;
    let response = proxy.get("/a").await;
    assert_eq!((response.x_cache().as_str(), response.body.as_str()), ("HIT", "new"));
}

#[tokio::test]
async fn a_post_is_never_answered_from_the_store() {
    let (origin, proxy) = proxy([Reply::ok(CURRENT, "1"), Reply::ok(CURRENT, "2")]).await;
    assert_eq!(proxy.request("POST", "/a", "", "x").await.body, "1");
    assert_eq!(proxy.request("POST", "/a", "", "x").await.body, "2");
    assert_eq!(proxy.get("/a").await.body, "2");
    assert_eq!(origin.count(), 2);
}

#[tokio::test]
async fn without_its_word_on_freshness_and_target_it_is_not_stored() {
    for fields in [
        "Cache-Control: max-age=600\r\n",
        "Content-Location: /a\r\nLast-Modified: Thu, 01 Jan 1970 00:00:00 GMT\r\n",
        "Cache-Control: public\r\nContent-Location: /a\r\n",
        "Cache-Control: max-age=600\r\nContent-Location: /b\r\n",
        "Cache-Control: max-age=600\r\nContent-Location: http://b.test/a\r\n",
        "Cache-Control: max-age=600, no-store\r\nContent-Location: /a\r\n",
    ] {
        let (_origin, proxy) = proxy([Reply::ok(fields, "of the post"), Reply::ok("", "of a get")]).await;
        proxy.request("POST", "/a", "", "x").await;
        assert_eq!(proxy.get("/a").await.body, "of a get", "{fields}");
    }
}

#[tokio::test]
async fn nor_if_the_route_does_not_say_so_or_is_not_the_one_of_a_get() {
    for routes in [
        "  - { name: all, match: { path: \"/{*rest}\" }, upstream: app }\n",
        "  - { name: read, match: { path: \"/{*rest}\", method: GET }, upstream: app }\n\
         \x20 - { name: write, match: { path: \"/{*rest}\" }, upstream: app, cache: { store_post: true } }\n",
    ] {
        let origin = Origin::start().await;
        origin.on("/a", [Reply::ok(CURRENT, "of the post"), Reply::ok("", "of a get")]);
        let proxy = Proxy::with_routes(&origin, routes).await;
        proxy.request("POST", "/a", "", "x").await;
        assert_eq!(proxy.get("/a").await.body, "of a get", "{routes}");
    }
}

#[tokio::test]
async fn a_purge_wins_over_a_post_that_began_before_it() {
    for target in [r#"{"tag": "t"}"#, r#"{"url": "http://a.test/a"}"#, r#"{"everything": true}"#] {
        let gate = Gate::closed();
        let replies = [Reply::ok(CURRENT, "of the post").after(&gate), Reply::ok("", "of a get")];
        let (origin, proxy) = proxy(replies).await;
        let proxy = Arc::new(proxy);
        let posting = tokio::spawn({
            let proxy = Arc::clone(&proxy);
            async move { proxy.request("POST", "/a", "", "x").await }
        });
        while origin.count() == 0 {
            tokio::task::yield_now().await;
        }
        proxy.purge(target).await;
        gate.open();
        let posted = posting.await.unwrap();
        assert_eq!(posted.body, "of the post");
        assert!(posted.field("cache-status").ends_with("detail=purged"), "{posted:?}");
        assert_eq!(proxy.get("/a").await.body, "of a get", "{target}");
    }
}

#[tokio::test]
async fn a_purge_wins_over_a_post_whose_response_is_still_arriving() {
    let gate = Gate::closed();
    let slow = Reply::raw(format!("HTTP/1.1 200 OK\r\n{CURRENT}Content-Length: 6\r\n\r\nold")).wait(&gate);
    let (_origin, proxy) = proxy([slow.then("old"), Reply::ok("", "of a get")]).await;
    let mut client = proxy.connect().await;
    client.write("POST /a HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1\r\n\r\nx").await;
    client.read_until("\r\n\r\nold").await;
    proxy.purge(r#"{"tag": "t"}"#).await;
    gate.open();
    assert_eq!(client.response().await.body, "oldold");
    assert_eq!(proxy.get("/a").await.body, "of a get");
}

#[tokio::test]
async fn a_get_under_way_does_not_survive_a_post_that_was_stored_meanwhile() {
    let gate = Gate::closed();
    let replies =
        [Reply::ok("Cache-Control: max-age=600\r\n", "old").after(&gate), Reply::ok(CURRENT, "new")];
    let (origin, proxy) = proxy(replies).await;
    let mut early = proxy.connect().await;
    early.write("GET /a HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    while origin.count() == 0 {
        tokio::task::yield_now().await;
    }
    proxy.request("POST", "/a", "", "x").await;
    gate.open();
    assert_eq!(early.response().await.body, "old");
    assert_eq!(proxy.get("/a").await.body, "new");
}

/// The origin saw all of its query, and a GET of what is stored would not have shown it.
#[tokio::test]
async fn what_a_post_says_beyond_the_key_is_not_stored() {
    let origin = Origin::start().await;
    let current = "Cache-Control: max-age=600\r\nContent-Location: /a?utm_x=evil\r\n";
    origin.on("/a?utm_x=evil", [Reply::ok(current, "evil")]);
    origin.on("/a", [Reply::ok("", "of a get")]);
    let routes = "  - { name: all, match: { path: \"/{*rest}\" }, upstream: app, cache: { store_post: true, drop_tracking: true } }\n";
    let proxy = Proxy::with_routes(&origin, routes).await;
    assert_eq!(proxy.request("POST", "/a?utm_x=evil", "", "x").await.body, "evil");
    assert_eq!(proxy.get("/a").await.body, "of a get");
}
