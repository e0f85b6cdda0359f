//! Ranges: parts of what is stored, parts that are stored, and parts that are joined (RFC 9110 §14, RFC 9111 §3.3, §3.4).

use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use crate::support::{Gate, Origin, Proxy, Reply, Response};

const FRESH: &str = "Cache-Control: max-age=60\r\n";
const TAGGED: &str = "Cache-Control: max-age=60\r\nETag: \"v1\"\r\n";
const WHOLE: &str = "0123456789";

async fn part(proxy: &Proxy, range: &str) -> Response {
    proxy.get_with("/a", &format!("Range: bytes={range}\r\n")).await
}

/// What an origin answers that has `WHOLE`, of which it sends `bytes`.
fn partial(fields: &str, bytes: std::ops::Range<usize>) -> Reply {
    let (first, last) = (bytes.start, bytes.end - 1);
    let fields = format!("{fields}Content-Range: bytes {first}-{last}/{}\r\n", WHOLE.len());
    Reply::status("206 Partial Content", &fields, &WHOLE[bytes])
}

#[tokio::test]
async fn parts_are_cut_from_what_is_stored() {
    let origin = Origin::start().await;
    origin.on("/a", [Reply::ok(TAGGED, WHOLE)]);
    let proxy = Proxy::in_front_of(&origin).await;
    proxy.get("/a").await;
    for (range, bytes, content_range) in
        [("2-4", "234", "bytes 2-4/10"), ("7-", "789", "bytes 7-9/10"), ("-1", "9", "bytes 9-9/10")]
    {
        let response = part(&proxy, range).await;
        assert_eq!(
            (response.status, response.body.as_str(), response.x_cache().as_str()),
            (206, bytes, "HIT")
        );
        assert_eq!(response.field("content-range"), content_range);
        assert_eq!(response.field("content-length"), bytes.len().to_string());
        assert_eq!((response.field("etag").as_str(), response.field("age").as_str()), ("\"v1\"", "0"));
    }
    assert_eq!((part(&proxy, "5-3").await.status, part(&proxy, "5-3").await.body.as_str()), (200, WHOLE));
    assert_eq!(proxy.request("HEAD", "/a", "Range: bytes=0-1\r\n", "").await.status, 200);
    assert_eq!(origin.count(), 1);
}

#[tokio::test]
async fn what_lies_beyond_the_end_is_416() {
    let origin = Origin::start().await;
    origin.on("/a", [Reply::ok(TAGGED, WHOLE)]);
    let proxy = Proxy::in_front_of(&origin).await;
    proxy.get("/a").await;
    let response = part(&proxy, "10-").await;
    assert_eq!((response.status, response.body.as_str()), (416, ""));
    assert_eq!(response.field("content-range"), "bytes */10");
}

#[tokio::test]
async fn several_parts_come_in_one_multipart_body() {
    let origin = Origin::start().await;
    origin.on("/a", [Reply::ok(&format!("{TAGGED}Content-Type: text/plain\r\n"), WHOLE)]);
    let proxy = Proxy::in_front_of(&origin).await;
    proxy.get("/a").await;
    let response = part(&proxy, "8-9,0-1").await;
    let content_type = response.field("content-type");
    let boundary = content_type.strip_prefix("multipart/byteranges; boundary=").unwrap();
    let expected = format!(
        "\r\n--{boundary}\r\nContent-Type: text/plain\r\nContent-Range: bytes 8-9/10\r\n\r\n89\
         \r\n--{boundary}\r\nContent-Type: text/plain\r\nContent-Range: bytes 0-1/10\r\n\r\n01\r\n--{boundary}--\r\n"
    );
    assert_eq!((response.status, response.body.as_str()), (206, expected.as_str()));
    assert_eq!(response.field("content-range"), "");
}

#[tokio::test]
async fn the_other_preconditions_go_first_and_if_range_decides_between_part_and_whole() {
    let origin = Origin::start().await;
    origin.on("/a", [Reply::ok(TAGGED, WHOLE)]);
    let proxy = Proxy::in_front_of(&origin).await;
    proxy.get("/a").await;
    for (fields, status) in [
        ("If-None-Match: \"v1\"\r\n", 304),
        ("If-None-Match: \"v2\"\r\n", 206),
        ("If-Range: \"v1\"\r\n", 206),
        ("If-Range: \"v2\"\r\n", 200),
        ("If-Range: W/\"v1\"\r\n", 200),
    ] {
        let response = proxy.get_with("/a", &format!("Range: bytes=0-1\r\n{fields}")).await;
        assert_eq!(response.status, status, "{fields}");
    }
}

#[tokio::test]
async fn a_stale_response_is_validated_before_a_part_is_cut_from_it() {
    let origin = Origin::start().await;
    origin.on(
        "/a",
        [Reply::ok(TAGGED, WHOLE), Reply::raw("HTTP/1.1 304 Not Modified\r\nETag: \"v1\"\r\n\r\n")],
    );
    let proxy = Proxy::in_front_of(&origin).await;
    proxy.get("/a").await;
    proxy.later(61);
    let response = part(&proxy, "0-1").await;
    assert_eq!(
        (response.status, response.body.as_str(), response.x_cache().as_str()),
        (206, "01", "REFRESH")
    );
    assert!(!origin.last().to_lowercase().contains("range:"));
}

#[tokio::test]
async fn a_part_from_the_origin_is_stored_and_answers_what_lies_within_it() {
    let origin = Origin::start().await;
    origin.on("/a", [partial(FRESH, 4..9), partial(FRESH, 8..10)]);
    let proxy = Proxy::in_front_of(&origin).await;
    let first = part(&proxy, "4-8").await;
    assert_eq!((first.status, first.body.as_str(), first.x_cache().as_str()), (206, "45678", "MISS"));
    assert!(origin.last().to_lowercase().contains("range: bytes=4-8"), "{}", origin.last());
    for (range, bytes) in [("4-8", "45678"), ("5-6", "56"), ("8-8", "8")] {
        let response = part(&proxy, range).await;
        assert_eq!(
            (response.status, response.body.as_str(), response.x_cache().as_str()),
            (206, bytes, "HIT")
        );
    }
    assert_eq!(origin.count(), 1);
    let beyond = part(&proxy, "8-9").await;
    assert!(beyond.field("cache-status").contains("fwd=partial; fwd-status=206"), "{beyond:?}");
}

#[tokio::test]
async fn who_wants_the_whole_never_gets_a_part() {
    let origin = Origin::start().await;
    origin.on("/a", [partial(FRESH, 0..5), Reply::ok(FRESH, WHOLE)]);
    let proxy = Proxy::in_front_of(&origin).await;
    part(&proxy, "0-4").await;
    let whole = proxy.get("/a").await;
    assert_eq!((whole.status, whole.body.as_str()), (200, WHOLE));
    // Without a strong tag nobody could say that the rest belongs to it.
    assert!(!origin.last().to_lowercase().contains("range:"), "{}", origin.last());
}

#[tokio::test]
async fn a_whole_that_comes_instead_of_a_part_is_stored_as_one() {
    let origin = Origin::start().await;
    origin.on("/a", [Reply::ok(FRESH, WHOLE)]);
    let proxy = Proxy::in_front_of(&origin).await;
    assert_eq!(part(&proxy, "0-4").await.body, WHOLE[..5]);
    assert_eq!((proxy.get("/a").await.x_cache().as_str(), part(&proxy, "0-4").await.status), ("HIT", 206));
}

#[tokio::test]
async fn a_stored_beginning_is_completed_with_the_rest() {
    let origin = Origin::start().await;
    let rest = format!("{TAGGED}X-New: 1\r\n");
    origin.on("/a", [partial(TAGGED, 0..5), partial(&rest, 5..10)]);
    let proxy = Proxy::in_front_of(&origin).await;
    part(&proxy, "0-4").await;
    let whole = proxy.get("/a").await;
    assert_eq!((whole.status, whole.body.as_str(), whole.field("x-new").as_str()), (200, WHOLE, "1"));
    assert_eq!((whole.field("content-length").as_str(), whole.field("content-range").as_str()), ("10", ""));
    let asked = origin.last().to_lowercase();
    assert!(asked.contains("range: bytes=5-") && asked.contains("if-range: \"v1\""), "{asked}");
    let second = proxy.get("/a").await;
    assert_eq!((second.x_cache().as_str(), second.body.as_str()), ("HIT", WHOLE));
    assert_eq!(origin.count(), 2);
}

#[tokio::test]
async fn a_rest_of_something_else_is_joined_to_nothing() {
    let other = "Cache-Control: max-age=60\r\nETag: \"v2\"\r\n";
    let weak = "Cache-Control: max-age=60\r\nETag: W/\"v1\"\r\n";
    for (beginning, rest) in [(TAGGED, other), (weak, weak)] {
        let origin = Origin::start().await;
        origin.on("/a", [partial(beginning, 0..5), partial(rest, 5..10), Reply::ok(rest, "another one")]);
        if beginning == weak {
            origin.on("/a", [partial(beginning, 0..5), Reply::ok(rest, "another one")]);
        }
        let proxy = Proxy::in_front_of(&origin).await;
        part(&proxy, "0-4").await;
        assert_eq!(proxy.get("/a").await.body, "another one");
        assert_eq!(proxy.get("/a").await.x_cache(), "HIT");
    }
}

#[tokio::test]
async fn parts_that_touch_become_one_and_at_last_the_whole() {
    let origin = Origin::start().await;
    origin.on("/a", [partial(TAGGED, 6..10), partial(TAGGED, 3..7), partial(TAGGED, 0..3)]);
    let proxy = Proxy::in_front_of(&origin).await;
    for range in ["6-9", "3-6", "0-2"] {
        assert_eq!(part(&proxy, range).await.x_cache(), "MISS");
    }
    let whole = proxy.get("/a").await;
    assert_eq!((whole.x_cache().as_str(), whole.status, whole.body.as_str()), ("HIT", 200, WHOLE));
    assert_eq!(origin.count(), 3);
}

#[tokio::test]
async fn a_purge_between_two_parts_condemns_what_is_made_of_them() {
    for joined in [true, false] {
        let origin = Origin::start().await;
        let gate = Gate::closed();
        let second = partial(TAGGED, 5..10).after(&gate);
        origin.on("/a", [partial(TAGGED, 0..5), second, Reply::ok(TAGGED, "new")]);
        let proxy = Proxy::in_front_of(&origin).await;
        part(&proxy, "0-4").await;
        // The second fetch begins before the purge: what it brings is condemned as well as what it is joined to.
        let fetching = async { if joined { proxy.get("/a").await } else { part(&proxy, "5-9").await } };
        let (_, ()) = tokio::join!(fetching, async {
            while origin.count() < 2 {
                tokio::task::yield_now().await;
            }
            assert!(proxy.purge(r#"{"url": "http://a.test/a"}"#).await >= 1);
            gate.open();
        });
        assert_eq!(proxy.get("/a").await.body, "new", "{joined}");
    }
}

#[tokio::test]
async fn a_part_that_is_purged_is_completed_by_nothing() {
    let origin = Origin::start().await;
    origin.on("/a", [partial(TAGGED, 0..5), partial(TAGGED, 5..10), Reply::ok(TAGGED, "new")]);
    let proxy = Proxy::in_front_of(&origin).await;
    part(&proxy, "0-4").await;
    assert_eq!(proxy.purge(r#"{"url": "http://a.test/a"}"#).await, 1);
    // A part that is fetched after the purge is not joined to one that was fetched before.
    part(&proxy, "5-9").await;
    assert_eq!(proxy.get("/a").await.body, "new");
}

#[tokio::test]
async fn a_part_that_breaks_off_is_not_stored() {
    let origin = Origin::start().await;
    let broken = "HTTP/1.1 206 Partial Content\r\nCache-Control: max-age=60\r\nContent-Range: bytes 0-4/10\r\n\
                  Content-Length: 5\r\n\r\n012";
    origin.on("/a", [Reply::raw(broken).close(), partial(FRESH, 0..5)]);
    let proxy = Proxy::in_front_of(&origin).await;
    assert!(!part(&proxy, "0-4").await.complete);
    assert_eq!(part(&proxy, "0-4").await.x_cache(), "MISS");
}

#[test]
fn whatever_is_asked_for_in_whatever_order_is_what_the_origin_has() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let ranges = proptest::collection::vec((0usize..10, 0usize..10, any::<bool>()), 1..8);
    TestRunner::new(ProptestConfig::with_cases(40))
        .run(&ranges, |ranges| {
            runtime.block_on(async {
                let origin = Origin::start().await;
                let proxy = Proxy::in_front_of(&origin).await;
                for (one, other, whole) in ranges {
                    let (first, last) = (one.min(other), one.max(other));
                    let status = if whole { 200 } else { 206 };
                    // To who asks for the rest, the whole is as good an answer.
                    let reply =
                        if whole { Reply::ok(TAGGED, WHOLE) } else { partial(TAGGED, first..last + 1) };
                    origin.on("/a", [reply]);
                    let got = if whole {
                        proxy.get("/a").await
                    } else {
                        part(&proxy, &format!("{first}-{last}")).await
                    };
                    let expected = if whole { WHOLE } else { &WHOLE[first..=last] };
                    prop_assert_eq!((got.status, got.body.as_str(), got.complete), (status, expected, true));
                }
                Ok(())
            })
        })
        .unwrap();
}
