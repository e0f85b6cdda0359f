//! Counts, in the Prometheus text format.

use std::fmt;

use prometheus_client::encoding::{EncodeLabelSet, text::encode};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// All counts of a server.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: Family<Exchange, Counter>,
    sent_bytes: Counter,
    webhooks: Family<Delivery, Counter>,
    purges: Family<Source, Counter>,
    purged: Family<Source, Counter>,
    stored: Gauge,
    stored_bytes: Gauge,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Exchange {
    cache: &'static str,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Delivery {
    hook: String,
    outcome: &'static str,
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
        let mut metrics = Self {
            registry: Registry::with_prefix("staleproof"),
            requests: Family::default(),
            sent_bytes: Counter::default(),
            webhooks: Family::default(),
            purges: Family::default(),
            purged: Family::default(),
            stored: Gauge::default(),
            stored_bytes: Gauge::default(),
        };
        let registry = &mut metrics.registry;
        registry.register(
            "requests",
            "Exchanges by the word of X-Cache and status",
            metrics.requests.clone(),
        );
        registry.register("sent_bytes", "Body bytes sent to clients", metrics.sent_bytes.clone());
        registry.register("webhooks", "Deliveries by hook and outcome", metrics.webhooks.clone());
        registry.register("purges", "Purges by source", metrics.purges.clone());
        registry.register(
            "purged",
            "Stored responses that purges matched, by source",
            metrics.purged.clone(),
        );
        registry.register("stored", "Keys with stored responses", metrics.stored.clone());
        registry.register("stored_bytes", "Bytes of stored responses", metrics.stored_bytes.clone());
        metrics
    }

    /// An exchange has ended. `cache`: the word of `X-Cache`, or `-`.
    pub fn exchange(&self, cache: &'static str, status: u16, bytes: u64) {
        self.requests.get_or_create(&Exchange { cache, status }).inc();
        self.sent_bytes.inc_by(bytes);
    }

    /// A delivery has been answered. `hook` is a configured one: labels are bounded.
    pub fn webhook(&self, hook: &str, outcome: &'static str) {
        self.webhooks.get_or_create(&Delivery { hook: hook.to_owned(), outcome }).inc();
    }

    /// A purge has been carried out. `source`: `api` or `webhook`.
    pub fn purge(&self, source: &'static str, matched: u64) {
        self.purges.get_or_create(&Source { source }).inc();
        self.purged.get_or_create(&Source { source }).inc_by(matched);
    }

    /// The text, with what is stored right now.
    ///
    /// # Errors
    /// None in practice: a `String` can be written to.
    pub fn encode(&self, stored: u64, stored_bytes: u64) -> Result<String, fmt::Error> {
        self.stored.set(i64::try_from(stored).unwrap_or(i64::MAX));
        self.stored_bytes.set(i64::try_from(stored_bytes).unwrap_or(i64::MAX));
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_is_told() {
        let metrics = Metrics::new();
        metrics.exchange("HIT", 200, 10);
        metrics.exchange("HIT", 200, 5);
        metrics.webhook("app", "bad-signature");
        metrics.purge("api", 3);
        let text = metrics.encode(7, 700).unwrap();
        for line in [
            "staleproof_requests_total{cache=\"HIT\",status=\"200\"} 2",
            "staleproof_sent_bytes_total 15",
            "staleproof_webhooks_total{hook=\"app\",outcome=\"bad-signature\"} 1",
            "staleproof_purged_total{source=\"api\"} 3",
            "staleproof_stored 7",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
        }
    }
}
