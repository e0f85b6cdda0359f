//! Validation: RFC 9111 §4.3.

use super::StoredResponse;
use http::HeaderMap;

/// Adds If-None-Match / If-Modified-Since for `stored`, replacing the client's own conditions (§4.3.1).
/// `false`: it has no validator; fetch anew.
pub fn make_conditional(stored: &StoredResponse, request: &mut HeaderMap) -> bool {
    unimplemented!()
}

/// §3.2: the stored fields updated by those of a 304.
pub fn freshened_fields(stored: &HeaderMap, not_modified: &HeaderMap) -> HeaderMap {
    unimplemented!()
}

/// Whether a 304 speaks of `stored` (§4.3.4: validators match or the 304 has none).
pub fn confirms(stored: &StoredResponse, not_modified: &HeaderMap) -> bool {
    unimplemented!()
}

/// Removes a client's preconditions before a fetch whose answer is to be stored whole.
pub fn strip_conditions(request: &mut HeaderMap) {
    unimplemented!()
}
