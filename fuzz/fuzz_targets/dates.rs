//! HTTP dates in their three formats: what can be read can be written, and means the same second.
#![no_main]

use libfuzzer_sys::fuzz_target;
use staleproof::clock::Timestamp;
use staleproof::semantics::dates;

fuzz_target!(|input: &[u8]| {
    let near = Timestamp::from_secs(1_800_000_000);
    let Some(moment) = dates::parse(input, near) else { return };
    let written = dates::to_value(moment);
    assert_eq!(dates::parse(written.as_bytes(), near).map(|moment| moment.as_secs()), Some(moment.as_secs()));
});
