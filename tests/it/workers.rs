//! Several threads serve one address.

use staleproof::clock::Clock;
use staleproof::{config, server};

use crate::support::{Origin, Proxy, Reply};

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
