//! An event: what a webhook says has changed.

/// An RFC 9535 JSONPath.
#[derive(Clone, Debug)]
pub struct Selector {/* helper E: wraps serde_json_path::JsonPath and its text */}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SelectorError {
    pub at: usize,
    pub message: String,
}

impl Selector {
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        unimplemented!()
    }
}
