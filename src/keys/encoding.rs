//! The injective text form of keys.

/// Escapes every byte that is a delimiter of the key's text or not printable ASCII.
pub fn escape(text: &str, out: &mut String) {
    unimplemented!()
}

/// A partition value as people write it: percent-decoded.
pub fn partition_text(raw: &str) -> String {
    unimplemented!()
}
