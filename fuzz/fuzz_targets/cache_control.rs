//! `Cache-Control` of responses and requests: no bytes panic, and no bytes beside it hide a `no-store`.
#![no_main]

use http::HeaderValue;
use http::header::CACHE_CONTROL;
use libfuzzer_sys::fuzz_target;
use staleproof::semantics::{RequestDirectives, ResponseDirectives};
use staleproof_fuzz::lines;

fuzz_target!(|input: &[u8]| {
    let mut fields = lines(&CACHE_CONTROL, input);
    let _ = (ResponseDirectives::of(&fields), RequestDirectives::of(&fields));
    fields.append(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    assert!(ResponseDirectives::of(&fields).no_store() && RequestDirectives::of(&fields).no_store());
});
