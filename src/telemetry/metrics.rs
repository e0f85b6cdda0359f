//! Counts, in the OpenMetrics text format that Prometheus reads.
//!
//! Labels are bounded: whatever a client, an origin or a sender may send, the number of series stays what the
//! configuration makes it.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::encoding::{EncodeLabelSet, text::encode};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use super::{SHARDS, shard};

/// The words of `X-Cache`, and `-` where no route's cache was asked.
const WORDS: [&str; 6] = ["HIT", "MISS", "STALE", "BYPASS", "REFRESH", "-"];

/// Classes of status codes (RFC 9110 §15).
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// All counts of a server.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// By word, then by class, as they were last told.
    requests: [[Counter; CLASSES.len()]; WORDS.len()],
    sent_bytes: Counter,
    exchanges: Box<[Exchanges; SHARDS]>,
    origin_requests: Counter,
    origin_errors: Family<OriginFailure, Counter>,
    origin_retries: Counter,
    origin_retries_refused: Counter,
    webhooks: Family<Delivery, Counter>,
    rules: Family<RuleOutcome, Counter>,
    queued: Family<Queue, Gauge>,
    dead_letters: Family<Queue, Gauge>,
    purges: Family<Source, Counter>,
    purged: Family<Source, Counter>,
    stored: Gauge,
    stored_bytes: Gauge,
    fetches: Gauge,
    waiting: Gauge,
    filling_bytes: Gauge,
}

/// What there is right now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Levels {
    /// Keys with stored responses.
    pub stored: u64,
    /// The bytes of stored responses.
    pub stored_bytes: u64,
    /// Fetches that need no client.
    pub fetches: u64,
    /// Requests that wait for another's fetch.
    pub waiting: u64,
    /// The bytes of responses that are still coming, or are still being read as they came.
    pub filling_bytes: u64,
}

/// What a worker has counted: once for every exchange, without a lock, and in memory that no other worker writes to.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Exchanges {
    requests: [[AtomicU64; CLASSES.len()]; WORDS.len()],
    sent_bytes: AtomicU64,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Exchange {
    cache: &'static str,
    status: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OriginFailure {
    error: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Delivery {
    hook: String,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RuleOutcome {
    hook: String,
    rule: String,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Queue {
    dispatcher: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Source {
    source: &'static str,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All at zero.
    pub fn new() -> Self {
        let requests = Family::<Exchange, Counter>::default();
        let counter = |cache, status| requests.get_or_create_owned(&Exchange { cache, status });
        let metrics = Self {
            registry: Registry::with_prefix("staleproof"),
            requests: WORDS.map(|word| CLASSES.map(|class| counter(word, class))),
            sent_bytes: Counter::default(),
            exchanges: Box::new(std::array::from_fn(|_| Exchanges::default())),
            origin_requests: Counter::default(),
            origin_errors: Family::default(),
            origin_retries: Counter::default(),
            origin_retries_refused: Counter::default(),
            webhooks: Family::default(),
            rules: Family::default(),
            queued: Family::default(),
            dead_letters: Family::default(),
            purges: Family::default(),
            purged: Family::default(),
            stored: Gauge::default(),
            stored_bytes: Gauge::default(),
            fetches: Gauge::default(),
            waiting: Gauge::default(),
            filling_bytes: Gauge::default(),
        };
        metrics.registered(requests)
    }

    fn registered(mut self, requests: Family<Exchange, Counter>) -> Self {
        let registry = &mut self.registry;
        registry.register(
            "requests",
            "Exchanges by the word of X-Cache and the class of the status",
            requests,
        );
        registry.register_with_unit(
            "sent",
            "Body bytes sent to clients",
            Unit::Bytes,
            self.sent_bytes.clone(),
        );
        registry.register("origin_requests", "Requests sent to origins", self.origin_requests.clone());
        registry.register(
            "origin_errors",
            "Requests to which an origin gave nothing usable, by reason",
            self.origin_errors.clone(),
        );
        registry.register(
            "origin_retries",
            "Requests asked again after a failure",
            self.origin_retries.clone(),
        );
        registry.register(
            "origin_retries_refused",
            "Failures passed on though they might have been asked again, for want of a budget",
            self.origin_retries_refused.clone(),
        );
        registry.register("webhooks", "Deliveries by hook and outcome", self.webhooks.clone());
        registry.register("rules", "Events that rules listened to, by what came of it", self.rules.clone());
        registry.register("queued", "Pieces of work that wait, by dispatcher", self.queued.clone());
        registry.register(
            "dead_letters",
            "Pieces of work that could not be done and are kept, by dispatcher",
            self.dead_letters.clone(),
        );
        registry.register("purges", "Purges by source", self.purges.clone());
        registry.register("purged", "Stored responses that purges matched, by source", self.purged.clone());
        registry.register("stored", "Keys with stored responses", self.stored.clone());
        registry.register_with_unit(
            "stored",
            "Bytes of stored responses",
            Unit::Bytes,
            self.stored_bytes.clone(),
        );
        registry.register("fetches", "Fetches under way that others may share", self.fetches.clone());
        registry.register("waiting", "Requests that wait for another's fetch", self.waiting.clone());
        registry.register_with_unit(
            "filling",
            "Bytes of responses that are still coming",
            Unit::Bytes,
            self.filling_bytes.clone(),
        );
        self
    }

    /// An exchange has ended. `cache`: the word of `X-Cache`, or `-`.
    pub fn exchange(&self, cache: &'static str, status: u16, bytes: u64) {
        let word = WORDS.iter().position(|word| *word == cache).unwrap_or(WORDS.len() - 1);
        // What is beyond the classes is to be read as a 5xx (§15).
        let class = usize::from(status / 100).clamp(1, CLASSES.len()) - 1;
        let own = &self.exchanges[shard()];
        own.requests[word][class].fetch_add(1, Ordering::Relaxed);
        own.sent_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    fn sum(&self, count: impl Fn(&Exchanges) -> &AtomicU64) -> u64 {
        self.exchanges.iter().map(|worker| count(worker).load(Ordering::Relaxed)).sum()
    }

    /// A request has been sent to an origin.
    pub fn origin_request(&self) {
        self.origin_requests.inc();
    }

    /// An origin gave nothing usable. `error`: why, in a word of a fixed vocabulary.
    pub fn origin_error(&self, error: &'static str) {
        self.origin_errors.get_or_create(&OriginFailure { error }).inc();
    }

    /// A request that failed is asked again.
    pub fn retry(&self) {
        self.origin_retries.inc();
    }

    /// It would have been, had there been a budget for it.
    pub fn retry_refused(&self) {
        self.origin_retries_refused.inc();
    }

    /// A delivery has been answered. `hook` is a configured one: labels are bounded.
    pub fn webhook(&self, hook: &str, outcome: &'static str) {
        self.webhooks.get_or_create(&Delivery { hook: hook.to_owned(), outcome }).inc();
    }

    /// A rule has heard an event. Both names are configured ones: labels are bounded.
    pub fn rule(&self, hook: &str, rule: &str, outcome: &'static str) {
        let (hook, rule) = (hook.to_owned(), rule.to_owned());
        self.rules.get_or_create(&RuleOutcome { hook, rule, outcome }).inc();
    }

    /// How much work a dispatcher has waiting, and how much it could not do.
    pub fn queue(&self, dispatcher: &str, waiting: usize, dead: usize) {
        let queue = Queue { dispatcher: dispatcher.to_owned() };
        for (family, number) in [(&self.queued, waiting), (&self.dead_letters, dead)] {
            family.get_or_create(&queue).set(i64::try_from(number).unwrap_or(i64::MAX));
        }
    }

    /// A purge has been carried out. `source`: `api` or `webhook`.
    pub fn purge(&self, source: &'static str, matched: u64) {
        self.purges.get_or_create(&Source { source }).inc();
        self.purged.get_or_create(&Source { source }).inc_by(matched);
    }

    /// How many exchanges there were, by the word of `X-Cache`.
    pub fn exchanges(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let sum =
            |word: usize| (0..CLASSES.len()).map(|class| self.sum(|own| &own.requests[word][class])).sum();
        WORDS.into_iter().enumerate().map(move |(word, name)| (name, sum(word)))
    }

    /// The text, with what there is right now.
    ///
    /// # Errors
    /// None in practice: a `String` can be written to.
    pub fn encode(&self, levels: Levels) -> Result<String, fmt::Error> {
        let Levels { stored, stored_bytes, fetches, waiting, filling_bytes } = levels;
        for (gauge, level) in [
            (&self.stored, stored),
            (&self.stored_bytes, stored_bytes),
            (&self.fetches, fetches),
            (&self.waiting, waiting),
            (&self.filling_bytes, filling_bytes),
        ] {
            gauge.set(i64::try_from(level).unwrap_or(i64::MAX));
        }
        for (word, classes) in self.requests.iter().enumerate() {
            for (class, told) in classes.iter().enumerate() {
                told.inner().fetch_max(self.sum(|own| &own.requests[word][class]), Ordering::Relaxed);
            }
        }
        self.sent_bytes.inner().fetch_max(self.sum(|own| &own.sent_bytes), Ordering::Relaxed);
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(metrics: &Metrics, lines: &[&str]) {
        let text = metrics
            .encode(Levels { stored: 7, stored_bytes: 700, fetches: 1, waiting: 2, filling_bytes: 3 })
            .unwrap();
        for line in lines {
            assert!(text.lines().any(|found| found == *line), "{line} in\n{text}");
        }
    }

    #[test]
    fn what_was_counted_is_told() {
        let metrics = Metrics::new();
        metrics.exchange("HIT", 200, 10);
        metrics.exchange("HIT", 206, 5);
        metrics.exchange("MISS", 404, 0);
        metrics.origin_request();
        metrics.origin_error("connect");
        metrics.webhook("app", "bad-signature");
        metrics.purge("api", 3);
        check(
            &metrics,
            &[
                "staleproof_requests_total{cache=\"HIT\",status=\"2xx\"} 2",
                "staleproof_requests_total{cache=\"MISS\",status=\"4xx\"} 1",
                "staleproof_requests_total{cache=\"STALE\",status=\"2xx\"} 0",
                "staleproof_sent_bytes_total 15",
                "staleproof_origin_requests_total 1",
                "staleproof_origin_errors_total{error=\"connect\"} 1",
                "staleproof_webhooks_total{hook=\"app\",outcome=\"bad-signature\"} 1",
                "staleproof_purges_total{source=\"api\"} 1",
                "staleproof_purged_total{source=\"api\"} 3",
                "staleproof_stored 7",
                "staleproof_stored_bytes 700",
                "staleproof_fetches 1",
                "staleproof_waiting 2",
                "staleproof_filling_bytes 3",
                "# EOF",
            ],
        );
    }

    #[test]
    fn every_exchange_is_counted_once_whatever_its_status() {
        let metrics = Metrics::new();
        for status in [0, 99, 100, 304, 599, 600, 999, u16::MAX] {
            metrics.exchange("-", status, 0);
        }
        metrics.exchange("A WORD TO COME", 200, 0);
        metrics.exchange("REFRESH", 200, 0);
        assert_eq!(metrics.exchanges().find(|(word, _)| *word == "-"), Some(("-", 9)));
        assert_eq!(metrics.exchanges().map(|(_, count)| count).sum::<u64>(), 10);
        check(&metrics, &["staleproof_requests_total{cache=\"-\",status=\"5xx\"} 4"]);
    }
}
