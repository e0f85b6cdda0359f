//! Cache groups: what the origin has grouped it can invalidate together (RFC 9875).

use crate::support::{Gate, Origin, Proxy, Reply, send};

const FRESH: &str = "Cache-Control: max-age=600\r\n";

async fn proxy_with(cache: &str) -> (Origin, Proxy) {
    let origin = Origin::start().await;
    let routes = format!(
        "routes: [{{ name: all, match: {{ path: \"/{{*rest}}\" }}, upstream: app, cache: {{ {cache} }} }}]\n"
    );
    let proxy = Proxy::with_sections(&origin, "  trusted_proxies: [127.0.0.1]\n", "", &routes).await;
    (origin, proxy)
}

/// Stores a response in these groups.
async fn store(origin: &Origin, proxy: &Proxy, target: &str, groups: &str) {
    let grouped = format!("{FRESH}Cache-Groups: {groups}\r\n");
    origin.on(target, [Reply::ok(&grouped, "old"), Reply::ok(&grouped, "new")]);
    assert_eq!(proxy.get(target).await.body, "old");
    assert_eq!(proxy.get(target).await.x_cache(), "HIT");
}

fn invalidates(groups: &str) -> Reply {
    Reply::ok(&format!("Cache-Group-Invalidation: {groups}\r\n"), "")
}

#[tokio::test]
async fn an_unsafe_request_invalidates_the_groups_that_its_answer_names() {
    let (origin, proxy) = proxy_with("groups: true").await;
    store(&origin, &proxy, "/a", r#""one", "two";x=1"#).await;
    store(&origin, &proxy, "/b", r#""three""#).await;
    store(&origin, &proxy, "/c", r#""Two""#).await;
    store(&origin, &proxy, "/d", r#""two, three""#).await;
    origin.on("/x", [invalidates(r#""none", "two""#)]);
    let response = proxy.request("POST", "/x", "", "x").await;
    assert_eq!(
        response.field("cache-group-invalidation"),
        r#""none", "two""#,
        "caches beyond us hear it too"
    );
    assert_eq!(proxy.get("/a").await.body, "new");
    for other in ["/b", "/c", "/d"] {
        assert_eq!(proxy.get(other).await.body, "old", "{other}");
    }
}

#[tokio::test]
async fn what_is_invalidated_does_not_take_its_other_groups_along() {
    let (origin, proxy) = proxy_with("groups: true").await;
    store(&origin, &proxy, "/a", r#""one", "two""#).await;
    store(&origin, &proxy, "/b", r#""two""#).await;
    origin.on("/x", [invalidates(r#""one""#)]);
    proxy.request("POST", "/x", "", "x").await;
    assert_eq!(proxy.get("/b").await.body, "old");
    assert_eq!(proxy.get("/a").await.body, "new");
}

#[tokio::test]
async fn safe_methods_failures_and_malformed_fields_invalidate_no_group() {
    let (origin, proxy) = proxy_with("groups: true").await;
    store(&origin, &proxy, "/a", r#""one""#).await;
    origin.on("/x", [invalidates(r#""one""#)]);
    for method in ["GET", "QUERY", "OPTIONS"] {
        proxy.request(method, "/x", "", "").await;
    }
    origin.on("/x", [Reply::status("403 Forbidden", "Cache-Group-Invalidation: \"one\"\r\n", "")]);
    proxy.request("POST", "/x", "", "x").await;
    for malformed in ["one", r#""one", two"#, r#"("one")"#] {
        origin.on("/x", [invalidates(malformed)]);
        proxy.request("POST", "/x", "", "x").await;
    }
    assert_eq!(proxy.get("/a").await.body, "old");
}

#[tokio::test]
async fn groups_are_of_one_origin() {
    let (origin, proxy) = proxy_with("groups: true").await;
    store(&origin, &proxy, "/a", r#""one""#).await;
    origin.on("/x", [invalidates(r#""one""#)]);
    for elsewhere in
        ["Host: b.test\r\n", "Host: a.test:8080\r\n", "Host: a.test\r\nX-Forwarded-Proto: https\r\n"]
    {
        send(proxy.address, &format!("POST /x HTTP/1.1\r\n{elsewhere}Content-Length: 0\r\n\r\n")).await;
        assert_eq!(proxy.get("/a").await.body, "old", "{elsewhere}");
    }
    proxy.request("POST", "/x", "", "").await;
    assert_eq!(proxy.get("/a").await.body, "new");
}

#[tokio::test]
async fn origins_that_share_what_is_stored_share_their_groups() {
    let (origin, proxy) =
        proxy_with("key: { shared_across: [host, scheme], fields: { path: { whole_path: true } } }").await;
    store(&origin, &proxy, "/a", r#""one""#).await;
    origin.on("/x", [invalidates(r#""one""#)]);
    let elsewhere =
        "POST /x HTTP/1.1\r\nHost: b.test\r\nX-Forwarded-Proto: https\r\nContent-Length: 0\r\n\r\n";
    send(proxy.address, elsewhere).await;
    assert_eq!(proxy.get("/a").await.body, "new");
}

#[tokio::test]
async fn an_invalidated_group_wins_over_a_fetch_that_began_before_it() {
    let (origin, proxy) = proxy_with("groups: true").await;
    let gate = Gate::closed();
    let grouped = format!("{FRESH}Cache-Groups: \"one\"\r\n");
    origin.on("/a", [Reply::ok(&grouped, "old").after(&gate), Reply::ok(&grouped, "new")]);
    origin.on("/x", [invalidates(r#""one""#)]);
    let mut early = proxy.connect().await;
    early.write("GET /a HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    while origin.count() == 0 {
        tokio::task::yield_now().await;
    }
    proxy.request("POST", "/x", "", "x").await;
    gate.open();
    assert_eq!(early.response().await.body, "old");
    assert_eq!(proxy.get("/a").await.body, "new");
}

#[tokio::test]
async fn a_route_may_be_deaf_to_groups() {
    let origin = Origin::start().await;
    let routes = "  - { name: read, match: { path: \"/{*rest}\", method: GET }, upstream: app }\n\
                  \x20 - { name: ungrouped, match: { path: \"/b\", method: GET }, upstream: app, cache: { groups: false } }\n\
                  \x20 - { name: off, match: { path: \"/off\" }, upstream: app, cache: off }\n\
                  \x20 - { name: deaf, match: { path: \"/{*rest}\" }, upstream: app, cache: { groups: false } }\n";
    let proxy = Proxy::with_routes(&origin, routes).await;
    store(&origin, &proxy, "/a", r#""one""#).await;
    store(&origin, &proxy, "/b", r#""one""#).await;
    for target in ["/x", "/off"] {
        origin.on(target, [invalidates(r#""one""#)]);
    }
    proxy.request("POST", "/x", "", "x").await;
    assert_eq!(proxy.get("/a").await.body, "old");
    proxy.request("POST", "/off", "", "x").await;
    assert_eq!(proxy.get("/a").await.body, "new", "a route that caches nothing is not deaf");
    assert_eq!(proxy.get("/b").await.body, "old");
}

#[tokio::test]
async fn more_groups_than_are_remembered_are_not_taken_lightly() {
    let (origin, proxy) = proxy_with("groups: true").await;
    let many: Vec<_> = (0..300).map(|n| format!("\"{n}\"")).collect();
    let many = many.join(", ");
    origin.on("/a", [Reply::ok(&format!("{FRESH}Cache-Groups: {many}\r\n"), "1")]);
    proxy.get("/a").await;
    assert!(proxy.get("/a").await.field("cache-status").ends_with("detail=cache-groups"));
    store(&origin, &proxy, "/b", r#""299""#).await;
    origin.on("/x", [invalidates(&many)]);
    proxy.request("POST", "/x", "", "x").await;
    assert_eq!(proxy.get("/b").await.body, "new");
}

#[tokio::test]
async fn a_purge_by_tag_reaches_a_group_of_that_name() {
    let (origin, proxy) = proxy_with("groups: true").await;
    store(&origin, &proxy, "/a", r#""one", "two""#).await;
    store(&origin, &proxy, "/b", r#""three""#).await;
    assert_eq!(proxy.purge(r#"{"tag": "two"}"#).await, 1);
    assert_eq!((proxy.get("/a").await.body, proxy.get("/b").await.body), ("new".into(), "old".into()));
}
