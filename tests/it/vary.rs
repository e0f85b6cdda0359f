//! Variants: one key, several stored responses (RFC 9111 §4.1).

use crate::support::{Origin, Proxy, Reply};

/// What the origin sees there is written by the proxy, and not in what the next client sends.
#[tokio::test]
async fn what_depends_on_who_sent_the_request_is_not_stored() {
    for (name, word) in [("X-Forwarded-For", "MISS"), ("forwarded", "MISS"), ("X-Forwarded-Proto", "HIT")] {
        let origin = Origin::start().await;
        origin.on("/a", [Reply::ok(&format!("Cache-Control: max-age=60\r\nVary: {name}\r\n"), "hello")]);
        let proxy = Proxy::in_front_of(&origin).await;
        proxy.get("/a").await;
        assert_eq!(proxy.get("/a").await.x_cache(), word, "{name}");
    }
}

#[tokio::test]
async fn each_language_has_its_own_variant() {
    let origin = Origin::start().await;
    let fields = "Cache-Control: max-age=60\r\nVary: Accept-Language\r\n";
    origin.on("/a", [Reply::ok(fields, "hello"), Reply::ok(fields, "bonjour")]);
    let proxy = Proxy::in_front_of(&origin).await;
    assert_eq!(proxy.get_with("/a", "Accept-Language: en\r\n").await.body, "hello");
    let french = proxy.get_with("/a", "Accept-Language: fr\r\n").await;
    assert_eq!(french.body, "bonjour");
    assert!(french.field("cache-status").contains("fwd=vary-miss"), "{french:?}");
    for (language, body) in [("en", "hello"), ("fr", "bonjour")] {
        let response = proxy.get_with("/a", &format!("Accept-Language: {language}\r\n")).await;
        assert_eq!((response.x_cache().as_str(), response.body.as_str()), ("HIT", body));
    }
}

#[tokio::test]
async fn a_key_that_normalises_the_language_makes_one_entry_of_many_headers() {
    let origin = Origin::start().await;
    origin.on("/a", [Reply::ok("Cache-Control: max-age=60\r\n", "hello")]);
    let yaml = "keys:\n  page:\n    fields:\n      path: { path: rest }\n      lang: { header: accept-language, normalize: { language: [en, fr] } }\n\
                routes:\n  - { name: all, match: { path: \"/{*rest}\" }, upstream: app, cache: { key: page } }\n";
    let proxy = Proxy::with_yaml(&origin, yaml).await;
    proxy.get_with("/a", "Accept-Language: en-GB,en;q=0.9\r\n").await;
    assert_eq!(proxy.get_with("/a", "Accept-Language: de, en;q=0.5\r\n").await.x_cache(), "HIT");
    assert_eq!(proxy.get_with("/a", "Accept-Language: fr\r\n").await.x_cache(), "MISS");
}

#[tokio::test]
async fn a_field_that_goes_no_further_chooses_no_variant() {
    let origin = Origin::start().await;
    let fields = "Cache-Control: max-age=60\r\nVary: X-Theme\r\n";
    origin.on("/a", [Reply::ok(fields, "plain"), Reply::ok(fields, "dark")]);
    let proxy = Proxy::in_front_of(&origin).await;
    let hidden = "Connection: x-theme\r\nX-Theme: dark\r\n";
    assert_eq!(proxy.get_with("/a", hidden).await.body, "plain", "the origin never saw the theme");
    assert_eq!(proxy.get_with("/a", "X-Theme: dark\r\n").await.body, "dark");
    assert_eq!(proxy.get("/a").await.body, "plain");
}
