//! The encoding of keys is injective: what was escaped can be had back, and no delimiter is left in it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use staleproof::keys;

fuzz_target!(|text: &str| {
    let mut escaped = String::new();
    keys::escape(text, &mut escaped);
    assert!(!escaped.contains(|c: char| !c.is_ascii_graphic() || ",=|#[]{}\"".contains(c)), "{escaped:?}");
    let back: Vec<u8> = percent_encoding::percent_decode_str(&escaped).collect();
    assert_eq!(back, text.as_bytes());
});
