//! What is answered from the store, for how long, and what the answer says of it.

use crate::support::{Origin, Proxy, Reply};

const FRESH: &str = "Cache-Control: max-age=60\r\n";

#[tokio::test]
async fn the_second_request_is_answered_from_the_store() {
    let origin = Origin::start().await;
    origin.on("/a", [Reply::ok(FRESH, "hello")]);
    let proxy = Proxy::in_front_of(&origin).await;
    let first = proxy.get("/a").await;
    assert_eq!((first.x_cache().as_str(), first.body.as_str()), ("MISS", "hello"));
    assert_eq!(first.field("cache-status"), "staleproof; fwd=uri-miss; fwd-status=200; stored; ttl=60");
    let second = proxy.get("/a").await;
    assert_eq!((second.x_cache().as_str(), second.body.as_str()), ("HIT", "hello"));
    assert_eq!(second.field("cache-status"), "staleproof; hit; ttl=60");
    assert_eq!(second.field("content-length"), "5");
    assert_eq!(origin.count(), 1);
}

#[tokio::test]
async fn a_stored_response_says_its_age_and_when_it_was_cached() {
    let origin = Origin::start().await;
    origin.on("/a", [Reply::ok(FRESH, "hello")]);
    let proxy = Proxy::in_front_of(&origin).await;
    let first = proxy.get("/a").await;
    proxy.later(20);
    let second = proxy.get("/a").await;
    assert_eq!(second.field("age"), "20");
    assert_eq!(second.field("date"), first.field("date"));
    assert_eq!(second.field("x-cached-at"), first.field("x-cached-at"));
    assert_eq!(second.field("x-cache-reset-at"), first.field("x-cache-reset-at"));
    assert!(second.field("x-cached-at") < second.field("x-cache-reset-at"));
    assert!(second.field("x-cached-at").ends_with('Z'));
}

#[tokio::test]
async fn a_response_is_not_reused_once_its_lifetime_is_over() {
    let origin = Origin::start().await;
    origin.on("/a", [Reply::ok(FRESH, "old"), Reply::ok(FRESH, "new")]);
    let proxy = Proxy::in_front_of(&origin).await;
    proxy.get("/a").await;
    proxy.later(61);
    let second = proxy.get("/a").await;
    assert_eq!(second.body, "new");
    assert!(second.field("cache-status").contains("fwd=stale"), "{second:?}");
}

#[tokio::test]
async fn what_the_origin_forbids_to_store_is_not_stored() {
    for fields in [
        "Cache-Control: no-store\r\n",
        "Cache-Control: private, max-age=60\r\n",
        "Cache-Control: max-age=60\r\nSet-Cookie: a=b\r\n",
        "Cache-Control: max-age=60\r\nVary: *\r\n",
        "",
    ] {
        let origin = Origin::start().await;
        origin.on("/a", [Reply::ok(fields, "hello")]);
        let proxy = Proxy::in_front_of(&origin).await;
        proxy.get("/a").await;
        let second = proxy.get("/a").await;
        assert_eq!(second.x_cache(), "MISS", "{fields}");
        assert!(second.field("cache-status").contains("detail="), "{second:?}");
        assert_eq!(origin.count(), 2, "{fields}");
    }
}

#[tokio::test]
async fn what_one_user_may_see_is_not_shown_to_another() {
    let origin = Origin::start().await;
    origin.on("/a", [Reply::ok(FRESH, "of alice"), Reply::ok(FRESH, "of bob")]);
    let proxy = Proxy::in_front_of(&origin).await;
    assert_eq!(proxy.get_with("/a", "Authorization: Bearer alice\r\n").await.body, "of alice");
    assert_eq!(proxy.get_with("/a", "Authorization: Bearer bob\r\n").await.body, "of bob");
}

#[tokio::test]
async fn hosts_share_nothing() {
    let origin = Origin::start().await;
    origin.on("/a", [Reply::ok(FRESH, "one"), Reply::ok(FRESH, "two")]);
    let proxy = Proxy::in_front_of(&origin).await;
    assert_eq!(proxy.get("/a").await.body, "one");
    let other = crate::support::send(proxy.address, "GET /a HTTP/1.1\r\nHost: b.test\r\n\r\n").await;
    assert_eq!(other.body, "two");
}

#[tokio::test]
async fn head_is_answered_from_a_stored_get() {
    let origin = Origin::start().await;
    origin.on("/a", [Reply::ok(FRESH, "hello")]);
    let proxy = Proxy::in_front_of(&origin).await;
    proxy.get("/a").await;
    let head = proxy.request("HEAD", "/a", "", "").await;
    assert_eq!((head.x_cache().as_str(), head.field("content-length").as_str()), ("HIT", "5"));
    assert_eq!(origin.count(), 1);
}

#[tokio::test]
async fn a_chunked_response_is_stored_whole_and_sent_with_its_length() {
    let origin = Origin::start().await;
    origin.on(
        "/a",
        [Reply::raw("HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")],
    );
    let proxy = Proxy::in_front_of(&origin).await;
    assert_eq!(proxy.get("/a").await.body, "hello");
    let second = proxy.get("/a").await;
    assert_eq!((second.x_cache().as_str(), second.field("content-length").as_str()), ("HIT", "5"));
    assert_eq!(second.body, "hello");
}

#[tokio::test]
async fn an_empty_response_is_stored_like_any_other() {
    let origin = Origin::start().await;
    origin.on("/a", [Reply::raw("HTTP/1.1 204 No Content\r\nCache-Control: max-age=60\r\n\r\n")]);
    let proxy = Proxy::in_front_of(&origin).await;
    proxy.get("/a").await;
    let second = proxy.get("/a").await;
    assert_eq!((second.status, second.x_cache().as_str()), (204, "HIT"));
}

#[tokio::test]
async fn only_if_cached_never_reaches_the_origin() {
    let origin = Origin::start().await;
    let proxy = Proxy::in_front_of(&origin).await;
    let response = proxy.get_with("/a", "Cache-Control: only-if-cached\r\n").await;
    assert_eq!(response.status, 504);
    assert_eq!(origin.count(), 0);
}

#[tokio::test]
async fn the_route_may_say_how_long() {
    let origin = Origin::start().await;
    origin.on("/a", [Reply::ok("", "hello")]);
    origin.on("/b", [Reply::status("500 Internal Server Error", "", "oops")]);
    let routes = "  - { name: all, match: { path: \"/{*rest}\" }, upstream: app, cache: { ttl: 5m } }\n";
    let proxy = Proxy::with_routes(&origin, routes).await;
    proxy.get("/a").await;
    assert_eq!(proxy.get("/a").await.field("cache-status"), "staleproof; hit; ttl=300");
    proxy.get("/b").await;
    assert_eq!(proxy.get("/b").await.x_cache(), "MISS", "an error is not kept because a route has a default");
}

#[tokio::test]
async fn a_route_with_the_cache_off_stores_nothing() {
    let origin = Origin::start().await;
    origin.on("/a", [Reply::ok(FRESH, "hello")]);
    let routes = "  - { name: all, match: { path: \"/{*rest}\" }, upstream: app, cache: off }\n";
    let proxy = Proxy::with_routes(&origin, routes).await;
    proxy.get("/a").await;
    let second = proxy.get("/a").await;
    assert_eq!(second.x_cache(), "BYPASS");
    assert_eq!(second.field("cache-status"), "staleproof; fwd=bypass; fwd-status=200");
    assert_eq!(origin.count(), 2);
}

/// RFC 9110 §6.6.1.
#[tokio::test]
async fn a_date_that_nobody_can_read_gives_way_to_that_of_its_receipt() {
    let origin = Origin::start().await;
    origin.on("/a", [Reply::ok("Cache-Control: max-age=60\r\nDate: garbage\r\n", "hello")]);
    let proxy = Proxy::in_front_of(&origin).await;
    let first = proxy.get("/a").await.field("date");
    assert!(first.ends_with(" GMT"), "{first}");
    proxy.later(10);
    let second = proxy.get("/a").await;
    assert_eq!((second.field("date"), second.field("age").as_str()), (first, "10"));
}

#[tokio::test]
async fn tracking_parameters_make_no_difference_where_the_route_says_so() {
    let origin = Origin::start().await;
    origin.on("/a?b=2&a=1", [Reply::ok(FRESH, "hello")]);
    let routes =
        "  - { name: all, match: { path: \"/{*rest}\" }, upstream: app, cache: { drop_tracking: true } }\n";
    let proxy = Proxy::with_routes(&origin, routes).await;
    proxy.get("/a?utm_source=x&b=2&a=1").await;
    assert_eq!(proxy.get("/a?a=1&b=2&gclid=y").await.x_cache(), "HIT");
    assert_eq!(origin.count(), 1);
}

/// It would be stored for all who send it otherwise: what it puts on a page, or does to its origin.
#[tokio::test]
async fn what_the_key_leaves_out_of_the_query_does_not_reach_the_origin() {
    let origin = Origin::start().await;
    origin.on("/t/a", [Reply::ok(FRESH, "hello")]);
    origin.on(
        "/k/a?page=2",
        [
            Reply::ok("Cache-Control: max-age=60\r\nETag: \"1\"\r\n", "two"),
            Reply::raw("HTTP/1.1 304 Not Modified\r\n\r\n"),
        ],
    );
    let proxy = Proxy::with_yaml(
        &origin,
        "keys: { k: { fields: { path: { whole_path: true }, page: { query: page } } } }\nroutes:\n  \
           - { name: t, match: { path: \"/t/{*rest}\" }, upstream: app, cache: { drop_tracking: true } }\n  \
           - { name: k, match: { path: \"/k/{*rest}\" }, upstream: app, cache: { key: k } }\n",
    )
    .await;
    let too_long = format!("/t/a?utm_x={}", "A".repeat(4000));
    for (target, word) in [("/t/a?utm_content=x;callback=evil", "MISS"), (&too_long, "HIT"), ("/t/a", "HIT")]
    {
        let response = proxy.get(target).await;
        assert_eq!((response.status, response.x_cache().as_str()), (200, word), "{target}");
    }
    assert!(origin.last().starts_with("GET /t/a HTTP/1.1\r\n"), "{}", origin.last());
    assert_eq!(proxy.get("/k/a?evil=1&page=2&evil").await.x_cache(), "MISS");
    proxy.later(100);
    assert_eq!(proxy.get("/k/a?page=2&evil=2").await.x_cache(), "REFRESH");
    assert!(!origin.requests().iter().any(|request| request.contains("evil")), "{:?}", origin.requests());
    proxy.get_with("/t/a?utm_x=evil&b", "Range: bytes=0-1\r\n").await;
    assert!(origin.last().starts_with("GET /t/a?b "), "{}", origin.last());
    // What is not stored is no danger to others.
    proxy.request("POST", "/k/a?page=2&form=1", "", "x").await;
    assert!(origin.last().starts_with("POST /k/a?page=2&form=1 "), "{}", origin.last());
}

#[tokio::test]
async fn status_fields_are_shown_to_those_they_are_meant_for() {
    let origin = Origin::start().await;
    origin.on("/a", [Reply::ok(FRESH, "hello")]);
    let routes = "  - { name: all, match: { path: \"/{*rest}\" }, upstream: app, status_fields: { show_to: token_holders, cached_at: false } }\n";
    let proxy = Proxy::with_routes(&origin, routes).await;
    let stranger = proxy.get("/a").await;
    assert_eq!((stranger.x_cache(), stranger.field("cache-status")), (String::new(), String::new()));
    let holder = proxy.get_with("/a", "Staleproof-Token: test-token\r\n").await;
    assert_eq!((holder.x_cache().as_str(), holder.field("x-cached-at").as_str()), ("HIT", ""));
    assert!(!origin.last().to_lowercase().contains("staleproof-token"), "the token stays here");
}

#[tokio::test]
async fn an_object_over_the_limit_is_passed_on_and_not_kept() {
    let origin = Origin::start().await;
    let large = "x".repeat(3000);
    let chunked = format!(
        "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\n\r\nbb8\r\n{large}\r\n0\r\n\r\n"
    );
    origin.on("/known", [Reply::ok(FRESH, &large)]);
    origin.on("/unknown", [Reply::raw(chunked)]);
    let yaml = "store: { memory: { capacity: 1MiB, max_object: 2KiB } }\n\
                routes:\n  - { name: all, match: { path: \"/{*rest}\" }, upstream: app }\n";
    let proxy = Proxy::with_yaml(&origin, yaml).await;
    for target in ["/known", "/unknown"] {
        for _ in 0..2 {
            let response = proxy.get(target).await;
            assert_eq!((response.x_cache().as_str(), response.body.len()), ("MISS", 3000), "{target}");
        }
    }
}

#[tokio::test]
async fn fields_that_are_private_are_for_one_client_and_the_rest_for_all() {
    let origin = Origin::start().await;
    let fields = "Cache-Control: max-age=60, private=\"X-User\", no-cache=\"set-cookie\"\r\n\
                  X-User: ann\r\nSet-Cookie: sid=1\r\nX-Page: 1\r\n";
    origin.on("/a", [Reply::ok(fields, "hello")]);
    let proxy = Proxy::in_front_of(&origin).await;
    let first = proxy.get("/a").await;
    assert_eq!((first.field("x-user").as_str(), first.field("set-cookie").as_str()), ("ann", "sid=1"));
    let second = proxy.get("/a").await;
    assert_eq!((second.x_cache().as_str(), second.field("x-page").as_str()), ("HIT", "1"));
    assert_eq!((second.field("x-user").as_str(), second.field("set-cookie").as_str()), ("", ""));
}

#[tokio::test]
async fn in_its_liberal_setting_the_cache_stores_all_that_the_rfc_allows() {
    let routes = "routes:\n  - { name: all, match: { path: \"/{*rest}\" }, upstream: app }\n  \
                  - { name: safe, match: { path: \"/safe/{*rest}\" }, upstream: app, cache: { compliance: safe } }\n";
    let origin = Origin::start().await;
    let cookie = Reply::ok("Cache-Control: max-age=60\r\nSet-Cookie: a=b\r\n", "hello");
    let endless = Reply::raw("HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\n\r\nhello").close();
    for (target, reply) in
        [("/cookie", &cookie), ("/safe/cookie", &cookie), ("/endless", &endless), ("/safe/endless", &endless)]
    {
        origin.on(target, [reply.clone()]);
    }
    let proxy = Proxy::with_yaml(&origin, &format!("compliance: rfc9111\n{routes}")).await;
    for (target, word) in
        [("/cookie", "HIT"), ("/safe/cookie", "MISS"), ("/endless", "HIT"), ("/safe/endless", "MISS")]
    {
        proxy.get(target).await;
        let second = proxy.get(target).await;
        assert_eq!((second.x_cache().as_str(), second.body.as_str()), (word, "hello"), "{target}");
    }
}
