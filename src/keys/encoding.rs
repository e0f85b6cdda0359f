//! The injective text form of keys.
//!
//! ```text
//! key       = head "|" partition "|" ( suffix / digest ) [ "|" content ] [ "|parts" ]
//! content   = "content=" text *( "," name "=" list ) / "#" 64HEXDIG
//! head      = [ namespace ":" ] id ":v" version
//! partition = suffix
//! suffix    = [ entry *( "," entry ) ]
//! entry     = name [ "=" value ]                     ; without value: there is none
//! value     = text / list / pairs / digest           ; an empty text is an empty value
//! list      = "[" [ item *( "," item ) ] "]"
//! pairs     = "{" item [ "=" text ] *( "," item [ "=" text ] ) "}"
//! item      = 1*char / DQUOTE DQUOTE                 ; two quotes: empty
//! digest    = "#" 32HEXDIG
//! ```
//!
//! Whatever could be taken for a delimiter is percent-encoded in names and texts, and so is `%` itself. Values of
//! the URL stand in the key as they were sent, so their own percent signs are encoded once more.

use super::value::Value;
use percent_encoding::percent_decode_str;

/// Escapes every byte that is a delimiter of the key's text or not printable ASCII.
///
/// Letters, digits and ``-._~/@+!$'();&`` stand for themselves; every other byte becomes `%` and two hexadecimal
/// digits. Two texts have one escaped form only if they are equal.
pub fn escape(text: &str, out: &mut String) {
    out.reserve(text.len());
    let mut rest = text;
    while let Some(plain) = rest.bytes().position(|byte| !STANDS_FOR_ITSELF[usize::from(byte)]) {
        // What stands for itself is ASCII, so this is where a character begins.
        let (run, others) = rest.split_at(plain);
        out.push_str(run);
        let mut characters = others.chars();
        let escaped = characters.next().map_or(0, char::len_utf8);
        for &byte in &others.as_bytes()[..escaped] {
            out.push_str(percent_encoding::percent_encode_byte(byte));
        }
        rest = characters.as_str();
    }
    out.push_str(rest);
}

/// Like [`escape`], for values that may not be UTF-8.
pub(super) fn escape_bytes(bytes: &[u8], out: &mut String) {
    for chunk in bytes.utf8_chunks() {
        escape(chunk.valid(), out);
        for &byte in chunk.invalid() {
            out.push_str(percent_encoding::percent_encode_byte(byte));
        }
    }
}

const STANDS_FOR_ITSELF: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let others = b"-._~/@+!$'();&";
    let mut i = 0;
    while i < others.len() {
        table[others[i] as usize] = true;
        i += 1;
    }
    table
};

/// A partition value as people write it: percent-decoded. What does not decode to UTF-8 is left as it is.
pub fn partition_text(raw: &str) -> String {
    percent_decode_str(raw).decode_utf8().map_or_else(|_| raw.to_owned(), std::borrow::Cow::into_owned)
}

/// The first 128 bits of the BLAKE3 hash, in lower-case hexadecimal.
pub fn digest_hex(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex()[..32].to_owned()
}

/// Adds `name` or `name=value`, with a comma before it unless it is the first of its section.
pub(super) fn push_entry(name: &[u8], value: &Value<'_>, hash: bool, out: &mut String) {
    // Nothing but the beginning of a section leaves this delimiter behind.
    if !out.ends_with('|') {
        out.push(',');
    }
    push_item(name, out);
    if matches!(value, Value::Missing) {
        return;
    }
    out.push('=');
    let start = out.len();
    push_value(value, out);
    if hash {
        replace_by_digest(start, out);
    }
}

/// The same as [`push_entry`] for a text, or no value.
pub(super) fn push_text(name: &str, value: Option<&str>, out: &mut String) {
    if !out.ends_with('|') {
        out.push(',');
    }
    if name.is_empty() {
        out.push_str("\"\"");
    }
    escape(name, out);
    if let Some(value) = value {
        out.push('=');
        escape(value, out);
    }
}

/// Replaces everything from `start` on by its digest, in a form that no names and values can have.
pub(super) fn replace_by_digest(start: usize, out: &mut String) {
    let digest = blake3::hash(&out.as_bytes()[start..]).to_hex();
    out.truncate(start);
    out.push('#');
    out.push_str(&digest[..32]);
}

fn push_value(value: &Value<'_>, out: &mut String) {
    match value {
        Value::Missing => {}
        Value::One(text) => escape_bytes(text, out),
        Value::List(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                push_comma(i, out);
                push_item(item, out);
            }
            out.push(']');
        }
        Value::Pairs(pairs) => {
            out.push('{');
            for (i, (name, value)) in pairs.iter().enumerate() {
                push_comma(i, out);
                push_item(name, out);
                if let Some(value) = value {
                    out.push('=');
                    escape_bytes(value, out);
                }
            }
            out.push('}');
        }
    }
}

fn push_comma(i: usize, out: &mut String) {
    if i > 0 {
        out.push(',');
    }
}

/// An empty item is written down: without it, a list of one would look like a list of none.
fn push_item(item: &[u8], out: &mut String) {
    if item.is_empty() {
        out.push_str("\"\"");
    } else {
        escape_bytes(item, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use smallvec::smallvec;
    use std::borrow::Cow;

    fn check(value: &Value<'_>, expected: &str) {
        let mut out = String::new();
        push_value(value, &mut out);
        assert_eq!(out, expected);
    }

    fn bytes(text: &str) -> Cow<'_, [u8]> {
        Cow::Borrowed(text.as_bytes())
    }

    #[test]
    fn every_kind_of_value_has_a_form_of_its_own() {
        check(&Value::One(bytes("")), "");
        check(&Value::One(bytes("a,b")), "a%2Cb");
        check(&Value::One(bytes("[a]")), "%5Ba%5D");
        check(&Value::One(Cow::Borrowed(b"\xff\0")), "%FF%00");
        check(&Value::List(smallvec![]), "[]");
        check(&Value::List(smallvec![bytes("")]), "[\"\"]");
        check(&Value::List(smallvec![bytes("a"), bytes("\"\"")]), "[a,%22%22]");
        check(
            &Value::Pairs(smallvec![
                (bytes("a"), None),
                (bytes("b"), Some(bytes(""))),
                (bytes(""), Some(bytes("=")))
            ]),
            "{a,b=,\"\"=%3D}",
        );
    }

    #[test]
    fn an_entry_without_a_value_is_not_an_empty_one() {
        let mut out = "x|".to_owned();
        push_entry(b"a", &Value::Missing, false, &mut out);
        push_entry(b"b", &Value::One(bytes("")), false, &mut out);
        push_entry(b"c", &Value::Missing, true, &mut out);
        push_entry(b"d", &Value::One(bytes("")), true, &mut out);
        assert_eq!(out, format!("x|a,b=,c,d=#{}", digest_hex(b"")));
    }

    #[test]
    fn a_digest_is_128_bits_of_blake3() {
        assert_eq!(digest_hex(b""), "af1349b9f5f9a1a6a0404dea36dcc949");
    }

    #[test]
    fn a_partition_value_is_what_people_write() {
        assert_eq!(partition_text("caf%C3%A9%2F1"), "café/1");
        assert_eq!(partition_text("a+b"), "a+b");
        assert_eq!(partition_text("%FF"), "%FF");
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn escaped_text_holds_no_delimiter_and_can_be_read_back(text in ".*") {
            let mut escaped = String::new();
            escape(&text, &mut escaped);
            let forbidden = |c: char| !c.is_ascii_graphic() || "|,={}[]:\"#*?\\<>".contains(c);
            prop_assert!(!escaped.contains(forbidden), "{}", escaped);
            prop_assert_eq!(percent_decode_str(&escaped).decode_utf8().unwrap(), text);
        }
    }
}
