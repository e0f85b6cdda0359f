//! The request that led to a stored response, as far as it takes to make it again without its client.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method};

use crate::semantics::stored_response::fields_byte_size;

/// See the [module](self).
#[derive(Debug)]
pub struct Asked {
    /// GET, or a QUERY.
    pub method: Method,
    /// `http` or `https`.
    pub scheme: &'static str,
    /// As normalised: with the port unless it is the scheme's default.
    pub host: Arc<str>,
    /// Path and query, as normalised.
    pub target: Box<str>,
    /// What the route, the key and the response's `Vary` depend on.
    pub fields: HeaderMap,
    /// Of a QUERY.
    pub content: Option<Bytes>,
    /// The client's address, if the key depends on it.
    pub client: Option<IpAddr>,
}

impl Asked {
    /// The bytes it occupies, closely enough for a memory limit.
    pub fn byte_size(&self) -> usize {
        let content = self.content.as_ref().map_or(0, Bytes::len);
        size_of::<Self>() + self.host.len() + self.target.len() + fields_byte_size(&self.fields) + content
    }
}
