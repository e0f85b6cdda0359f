//! How a cache key is built from a request. PURE.

mod constructor;
mod encoding;
mod field;
mod normalizer;

pub use constructor::{Constructor, Key, KeyError, KeyInput, OnOverflow, Part};
pub use encoding::{escape, partition_text};
pub use field::{Field, JwtSource, JwtTrust, QuerySelection, Source};
pub use normalizer::Normalizer;
