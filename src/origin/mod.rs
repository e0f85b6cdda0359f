//! The origin: one tower service over pooled HTTP/1.1 connections to the servers of each upstream.
//!
//! It knows which server to ask, how long to wait, and which answers have a framing that can be trusted. It
//! does not know what is cached.

mod body;
mod budget;
mod client;
mod error;
mod pool;

pub use body::OriginBody;
#[cfg(test)]
pub(crate) use body::ScriptedBody;
pub use client::{Origin, ToOrigin};
pub use error::{OriginError, RequestBodyFault};
