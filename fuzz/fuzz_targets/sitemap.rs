//! Sitemaps: no bytes panic, and there are never more entries than the protocol allows.
#![no_main]

use libfuzzer_sys::fuzz_target;
use staleproof::warm::sitemap::{self, Sitemap};

fuzz_target!(|input: (&[u8], bool)| {
    let (bytes, is_text) = input;
    if let Ok(Sitemap::Urls(found) | Sitemap::Index(found)) = sitemap::read(bytes, is_text) {
        assert!(found.len() <= sitemap::MAX_ENTRIES);
        assert!(found.iter().all(|entry| !entry.is_empty() && entry.trim() == entry));
    }
});
