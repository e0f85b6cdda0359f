//! What a successful unsafe request invalidates: RFC 9111 §4.4.

use http::{HeaderMap, Method, StatusCode};

/// The URIs to invalidate, as (host, path, query): the target itself, and same-origin `Location` and
/// `Content-Location`. Empty for safe methods and error answers.
pub fn invalidated(
    method: &Method,
    host: &str,
    path_and_query: &str,
    status: StatusCode,
    response: &HeaderMap,
) -> Vec<String> {
    unimplemented!()
}
