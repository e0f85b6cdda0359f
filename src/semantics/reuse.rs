//! Constructing responses from stored ones: RFC 9111 §4.

use super::{ClientDirectives, ForwardReason, StoredResponse};
use crate::clock::Timestamp;
use http::{HeaderMap, Method};

/// What to do with a request, given the stored response its key and `Vary` selected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reuse {
    /// Serve it as it is.
    Serve,
    /// Ask the origin whether it still holds; why.
    Validate(ForwardReason),
    /// Do not use it: forward; why.
    Forward(ForwardReason),
    /// `only-if-cached` and nothing to serve: 504 (§5.2.1.7).
    Refuse,
}

/// §4, after selection. `stored`: `None` if nothing is stored under the key (`variants_exist: false`)
/// or nothing that `Vary` selects (`true`).
pub fn reuse(
    stored: Option<&StoredResponse>,
    variants_exist: bool,
    method: &Method,
    request: &HeaderMap,
    client_directives: ClientDirectives,
    now: Timestamp,
) -> Reuse {
    unimplemented!()
}

/// Whether this request may be answered from, or fill, the cache at all; the reason if not
/// (method other than GET/HEAD, a GET with a body, …).
pub fn cacheable_request(method: &Method, request: &HeaderMap) -> Result<(), ForwardReason> {
    unimplemented!()
}
