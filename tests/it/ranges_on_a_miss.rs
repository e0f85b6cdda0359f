//! A client wants a part of what is not stored: by route the origin is asked for that part, for the whole, or for slices.

use crate::support::{Gate, Origin, Proxy, Reply};

const FRESH: &str = "Cache-Control: max-age=60\r\nETag: \"v1\"\r\n";

async fn with_ranges(origin: &Origin, ranges: &str, store: &str) -> Proxy {
    let yaml = format!(
        "{store}routes:\n  - {{ name: all, match: {{ path: \"/{{*rest}}\" }}, upstream: app, cache: {{ ranges: {ranges} }} }}\n"
    );
    Proxy::with_yaml(origin, &yaml).await
}

fn ranges_of(origin: &Origin) -> Vec<String> {
    let range = |request: &String| {
        let line = request.lines().find_map(|line| line.strip_prefix("range: "));
        line.unwrap_or("none").to_owned()
    };
    origin.requests().iter().map(range).collect()
}

#[tokio::test]
async fn the_whole_is_fetched_for_a_part_and_serves_all_parts() {
    let origin = Origin::start().await;
    origin.on("/a", [Reply::ok(FRESH, "0123456789")]);
    let proxy = with_ranges(&origin, "whole", "").await;
    let first = proxy.get_with("/a", "Range: bytes=2-4\r\n").await;
    assert_eq!((first.status, first.body.as_str(), first.x_cache().as_str()), (206, "234", "MISS"));
    assert_eq!(
        (first.field("content-range"), first.field("content-length")),
        ("bytes 2-4/10".into(), "3".into())
    );
    let second = proxy.get_with("/a", "Range: bytes=-2\r\n").await;
    assert_eq!((second.status, second.body.as_str(), second.x_cache().as_str()), (206, "89", "HIT"));
    assert_eq!(proxy.get("/a").await.body, "0123456789");
    assert_eq!(ranges_of(&origin), ["none"]);
}

#[tokio::test]
async fn the_end_of_a_part_need_not_wait_for_the_end_of_the_whole() {
    let origin = Origin::start().await;
    let gate = Gate::closed();
    let head = format!("HTTP/1.1 200 OK\r\n{FRESH}Content-Length: 10\r\n\r\n");
    origin.on("/a", [Reply::raw(head).then("01").then("234").wait(&gate).then("56789")]);
    let proxy = with_ranges(&origin, "whole", "").await;
    let (one, two) = tokio::join!(
        proxy.get_with("/a", "Range: bytes=1-3\r\n"),
        proxy.get_with("/a", "Range: bytes=0-0\r\nIf-Range: \"v1\"\r\n"),
    );
    assert_eq!((one.body.as_str(), two.body.as_str()), ("123", "0"));
    gate.open();
    assert_eq!(proxy.get("/a").await.body, "0123456789");
    assert_eq!(origin.count(), 1);
}

#[tokio::test]
async fn what_is_asked_for_beyond_the_end_is_refused_and_the_whole_stored() {
    let origin = Origin::start().await;
    origin.on("/a", [Reply::ok(FRESH, "0123456789")]);
    let proxy = with_ranges(&origin, "whole", "").await;
    let response = proxy.get_with("/a", "Range: bytes=10-\r\n").await;
    assert_eq!((response.status, response.field("content-range")), (416, "bytes */10".into()));
    assert_eq!(proxy.get("/a").await.x_cache(), "HIT");
}

#[tokio::test]
async fn who_has_another_representation_gets_the_whole() {
    let origin = Origin::start().await;
    origin.on("/a", [Reply::ok(FRESH, "0123456789")]);
    for ranges in ["whole", "{ slices: 4KiB }"] {
        let proxy = with_ranges(&origin, ranges, "").await;
        let response = proxy.get_with("/a", "Range: bytes=2-4\r\nIf-Range: \"v0\"\r\n").await;
        assert_eq!((response.status, response.body.as_str()), (200, "0123456789"));
    }
}

#[tokio::test]
async fn of_what_cannot_be_stored_only_the_part_is_fetched() {
    let origin = Origin::start().await;
    let part = |range: &str, body: &str| {
        Reply::status("206 Partial Content", &format!("{FRESH}Content-Range: {range}\r\n"), body)
    };
    let large = "x".repeat(5000);
    origin.on("/a", [Reply::ok(FRESH, &large), part("bytes 2-4/5000", "xxx"), part("bytes 0-0/5000", "x")]);
    let proxy = with_ranges(&origin, "whole", "store: { memory: { max_object: 4KiB } }\n").await;
    let response = proxy.get_with("/a", "Range: bytes=2-4\r\n").await;
    assert_eq!((response.status, response.body.as_str()), (206, "xxx"));
    // From now on that is known.
    let response = proxy.get_with("/a", "Range: bytes=0-0\r\n").await;
    assert_eq!((response.status, response.body.as_str()), (206, "x"));
    assert_eq!(ranges_of(&origin), ["none", "bytes=2-4", "bytes=0-0"]);
}

/// 12,000 bytes of which each says where it is, in slices of 4 KiB.
fn media() -> String {
    (0..12_000).map(|at| char::from(b'a' + u8::try_from(at / 7 % 26).unwrap())).collect()
}

fn slice(media: &str, fields: &str, index: usize) -> Reply {
    let (start, end) = (index * 4096, media.len().min((index + 1) * 4096));
    let fields = format!("{fields}Content-Range: bytes {start}-{}/{}\r\n", end - 1, media.len());
    Reply::status("206 Partial Content", &fields, &media[start..end])
}

const SLICES: &str = "{ slices: 4KiB }";

#[tokio::test]
async fn a_response_is_put_together_from_slices() {
    let origin = Origin::start().await;
    let media = media();
    origin.on("/a", [0, 1, 2].map(|index| slice(&media, FRESH, index)));
    let proxy = with_ranges(&origin, SLICES, "").await;
    let all = proxy.get("/a").await;
    assert_eq!((all.status, all.field("content-length").as_str()), (200, "12000"));
    assert_eq!((all.body == media, all.field("content-range")), (true, String::new()));
    assert_eq!(ranges_of(&origin), ["bytes=0-4095", "bytes=4096-8191", "bytes=8192-12287"]);
    for (range, part) in [
        ("bytes=4090-4100", &media[4090..4101]),
        ("bytes=4096-4096", &media[4096..4097]),
        ("bytes=-10", &media[11_990..]),
        ("bytes=11999-", &media[11_999..]),
        ("bytes=0-", &media[..]),
    ] {
        let response = proxy.get_with("/a", &format!("Range: {range}\r\n")).await;
        assert_eq!((response.status, response.body.as_str()), (206, part), "{range}");
        assert_eq!(response.x_cache(), "HIT");
    }
    assert_eq!(proxy.get_with("/a", "Range: bytes=12000-\r\n").await.status, 416);
    assert_eq!(proxy.get_with("/a", "If-None-Match: \"v1\"\r\n").await.status, 304);
    assert_eq!(origin.count(), 3);
}

#[tokio::test]
async fn only_the_slices_that_are_wanted_are_fetched() {
    let origin = Origin::start().await;
    let media = media();
    origin.on("/a", [1, 2].map(|index| slice(&media, FRESH, index)));
    let proxy = with_ranges(&origin, SLICES, "").await;
    let response = proxy.get_with("/a", "Range: bytes=5000-8999\r\n").await;
    assert_eq!((response.status, response.body == media[5000..9000]), (206, true));
    assert_eq!(response.field("content-range"), "bytes 5000-8999/12000");
    assert_eq!(ranges_of(&origin), ["bytes=4096-8191", "bytes=8192-12287"]);
}

#[tokio::test]
async fn a_slice_is_fetched_once_for_all_who_want_it() {
    let origin = Origin::start().await;
    let (media, gate) = (media(), Gate::closed());
    origin.on("/a", [slice(&media, FRESH, 0).after(&gate)]);
    let proxy = with_ranges(&origin, SLICES, "").await;
    let (one, two, ()) = tokio::join!(
        proxy.get_with("/a", "Range: bytes=0-9\r\n"),
        proxy.get_with("/a", "Range: bytes=4000-4095\r\n"),
        async {
            proxy.until("waiting", 1).await;
            gate.open();
        }
    );
    assert_eq!((one.body.as_str(), two.body.as_str()), (&media[..10], &media[4000..4096]));
    assert_eq!(origin.count(), 1);
}

#[tokio::test]
async fn what_is_small_or_comes_whole_is_stored_whole() {
    let origin = Origin::start().await;
    let fields = format!("{FRESH}Content-Range: bytes 0-4/5\r\n");
    origin.on("/small", [Reply::status("206 Partial Content", &fields, "small")]);
    origin.on("/whole", [Reply::ok(FRESH, "0123456789")]);
    let proxy = with_ranges(&origin, SLICES, "").await;
    for (target, body) in [("/small", "small"), ("/whole", "0123456789")] {
        let first = proxy.get(target).await;
        assert_eq!((first.status, first.body.as_str(), first.x_cache().as_str()), (200, body, "MISS"));
        let second = proxy.get_with(target, "Range: bytes=1-2\r\n").await;
        assert_eq!((second.status, second.body.as_str()), (206, &body[1..3]));
        assert_eq!(second.x_cache(), "HIT");
    }
    assert_eq!(origin.count(), 2);
}

#[tokio::test]
async fn slices_of_two_representations_are_never_put_together() {
    let origin = Origin::start().await;
    let (old, new) = (media(), media().to_uppercase());
    let changed = "Cache-Control: max-age=60\r\nETag: \"v2\"\r\n";
    let mut replies = vec![slice(&old, FRESH, 0)];
    // After the first, the origin has the new one; the second is asked for once more, to be sure.
    replies.extend([1, 1, 0, 2].map(|index| slice(&new, changed, index)));
    origin.on("/a", replies);
    let proxy = with_ranges(&origin, SLICES, "").await;
    let mut client = proxy.connect().await;
    client.write("GET /a HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    let all = client.read_to_end().await;
    assert!(all.ends_with(&old[..4096]), "it breaks off where the old one ends");
    let next = proxy.get("/a").await;
    assert!(next.body == new, "the next client gets the new one");
    assert_eq!(origin.count(), 5);
}

#[tokio::test]
async fn a_slice_that_is_older_than_the_others_is_fetched_anew() {
    let origin = Origin::start().await;
    let (old, new) = (media(), media().to_uppercase());
    let changed = "Cache-Control: max-age=60\r\nETag: \"v2\"\r\n";
    origin.on("/a", [slice(&old, FRESH, 2), slice(&new, changed, 1), slice(&new, changed, 2)]);
    let proxy = with_ranges(&origin, SLICES, "").await;
    assert_eq!(proxy.get_with("/a", "Range: bytes=9000-9000\r\n").await.body, &old[9000..9001]);
    assert_eq!(proxy.get_with("/a", "Range: bytes=5000-9000\r\n").await.body, &new[5000..9001]);
    assert_eq!(proxy.get_with("/a", "Range: bytes=9000-9000\r\n").await.body, &new[9000..9001]);
    assert_eq!(origin.count(), 3);
}

#[tokio::test]
async fn a_purge_reaches_every_slice() {
    let origin = Origin::start().await;
    let media = media();
    let tagged = format!("{FRESH}Cache-Tag: films\r\n");
    origin.on("/a", [0, 1, 2, 0, 1, 2].map(|index| slice(&media, &tagged, index)));
    let proxy = with_ranges(&origin, SLICES, "").await;
    proxy.get("/a").await;
    assert_eq!(proxy.purge(r#"{ "tag": "films" }"#).await, 3);
    assert_eq!(proxy.get("/a").await.x_cache(), "MISS");
    assert_eq!(proxy.purge(r#"{ "url": "http://a.test/a" }"#).await, 3);
    assert_eq!(origin.count(), 6);
}

#[tokio::test]
async fn a_slice_that_is_stale_is_validated() {
    let origin = Origin::start().await;
    let media = media();
    let confirmed = Reply::raw(format!("HTTP/1.1 304 Not Modified\r\n{FRESH}\r\n"));
    origin.on("/a", [slice(&media, FRESH, 1), confirmed]);
    let proxy = with_ranges(&origin, SLICES, "").await;
    let fields = "Range: bytes=5000-5009\r\n";
    proxy.get_with("/a", fields).await;
    proxy.later(61);
    let response = proxy.get_with("/a", fields).await;
    assert_eq!((response.status, response.body.as_str()), (206, &media[5000..5010]));
    assert_eq!(response.x_cache(), "REFRESH");
    assert!(origin.last().contains("range: bytes=4096-8191\r\n"), "{}", origin.last());
    assert_eq!(proxy.get_with("/a", fields).await.x_cache(), "HIT");
}

#[tokio::test]
async fn what_has_no_strong_validator_is_passed_on_as_it_is_asked_for() {
    let origin = Origin::start().await;
    let media = media();
    let weak = "Cache-Control: max-age=60\r\nETag: W/\"v1\"\r\n";
    origin.on("/a", [slice(&media, weak, 0), Reply::ok(weak, &media)]);
    let proxy = with_ranges(&origin, SLICES, "").await;
    let response = proxy.get("/a").await;
    assert_eq!((response.status, response.body == media), (200, true));
    assert_eq!(ranges_of(&origin), ["bytes=0-4095", "none"]);
}

#[tokio::test]
async fn a_slice_that_breaks_off_breaks_off_the_whole() {
    let origin = Origin::start().await;
    let media = media();
    let fields = format!("{FRESH}Content-Range: bytes 4096-8191/12000\r\n");
    let broken = format!("HTTP/1.1 206 Partial Content\r\n{fields}Content-Length: 4096\r\n\r\nxyz");
    origin.on("/a", [slice(&media, FRESH, 0), Reply::raw(broken).close()]);
    let proxy = with_ranges(&origin, SLICES, "").await;
    let mut client = proxy.connect().await;
    client.write("GET /a HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    let all = client.read_to_end().await;
    assert!(all.ends_with("xyz"), "{}", all.len());
}

#[tokio::test]
async fn the_end_of_what_has_changed_is_not_refused_for_ever() {
    let origin = Origin::start().await;
    let (old, new) = (media(), media().to_uppercase());
    let changed = "Cache-Control: max-age=60\r\nETag: \"v2\"\r\n";
    // The first slice is old; the last one is asked for twice, to be sure; then both are of the new one.
    let replies =
        [slice(&old, FRESH, 0), slice(&new, changed, 2), slice(&new, changed, 2), slice(&new, changed, 0)];
    origin.on("/a", replies);
    let proxy = with_ranges(&origin, SLICES, "").await;
    proxy.get_with("/a", "Range: bytes=0-9\r\n").await;
    let mut client = proxy.connect().await;
    client.write("GET /a HTTP/1.1\r\nHost: a.test\r\nRange: bytes=-10\r\n\r\n").await;
    assert!(client.read_to_end().await.ends_with("\r\n\r\n"), "nothing of two representations");
    let next = proxy.get_with("/a", "Range: bytes=-10\r\n").await;
    assert_eq!((next.status, next.body.as_str()), (206, &new[11_990..]));
}

#[tokio::test]
async fn who_did_not_ask_for_a_range_is_not_told_that_there_is_none() {
    let origin = Origin::start().await;
    let none = Reply::status("416 Range Not Satisfiable", "Content-Range: bytes */0\r\n", "");
    origin.on("/empty", [none, Reply::ok(FRESH, "")]);
    let proxy = with_ranges(&origin, SLICES, "").await;
    let response = proxy.get("/empty").await;
    assert_eq!((response.status, response.body.as_str()), (200, ""));
    assert_eq!(ranges_of(&origin), ["bytes=0-4095", "none"]);
}

#[tokio::test]
async fn slices_with_one_tag_belong_together_whatever_their_dates() {
    let origin = Origin::start().await;
    let media = media();
    let dated =
        |date: &str| format!("{FRESH}Last-Modified: {date}\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n");
    let dates =
        ["Sun, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:36 GMT", "Sat, 05 Nov 1994 08:00:00 GMT"];
    let slices = [0, 1, 2].map(|index| slice(&media, &dated(dates[index]), index));
    origin.on("/a", slices);
    let proxy = with_ranges(&origin, SLICES, "").await;
    assert!(proxy.get("/a").await.body == media);
}
