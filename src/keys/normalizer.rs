//! Steps that make equivalent values equal.

use std::collections::BTreeMap;
use std::sync::Arc;

/// One step of a `normalize:` pipeline. A step that fails keeps the value.
#[derive(Clone, Debug)]
pub enum Normalizer {
    Lower,
    Trim,
    Int,
    Bool,
    /// The best of these languages by the request's q-values (RFC 9110 §12.5.4); the first if none fits.
    Language(Vec<Arc<str>>),
    /// The first of these content codings that the request accepts (RFC 9110 §12.5.3); `identity` if none.
    Encoding(Vec<Arc<str>>),
    /// The first capture group, or the whole match; no match keeps the value.
    Capture(regex::Regex),
    Map {
        entries: BTreeMap<String, String>,
        otherwise: Option<String>,
    },
}
