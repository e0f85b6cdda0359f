//! Which responses a full store keeps: the same requests against each policy, and how many of them, and of their bytes, it could
//! have answered.
//!
//!     cargo bench --bench policies
//!
//! The requests are made up, always in the same way: popularity by Zipf's law, sizes as on the web (most are small, most bytes are
//! in large ones), crawlers that ask for each page once, and pages that are news for a while. Nothing here is timed.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    unreachable_pub,
    missing_docs,
    reason = "a test that cannot go on says so by panicking"
)]

use moka::policy::EvictionPolicy;
use moka::sync::Cache;

const REQUESTS: usize = 1_000_000;
const OBJECTS: usize = 200_000;

/// The largest that counts as small, in bytes.
const SMALL: u32 = 64 * 1024;

fn main() {
    println!("| requests | store | LRU | TinyLFU | TinyLFU up to 64 KiB, LRU above |");
    println!("|---|---|---|---|---|");
    for (name, trace) in [
        ("Zipf 0.9", Trace { exponent: 0.9, ..Trace::default() }),
        ("Zipf 0.7", Trace { exponent: 0.7, ..Trace::default() }),
        ("Zipf 0.9, a crawler makes a fifth", Trace { crawled: 0.2, ..Trace::default() }),
        ("Zipf 0.9, what is popular changes", Trace { drift: true, ..Trace::default() }),
    ] {
        let requests = trace.requests();
        let total: u64 = (0..OBJECTS).map(|object| u64::from(size(object))).sum();
        for percent in [1, 5, 20] {
            let capacity = total * percent / 100;
            let results = [
                Store::one(capacity, EvictionPolicy::lru()),
                Store::one(capacity, EvictionPolicy::tiny_lfu()),
                Store::classes(capacity),
            ]
            .map(|store| store.run(&requests));
            let cells: Vec<_> = results
                .iter()
                .map(|(hits, bytes)| format!("{:.1} %, {:.1} % of bytes", hits * 100.0, bytes * 100.0))
                .collect();
            println!("| {name} | {percent} % | {} |", cells.join(" | "));
        }
    }
}

#[derive(Clone, Copy)]
struct Trace {
    /// Of Zipf's law.
    exponent: f64,
    /// The share of requests that ask for the next page, whatever it is.
    crawled: f64,
    /// What is popular now is another thing later.
    drift: bool,
}

impl Default for Trace {
    fn default() -> Self {
        Self { exponent: 0.9, crawled: 0.0, drift: false }
    }
}

impl Trace {
    fn requests(self) -> Vec<usize> {
        let mut random = fastrand::Rng::with_seed(7);
        // How often one of the first so many is asked for.
        let mut sum = 0.0;
        let cumulated: Vec<f64> = (1..=OBJECTS)
            .map(|rank| {
                sum += (rank as f64).powf(-self.exponent);
                sum
            })
            .collect();
        let mut crawler = 0;
        (0..REQUESTS)
            .map(|number| {
                if random.f64() < self.crawled {
                    crawler = (crawler + 1) % OBJECTS;
                    return crawler;
                }
                let wanted = random.f64() * sum;
                let rank = cumulated.partition_point(|&so_far| so_far < wanted);
                let shift = if self.drift { number / 50_000 * 997 } else { 0 };
                // The popular ones are of all sizes.
                (rank + shift).wrapping_mul(7919) % OBJECTS
            })
            .collect()
    }
}

/// Always the same for an object: about 10 KiB in the middle, one of a hundred above 1 MiB.
fn size(object: usize) -> u32 {
    let mut random = fastrand::Rng::with_seed(object as u64);
    // A normal distribution, near enough.
    let normal = (0..12).map(|_| random.f64()).sum::<f64>() - 6.0;
    (9.2 + normal * 2.0).exp().clamp(200.0, 32e6) as u32
}

/// One cache for all, or one for the small and one for the others.
struct Store {
    small: Cache<usize, u32>,
    large: Option<Cache<usize, u32>>,
}

impl Store {
    fn cache(capacity: u64, policy: EvictionPolicy) -> Cache<usize, u32> {
        Cache::builder().max_capacity(capacity).eviction_policy(policy).weigher(|_, size| *size).build()
    }

    fn one(capacity: u64, policy: EvictionPolicy) -> Self {
        Self { small: Self::cache(capacity, policy), large: None }
    }

    fn classes(capacity: u64) -> Self {
        // As the bytes of the objects are divided, so is the store.
        let (small, all) = (0..OBJECTS).map(size).fold((0, 0), |(small, all): (u64, u64), size| {
            (small + if size <= SMALL { u64::from(size) } else { 0 }, all + u64::from(size))
        });
        let small = capacity * small / all;
        let large = Self::cache(capacity - small, EvictionPolicy::lru());
        Self { small: Self::cache(small, EvictionPolicy::tiny_lfu()), large: Some(large) }
    }

    /// The shares of requests and of bytes that it answers.
    fn run(&self, requests: &[usize]) -> (f64, f64) {
        let (mut hits, mut hit_bytes, mut bytes) = (0_usize, 0_u64, 0_u64);
        for (number, &object) in requests.iter().enumerate() {
            let size = size(object);
            bytes += u64::from(size);
            let cache = self.large.as_ref().filter(|_| size > SMALL).unwrap_or(&self.small);
            if cache.get(&object).is_some() {
                hits += 1;
                hit_bytes += u64::from(size);
            } else {
                cache.insert(object, size);
            }
            if number % 64 == 0 {
                cache.run_pending_tasks();
            }
        }
        (hits as f64 / requests.len() as f64, hit_bytes as f64 / bytes as f64)
    }
}
