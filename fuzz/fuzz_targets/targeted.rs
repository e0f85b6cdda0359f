//! Targeted fields (RFC 9213): whatever one says, a later one is not asked unless it is malformed or missing.
#![no_main]

use http::HeaderValue;
use http::header::HeaderName;
use libfuzzer_sys::fuzz_target;
use staleproof::semantics::targeted::Statement;
use staleproof_fuzz::lines;

const FIRST: HeaderName = HeaderName::from_static("cdn-cache-control");
const SECOND: HeaderName = HeaderName::from_static("surrogate-control");

fuzz_target!(|input: &[u8]| {
    let mut fields = lines(&FIRST, input);
    let targets = [FIRST, SECOND];
    let alone = Statement::of(&fields, &targets).targeted;
    fields.append(SECOND, HeaderValue::from_static("max-age=1"));
    assert_eq!(Statement::of(&fields, &targets).targeted, alone.or(Some(SECOND)));
});
