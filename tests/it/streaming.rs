//! Bytes travel as they come.

use crate::support::{Gate, Origin, Proxy, Reply};

#[tokio::test]
async fn a_piece_arrives_before_the_next_is_sent() {
    let origin = Origin::start().await;
    let (first, second) = (Gate::closed(), Gate::closed());
    for fields in ["Cache-Control: max-age=60\r\n", "Cache-Control: no-store\r\n"] {
        let reply = Reply::raw(format!("HTTP/1.1 200 OK\r\n{fields}Transfer-Encoding: chunked\r\n\r\n"))
            .wait(&first)
            .then("3\r\none\r\n")
            .wait(&second)
            .then("3\r\ntwo\r\n0\r\n\r\n");
        origin.on("/a", [reply]);
        let proxy = Proxy::in_front_of(&origin).await;
        let mut client = proxy.connect().await;
        client.write("GET /a HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
        assert!(client.read_until("\r\n\r\n").await.starts_with("HTTP/1.1 200"), "the head comes first");
        first.open();
        assert!(client.read_until("one").await.contains("one"));
        second.open();
        assert_eq!(client.response().await.body, "onetwo");
    }
}

#[tokio::test]
async fn an_upload_is_not_buffered() {
    let origin = Origin::start().await;
    origin.on("/a", [Reply::ok("", "thanks")]);
    let proxy = Proxy::in_front_of(&origin).await;
    let body = "x".repeat(5_000_000);
    let response = proxy.request("POST", "/a", "", &body).await;
    assert_eq!(response.body, "thanks");
    assert_eq!(origin.last().split_once("\r\n\r\n").unwrap().1.len(), body.len());
}

#[tokio::test]
async fn a_large_body_arrives_whole_and_is_served_whole() {
    let origin = Origin::start().await;
    let body: String = (0..300_000).map(|n| char::from(b'a' + (n % 26) as u8)).collect();
    origin.on("/a", [Reply::ok("Cache-Control: max-age=60\r\n", &body)]);
    let proxy = Proxy::in_front_of(&origin).await;
    for word in ["MISS", "HIT"] {
        let response = proxy.get("/a").await;
        assert_eq!(response.x_cache(), word);
        assert!(response.body == body);
    }
}

#[tokio::test]
async fn a_client_that_leaves_in_mid_body_leaves_nothing_half_stored() {
    let origin = Origin::start().await;
    let (left, end) = (Gate::closed(), Gate::closed());
    let fields = "Cache-Control: max-age=60\r\n";
    let slow = Reply::raw(format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: 8\r\n\r\nhalf"))
        .wait(&left)
        .then("ha")
        .wait(&end)
        .then("lf");
    origin.on("/a", [slow]);
    let proxy = Proxy::in_front_of(&origin).await;
    let mut client = proxy.connect().await;
    client.write("GET /a HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    client.read_until("half").await;
    drop(client);
    left.open();
    // Whoever comes next reads along; nothing is a hit before it is whole.
    let mut next = proxy.connect().await;
    next.write("GET /a HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    next.read_until("halfha").await;
    end.open();
    let response = next.response().await;
    assert_eq!((response.body.as_str(), response.x_cache().as_str()), ("halfhalf", "MISS"));
    assert_eq!(proxy.get("/a").await.x_cache(), "HIT");
    assert_eq!(origin.count(), 1);
}
