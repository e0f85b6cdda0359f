//! Bytes travel as they come.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::support::{Client, Gate, Origin, Proxy, Reply};

const REQUEST: &str = "GET /a HTTP/1.1\r\nHost: a.test\r\n\r\n";

async fn accept(listener: &TcpListener) -> Client {
    Client::over(listener.accept().await.expect("a connection").0)
}

/// A chunk of some bytes that ends with a mark.
fn chunk(number: usize, bytes: usize) -> (String, String) {
    let mark = format!("<{number}>");
    let data = format!("{}{mark}", "x".repeat(bytes));
    (format!("{:x}\r\n{data}\r\n", data.len()), mark)
}

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

#[tokio::test]
async fn of_an_endless_body_each_piece_arrives_before_the_next_is_sent_to_whoever_reads_along() {
    let fresh = "Cache-Control: max-age=60\r\n";
    for (fields, shared) in [
        ("Content-Type: text/event-stream\r\n", false),
        ("Content-Type: text/event-stream\r\nCache-Control: no-cache\r\n", false),
        ("Content-Type: text/event-stream\r\nCache-Control: max-age=60\r\n", true),
        ("Incremental: ?1\r\n", false),
        ("Incremental: ?1\r\nCache-Control: max-age=60\r\n", true),
        ("X-Accel-Buffering: no\r\n", false),
        ("X-Accel-Buffering: no\r\nCache-Control: max-age=60\r\n", true),
        ("", false),
        (fresh, true),
    ] {
        let (origin, listener) = Origin::by_hand().await;
        let proxy = Proxy::in_front_of(&origin).await;
        let head = format!("HTTP/1.1 200 OK\r\n{fields}Transfer-Encoding: chunked\r\n\r\n");
        let mut first = proxy.connect().await;
        first.write(REQUEST).await;
        let mut server = accept(&listener).await;
        server.take_until("\r\n\r\n").await;
        server.write(&head).await;
        assert!(first.take_until("\r\n\r\n").await.starts_with("HTTP/1.1 200"), "{fields}");
        let mut number = 0;
        // Also pieces that fill buffers, and ones that do not by far.
        for bytes in [0, 1, 100_000, 0] {
            let (piece, mark) = chunk(number, bytes);
            number += 1;
            server.write(&piece).await;
            first.take_until(&mark).await;
        }
        // A second one comes in mid-body, and waits for no end.
        let mut second = proxy.connect().await;
        second.write(REQUEST).await;
        let mut other = if shared { None } else { Some(accept(&listener).await) };
        if let Some(other) = &mut other {
            other.take_until("\r\n\r\n").await;
            other.write(&head).await;
        } else {
            second.take_until(&format!("<{}>", number - 1)).await;
        }
        for bytes in [0, 100_000, 1] {
            let (piece, mark) = chunk(number, bytes);
            number += 1;
            server.write(&piece).await;
            first.take_until(&mark).await;
            if let Some(other) = &mut other {
                other.write(&piece).await;
            }
            second.take_until(&mark).await;
        }
    }
}

#[tokio::test]
async fn an_event_stream_is_stored_and_shared_only_if_it_says_for_how_long_itself() {
    let stream = "Content-Type: Text/Event-Stream; charset=utf-8\r\n";
    let modified = "Last-Modified: Thu, 01 Jan 1970 00:00:00 GMT\r\n";
    for cache in [
        "{}",
        "{ ttl: 5m }",
        "{ ttl: { min: 5m } }",
        "{ ttl: { override: 5m } }",
        "{ ttl: { by_status: { 200: 5m } } }",
    ] {
        for (fields, word) in [
            (stream.to_owned(), "MISS"),
            (format!("{stream}Cache-Control: public\r\n{modified}ETag: \"v1\"\r\n"), "MISS"),
            (format!("{stream}{modified}"), "MISS"),
            (format!("{stream}Cache-Control: max-age=60\r\n"), "HIT"),
        ] {
            let origin = Origin::start().await;
            origin.on("/a", [Reply::ok(&fields, "data: 1\n\n")]);
            let routes = format!(
                "  - {{ name: all, match: {{ path: \"/{{*rest}}\" }}, upstream: app, cache: {cache} }}\n"
            );
            let proxy = Proxy::with_routes(&origin, &routes).await;
            let first = proxy.get("/a").await;
            let detail = first.field("cache-status").contains("detail=no-freshness");
            assert_eq!(detail, word == "MISS", "{cache} {first:?}");
            assert_eq!(proxy.get("/a").await.x_cache(), word, "{cache} {fields}");
        }
    }
}

/// Those who came before its head was there are released by it.
#[tokio::test]
async fn nobody_waits_for_the_end_of_an_event_stream() {
    let (origin, listener) = Origin::by_hand().await;
    let routes = "  - { name: all, match: { path: \"/{*rest}\" }, upstream: app, cache: { ttl: 5m } }\n";
    let proxy = Proxy::with_routes(&origin, routes).await;
    let mut clients = Vec::new();
    for _ in 0..3 {
        let mut client = proxy.connect().await;
        client.write(REQUEST).await;
        clients.push(client);
    }
    proxy.until("waiting", 2).await;
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
    let mut servers = Vec::new();
    for number in 0..4 {
        if number == 3 {
            // And who comes afterwards waits for no head.
            let mut client = proxy.connect().await;
            client.write(REQUEST).await;
            clients.push(client);
        }
        let mut server = accept(&listener).await;
        server.take_until("\r\n\r\n").await;
        server.write(format!("{head}{}", chunk(number, 0).0)).await;
        servers.push(server);
    }
    // Each has one of its own.
    let mut marks = Vec::new();
    for client in &mut clients {
        let read = client.read_until(">\r\n").await;
        marks.push(read.split_once('<').unwrap().1[..1].to_owned());
    }
    marks.sort();
    assert_eq!(marks, ["0", "1", "2", "3"]);
}

#[tokio::test]
async fn each_piece_of_an_upload_arrives_before_the_next_is_sent() {
    for chunked in [true, false] {
        let (origin, listener) = Origin::by_hand().await;
        let proxy = Proxy::in_front_of(&origin).await;
        let framing = if chunked {
            "Transfer-Encoding: chunked".to_owned()
        } else {
            "Content-Length: 300012".to_owned()
        };
        let mut client = proxy.connect().await;
        client.write(format!("POST /a HTTP/1.1\r\nHost: a.test\r\n{framing}\r\n\r\n")).await;
        let mut server = accept(&listener).await;
        let head = server.take_until("\r\n\r\n").await.to_lowercase();
        assert!(head.contains(&framing.to_lowercase()), "{head}");
        for (number, bytes) in [0, 100_000, 0, 200_000].into_iter().enumerate() {
            let (piece, mark) = chunk(number, bytes);
            client.write(if chunked { piece } else { format!("{}{mark}", "x".repeat(bytes)) }).await;
            server.take_until(&mark).await;
        }
        if chunked {
            client.write("0\r\n\r\n").await;
            server.take_until("0\r\n\r\n").await;
        }
        server.write("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nthanks").await;
        assert_eq!(client.response().await.body, "thanks");
    }
}

/// More than the buffers of all sockets on the way can hold.
const MORE_THAN_ANY_BUFFER_HOLDS: usize = 128 * 1024 * 1024;

/// A client whose own buffer is small.
async fn connect_with_small_buffer(address: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(16 * 1024).expect("a small buffer");
    socket.connect(address).await.expect("the proxy listens")
}

/// Sends until the other end takes no more for a while; how many bytes it has taken. `None`: the connection has ended.
async fn send_until_held_up(stream: &mut TcpStream, piece: &[u8], rest: &mut Vec<u8>) -> Option<usize> {
    let mut sent = 0;
    while sent < MORE_THAN_ANY_BUFFER_HOLDS {
        if rest.is_empty() {
            rest.extend_from_slice(piece);
        }
        match timeout(Duration::from_millis(100), stream.write(rest)).await {
            Ok(Ok(written)) => {
                rest.drain(..written);
                sent += written;
            }
            Ok(Err(_)) => return None,
            Err(_) => break,
        }
    }
    Some(sent)
}

// How long nothing moves is the subject here.
#[tokio::test]
async fn a_client_that_does_not_read_stops_the_origin_and_one_that_leaves_ends_it() {
    for fields in [
        "Content-Type: text/event-stream\r\n",
        "Cache-Control: no-store\r\n",
        // Larger than what is stored: it is passed on as soon as that is known.
        "Cache-Control: max-age=60\r\n",
    ] {
        let (origin, listener) = Origin::by_hand().await;
        let yaml = "store: { memory: { capacity: 16MiB, max_object: 1MiB } }\nroutes:\n  - { name: all, match: { path: \"/{*rest}\" }, upstream: app }\n";
        let proxy = Proxy::with_yaml(&origin, yaml).await;
        let mut client = connect_with_small_buffer(proxy.address).await;
        client.write_all(REQUEST.as_bytes()).await.unwrap();
        let (mut server, _) = listener.accept().await.unwrap();
        let mut request = vec![0; 4096];
        assert!(server.read(&mut request).await.unwrap() > 0);
        let head = format!("HTTP/1.1 200 OK\r\n{fields}Transfer-Encoding: chunked\r\n\r\n");
        server.write_all(head.as_bytes()).await.unwrap();
        let piece = format!("10000\r\n{}\r\n", "x".repeat(1 << 16)).into_bytes();
        let mut rest = Vec::new();
        let sent = send_until_held_up(&mut server, &piece, &mut rest).await.expect("the connection stands");
        assert!(sent < MORE_THAN_ANY_BUFFER_HOLDS, "{fields}");
        // What it reads makes room for as much.
        let reading = async {
            let mut read = vec![0; 1 << 20];
            let mut more = 0;
            while more < 2 * sent {
                more += client.read(&mut read).await.unwrap();
            }
        };
        tokio::select! {
            () = reading => {}
            _ = async { while send_until_held_up(&mut server, &piece, &mut rest).await.is_some() {} } => {
                panic!("the connection stands: {fields}")
            }
        }
        drop(client);
        while send_until_held_up(&mut server, &piece, &mut rest).await.is_some() {}
    }
}

// How long nothing moves is the subject here.
#[tokio::test]
async fn an_origin_that_does_not_read_stops_its_client() {
    let (origin, listener) = Origin::by_hand().await;
    let server = "  max_request_body: 1GiB\n";
    let routes = "routes:\n  - { name: all, match: { path: \"/{*rest}\" }, upstream: app }\n";
    let proxy = Proxy::with_sections(&origin, server, "", routes).await;
    let mut client = TcpStream::connect(proxy.address).await.unwrap();
    let head = "POST /a HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1000000000\r\n\r\n";
    client.write_all(head.as_bytes()).await.unwrap();
    let _held = listener.accept().await.unwrap();
    let sent = send_until_held_up(&mut client, &[b'x'; 1 << 16], &mut Vec::new()).await;
    assert!(sent.expect("the connection stands") < MORE_THAN_ANY_BUFFER_HOLDS);
}
