//! Which fields travel on: RFC 9110 §7.6.1.

use http::HeaderMap;

/// The end-to-end fields: without `Connection` and all that it names, and the known hop-by-hop fields.
/// Order is kept.
pub fn end_to_end(headers: &HeaderMap) -> HeaderMap {
    unimplemented!()
}
