//! What is remembered of a response, with everything worked out that can be when it is stored.

use super::storing::Terms;
use super::vary::Selecting;
use http::{HeaderMap, StatusCode};

#[derive(Debug)]
pub struct StoredResponse {
    pub status: StatusCode,
    /// End-to-end fields, ready to be sent (without `Age`); `Date` present.
    pub headers: HeaderMap,
    pub terms: Terms,
    pub selecting: Selecting,
    // helper B: add validators (entity tag, last-modified) parsed once, etc.
}
