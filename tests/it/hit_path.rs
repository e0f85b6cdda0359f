//! A hit is answered in one go.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use http::Request;
use http_body_util::BodyExt;
use staleproof::clock::Clock;
use staleproof::exchange::{Arrival, Interims, RequestBody};
use staleproof::{config, server};
use tower::{Service, ServiceExt};

use crate::support::{Origin, Reply};

fn arrival() -> Arrival {
    let request = Request::get("/a").header("host", "a.test").body(RequestBody::empty()).unwrap();
    Arrival::new(request, ([127, 0, 0, 1], 1).into(), Interims::none())
}

#[tokio::test]
async fn a_hit_is_ready_at_the_first_poll() {
    let origin = Origin::start().await;
    origin.on("/a", [Reply::ok("Cache-Control: max-age=60\r\n", "hello")]);
    let yaml = format!(
        "server: {{ access_log: off }}\nupstreams: {{ app: {{ servers: [\"http://{}\"] }} }}\n\
         routes: [{{ name: all, match: {{ path: \"/{{*rest}}\" }}, upstream: app }}]\n",
        origin.address
    );
    let plan = config::compile_text("test.yaml", &yaml, &|_| None).unwrap();
    let mut stack = server::assemble(&plan, &Clock::system()).unwrap().stack;
    let miss = stack.clone().oneshot(arrival()).await.unwrap();
    assert_eq!(miss.headers()["x-cache"], "MISS");
    assert_eq!(miss.into_body().collect().await.unwrap().to_bytes(), "hello");

    let mut hit = pin!(stack.call(arrival()));
    let mut context = Context::from_waker(Waker::noop());
    let Poll::Ready(Ok(response)) = hit.as_mut().poll(&mut context) else {
        panic!("a hit waits for nothing")
    };
    assert_eq!(response.headers()["x-cache"], "HIT");
    let mut body = pin!(response.into_body());
    let Poll::Ready(Some(Ok(frame))) = http_body::Body::poll_frame(body.as_mut(), &mut context) else {
        panic!("nor does its body")
    };
    assert_eq!(frame.into_data().unwrap(), "hello");
}
