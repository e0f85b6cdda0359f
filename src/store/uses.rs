//! How often a key was asked for while nothing was stored under it: a response that is asked for once is not worth its room.

use std::hash::BuildHasher;

use moka::sync::Cache;

/// How many keys are remembered; those asked for longest ago are forgotten first.
const MAX_KEYS: u64 = 100_000;

type Hasher = foldhash::fast::RandomState;

/// See the [module](self).
#[derive(Debug)]
pub struct Uses {
    /// By the keys' hashes: two keys that share one are stored a little early.
    counts: Cache<u64, usize, Hasher>,
    hasher: Hasher,
}

impl Default for Uses {
    fn default() -> Self {
        let counts = Cache::builder().max_capacity(MAX_KEYS).build_with_hasher(Hasher::default());
        Self { counts, hasher: Hasher::default() }
    }
}

impl Uses {
    /// One more; no more than `enough` are counted.
    pub fn add(&self, key: &str, enough: usize) {
        self.counts.entry(self.hasher.hash_one(key)).and_upsert_with(|count| {
            count.map_or(1, |count| count.into_value().saturating_add(1).min(enough))
        });
    }

    /// How many there were.
    pub fn count(&self, key: &str) -> usize {
        self.counts.get(&self.hasher.hash_one(key)).unwrap_or(0)
    }
}
