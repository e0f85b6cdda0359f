//! QUERY: as safe as GET, with content that says what is asked for (RFC 10008).

use crate::support::{Client, Gate, Origin, Proxy, Reply};

const FRESH: &str = "Cache-Control: max-age=600\r\n";
const JSON: &str = "Content-Type: application/json\r\n";

const ROUTES: &str =
    "  - { name: all, match: { path: \"/{*rest}\" }, upstream: app, cache: { query: { max_body: 100 } } }\n";

async fn proxy(replies: impl IntoIterator<Item = Reply>) -> (Origin, Proxy) {
    let origin = Origin::start().await;
    origin.on("/a", replies);
    let proxy = Proxy::with_routes(&origin, ROUTES).await;
    (origin, proxy)
}

#[tokio::test]
async fn the_same_content_is_answered_from_the_store() {
    let (origin, proxy) =
        proxy([Reply::ok(&format!("{FRESH}Accept-Query: \"application/json\"\r\n"), "1")]).await;
    assert_eq!(proxy.request("QUERY", "/a", JSON, "{}").await.x_cache(), "MISS");
    let sent = origin.last();
    assert!(sent.starts_with("QUERY /a ") && sent.ends_with("\r\n\r\n{}"), "{sent}");
    let second = proxy.request("QUERY", "/a", JSON, "{}").await;
    assert_eq!((second.x_cache().as_str(), second.body.as_str()), ("HIT", "1"));
    assert_eq!(second.field("accept-query"), "\"application/json\"");
    let chunked = format!("{JSON}Transfer-Encoding: chunked\r\n\r\n1\r\n{{\r\n1\r\n}}\r\n0\r\n");
    assert_eq!(proxy.request("QUERY", "/a", &chunked, "").await.x_cache(), "HIT");
    assert_eq!(origin.count(), 1);
}

#[tokio::test]
async fn other_content_and_what_is_said_of_it_make_another_request() {
    let (origin, proxy) = proxy([Reply::ok(FRESH, "1")]).await;
    proxy.request("QUERY", "/a", JSON, "{}").await;
    for (fields, content) in [
        (JSON, "{ }"),
        (JSON, ""),
        ("Content-Type: text/plain\r\n", "{}"),
        ("Content-Type: application/json\r\nContent-Encoding: identity\r\n", "{}"),
        ("Content-Type: application/json\r\nContent-Language: en\r\n", "{}"),
    ] {
        let response = proxy.request("QUERY", "/a", fields, content).await;
        assert_eq!(response.x_cache(), "MISS", "{fields}{content}");
    }
    assert_eq!(origin.count(), 6);
}

#[tokio::test]
async fn query_and_get_do_not_answer_for_each_other() {
    let (_origin, proxy) = proxy([Reply::ok(FRESH, "of the query"), Reply::ok(FRESH, "of the get")]).await;
    assert_eq!(proxy.request("QUERY", "/a", JSON, "").await.body, "of the query");
    assert_eq!(proxy.get("/a").await.body, "of the get");
    assert_eq!(proxy.request("QUERY", "/a", JSON, "").await.body, "of the query");
    assert_eq!(proxy.get("/a").await.x_cache(), "HIT");
}

#[tokio::test]
async fn a_query_without_content_that_waited_for_another_in_vain_is_still_none_of_gets() {
    let gate = Gate::closed();
    let (_origin, proxy) = proxy([
        Reply::ok("Cache-Control: private\r\n", "of one").after(&gate),
        Reply::ok(FRESH, "of the query"),
        Reply::ok(FRESH, "of the get"),
    ])
    .await;
    let query = || proxy.request("QUERY", "/a", JSON, "");
    let (_, second, ()) = tokio::join!(query(), query(), async {
        proxy.until("waiting", 1).await;
        gate.open();
    });
    // Which of them was first is not known; the other has a response of its own.
    assert!(["of one", "of the query"].contains(&second.body.as_str()));
    assert_eq!(proxy.get("/a").await.body, "of the get");
    assert_eq!(query().await.body, "of the query");
}

#[tokio::test]
async fn a_query_that_does_not_say_what_its_content_is_is_passed_on() {
    let (origin, proxy) = proxy([Reply::ok(FRESH, "1")]).await;
    for _ in 0..2 {
        let response = proxy.request("QUERY", "/a", "", "{}").await;
        assert_eq!(
            response.field("cache-status"),
            "staleproof; fwd=bypass; fwd-status=200; detail=content-type"
        );
    }
    assert_eq!(origin.count(), 2);
}

#[tokio::test]
async fn a_query_with_too_much_content_is_passed_on_whole() {
    let (origin, proxy) = proxy([Reply::ok(FRESH, "1")]).await;
    let content = "x".repeat(101);
    // With its length, and without: then the limit is found while reading.
    let (head, tail) = content.split_at(60);
    let chunked = format!("{JSON}Transfer-Encoding: chunked\r\n\r\n3c\r\n{head}\r\n29\r\n{tail}\r\n0\r\n");
    for _ in 0..2 {
        let response = proxy.request("QUERY", "/a", JSON, &content).await;
        assert!(response.field("cache-status").ends_with("detail=request-content"), "{response:?}");
        assert!(origin.last().ends_with(&format!("\r\n\r\n{content}")));
        let response = proxy.request("QUERY", "/a", &chunked, "").await;
        assert!(response.field("cache-status").ends_with("detail=request-content"), "{response:?}");
        let sent = origin.last();
        let received = sent.split_once("\r\n\r\n").map_or(0, |(_, body)| body.matches('x').count());
        assert_eq!(received, 101, "{sent}");
    }
    assert_eq!(origin.count(), 4);
    let largest = "x".repeat(100);
    proxy.request("QUERY", "/a", JSON, &largest).await;
    assert_eq!(proxy.request("QUERY", "/a", JSON, &largest).await.x_cache(), "HIT");
}

#[tokio::test]
async fn content_with_trailers_is_passed_on_with_them() {
    let (origin, listener) = Origin::by_hand().await;
    let proxy = Proxy::with_routes(&origin, ROUTES).await;
    let mut client = proxy.connect().await;
    let head = format!("QUERY /a HTTP/1.1\r\nHost: a.test\r\n{JSON}Trailer: x-sum\r\n");
    client.write(format!("{head}Transfer-Encoding: chunked\r\n\r\n2\r\n{{}}\r\n0\r\nx-sum: 1\r\n\r\n")).await;
    let mut server = Client::over(listener.accept().await.unwrap().0);
    let request = server.take_until("x-sum: 1\r\n\r\n").await;
    assert!(request.ends_with("\r\n\r\n2\r\n{}\r\n0\r\nx-sum: 1\r\n\r\n"), "{request}");
    server.write(format!("HTTP/1.1 200 OK\r\n{FRESH}Content-Length: 1\r\n\r\n1")).await;
    let response = client.response().await;
    assert!(response.field("cache-status").ends_with("detail=request-content"), "{response:?}");
}

#[tokio::test]
async fn content_that_is_kept_back_is_asked_for() {
    let (origin, proxy) = proxy([Reply::ok(FRESH, "1")]).await;
    for expected in ["MISS", "HIT"] {
        let mut client = proxy.connect().await;
        let head = format!(
            "QUERY /a HTTP/1.1\r\nHost: a.test\r\n{JSON}Content-Length: 2\r\nExpect: 100-continue\r\n\r\n"
        );
        client.write(head).await;
        let asked = client.read_until("\r\n\r\n").await;
        assert!(asked.starts_with("HTTP/1.1 100 "), "{asked}");
        client.write("{}").await;
        let answered = client.read_until("x-cache: ").await;
        assert!(answered.to_lowercase().contains("200 ok"), "{answered}");
        assert_eq!(client.read_until(&format!("x-cache: {expected}")).await.matches(expected).count(), 1);
    }
    assert_eq!(origin.count(), 1);
    assert!(!origin.last().to_lowercase().contains("expect:"));
}

#[tokio::test]
async fn conditions_on_a_query_are_answered_as_those_on_a_get() {
    let (origin, proxy) = proxy([Reply::ok(&format!("{FRESH}ETag: \"1\"\r\n"), "1")]).await;
    let conditional = format!("{JSON}If-None-Match: \"1\"\r\n");
    assert_eq!(proxy.request("QUERY", "/a", JSON, "{}").await.status, 200);
    assert_eq!(proxy.request("QUERY", "/a", &conditional, "{}").await.status, 304);
    assert_eq!(origin.count(), 1);
}

#[tokio::test]
async fn a_stale_response_to_a_query_is_validated_with_its_content() {
    let not_modified = Reply::raw("HTTP/1.1 304 Not Modified\r\nETag: \"1\"\r\n\r\n");
    let (origin, proxy) = proxy([Reply::ok(&format!("{FRESH}ETag: \"1\"\r\n"), "1"), not_modified]).await;
    proxy.request("QUERY", "/a", JSON, "{}").await;
    proxy.later(601);
    let validated = proxy.request("QUERY", "/a", JSON, "{}").await;
    assert_eq!((validated.x_cache().as_str(), validated.body.as_str()), ("REFRESH", "1"));
    let sent = origin.last().to_lowercase();
    assert!(sent.contains("if-none-match: \"1\"\r\n") && sent.ends_with("\r\n\r\n{}"), "{sent}");
    assert_eq!(proxy.request("QUERY", "/a", JSON, "{}").await.x_cache(), "HIT");
}

#[tokio::test]
async fn what_is_invalidated_for_a_url_is_so_for_its_queries() {
    let (_origin, proxy) =
        proxy([Reply::ok(FRESH, "old"), Reply::ok(FRESH, "old"), Reply::ok(FRESH, "new")]).await;
    proxy.request("QUERY", "/a", JSON, "{}").await;
    proxy.get("/a").await;
    assert_eq!(proxy.purge(r#"{"url": "http://a.test/a"}"#).await, 2);
    assert_eq!(proxy.request("QUERY", "/a", JSON, "{}").await.body, "new");
    proxy.request("DELETE", "/a", "", "").await;
    assert_eq!(proxy.request("QUERY", "/a", JSON, "{}").await.x_cache(), "MISS");
}

#[tokio::test]
async fn a_query_is_asked_again_when_the_connection_was_closed_under_it() {
    let origin = Origin::start().await;
    // Kept after the first answer, and closed at the second request.
    origin.on("/a", [Reply::ok("", "1"), Reply::default().close(), Reply::ok("", "2")]);
    let proxy = Proxy::with_routes(&origin, ROUTES).await;
    assert_eq!(proxy.request("QUERY", "/a", JSON, "{}").await.body, "1");
    assert_eq!(proxy.request("QUERY", "/a", JSON, "{}").await.body, "2");
    assert!(origin.last().ends_with("\r\n\r\n{}"));
}

#[tokio::test]
async fn without_the_routes_word_a_query_is_passed_on() {
    let origin = Origin::start().await;
    origin.on("/a", [Reply::ok(FRESH, "1")]);
    let proxy = Proxy::in_front_of(&origin).await;
    for _ in 0..2 {
        let response = proxy.request("QUERY", "/a", JSON, "{}").await;
        assert_eq!(response.field("cache-status"), "staleproof; fwd=method; fwd-status=200");
    }
    assert_eq!(origin.count(), 2);
}
