//! A hit is answered in one go, and with little memory.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use http::{Request, Version};
use http_body_util::BodyExt;
use staleproof::clock::Clock;
use staleproof::exchange::{Arrival, Interims, Outlet, RequestBody};
use staleproof::stack::Stack;
use staleproof::{config, server};
use tower::{Service, ServiceExt};

use crate::support::{Origin, Reply};

fn arrival(interims: Interims) -> Arrival {
    let request = Request::get("/a/b?c=d").header("host", "a.test").body(RequestBody::empty()).unwrap();
    Arrival::new(request, ([127, 0, 0, 1], 1).into(), interims)
}

/// A stack that has an answer to [`arrival`].
async fn warm() -> Stack {
    let origin = Origin::start().await;
    origin.on(
        "/a/b?c=d",
        [Reply::ok("Cache-Control: max-age=60\r\nETag: \"1\"\r\nVary: Accept-Language\r\n", "hello")],
    );
    let yaml = format!(
        "server: {{ access_log: off }}\nupstreams: {{ app: {{ servers: [\"http://{}\"] }} }}\n\
         routes: [{{ name: all, match: {{ path: \"/a/{{*rest}}\" }}, upstream: app, cache: {{ tags: [\"rest:{{rest}}\"] }} }}]\n",
        origin.address
    );
    let plan = config::compile_text("test.yaml", &yaml, &|_| None).unwrap();
    let stack = server::assemble(&plan, &Clock::system()).unwrap().stack;
    let miss = stack.clone().oneshot(arrival(Interims::none())).await.unwrap();
    assert_eq!(miss.headers()["x-cache"], "MISS");
    assert_eq!(miss.into_body().collect().await.unwrap().to_bytes(), "hello");
    stack
}

/// The answer to a hit: its fields as a map, or what stands for them; and its body.
fn hit(stack: &mut Stack, arrival: Arrival) -> (http::HeaderMap, bytes::Bytes) {
    let mut hit = pin!(stack.call(arrival));
    let mut context = Context::from_waker(Waker::noop());
    let Poll::Ready(Ok(response)) = hit.as_mut().poll(&mut context) else {
        panic!("a hit waits for nothing")
    };
    let (head, body) = response.into_parts();
    let mut body = pin!(body);
    let Poll::Ready(Some(Ok(frame))) = http_body::Body::poll_frame(body.as_mut(), &mut context) else {
        panic!("nor does its body")
    };
    (head.headers, frame.into_data().unwrap())
}

#[tokio::test]
async fn a_hit_is_ready_at_the_first_poll() {
    let mut stack = warm().await;
    let (fields, body) = hit(&mut stack, arrival(Interims::none()));
    assert_eq!((&fields["x-cache"], &body[..]), (&http::HeaderValue::from_static("HIT"), &b"hello"[..]));
}

#[tokio::test]
async fn a_hit_takes_memory_five_times_at_most() {
    let mut stack = warm().await;
    let outlet = Arc::new(Outlet::default());
    // What is kept from one request to the next is there after the first.
    for round in 0..3 {
        let arrival = arrival(outlet.begin(Version::HTTP_11));
        let mut lines = Vec::new();
        let taken = allocation_counter::measure(|| {
            let (_, body) = hit(&mut stack, arrival);
            assert_eq!(body, "hello");
            lines = outlet.take_lines();
            outlet.lines_written();
        });
        let text = String::from_utf8(lines.clone()).unwrap();
        assert!(text.contains("etag: \"1\"\r\n") && text.contains("x-cache: HIT\r\n"), "{text}");
        assert!(!text.contains("content-length"), "{text}");
        Outlet::spare(lines);
        assert!(round == 0 || taken.count_total <= 5, "{taken:?}");
    }
}
