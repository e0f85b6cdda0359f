//! A signed webhook wipes what has changed, and nothing else.

use base64::Engine as _;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};

use crate::support::{Client, Gate, Origin, Proxy, Reply, Response, send};

const SECRET: &[u8] = b"a secret of sufficient length!!!";

const YAML: &str = r#"
routes:
  - name: article
    match: { path: "/articles/{slug}" }
    upstream: app
    cache: { ttl: 1h, tags: ["article:{slug}"] }
  - { name: rest, match: { path: "/{*rest}" }, upstream: app, cache: { ttl: 1h } }
webhooks:
  app: { path: /hooks/app, preset: standard-webhooks, secret: "whsec_YSBzZWNyZXQgb2Ygc3VmZmljaWVudCBsZW5ndGghISE=", max_body: 4KiB }
invalidation:
  - name: article changed
    on: { webhook: app, event: ["article.*"] }
    fields: { slug: [$.data.before.slug, $.data.after.slug] }
    when: { "!$.data.after.draft": true }
    watch: [$.title, $.slug]
    do:
      - purge: { tag: "article:{slug}" }
      - purge: { url: "http://a.test/" }
"#;

async fn warm() -> (Origin, Proxy) {
    let origin = Origin::start().await;
    let proxy = Proxy::with_yaml(&origin, YAML).await;
    for target in ["/", "/articles/a", "/articles/b", "/articles/c"] {
        origin.on(target, [Reply::ok("", "old"), Reply::ok("", "new")]);
        proxy.get(target).await;
        assert_eq!(proxy.get(target).await.x_cache(), "HIT");
    }
    (origin, proxy)
}

async fn deliver(proxy: &Proxy, id: &str, body: &str) -> Response {
    post(proxy, id, proxy.clock.now().as_secs(), &sign(proxy, id, body), body).await
}

/// Signed now.
fn sign(proxy: &Proxy, id: &str, body: &str) -> String {
    let timestamp = proxy.clock.now().as_secs();
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(SECRET).unwrap();
    mac.update(format!("{id}.{timestamp}.{body}").as_bytes());
    format!("v1,{}", base64::engine::general_purpose::STANDARD.encode(mac.finalize().into_bytes()))
}

async fn post(proxy: &Proxy, id: &str, timestamp: u64, signature: &str, body: &str) -> Response {
    let request = format!(
        "POST /hooks/app HTTP/1.1\r\nHost: admin\r\nWebhook-Id: {id}\r\nWebhook-Timestamp: {timestamp}\r\n\
         Webhook-Signature: {signature}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    send(proxy.admin, &request).await
}

fn answer(response: &Response) -> Value {
    assert_eq!(
        (response.status, response.field("content-type").as_str()),
        (200, "application/json"),
        "{response:?}"
    );
    serde_json::from_str(&response.body).unwrap()
}

fn changed(before: Value, after: Value) -> String {
    json!({"type": "article.updated", "data": {"before": before, "after": after}}).to_string()
}

#[tokio::test]
async fn a_change_wipes_the_pages_that_show_it() {
    let (_origin, proxy) = warm().await;
    let body = changed(json!({"slug": "a", "title": "A"}), json!({"slug": "b", "title": "A"}));
    assert_eq!(answer(&deliver(&proxy, "msg_1", &body).await)["matched"], 3);
    for (target, body) in
        [("/", "new"), ("/articles/a", "new"), ("/articles/b", "new"), ("/articles/c", "old")]
    {
        assert_eq!(proxy.get(target).await.body, body, "{target}");
    }
}

#[tokio::test]
async fn what_no_rule_is_about_is_accepted_and_wipes_nothing() {
    let (_origin, proxy) = warm().await;
    let slug = |slug: &str, title: &str| json!({"slug": slug, "title": title, "views": 1});
    for (id, body) in [
        ("unwatched", changed(json!({"slug": "a", "title": "A", "views": 0}), slug("a", "A"))),
        ("draft", changed(slug("a", "A"), json!({"slug": "a", "title": "B", "draft": true}))),
        ("event", json!({"type": "user.updated"}).to_string()),
        ("no-event", "{}".to_owned()),
        ("no-field", json!({"type": "article.updated", "data": {}}).to_string()),
    ] {
        let answer = answer(&deliver(&proxy, id, &body).await);
        assert_eq!((&answer["ok"], &answer["matched"]), (&json!(true), &json!(0)), "{id}");
    }
    assert_eq!(proxy.get("/articles/a").await.body, "old");
}

#[tokio::test]
async fn a_delivery_that_is_not_believed_learns_nothing_and_wipes_nothing() {
    let (_origin, proxy) = warm().await;
    let body = changed(json!({"slug": "a", "title": "A"}), json!({"slug": "a", "title": "B"}));
    let now = proxy.clock.now().as_secs();
    let forged = post(&proxy, "msg_1", now, "v1,AAAA", &body).await;
    assert_eq!(forged.status, 401);
    assert!(!forged.body.contains("signature") && !forged.body.contains("timestamp"), "{}", forged.body);
    assert_eq!(
        send(proxy.admin, "POST /hooks/app HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}").await.status,
        401
    );
    assert_eq!(proxy.get("/articles/a").await.body, "old");
    let metrics = send(proxy.admin, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").await.body;
    assert!(metrics.contains("webhooks_total{hook=\"app\",outcome=\"bad-signature\"} 2"), "{metrics}");
}

#[tokio::test]
async fn a_replay_is_accepted_and_does_nothing() {
    let (origin, proxy) = warm().await;
    let body = changed(json!({"slug": "a", "title": "A"}), json!({"slug": "a", "title": "B"}));
    assert_eq!(answer(&deliver(&proxy, "msg_1", &body).await)["matched"], 2);
    proxy.get("/articles/a").await;
    let asked = origin.count();
    let again = answer(&deliver(&proxy, "msg_1", &body).await);
    assert_eq!((&again["duplicate"], &again["matched"]), (&json!(true), &json!(0)));
    assert_eq!(proxy.get("/articles/a").await.x_cache(), "HIT");
    assert_eq!(origin.count(), asked);
}

/// As `YAML` has it.
const STANDARD: &str =
    r#"preset: standard-webhooks, secret: "whsec_YSBzZWNyZXQgb2Ygc3VmZmljaWVudCBsZW5ndGghISE=""#;

#[tokio::test]
async fn a_secret_that_comes_in_a_body_is_not_shown() {
    let origin = Origin::start().await;
    let by_token = "verify: { scheme: token, from: $.token }, secret: s3cret, keep_bodies: 1KiB";
    let proxy = Proxy::with_yaml(&origin, &YAML.replace(STANDARD, by_token)).await;
    let body = json!({"type": "article.updated", "token": "s3cret", "data": {}}).to_string();
    let request =
        format!("POST /hooks/app HTTP/1.1\r\nHost: admin\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    answer(&send(proxy.admin, &request).await);
    let list = proxy.admin("GET", "/v1/deliveries", "").await.body;
    let list: Value = serde_json::from_str(&list).unwrap();
    let shown =
        proxy.admin("GET", &format!("/v1/deliveries/{}", list["deliveries"][0]["number"]), "").await.body;
    assert!(shown.contains("article.updated") && !shown.contains("s3cret"), "{shown}");
}

#[tokio::test]
async fn an_event_like_an_earlier_one_is_another_where_its_sender_does_not_say_which_it_is() {
    let origin = Origin::start().await;
    let yaml = YAML.replace(STANDARD, "verify: { scheme: token, from: header.x-token }, secret: s");
    let proxy = Proxy::with_yaml(&origin, &yaml).await;
    origin.on("/articles/a", ["draft", "final", "corrected"].map(|body| Reply::ok("", body)));
    let body = changed(json!({"slug": "a"}), json!({"slug": "a"}));
    for expected in ["draft", "final", "corrected"] {
        assert_eq!(proxy.get("/articles/a").await.body, expected);
        let request = format!(
            "POST /hooks/app HTTP/1.1\r\nHost: admin\r\nX-Token: s\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let said = answer(&send(proxy.admin, &request).await);
        assert_eq!((&said["duplicate"], &said["matched"]), (&Value::Null, &json!(1)), "{said}");
    }
}

#[tokio::test]
async fn a_sender_that_stalls_is_not_waited_for() {
    let origin = Origin::start().await;
    let proxy =
        Proxy::with_sections(&origin, "  timeouts: { body_idle: 50ms }\n", "", YAML.trim_start()).await;
    let mut sender = Client::connect(proxy.admin).await;
    sender.write("POST /hooks/app HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{").await;
    assert_eq!(sender.response().await.status, 400);
}

#[tokio::test]
async fn what_cannot_be_read_is_refused() {
    let (_origin, proxy) = warm().await;
    assert_eq!(deliver(&proxy, "msg_1", "{").await.status, 400);
    assert_eq!(deliver(&proxy, "msg_2", &"[".repeat(1000)).await.status, 400);
    assert_eq!(deliver(&proxy, "msg_3", &format!("\"{}\"", "x".repeat(5000))).await.status, 413);
    let get = send(proxy.admin, "GET /hooks/app HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert_eq!((get.status, get.field("allow").as_str()), (405, "POST"));
    assert_eq!(
        send(proxy.admin, "POST /hooks/other HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n").await.status,
        404
    );
}

#[tokio::test]
async fn a_change_has_what_shows_it_fetched_again() {
    let origin = Origin::start().await;
    let yaml = YAML.replace("- purge: { tag: \"article:{slug}\" }", "- refresh: { tag: \"article:{slug}\" }");
    let proxy = Proxy::with_yaml(&origin, &yaml).await;
    for target in ["/", "/articles/a", "/articles/c"] {
        origin.on(target, [Reply::ok("", "old"), Reply::ok("", "new")]);
        proxy.get(target).await;
    }
    let body = changed(json!({"slug": "a", "title": "A"}), json!({"slug": "b", "title": "A"}));
    let said = answer(&deliver(&proxy, "1", &body).await);
    let rule = &said["rules"][0];
    assert_eq!((&rule["matched"], &rule["targets"]), (&json!(1), &json!(3)), "{said}");
    let path = format!("/v1/warm/{}", rule["refresh"]);
    loop {
        let progress: Value = serde_json::from_str(&proxy.admin("GET", &path, "").await.body).unwrap();
        if progress["state"] == "done" {
            assert_eq!((&progress["total"], &progress["warmed"]), (&json!(1), &json!(1)), "{progress}");
            break;
        }
        tokio::task::yield_now().await;
    }
    let fetched = origin.count();
    let page = proxy.get("/articles/a").await;
    assert_eq!((page.body.as_str(), page.x_cache().as_str()), ("new", "HIT"));
    assert_eq!(proxy.get("/articles/c").await.body, "old");
    assert_eq!(origin.count(), fetched);
}

#[tokio::test]
async fn what_is_beyond_the_limit_of_a_refresh_is_purged() {
    let origin = Origin::start().await;
    let yaml = YAML.replace("- purge: { tag: \"article:{slug}\" }", "- refresh: { tag: \"article:{slug}\" }");
    let proxy = Proxy::with_yaml(&origin, &format!("{yaml}    refresh_limit: 1\n")).await;
    let gate = Gate::closed();
    origin.on("/articles/a", [Reply::ok("", "old"), Reply::ok("", "new")]);
    origin.on("/articles/b", [Reply::ok("", "old"), Reply::ok("", "new").after(&gate)]);
    proxy.get("/articles/a").await;
    // Of many hits one is counted.
    for _ in 0..300 {
        assert_eq!(proxy.get("/articles/b").await.body, "old");
    }
    let body = changed(json!({"slug": "a", "title": "A"}), json!({"slug": "b", "title": "A"}));
    let said = answer(&deliver(&proxy, "1", &body).await);
    let rule = &said["rules"][0];
    assert_eq!((&rule["matched"], &rule["not_refreshed"]), (&json!(1), &json!(1)), "{said}");
    assert!(rule["not_refreshed_because"][0].as_str().unwrap().contains("no more than 1"), "{said}");
    // The more popular one is served until the new is there.
    assert_eq!(proxy.get("/articles/b").await.body, "old");
    assert_eq!(proxy.get("/articles/a").await.body, "new");
    gate.open();
}

fn with_dispatcher(more: &str) -> String {
    format!("{YAML}{more}dispatchers: {{ later: {{ kind: background, queue: 1 }} }}\n")
}

#[tokio::test]
async fn in_the_background_the_work_is_done_after_the_answer() {
    let origin = Origin::start().await;
    let proxy = Proxy::with_yaml(&origin, &with_dispatcher("    dispatcher: later\n")).await;
    origin.on("/articles/a", [Reply::ok("", "old"), Reply::ok("", "new")]);
    proxy.get("/articles/a").await;
    let body = changed(json!({"slug": "a", "title": "A"}), json!({"slug": "a", "title": "B"}));
    let said = answer(&deliver(&proxy, "msg_1", &body).await);
    assert_eq!((&said["matched"], &said["rules"][0]["queued"]), (&json!(0), &json!(true)));
    let purged = async {
        while proxy.get("/articles/a").await.body != "new" {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(10), purged).await.unwrap();
    assert_eq!(answer(&deliver(&proxy, "msg_1", &body).await)["duplicate"], true);
}

#[tokio::test]
async fn what_could_not_be_purged_is_sent_again_where_the_rule_says_so() {
    let no_url =
        changed(json!({"slug": "a", "title": "A"}), json!({"slug": "a", "title": "B", "url": "no host"}));
    for (says, statuses) in [("", [200, 200]), ("    on_error: fail\n", [503, 503])] {
        let origin = Origin::start().await;
        let yaml = YAML.replace("after.slug] }", "after.slug], url: $.data.after.url }");
        let yaml = yaml.replace("http://a.test/", "http://{url}/");
        let proxy = Proxy::with_yaml(&origin, &format!("{yaml}{says}")).await;
        for status in statuses {
            let answer = deliver(&proxy, "msg_1", &no_url).await;
            assert_eq!(answer.status, status, "{says} {answer:?}");
            assert_eq!(answer.field("retry-after"), if status == 503 { "1" } else { "" });
        }
    }
}

#[tokio::test]
async fn a_rule_may_name_whatever_the_api_purges() {
    let origin = Origin::start().await;
    let target = r#"{ prefix: "/articles/{slug}", where: { fields: { x-kind: draft } } }"#;
    let yaml = YAML.replace(r#"{ tag: "article:{slug}" }"#, target);
    let proxy = Proxy::with_yaml(&origin, &yaml).await;
    for (path, kind) in [("/articles/a", "draft"), ("/articles/ab", "final"), ("/articles/b", "draft")] {
        origin.on(path, [Reply::ok(&format!("X-Kind: {kind}\r\n"), "old"), Reply::ok("", "new")]);
        proxy.get(path).await;
    }
    let body = changed(json!({"slug": "a", "title": "A"}), json!({"slug": "a", "title": "B"}));
    assert_eq!(answer(&deliver(&proxy, "1", &body).await)["matched"], 1);
    for (path, body) in [("/articles/a", "new"), ("/articles/ab", "old"), ("/articles/b", "old")] {
        assert_eq!(proxy.get(path).await.body, body, "{path}");
    }
}

#[tokio::test]
async fn a_rule_may_name_some_of_the_fields_of_a_partition() {
    let origin = Origin::start().await;
    let key = r#"
keys:
  page: { fields: { site: { path: site, partition: true }, lang: { path: lang, partition: true }, slug: { path: slug, partition: true } } }
routes:
  - { name: page, match: { path: "/{site}/{lang}/{slug}" }, upstream: app, cache: { key: page, ttl: 1h } }
"#;
    let (_, webhooks) = YAML.split_once("webhooks:").unwrap();
    let (webhooks, _) = webhooks.split_once("invalidation:").unwrap();
    let rule = r#"
  - name: page changed
    on: { webhook: app }
    fields: { site: $.data.site, slug: $.data.slug }
    do: { purge: { route: page, partition: { site: "{site}", slug: "{slug}" } } }
"#;
    let proxy = Proxy::with_yaml(&origin, &format!("{key}webhooks:{webhooks}invalidation:{rule}")).await;
    for path in ["/shop/en/tea", "/shop/fr/tea", "/shop/en/cake", "/blog/en/tea"] {
        origin.on(path, [Reply::ok("", "old"), Reply::ok("", "new")]);
        proxy.get(path).await;
    }
    let body = json!({"type": "page.updated", "data": {"site": "shop", "slug": "tea"}}).to_string();
    assert_eq!(answer(&deliver(&proxy, "1", &body).await)["matched"], 2);
    for (path, body) in
        [("/shop/en/tea", "new"), ("/shop/fr/tea", "new"), ("/shop/en/cake", "old"), ("/blog/en/tea", "old")]
    {
        assert_eq!(proxy.get(path).await.body, body, "{path}");
    }
}

#[tokio::test]
async fn a_sender_that_waits_two_seconds_is_answered_while_ten_thousand_pages_are_fetched_again() {
    const PAGES: usize = 10_000;
    let origin = Origin::start().await;
    let yaml = YAML.replace(r#"- purge: { tag: "article:{slug}" }"#, "- refresh: { route: article }");
    let proxy = Proxy::with_yaml(&origin, &yaml).await;
    let mut clients = tokio::task::JoinSet::new();
    for part in 0..8 {
        let mut client = proxy.connect().await;
        for page in (part..PAGES).step_by(8) {
            let again = Reply::ok("", "new");
            origin.on(&format!("/articles/{page}"), [Reply::ok("", "old"), again.clone(), again]);
        }
        clients.spawn(async move {
            for page in (part..PAGES).step_by(8) {
                client.write(format!("GET /articles/{page} HTTP/1.1\r\nHost: a.test\r\n\r\n")).await;
                assert_eq!(client.response().await.status, 200);
            }
        });
    }
    while let Some(done) = clients.join_next().await {
        done.unwrap();
    }
    let mut jobs = Vec::new();
    let (mut refused, mut found_all) = (0, None);
    for number in 0..10 {
        let body = changed(json!({"slug": "a", "title": "A"}), json!({"slug": "a", "title": number}));
        let id = number.to_string();
        let delivered = deliver(&proxy, &id, &body);
        let answered = tokio::time::timeout(std::time::Duration::from_secs(2), delivered).await;
        let said = answer(&answered.expect("an answer within two seconds"));
        jobs.extend(said["rules"][0]["refresh"].as_u64());
        // Four at once are enough: the others say that they purge alone.
        refused += usize::from(said["rules"][0]["refresh"].is_null());
        // On a slow machine not all of them may be found in time; those that are not are purged.
        found_all.get_or_insert(said["rules"][0]["not_refreshed_because"].is_null());
    }
    assert_eq!((jobs.len() + refused, jobs.is_empty()), (10, false));
    let path = format!("/v1/warm/{}", jobs[0]);
    let progress: Value = serde_json::from_str(&proxy.admin("GET", &path, "").await.body).unwrap();
    assert!(progress["total"] == PAGES || found_all == Some(false), "{progress}");
    assert_ne!(progress["state"], "done", "it goes on after the answers: {progress}");
}

#[tokio::test]
async fn a_route_may_take_deliveries_on_the_public_listener() {
    let origin = Origin::start().await;
    let hooks = "routes:\n  - { name: hooks, match: { path: /hooks/app }, upstream: app, cache: off, webhooks: true }\n";
    let yaml = YAML.replace("routes:\n", hooks);
    let proxy = Proxy::with_yaml(&origin, &yaml).await;
    origin.on("/articles/a", [Reply::ok("", "old"), Reply::ok("", "new")]);
    proxy.get("/articles/a").await;
    let body = changed(json!({"slug": "a", "title": "A"}), json!({"slug": "a", "title": "B"}));
    let fields = |signature: &str| {
        format!(
            "Webhook-Id: 1\r\nWebhook-Timestamp: {}\r\nWebhook-Signature: {signature}\r\n",
            proxy.clock.now().as_secs()
        )
    };
    assert_eq!(proxy.request("POST", "/hooks/app", &fields("v1,AAAA"), &body).await.status, 401);
    let said = answer(&proxy.request("POST", "/hooks/app", &fields(&sign(&proxy, "1", &body)), &body).await);
    assert_eq!(said["matched"], 1);
    assert_eq!(proxy.get("/articles/a").await.body, "new");
    // What is too large for the webhook, or no delivery.
    let large = format!("\"{}\"", "x".repeat(5000));
    assert_eq!(proxy.request("POST", "/hooks/app", "", &large).await.status, 413);
    origin.on("/hooks/app", [Reply::ok("", "the app's")]);
    assert_eq!(proxy.get("/hooks/app").await.body, "the app's");
}

#[tokio::test]
async fn where_no_route_takes_them_deliveries_on_the_public_listener_are_the_apps() {
    let origin = Origin::start().await;
    let proxy = Proxy::with_yaml(&origin, YAML).await;
    origin.on("/hooks/app", [Reply::ok("", "the app's")]);
    assert_eq!(proxy.request("POST", "/hooks/app", "", "{}").await.body, "the app's");
}
