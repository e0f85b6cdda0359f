//! A response that did not come whole is never stored; who reads it sees an error, and the next request starts anew.

use crate::support::{Gate, Origin, Proxy, Reply, send};

const FRESH: &str = "Cache-Control: max-age=60\r\n";
const TAGGED: &str = "Cache-Control: max-age=60\r\nETag: \"v1\"\r\n";
const REQUEST: &str = "GET /a HTTP/1.1\r\nHost: a.test\r\n\r\n";
const ALL: &str = "routes:\n  - { name: all, match: { path: \"/{*rest}\" }, upstream: app }\n";

/// How a reply ends.
type End = fn(Reply) -> Reply;

fn head(fields: &str) -> String {
    format!("HTTP/1.1 200 OK\r\n{fields}\r\n")
}

/// What is left of `/a` once it has broken off: nothing, so that the next request is asked anew and stored.
async fn starts_anew(proxy: &Proxy, case: &str) {
    proxy.until("fetches", 0).await;
    for word in ["MISS", "HIT"] {
        let response = proxy.get("/a").await;
        assert_eq!((response.body.as_str(), response.x_cache().as_str()), ("whole", word), "{case}");
        assert!(response.complete, "{case}");
    }
}

#[tokio::test]
async fn whatever_ends_a_body_before_its_end_ends_it_with_an_error_and_stores_nothing() {
    let length = format!("{FRESH}Content-Length: 10\r\n");
    let chunked = format!("{FRESH}Transfer-Encoding: chunked\r\n");
    let (close, reset, stay): (End, End, End) = (Reply::close, Reply::reset, |reply| reply);
    for (case, fields, before, after, end) in [
        ("closed after the head, by length", &length, "", "", close),
        ("reset after the head, by length", &length, "", "", reset),
        ("closed in mid-body, by length", &length, "half", "", close),
        ("closed one byte early", &length, "half", "45678", close),
        ("reset in mid-body, by length", &length, "half", "", reset),
        ("closed after the head, by chunks", &chunked, "", "", close),
        ("reset after the head, by chunks", &chunked, "", "", reset),
        ("closed between two chunks", &chunked, "4\r\nhalf\r\n", "", close),
        ("reset between two chunks", &chunked, "4\r\nhalf\r\n", "", reset),
        ("closed in mid-chunk", &chunked, "8\r\nhalf", "", close),
        ("closed before a chunk's end of line", &chunked, "4\r\nhalf", "", close),
        ("closed in a chunk's head", &chunked, "4\r\nhalf\r\n", "5", close),
        ("closed in the last chunk's head", &chunked, "4\r\nhalf\r\n", "0", close),
        ("closed in the last chunk", &chunked, "4\r\nhalf\r\n", "0\r\n", close),
        ("closed in the trailers", &chunked, "4\r\nhalf\r\n", "0\r\nX-Sum: 1\r\n", close),
        ("a chunk's size that is no number", &chunked, "4\r\nhalf\r\n", "zz\r\nrest\r\n0\r\n\r\n", stay),
        ("an empty chunk's size", &chunked, "4\r\nhalf\r\n", "\r\nrest\r\n0\r\n\r\n", stay),
        (
            "a chunk's size beyond all",
            &chunked,
            "4\r\nhalf\r\n",
            "10000000000000004\r\nrest\r\n0\r\n\r\n",
            stay,
        ),
        ("a chunk longer than its size", &chunked, "4\r\nhalf", "more\r\n0\r\n\r\n", stay),
    ] {
        let origin = Origin::start().await;
        let gate = Gate::closed();
        let breaking = Reply::raw(format!("{}{before}", head(fields))).wait(&gate).then(after);
        origin.on("/a", [end(breaking), Reply::ok(FRESH, "whole")]);
        let proxy = Proxy::in_front_of(&origin).await;
        let mut client = proxy.connect().await;
        client.write(REQUEST).await;
        client.read_until(if before.is_empty() { "\r\n\r\n" } else { "half" }).await;
        gate.open();
        let response = client.response().await;
        assert_eq!((response.status, response.complete), (200, false), "{case}: {response:?}");
        let came = if before.is_empty() { "" } else { "half" };
        assert!(
            response.body.trim_end().starts_with(came) && response.body.len() < 10,
            "{case}: {response:?}"
        );
        assert!(client.is_closed().await, "{case}");
        starts_anew(&proxy, case).await;
        assert_eq!(
            origin.count(),
            2,
            "what has begun is not asked for again behind the client's back: {case}"
        );
    }
}

#[tokio::test]
async fn what_is_not_to_be_stored_breaks_off_with_an_error_too() {
    for framing in ["Content-Length: 10\r\n\r\nhalf", "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"] {
        for end in [Reply::close, Reply::reset] {
            let origin = Origin::start().await;
            let gate = Gate::closed();
            let breaking = Reply::raw(format!("HTTP/1.1 200 OK\r\nCache-Control: no-store\r\n{framing}"));
            origin.on("/a", [end(breaking.wait(&gate))]);
            let proxy = Proxy::in_front_of(&origin).await;
            for (method, count) in [("GET", 1), ("POST", 2)] {
                let mut client = proxy.connect().await;
                client
                    .write(format!("{method} /a HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0\r\n\r\n"))
                    .await;
                client.read_until("half").await;
                gate.open();
                let response = client.response().await;
                assert!(!response.complete && response.body.starts_with("half"), "{method}: {response:?}");
                assert!(client.is_closed().await);
                assert_eq!(origin.count(), count);
            }
        }
    }
}

/// Such a client is told of the end of a body without a length by the end of the connection, and by nothing else: it gets
/// what came, and the connection is closed.
#[tokio::test]
async fn an_old_client_gets_what_came_and_the_end_of_its_connection() {
    let origin = Origin::start().await;
    let gate = Gate::closed();
    let breaking =
        Reply::raw(format!("{}4\r\nhalf\r\n", head(&format!("{FRESH}Transfer-Encoding: chunked\r\n"))));
    origin.on("/a", [breaking.wait(&gate).close(), Reply::ok(FRESH, "whole")]);
    let proxy = Proxy::in_front_of(&origin).await;
    let mut client = proxy.connect().await;
    client.write("GET /a HTTP/1.0\r\nHost: a.test\r\nConnection: keep-alive\r\n\r\n").await;
    client.read_until("half").await;
    gate.open();
    let all = client.read_to_end().await;
    assert!(all.ends_with("\r\n\r\nhalf"), "{all}");
    assert!(!all.contains("transfer-encoding") && !all.contains("content-length"), "{all}");
    starts_anew(&proxy, "HTTP/1.0").await;
    // Where there is a length it can tell.
    let hit = send(proxy.address, "GET /a HTTP/1.0\r\nHost: a.test\r\n\r\n").await;
    assert_eq!((hit.body.as_str(), hit.field("content-length").as_str()), ("whole", "5"));
}

// Real time is what this is about.
#[tokio::test]
async fn an_origin_that_never_answers_is_one_timeout_for_all_and_asked_anew_afterwards() {
    let origin = Origin::start().await;
    origin.on("/a", [Reply::default().wait(&Gate::closed()), Reply::ok(FRESH, "whole")]);
    // Long enough for all of them to come.
    let proxy = Proxy::with_sections(&origin, "", "    timeouts: { head: 500ms }\n", ALL).await;
    let mut clients = Vec::new();
    for _ in 0..4 {
        let mut client = proxy.connect().await;
        client.write(REQUEST).await;
        clients.push(client);
    }
    proxy.until("waiting", 3).await;
    for mut client in clients {
        let response = client.response().await;
        assert_eq!((response.status, response.complete), (504, true), "{response:?}");
        assert_eq!(response.field("proxy-status"), "staleproof; error=http_response_timeout");
    }
    assert_eq!(origin.count(), 1);
    starts_anew(&proxy, "no answer").await;
    assert_eq!(origin.count(), 2);
}

#[tokio::test]
async fn a_body_that_stalls_breaks_off_for_all_who_read_it() {
    for framing in ["Content-Length: 10\r\n\r\nhalf", "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"] {
        let origin = Origin::start().await;
        let stalled = Reply::raw(format!("HTTP/1.1 200 OK\r\n{FRESH}{framing}")).wait(&Gate::closed());
        origin.on("/a", [stalled, Reply::ok(FRESH, "whole")]);
        // Long enough for both of them to come.
        let proxy = Proxy::with_sections(&origin, "", "    timeouts: { body_idle: 300ms }\n", ALL).await;
        let (mut first, mut second) = (proxy.connect().await, proxy.connect().await);
        for client in [&mut first, &mut second] {
            client.write(REQUEST).await;
            client.read_until("half").await;
        }
        for mut client in [first, second] {
            let response = client.response().await;
            assert_eq!((response.status, response.complete), (200, false), "{response:?}");
            assert!(response.body.starts_with("half"), "{response:?}");
        }
        assert_eq!(origin.count(), 1);
        starts_anew(&proxy, framing).await;
        assert_eq!(origin.connections(), 2, "a connection that owes the rest carries nothing else");
    }
}

#[tokio::test]
async fn each_follower_gets_as_much_as_came_and_who_comes_later_gets_another_fetch() {
    let origin = Origin::start().await;
    let (asked, gate) = (Gate::closed(), Gate::closed());
    let fields = format!("{FRESH}Transfer-Encoding: chunked\r\n");
    let breaking = Reply::raw(head(&fields)).after(&asked).then("4\r\nhalf\r\n").wait(&gate).reset();
    origin.on("/a", [breaking, Reply::ok(FRESH, "whole")]);
    let proxy = Proxy::in_front_of(&origin).await;
    let mut followers = Vec::new();
    for _ in 0..3 {
        let mut client = proxy.connect().await;
        client.write(REQUEST).await;
        followers.push(client);
    }
    proxy.until("waiting", 2).await;
    asked.open();
    // This one has read, the others have not.
    followers[1].read_until("half").await;
    let mut in_mid_body = proxy.connect().await;
    in_mid_body.write(REQUEST).await;
    in_mid_body.read_until("half").await;
    followers.push(in_mid_body);
    gate.open();
    proxy.until("fetches", 0).await;
    let mut later = proxy.connect().await;
    later.write(REQUEST).await;
    assert_eq!(later.response().await.body, "whole");
    for mut client in followers {
        let response = client.response().await;
        assert_eq!((response.body.as_str(), response.complete), ("half", false), "{response:?}");
        assert!(client.is_closed().await);
    }
    assert_eq!(origin.count(), 2);
    assert_eq!(proxy.get("/a").await.x_cache(), "HIT");
}

#[tokio::test]
async fn what_an_origin_says_before_its_final_response_is_not_its_response() {
    let origin = Origin::start().await;
    let gate = Gate::closed();
    let before =
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n";
    origin.on(
        "/a",
        [Reply::raw(before)
            .wait(&gate)
            .then(format!("{}whole", head(&format!("{FRESH}Content-Length: 5\r\n"))))],
    );
    let proxy = Proxy::in_front_of(&origin).await;
    let mut client = proxy.connect().await;
    client.write(REQUEST).await;
    // 100 is an answer to nobody's expectation.
    let interim = "HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n";
    assert_eq!(client.take_until("Hints\r\n\r\n").await, interim);
    gate.open();
    let response = client.response().await;
    assert_eq!((response.body.as_str(), response.x_cache().as_str()), ("whole", "MISS"));
    client.write(REQUEST).await;
    let response = client.response().await;
    assert_eq!((response.body.as_str(), response.x_cache().as_str()), ("whole", "HIT"));
    assert_eq!(origin.count(), 1);
}

/// Its client would take what was meant for nobody for the answer to the next request.
#[tokio::test]
async fn what_comes_beyond_a_response_belongs_to_no_response() {
    let sly = "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 4\r\n\r\nevil";
    let whole = "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\n";
    for (method, response, body) in [
        ("GET", format!("{whole}Content-Length: 5\r\n\r\nwhole"), "whole"),
        ("GET", format!("{whole}Content-Length: 0\r\n\r\n"), ""),
        ("GET", format!("{whole}Transfer-Encoding: chunked\r\n\r\n5\r\nwhole\r\n0\r\n\r\n"), "whole"),
        ("HEAD", format!("{whole}Content-Length: 5\r\n\r\n"), ""),
        ("GET", "HTTP/1.1 204 No Content\r\nCache-Control: max-age=60\r\n\r\n".to_owned(), ""),
    ] {
        for at_once in [true, false] {
            let origin = Origin::start().await;
            let (gate, said) = (Gate::closed(), Gate::closed());
            let reply = Reply::raw(response.clone());
            let reply =
                if at_once { Reply::raw(format!("{response}{sly}")) } else { reply.wait(&gate).then(sly) };
            origin.on("/a", [reply.wait(&said)]);
            origin.on("/b", [Reply::ok("", "b")]);
            let proxy = Proxy::in_front_of(&origin).await;
            let mut client = proxy.connect().await;
            client.write(REQUEST.replace("GET", method)).await;
            let first = client.response_to(method).await;
            assert_eq!((first.body.as_str(), first.complete), (body, true), "{response}");
            gate.open();
            said.open();
            client.write("GET /b HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
            assert_eq!(client.response().await.body, "b", "{response}");
            assert_eq!(origin.connections(), 2, "{response}");
            if method == "GET" {
                let hit = proxy.get("/a").await;
                assert_eq!((hit.x_cache().as_str(), hit.body.as_str()), ("HIT", body), "{response}");
            }
        }
    }
}

#[tokio::test]
async fn a_kept_connection_that_breaks_just_as_it_is_used_again_costs_nobody_an_answer() {
    for end in [Reply::close, Reply::reset] {
        let origin = Origin::start().await;
        // It reads the second request, and dies.
        origin.on("/a", [Reply::ok("", "one"), end(Reply::default()), Reply::ok("", "two")]);
        let proxy = Proxy::with_sections(&origin, "", "    retries: off\n", ALL).await;
        assert_eq!(proxy.get("/a").await.body, "one");
        let second = proxy.get("/a").await;
        assert_eq!((second.status, second.body.as_str()), (200, "two"));
        assert_eq!((origin.count(), origin.connections()), (3, 2));
    }
}

#[tokio::test]
async fn a_post_on_a_kept_connection_is_never_sent_twice() {
    for (end, framing) in [
        (Reply::close as End, "Content-Length: 3\r\n\r\nnew"),
        (Reply::reset, "Content-Length: 3\r\n\r\nnew"),
        (Reply::close, "Content-Length: 0\r\n\r\n"),
        (Reply::reset, "Content-Length: 0\r\n\r\n"),
    ] {
        let origin = Origin::start().await;
        origin.on("/a", [Reply::ok("", "one"), end(Reply::default()), Reply::ok("", "two")]);
        let proxy = Proxy::in_front_of(&origin).await;
        assert_eq!(proxy.get("/a").await.body, "one");
        let post = send(proxy.address, &format!("POST /a HTTP/1.1\r\nHost: a.test\r\n{framing}")).await;
        assert_eq!(post.status, 502, "{post:?}");
        assert_eq!((origin.count(), origin.connections()), (2, 1));
    }
}

#[tokio::test]
async fn a_post_that_was_not_sent_before_its_connection_was_closed_is_sent_on_another() {
    let origin = Origin::start().await;
    let gate = Gate::closed();
    origin.on("/a", [Reply::ok("", "one").wait(&gate).close(), Reply::ok("", "two")]);
    let proxy = Proxy::in_front_of(&origin).await;
    assert_eq!(proxy.get("/a").await.body, "one");
    gate.open();
    let post = proxy.request("POST", "/a", "", "new").await;
    assert_eq!((post.status, post.body.as_str()), (200, "two"));
    assert_eq!((origin.count(), origin.connections()), (2, 2));
}

#[tokio::test]
async fn a_body_that_the_connections_end_ends_is_stored_where_the_route_says_so_and_never_after_a_reset() {
    for (store, word) in [("false", "MISS"), ("true", "HIT")] {
        let routes = format!(
            "  - {{ name: all, match: {{ path: \"/{{*rest}}\" }}, upstream: app, cache: {{ store_close_delimited: {store} }} }}\n"
        );
        let origin = Origin::start().await;
        let gate = Gate::closed();
        let until_the_end = || Reply::raw(format!("{}half", head(FRESH)));
        origin.on("/a", [until_the_end().wait(&gate).reset(), until_the_end().close()]);
        let proxy = Proxy::with_routes(&origin, &routes).await;
        let mut client = proxy.connect().await;
        client.write(REQUEST).await;
        client.read_until("half").await;
        gate.open();
        let response = client.response().await;
        assert_eq!((response.body.as_str(), response.complete), ("half", false), "{store}");
        proxy.until("fetches", 0).await;
        for word in ["MISS", word] {
            let response = proxy.get("/a").await;
            assert_eq!((response.body.as_str(), response.x_cache().as_str()), ("half", word), "{store}");
            assert!(response.complete, "{store}");
        }
    }
}

#[tokio::test]
async fn what_has_no_body_does_not_lack_one() {
    for (method, response, status) in [
        ("HEAD", head(&format!("{FRESH}Content-Length: 10\r\n")), 200),
        ("HEAD", head(&format!("{FRESH}Transfer-Encoding: chunked\r\n")), 200),
        ("HEAD", head(FRESH), 200),
        ("GET", format!("HTTP/1.1 204 No Content\r\n{FRESH}\r\n"), 204),
        ("GET", format!("HTTP/1.1 204 No Content\r\n{FRESH}Content-Length: 10\r\n\r\n"), 204),
        ("GET", format!("HTTP/1.1 304 Not Modified\r\n{TAGGED}Content-Length: 10\r\n\r\n"), 304),
    ] {
        let origin = Origin::start().await;
        origin.on("/a", [Reply::raw(response.clone())]);
        origin.on("/b", [Reply::ok("", "b")]);
        let proxy = Proxy::in_front_of(&origin).await;
        let mut client = proxy.connect().await;
        for target in ["/a", "/b"] {
            let method = if target == "/a" { method } else { "GET" };
            client.write(format!("{method} {target} HTTP/1.1\r\nHost: a.test\r\n\r\n")).await;
            let answer = client.response_to(method).await;
            assert_eq!(answer.status, if target == "/a" { status } else { 200 }, "{response}");
            assert_eq!(answer.body, if target == "/a" { "" } else { "b" }, "{response}");
            if status == 204 {
                assert_eq!(
                    answer.field("content-length"),
                    if target == "/a" { "" } else { "1" },
                    "{response}"
                );
            }
        }
        assert_eq!(origin.connections(), 1, "it carries the next request: {response}");
        if status == 204 {
            let hit = proxy.get("/a").await;
            assert_eq!((hit.status, hit.x_cache().as_str()), (204, "HIT"), "{response}");
            assert_eq!(hit.field("content-length"), "", "{response}");
        }
    }
}

#[tokio::test]
async fn the_length_that_a_confirmation_states_is_not_its_own() {
    let origin = Origin::start().await;
    let confirmed = format!("HTTP/1.1 304 Not Modified\r\n{TAGGED}Content-Length: 5\r\n\r\n");
    origin.on("/a", [Reply::ok(TAGGED, "whole"), Reply::raw(confirmed).close()]);
    let proxy = Proxy::in_front_of(&origin).await;
    proxy.get("/a").await;
    proxy.later(61);
    for word in ["REFRESH", "HIT"] {
        let response = proxy.get("/a").await;
        assert_eq!((response.body.as_str(), response.x_cache().as_str()), ("whole", word));
        assert!(response.complete);
    }
}

#[tokio::test]
async fn a_new_response_that_breaks_off_does_not_take_the_place_of_the_old() {
    let confirmed = || Reply::raw(format!("HTTP/1.1 304 Not Modified\r\n{TAGGED}\r\n"));
    let down = || Reply::status("503 Service Unavailable", "", "down");
    let stale = "Cache-Control: max-age=60, stale-if-error=600\r\nETag: \"v1\"\r\n";
    for (fields, framing, next, word) in [
        (TAGGED, "Content-Length: 10\r\n\r\nhalf", confirmed(), "REFRESH"),
        (TAGGED, "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n", confirmed(), "REFRESH"),
        (stale, "Content-Length: 10\r\n\r\nhalf", down(), "STALE"),
        (stale, "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n", down(), "STALE"),
    ] {
        for end in [Reply::close, Reply::reset] {
            let origin = Origin::start().await;
            let gate = Gate::closed();
            let breaking = Reply::raw(format!(
                "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nETag: \"v2\"\r\n{framing}"
            ));
            origin.on("/a", [Reply::ok(fields, "old"), end(breaking.wait(&gate)), next.clone()]);
            let proxy = Proxy::in_front_of(&origin).await;
            proxy.get("/a").await;
            proxy.later(61);
            let mut client = proxy.connect().await;
            client.write(REQUEST).await;
            client.read_until("half").await;
            gate.open();
            let response = client.response().await;
            assert!(!response.complete && response.body.starts_with("half"), "{response:?}");
            proxy.until("fetches", 0).await;
            let response = proxy.get("/a").await;
            assert_eq!((response.body.as_str(), response.x_cache().as_str()), ("old", word));
            assert!(origin.last().to_lowercase().contains("if-none-match: \"v1\"\r\n"), "{}", origin.last());
            assert_eq!(origin.count(), 3);
        }
    }
}

#[tokio::test]
async fn a_refresh_behind_the_clients_back_that_breaks_off_changes_nothing() {
    let origin = Origin::start().await;
    let fields = "Cache-Control: max-age=60, stale-while-revalidate=600\r\nETag: \"v1\"\r\n";
    let breaking = Reply::raw(format!("{}half", head(&format!("{FRESH}Content-Length: 10\r\n"))));
    origin.on("/a", [Reply::ok(fields, "old"), breaking.close(), Reply::ok(FRESH, "new")]);
    let proxy = Proxy::in_front_of(&origin).await;
    proxy.get("/a").await;
    proxy.later(61);
    for count in [2, 3] {
        let response = proxy.get("/a").await;
        assert_eq!((response.body.as_str(), response.x_cache().as_str()), ("old", "STALE"));
        proxy.until("fetches", 0).await;
        assert_eq!(origin.count(), count);
    }
    let response = proxy.get("/a").await;
    assert_eq!((response.body.as_str(), response.x_cache().as_str()), ("new", "HIT"));
}

#[tokio::test]
async fn a_coded_body_passes_byte_for_byte_though_it_is_not_what_it_says() {
    let origin = Origin::start().await;
    let fields = format!("{FRESH}Content-Encoding: gzip\r\nVary: Accept-Encoding\r\n");
    let body = "no\0gzip at all \u{1f}\r\n\r\n";
    origin.on("/a", [Reply::ok(&fields, body)]);
    let proxy = Proxy::in_front_of(&origin).await;
    for word in ["MISS", "HIT"] {
        let response = proxy.get_with("/a", "Accept-Encoding: br;q=0.5,  gzip\r\n").await;
        assert_eq!((response.body.as_str(), response.x_cache().as_str()), (body, word));
        assert_eq!(response.field("content-encoding"), "gzip");
        assert_eq!(response.field("content-length"), body.len().to_string());
    }
    assert!(
        origin.last().to_lowercase().contains("accept-encoding: br;q=0.5,  gzip\r\n"),
        "{}",
        origin.last()
    );
    // Who names no coding is not given one by us.
    assert_eq!(proxy.get("/a").await.x_cache(), "MISS");
    assert!(!origin.last().to_lowercase().contains("accept-encoding"), "{}", origin.last());
}

#[tokio::test]
async fn a_key_that_normalises_the_coding_keeps_one_body_for_all_who_accept_it_and_the_origin_hears_the_first()
 {
    let origin = Origin::start().await;
    origin.on(
        "/a",
        [Reply::ok(&format!("{FRESH}Content-Encoding: gzip\r\n"), "zipped"), Reply::ok(FRESH, "plain")],
    );
    let yaml = "keys:\n  page:\n    fields:\n      path: { path: rest }\n      coding: { header: accept-encoding, normalize: { encoding: [gzip] } }\n\
                routes:\n  - { name: all, match: { path: \"/{*rest}\" }, upstream: app, cache: { key: page } }\n";
    let proxy = Proxy::with_yaml(&origin, yaml).await;
    for (accepted, body, word) in [
        ("br, gzip;q=0.9", "zipped", "MISS"),
        ("gzip", "zipped", "HIT"),
        ("br", "plain", "MISS"),
        ("gzip;q=0", "plain", "HIT"),
    ] {
        let response = proxy.get_with("/a", &format!("Accept-Encoding: {accepted}\r\n")).await;
        assert_eq!((response.body.as_str(), response.x_cache().as_str()), (body, word), "{accepted}");
    }
    let requests = origin.requests();
    assert!(requests[0].to_lowercase().contains("accept-encoding: br, gzip;q=0.9\r\n"), "{}", requests[0]);
    assert!(requests[1].to_lowercase().contains("accept-encoding: br\r\n"), "{}", requests[1]);
}
