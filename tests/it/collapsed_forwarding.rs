//! Many ask for the same at the same time, and the origin is asked once (RFC 9111 §4, RFC 9211 §2.6).

use crate::support::{Client, Gate, Origin, Proxy, Reply};

const FRESH: &str = "Cache-Control: max-age=60\r\n";

fn request(fields: &str) -> String {
    format!("GET /a HTTP/1.1\r\nHost: a.test\r\n{fields}\r\n")
}

/// Clients that have asked; the first of them causes the fetch.
async fn crowd(proxy: &Proxy, number: usize, fields: &str) -> Vec<Client> {
    let mut clients = Vec::new();
    for _ in 0..number {
        let mut client = proxy.connect().await;
        client.write(request(fields)).await;
        clients.push(client);
        if clients.len() == 1 {
            proxy.until("fetches", 1).await;
        }
    }
    proxy.until("waiting", number as u64 - 1).await;
    clients
}

async fn proxy_with(origin: &Origin, cache: &str) -> Proxy {
    let route =
        format!("  - {{ name: all, match: {{ path: \"/{{*rest}}\" }}, upstream: app, cache: {cache} }}\n");
    let upstream = "    max_connections: 4000\n";
    let server = "  max_in_flight: 5000\n  max_connections: 5000\n";
    Proxy::with_sections(origin, server, upstream, &format!("routes:\n{route}")).await
}

/// Returns once the origin has had so many requests.
async fn until_asked(origin: &Origin, count: usize) {
    while origin.count() < count {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_crowd_that_may_share_causes_one_request() {
    let origin = Origin::start().await;
    let gate = Gate::closed();
    origin.on("/a", [Reply::ok(FRESH, "shared").after(&gate)]);
    let proxy = proxy_with(&origin, "{}").await;
    let clients = crowd(&proxy, 1000, "").await;
    gate.open();
    for (index, mut client) in clients.into_iter().enumerate() {
        let response = client.response().await;
        assert_eq!((response.status, response.body.as_str()), (200, "shared"));
        assert_eq!(response.x_cache(), "MISS");
        let collapsed = if index == 0 { "" } else { "; collapsed" };
        let status = format!("staleproof; fwd=uri-miss; fwd-status=200; stored{collapsed}; ttl=60");
        assert_eq!(response.field("cache-status"), status);
    }
    assert_eq!(origin.count(), 1);
    assert_eq!(proxy.get("/a").await.x_cache(), "HIT");
}

#[tokio::test]
async fn a_crowd_that_may_not_share_is_released_together() {
    let origin = Origin::start().await;
    let (first, rest) = (Gate::closed(), Gate::closed());
    let own = "Cache-Control: no-store\r\n";
    origin.on("/a", [Reply::ok(own, "own").after(&first), Reply::ok(own, "own").after(&rest)]);
    let proxy = proxy_with(&origin, "{}").await;
    let mut clients = crowd(&proxy, 1000, "").await;
    first.open();
    assert_eq!(clients.remove(0).response().await.body, "own");
    // None of them has been answered yet, and all have been sent to the origin.
    until_asked(&origin, 1000).await;
    for _ in 0..2000 {
        rest.open();
    }
    for mut client in clients {
        assert_eq!(client.response().await.body, "own");
    }
    assert_eq!(origin.count(), 1000);
}

#[tokio::test]
async fn the_next_crowd_does_not_queue_for_what_nobody_can_share() {
    let origin = Origin::start().await;
    let gate = Gate::closed();
    let own = "Cache-Control: private\r\n";
    origin.on("/a", [Reply::ok(own, "own"), Reply::ok(own, "own").after(&gate), Reply::ok(FRESH, "shared")]);
    let proxy = proxy_with(&origin, "{}").await;
    proxy.get("/a").await;
    let mut slow = proxy.connect().await;
    slow.write(request("")).await;
    until_asked(&origin, 2).await;
    // Does not wait for the slow one; and what it gets can be shared after all.
    assert_eq!(proxy.get("/a").await.body, "shared");
    gate.open();
    slow.response().await;
    proxy.later(61);
    let gate = Gate::closed();
    origin.on("/a", [Reply::ok(FRESH, "again").after(&gate)]);
    let clients = crowd(&proxy, 3, "").await;
    gate.open();
    for mut client in clients {
        assert_eq!(client.response().await.body, "again");
    }
    assert_eq!(origin.count(), 4);
}

#[tokio::test]
async fn who_caused_the_fetch_may_leave_before_the_head() {
    let origin = Origin::start().await;
    let gate = Gate::closed();
    origin.on("/a", [Reply::ok(FRESH, "shared").after(&gate)]);
    let proxy = proxy_with(&origin, "{}").await;
    let mut clients = crowd(&proxy, 3, "").await;
    drop(clients.remove(0));
    gate.open();
    for mut client in clients {
        assert_eq!(client.response().await.body, "shared");
    }
    assert_eq!(origin.count(), 1);
}

#[tokio::test]
async fn a_fetch_that_nobody_waits_for_any_more_is_stored() {
    let origin = Origin::start().await;
    let gate = Gate::closed();
    origin.on("/a", [Reply::ok(FRESH, "shared").after(&gate)]);
    let proxy = proxy_with(&origin, "{}").await;
    drop(crowd(&proxy, 2, "").await);
    proxy.until("waiting", 0).await;
    gate.open();
    proxy.until("fetches", 0).await;
    assert_eq!(proxy.get("/a").await.x_cache(), "HIT");
}

#[tokio::test]
async fn a_fetch_need_not_outlive_its_clients() {
    let (origin, listener) = Origin::by_hand().await;
    let proxy = proxy_with(&origin, "{ collapse: { outlive_client: false } }").await;
    let clients = tokio::spawn({
        let address = proxy.address;
        async move {
            let mut client = Client::connect(address).await;
            client.write(request("")).await;
            client
        }
    });
    let mut asked = Client::over(listener.accept().await.unwrap().0);
    asked.read_until("\r\n\r\n").await;
    let mut second = proxy.connect().await;
    second.write(request("")).await;
    proxy.until("waiting", 1).await;
    drop((clients.await.unwrap(), second));
    // Nobody is left: the origin is told by the end of its connection.
    asked.read_to_end().await;
    proxy.until("fetches", 0).await;
}

#[tokio::test]
async fn a_follower_in_mid_body_gets_every_byte() {
    let origin = Origin::start().await;
    let (middle, end) = (Gate::closed(), Gate::closed());
    let reply = Reply::raw(format!("HTTP/1.1 200 OK\r\n{FRESH}Transfer-Encoding: chunked\r\n\r\n"))
        .then("3\r\none\r\n")
        .wait(&middle)
        .then("3\r\ntwo\r\n")
        .wait(&end)
        .then("5\r\nthree\r\n0\r\nX-Sum: 6\r\n\r\n");
    origin.on("/a", [reply]);
    let proxy = proxy_with(&origin, "{}").await;
    let mut first = proxy.connect().await;
    first.write(request("")).await;
    first.read_until("one").await;
    let mut second = proxy.connect().await;
    second.write(request("")).await;
    assert!(second.read_until("one").await.contains("collapsed"));
    middle.open();
    second.read_until("two").await;
    // Who caused it may leave now, too.
    drop(first);
    let mut third = proxy.connect().await;
    third.write(request("TE: trailers\r\nConnection: te\r\n")).await;
    third.read_until("two").await;
    end.open();
    assert_eq!(second.response().await.body, "onetwothree");
    assert!(third.response().await.complete);
    assert_eq!(origin.count(), 1);
    assert_eq!(proxy.get("/a").await.body, "onetwothree");
}

#[tokio::test]
async fn a_body_that_breaks_off_breaks_off_for_all_and_is_not_stored() {
    let origin = Origin::start().await;
    let gate = Gate::closed();
    let head = format!("HTTP/1.1 200 OK\r\n{FRESH}Content-Length: 10\r\n\r\n");
    origin.on("/a", [Reply::raw(head).then("half").wait(&gate).close(), Reply::ok(FRESH, "whole")]);
    let proxy = proxy_with(&origin, "{}").await;
    let mut clients = vec![];
    for _ in 0..3 {
        let mut client = proxy.connect().await;
        client.write(request("")).await;
        client.read_until("half").await;
        clients.push(client);
    }
    gate.open();
    for mut client in clients {
        let response = client.response().await;
        assert!(!response.complete, "{response:?}");
    }
    let response = proxy.get("/a").await;
    assert_eq!((response.body.as_str(), response.x_cache().as_str()), ("whole", "MISS"));
}

#[tokio::test]
async fn a_slow_reader_does_not_hold_up_a_fast_one() {
    let origin = Origin::start().await;
    let body = "0123456789abcdef".repeat(1 << 19); // 8 MiB
    let gate = Gate::closed();
    origin.on("/a", [Reply::ok(FRESH, &body).after(&gate)]);
    let proxy = proxy_with(&origin, "{}").await;
    let mut clients = crowd(&proxy, 2, "").await;
    gate.open();
    // The one who caused the fetch reads nothing, and the other gets it all.
    assert!(clients[1].response().await.body == body);
    assert_eq!(proxy.get("/a").await.x_cache(), "HIT");
    assert!(clients[0].response().await.body == body);
    assert_eq!(proxy.level("filling_bytes").await, 0);
}

#[tokio::test]
async fn what_turns_out_too_large_still_reaches_those_who_read_it() {
    let origin = Origin::start().await;
    let (gate, end) = (Gate::closed(), Gate::closed());
    let piece = "x".repeat(1 << 16);
    let mut reply =
        Reply::raw(format!("HTTP/1.1 200 OK\r\n{FRESH}Transfer-Encoding: chunked\r\n\r\n")).after(&gate);
    for index in 0..64 {
        reply = reply.then(format!("10000\r\n{piece}\r\n"));
        if index == 31 {
            reply = reply.wait(&end);
        }
    }
    origin.on("/a", [reply.then("0\r\n\r\n")]);
    let server = "  max_in_flight: 5000\n";
    let yaml = "store: { memory: { capacity: 16MiB, max_object: 1MiB } }\nroutes:\n  - { name: all, match: { path: \"/{*rest}\" }, upstream: app }\n";
    let proxy = Proxy::with_sections(&origin, server, "", yaml).await;
    let mut clients = crowd(&proxy, 2, "").await;
    gate.open();
    let (mut slow, mut fast) = (clients.remove(0), clients.remove(0));
    fast.read_until("\r\n\r\n").await;
    let reading = tokio::spawn(async move { (fast.response().await.body.len(), fast) });
    end.open();
    let slow = slow.response().await;
    assert_eq!((slow.body.len(), slow.complete), (64 << 16, true));
    assert_eq!(reading.await.unwrap().0, 64 << 16);
    proxy.until("fetches", 0).await;
    assert_eq!((proxy.level("stored").await, proxy.level("filling_bytes").await), (0, 0));
    // And nobody waits for such a thing again.
    assert_eq!(origin.count(), 1);
}

#[tokio::test]
async fn a_head_is_answered_by_the_get_beside_it() {
    let origin = Origin::start().await;
    let gate = Gate::closed();
    origin.on("/a", [Reply::ok(FRESH, "shared").after(&gate)]);
    let proxy = proxy_with(&origin, "{}").await;
    let mut clients = crowd(&proxy, 1, "").await;
    let mut head = proxy.connect().await;
    head.write(request("").replace("GET", "HEAD")).await;
    proxy.until("waiting", 1).await;
    gate.open();
    let response = head.response_to("HEAD").await;
    assert_eq!((response.status, response.field("content-length").as_str()), (200, "6"));
    assert_eq!(clients.remove(0).response().await.body, "shared");
    assert_eq!(origin.count(), 1);
}

#[tokio::test]
async fn a_get_does_not_wait_for_a_head() {
    let origin = Origin::start().await;
    let gate = Gate::closed();
    origin.on(
        "/a",
        [Reply::raw("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n").after(&gate), Reply::ok(FRESH, "shared")],
    );
    let proxy = proxy_with(&origin, "{}").await;
    let mut head = proxy.connect().await;
    head.write(request("").replace("GET", "HEAD")).await;
    until_asked(&origin, 1).await;
    assert_eq!(proxy.get("/a").await.body, "shared");
    gate.open();
    assert_eq!(head.response_to("HEAD").await.status, 200);
}

#[tokio::test]
async fn variants_fly_side_by_side() {
    let origin = Origin::start().await;
    let vary = format!("{FRESH}Vary: X-Lang\r\n");
    let (first, second) = (Gate::closed(), Gate::closed());
    origin.on("/a", [Reply::ok(&vary, "en").after(&first), Reply::ok(&vary, "fr").after(&second)]);
    let proxy = proxy_with(&origin, "{}").await;
    // Nobody knows yet that there are variants: they wait for one answer.
    let mut clients = crowd(&proxy, 1, "X-Lang: en\r\n").await;
    for fields in ["X-Lang: fr\r\n", "X-Lang: fr\r\n", "X-Lang: en\r\n"] {
        let mut client = proxy.connect().await;
        client.write(request(fields)).await;
        clients.push(client);
    }
    proxy.until("waiting", 3).await;
    first.open();
    assert_eq!(clients.remove(0).response().await.body, "en");
    assert_eq!(clients.pop().unwrap().response().await.body, "en");
    // Those who were released share again.
    proxy.until("waiting", 1).await;
    second.open();
    for mut client in clients {
        assert_eq!(client.response().await.body, "fr");
    }
    assert_eq!(origin.count(), 2);

    // Now it is known, and they do not wait for each other at all.
    proxy.later(61);
    let (first, second) = (Gate::closed(), Gate::closed());
    origin.on("/a", [Reply::ok(&vary, "en").after(&first), Reply::ok(&vary, "fr").after(&second)]);
    let mut english = proxy.connect().await;
    english.write(request("X-Lang: en\r\n")).await;
    until_asked(&origin, 3).await;
    let mut french = proxy.connect().await;
    french.write(request("X-Lang: fr\r\n")).await;
    until_asked(&origin, 4).await;
    second.open();
    assert_eq!(french.response().await.body, "fr");
    first.open();
    assert_eq!(english.response().await.body, "en");
}

#[tokio::test]
async fn who_asked_before_a_purge_is_served_and_who_asks_after_it_is_not() {
    let origin = Origin::start().await;
    let (old, new) = (Gate::closed(), Gate::closed());
    origin.on("/a", [Reply::ok(FRESH, "old").after(&old), Reply::ok(FRESH, "new").after(&new)]);
    let proxy = proxy_with(&origin, "{}").await;
    let mut before = crowd(&proxy, 2, "").await;
    proxy.purge(r#"{ "url": "http://a.test/a" }"#).await;
    let mut after = Vec::new();
    for _ in 0..2 {
        let mut client = proxy.connect().await;
        client.write(request("")).await;
        after.push(client);
    }
    // They do not wait for the old fetch, but share a new one.
    until_asked(&origin, 2).await;
    proxy.until("waiting", 2).await;
    new.open();
    for client in &mut after {
        assert_eq!(client.response().await.body, "new");
    }
    old.open();
    for client in &mut before {
        assert_eq!(client.response().await.body, "old");
    }
    assert_eq!(proxy.get("/a").await.body, "new");
    assert_eq!(origin.count(), 2);
}

#[tokio::test]
async fn a_purge_by_a_tag_that_only_the_answer_tells_is_heeded_when_the_answer_comes() {
    let origin = Origin::start().await;
    let (old, new) = (Gate::closed(), Gate::closed());
    let tagged = format!("{FRESH}Surrogate-Key: news\r\n");
    origin.on("/a", [Reply::ok(&tagged, "old").after(&old), Reply::ok(&tagged, "new").after(&new)]);
    let proxy = proxy_with(&origin, "{}").await;
    let mut before = crowd(&proxy, 1, "").await.remove(0);
    proxy.purge(r#"{ "tag": "news" }"#).await;
    let mut after = proxy.connect().await;
    after.write(request("")).await;
    proxy.until("waiting", 1).await;
    old.open();
    assert_eq!(before.response().await.body, "old");
    new.open();
    assert_eq!(after.response().await.body, "new");
    assert_eq!(proxy.get("/a").await.body, "new");
}

#[tokio::test]
async fn a_purge_in_mid_body_ends_the_sharing() {
    let origin = Origin::start().await;
    let gate = Gate::closed();
    let head = format!("HTTP/1.1 200 OK\r\n{FRESH}Content-Length: 6\r\n\r\n");
    origin.on("/a", [Reply::raw(head).then("old").wait(&gate).then("old"), Reply::ok(FRESH, "new")]);
    let proxy = proxy_with(&origin, "{}").await;
    let mut before = proxy.connect().await;
    before.write(request("")).await;
    before.read_until("old").await;
    proxy.purge(r#"{ "url": "http://a.test/a" }"#).await;
    assert_eq!(proxy.get("/a").await.body, "new");
    gate.open();
    assert_eq!(before.response().await.body, "oldold");
    assert_eq!(proxy.get("/a").await.body, "new");
}

#[tokio::test]
async fn a_failure_is_one_for_all() {
    let origin = Origin::start().await;
    let gate = Gate::closed();
    origin.on("/a", [Reply::default().after(&gate).close()]);
    let proxy = proxy_with(&origin, "{}").await;
    let clients = crowd(&proxy, 5, "").await;
    gate.open();
    gate.open();
    for mut client in clients {
        assert_eq!(client.response().await.status, 502);
    }
    assert_eq!(origin.count(), 2, "asked again once for all, not once for each");
}

#[tokio::test]
async fn what_is_stale_takes_the_place_of_a_failure_for_all() {
    let origin = Origin::start().await;
    let gate = Gate::closed();
    origin.on("/a", [Reply::ok(FRESH, "kept"), Reply::status("503 Busy", "", "").after(&gate)]);
    let proxy = proxy_with(&origin, "{ stale_if_error: 1h }").await;
    proxy.get("/a").await;
    proxy.later(61);
    let clients = crowd(&proxy, 5, "").await;
    gate.open();
    for mut client in clients {
        let response = client.response().await;
        assert_eq!((response.body.as_str(), response.x_cache().as_str()), ("kept", "STALE"));
    }
    assert_eq!(origin.count(), 2);
}

#[tokio::test]
async fn what_the_origin_confirms_is_confirmed_for_all() {
    let origin = Origin::start().await;
    let gate = Gate::closed();
    let tagged = format!("{FRESH}ETag: \"v1\"\r\n");
    let confirmed = Reply::raw(format!("HTTP/1.1 304 Not Modified\r\n{tagged}\r\n")).after(&gate);
    origin.on("/a", [Reply::ok(&tagged, "kept"), confirmed]);
    let proxy = proxy_with(&origin, "{}").await;
    proxy.get("/a").await;
    proxy.later(61);
    let clients = crowd(&proxy, 5, "").await;
    gate.open();
    for mut client in clients {
        let response = client.response().await;
        assert_eq!((response.body.as_str(), response.x_cache().as_str()), ("kept", "REFRESH"));
    }
    assert_eq!(origin.count(), 2);
}

#[tokio::test]
async fn a_304_with_another_vary_releases_those_it_is_not_for() {
    let origin = Origin::start().await;
    let gate = Gate::closed();
    let tagged = format!("{FRESH}ETag: \"v1\"\r\n");
    let confirmed =
        Reply::raw(format!("HTTP/1.1 304 Not Modified\r\n{tagged}Vary: X-Lang\r\n\r\n")).after(&gate);
    let own = Reply::ok(&format!("{tagged}Vary: X-Lang\r\n"), "french");
    origin.on("/a", [Reply::ok(&tagged, "kept"), confirmed, own]);
    let proxy = proxy_with(&origin, "{}").await;
    proxy.get("/a").await;
    proxy.later(61);
    let mut english = crowd(&proxy, 1, "X-Lang: en\r\n").await.remove(0);
    let mut french = proxy.connect().await;
    french.write(request("X-Lang: fr\r\n")).await;
    proxy.until("waiting", 1).await;
    gate.open();
    assert_eq!(english.response().await.body, "kept");
    assert_eq!(french.response().await.body, "french");
}

#[tokio::test]
async fn a_request_for_the_origins_word_does_not_follow() {
    let origin = Origin::start().await;
    let gate = Gate::closed();
    origin
        .on("/a", [Reply::ok(FRESH, "one"), Reply::ok(FRESH, "two").after(&gate), Reply::ok(FRESH, "three")]);
    let proxy = proxy_with(&origin, "{}").await;
    proxy.get("/a").await;
    proxy.later(61);
    let mut first = crowd(&proxy, 1, "").await.remove(0);
    assert_eq!(proxy.get_with("/a", "Cache-Control: no-cache\r\n").await.body, "three");
    gate.open();
    assert_eq!(first.response().await.body, "two");
}

#[tokio::test]
async fn what_must_be_validated_each_time_is_not_waited_for() {
    let origin = Origin::start().await;
    let (first, rest) = (Gate::closed(), Gate::closed());
    let each_time = "Cache-Control: no-cache\r\nETag: \"v1\"\r\n";
    origin.on("/a", [Reply::ok(each_time, "own").after(&first), Reply::ok(each_time, "own").after(&rest)]);
    let proxy = proxy_with(&origin, "{}").await;
    let clients = crowd(&proxy, 10, "").await;
    first.open();
    until_asked(&origin, 10).await;
    for _ in 0..10 {
        rest.open();
    }
    for mut client in clients {
        assert_eq!(client.response().await.body, "own");
    }
}

#[tokio::test]
async fn with_credentials_one_shares_only_what_is_for_all() {
    let origin = Origin::start().await;
    let (first, rest) = (Gate::closed(), Gate::closed());
    origin.on("/a", [Reply::ok(FRESH, "own").after(&first), Reply::ok(FRESH, "own").after(&rest)]);
    let proxy = proxy_with(&origin, "{}").await;
    let clients = crowd(&proxy, 3, "Authorization: Basic eDp5\r\n").await;
    first.open();
    until_asked(&origin, 3).await;
    rest.open();
    rest.open();
    for mut client in clients {
        assert_eq!(client.response().await.body, "own");
    }
    let gate = Gate::closed();
    origin.on("/a", [Reply::ok("Cache-Control: public, max-age=60\r\n", "for all").after(&gate)]);
    proxy.later(31);
    let clients = crowd(&proxy, 3, "Authorization: Basic eDp5\r\n").await;
    gate.open();
    for mut client in clients {
        assert_eq!(client.response().await.body, "for all");
    }
    assert_eq!(origin.count(), 4);
}

// How long a request waits is the subject here.
#[tokio::test]
async fn who_has_waited_for_too_long_goes_alone_but_not_all_at_once() {
    let origin = Origin::start().await;
    let (first, rest) = (Gate::closed(), Gate::closed());
    origin.on("/a", [Reply::ok(FRESH, "late").after(&first), Reply::ok(FRESH, "own").after(&rest)]);
    let proxy = proxy_with(&origin, "{ collapse: { wait: 50ms, parallel: 2 } }").await;
    let mut clients = crowd(&proxy, 6, "").await;
    until_asked(&origin, 3).await;
    proxy.until("waiting", 3).await;
    // More do not come before one of these has its answer.
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    assert_eq!(origin.count(), 3);
    first.open();
    let late = clients.remove(0).response().await;
    assert_eq!(late.body, "late");
    rest.open();
    rest.open();
    for mut client in clients {
        assert!(["late", "own"].contains(&&*client.response().await.body));
    }
    assert_eq!(origin.count(), 3);
}

#[tokio::test]
async fn collapsing_can_be_switched_off() {
    let origin = Origin::start().await;
    let gate = Gate::closed();
    origin.on("/a", [Reply::ok(FRESH, "own").after(&gate)]);
    let proxy = proxy_with(&origin, "{ collapse: off }").await;
    let mut clients = Vec::new();
    for _ in 0..3 {
        let mut client = proxy.connect().await;
        client.write(request("")).await;
        clients.push(client);
    }
    until_asked(&origin, 3).await;
    for _ in 0..3 {
        gate.open();
    }
    for mut client in clients {
        assert_eq!(client.response().await.body, "own");
    }
}

#[tokio::test]
async fn a_conditional_request_on_a_miss_gets_its_304_and_the_others_get_the_whole() {
    let origin = Origin::start().await;
    let gate = Gate::closed();
    origin.on("/a", [Reply::ok(&format!("{FRESH}ETag: \"v1\"\r\n"), "whole").after(&gate)]);
    let proxy = proxy_with(&origin, "{}").await;
    let mut first = crowd(&proxy, 1, "If-None-Match: \"v1\"\r\n").await.remove(0);
    let mut plain = proxy.connect().await;
    plain.write(request("")).await;
    let mut other = proxy.connect().await;
    other.write(request("If-None-Match: \"v1\"\r\n")).await;
    proxy.until("waiting", 2).await;
    gate.open();
    assert_eq!(first.response().await.status, 304);
    assert_eq!(plain.response().await.body, "whole");
    assert_eq!(other.response().await.status, 304);
    assert!(!origin.last().to_lowercase().contains("if-none-match"));
}
