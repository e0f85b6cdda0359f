//! `No-Vary-Search`: the canonical form of a query is its own canonical form, and both are answered alike.
#![no_main]

use http::header::HeaderName;
use libfuzzer_sys::fuzz_target;
use staleproof::semantics::NoVarySearch;
use staleproof_fuzz::{halves, lines};

fuzz_target!(|input: &[u8]| {
    let Some((rule, query)) = halves(input) else { return };
    let Some(rule) = NoVarySearch::of(&lines(&HeaderName::from_static("no-vary-search"), rule)) else {
        return;
    };
    let Ok(query) = std::str::from_utf8(query) else { return };
    let canonical = rule.canonical(Some(query));
    assert_eq!(rule.canonical(canonical.as_deref()), canonical, "{query:?}");
});
