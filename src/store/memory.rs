//! The memory tier: what is stored, under which key, and how many bytes it may take.
//!
//! Holds whatever it is given until the room runs out (moka, weighed in bytes with all overhead
//! counted). It knows neither freshness nor the log's positions: whether a stored response may be used is asked
//! of `semantics` and of its [`Carried`] by the caller. Expiry is not moka's business either, because a stale
//! response is still worth validating.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};

use bytes::Bytes;
use http::HeaderMap;
use moka::ops::compute::Op;
use moka::policy::EvictionPolicy;
use moka::sync::Cache;

use super::Asked;
use crate::invalidation::{Carried, Standing, Subject};
use crate::sealed;
use crate::semantics::StoredResponse;
use crate::semantics::stored_response::fields_byte_size;

/// How much the memory tier may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryLimits {
    /// All stored responses together, in bytes: bodies, fields, keys and bookkeeping.
    pub capacity_bytes: u64,
    /// The largest body that is stored, in bytes.
    pub max_object_bytes: u64,
    /// What is still coming, all together, in bytes.
    pub filling_bytes: u64,
    /// Bodies from so many bytes on are sealed; `None`: none are.
    pub sendfile_from_bytes: Option<u64>,
    /// What makes room for others.
    pub eviction: Eviction,
}

/// Which responses a full store keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Eviction {
    /// What was asked for last.
    #[default]
    Lru,
    /// What is asked for most often for its size. A response much larger than most others is hardly ever among it.
    TinyLfu,
}

/// A stored response with its body and what the invalidation log knows it by.
#[derive(Debug)]
pub struct Stored {
    /// The text of the key it is stored under.
    pub key: Arc<str>,
    /// Status, fields and the terms of its reuse.
    pub response: StoredResponse,
    /// The complete body.
    pub body: Bytes,
    /// What came after the body.
    pub trailers: Option<Arc<HeaderMap>>,
    /// The position its fetch began at, and its tags.
    pub carried: Carried,
    /// The bytes it accounts for: body, fields, key, tags and bookkeeping.
    pub weight: u32,
    /// The request it answers.
    pub asked: Arc<Asked>,
    refreshing: AtomicBool,
    hits: AtomicU16,
}

/// Of so many hits one is counted, so that popular responses are not written to all the time.
const SAMPLED: u8 = 16;

impl Stored {
    /// Puts the pieces together and weighs them.
    pub fn new(
        key: Arc<str>,
        response: StoredResponse,
        body: Bytes,
        carried: Carried,
        asked: Arc<Asked>,
    ) -> Self {
        let bytes = ENTRY_OVERHEAD_BYTES
            + key.len()
            + response.byte_size()
            + sealed::weight(&body)
            + carried.byte_size()
            // Those who replace each other share one; each counts it, which is too much rather than too little.
            + asked.byte_size();
        let weight = u32::try_from(bytes).unwrap_or(u32::MAX);
        let (refreshing, hits) = (AtomicBool::new(false), AtomicU16::new(0));
        Self { key, response, body, trailers: None, carried, weight, asked, refreshing, hits }
    }

    /// The same with trailer fields.
    pub fn with_trailers(self, trailers: Option<Arc<HeaderMap>>) -> Self {
        let bytes = trailers.as_ref().map_or(0, |trailers| fields_byte_size(trailers));
        let weight = self.weight.saturating_add(u32::try_from(bytes).unwrap_or(u32::MAX));
        Self { trailers, weight, ..self }
    }

    /// Whether it may be used.
    pub fn standing(&self) -> Standing {
        self.carried.standing_of(|| self.subject())
    }

    /// The same, noted: bans are forgotten.
    pub fn settle(&self) -> Standing {
        let standing = self.standing();
        self.carried.note(standing);
        standing
    }

    /// What bans ask of it.
    pub fn subject(&self) -> Subject<'_> {
        let Self { response, asked, body, .. } = self;
        Subject {
            url: Some((&asked.host, &asked.target)),
            response: Some((response.status, &response.lines, response.terms.received_at)),
            bytes: Some(body.len() as u64),
        }
    }

    /// A request was answered from it.
    pub fn hit(&self) {
        if fastrand::u8(..) < u8::MAX / SAMPLED {
            // Two at once may count as one.
            self.hits.store(self.hits.load(Ordering::Relaxed).saturating_add(1), Ordering::Relaxed);
        }
    }

    /// How popular it is: more is more.
    pub fn popularity(&self) -> u16 {
        self.hits.load(Ordering::Relaxed)
    }

    /// Whether it is this caller who refreshes it; until [`end_refresh`](Self::end_refresh) it is nobody else.
    pub fn begin_refresh(&self) -> bool {
        // Read first: while it is refreshed, everyone who is served it asks.
        !self.refreshing.load(Ordering::Relaxed) && !self.refreshing.swap(true, Ordering::Relaxed)
    }

    /// See [`begin_refresh`](Self::begin_refresh).
    pub fn end_refresh(&self) {
        self.refreshing.store(false, Ordering::Relaxed);
    }
}

/// What moka, the `Arc`s and the `Stored` itself cost beside the variable parts, and what the allocator rounds up.
const ENTRY_OVERHEAD_BYTES: usize = 350 + size_of::<Stored>() - size_of::<StoredResponse>();

/// How many variants one key may have; the one received first makes room for the next.
const MAX_VARIANTS: usize = 32;

/// All stored responses under one key: one per set of selecting header fields (RFC 9111 §4.1).
#[derive(Clone, Debug)]
pub struct Variants(Few);

/// Most keys have one.
#[derive(Clone, Debug)]
enum Few {
    One(Arc<Stored>),
    Several(Arc<[Arc<Stored>]>),
}

impl Variants {
    fn of(mut stored: Vec<Arc<Stored>>) -> Self {
        match (stored.pop(), stored.is_empty()) {
            (Some(one), true) => Self(Few::One(one)),
            (last, _) => Self(Few::Several(stored.into_iter().chain(last).collect())),
        }
    }

    /// In the order they were stored.
    pub fn stored(&self) -> &[Arc<Stored>] {
        match &self.0 {
            Few::One(stored) => std::slice::from_ref(stored),
            Few::Several(stored) => stored,
        }
    }

    fn weight(&self) -> u32 {
        self.stored().iter().fold(0, |sum: u32, stored| sum.saturating_add(stored.weight))
    }

    /// These variants with `new` in the place of the one it replaces.
    fn with(&self, new: Arc<Stored>) -> Self {
        let replaced = |old: &&Arc<Stored>| old.response.selecting == new.response.selecting;
        let mut popularity = 0;
        for old in self.stored().iter().filter(replaced) {
            old.carried.left();
            popularity = old.popularity().max(popularity);
        }
        // What was popular is likely to be so again, and what once was fades.
        new.hits.store(new.popularity().saturating_add(popularity / 2), Ordering::Relaxed);
        let mut stored: Vec<_> = self.stored().iter().filter(|old| !replaced(old)).cloned().collect();
        if stored.len() >= MAX_VARIANTS {
            stored.remove(0).carried.left();
        }
        stored.push(new);
        Self::of(stored)
    }
}

/// The memory tier.
#[derive(Debug)]
pub struct Memory {
    variants: Cache<Arc<str>, Variants, foldhash::fast::RandomState>,
    limits: MemoryLimits,
}

impl Memory {
    /// An empty store.
    pub fn new(limits: MemoryLimits) -> Self {
        let variants = Cache::builder()
            .name("stored responses")
            .max_capacity(limits.capacity_bytes)
            .eviction_policy(match limits.eviction {
                Eviction::Lru => EvictionPolicy::lru(),
                Eviction::TinyLfu => EvictionPolicy::tiny_lfu(),
            })
            .weigher(|_, variants: &Variants| variants.weight())
            // What is replaced or removed by name has left already.
            .eviction_listener(|_, variants: Variants, cause| {
                if cause.was_evicted() {
                    variants.stored().iter().for_each(|stored| stored.carried.left());
                }
            })
            .build_with_hasher(foldhash::fast::RandomState::default());
        Self { variants, limits }
    }

    /// The limits it was made with.
    pub fn limits(&self) -> MemoryLimits {
        self.limits
    }

    /// The pieces of a body together, in the memory it is to be stored in.
    pub fn gathered(&self, pieces: &[Bytes]) -> Bytes {
        let length = pieces.iter().map(Bytes::len).sum::<usize>();
        let is_large = self.limits.sendfile_from_bytes.is_some_and(|from| from <= length as u64);
        is_large.then(|| sealed::gathered(pieces)).flatten().unwrap_or_else(|| {
            let mut body = Vec::with_capacity(length);
            pieces.iter().for_each(|piece| body.extend_from_slice(piece));
            Bytes::from(body.into_boxed_slice())
        })
    }

    /// All variants under a key, whatever their standing.
    pub fn get(&self, key: &str) -> Option<Variants> {
        self.variants.get(key)
    }

    /// The same as [`get`](Self::get), for bookkeeping.
    pub fn peek(&self, key: &str) -> Option<Variants> {
        self.variants.get(key)
    }

    /// Stores a response in the place of the variant with the same selecting fields.
    pub fn insert(&self, stored: Arc<Stored>) {
        stored.carried.stored_under(&stored.key, stored.weight);
        self.variants.entry(Arc::clone(&stored.key)).and_upsert_with(|existing| match existing {
            Some(existing) => existing.into_value().with(stored),
            None => Variants::of(vec![stored]),
        });
    }

    /// Removes the variants for which `keep` says no, and the key once none is left.
    pub fn retain(&self, key: &str, keep: impl Fn(&Stored) -> bool) {
        self.variants.entry(Arc::from(key)).and_compute_with(|existing| {
            let Some(existing) = existing else { return Op::Nop };
            let variants = existing.into_value();
            let (kept, left): (Vec<_>, Vec<_>) =
                variants.stored().iter().cloned().partition(|stored| keep(stored));
            left.iter().for_each(|stored| stored.carried.left());
            if kept.is_empty() {
                Op::Remove
            } else if kept.len() == variants.stored().len() {
                Op::Nop
            } else {
                Op::Put(Variants::of(kept))
            }
        });
    }

    /// Every key with its variants: a snapshot, for listing and counting.
    pub fn iter(&self) -> impl Iterator<Item = (Arc<str>, Variants)> + '_ {
        self.variants.iter().map(|(key, variants)| (Arc::clone(key.as_ref()), variants))
    }

    /// The number of keys something is stored under, give or take what is being stored or evicted right now.
    pub fn len(&self) -> u64 {
        self.variants.entry_count()
    }

    /// Whether nothing is stored.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes that all stored responses account for, give or take what is being stored or evicted right now.
    pub fn bytes(&self) -> u64 {
        self.variants.weighted_size()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored_of_each_response_fits_where_allocators_put_256_bytes() {
        const COUNTS: usize = 2 * size_of::<usize>();
        assert!(size_of::<Stored>() + COUNTS <= 256, "the next size is 320: {}", size_of::<Stored>());
        assert!(size_of::<Asked>() + COUNTS <= 96, "the next size is 112: {}", size_of::<Asked>());
    }
}
