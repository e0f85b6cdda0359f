//! The promise: once a purge is acknowledged, no response whose fetch began before it is ever served again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{Gate, Origin, Proxy, Reply};

const FRESH: &str = "Cache-Control: max-age=600\r\n";

const USERS: &str = "keys:\n  user_payload:\n    namespace: users\n    fields:\n      user: { path: user_id, partition: true }\n      page: { query: [page] }\n\
    routes:\n  - name: user\n    match: { path: \"/users/{user_id}\" }\n    upstream: app\n    cache: { key: user_payload, tags: [\"user:{user_id}\"] }\n\
\x20 - { name: rest, match: { path: \"/{*rest}\" }, upstream: app }\n";

async fn stored(targets: &[&str], fields: &str) -> (Origin, Proxy) {
    let origin = Origin::start().await;
    for target in targets {
        origin.on(target, [Reply::ok(fields, "old"), Reply::ok(fields, "new")]);
    }
    let proxy = Proxy::with_yaml(&origin, USERS).await;
    for target in targets {
        assert_eq!(proxy.get(target).await.body, "old", "{target}");
        assert_eq!(proxy.get(target).await.x_cache(), "HIT", "{target}");
    }
    (origin, proxy)
}

#[tokio::test]
async fn every_kind_of_target_wipes_what_it_names_and_nothing_else() {
    let all = ["/users/1", "/users/1?page=2", "/users/2", "/other"];
    for (target, wiped) in [
        (r#"{"url": "http://a.test/users/1"}"#, &["/users/1"][..]),
        (r#"{"url": "http://a.test/other"}"#, &["/other"]),
        (r#"{"tag": "user:1"}"#, &["/users/1", "/users/1?page=2"]),
        (r#"{"key": "user_payload", "partition": {"user": "1"}}"#, &["/users/1", "/users/1?page=2"]),
        (r#"{"route": "user", "partition": {"user": "2"}}"#, &["/users/2"]),
        (r#"{"route": "user"}"#, &["/users/1", "/users/1?page=2", "/users/2"]),
        (r#"{"key": "user_payload"}"#, &["/users/1", "/users/1?page=2", "/users/2"]),
        (r#"{"namespace": "users"}"#, &["/users/1", "/users/1?page=2", "/users/2"]),
        (r#"{"host": "a.test"}"#, &all),
        (r#"{"everything": true}"#, &all),
        (r#"{"tag": "nobody"}"#, &[]),
    ] {
        let (_origin, proxy) = stored(&all, FRESH).await;
        assert_eq!(proxy.purge(target).await, wiped.len() as u64, "{target}");
        for url in all {
            let expected = if wiped.contains(&url) { "new" } else { "old" };
            assert_eq!(proxy.get(url).await.body, expected, "{target} {url}");
        }
    }
}

#[tokio::test]
async fn a_tag_named_by_the_origin_wipes_too() {
    for fields in [
        "Surrogate-Key: a b c\r\n",
        "Cache-Tag: a, b,c\r\n",
        "xkey: a b\r\n",
        "Surrogate-Key: a, b, c\r\n",
        "Surrogate-Key: b caf\u{e9}\r\n",
    ] {
        let (_origin, proxy) = stored(&["/x"], &format!("{FRESH}{fields}")).await;
        assert_eq!(proxy.purge(r#"{"tag": "b"}"#).await, 1);
        assert_eq!(proxy.get("/x").await.body, "new");
    }
}

#[tokio::test]
async fn a_purge_wins_over_a_fetch_that_began_before_it() {
    let origin = Origin::start().await;
    let gate = Gate::closed();
    origin.on("/users/1", [Reply::ok(FRESH, "old").after(&gate), Reply::ok(FRESH, "new")]);
    let proxy = Arc::new(Proxy::with_yaml(&origin, USERS).await);
    let early = tokio::spawn({
        let proxy = Arc::clone(&proxy);
        async move { proxy.get("/users/1").await }
    });
    while origin.count() == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(proxy.purge(r#"{"tag": "user:1"}"#).await, 0, "nothing is stored yet");
    gate.open();
    assert_eq!(early.await.unwrap().body, "old", "asked before the purge");
    let later = proxy.get("/users/1").await;
    assert_eq!((later.body.as_str(), later.x_cache().as_str()), ("new", "MISS"));
    assert_eq!(proxy.get("/users/1").await.x_cache(), "HIT");
}

#[tokio::test]
async fn a_purge_wins_over_a_body_that_is_still_arriving() {
    let origin = Origin::start().await;
    let gate = Gate::closed();
    let slow =
        Reply::raw(format!("HTTP/1.1 200 OK\r\n{FRESH}Content-Length: 6\r\n\r\nold")).wait(&gate).then("old");
    origin.on("/users/1", [slow, Reply::ok(FRESH, "new")]);
    let proxy = Proxy::with_yaml(&origin, USERS).await;
    let mut early = proxy.connect().await;
    early.write("GET /users/1 HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    early.read_until("\r\n\r\nold").await;
    proxy.purge(r#"{"everything": true}"#).await;
    gate.open();
    assert_eq!(early.response().await.body, "oldold");
    assert_eq!(proxy.get("/users/1").await.body, "new");
}

#[tokio::test]
async fn a_purge_wins_over_a_validation_under_way() {
    let origin = Origin::start().await;
    let gate = Gate::closed();
    let tagged = "Cache-Control: max-age=60\r\nETag: \"1\"\r\n";
    origin.on(
        "/users/1",
        [
            Reply::ok(tagged, "old"),
            Reply::raw("HTTP/1.1 304 Not Modified\r\nETag: \"1\"\r\n\r\n").after(&gate),
            Reply::ok(tagged, "new"),
        ],
    );
    let proxy = Arc::new(Proxy::with_yaml(&origin, USERS).await);
    proxy.get("/users/1").await;
    proxy.later(61);
    let validating = tokio::spawn({
        let proxy = Arc::clone(&proxy);
        async move { proxy.get("/users/1").await }
    });
    while origin.count() < 2 {
        tokio::task::yield_now().await;
    }
    assert_eq!(proxy.purge(r#"{"key": "user_payload", "partition": {"user": "1"}}"#).await, 1);
    gate.open();
    validating.await.unwrap();
    assert_eq!(proxy.get("/users/1").await.body, "new");
}

#[tokio::test]
async fn an_unsafe_request_wipes_what_it_changed() {
    let (origin, proxy) = stored(&["/a", "/b", "/c"], FRESH).await;
    origin.on("/a", [Reply::status("303 See Other", "Location: /b\r\n", "")]);
    assert_eq!(proxy.request("POST", "/a", "", "x=1").await.status, 303);
    origin.on("/a", [Reply::ok(FRESH, "new")]);
    assert_eq!(proxy.get("/a").await.body, "new");
    assert_eq!(proxy.get("/b").await.body, "new");
    assert_eq!(proxy.get("/c").await.body, "old");
}

#[tokio::test]
async fn a_failed_unsafe_request_wipes_nothing() {
    let (origin, proxy) = stored(&["/a"], FRESH).await;
    origin.on("/a", [Reply::status("409 Conflict", "", "no")]);
    assert_eq!(proxy.request("DELETE", "/a", "", "").await.status, 409);
    assert_eq!(proxy.get("/a").await.body, "old");
}

#[tokio::test]
async fn a_purge_is_for_those_who_may() {
    let (_origin, proxy) = stored(&["/a"], FRESH).await;
    let body = r#"{"everything": true}"#;
    let post = |authorization: &str| {
        let request = format!(
            "POST /v1/purge HTTP/1.1\r\nHost: x\r\n{authorization}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        async move { crate::support::send(proxy.admin, &request).await }
    };
    assert_eq!(post("").await.status, 401);
    assert_eq!(post("Authorization: Bearer wrong\r\n").await.status, 401);
    assert_eq!(proxy.get("/a").await.body, "old");
}

#[tokio::test]
async fn a_purge_that_names_nothing_that_exists_says_so() {
    let (_origin, proxy) = stored(&["/a"], FRESH).await;
    let response = proxy.admin_post("/v1/purge", r#"{"route": "usr"}"#).await;
    assert_eq!(response.status, 404);
    assert!(response.body.contains("did you mean") && response.body.contains("user"), "{}", response.body);
    assert_eq!(proxy.admin_post("/v1/purge", r#"{"rout": "user"}"#).await.status, 400);
    assert_eq!(proxy.admin_post("/v1/purge", "{").await.status, 400);
    assert_eq!(proxy.get("/a").await.body, "old");
}

#[tokio::test]
async fn a_validation_that_takes_a_tag_off_does_not_hide_the_body_from_its_purge() {
    let origin = Origin::start().await;
    let tagged = "Cache-Control: max-age=60\r\nETag: \"1\"\r\nSurrogate-Key: a\r\n";
    let retagged =
        "HTTP/1.1 304 Not Modified\r\nCache-Control: max-age=60\r\nETag: \"1\"\r\nSurrogate-Key: b\r\n\r\n";
    origin.on("/x", [Reply::ok(tagged, "old"), Reply::raw(retagged), Reply::ok(tagged, "new")]);
    let proxy = Proxy::in_front_of(&origin).await;
    proxy.get("/x").await;
    proxy.later(61);
    assert_eq!(proxy.get("/x").await.body, "old", "the origin says that it still holds");
    proxy.purge(r#"{"tag": "a"}"#).await;
    assert_eq!(proxy.get("/x").await.body, "new");
}

#[tokio::test]
async fn a_key_that_several_routes_use_is_purged_on_all_of_them() {
    let origin = Origin::start().await;
    let yaml = "keys:\n  page:\n    fields: { id: { path: id, partition: true, normalize: lower } }\n\
        routes:\n\x20 - { name: one, match: { path: \"/1/{id}\" }, upstream: app, cache: { key: page } }\n\
        \x20 - { name: two, match: { path: \"/2/{id}\" }, upstream: app, cache: { key: page } }\n";
    let proxy = Proxy::with_yaml(&origin, yaml).await;
    for target in ["/1/Ada", "/2/Ada", "/2/Bob"] {
        origin.on(target, [Reply::ok(FRESH, target), Reply::ok(FRESH, "new")]);
        assert_eq!(proxy.get(target).await.body, target, "routes share nothing unless they say so");
    }
    assert_eq!(proxy.purge(r#"{"key": "page", "partition": {"id": "Ada"}}"#).await, 2);
    assert_eq!(proxy.get("/1/Ada").await.body, "new");
    assert_eq!(proxy.get("/2/Bob").await.x_cache(), "HIT");
    assert_eq!(proxy.purge(r#"{"key": "page"}"#).await, 2);
}

#[tokio::test]
async fn what_is_not_utf8_in_a_path_is_named_alike_by_tags_and_partitions() {
    let origin = Origin::start().await;
    let proxy = Proxy::with_yaml(&origin, USERS).await;
    origin.on("/users/a%FFb", [Reply::ok(FRESH, "hello")]);
    for value in ["a%FFb", "a\u{fffd}b"] {
        for target in [
            format!(r#"{{"tag": "user:{value}"}}"#),
            format!(r#"{{"key": "user_payload", "partition": {{"user": "{value}"}}}}"#),
        ] {
            proxy.get("/users/a%FFb").await;
            assert_eq!(proxy.purge(&target).await, 1, "{target}");
        }
    }
}

#[tokio::test]
async fn a_partition_value_that_comes_several_times_or_quoted_is_purged_by_each() {
    let yaml = "keys:\n  query: { fields: { user: { query: user, partition: true } } }\n\
        \x20 cookie: { fields: { user: { cookie: user, partition: true } } }\n\
        \x20 field: { fields: { user: { header: x-user, partition: true } } }\n\
        routes:\n  - { name: query, match: { path: /query }, upstream: app, cache: { key: query } }\n\
        \x20 - { name: cookie, match: { path: /cookie }, upstream: app, cache: { key: cookie } }\n\
        \x20 - { name: field, match: { path: /field }, upstream: app, cache: { key: field } }\n";
    let origin = Origin::start().await;
    let proxy = Proxy::with_yaml(&origin, yaml).await;
    let many: Vec<_> = (1..100).map(|n| format!("user={n}")).collect();
    for (key, target, fields) in [
        ("query", "/query?user=1&user=", ""),
        ("query", "/query?user=1+", ""),
        ("query", &format!("/query?{}", many.join("&")), ""),
        ("cookie", "/cookie", "Cookie: user=1; user=2\r\n"),
        ("cookie", "/cookie", "Cookie: user=\"1\"\r\n"),
        ("field", "/field", "X-User: 2\r\nX-User: 1\r\n"),
        ("field", "/field", "X-User: 2, 1\r\n"),
    ] {
        origin.on(target, [Reply::ok(FRESH, "old"), Reply::ok(FRESH, "new")]);
        assert_eq!(proxy.get_with(target, fields).await.body, "old", "{target} {fields}");
        let target_of = |by| format!(r#"{{"{by}": "{key}", "partition": {{"user": "1"}}}}"#);
        assert_eq!(proxy.purge(&target_of("key")).await, 1, "{target} {fields}");
        assert_eq!(proxy.get_with(target, fields).await.body, "new", "{target} {fields}");
        assert_eq!(proxy.purge(&target_of("route")).await, 1, "{target} {fields}");
    }
}

const SHARED: &str = "keys:\n  one: { id: shared, shared_across: host, fields: { id: { path: id, partition: true } } }\n\
    \x20 two: { id: shared, shared_across: host, fields: { id: { path: id, partition: true } } }\n\
    routes:\n  - { name: one, match: { path: \"/one/{id}\" }, upstream: app, cache: { key: one, tags: [\"one:{id}\"] } }\n\
    \x20 - { name: two, match: { path: \"/two/{id}\" }, upstream: app, cache: { key: two, tags: [\"two:{id}\"] } }\n";

#[tokio::test]
async fn what_is_shared_is_purged_by_the_names_it_is_served_under() {
    for (target, purged) in [
        (r#"{"route": "two"}"#, 1),
        (r#"{"route": "two", "partition": {"id": "5"}}"#, 1),
        (r#"{"key": "two", "partition": {"id": "5"}}"#, 1),
        (r#"{"tag": "two:5"}"#, 1),
        (r#"{"url": "http://b.test/two/5"}"#, 1),
        (r#"{"host": "b.test"}"#, 1),
        (r#"{"route": "two", "partition": {"id": "6"}}"#, 0),
        (r#"{"tag": "two:6"}"#, 0),
    ] {
        let origin = Origin::start().await;
        let proxy = Proxy::with_yaml(&origin, SHARED).await;
        origin.on("/one/5", [Reply::ok(FRESH, "old")]);
        origin.on("/two/5", [Reply::ok(FRESH, "new")]);
        assert_eq!(proxy.get("/one/5").await.body, "old");
        assert_eq!(proxy.get("/two/5").await.body, "old", "it is shared");
        assert_eq!(proxy.purge(target).await, purged, "{target}");
        let expected = if purged > 0 { "new" } else { "old" };
        assert_eq!(proxy.get("/two/5").await.body, expected, "{target}");
    }
}

#[tokio::test]
async fn routes_under_the_default_key_share_nothing() {
    let origin = Origin::start().await;
    let routes = "  - { name: preview, match: { path: \"/d/{x}\", headers: { x-preview: { present: true } } }, upstream: app }\n\
        \x20 - { name: plain, match: { path: \"/d/{y}\" }, upstream: app, cache: { drop_tracking: true } }\n";
    let proxy = Proxy::with_routes(&origin, routes).await;
    origin.on("/d/1", [Reply::ok(FRESH, "preview"), Reply::ok(FRESH, "plain"), Reply::ok(FRESH, "new")]);
    let preview = || proxy.get_with("/d/1", "X-Preview: 1\r\n");
    assert_eq!(preview().await.body, "preview");
    assert_eq!(proxy.get("/d/1").await.body, "plain");
    assert_eq!(proxy.purge(r#"{"route": "plain"}"#).await, 1);
    assert_eq!(proxy.get("/d/1").await.body, "new");
    assert_eq!((preview().await.body.as_str(), preview().await.x_cache().as_str()), ("preview", "HIT"));
    // By name they are one key nevertheless.
    assert_eq!(proxy.purge(r#"{"key": "default"}"#).await, 2);
}

/// An app whose only page says how often it was changed; slow enough that purges come in between.
async fn changing_app(changes: Arc<AtomicU64>) -> std::net::SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let changes = Arc::clone(&changes);
            stream.set_nodelay(true).unwrap();
            tokio::spawn(async move {
                let mut request = vec![0; 4096];
                while stream.read(&mut request).await.is_ok_and(|read| read > 0) {
                    let body = changes.load(Ordering::SeqCst).to_string();
                    let head = format!("HTTP/1.1 200 OK\r\n{FRESH}Content-Length: {}\r\n\r\n", body.len());
                    // The state is read; purges that come from here on find a fetch under way, with and without a
                    // head. Real time is what this is about.
                    tokio::time::sleep(Duration::from_millis(1)).await;
                    stream.write_all(head.as_bytes()).await.unwrap();
                    tokio::time::sleep(Duration::from_millis(1)).await;
                    stream.write_all(body.as_bytes()).await.unwrap();
                }
            });
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_race_serves_what_was_purged() {
    let changes = Arc::new(AtomicU64::new(0));
    let mut app = Origin::start().await;
    app.address = changing_app(Arc::clone(&changes)).await;
    let proxy = Arc::new(Proxy::with_yaml(&app, USERS).await);
    let acknowledged = Arc::new(AtomicU64::new(0));
    let hits = Arc::new(AtomicU64::new(0));
    let readers: Vec<_> = (0..8)
        .map(|_| {
            let (proxy, acknowledged, hits) =
                (Arc::clone(&proxy), Arc::clone(&acknowledged), Arc::clone(&hits));
            tokio::spawn(async move {
                let mut client = proxy.connect().await;
                while acknowledged.load(Ordering::SeqCst) < 200 {
                    let known = acknowledged.load(Ordering::SeqCst);
                    client.write("GET /users/1 HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
                    let response = client.response().await;
                    let seen: u64 = response.body.parse().unwrap();
                    assert!(seen >= known, "{seen} was served after the purge of {known} was acknowledged");
                    hits.fetch_add(u64::from(response.x_cache() == "HIT"), Ordering::SeqCst);
                }
            })
        })
        .collect();
    for _ in 0..200 {
        let change = changes.fetch_add(1, Ordering::SeqCst) + 1;
        proxy.purge(r#"{"tag": "user:1"}"#).await;
        acknowledged.store(change, Ordering::SeqCst);
        if change.is_multiple_of(4) {
            // Long enough for something to be stored and served again.
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    for reader in readers {
        reader.await.unwrap();
    }
    assert!(hits.load(Ordering::SeqCst) > 0, "or nothing was shown");
}

#[tokio::test]
async fn equivalent_urls_are_one_key_one_target_and_one_request_to_the_origin() {
    let origin = Origin::start().await;
    let proxy = Proxy::in_front_of(&origin).await;
    origin.on("/s?q=%C3%A9~", [Reply::ok(FRESH, "old"), Reply::ok(FRESH, "new")]);
    assert_eq!(proxy.get("/s?q=%c3%a9%7e").await.body, "old");
    assert_eq!(proxy.get("/s?q=%C3%A9~").await.x_cache(), "HIT");
    assert_eq!(proxy.get("/s?q=\u{e9}~").await.x_cache(), "HIT");
    assert_eq!(proxy.purge("{\"url\": \"https://a.test:443/s?q=\u{e9}%7E\"}").await, 1);
    assert_eq!(proxy.get("/s?q=%c3%a9%7e").await.body, "new");
    for host in ["a.test.", "A.test", "a.test:"] {
        let request = format!("GET /s?q=%C3%A9~ HTTP/1.1\r\nHost: {host}\r\n\r\n");
        assert_eq!(crate::support::send(proxy.address, &request).await.x_cache(), "HIT", "{host}");
    }
    origin.on("/e", [Reply::ok(FRESH, "without")]);
    origin.on("/e?", [Reply::ok(FRESH, "empty")]);
    assert_eq!(proxy.get("/e").await.body, "without");
    assert_eq!(proxy.get("/e?").await.body, "empty", "no two URLs for the origin");
    assert_eq!(proxy.purge(r#"{"url": "http://a.test/e"}"#).await, 2);
}

#[tokio::test]
async fn what_is_purged_softly_is_validated_and_not_gone() {
    let origin = Origin::start().await;
    let tagged = "Cache-Control: max-age=60\r\nCache-Tag: news\r\nETag: \"v1\"\r\n";
    let confirmed = Reply::raw(format!("HTTP/1.1 304 Not Modified\r\n{tagged}\r\n"));
    origin.on("/a", [Reply::ok(tagged, "old"), confirmed]);
    let proxy = Proxy::in_front_of(&origin).await;
    proxy.get("/a").await;
    assert_eq!(proxy.purge(r#"{ "tag": "news", "soft": true }"#).await, 1);
    assert_eq!(proxy.purge(r#"{ "tag": "news", "soft": true }"#).await, 0, "it is stale already");
    let response = proxy.get("/a").await;
    assert_eq!((response.body.as_str(), response.x_cache().as_str()), ("old", "REFRESH"));
    assert!(origin.last().contains("if-none-match: \"v1\""), "{}", origin.last());
    assert_eq!(proxy.get("/a").await.x_cache(), "HIT");
}

#[tokio::test]
async fn what_is_purged_softly_serves_while_it_is_validated_and_when_the_origin_fails() {
    let origin = Origin::start().await;
    let gate = Gate::closed();
    let fields = |more: &str| format!("Cache-Control: max-age=60, {more}\r\nCache-Tag: news\r\n");
    let revalidated = fields("stale-while-revalidate=30");
    origin.on("/a", [Reply::ok(&revalidated, "old"), Reply::ok(&revalidated, "new").after(&gate)]);
    let failing = Reply::status("503 Service Unavailable", "", "");
    origin.on("/b", [Reply::ok(&fields("stale-if-error=30"), "old"), failing]);
    let proxy = Proxy::in_front_of(&origin).await;
    proxy.get("/a").await;
    proxy.get("/b").await;
    assert_eq!(proxy.purge(r#"{ "tag": "news", "soft": true }"#).await, 2);
    for target in ["/a", "/b"] {
        let response = proxy.get(target).await;
        assert_eq!((response.body.as_str(), response.x_cache().as_str()), ("old", "STALE"), "{target}");
    }
    gate.open();
    while proxy.get("/a").await.body != "new" {}
    assert_eq!(proxy.get("/a").await.x_cache(), "HIT");
    // A hard one ends it all the same.
    assert_eq!(proxy.purge(r#"{ "tag": "news" }"#).await, 2);
    assert_eq!(proxy.get("/b").await.status, 503);
}

#[tokio::test]
async fn what_is_being_fetched_is_stale_when_it_comes_if_it_was_purged_softly() {
    let origin = Origin::start().await;
    let gate = Gate::closed();
    let tagged = "Cache-Control: max-age=60\r\nCache-Tag: news\r\n";
    origin.on("/a", [Reply::ok(tagged, "old").after(&gate), Reply::ok(tagged, "new")]);
    let proxy = Proxy::in_front_of(&origin).await;
    let (first, ()) = tokio::join!(proxy.get("/a"), async {
        proxy.until("fetches", 1).await;
        proxy.purge(r#"{ "tag": "news", "soft": true }"#).await;
        gate.open();
    });
    assert_eq!(first.body, "old");
    let second = proxy.get("/a").await;
    assert_eq!((second.body.as_str(), second.x_cache().as_str()), ("new", "REFRESH"));
}

/// A proxy with several pages stored: their targets, and what each says.
async fn with_pages(pages: &[(&str, &str, &str)]) -> (Origin, Proxy) {
    let origin = Origin::start().await;
    for (target, fields, body) in pages {
        origin.on(target, [Reply::ok(&format!("{FRESH}{fields}"), body)]);
    }
    let proxy = Proxy::in_front_of(&origin).await;
    for (target, ..) in pages {
        proxy.get(target).await;
    }
    (origin, proxy)
}

/// Which of them are no longer stored.
async fn gone<'p>(proxy: &Proxy, pages: &[(&'p str, &str, &str)]) -> Vec<&'p str> {
    let mut gone = Vec::new();
    for (target, ..) in pages {
        if proxy.get(target).await.x_cache() != "HIT" {
            gone.push(*target);
        }
    }
    gone
}

#[tokio::test]
async fn what_no_tag_names_is_purged_by_a_pattern() {
    let pages = [
        ("/blog/a", "Cache-Tag: x, y\r\nContent-Type: text/html\r\n", "a"),
        ("/blog/a/edit?b=1", "Cache-Tag: x\r\nContent-Type: image/png\r\n", "b"),
        ("/blogs", "Cache-Tag: y, z\r\nX-Kind: draft\r\n", "larger"),
    ];
    for (target, expected) in [
        (r#"{ "prefix": "/blog/" }"#, &["/blog/a", "/blog/a/edit?b=1"][..]),
        (r#"{ "prefix": "http://a.test/blog" }"#, &["/blog/a", "/blog/a/edit?b=1", "/blogs"]),
        (r#"{ "prefix": "http://b.test/blog" }"#, &[]),
        (r#"{ "glob": "http://*.test/*/edit*" }"#, &["/blog/a/edit?b=1"]),
        (r#"{ "glob": "/blog*" , "where": { "content_type": "image/*" } }"#, &["/blog/a/edit?b=1"]),
        (r#"{ "all_tags": ["x", "y"] }"#, &["/blog/a"]),
        (r#"{ "any_tag": ["z", "none"] }"#, &["/blogs"]),
        (r#"{ "tag": "y", "where": { "fields": { "x-kind": "draft" } } }"#, &["/blogs"]),
        (r#"{ "where": { "larger_than": 1 } }"#, &["/blogs"]),
        (r#"{ "where": { "status": [404, 410] } }"#, &[]),
        (r#"{ "where": { "older_than": "1h" } }"#, &[]),
    ] {
        let (_origin, proxy) = with_pages(&pages).await;
        let preview = target.trim_end_matches('}').to_owned() + r#", "dry_run": true }"#;
        let preview = proxy.admin_post("/v1/purge", &preview).await;
        let preview: serde_json::Value = serde_json::from_str(&preview.body).unwrap();
        assert_eq!(preview["matched"], expected.len(), "{target}: {preview}");
        assert_eq!(gone(&proxy, &pages).await, [""; 0], "a dry run changes nothing");
        assert_eq!(proxy.purge(target).await, expected.len() as u64, "{target}");
        assert_eq!(gone(&proxy, &pages).await, expected, "{target}");
    }
}

#[tokio::test]
async fn a_pattern_reaches_what_is_being_fetched_and_nothing_that_is_fetched_later() {
    for soft in [false, true] {
        let origin = Origin::start().await;
        let gate = Gate::closed();
        origin.on("/a/b", [Reply::ok(FRESH, "old").after(&gate), Reply::ok(FRESH, "new")]);
        let proxy = Proxy::in_front_of(&origin).await;
        let (first, ()) = tokio::join!(proxy.get("/a/b"), async {
            proxy.until("fetches", 1).await;
            assert_eq!(proxy.purge(&format!(r#"{{ "prefix": "/a/", "soft": {soft} }}"#)).await, 0);
            gate.open();
        });
        assert_eq!(first.body, "old");
        let second = proxy.get("/a/b").await;
        let word = if soft { "REFRESH" } else { "MISS" };
        assert_eq!((second.body.as_str(), second.x_cache().as_str()), ("new", word));
        assert_eq!(proxy.get("/a/b").await.x_cache(), "HIT");
    }
}

#[tokio::test]
async fn each_target_of_several_is_told_what_it_matched() {
    let (_origin, proxy) =
        with_pages(&[("/a", "Cache-Tag: x\r\n", "a"), ("/b", "Cache-Tag: x, y\r\n", "b")]).await;
    let body = r#"{ "targets": [{ "tag": "x" }, { "prefix": "/b" }, { "tag": "none" }] }"#;
    let answer = proxy.admin_post("/v1/purge", body).await;
    let answer: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(answer["matched"], 2, "{answer}");
    assert_eq!(answer["results"], serde_json::json!([{ "matched": 2 }, { "matched": 1 }, { "matched": 0 }]));
}

#[tokio::test]
async fn the_fields_of_tags_are_for_the_cache_unless_the_route_keeps_them() {
    for (keep, shown) in [("", ""), (", cache: { tag_fields: keep }", "x, y")] {
        let origin = Origin::start().await;
        let fields = format!("{FRESH}Edge-Cache-Tag: x, y\r\nX-Magento-Tags: z\r\n");
        origin.on("/a", [Reply::ok(&fields, "a")]);
        let routes = format!("  - {{ name: all, match: {{ path: /a }}, upstream: app{keep} }}\n");
        let proxy = Proxy::with_routes(&origin, &routes).await;
        for word in ["MISS", "HIT"] {
            let response = proxy.get("/a").await;
            assert_eq!(
                (response.x_cache().as_str(), response.field("edge-cache-tag").as_str()),
                (word, shown)
            );
        }
        assert_eq!(proxy.purge(r#"{ "tag": "y" }"#).await, 1);
    }
}

#[tokio::test]
async fn a_pattern_that_names_something_else_parts_nobody_from_a_fetch() {
    let origin = Origin::start().await;
    let gate = Gate::closed();
    origin.on("/a", [Reply::ok(FRESH, "a").after(&gate)]);
    let proxy = Proxy::in_front_of(&origin).await;
    let (first, second, ()) = tokio::join!(
        proxy.get("/a"),
        async {
            proxy.until("fetches", 1).await;
            proxy.purge(r#"{ "prefix": "/b/" }"#).await;
            proxy.get("/a").await
        },
        async {
            proxy.until("waiting", 1).await;
            gate.open();
        }
    );
    assert_eq!((first.body.as_str(), second.body.as_str()), ("a", "a"));
    assert_eq!(origin.count(), 1);
}

#[tokio::test]
async fn a_confirmation_that_drops_a_tag_hides_nothing_from_a_purge_of_it() {
    let origin = Origin::start().await;
    let gate = Gate::closed();
    let fields = |tags: &str| format!("Cache-Control: max-age=60\r\nETag: \"v1\"\r\nCache-Tag: {tags}\r\n");
    let confirmed = Reply::raw(format!("HTTP/1.1 304 Not Modified\r\n{}\r\n", fields("a")));
    origin.on(
        "/p",
        [Reply::ok(&fields("a, b"), "old"), confirmed.after(&gate), Reply::ok(&fields("a"), "new")],
    );
    let proxy = Proxy::in_front_of(&origin).await;
    proxy.get("/p").await;
    proxy.later(61);
    let (_, late, ()) = tokio::join!(
        proxy.get("/p"),
        async {
            proxy.until("fetches", 1).await;
            assert_eq!(proxy.purge(r#"{ "tag": "b" }"#).await, 1);
            proxy.get("/p").await
        },
        async {
            proxy.until("fetches", 1).await;
            while origin.count() < 2 {
                tokio::task::yield_now().await;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
            gate.open();
        }
    );
    assert_eq!(late.body, "new");
}

#[tokio::test]
async fn a_pattern_is_held_against_what_a_flight_was_fetched_for() {
    let origin = Origin::start().await;
    let gate = Gate::closed();
    for target in ["/p?utm_source=x", "/p"] {
        origin.on(target, [Reply::ok(FRESH, "old").after(&gate), Reply::ok(FRESH, "new")]);
    }
    let routes =
        "  - { name: all, match: { path: \"/{*rest}\" }, upstream: app, cache: { drop_tracking: true } }\n";
    let proxy = Proxy::with_routes(&origin, routes).await;
    let (first, late, ()) = tokio::join!(
        proxy.get("/p?utm_source=x"),
        async {
            proxy.until("fetches", 1).await;
            proxy.purge(r#"{ "glob": "/p*" }"#).await;
            proxy.get("/p").await
        },
        async {
            proxy.until("fetches", 2).await;
            gate.open();
            gate.open();
        }
    );
    assert_eq!(first.body, "old");
    assert_eq!(late.body, "new");
}

#[tokio::test]
async fn a_template_makes_tags_of_the_query_and_of_partition_fields_too() {
    let yaml = "keys:\n  by_tenant: { fields: { path: { whole_path: true }, q: { query: { only: [page] } }, tenant: { header: x-tenant, partition: true } } }\n\
        routes:\n  - { name: all, match: { path: \"/{*rest}\" }, upstream: app, cache: { key: by_tenant, tags: [\"page:{query.page}\", \"{tenant}-{query.page}\", \"lang:{query.lang}\"] } }\n";
    let get = async |proxy: &Proxy, target: &str, tenant: &str| {
        proxy.get_with(target, &format!("X-Tenant: {tenant}\r\n")).await.x_cache()
    };
    for (tag, matched) in [
        ("page:1", 2),
        ("page:2", 1),
        ("a-1", 1),
        ("b-1", 1),
        ("b-2", 0),
        ("page:", 0),
        // The parameter is not in the key: whatever is stored may be served where it is another.
        ("lang:fr", 3),
        ("other", 0),
    ] {
        let origin = Origin::start().await;
        for target in ["/?page=1", "/?page=2"] {
            origin.on(target, [Reply::ok(FRESH, "x")]);
        }
        let proxy = Proxy::with_yaml(&origin, yaml).await;
        for (target, tenant) in [("/?page=1&lang=en", "a"), ("/?page=1", "b"), ("/?page=2", "a")] {
            get(&proxy, target, tenant).await;
            assert_eq!(get(&proxy, target, tenant).await, "HIT", "{target}");
        }
        assert_eq!(proxy.purge(&format!(r#"{{"tag": "{tag}"}}"#)).await, matched, "{tag}");
    }
}

/// Clients choose how often they repeat a parameter.
#[tokio::test]
async fn what_has_more_tags_than_are_listed_is_purged_by_each() {
    let yaml = "routes:\n  - { name: all, match: { path: \"/{*rest}\" }, upstream: app, cache: { tags: [\"{query.a}-{query.b}\"] } }\n";
    let origin = Origin::start().await;
    let many = |name: &str| (0..20).map(|number| format!("{name}={number}")).collect::<Vec<_>>().join("&");
    let target = format!("/?{}&{}", many("a"), many("b"));
    origin.on(&target, [Reply::ok(FRESH, "x")]);
    let proxy = Proxy::with_yaml(&origin, yaml).await;
    proxy.get(&target).await;
    assert_eq!(proxy.get(&target).await.x_cache(), "HIT");
    assert_eq!(proxy.purge(r#"{"tag": "none"}"#).await, 0);
    assert_eq!(proxy.purge(r#"{"tag": "19-19"}"#).await, 1);
}

#[tokio::test]
async fn an_app_may_name_thousands_of_tags() {
    let origin = Origin::start().await;
    let tags = (0..18_000).map(|number| format!("product:{number:05}")).collect::<Vec<_>>().join(",");
    assert!(tags.len() > 240 * 1024);
    origin.on("/a", [Reply::ok(&format!("{FRESH}Cache-Tag: {tags}\r\n"), "x")]);
    let proxy = Proxy::in_front_of(&origin).await;
    assert!(!proxy.get("/a").await.head.contains("product"), "clients do not see them");
    assert_eq!(proxy.get("/a").await.x_cache(), "HIT");
    assert_eq!(proxy.purge(r#"{"tag": "product:17999"}"#).await, 1);
}

/// What is asked for first gives a stored response its URL; those that it answers may have others.
#[tokio::test]
async fn a_pattern_reaches_what_is_served_for_its_urls_whatever_it_was_fetched_for() {
    let yaml = "routes:\n  - { name: all, match: { path: \"/{*rest}\" }, upstream: app, cache: { drop_tracking: true } }\n";
    for (first, later, pattern) in [
        ("/a?utm_source=x", "/a", r#"{"glob": "/a"}"#),
        ("/a?utm_source=x", "/a", r#"{"glob": "http://a.test/a"}"#),
        ("/a", "/a?utm_source=x", r#"{"prefix": "http://a.test/a?"}"#),
        ("/a?b=2&a=1", "/a?a=1&b=2", r#"{"prefix": "/a?a=1"}"#),
        ("/a?b=2&a=1", "/a?a=1&b=2", r#"{"glob": "/a?a=1*"}"#),
    ] {
        let origin = Origin::start().await;
        for target in ["/a", "/a?b=2&a=1", "/a?a=1&b=2"] {
            origin.on(target, [Reply::ok(FRESH, "x")]);
        }
        let proxy = Proxy::with_yaml(&origin, yaml).await;
        proxy.get(first).await;
        assert_eq!(proxy.get(later).await.x_cache(), "HIT", "{later}");
        assert_eq!(proxy.purge(pattern).await, 1, "{first} {later} {pattern}");
    }
}
