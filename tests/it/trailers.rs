//! Trailer fields (RFC 9110 §6.5) pass, are stored, and are sent to those who take them.

use crate::support::{Client, Origin, Proxy, Reply};

const TRAILED: &str = "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nETag: \"v1\"\r\nTrailer: Content-Digest, Server-Timing\r\n\
     Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nContent-Digest: sha-256=:x:\r\nServer-Timing: db\r\n\r\n";

const SECTION: &str = "5\r\nhello\r\n0\r\ncontent-digest: sha-256=:x:\r\nserver-timing: db\r\n\r\n";

/// A response in full, to GET with these fields on a connection of its own.
async fn get(proxy: &Proxy, version: &str, fields: &str) -> String {
    let mut client = proxy.connect().await;
    client
        .write(format!("GET /a HTTP/{version}\r\nHost: a.test\r\n{fields}Connection: close, TE\r\n\r\n"))
        .await;
    client.read_to_end().await
}

#[tokio::test]
async fn trailers_pass_and_are_sent_again_on_a_hit() {
    let origin = Origin::start().await;
    origin.on("/a", [Reply::raw(TRAILED)]);
    let proxy = Proxy::in_front_of(&origin).await;
    for word in ["MISS", "HIT", "HIT"] {
        let all = get(&proxy, "1.1", "TE: trailers\r\n").await;
        assert!(all.contains(&format!("x-cache: {word}\r\n")), "{all}");
        assert!(all.contains("transfer-encoding: chunked\r\n") && !all.contains("content-length"), "{all}");
        assert!(all.to_lowercase().contains("trailer: content-digest, server-timing\r\n"), "{all}");
        assert!(all.ends_with(SECTION), "{all}");
    }
    assert_eq!(origin.count(), 1);
}

#[tokio::test]
async fn who_does_not_take_trailers_gets_none() {
    let origin = Origin::start().await;
    origin.on("/a", [Reply::raw(TRAILED)]);
    let proxy = Proxy::in_front_of(&origin).await;
    let miss = get(&proxy, "1.1", "").await;
    assert!(miss.ends_with("5\r\nhello\r\n0\r\n\r\n"), "{miss}");
    for (version, fields) in [("1.1", ""), ("1.1", "TE: gzip\r\n"), ("1.0", "TE: trailers\r\n")] {
        let hit = get(&proxy, version, fields).await;
        assert!(hit.contains("x-cache: HIT\r\n") && hit.contains("content-length: 5\r\n"), "{hit}");
        assert!(hit.ends_with("\r\n\r\nhello"), "{hit}");
    }
    assert!(get(&proxy, "1.1", "TE: trailers\r\n").await.ends_with(SECTION), "they were stored");
    assert_eq!(origin.count(), 1);
}

#[tokio::test]
async fn trailers_that_were_not_announced_are_known_on_a_hit() {
    let origin = Origin::start().await;
    origin.on("/a", [Reply::raw(TRAILED.replace("Trailer: Content-Digest, Server-Timing\r\n", ""))]);
    let proxy = Proxy::in_front_of(&origin).await;
    // Only what the head announces can be sent behind the content.
    assert!(get(&proxy, "1.1", "TE: trailers\r\n").await.ends_with("5\r\nhello\r\n0\r\n\r\n"));
    let hit = get(&proxy, "1.1", "TE: trailers\r\n").await;
    assert!(hit.contains("trailer: content-digest, server-timing\r\n") && hit.ends_with(SECTION), "{hit}");
}

#[tokio::test]
async fn trailers_belong_to_the_content_and_stay_with_it_when_it_is_confirmed() {
    let origin = Origin::start().await;
    let confirmed =
        Reply::raw("HTTP/1.1 304 Not Modified\r\nCache-Control: max-age=60\r\nETag: \"v1\"\r\n\r\n");
    origin.on("/a", [Reply::raw(TRAILED), confirmed]);
    let proxy = Proxy::in_front_of(&origin).await;
    get(&proxy, "1.1", "").await;
    proxy.later(100);
    for word in ["REFRESH", "HIT"] {
        let all = get(&proxy, "1.1", "TE: trailers\r\n").await;
        assert!(all.contains(&format!("x-cache: {word}\r\n")) && all.ends_with(SECTION), "{all}");
    }
}

#[tokio::test]
async fn a_trailer_cannot_say_what_belongs_into_the_head() {
    let origin = Origin::start().await;
    let sly = "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTrailer: Set-Cookie, Vary, Connection, X-Ok\r\n\
               Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nSet-Cookie: a=b\r\nVary: *\r\nConnection: close\r\nX-Ok: 1\r\n\r\n";
    origin.on("/a", [Reply::raw(sly)]);
    let proxy = Proxy::in_front_of(&origin).await;
    for _ in ["MISS", "HIT"] {
        let all = get(&proxy, "1.1", "TE: trailers\r\n").await;
        assert!(all.ends_with("5\r\nhello\r\n0\r\nx-ok: 1\r\n\r\n"), "{all}");
    }
    assert_eq!(origin.count(), 1);
}

#[tokio::test]
async fn the_origin_hears_of_trailers_from_those_who_take_them() {
    let origin = Origin::start().await;
    origin.on("/a", [Reply::ok("", "hello")]);
    let proxy = Proxy::in_front_of(&origin).await;
    get(&proxy, "1.1", "").await;
    assert!(!origin.last().to_lowercase().contains("\r\nte:"), "{}", origin.last());
    get(&proxy, "1.1", "TE: gzip, trailers\r\n").await;
    let request = origin.last().to_lowercase();
    assert!(
        request.contains("\r\nte: trailers\r\n") && request.contains("\r\nconnection: te\r\n"),
        "{request}"
    );
}

#[tokio::test]
async fn an_upload_may_have_trailers() {
    let (origin, listener) = Origin::by_hand().await;
    let proxy = Proxy::in_front_of(&origin).await;
    let mut client = proxy.connect().await;
    let head =
        "POST /a HTTP/1.1\r\nHost: a.test\r\nTrailer: Content-Digest\r\nTransfer-Encoding: chunked\r\n\r\n";
    client
        .write(format!("{head}5\r\nhello\r\n0\r\nContent-Digest: sha-256=:x:\r\nX-Unannounced: 1\r\n\r\n"))
        .await;
    let mut server = Client::over(listener.accept().await.unwrap().0);
    let request = server.take_until("sha-256=:x:\r\n\r\n").await.to_lowercase();
    assert!(request.contains("\r\ntrailer: content-digest\r\n"), "{request}");
    assert!(request.ends_with("5\r\nhello\r\n0\r\ncontent-digest: sha-256=:x:\r\n\r\n"), "{request}");
    // A response with trailers ends its exchange: the connection carries the next one.
    for _ in 0..2 {
        server.write(TRAILED).await;
        assert_eq!(client.take_until("0\r\n\r\n").await.matches("hello").count(), 1);
        client.write("POST /b HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1\r\n\r\nb").await;
        server.take_until("\r\n\r\nb").await;
    }
}
