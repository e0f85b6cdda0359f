//! What is stored is fetched again by command, without its clients.

use crate::support::{Gate, Origin, Proxy, Reply};
use serde_json::Value;

const TAGGED: &str = "Cache-Control: max-age=60\r\nCache-Tag: news\r\n";

/// Has what the body names refreshed; what came of it.
async fn refresh(proxy: &Proxy, body: &str) -> Value {
    let response = proxy.admin_post("/v1/refresh", body).await;
    assert_eq!(response.status, 202, "{response:?}");
    let path = response.field("location");
    loop {
        let progress: Value = serde_json::from_str(&proxy.admin("GET", &path, "").await.body).unwrap();
        if progress["state"] == "done" {
            return progress;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn every_variant_is_asked_for_as_its_client_did() {
    let origin = Origin::start().await;
    let varied = format!("{TAGGED}Vary: Accept-Language\r\n");
    let replies = ["old", "old", "new", "new"].map(|body| Reply::ok(&varied, body));
    origin.on("/a?x=1", replies);
    origin.on("/b", [Reply::ok("Cache-Control: max-age=60\r\n", "other")]);
    let proxy = Proxy::in_front_of(&origin).await;
    for language in ["en", "fr"] {
        proxy.get_with("/a?x=1", &format!("Accept-Language: {language}\r\nX-Own: secret\r\n")).await;
    }
    proxy.get("/b").await;
    let progress = refresh(&proxy, r#"{"tag": "news"}"#).await;
    assert_eq!((&progress["total"], &progress["warmed"]), (&2.into(), &2.into()), "{progress}");
    let mut asked: Vec<_> = origin.requests().split_off(3);
    asked.sort();
    for (request, language) in asked.iter().zip(["en", "fr"]) {
        assert!(request.starts_with("GET /a?x=1 HTTP/1.1"), "{request}");
        assert!(request.contains(&format!("accept-language: {language}\r\n")), "{request}");
        assert!(!request.contains("secret") && request.contains("(refresh)"), "{request}");
    }
    for language in ["en", "fr"] {
        let hit = proxy.get_with("/a?x=1", &format!("Accept-Language: {language}\r\n")).await;
        assert_eq!((hit.body.as_str(), hit.x_cache().as_str()), ("new", "HIT"));
    }
    assert_eq!(origin.count(), 5);
}

#[tokio::test]
async fn what_is_stored_is_served_until_the_new_is_there() {
    let origin = Origin::start().await;
    let gate = Gate::closed();
    origin.on("/a", [Reply::ok(TAGGED, "old"), Reply::ok(TAGGED, "new").after(&gate)]);
    let proxy = Proxy::in_front_of(&origin).await;
    proxy.get("/a").await;
    let response = proxy.admin_post("/v1/refresh", r#"{"url": "http://a.test/a"}"#).await;
    assert_eq!(response.status, 202);
    proxy.until("fetches", 1).await;
    let hit = proxy.get("/a").await;
    assert_eq!((hit.body.as_str(), hit.x_cache().as_str()), ("old", "HIT"));
    gate.open();
    while proxy.get("/a").await.body != "new" {}
}

#[tokio::test]
async fn what_is_purged_as_well_is_not() {
    let origin = Origin::start().await;
    let gate = Gate::closed();
    origin.on("/a", [Reply::ok(TAGGED, "old"), Reply::ok(TAGGED, "new").after(&gate)]);
    let proxy = Proxy::in_front_of(&origin).await;
    proxy.get("/a").await;
    proxy.admin_post("/v1/refresh", r#"{"tag": "news", "purge": true}"#).await;
    proxy.until("fetches", 1).await;
    let (response, ()) = tokio::join!(proxy.get("/a"), async {
        // The client waits for the very fetch that the command has caused.
        proxy.until("waiting", 1).await;
        gate.open();
    });
    assert_eq!(response.body, "new");
    assert_eq!(origin.count(), 2);
}

#[tokio::test]
async fn what_the_origin_confirms_stays_and_what_it_fails_to_answer_stays_too() {
    let origin = Origin::start().await;
    let tagged = format!("{TAGGED}ETag: \"v1\"\r\n");
    let confirmed = Reply::raw(format!("HTTP/1.1 304 Not Modified\r\n{tagged}\r\n"));
    origin.on("/a", [Reply::ok(&tagged, "same"), confirmed]);
    origin.on("/b", [Reply::ok(TAGGED, "old"), Reply::status("503 Service Unavailable", "", "")]);
    let proxy = Proxy::in_front_of(&origin).await;
    proxy.get("/a").await;
    proxy.get("/b").await;
    proxy.later(30);
    let progress = refresh(&proxy, r#"{"tag": "news"}"#).await;
    assert_eq!((&progress["warmed"], &progress["failed"]), (&1.into(), &1.into()), "{progress}");
    assert_eq!(progress["failures"][0]["url"], "http://a.test/b");
    let hit = proxy.get("/a").await;
    assert_eq!((hit.x_cache().as_str(), hit.field("age").as_str()), ("HIT", "0"));
    let hit = proxy.get("/b").await;
    assert_eq!((hit.x_cache().as_str(), hit.field("age").as_str()), ("HIT", "30"));
}

#[tokio::test]
async fn of_the_cookies_only_those_that_the_key_has_are_kept() {
    let origin = Origin::start().await;
    origin.on("/a", [Reply::ok(TAGGED, "dark")]);
    let routes = "  - { name: all, match: { path: /a }, upstream: app, cache: { key: { fields: { theme: { cookie: theme } } } } }\n";
    let proxy = Proxy::with_routes(&origin, routes).await;
    proxy.get_with("/a", "Cookie: session=secret; theme=dark; b=c\r\n").await;
    assert_eq!(refresh(&proxy, r#"{"tag": "news"}"#).await["warmed"], 1);
    assert!(origin.last().contains("cookie: theme=dark\r\n"), "{}", origin.last());
    assert_eq!(proxy.get_with("/a", "Cookie: theme=dark\r\n").await.x_cache(), "HIT");
}

#[tokio::test]
async fn a_query_is_asked_again_with_its_content() {
    let origin = Origin::start().await;
    origin.on("/a", [Reply::ok(TAGGED, "old"), Reply::ok(TAGGED, "new")]);
    let routes = "  - { name: all, match: { path: /a }, upstream: app, cache: { query: {} } }\n";
    let proxy = Proxy::with_routes(&origin, routes).await;
    let fields = "Content-Type: text/plain\r\n";
    proxy.request("QUERY", "/a", fields, "what?").await;
    let progress = refresh(&proxy, r#"{"tag": "news"}"#).await;
    assert_eq!(progress["warmed"], 1, "{progress}");
    let hit = proxy.request("QUERY", "/a", fields, "what?").await;
    assert_eq!((hit.body.as_str(), hit.x_cache().as_str()), ("new", "HIT"));
}

#[tokio::test]
async fn what_depends_on_credentials_is_left_out_and_told() {
    let origin = Origin::start().await;
    let varied = "Cache-Control: public, max-age=60\r\nCache-Tag: news\r\nVary: Authorization\r\n";
    origin.on("/a", [Reply::ok(varied, "own")]);
    let proxy = Proxy::in_front_of(&origin).await;
    proxy.get_with("/a", "Authorization: Basic eDp5\r\n").await;
    let progress = refresh(&proxy, r#"{"tag": "news"}"#).await;
    assert_eq!((&progress["total"], &progress["left_out"]), (&0.into(), &1.into()), "{progress}");
    assert_eq!(origin.count(), 1);
}

#[tokio::test]
async fn the_most_popular_come_first() {
    let origin = Origin::start().await;
    for target in ["/a", "/b", "/c"] {
        origin.on(target, [Reply::ok(TAGGED, "x")]);
    }
    let proxy = Proxy::in_front_of(&origin).await;
    let mut client = proxy.connect().await;
    for (target, number) in [("/a", 1), ("/b", 1000), ("/c", 200)] {
        for _ in 0..number {
            client.write(format!("GET {target} HTTP/1.1\r\nHost: a.test\r\n\r\n")).await;
            client.response().await;
        }
    }
    refresh(&proxy, r#"{"everything": true, "concurrency": 1}"#).await;
    let asked: Vec<_> = origin.requests().split_off(3);
    let targets: Vec<_> = asked.iter().map(|request| request.split(' ').nth(1).unwrap()).collect();
    assert_eq!(targets, ["/b", "/c", "/a"]);
}

#[tokio::test]
async fn what_cannot_be_refreshed_is_refused_with_what_to_do() {
    let origin = Origin::start().await;
    let proxy = Proxy::in_front_of(&origin).await;
    for (body, hint) in [
        ("{}", "exactly one"),
        (r#"{"tag": "a", "concurrency": "x"}"#, "is a number"),
        (r#"{"tag": "a", "concurrency": 0}"#, "from 1 to"),
        (r#"{"tag": "a", "purge": "hard"}"#, "true or false"),
        (r#"{"route": "none"}"#, "none"),
    ] {
        let response = proxy.admin_post("/v1/refresh", body).await;
        assert!(
            (400..500).contains(&response.status) && response.body.contains(hint),
            "{body}: {response:?}"
        );
    }
}
