//! Choosing among stored responses: RFC 9111 §4.1.

use http::HeaderMap;

/// The selecting fields a response named in `Vary`, with the values of the request that fetched it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selecting {/* helper B */}

impl Selecting {
    /// `None` if `Vary` has a `*` anywhere: never reused.
    pub fn of(response: &HeaderMap, request: &HeaderMap) -> Option<Self> {
        unimplemented!()
    }
    /// Whether a request with these fields selects the response.
    pub fn selects(&self, request: &HeaderMap) -> bool {
        unimplemented!()
    }
}
