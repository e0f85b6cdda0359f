//! What is remembered of `No-Vary-Search`: by path, the last rule that a response stated.
//!
//! Only a hint where to look: whether what lies there answers a request is for the stored response itself to say.

use std::sync::Arc;

use moka::sync::Cache;

use crate::semantics::NoVarySearch;

/// How much is remembered, in bytes.
const CAPACITY_BYTES: u64 = 16 * 1024 * 1024;

/// What an entry costs beside its key and its rule.
const ENTRY_OVERHEAD_BYTES: usize = 200;

/// See the [module](self).
#[derive(Debug)]
pub struct Searches {
    rules: Cache<Arc<str>, Arc<NoVarySearch>, foldhash::fast::RandomState>,
}

impl Default for Searches {
    fn default() -> Self {
        let weigh = |key: &Arc<str>, rule: &Arc<NoVarySearch>| {
            u32::try_from(key.len() + rule.byte_size() + ENTRY_OVERHEAD_BYTES).unwrap_or(u32::MAX)
        };
        let rules = Cache::builder().max_capacity(CAPACITY_BYTES).weigher(weigh);
        Self { rules: rules.build_with_hasher(foldhash::fast::RandomState::default()) }
    }
}

impl Searches {
    /// The rule for what lies under a key without a query.
    pub fn get(&self, key: &str) -> Option<Arc<NoVarySearch>> {
        self.rules.get(key)
    }

    /// From now on this is the rule.
    pub fn set(&self, key: &Arc<str>, rule: &NoVarySearch) {
        if self.rules.get(key).is_none_or(|known| *known != *rule) {
            self.rules.insert(Arc::clone(key), Arc::new(rule.clone()));
        }
    }
}
