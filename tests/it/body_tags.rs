//! Tags that are read out of bodies.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::support::{Gate, Origin, Proxy, Reply};

const ROUTE: &str = "  - name: all\n    match: { path: \"/{*rest}\" }\n    upstream: app\n    cache: { tags_from_body: [\"product:{$.items[*].id}\", \"list:{$.name}\"] }\n";
const JSON: &str = "Cache-Control: max-age=600\r\nContent-Type: application/json\r\n";
const BODY: &str = r#"{"name": "new", "items": [{"id": 1}, {"id": "b"}]}"#;

async fn proxy(replies: impl IntoIterator<Item = Reply>) -> (Origin, Proxy) {
    let origin = Origin::start().await;
    origin.on("/a", replies);
    let proxy = Proxy::with_routes(&origin, ROUTE).await;
    (origin, proxy)
}

#[tokio::test]
async fn what_a_body_names_purges_it() {
    for tag in ["product:1", "product:b", "list:new"] {
        let (origin, proxy) = proxy([Reply::ok(JSON, BODY), Reply::ok(JSON, "{}")]).await;
        proxy.get("/a").await;
        assert_eq!(proxy.purge(r#"{"tag": "product:2"}"#).await, 0);
        assert_eq!((proxy.get("/a").await.x_cache(), origin.count()), ("HIT".into(), 1));
        assert_eq!(proxy.purge(&format!(r#"{{"tag": "{tag}"}}"#)).await, 1, "{tag}");
        assert_eq!(proxy.get("/a").await.body, "{}", "{tag}");
    }
}

#[tokio::test]
async fn a_compressed_body_is_read_too_and_no_other_coding_is_asked_for() {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(BODY.as_bytes()).unwrap();
    let body = encoder.finish().unwrap();
    let head =
        format!("HTTP/1.1 200 OK\r\n{JSON}Content-Encoding: gzip\r\nContent-Length: {}\r\n\r\n", body.len());
    let (origin, proxy) = proxy([Reply::raw([head.as_bytes(), &body].concat()), Reply::ok(JSON, "{}")]).await;
    proxy.get_with("/a", "Accept-Encoding: br, gzip;q=0.5\r\n").await;
    assert!(origin.last().to_ascii_lowercase().contains("accept-encoding: gzip\r\n"), "{}", origin.last());
    assert_eq!(proxy.purge(r#"{"tag": "product:1"}"#).await, 1);
    proxy.get_with("/a", "Accept-Encoding: br\r\n").await;
    assert!(
        origin.last().to_ascii_lowercase().contains("accept-encoding: identity\r\n"),
        "{}",
        origin.last()
    );
}

#[tokio::test]
async fn a_body_that_cannot_be_read_is_not_stored() {
    let brotli = format!("{JSON}Content-Encoding: br\r\n");
    let long = format!("\"{}\"", "x".repeat(2 << 20));
    for (fields, body) in [(JSON, "<html>"), (&*brotli, "{}"), (JSON, &*long)] {
        let (origin, proxy) = proxy([Reply::ok(fields, body), Reply::ok(fields, body)]).await;
        assert_eq!(proxy.get("/a").await.body, body);
        assert_eq!((proxy.get("/a").await.x_cache(), origin.count()), ("MISS".into(), 2), "{}", body.len());
    }
    // What is no JSON has no tags, and is stored.
    let html = "Cache-Control: max-age=600\r\nContent-Type: text/html\r\n";
    let (origin, proxy) = proxy([Reply::ok(html, "<html>")]).await;
    proxy.get("/a").await;
    assert_eq!((proxy.get("/a").await.x_cache(), origin.count()), ("HIT".into(), 1));
}

#[tokio::test]
async fn a_large_body_is_read_to_its_end() {
    let items: Vec<_> = (0..9000).map(|id| serde_json::json!({ "id": id })).collect();
    let body = serde_json::json!({ "name": "x", "items": items, "more": "y".repeat(100_000) }).to_string();
    let (_origin, proxy) = proxy([Reply::ok(JSON, &body), Reply::ok(JSON, "{}")]).await;
    assert_eq!(proxy.get("/a").await.body.len(), body.len());
    assert_eq!(proxy.purge(r#"{"tag": "product:8999"}"#).await, 1);
}

/// Until the body is there nobody knows what it names.
#[tokio::test]
async fn whoever_comes_after_a_purge_does_not_share_a_body_that_may_name_what_was_purged() {
    let gate = Gate::closed();
    let head = format!("HTTP/1.1 200 OK\r\n{JSON}Content-Length: {}\r\n\r\n", BODY.len());
    let (begins, ends) = BODY.split_at(10);
    let slow = Reply::raw(format!("{head}{begins}")).wait(&gate).then(ends);
    let (origin, proxy) = proxy([slow, Reply::ok(JSON, "{}")]).await;
    let proxy = std::sync::Arc::new(proxy);
    let first = tokio::spawn({
        let proxy = std::sync::Arc::clone(&proxy);
        async move { proxy.get("/a").await.body }
    });
    while origin.count() < 1 {
        tokio::task::yield_now().await;
    }
    proxy.purge(r#"{"tag": "product:1"}"#).await;
    // It is in its own right, and is served while the first still comes.
    assert_eq!(proxy.get("/a").await.body, "{}");
    gate.open();
    assert_eq!(first.await.unwrap(), BODY, "who came before has it");
    assert_eq!(proxy.get("/a").await.body, "{}", "and nobody else");
}

#[tokio::test]
async fn a_confirmation_keeps_what_the_body_named() {
    let stale =
        "Cache-Control: max-age=0, must-revalidate\r\nETag: \"1\"\r\nContent-Type: application/json\r\n";
    let confirmed = Reply::status("304 Not Modified", "ETag: \"1\"\r\nCache-Control: max-age=600\r\n", "");
    let (origin, proxy) = proxy([Reply::ok(stale, BODY), confirmed, Reply::ok(JSON, "{}")]).await;
    proxy.get("/a").await;
    assert_eq!((proxy.get("/a").await.body, origin.count()), (BODY.to_owned(), 2));
    assert_eq!(proxy.purge(r#"{"tag": "product:1"}"#).await, 1);
    assert_eq!(proxy.get("/a").await.body, "{}");
}
