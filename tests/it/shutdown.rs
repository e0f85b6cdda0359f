//! The end: what is in flight is finished.

use crate::support::{Gate, Origin, Proxy, Reply, send};

#[tokio::test]
async fn what_is_in_flight_is_finished_and_nothing_new_begins() {
    let origin = Origin::start().await;
    let gate = Gate::closed();
    origin.on("/slow", [Reply::ok("", "slow").after(&gate)]);
    let mut proxy = Proxy::in_front_of(&origin).await;
    let mut client = proxy.connect().await;
    client.write("GET /slow HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    while origin.count() == 0 {
        tokio::task::yield_now().await;
    }
    let stopping = tokio::spawn(proxy.started.take().unwrap().stop());
    while tokio::net::TcpStream::connect(proxy.address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    // The admin listener goes last, and tells how it is going.
    let ask = |path| async move {
        send(proxy.admin, &format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")).await.status
    };
    assert_eq!((ask("/readyz").await, ask("/healthz").await), (503, 200));
    gate.open();
    assert_eq!(client.response().await.body, "slow");
    stopping.await.unwrap();
    assert!(client.is_closed().await);
}

#[tokio::test]
async fn health_is_told_on_the_admin_listener_only() {
    let origin = Origin::start().await;
    let proxy = Proxy::in_front_of(&origin).await;
    for path in ["/healthz", "/readyz"] {
        assert_eq!(send(proxy.admin, &format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")).await.status, 200);
        assert_eq!(proxy.get(path).await.status, 404, "the public listener forwards it like anything else");
    }
}
