//! The Cache-Control field: RFC 9111 §5.2.
