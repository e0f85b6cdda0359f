//! What an unsafe request changed is not served from the store any more (RFC 9111 §4.4).

use crate::support::{Gate, Origin, Proxy, Reply, send};

const FRESH: &str = "Cache-Control: max-age=600\r\n";

/// A proxy that has `/a` and `/b` of the host `a.test` in store; `/a` is answered with `reply` from now on, once.
async fn stored_and(reply: Reply) -> (Origin, Proxy) {
    let origin = Origin::start().await;
    let proxy = Proxy::in_front_of(&origin).await;
    store(&origin, &proxy, reply).await;
    (origin, proxy)
}

async fn store(origin: &Origin, proxy: &Proxy, reply: Reply) {
    origin.on("/a", [Reply::ok(FRESH, "old"), reply, Reply::ok(FRESH, "new")]);
    origin.on("/b", [Reply::ok(FRESH, "old"), Reply::ok(FRESH, "new")]);
    for target in ["/a", "/b"] {
        assert_eq!(proxy.get(target).await.body, "old");
        assert_eq!(proxy.get(target).await.x_cache(), "HIT");
    }
}

async fn requests(origin: &Origin, count: usize) {
    while origin.count() < count {
        tokio::task::yield_now().await;
    }
}

/// Asks until the answer is a new one; `false` if it stays the old one.
async fn becomes_new(proxy: &Proxy, target: &str) -> bool {
    for _ in 0..300 {
        if proxy.get(target).await.body == "new" {
            return true;
        }
    }
    false
}

#[tokio::test]
async fn whatever_is_not_known_to_be_safe_invalidates_its_target() {
    for method in ["POST", "PUT", "DELETE", "PATCH", "M-SEARCH", "FOO"] {
        for status in ["200 OK", "204 No Content", "303 See Other"] {
            let (_origin, proxy) = stored_and(Reply::raw(format!("HTTP/1.1 {status}\r\n\r\n")).close()).await;
            proxy.request(method, "/a", "", "x").await;
            assert_eq!(proxy.get("/a").await.body, "new", "{method} {status}");
            assert_eq!(proxy.get("/b").await.body, "old", "{method} {status}");
        }
    }
}

#[tokio::test]
async fn what_failed_has_changed_nothing() {
    for status in ["404 Not Found", "409 Conflict", "500 Internal Server Error"] {
        let (_origin, proxy) = stored_and(Reply::status(status, "Location: /b\r\n", "")).await;
        proxy.request("POST", "/a", "", "x").await;
        assert_eq!(proxy.get("/a").await.body, "old", "{status}");
        assert_eq!(proxy.get("/b").await.body, "old", "{status}");
    }
}

#[tokio::test]
async fn safe_methods_invalidate_nothing() {
    for method in ["OPTIONS", "QUERY", "PROPFIND"] {
        let (_origin, proxy) = stored_and(Reply::ok("Location: /b\r\n", "")).await;
        proxy.request(method, "/a", "", "x").await;
        assert_eq!(proxy.get("/a").await.body, "old", "{method}");
        assert_eq!(proxy.get("/b").await.body, "old", "{method}");
    }
}

#[tokio::test]
async fn the_urls_that_the_answer_names_are_invalidated_if_they_are_of_the_same_origin() {
    for (fields, expected) in [
        ("Location: /b", "new"),
        ("Content-Location: b", "new"),
        ("Content-Location: http://A.test:80/x/../%62#top", "new"),
        ("Location: http://b.test/b", "old"),
        ("Location: http://a.test:8080/b", "old"),
        ("Link: </b>", "old"),
    ] {
        let (_origin, proxy) = stored_and(Reply::status("201 Created", &format!("{fields}\r\n"), "")).await;
        proxy.request("POST", "/a", "", "x").await;
        assert_eq!(proxy.get("/b").await.body, expected, "{fields}");
    }
}

#[tokio::test]
async fn an_origin_may_name_itself_as_it_is_named_to_it() {
    let upstream = "    host: { fixed: app.internal }\n";
    let routes = "routes:\n  - { name: all, match: { path: \"/{*rest}\" }, upstream: app }\n";
    for (host, expected) in [("", "new"), ("app.internal", "new"), ("a.test", "new"), ("app.other", "old")] {
        let origin = Origin::start().await;
        let proxy = Proxy::with_sections(&origin, "", upstream, routes).await;
        let own = origin.address.to_string();
        let location = format!("Location: http://{}/b\r\n", if host.is_empty() { &own } else { host });
        store(&origin, &proxy, Reply::status("201 Created", &location, "")).await;
        proxy.request("POST", "/a", "", "x").await;
        assert_eq!(proxy.get("/b").await.body, expected, "{location}");
    }
}

#[tokio::test]
async fn another_host_keeps_what_it_has() {
    let (_origin, proxy) = stored_and(Reply::ok("", "")).await;
    send(proxy.address, "DELETE /a HTTP/1.1\r\nHost: b.test\r\n\r\n").await;
    assert_eq!(proxy.get("/a").await.body, "old");
}

#[tokio::test]
async fn a_route_that_caches_nothing_invalidates_what_another_has_stored() {
    let origin = Origin::start().await;
    let routes = "  - { name: read, match: { path: \"/{*rest}\", method: GET }, upstream: app }\n\
                  \x20 - { name: write, match: { path: \"/{*rest}\" }, upstream: app, cache: off }\n";
    let proxy = Proxy::with_routes(&origin, routes).await;
    store(&origin, &proxy, Reply::ok("", "")).await;
    proxy.request("POST", "/a", "", "x").await;
    assert_eq!(proxy.get("/a").await.body, "new");
}

#[tokio::test]
async fn a_request_whose_client_has_left_invalidates_what_it_changes() {
    let gate = Gate::closed();
    let (origin, proxy) = stored_and(Reply::ok("Location: /b\r\n", "").after(&gate)).await;
    let mut client = proxy.connect().await;
    client.write("POST /a HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1\r\n\r\nx").await;
    requests(&origin, 3).await;
    drop(client);
    // So many exchanges later it has been noticed that the client has left.
    for _ in 0..50 {
        assert_eq!(proxy.get("/a").await.body, "old");
    }
    gate.open();
    assert!(becomes_new(&proxy, "/a").await);
    assert!(becomes_new(&proxy, "/b").await, "the answer was read, too");
}

#[tokio::test]
async fn a_request_that_breaks_off_half_way_up_invalidates_its_target() {
    let (origin, proxy) = stored_and(Reply::ok("", "")).await;
    let mut client = proxy.connect().await;
    client.write("POST /a HTTP/1.1\r\nHost: a.test\r\nContent-Length: 10\r\n\r\nabc").await;
    drop(client);
    let mut wiped = false;
    for _ in 0..300 {
        wiped = wiped || proxy.get("/a").await.x_cache() == "MISS";
    }
    assert!(wiped);
    assert!(origin.last().starts_with("GET /a "), "the origin has not seen all of the POST");
    assert_eq!(proxy.get("/b").await.body, "old");
}

#[tokio::test]
async fn a_request_without_an_answer_invalidates_its_target() {
    let never = Gate::closed();
    for reply in [Reply::default().close(), Reply::raw("not HTTP\r\n\r\n"), Reply::default().after(&never)] {
        let origin = Origin::start().await;
        let upstream = "    timeouts: { head: 200ms }\n";
        let routes = "routes: [{ name: all, match: { path: \"/{*rest}\" }, upstream: app }]\n";
        let proxy = Proxy::with_sections(&origin, "", upstream, routes).await;
        store(&origin, &proxy, reply).await;
        let response = proxy.request("POST", "/a", "", "x").await;
        assert!(response.status >= 500, "{response:?}");
        assert_eq!(proxy.get("/a").await.body, "new");
        assert_eq!(proxy.get("/b").await.body, "old");
    }
}

#[tokio::test]
async fn a_request_that_no_server_has_seen_invalidates_nothing() {
    let origin = Origin::start().await;
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let upstreams = format!("  down:\n    servers: [\"http://{nobody}\"]\n");
    let routes = "routes:\n  - { name: read, match: { path: \"/{*rest}\", method: GET }, upstream: app }\n\
                  \x20 - { name: write, match: { path: \"/{*rest}\" }, upstream: down }\n";
    let proxy = Proxy::with_sections(&origin, "", &upstreams, routes).await;
    store(&origin, &proxy, Reply::ok("", "")).await;
    assert_eq!(proxy.request("POST", "/a", "", "x").await.status, 502);
    assert_eq!(proxy.get("/a").await.body, "old");
}

#[tokio::test]
async fn requests_that_run_on_without_their_clients_are_bounded_in_number() {
    let origin = Origin::start().await;
    let gate = Gate::closed();
    let routes = "routes: [{ name: all, match: { path: \"/{*rest}\" }, upstream: app }]\n";
    let proxy = Proxy::with_sections(&origin, "  max_in_flight: 1\n", "", routes).await;
    store(&origin, &proxy, Reply::ok("", "").after(&gate)).await;
    let mut client = proxy.connect().await;
    client.write("POST /a HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1\r\n\r\nx").await;
    requests(&origin, 3).await;
    drop(client);
    // Its place among all requests is free again, its place among those that run on is not.
    while proxy.get("/b").await.status != 200 {}
    assert_eq!(proxy.request("POST", "/b", "", "x").await.status, 503);
    gate.open();
    while proxy.request("POST", "/b", "", "x").await.status != 200 {}
}
