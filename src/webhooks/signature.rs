//! Proving where a delivery comes from: Standard Webhooks, symmetric (HMAC-SHA256).
//!
//! The signature covers `{webhook-id}.{webhook-timestamp}.{body}`, over the raw bytes of the body. Several
//! signatures in the field and several secrets in the configuration make rotation possible on both sides.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use http::HeaderMap;
use sha2::Sha256;

use crate::clock::Timestamp;
use crate::config::Secret;

/// What a delivery claims, not yet believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signature<'h> {
    /// The delivery's id, the same over all its retries.
    pub id: &'h str,
    timestamp: &'h str,
    signatures: &'h str,
}

/// Why a delivery is not believed. For the log; the sender learns nothing of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// A field is missing or repeated.
    #[error("the field {0} is missing, repeated or not text")]
    Field(&'static str),
    /// The timestamp is not a number of seconds.
    #[error("the timestamp is not a number of seconds")]
    Timestamp,
    /// The delivery was signed too long ago.
    #[error("it was signed {0:?} ago")]
    TooOld(Duration),
    /// It was signed in the future.
    #[error("it was signed {0:?} in the future")]
    TooNew(Duration),
    /// No secret makes this signature.
    #[error("no signature matches")]
    Mismatch,
}

impl<'h> Signature<'h> {
    /// Reads the three fields.
    ///
    /// # Errors
    /// [`SignatureError::Field`].
    pub fn read(headers: &'h HeaderMap) -> Result<Self, SignatureError> {
        let field = |name: &'static str| {
            let mut lines = headers.get_all(name).iter();
            match (lines.next().and_then(|line| line.to_str().ok()), lines.next()) {
                (Some(value), None) if !value.is_empty() => Ok(value),
                _ => Err(SignatureError::Field(name)),
            }
        };
        Ok(Self {
            id: field("webhook-id")?,
            timestamp: field("webhook-timestamp")?,
            signatures: field("webhook-signature")?,
        })
    }

    /// Believes it or not. `tolerance` bounds the timestamp both ways.
    ///
    /// # Errors
    /// Why not.
    pub fn verify(
        &self,
        body: &[u8],
        secrets: &[Secret],
        tolerance: Duration,
        now: Timestamp,
    ) -> Result<(), SignatureError> {
        let signed_at =
            self.timestamp.parse().map(Timestamp::from_secs).map_err(|_| SignatureError::Timestamp)?;
        if now.since(signed_at) > tolerance {
            return Err(SignatureError::TooOld(now.since(signed_at)));
        }
        if signed_at.since(now) > tolerance {
            return Err(SignatureError::TooNew(signed_at.since(now)));
        }
        let matches = self
            .signatures
            .split_ascii_whitespace()
            .filter_map(|signature| STANDARD.decode(signature.strip_prefix("v1,")?).ok())
            .any(|signature| secrets.iter().any(|secret| self.is_signed_by(secret, body, &signature)));
        if matches { Ok(()) } else { Err(SignatureError::Mismatch) }
    }

    fn is_signed_by(&self, secret: &Secret, body: &[u8], signature: &[u8]) -> bool {
        // HMAC takes keys of any length.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&key(secret)) else { return false };
        for part in [self.id.as_bytes(), b".", self.timestamp.as_bytes(), b".", body] {
            mac.update(part);
        }
        // In constant time.
        mac.verify_slice(signature).is_ok()
    }
}

/// `whsec_` and base64, as the specification has it; any other text is the key itself.
fn key(secret: &Secret) -> Vec<u8> {
    let text = secret.reveal();
    text.strip_prefix("whsec_")
        .and_then(|encoded| {
            let encoded = encoded.trim_end_matches('=');
            STANDARD_NO_PAD.decode(encoded).ok()
        })
        .unwrap_or_else(|| text.as_bytes().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderName, HeaderValue};

    // Made by the reference library (standardwebhooks on PyPI) with this secret, id, timestamp and body.
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const TIMESTAMP: &str = "1614265330";
    const BODY: &[u8] = br#"{"test": 2432232314}"#;
    const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

    fn verify_at(
        now: u64,
        id: &str,
        timestamp: &str,
        signature: &str,
        body: &[u8],
        secrets: &[&str],
    ) -> Result<(), SignatureError> {
        let mut headers = HeaderMap::new();
        for (name, value) in
            [("webhook-id", id), ("webhook-timestamp", timestamp), ("webhook-signature", signature)]
        {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        }
        let secrets: Vec<_> = secrets.iter().map(|secret| Secret::new(*secret)).collect();
        let five_minutes = Duration::from_secs(300);
        Signature::read(&headers)?.verify(body, &secrets, five_minutes, Timestamp::from_secs(now))
    }

    fn verify(id: &str, timestamp: &str, signature: &str, body: &[u8]) -> Result<(), SignatureError> {
        verify_at(1_614_265_330, id, timestamp, signature, body, &[SECRET])
    }

    #[test]
    fn the_reference_vector_is_believed() {
        assert_eq!(verify(ID, TIMESTAMP, SIGNATURE, BODY), Ok(()));
    }

    #[test]
    fn a_flipped_bit_anywhere_is_not_believed() {
        let mismatch = Err(SignatureError::Mismatch);
        assert_eq!(verify("msg_p5jXN8AQM9LWM0D4loKWxJel", TIMESTAMP, SIGNATURE, BODY), mismatch);
        assert_eq!(verify(ID, "1614265331", SIGNATURE, BODY), mismatch);
        assert_eq!(verify(ID, TIMESTAMP, SIGNATURE, br#"{"test": 2432232315}"#), mismatch);
        assert_eq!(verify(ID, TIMESTAMP, &SIGNATURE.replace("g0hM", "h0hM"), BODY), mismatch);
        assert_eq!(verify(ID, TIMESTAMP, &SIGNATURE.replace("v1,", "v2,"), BODY), mismatch);
        assert_eq!(verify(ID, TIMESTAMP, "v1,", BODY), mismatch);
    }

    #[test]
    fn the_timestamp_is_bounded_both_ways() {
        let at = |now| verify_at(now, ID, TIMESTAMP, SIGNATURE, BODY, &[SECRET]);
        assert_eq!(at(1_614_265_630), Ok(()));
        assert_eq!(at(1_614_265_631), Err(SignatureError::TooOld(Duration::from_secs(301))));
        assert_eq!(at(1_614_265_030), Ok(()));
        assert_eq!(at(1_614_265_029), Err(SignatureError::TooNew(Duration::from_secs(301))));
        assert_eq!(verify(ID, "soon", SIGNATURE, BODY), Err(SignatureError::Timestamp));
    }

    #[test]
    fn secrets_can_be_rotated_on_either_side() {
        let both = format!("v1,AAAA {SIGNATURE} v1a,xxxx");
        let at = |secrets: &[&str]| verify_at(1_614_265_330, ID, TIMESTAMP, &both, BODY, secrets);
        assert_eq!(at(&["whsec_AAAA", SECRET]), Ok(()));
        assert_eq!(at(&["whsec_AAAA"]), Err(SignatureError::Mismatch));
    }

    #[test]
    fn a_missing_field_is_named() {
        assert_eq!(verify("", TIMESTAMP, SIGNATURE, BODY), Err(SignatureError::Field("webhook-id")));
        assert_eq!(Signature::read(&HeaderMap::new()), Err(SignatureError::Field("webhook-id")));
    }
}
