//! A client's preconditions, evaluated against a stored response: RFC 9110 §13, RFC 9111 §4.3.2.

use super::StoredResponse;
use http::HeaderMap;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Send the whole response.
    Send,
    /// 304.
    NotModified,
}

pub fn evaluate(stored: &StoredResponse, request: &HeaderMap) -> Verdict {
    unimplemented!()
}

/// The fields a 304 made from the store carries (RFC 9110 §15.4.5).
pub fn not_modified_fields(stored: &HeaderMap) -> HeaderMap {
    unimplemented!()
}
