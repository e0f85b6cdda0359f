//! The proxy seen from outside: real sockets, a scripted origin, a clock that can be moved.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    unreachable_pub,
    missing_docs,
    reason = "a test that cannot go on says so by panicking"
)]

mod support;

mod body_tags;
mod collapsed_forwarding;
mod dialects;
mod expect;
mod failures;
mod framing;
mod forwarding;
mod groups;
mod hit_path;
mod http2;
mod interim;
mod invalidation;
mod large_bodies;
mod no_vary_search;
mod post;
mod query;
mod purging;
mod ranges;
mod ranges_on_a_miss;
mod refresh;
mod retries;
mod reuse;
mod shutdown;
mod stale;
mod streaming;
mod targeted;
mod trailers;
mod truncation;
mod validation;
mod vary;
mod warm;
mod webhooks;
mod workers;
