//! Purges as other systems ask for them, on the admin listener and where a route allows it.

use crate::support::{Origin, Proxy, Reply, Response, send};

const FRESH: &str = "Cache-Control: max-age=600\r\nCache-Tag: a\r\n";
const BEARER: &str = "Authorization: Bearer test-token\r\n";
const WRONG: &str = "Authorization: Bearer no-token\r\n";

fn route(more: &str) -> String {
    format!("  - {{ name: all, match: {{ path: \"/{{*rest}}\", method: GET }}, upstream: app{more} }}\n")
}

/// `/a` is stored.
async fn stored(more: &str) -> (Origin, Proxy) {
    let origin = Origin::start().await;
    origin.on("/a", [Reply::ok(FRESH, "old"), Reply::ok(FRESH, "new")]);
    let proxy = Proxy::with_routes(&origin, &route(more)).await;
    proxy.get("/a").await;
    assert_eq!(proxy.get("/a").await.body, "old");
    (origin, proxy)
}

async fn admin(proxy: &Proxy, method: &str, target: &str, fields: &str, body: &str) -> Response {
    let length = body.len();
    let head = format!("{method} {target} HTTP/1.1\r\nHost: a.test\r\n{fields}Content-Length: {length}");
    send(proxy.admin, &format!("{head}\r\n\r\n{body}")).await
}

#[tokio::test]
async fn the_admin_listener_is_purged_by_each_with_a_token() {
    for (method, target, fields, body, status) in [
        ("PURGE", "/a", "", "", 200),
        ("PURGE", "/metrics", "xkey-purge: b a\r\n", "", 200),
        ("BAN", "/", "X-Magento-Tags-Pattern: ((^|,)a(,|$))\r\n", "", 200),
        ("BAN", "/", "X-Host: ^a.test$\r\nX-Url: ^/\r\n", "", 200),
        ("GET", "/purge/a", "", "", 200),
        ("POST", "/service/x/purge/a", "", "", 200),
        (
            "POST",
            "/client/v4/zones/z/purge_cache",
            "Content-Type: application/json\r\n",
            r#"{"tags": ["a"]}"#,
            200,
        ),
        ("PURGE", "/souin-api/souin", "Surrogate-Key: a\r\n", "", 204),
    ] {
        let (_origin, proxy) = stored("").await;
        let refused = admin(&proxy, method, target, fields, body).await;
        assert_eq!(refused.status, 401, "{method} {target}: {refused:?}");
        assert_eq!(admin(&proxy, method, target, &format!("{fields}{WRONG}"), body).await.status, 401);
        assert_eq!(proxy.get("/a").await.body, "old");
        let answer = admin(&proxy, method, target, &format!("{fields}{BEARER}"), body).await;
        assert_eq!(answer.status, status, "{method} {target}: {answer:?}");
        assert_eq!(proxy.get("/a").await.body, "new", "{method} {target}");
    }
}

#[tokio::test]
async fn senders_hear_what_they_take_for_success() {
    let (_origin, proxy) = stored("").await;
    let json = |answer: Response| serde_json::from_str::<serde_json::Value>(&answer.body).unwrap();
    let soft = format!("{BEARER}Fastly-Soft-Purge: 1\r\n");
    let fastly = json(admin(&proxy, "POST", "/service/x/purge/none", &soft, "").await);
    assert_eq!(fastly["status"], "ok");
    let keys = format!("{BEARER}Surrogate-Key: b c\r\n");
    let several = json(admin(&proxy, "POST", "/service/x/purge", &keys, "").await);
    assert!(several["b"].is_string() && several["c"].is_string(), "{several}");
    let everything = r#"{"purge_everything": true}"#;
    let cloudflare = json(admin(&proxy, "POST", "/zones/z/purge_cache", BEARER, everything).await);
    assert_eq!((&cloudflare["success"], &cloudflare["result"]["id"]), (&true.into(), &"z".into()));
    let none = json(admin(&proxy, "PURGE", "/a", BEARER, "").await);
    assert_eq!(none["matched"], 0, "that nothing matched is said");
}

#[tokio::test]
async fn what_cannot_be_understood_purges_nothing() {
    let (_origin, proxy) = stored("").await;
    for (method, target, fields, body) in [
        ("BAN", "/", "X-Magento-Tags-Pattern: (((\r\n", ""),
        ("BAN", "/", "X-Cache-Tags: a.*b\r\n", ""),
        ("POST", "/zones/z/purge_cache", "", "{}"),
        ("POST", "/service/x/purge", "", "{\"surrogate_keys\": []}"),
        ("PURGE", "/souin-api/souin/%20", "", ""),
    ] {
        let answer = admin(&proxy, method, target, &format!("{fields}{BEARER}"), body).await;
        assert_eq!(answer.status, 400, "{method} {target} {fields}: {answer:?}");
        assert!(answer.body.contains("detail"), "{answer:?}");
    }
    let large = "x".repeat(2 << 20);
    assert_eq!(admin(&proxy, "POST", "/zones/z/purge_cache", BEARER, &large).await.status, 413);
    assert_eq!(proxy.get("/a").await.body, "old");
}

#[tokio::test]
async fn a_refresh_on_the_admin_listener_fetches_again() {
    let (origin, proxy) = stored("").await;
    let answer = admin(&proxy, "REFRESH", "/a", BEARER, "").await;
    assert_eq!(answer.status, 202, "{answer:?}");
    let asked_twice = || async {
        while origin.count() < 2 {
            tokio::task::yield_now().await;
        }
        while proxy.get("/a").await.body != "new" {}
    };
    tokio::time::timeout(std::time::Duration::from_secs(10), asked_twice()).await.unwrap();
}

#[tokio::test]
async fn the_app_hears_of_a_purge_unless_its_route_takes_it() {
    let origin = Origin::start().await;
    origin.on("/a", [Reply::ok("", "from the app")]);
    let routes = "  - { name: all, match: { path: \"/{*rest}\" }, upstream: app }\n";
    let proxy = Proxy::with_routes(&origin, routes).await;
    assert_eq!(proxy.request("PURGE", "/a", BEARER, "").await.body, "from the app");
}

#[tokio::test]
async fn where_a_route_allows_it_token_holders_purge_on_the_public_listener() {
    for (method, target, fields) in [
        ("PURGE", "/a", ""),
        ("PURGE", "/", "X-Cache-Tags: a\r\n"),
        ("BAN", "/", "X-Url: /a\r\n"),
        ("GET", "/purge/a", ""),
    ] {
        let (_origin, proxy) = stored(", purge_requests: {}").await;
        let status = if method == "GET" { 404 } else { 401 };
        for token in ["", WRONG] {
            let refused = proxy.request(method, target, &format!("{fields}{token}"), "").await;
            assert_eq!(refused.status, status, "{method} {target}: {refused:?}");
        }
        assert_eq!(proxy.get("/a").await.body, "old");
        let answer = proxy.request(method, target, &format!("{fields}{BEARER}"), "").await;
        assert_eq!(answer.status, 200, "{method} {target}: {answer:?}");
        assert!(answer.body.contains("\"matched\":1"), "{answer:?}");
        assert_eq!(proxy.get("/a").await.body, "new", "{method} {target}");
    }
}

#[tokio::test]
async fn some_addresses_need_no_token() {
    for (from, status, body) in [("127.0.0.0/8", 200, "new"), ("10.0.0.0/8", 401, "old")] {
        let (_origin, proxy) = stored(&format!(", purge_requests: {{ from: {from} }}")).await;
        assert_eq!(proxy.request("PURGE", "/a", "", "").await.status, status, "{from}");
        assert_eq!(proxy.get("/a").await.body, body, "{from}");
    }
}

#[tokio::test]
async fn a_refresh_brings_the_page_and_stores_it() {
    for (method, fields) in
        [("REFRESH", BEARER), ("GET", "Authorization: Bearer test-token\r\nX-Refresh: 1\r\n")]
    {
        let (origin, proxy) = stored(", purge_requests: {}").await;
        let answer = proxy.request(method, "/a", fields, "").await;
        assert_eq!((answer.status, &*answer.body), (200, "new"), "{method}");
        assert_eq!((&*proxy.get("/a").await.body, origin.count()), ("new", 2), "{method}");
    }
}
