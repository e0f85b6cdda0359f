//! Where a response lies whose query does not matter in full (No-Vary-Search), on routes that heed it.
//!
//! The last rule stated for a path says where to look: under the key of what it leaves of the query. What lies there is used
//! only if its own rule makes the queries equivalent ([`Search`](crate::semantics::Search)). Whatever is stored so carries
//! [`Tag::any_query`](crate::invalidation::Tag::any_query), which every purge of a URL of its path names as well.

use super::{Rooms, known_keys};
use crate::clock::Timestamp;
use crate::exchange::Routed;
use crate::keys::{Key, KeyError, KeyInput};
use crate::routes::CacheRule;
use crate::semantics::{NoVarySearch, StoredResponse};

impl Rooms {
    /// Adds the text of the key that a request is looked up under.
    ///
    /// # Errors
    ///
    /// As [`Constructor::key`](crate::keys::Constructor::key).
    pub(super) fn write_key(
        &self,
        routed: &Routed,
        rule: &CacheRule,
        now: Timestamp,
        text: &mut String,
    ) -> Result<(), KeyError> {
        let input = routed.key_input(now);
        if rule.no_vary_search
            && input.query.is_some()
            && let Some(stated) = self.searches.get(&without_query(rule, &input)?.text)
        {
            text.push_str(&with_rest_of_query(rule, &input, &stated)?.text);
            return Ok(());
        }
        if !rule.no_vary_search && rule.key.is_of_url_alone() {
            return known_keys::write(routed, text, |text| rule.key.write(&input, text));
        }
        rule.key.write(&input, text)
    }

    /// The key that a request is looked up under.
    ///
    /// # Errors
    ///
    /// As [`Constructor::key`](crate::keys::Constructor::key).
    pub(super) fn key(&self, routed: &Routed, rule: &CacheRule, now: Timestamp) -> Result<Key, KeyError> {
        let mut text = String::with_capacity(128);
        self.write_key(routed, rule, now, &mut text)?;
        rule.key.key_of(text.into(), &routed.key_input(now))
    }

    /// The key that a response is stored under; from now on its path is looked up by its rule. `found`: what it was looked up
    /// under.
    pub(super) fn key_stated(
        &self,
        routed: &Routed,
        rule: &CacheRule,
        response: &StoredResponse,
        found: Key,
    ) -> Key {
        let Some(stated) = response.search.as_ref().and_then(|search| search.rule()) else { return found };
        let input = routed.key_input(response.terms.received_at);
        match (without_query(rule, &input), with_rest_of_query(rule, &input, stated)) {
            (Ok(path), Ok(key)) => {
                self.searches.set(&path.text, stated);
                key
            }
            _ => found,
        }
    }
}

fn without_query(rule: &CacheRule, input: &KeyInput<'_>) -> Result<Key, KeyError> {
    rule.key.key(&KeyInput { query: None, ..*input })
}

fn with_rest_of_query(
    rule: &CacheRule,
    input: &KeyInput<'_>,
    stated: &NoVarySearch,
) -> Result<Key, KeyError> {
    rule.key.key(&KeyInput { query: stated.canonical(input.query).as_deref(), ..*input })
}
