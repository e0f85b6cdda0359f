//! `Cache-Groups` (RFC 9875): every group once, and only by a successful unsafe request invalidated.
#![no_main]

use http::header::HeaderName;
use http::{Method, StatusCode};
use libfuzzer_sys::fuzz_target;
use staleproof::semantics::cache_groups::{Groups, invalidated, of};
use staleproof_fuzz::lines;
use std::collections::HashSet;

fuzz_target!(|input: &[u8]| {
    let groups = of(&lines(&HeaderName::from_static("cache-groups"), input));
    let invalidation = lines(&HeaderName::from_static("cache-group-invalidation"), input);
    assert_eq!(invalidated(&Method::POST, StatusCode::OK, &invalidation), groups);
    assert_eq!(invalidated(&Method::GET, StatusCode::OK, &invalidation), Groups::Named(Vec::new()));
    if let Groups::Named(names) = groups {
        assert_eq!(names.iter().collect::<HashSet<_>>().len(), names.len());
    }
});
