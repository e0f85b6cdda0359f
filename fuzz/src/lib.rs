//! What the fuzz targets share: how bytes become fields.

use http::header::HeaderName;
use http::{HeaderMap, HeaderValue};

/// One line of the input, one line of the field. What no connection would let through is left out.
pub fn lines(name: &HeaderName, input: &[u8]) -> HeaderMap {
    let values = input.split(|&byte| byte == b'\n').filter_map(|line| HeaderValue::from_bytes(line).ok());
    values.map(|value| (name.clone(), value)).collect()
}

/// Two inputs: what is before the first zero byte, and what is after it.
pub fn halves(input: &[u8]) -> Option<(&[u8], &[u8])> {
    let middle = input.iter().position(|&byte| byte == 0)?;
    Some((&input[..middle], &input[middle + 1..]))
}
