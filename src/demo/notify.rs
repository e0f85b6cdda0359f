//! Telling what has changed: a Standard Webhook, signed as any app would sign it.

use std::sync::atomic::{AtomicU64, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use serde_json::{Value, json};
use sha2::Sha256;

use super::store::Article;
use crate::cli::client::exchange;
use crate::clock::Clock;
use crate::config::Secret;

/// Where the app tells of its changes.
#[derive(Debug)]
pub struct Notify {
    /// The admin listener.
    pub admin: Uri,
    /// The webhook's path on it.
    pub path: String,
    /// Shared with the proxy.
    pub secret: Secret,
}

impl Notify {
    /// Tells that an article has changed; what came of it, in words.
    pub(super) async fn article_updated(&self, before: &Article, after: &Article) -> String {
        let changed: Vec<_> = [("title", before.title != after.title), ("text", before.text != after.text)]
            .into_iter()
            .filter_map(|(name, changed)| changed.then_some(name))
            .collect();
        let event = json!({
            "type": "article.updated",
            "timestamp": Clock::system().now().iso8601().to_string(),
            "data": { "model": "article", "id": after.id, "before": before, "after": after, "changed": changed },
        });
        match self.send(&event).await {
            Ok(matched) => {
                tracing::info!(
                    article = after.slug,
                    "the app has told of a change: {matched} stored responses wiped"
                );
                format!("the webhook wiped {matched} stored responses")
            }
            Err(problem) => {
                tracing::warn!(problem, "the app could not tell of a change");
                format!("but the webhook failed: {problem}")
            }
        }
    }

    async fn send(&self, event: &Value) -> Result<u64, String> {
        let body = event.to_string();
        let now = Clock::system().now();
        // No delivery is taken twice, so two changes in one millisecond need two names.
        static SENT: AtomicU64 = AtomicU64::new(0);
        let id = format!("msg_{}_{}", now.as_millis(), SENT.fetch_add(1, Ordering::Relaxed));
        let timestamp = now.as_secs().to_string();
        let encoded = self.secret.reveal().trim_start_matches("whsec_");
        let key = STANDARD.decode(encoded).map_err(|error| error.to_string())?;
        let mut mac = Hmac::<Sha256>::new_from_slice(&key).map_err(|error| error.to_string())?;
        mac.update(format!("{id}.{timestamp}.{body}").as_bytes());
        let signature = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
        let mut headers = HeaderMap::new();
        for (name, value) in
            [("webhook-id", id), ("webhook-timestamp", timestamp), ("webhook-signature", signature)]
        {
            let value = HeaderValue::try_from(value).map_err(|error| error.to_string())?;
            headers.insert(HeaderName::from_static(name), value);
        }
        let answer = exchange(Method::POST, &self.admin, &self.path, headers, body).await?;
        let (status, answer) = (answer.status(), answer.into_body());
        if !status.is_success() {
            return Err(format!("it was answered with {status}"));
        }
        let answer: Value = serde_json::from_slice(&answer).map_err(|error| error.to_string())?;
        Ok(answer["matched"].as_u64().unwrap_or(0))
    }
}
