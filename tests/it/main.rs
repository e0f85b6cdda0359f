//! The proxy seen from outside: real sockets, a scripted origin, a clock that can be moved.

mod support;

mod failures;
mod framing;
mod forwarding;
mod hit_path;
mod purging;
mod reuse;
mod shutdown;
mod streaming;
mod validation;
mod vary;
mod webhooks;
