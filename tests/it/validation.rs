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
