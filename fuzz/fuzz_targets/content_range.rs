//! `Content-Range`: what can be read can be written, and means the same.
#![no_main]

use http::header::CONTENT_RANGE;
use libfuzzer_sys::fuzz_target;
use staleproof::semantics::range::ContentRange;
use staleproof_fuzz::lines;

fuzz_target!(|input: &[u8]| {
    let Some(range) = ContentRange::of(&lines(&CONTENT_RANGE, input)) else { return };
    assert!(range.bytes.start < range.bytes.end && range.bytes.end <= range.complete);
    let written = range.to_value().into_iter().map(|value| (CONTENT_RANGE, value)).collect();
    assert_eq!(ContentRange::of(&written), Some(range));
});
