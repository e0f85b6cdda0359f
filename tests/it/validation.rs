//! Validation with the origin, and preconditions of clients (RFC 9111 §4.3).

use crate::support::{Origin, Proxy, Reply};

const TAGGED: &str = "Cache-Control: max-age=60\r\nETag: \"v1\"\r\n";

#[tokio::test]
async fn a_stale_response_is_confirmed_and_served_again() {
    let origin = Origin::start().await;
    let confirmed =
        "HTTP/1.1 304 Not Modified\r\nCache-Control: max-age=90\r\nETag: \"v1\"\r\nX-New: yes\r\n\r\n";
    origin.on("/a", [Reply::ok(TAGGED, "hello"), Reply::raw(confirmed)]);
    let proxy = Proxy::in_front_of(&origin).await;
    proxy.get("/a").await;
    proxy.later(61);
    let second = proxy.get("/a").await;
    assert!(origin.last().to_lowercase().contains("if-none-match: \"v1\""), "{}", origin.last());
    assert_eq!((second.status, second.body.as_str(), second.x_cache().as_str()), (200, "hello", "REFRESH"));
    assert_eq!(second.field("x-new"), "yes");
    assert!(second.field("cache-status").contains("fwd=stale; fwd-status=304"), "{second:?}");
    let third = proxy.get("/a").await;
    assert_eq!(third.field("cache-status"), "staleproof; hit; ttl=90");
    assert_eq!(origin.count(), 2);
}

#[tokio::test]
async fn a_client_that_has_it_gets_304_from_the_store() {
    let origin = Origin::start().await;
    origin.on("/a", [Reply::ok(TAGGED, "hello")]);
    let proxy = Proxy::in_front_of(&origin).await;
    proxy.get("/a").await;
    let second = proxy.get_with("/a", "If-None-Match: W/\"v1\"\r\n").await;
    assert_eq!((second.status, second.x_cache().as_str()), (304, "HIT"));
    assert_eq!(second.field("etag"), "\"v1\"");
    assert_eq!(proxy.get_with("/a", "If-None-Match: \"v2\"\r\n").await.status, 200);
    assert_eq!(origin.count(), 1);
}

#[tokio::test]
async fn a_clients_condition_does_not_keep_the_cache_cold() {
    let origin = Origin::start().await;
    origin.on("/a", [Reply::ok(TAGGED, "hello")]);
    let proxy = Proxy::in_front_of(&origin).await;
    let first = proxy.get_with("/a", "If-None-Match: \"v1\"\r\n").await;
    assert_eq!((first.status, first.x_cache().as_str()), (304, "MISS"));
    assert!(!origin.last().to_lowercase().contains("if-none-match"));
    // The body is read behind the client's back; once the origin has been read to its end it is stored.
    let mut second = proxy.get("/a").await;
    while second.x_cache() != "HIT" {
        second = proxy.get("/a").await;
    }
    assert_eq!(second.body, "hello");
}

#[tokio::test]
async fn a_failed_validation_does_not_damage_what_is_stored() {
    let origin = Origin::start().await;
    let confirmed = "HTTP/1.1 304 Not Modified\r\nETag: \"v1\"\r\n\r\n";
    origin.on(
        "/a",
        [
            Reply::ok(TAGGED, "hello"),
            Reply::status("503 Service Unavailable", "", "down"),
            Reply::raw(confirmed),
        ],
    );
    let proxy = Proxy::in_front_of(&origin).await;
    proxy.get("/a").await;
    proxy.later(61);
    assert_eq!(proxy.get("/a").await.status, 503);
    assert_eq!(proxy.get("/a").await.body, "hello");
}

#[tokio::test]
async fn a_304_that_speaks_of_something_else_is_asked_again() {
    let origin = Origin::start().await;
    origin.on(
        "/a",
        [
            Reply::ok(TAGGED, "one"),
            Reply::raw("HTTP/1.1 304 Not Modified\r\nETag: \"v9\"\r\n\r\n"),
            Reply::ok("Cache-Control: max-age=60\r\nETag: \"v9\"\r\n", "nine"),
        ],
    );
    let proxy = Proxy::in_front_of(&origin).await;
    proxy.get("/a").await;
    proxy.later(61);
    assert_eq!(proxy.get("/a").await.body, "nine");
    assert!(!origin.last().to_lowercase().contains("if-none-match"));
}

#[tokio::test]
async fn a_head_that_validates_keeps_what_is_stored() {
    let origin = Origin::start().await;
    let confirmed = "HTTP/1.1 304 Not Modified\r\nCache-Control: max-age=60\r\nETag: \"v1\"\r\n\r\n";
    origin.on("/a", [Reply::ok(TAGGED, "hello"), Reply::raw(confirmed)]);
    let proxy = Proxy::in_front_of(&origin).await;
    proxy.get("/a").await;
    proxy.later(61);
    let head = proxy.request("HEAD", "/a", "", "").await;
    assert_eq!(
        (head.status, head.x_cache().as_str(), head.field("content-length").as_str()),
        (200, "REFRESH", "5")
    );
    let get = proxy.get("/a").await;
    assert_eq!((get.body.as_str(), get.x_cache().as_str()), ("hello", "HIT"));
}

#[tokio::test]
async fn variants_that_were_not_selected_are_offered_to_the_origin() {
    let origin = Origin::start().await;
    let vary = "Cache-Control: max-age=60\r\nVary: X-Plan\r\n";
    let free = format!("{vary}ETag: \"free\"\r\n");
    let paid = format!("{vary}ETag: \"paid\"\r\n");
    let confirmed = format!("HTTP/1.1 304 Not Modified\r\n{free}\r\n");
    origin.on("/a", [Reply::ok(&free, "ads"), Reply::ok(&paid, "no ads"), Reply::raw(confirmed)]);
    let routes = "routes:\n  - { name: all, match: { path: \"/{*rest}\" }, upstream: app }\n";
    let proxy = Proxy::with_yaml(&origin, &format!("compliance: rfc9111\n{routes}")).await;
    proxy.get_with("/a", "X-Plan: 1\r\n").await;
    proxy.get_with("/a", "X-Plan: 2\r\n").await;
    proxy.later(40);
    // A third plan gets what the first one got: the origin says so, and need not send it again.
    let third = proxy.get_with("/a", "X-Plan: 3\r\n").await;
    let asked = origin.last().to_lowercase();
    assert!(asked.contains("\"free\"") && asked.contains("\"paid\""), "{asked}");
    assert_eq!((third.status, third.body.as_str(), third.x_cache().as_str()), (200, "ads", "MISS"));
    assert!(third.field("cache-status").contains("fwd=vary-miss; fwd-status=304; stored"), "{third:?}");
    proxy.later(30);
    // The one it named is as fresh as the answer for all who select it; the other is not.
    for (plan, word) in [("3", "HIT"), ("1", "HIT"), ("2", "REFRESH")] {
        assert_eq!(proxy.get_with("/a", &format!("X-Plan: {plan}\r\n")).await.x_cache(), word, "{plan}");
    }
}

#[tokio::test]
async fn one_users_page_is_not_confirmed_for_another_by_a_tag_that_both_share() {
    let origin = Origin::start().await;
    let fields = "Cache-Control: max-age=60\r\nVary: Cookie\r\nETag: \"article-7-v5\"\r\n";
    origin.on("/a", [Reply::ok(fields, "hello ann"), Reply::ok(fields, "hello bob")]);
    let proxy = Proxy::in_front_of(&origin).await;
    proxy.get_with("/a", "Cookie: u=ann\r\n").await;
    assert_eq!(proxy.get_with("/a", "Cookie: u=bob\r\n").await.body, "hello bob");
    assert!(!origin.last().to_lowercase().contains("if-none-match"), "{}", origin.last());
}

#[tokio::test]
async fn another_coding_is_never_taken_for_the_same_by_its_tag() {
    let origin = Origin::start().await;
    let fields = "Cache-Control: max-age=60\r\nVary: Accept-Encoding\r\nETag: \"v1\"\r\n";
    origin.on(
        "/a",
        [Reply::ok(&format!("{fields}Content-Encoding: gzip\r\n"), "zipped"), Reply::ok(fields, "plain")],
    );
    let routes = "routes:\n  - { name: all, match: { path: \"/{*rest}\" }, upstream: app }\n";
    let proxy = Proxy::with_yaml(&origin, &format!("compliance: rfc9111\n{routes}")).await;
    proxy.get_with("/a", "Accept-Encoding: gzip\r\n").await;
    assert_eq!(proxy.get("/a").await.body, "plain");
    assert!(!origin.last().to_lowercase().contains("if-none-match"));
}

#[tokio::test]
async fn a_vary_that_changes_on_a_304_decides_from_then_on() {
    let origin = Origin::start().await;
    let confirmed =
        "HTTP/1.1 304 Not Modified\r\nCache-Control: max-age=60\r\nETag: \"v1\"\r\nVary: X-Theme\r\n\r\n";
    origin.on("/a", [Reply::ok(TAGGED, "plain"), Reply::raw(confirmed), Reply::ok(TAGGED, "dark")]);
    let proxy = Proxy::in_front_of(&origin).await;
    proxy.get("/a").await;
    proxy.later(61);
    assert_eq!(proxy.get("/a").await.x_cache(), "REFRESH");
    assert_eq!(proxy.get("/a").await.x_cache(), "HIT");
    assert_eq!(proxy.get_with("/a", "X-Theme: dark\r\n").await.body, "dark");
}

#[tokio::test]
async fn a_head_updates_the_stored_response_or_ends_it() {
    let origin = Origin::start().await;
    let updated = "HTTP/1.1 200 OK\r\nCache-Control: max-age=90\r\nETag: \"v1\"\r\nContent-Length: 5\r\nX-New: 1\r\n\r\n";
    let changed = "HTTP/1.1 200 OK\r\nCache-Control: max-age=90\r\nETag: \"v2\"\r\nContent-Length: 5\r\n\r\n";
    origin.on("/a", [Reply::ok(TAGGED, "hello"), Reply::raw(updated)]);
    origin.on("/b", [Reply::ok(TAGGED, "hello"), Reply::raw(changed), Reply::ok(TAGGED, "other")]);
    let proxy = Proxy::in_front_of(&origin).await;
    for target in ["/a", "/b"] {
        proxy.get(target).await;
    }
    proxy.later(61);
    for target in ["/a", "/b"] {
        assert_eq!(proxy.request("HEAD", target, "", "").await.status, 200);
    }
    let same = proxy.get("/a").await;
    assert_eq!(
        (same.x_cache().as_str(), same.body.as_str(), same.field("x-new").as_str()),
        ("HIT", "hello", "1")
    );
    let other = proxy.get("/b").await;
    assert_eq!((other.x_cache().as_str(), other.body.as_str()), ("MISS", "other"));
}

#[tokio::test]
async fn a_cookie_that_comes_with_a_304_is_for_the_client_that_asked() {
    let origin = Origin::start().await;
    let confirmed =
        "HTTP/1.1 304 Not Modified\r\nCache-Control: max-age=60\r\nETag: \"v1\"\r\nSet-Cookie: sid=2\r\n\r\n";
    origin.on("/a", [Reply::ok(TAGGED, "hello"), Reply::raw(confirmed)]);
    let proxy = Proxy::in_front_of(&origin).await;
    proxy.get("/a").await;
    proxy.later(61);
    assert_eq!(proxy.get("/a").await.field("set-cookie"), "sid=2");
    let next = proxy.get("/a").await;
    assert_eq!((next.x_cache().as_str(), next.field("set-cookie").as_str()), ("HIT", ""));
}
