//! `Range` and `If-Range`: what is wanted lies within the representation, and no byte twice.
#![no_main]

use http::header::{IF_RANGE, RANGE};
use http::{HeaderMap, StatusCode};
use libfuzzer_sys::fuzz_target;
use staleproof::clock::Timestamp;
use staleproof::semantics::range::{Wanted, wanted};
use staleproof::semantics::vary::Selecting;
use staleproof::semantics::{LifetimeSource, StoredResponse, Terms};
use staleproof_fuzz::{halves, lines};
use std::time::Duration;

const COMPLETE: u64 = 1000;

fuzz_target!(|input: &[u8]| {
    let (ranges, condition) = halves(input).unwrap_or((input, b""));
    let mut request = lines(&RANGE, ranges);
    if !condition.is_empty() {
        request.extend(lines(&IF_RANGE, condition));
    }
    let terms = Terms {
        lifetime: Duration::from_secs(60),
        lifetime_from: LifetimeSource::MaxAge,
        initial_age: Duration::ZERO,
        received_at: Timestamp::from_secs(1000),
        always_validate: false,
        never_stale: false,
        stale_while_revalidate: Duration::ZERO,
        stale_if_error: Duration::ZERO,
        refresh_at: None,
    };
    let stored = StoredResponse::new(StatusCode::OK, HeaderMap::new(), &[], terms, Selecting::default());
    let Wanted::Parts(parts) = wanted(&request, &stored, COMPLETE) else { return };
    let bytes: u64 = parts.iter().map(|part| part.end - part.start).sum();
    assert!(!parts.is_empty() && bytes <= COMPLETE);
    assert!(parts.iter().all(|part| part.start < part.end && part.end <= COMPLETE));
});
