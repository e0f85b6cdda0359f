//! The request that led to a stored response: what was asked for, and as far as it takes to ask again without its client.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::Method;

use crate::exchange::Scheme;
use crate::semantics::Lines;

/// What was asked for.
#[derive(Debug)]
pub struct Asked {
    /// Of its URL.
    pub scheme: Scheme,
    /// As normalised: with the port unless it is the scheme's default.
    pub host: Arc<str>,
    /// Path and query, as normalised; of the query what the key has, which is what the origin saw.
    pub target: Box<str>,
    /// What else it takes to ask again; `None`: only its client can.
    pub again: Option<Again>,
}

/// What a request has beside its URL.
#[derive(Debug)]
pub struct Again {
    /// What the route, the key and the response's `Vary` depend on.
    pub fields: Lines,
    /// Of a QUERY; `None`: it is a GET.
    pub content: Option<Box<Bytes>>,
    /// The client's address, if the key depends on it.
    pub client: Option<Box<IpAddr>>,
}

impl Again {
    /// GET, or QUERY.
    pub fn method(&self) -> Method {
        if self.content.is_some() { Method::QUERY } else { Method::GET }
    }
}

impl Asked {
    /// The bytes it occupies, closely enough for a memory limit.
    pub fn byte_size(&self) -> usize {
        let again = self.again.as_ref().map_or(0, |again| {
            again.fields.as_bytes().len()
                + again.content.as_ref().map_or(0, |content| size_of::<Bytes>() + content.len())
                + again.client.as_ref().map_or(0, |_| size_of::<IpAddr>())
        });
        size_of::<Self>() + self.host.len() + self.target.len() + again
    }

    /// The path, without the query.
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }
}

/// The URL.
impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scheme, host, target, .. } = self;
        write!(f, "{}://{host}{target}", scheme.as_str())
    }
}
