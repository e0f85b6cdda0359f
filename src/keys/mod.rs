//! How a cache key is built from a request. PURE.
//!
//! A [`Constructor`] is a list of [`Field`]s; each takes a value from one [`Source`], makes equivalent values equal
//! with [`Normalizer`]s, and adds it to the key. Two requests share a stored response iff their keys are equal, so
//! the encoding is injective: no value, however crafted, reads like another. Knows nothing of stores or time.

mod constructor;
mod cookie;
mod encoding;
mod field;
mod jwt;
mod key;
mod negotiation;
mod normalizer;
#[cfg(test)]
mod properties;
mod query;
mod reading;
#[cfg(test)]
mod testing;
mod value;

pub use constructor::{Constructor, DEFAULT_MAX_SUFFIX_LENGTH, OnOverflow};
pub use cookie::values as cookies;
pub use encoding::{digest_hex, escape, partition_text};
pub use field::{Field, Source};
pub use jwt::{JwtSource, JwtTrust, JwtTrustError};
pub use key::{Key, KeyError, KeyInput, Part};
pub use normalizer::Normalizer;
pub use query::{QuerySelection, TRACKING};
pub use reading::{MAX_READINGS, parameter_readings};
