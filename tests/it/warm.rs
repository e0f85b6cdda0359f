//! Warming up: what was requested ahead is there when its clients come.

use serde_json::{Value, json};

use crate::support::{Client, Gate, Origin, Proxy, Reply};

const FRESH: &str = "Cache-Control: max-age=600\r\n";

/// Begins a warm-up; its path.
async fn begin(proxy: &Proxy, wanted: &Value) -> String {
    let accepted = proxy.admin_post("/v1/warm", &wanted.to_string()).await;
    assert_eq!(accepted.status, 202, "{accepted:?}");
    accepted.field("location")
}

async fn progress(proxy: &Proxy, path: &str) -> Value {
    let answer = proxy.admin("GET", path, "").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    serde_json::from_str(&answer.body).expect("JSON")
}

/// How it stands when it is over.
async fn end(proxy: &Proxy, path: &str) -> Value {
    loop {
        let progress = progress(proxy, path).await;
        if ["done", "cancelled"].contains(&progress["state"].as_str().unwrap()) {
            return progress;
        }
    }
}

/// A warm-up from its beginning to its end.
async fn warm(proxy: &Proxy, wanted: Value) -> Value {
    let path = begin(proxy, &wanted).await;
    end(proxy, &path).await
}

/// `[total, done, warmed, already, not_stored, failed]`.
fn counts(progress: &Value) -> [u64; 6] {
    ["total", "done", "warmed", "already", "not_stored", "failed"]
        .map(|name| progress[name].as_u64().unwrap())
}

/// The failures, as pairs of a URL and a reason, by URL.
fn failures(progress: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let told = progress["failures"].as_array().unwrap().iter();
    let mut told: Vec<_> = told.map(|told| (text(&told["url"]), text(&told["reason"]))).collect();
    told.sort();
    told
}

fn asked(origin: &Origin, target: &str) -> usize {
    origin.requests().iter().filter(|request| request.starts_with(&format!("GET {target} "))).count()
}

#[tokio::test]
async fn what_was_warmed_is_a_hit_and_the_origin_is_asked_once() {
    let origin = Origin::start().await;
    let proxy = Proxy::in_front_of(&origin).await;
    for target in ["/1", "/2", "/3?x=1"] {
        origin.on(target, [Reply::ok(FRESH, target), Reply::status("500 Asked Twice", "", "")]);
    }
    let urls = ["http://a.test/1", "http://a.test/2", "http://A.test:80/3?x=1", " http://a.test/1 "];
    let done = warm(&proxy, json!({ "urls": urls, "headers": { "accept-language": "fr" } })).await;
    assert_eq!((&done["state"], counts(&done)), (&json!("done"), [3, 3, 3, 0, 0, 0]), "{done}");
    assert!(done["ended_at"].is_string(), "{done}");
    for target in ["/1", "/2", "/3?x=1"] {
        let answer = proxy.get(target).await;
        assert_eq!((answer.x_cache().as_str(), answer.body.as_str()), ("HIT", target));
        assert_eq!(asked(&origin, target), 1, "{target}");
    }
    let request = origin.requests().remove(0).to_lowercase();
    assert!(request.contains("host: a.test\r\n") && request.contains("accept-language: fr\r\n"), "{request}");
    assert!(request.contains("(warm-up)") && request.contains("x-forwarded-for: 127.0.0.1\r\n"), "{request}");
}

#[tokio::test]
async fn what_is_stored_already_is_counted_and_what_is_stale_is_confirmed() {
    let origin = Origin::start().await;
    let proxy = Proxy::in_front_of(&origin).await;
    origin.on("/fresh", [Reply::ok(FRESH, "fresh")]);
    let confirmed =
        Reply::raw("HTTP/1.1 304 Not Modified\r\nCache-Control: max-age=600\r\nETag: \"1\"\r\n\r\n");
    origin.on("/stale", [Reply::ok("Cache-Control: max-age=5\r\nETag: \"1\"\r\n", "stale"), confirmed]);
    proxy.get("/fresh").await;
    proxy.get("/stale").await;
    proxy.later(10);
    let urls = ["http://a.test/fresh", "http://a.test/stale"];
    assert_eq!(counts(&warm(&proxy, json!({ "urls": urls })).await), [2, 2, 1, 1, 0, 0]);
    assert_eq!(proxy.get("/stale").await.x_cache(), "HIT");
}

#[tokio::test]
async fn what_is_not_stored_is_told_with_the_reason() {
    let origin = Origin::start().await;
    let routes = "  - { name: off, match: { path: /off }, upstream: app, cache: off }\n\
        \x20 - { name: all, match: { path: \"/{*rest}\" }, upstream: app }\n";
    let yaml = format!("store: {{ memory: {{ capacity: 2MiB, max_object: 1KiB }} }}\nroutes:\n{routes}");
    let proxy = Proxy::with_yaml(&origin, &yaml).await;
    origin.on("/me", [Reply::ok("Cache-Control: private\r\n", "x")]);
    origin.on("/you", [Reply::ok("Cache-Control: private\r\n", "x")]);
    origin.on("/never", [Reply::ok("Cache-Control: no-store\r\n", "x")]);
    origin.on("/off", [Reply::ok(FRESH, "x")]);
    let chunks = format!("HTTP/1.1 200 OK\r\n{FRESH}Transfer-Encoding: chunked\r\n\r\n");
    origin.on("/large", [Reply::raw(chunks).then(format!("800\r\n{}\r\n0\r\n\r\n", "x".repeat(0x800)))]);
    let urls = ["me", "you", "never", "off", "large"].map(|path| format!("http://a.test/{path}"));
    let done = warm(&proxy, json!({ "urls": urls, "concurrency": 1 })).await;
    assert_eq!(counts(&done), [5, 5, 0, 0, 5, 0], "{done}");
    assert_eq!(
        done["reasons"],
        json!({
            "private": { "count": 2, "such_as": "http://a.test/me" },
            "no-store": { "count": 1, "such_as": "http://a.test/never" },
            "bypass": { "count": 1, "such_as": "http://a.test/off" },
            "too-large": { "count": 1, "such_as": "http://a.test/large" },
        })
    );
}

#[tokio::test]
async fn what_nobody_answers_well_fails_with_the_reason_and_the_others_go_on() {
    let origin = Origin::start().await;
    let yaml = "routes:\n  - { name: a, match: { host: a.test, path: \"/{*rest}\" }, upstream: app }\n";
    let proxy = Proxy::with_yaml(&origin, yaml).await;
    origin.on("/1", [Reply::ok(FRESH, "1")]);
    origin.on("/closed", [Reply::default().close()]);
    origin
        .on("/short", [Reply::raw(format!("HTTP/1.1 200 OK\r\n{FRESH}Content-Length: 9\r\n\r\nx")).close()]);
    let urls = [
        "http://b.test/1",
        "http://a.test/none",
        "http://a.test/closed",
        "http://a.test/short",
        "https://a.test/1",
        "http://a.test/%zz",
        "/1",
        "not a url",
        "http://a.test/1",
    ];
    let done = warm(&proxy, json!({ "urls": urls })).await;
    assert_eq!(counts(&done), [9, 9, 1, 0, 0, 8], "{done}");
    let expected = [
        ("/1", "it is not absolute: write http://host/path"),
        ("http://a.test/%zz", "the request was refused: 400 Bad Request"),
        ("http://a.test/closed", "the answer was 502 Bad Gateway"),
        ("http://a.test/none", "the answer was 404 Not Found"),
        ("http://a.test/short", "the response broke off"),
        ("http://b.test/1", "no route takes it"),
        ("https://a.test/1", "no client comes by https: no proxy is trusted (server.trusted_proxies)"),
        ("not a url", "it is not a URL"),
    ];
    assert_eq!(failures(&done), expected.map(|(url, why)| (url.to_owned(), why.to_owned())));
    assert_eq!(proxy.get("/short").await.x_cache(), "MISS");
}

#[tokio::test]
async fn a_url_of_https_is_warm_for_those_who_come_by_https() {
    let origin = Origin::start().await;
    // The tests' clients come from there: as behind a proxy that ends TLS.
    let server = "  trusted_proxies: 127.0.0.1\n";
    let routes = "routes:\n  - { name: all, match: { path: \"/{*rest}\" }, upstream: app }\n";
    let proxy = Proxy::with_sections(&origin, server, "", routes).await;
    origin.on("/1", [Reply::ok(FRESH, "over TLS"), Reply::ok(FRESH, "in the clear")]);
    assert_eq!(counts(&warm(&proxy, json!({ "urls": ["https://a.test/1"] })).await), [1, 1, 1, 0, 0, 0]);
    assert!(origin.last().to_lowercase().contains("x-forwarded-proto: https\r\n"), "{}", origin.last());
    let secured = proxy.get_with("/1", "X-Forwarded-Proto: https\r\n").await;
    assert_eq!((secured.x_cache().as_str(), secured.body.as_str()), ("HIT", "over TLS"));
    assert_eq!(proxy.get("/1").await.body, "in the clear");
}

#[tokio::test]
async fn variants_are_warmed_by_the_fields_they_are_selected_by() {
    let origin = Origin::start().await;
    let proxy = Proxy::in_front_of(&origin).await;
    let reply = |coding: &str| {
        Reply::ok(&format!("{FRESH}Vary: Accept-Encoding\r\nContent-Encoding: {coding}\r\n"), coding)
    };
    origin.on("/1", [reply("gzip"), reply("br")]);
    let wanted =
        |coding: &str| json!({ "urls": ["http://a.test/1"], "headers": { "Accept-Encoding": coding } });
    for coding in ["gzip", "br"] {
        assert_eq!(counts(&warm(&proxy, wanted(coding)).await), [1, 1, 1, 0, 0, 0]);
    }
    for coding in ["gzip", "br"] {
        let answer = proxy.get_with("/1", &format!("Accept-Encoding: {coding}\r\n")).await;
        assert_eq!((answer.x_cache().as_str(), answer.body.as_str()), ("HIT", coding));
    }
}

fn urlset(urls: &[&str]) -> String {
    let urls: String = urls.iter().map(|url| format!("<url><loc>{url}</loc></url>\n")).collect();
    format!(
        "<?xml version=\"1.0\"?>\n<urlset xmlns=\"http://www.sitemaps.org/schemas/sitemap/0.9\">{urls}</urlset>"
    )
}

fn index(sitemaps: &[&str]) -> String {
    let sitemaps: String =
        sitemaps.iter().map(|url| format!("<sitemap><loc>{url}</loc></sitemap>")).collect();
    format!("<sitemapindex>{sitemaps}</sitemapindex>")
}

const XML: &str = "Content-Type: application/xml\r\nCache-Control: no-store\r\n";

#[tokio::test]
async fn all_sitemaps_of_an_index_are_warmed() {
    let origin = Origin::start().await;
    let proxy = Proxy::in_front_of(&origin).await;
    let names = ["http://a.test/s/1.xml", "http://a.test/s/2.txt"];
    origin.on("/sitemap.xml", [Reply::ok(XML, &index(&names))]);
    origin.on("/s/1.xml", [Reply::ok(XML, &urlset(&["http://a.test/1", "http://a.test/2?a=1&amp;b=2"]))]);
    let lines = "http://a.test/2?a=1&b=2\r\nhttp://a.test/3\r\n";
    origin.on("/s/2.txt", [Reply::ok("Content-Type: text/plain; charset=utf-8\r\n", lines)]);
    for target in ["/1", "/2?a=1&b=2", "/3", "/4"] {
        origin.on(target, [Reply::ok(FRESH, target)]);
    }
    let wanted = json!({
        "urls": ["http://a.test/4", "http://a.test/1"],
        "sitemap": "http://a.test/sitemap.xml",
        "headers": { "accept-encoding": "gzip", "cookie": "a=1" },
    });
    let done = warm(&proxy, wanted).await;
    assert_eq!((&done["sitemaps"], counts(&done)), (&json!(3), [4, 4, 4, 0, 0, 0]), "{done}");
    for target in ["/1", "/2?a=1&b=2", "/3", "/4"] {
        assert_eq!(asked(&origin, target), 1, "{target}");
    }
    let sitemaps = origin.requests().into_iter().filter(|request| request.starts_with("GET /s"));
    for request in sitemaps.map(|request| request.to_lowercase()) {
        assert!(
            request.contains("accept-encoding: identity") && request.contains("cookie: a=1"),
            "{request}"
        );
    }
}

#[tokio::test]
async fn a_sitemap_that_cannot_be_read_is_a_failure_that_says_what_to_do() {
    let origin = Origin::start().await;
    let proxy = Proxy::in_front_of(&origin).await;
    let names = ["nested", "html", "gzip", "packed", "none"].map(|name| format!("http://a.test/{name}"));
    let names: Vec<_> = names.iter().map(String::as_str).chain(["http://a.test/good"]).collect();
    origin.on("/index", [Reply::ok(XML, &index(&names))]);
    origin.on("/nested", [Reply::ok(XML, &index(&["http://a.test/good"]))]);
    origin.on("/html", [Reply::ok(XML, "<!doctype html><html></html>")]);
    origin.on("/gzip", [Reply::raw("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n\x1f").then(*b"\x8b\x08\0")]);
    origin.on("/packed", [Reply::ok("Content-Encoding: gzip\r\n", "x")]);
    origin.on("/good", [Reply::ok(XML, &urlset(&["http://a.test/1"]))]);
    origin.on("/1", [Reply::ok(FRESH, "1")]);
    let done = warm(&proxy, json!({ "sitemap": "http://a.test/index" })).await;
    assert_eq!((&done["sitemaps"], counts(&done)), (&json!(2), [6, 6, 1, 0, 0, 5]), "{done}");
    for ((url, why), (name, expected)) in failures(&done).iter().zip([
        ("gzip", "unpack it"),
        ("html", "its first element is <html>"),
        ("nested", "warm it by itself"),
        ("none", "the answer was 404 Not Found"),
        ("packed", "unpack it"),
    ]) {
        assert!(url.ends_with(name) && why.contains(expected), "{url}: {why}");
    }
}

#[tokio::test]
async fn what_is_beyond_the_limit_is_left_out_and_counted() {
    let origin = Origin::start().await;
    let text = format!(
        "server: {{ listen: 127.0.0.1:0, access_log: off }}\n\
         admin:\n  listen: 127.0.0.1:0\n  tokens: [{{ name: test, secret: test-token, may: warm }}]\n\
         \x20 warm: {{ max_urls: 2, max_concurrency: 1 }}\n\
         upstreams: {{ app: {{ servers: [\"http://{}\"] }} }}\n\
         routes: [{{ name: all, match: {{ path: \"/{{*rest}}\" }}, upstream: app }}]\n",
        origin.address
    );
    let proxy = Proxy::with_file(&text).await;
    origin.on("/index", [Reply::ok(XML, &index(&["http://a.test/s", "http://a.test/t", "http://a.test/u"]))]);
    origin.on("/s", [Reply::ok(XML, &urlset(&["http://a.test/1", "http://a.test/2", "http://a.test/3"]))]);
    origin.on("/1", [Reply::ok(FRESH, "1")]);
    origin.on("/2", [Reply::ok(FRESH, "2")]);
    let done = warm(&proxy, json!({ "sitemap": "http://a.test/index" })).await;
    assert_eq!((&done["left_out"], counts(&done)), (&json!(3), [2, 2, 2, 0, 0, 0]), "{done}");
    assert_eq!(asked(&origin, "/t") + asked(&origin, "/3"), 0);
    let refused = proxy.admin_post("/v1/warm", r#"{"urls": ["http://a.test/1"], "concurrency": 2}"#).await;
    assert_eq!(refused.status, 400, "{refused:?}");
}

/// Connections to the origin with the target that each asks for.
async fn accept(listener: &tokio::net::TcpListener) -> (Client, String) {
    let mut client = Client::over(listener.accept().await.unwrap().0);
    let head = client.take_until("\r\n\r\n").await;
    (client, head.split(' ').nth(1).unwrap_or_default().to_owned())
}

#[tokio::test]
async fn no_more_requests_are_under_way_than_were_asked_for() {
    let (origin, listener) = Origin::by_hand().await;
    let proxy = Proxy::in_front_of(&origin).await;
    let urls: Vec<_> = (0..20).map(|number| format!("http://a.test/{number}")).collect();
    let path = begin(&proxy, &json!({ "urls": urls, "concurrency": 3 })).await;
    // The app answers each request on a connection that it then closes, and only while three are waiting: a fourth
    // would come while the first two do.
    let mut waiting = std::collections::VecDeque::new();
    let mut most = 0;
    for number in 0..20 {
        waiting.push_back(accept(&listener).await.0);
        most = most.max(waiting.len());
        if waiting.len() == 3 || number >= 18 {
            // Whoever is asked how it goes answers after what it has begun: no fourth has come.
            progress(&proxy, &path).await;
            let fourth = std::future::poll_fn(|cx| match listener.poll_accept(cx) {
                std::task::Poll::Ready(_) => std::task::Poll::Ready(true),
                std::task::Poll::Pending => std::task::Poll::Ready(false),
            });
            assert!(!fourth.await, "more than three at once");
            let mut first = waiting.pop_front().unwrap();
            let answer = format!("HTTP/1.1 200 OK\r\n{FRESH}Connection: close\r\nContent-Length: 1\r\n\r\nx");
            first.write(answer).await;
        }
    }
    for mut last in waiting {
        last.write(format!("HTTP/1.1 200 OK\r\n{FRESH}Connection: close\r\nContent-Length: 1\r\n\r\nx"))
            .await;
    }
    assert_eq!((most, counts(&end(&proxy, &path).await)), (3, [20, 20, 20, 0, 0, 0]));
}

#[tokio::test]
async fn a_warm_up_that_is_cancelled_gives_up_what_is_under_way() {
    let (origin, listener) = Origin::by_hand().await;
    let proxy = Proxy::in_front_of(&origin).await;
    let wanted =
        json!({ "urls": ["http://a.test/1", "http://a.test/2", "http://a.test/3"], "concurrency": 1 });
    let path = begin(&proxy, &wanted).await;
    let (mut first, _) = accept(&listener).await;
    first.write(format!("HTTP/1.1 200 OK\r\n{FRESH}Connection: close\r\nContent-Length: 1\r\n\r\nx")).await;
    let (mut second, target) = accept(&listener).await;
    let cancelled: Value = serde_json::from_str(&proxy.admin("DELETE", &path, "").await.body).unwrap();
    assert_eq!((&cancelled["state"], counts(&cancelled)), (&json!("cancelled"), [3, 1, 1, 0, 0, 0]));
    assert_eq!(target, "/2");
    assert!(second.is_closed().await, "nobody waits for it any more");
    assert_eq!(progress(&proxy, &path).await, cancelled);
    let none = proxy.admin("DELETE", "/v1/warm/99", "").await;
    assert_eq!(none.status, 404, "{none:?}");
}

#[tokio::test]
async fn there_are_only_so_many_at_once() {
    let origin = Origin::start().await;
    let proxy = Proxy::in_front_of(&origin).await;
    let gate = Gate::closed();
    origin.on("/slow", [Reply::ok("", "slow").after(&gate)]);
    let wanted = json!({ "urls": ["http://a.test/slow"] });
    let mut paths = Vec::new();
    for _ in 0..4 {
        paths.push(begin(&proxy, &wanted).await);
    }
    let refused = proxy.admin_post("/v1/warm", &wanted.to_string()).await;
    assert_eq!(refused.status, 429, "{refused:?}");
    assert_eq!(proxy.admin("DELETE", &paths[1], "").await.status, 200);
    begin(&proxy, &wanted).await;
    assert_eq!(progress(&proxy, "/v1/warm").await.as_array().unwrap().len(), 5);
}

#[tokio::test]
async fn a_shutdown_waits_for_no_warm_up() {
    let (origin, listener) = Origin::by_hand().await;
    let routes = "routes:\n  - { name: all, match: { path: \"/{*rest}\" }, upstream: app }\n";
    let mut proxy = Proxy::with_sections(&origin, "", "    timeouts: { head: 1h }\n", routes).await;
    begin(&proxy, &json!({ "urls": ["http://a.test/1", "http://a.test/2"], "concurrency": 1 })).await;
    let (mut asked, _) = accept(&listener).await;
    // The app will not answer, and its time would be an hour.
    proxy.started.take().unwrap().stop().await;
    assert!(asked.is_closed().await);
}
