//! Several threads serve one address.

use staleproof::clock::Clock;
use staleproof::{config, server};

use crate::support::{Origin, Proxy, Reply, send};

#[tokio::test]
async fn whoever_serves_a_connection_it_is_one_cache() {
    for scheduling in ["per_core", "shared"] {
        let origin = Origin::start().await;
        origin.on("/a", [Reply::ok("Cache-Control: max-age=60\r\n", "hello")]);
        let settings = format!("  workers: 3\n  scheduling: {scheduling}\n");
        let routes = "routes:\n  - { name: all, match: { path: \"/{*rest}\" }, upstream: app }\n";
        let proxy = Proxy::with_sections(&origin, &settings, "", routes).await;
        assert_eq!(proxy.get("/a").await.field("x-cache"), "MISS");
        // So many that each of the workers has some.
        for _ in 0..64 {
            assert_eq!(proxy.get("/a").await.field("x-cache"), "HIT");
        }
        assert_eq!(proxy.purge("{\"everything\": true}").await, 1);
        origin.on("/a", [Reply::ok("Cache-Control: max-age=60\r\n", "again")]);
        assert_eq!(proxy.get("/a").await.body, "again");
        for _ in 0..64 {
            assert_eq!(proxy.get("/a").await.body, "again");
        }
    }
}

#[tokio::test]
async fn an_address_that_is_served_already_is_refused() {
    let plan = |port: u16| {
        let yaml = format!(
            "server: {{ listen: \"127.0.0.1:{port}\", workers: 2 }}\nadmin: {{ listen: \"127.0.0.1:0\" }}\n\
             upstreams: {{ app: {{ servers: [\"http://127.0.0.1:9\"] }} }}\n\
             routes: [{{ name: all, match: {{ path: \"/{{*rest}}\" }}, upstream: app }}]\n"
        );
        config::compile_text("test.yaml", &yaml, &|_| None).unwrap()
    };
    let first = server::bind(&plan(0)).await.unwrap();
    let port = first.addresses[0].port();
    let started = first.start(plan(0), Clock::system()).unwrap();
    let refused = server::bind(&plan(port)).await.unwrap_err().to_string();
    assert!(refused.contains(&format!("cannot listen on 127.0.0.1:{port}")), "{refused}");
    started.stop().await;
    assert!(server::bind(&plan(port)).await.is_ok());
}

#[tokio::test]
async fn what_is_known_of_one_request_is_not_taken_for_another() {
    let origin = Origin::start().await;
    let fresh = "Cache-Control: max-age=60\r\n";
    origin.on("/a?b=1", ["plain", "of another host", "by another route"].map(|body| Reply::ok(fresh, body)));
    let routes = "routes:\n  - { name: app, match: { path: \"/{*rest}\", headers: { x-app: { present: true } } }, upstream: app }\n  \
                  - { name: all, match: { path: \"/{*rest}\" }, upstream: app }\n";
    let proxy = Proxy::with_sections(&origin, "  workers: 1\n  scheduling: per_core\n", "", routes).await;
    for round in 0..3 {
        let word = if round == 0 { "MISS" } else { "HIT" };
        for (host, field, body) in [
            ("a.test", "", "plain"),
            ("b.test", "", "of another host"),
            ("a.test", "X-App: 1\r\n", "by another route"),
        ] {
            let request = format!("GET /a?b=1 HTTP/1.1\r\nHost: {host}\r\n{field}\r\n");
            let response = send(proxy.address, &request).await;
            assert_eq!((&*response.body, &*response.x_cache()), (body, word), "{host} {field}");
        }
    }
}
