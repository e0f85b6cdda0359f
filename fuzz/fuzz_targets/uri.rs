//! Targets: what is normal stays as it is.
#![no_main]

use libfuzzer_sys::fuzz_target;
use staleproof::uri;

fuzz_target!(|text: &str| {
    let query = uri::normalize_query(text);
    assert_eq!(uri::normalize_query(&query), query);
    if let Ok(path) = uri::normalize_path(text) {
        assert_eq!(uri::normalize_path(&path).as_deref(), Ok(&*path));
    }
    if let Ok(authority) = uri::normalize_authority(text, "http") {
        assert_eq!(uri::normalize_authority(&authority, "http").as_deref(), Ok(&*authority));
    }
});
