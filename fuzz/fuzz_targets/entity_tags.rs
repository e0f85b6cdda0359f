//! `ETag` and the lists of `If-None-Match`: a valid tag is found in any list that it is appended to.
#![no_main]

use http::header::ETAG;
use libfuzzer_sys::fuzz_target;
use staleproof::semantics::EntityTag;
use staleproof_fuzz::{halves, lines};

fuzz_target!(|input: &[u8]| {
    let (tag, list) = halves(input).unwrap_or((input, b""));
    let Some(tag) = EntityTag::of(&lines(&ETAG, tag)) else { return };
    let _ = tag.is_named_weakly_in(list);
    assert!(tag.matches_weakly(&tag));
    assert!(tag.is_named_weakly_in(tag.as_value().as_bytes()));
    assert!(tag.is_named_weakly_in(&[b"\"another\", ", tag.as_value().as_bytes()].concat()));
});
