//! Fields aimed at caches such as this one (RFC 9213, Surrogate-Control).

use crate::support::{Origin, Proxy, Reply};

const STALE: &str = "HTTP/1.1 304 Not Modified\r\nETag: \"v1\"\r\n";

fn all(settings: &str) -> String {
    format!("{settings}routes:\n  - {{ name: all, match: {{ path: \"/{{*rest}}\" }}, upstream: app }}\n")
}

#[tokio::test]
async fn a_targeted_field_takes_the_place_of_cache_control_and_expires() {
    let origin = Origin::start().await;
    let fields = "Cache-Control: no-store\r\nExpires: 0\r\nCDN-Cache-Control: max-age=60\r\n";
    origin.on("/a", [Reply::ok(fields, "hello")]);
    let proxy = Proxy::in_front_of(&origin).await;
    proxy.get("/a").await;
    let second = proxy.get("/a").await;
    assert_eq!(second.field("cache-status"), "staleproof; hit; ttl=60");
    assert_eq!(
        (second.field("cache-control").as_str(), second.field("cdn-cache-control").as_str()),
        ("no-store", "max-age=60")
    );
}

#[tokio::test]
async fn a_malformed_one_says_nothing_and_ours_goes_before_others() {
    let origin = Origin::start().await;
    let both = "Staleproof-Cache-Control: max-age=9\r\nCDN-Cache-Control: max-age=60\r\n";
    origin.on("/both", [Reply::ok(both, "hello")]);
    origin.on("/bad", [Reply::ok("Cache-Control: max-age=60\r\nCDN-Cache-Control: no-store,,\r\n", "hello")]);
    let proxy = Proxy::in_front_of(&origin).await;
    for (target, ttl) in [("/both", 9), ("/bad", 60)] {
        proxy.get(target).await;
        assert_eq!(proxy.get(target).await.field("cache-status"), format!("staleproof; hit; ttl={ttl}"));
    }
}

#[tokio::test]
async fn ours_reaches_nobody_and_still_decides_after_a_validation() {
    let origin = Origin::start().await;
    let fields = "Cache-Control: no-store\r\nStaleproof-Cache-Control: max-age=60\r\nETag: \"v1\"\r\n";
    origin.on("/a", [Reply::ok(fields, "hello"), Reply::raw(format!("{STALE}\r\n"))]);
    let proxy = Proxy::in_front_of(&origin).await;
    for word in ["MISS", "HIT", "REFRESH", "HIT"] {
        let response = proxy.get("/a").await;
        assert_eq!(
            (response.x_cache().as_str(), response.field("staleproof-cache-control").as_str()),
            (word, "")
        );
        proxy.later(if word == "HIT" { 61 } else { 0 });
    }
}

#[tokio::test]
async fn a_validation_may_change_it() {
    let origin = Origin::start().await;
    let fields = "CDN-Cache-Control: max-age=60\r\nETag: \"v1\"\r\n";
    origin.on(
        "/a",
        [Reply::ok(fields, "hello"), Reply::raw(format!("{STALE}CDN-Cache-Control: max-age=9\r\n\r\n"))],
    );
    let proxy = Proxy::in_front_of(&origin).await;
    proxy.get("/a").await;
    proxy.later(61);
    proxy.get("/a").await;
    assert_eq!(proxy.get("/a").await.field("cache-status"), "staleproof; hit; ttl=9");
}

#[tokio::test]
async fn who_does_not_want_them_hears_none() {
    let origin = Origin::start().await;
    origin.on("/a", [Reply::ok("Cache-Control: max-age=60\r\nCDN-Cache-Control: no-store\r\n", "hello")]);
    let proxy = Proxy::with_yaml(&origin, &all("targeted_fields: []\n")).await;
    proxy.get("/a").await;
    assert_eq!(proxy.get("/a").await.x_cache(), "HIT");
}

#[tokio::test]
async fn surrogate_control_is_heard_where_it_is_named() {
    let origin = Origin::start().await;
    let fields = "Cache-Control: no-store\r\nSurrogate-Control: max-age=60+30, content=\"ESI/1.0\"\r\n";
    origin.on("/a", [Reply::ok(fields, "hello")]);
    let proxy = Proxy::with_yaml(&origin, &all("targeted_fields: [Surrogate-Control]\n")).await;
    for word in ["MISS", "HIT", "STALE"] {
        let response = proxy.get("/a").await;
        assert_eq!((response.x_cache().as_str(), response.field("surrogate-control").as_str()), (word, ""));
        proxy.later(if word == "HIT" { 70 } else { 0 });
    }
    let asked = &origin.requests()[0].to_lowercase();
    assert!(asked.contains("surrogate-capability: staleproof=\"surrogate/1.0\""), "{asked}");

    let deaf = Proxy::in_front_of(&origin).await;
    deaf.get("/a").await;
    let second = deaf.get("/a").await;
    assert_eq!(second.x_cache(), "MISS");
    assert!(second.field("surrogate-control").starts_with("max-age=60+30"), "it is for somebody else");
}
