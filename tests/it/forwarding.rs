//! What the origin sees, and what the client sees of it.

use crate::support::{Origin, Proxy, Reply};

fn line(request: &str, name: &str) -> String {
    let lines = request.lines().filter_map(|line| line.split_once(": "));
    let values: Vec<_> =
        lines.filter(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value).collect();
    values.join(" | ")
}

#[tokio::test]
async fn the_fields_of_one_hop_stay_on_it() {
    let origin = Origin::start().await;
    let reply = "Connection: x-private\r\nX-Private: 1\r\nKeep-Alive: timeout=5\r\nX-Public: 2\r\n";
    origin.on("/a", [Reply::ok(reply, "hello")]);
    let proxy = Proxy::in_front_of(&origin).await;
    let fields = "Connection: keep-alive, X-Hop\r\nX-Hop: 1\r\nTE: gzip\r\nUpgrade: h2c\r\nProxy-Connection: x\r\nX-End: 2\r\n";
    let response = proxy.get_with("/a", fields).await;
    let request = origin.last();
    for gone in ["x-hop", "te", "upgrade", "proxy-connection", "keep-alive"] {
        assert_eq!(line(&request, gone), "", "{gone}: {request}");
    }
    assert_eq!(line(&request, "x-end"), "2");
    assert_eq!((response.field("x-private"), response.field("x-public").as_str()), (String::new(), "2"));
    assert_eq!(response.field("keep-alive"), "");
}

/// RFC 8470 §5.1: the origin alone may say whether a request that may be a replay is too early.
#[tokio::test]
async fn a_request_in_early_data_is_known_as_one_and_425_is_for_it_alone() {
    let origin = Origin::start().await;
    let too_early = Reply::status("425 Too Early", "Cache-Control: max-age=60\r\n", "later");
    origin.on("/a", [too_early, Reply::ok("Cache-Control: max-age=60\r\n", "hello")]);
    let proxy = Proxy::in_front_of(&origin).await;
    let response = proxy.get_with("/a", "Early-Data: 1\r\nConnection: early-data\r\n").await;
    assert_eq!((response.status, response.body.as_str()), (425, "later"));
    assert_eq!(line(&origin.last(), "early-data"), "1");
    let response = proxy.get("/a").await;
    assert_eq!((response.status, response.x_cache().as_str()), (200, "MISS"));
    assert_eq!(line(&origin.last(), "early-data"), "");
}

#[tokio::test]
async fn incremental_is_passed_on_in_both_directions_and_stored() {
    let origin = Origin::start().await;
    origin.on("/a", [Reply::ok("Cache-Control: max-age=60\r\nIncremental: ?1\r\n", "hello")]);
    let proxy = Proxy::in_front_of(&origin).await;
    for word in ["MISS", "HIT"] {
        let response = proxy.get_with("/a", "Incremental: ?1\r\n").await;
        assert_eq!((response.x_cache().as_str(), response.field("incremental").as_str()), (word, "?1"));
    }
    assert_eq!(line(&origin.last(), "incremental"), "?1");
}

#[tokio::test]
async fn the_way_is_written_down() {
    let origin = Origin::start().await;
    origin.on("/a", [Reply::ok("Via: 1.1 app\r\n", "hello")]);
    let proxy = Proxy::in_front_of(&origin).await;
    let response = proxy.get_with("/a", "Via: 1.0 fred\r\n").await;
    assert_eq!(line(&origin.last(), "via"), "1.0 fred | 1.1 staleproof");
    assert_eq!(response.field("via"), "1.1 app, 1.1 staleproof");
}

#[tokio::test]
async fn a_stranger_cannot_say_where_it_comes_from() {
    let origin = Origin::start().await;
    origin.on("/a", [Reply::ok("", "hello")]);
    let proxy = Proxy::in_front_of(&origin).await;
    let lies = "X-Forwarded-For: 6.6.6.6\r\nForwarded: for=6.6.6.6\r\nX-Forwarded-Host: evil\r\nX-Forwarded-Proto: https\r\nX-Original-URL: /admin\r\nX-HTTP-Method-Override: DELETE\r\n";
    proxy.get_with("/a", lies).await;
    let request = origin.last();
    assert_eq!(line(&request, "x-forwarded-for"), "127.0.0.1");
    assert_eq!(line(&request, "forwarded"), "for=127.0.0.1;host=\"a.test\";proto=http");
    assert_eq!(line(&request, "x-forwarded-host"), "a.test");
    assert_eq!(line(&request, "x-forwarded-proto"), "http");
    assert!(!request.contains("admin") && !request.contains("DELETE"), "{request}");
}

/// What the app may take for the truth about a request must be what its key was built from.
#[tokio::test]
async fn a_client_claims_nothing_that_its_key_does_not_have() {
    const CLAIMS: &str = "X_Forwarded_Host X.Forwarded.Host Content_Length Transfer_Encoding X_HTTP_Method_Override \
        X-Forwarded X-Forwarded-Uri X-Forwarded-Method X-Forwarded-Prefix X-Forwarded-User X-Original-URI \
        X-Original-Method X-Rewrite-URL X-Host X-HTTP-Host-Override X-HTTP-Path-Override X-URL-Scheme \
        Front-End-HTTPS X-Script-Name Script-Name X-Middleware-Subrequest Proxy X-Real-IP True-Client-IP \
        CF-Connecting-IP Client-IP X-HTTP-Method Surrogate-Capability";
    let origin = Origin::start().await;
    origin.on("/a", [Reply::ok("", "hello")]);
    let proxy = Proxy::in_front_of(&origin).await;
    let lies: String = CLAIMS.split(' ').map(|name| format!("{name}: evil\r\n")).collect();
    for method in ["GET", "POST"] {
        let response = proxy.request(method, "/a", &format!("{lies}X-Requested-With: app\r\n"), "").await;
        assert_eq!(response.status, 200);
        let request = origin.last();
        assert!(!request.contains("evil"), "{request}");
        assert_eq!(line(&request, "x-requested-with"), "app");
    }
}

/// `routes:` for everything.
const EVERYTHING: &str = "routes:\n  - { name: all, match: { path: \"/{*rest}\" }, upstream: app }\n";

#[tokio::test]
async fn a_trusted_proxy_is_believed_on_the_client_and_its_scheme() {
    let origin = Origin::start().await;
    origin.on("/a", [Reply::ok("", "hello")]);
    let proxy = Proxy::with_sections(&origin, "  trusted_proxies: [127.0.0.0/8]\n", "", EVERYTHING).await;
    let fields = "X-Forwarded-For: 6.6.6.6, 203.0.113.9, 127.0.0.2\r\nX-Forwarded-Proto: https\r\nForwarded: for=x;host=evil\r\n";
    proxy.get_with("/a", fields).await;
    let request = origin.last();
    // What the client itself says of the way to it is hearsay.
    assert_eq!(line(&request, "x-forwarded-for"), "203.0.113.9, 127.0.0.2, 127.0.0.1");
    let forwarded = "for=203.0.113.9;host=\"a.test\";proto=https, for=127.0.0.2, for=127.0.0.1";
    assert_eq!(line(&request, "forwarded"), forwarded);
    assert_eq!(line(&request, "x-forwarded-proto"), "https");
}

/// It passes on what it does not know, and a client's claims with it.
#[tokio::test]
async fn a_trusted_proxy_claims_no_other_target_either() {
    let origin = Origin::start().await;
    origin.on("/a", [Reply::ok("Cache-Control: max-age=60\r\n", "hello")]);
    let proxy = Proxy::with_sections(&origin, "  trusted_proxies: [127.0.0.0/8]\n", "", EVERYTHING).await;
    let lies = "X-Forwarded-Host: evil\r\nX-Forwarded-Proto: nothttps\r\nX-Original-URL: /evil\r\n\
        X-HTTP-Method-Override: EVIL\r\nX-Rewrite-URL: /evil\r\nX-Forwarded-Prefix: /evil\r\n";
    proxy.get_with("/a", lies).await;
    let request = origin.last();
    assert!(!request.to_lowercase().contains("evil"), "{request}");
    assert_eq!(line(&request, "x-forwarded-host"), "a.test");
    assert_eq!(line(&request, "x-forwarded-proto"), "http");
}

#[tokio::test]
async fn the_operator_may_let_fields_pass() {
    for (trusted, prefix) in [("[127.0.0.0/8]", "/shop"), ("[]", "")] {
        let origin = Origin::start().await;
        origin.on("/a", [Reply::ok("", "hello")]);
        let server =
            format!("  trusted_proxies: {trusted}\n  forward_fields: [X-Forwarded-Prefix, api_key]\n");
        let proxy = Proxy::with_sections(&origin, &server, "", EVERYTHING).await;
        let fields = "X-Forwarded-Prefix: /shop\r\napi_key: 1\r\nX_Forwarded_Prefix: /evil\r\n";
        proxy.get_with("/a", fields).await;
        let request = origin.last();
        assert_eq!(line(&request, "x-forwarded-prefix"), prefix);
        assert_eq!(line(&request, "api_key"), "1");
        assert!(!request.contains("evil"), "{request}");
    }
}

#[tokio::test]
async fn the_origin_sees_the_target_the_key_was_built_from() {
    let origin = Origin::start().await;
    origin.on("/b/~c?x=~%2F", [Reply::ok("Cache-Control: max-age=60\r\n", "hello")]);
    let proxy = Proxy::in_front_of(&origin).await;
    proxy.get("/a/../b/%7Ec?x=%7E%2f").await;
    assert!(origin.last().starts_with("GET /b/~c?x=~%2F HTTP/1.1\r\n"), "{}", origin.last());
    assert_eq!(proxy.get("/b/~c?x=~%2F").await.x_cache(), "HIT");
}

/// What is stored for a host must not show how the first client happened to write it.
#[tokio::test]
async fn the_origin_sees_the_host_the_key_was_built_from() {
    let origin = Origin::start().await;
    origin.on("/a", [Reply::ok("Vary: Host\r\nCache-Control: max-age=60\r\n", "hello")]);
    let proxy = Proxy::in_front_of(&origin).await;
    let requests = [
        "GET /a HTTP/1.1\r\nHost: A.TEST:0080\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: a.test:\r\n\r\n",
        "GET http://A.test:80/a HTTP/1.1\r\nHost: a.test:80\r\n\r\n",
        "GET http://a.test/a HTTP/1.0\r\n\r\n",
    ];
    for (request, word) in requests.into_iter().zip(["MISS", "HIT", "HIT", "HIT"]) {
        assert_eq!(crate::support::send(proxy.address, request).await.x_cache(), word, "{request}");
        assert_eq!((line(&origin.last(), "host").as_str(), origin.count()), ("a.test", 1), "{request}");
    }
    // Also where the cache takes no part.
    crate::support::send(proxy.address, "POST /a HTTP/1.1\r\nHost: A.TEST:80\r\n\r\n").await;
    assert_eq!(line(&origin.last(), "host"), "a.test");
}

#[tokio::test]
async fn the_host_is_preserved_or_rewritten_as_configured() {
    for (setting, expected) in [("", "a.test"), ("    host: { fixed: app.internal }\n", "app.internal")] {
        let origin = Origin::start().await;
        origin.on("/a", [Reply::ok("", "hello")]);
        let routes = "routes:\n  - { name: all, match: { path: \"/{*rest}\" }, upstream: app }\n";
        let proxy = Proxy::with_sections(&origin, "", setting, routes).await;
        proxy.get("/a").await;
        assert_eq!(line(&origin.last(), "host"), expected);
    }
}

#[tokio::test]
async fn a_loop_ends() {
    let origin = Origin::start().await;
    origin.on("/a", [Reply::ok("", "hello")]);
    let proxy = Proxy::in_front_of(&origin).await;
    proxy.get("/a").await;
    let token = line(&origin.last(), "cdn-loop");
    let response = proxy.get_with("/a", &format!("CDN-Loop: {token}\r\n")).await;
    assert_eq!(response.status, 508);
}

#[tokio::test]
async fn routes_lead_to_what_they_match() {
    let origin = Origin::start().await;
    let yaml = "routes:\n  - { name: api, match: { host: api.test, path: \"/v1/{*rest}\", method: [GET] }, upstream: app }\n";
    origin.on("/v1/x", [Reply::ok("", "hello")]);
    let proxy = Proxy::with_yaml(&origin, yaml).await;
    let ask = |request: &'static str| crate::support::send(proxy.address, request);
    assert_eq!(ask("GET /v1/x HTTP/1.1\r\nHost: api.test\r\n\r\n").await.status, 200);
    let unknown = ask("GET /v1/x HTTP/1.1\r\nHost: other.test\r\n\r\n").await;
    assert_eq!(unknown.status, 404);
    assert!(!unknown.body.contains("api"), "no internals: {}", unknown.body);
    assert_eq!(ask("DELETE /v1/x HTTP/1.1\r\nHost: api.test\r\n\r\n").await.status, 404);
}

#[tokio::test]
async fn a_connection_that_the_origin_is_about_to_close_is_not_used_again() {
    for (fields, connections) in
        [("Keep-Alive: timeout=60\r\n", 1), ("Keep-Alive: timeout=1\r\n", 2), ("", 1)]
    {
        let origin = Origin::start().await;
        origin.on("/a", [Reply::ok(fields, "hello")]);
        let proxy = Proxy::in_front_of(&origin).await;
        for _ in 0..2 {
            assert_eq!(proxy.request("POST", "/a", "", "x").await.status, 200);
        }
        assert_eq!(origin.connections(), connections, "{fields}");
    }
}
