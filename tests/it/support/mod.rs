//! The words the tests are written in: a scripted origin, a proxy on free ports, a client that shows the bytes.

mod client;
pub mod http2;
mod origin;
mod proxy;

pub use client::{Client, Response, send};
pub use origin::{Gate, Origin, Reply};
pub use proxy::Proxy;
