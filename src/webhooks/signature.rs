//! Proving where a delivery comes from: Standard Webhooks, symmetric (HMAC-SHA256).
//!
//! The signature covers `{webhook-id}.{webhook-timestamp}.{body}`, over the raw bytes of the body. Several
//! signatures in the field and several secrets in the configuration make rotation possible on both sides.
//! Knows nothing of what the body says. PURE.

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
        let signatures: Vec<_> = self
            .signatures
            .split_ascii_whitespace()
            .filter_map(|signature| STANDARD.decode(signature.strip_prefix("v1,")?).ok())
            .collect();
        // The body is digested once per secret: how many signatures there are is the sender's choice.
        let believed = secrets.iter().filter_map(|secret| self.mac(secret, body)).any(|mac| {
            // In constant time.
            signatures.iter().any(|signature| mac.clone().verify_slice(signature).is_ok())
        });
        if believed { Ok(()) } else { Err(SignatureError::Mismatch) }
    }

    /// What is signed, digested; `None` for a secret that is none.
    fn mac(&self, secret: &Secret, body: &[u8]) -> Option<Hmac<Sha256>> {
        let mut mac = Hmac::new_from_slice(&key(secret.reveal()).ok()?).ok()?;
        for part in [self.id.as_bytes(), b".", self.timestamp.as_bytes(), b".", body] {
            mac.update(part);
        }
        Some(mac)
    }
}

/// Why a text is no secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// Anybody could sign with it.
    #[error("the secret is empty")]
    Empty,
    /// It begins with `whsec_` and goes on with something else.
    #[error("what follows whsec_ is not base64")]
    Base64,
}

/// Checks a secret. One that fails the check signs nothing.
///
/// # Errors
/// See [`SecretError`].
pub fn check_secret(secret: &str) -> Result<(), SecretError> {
    key(secret).map(drop)
}

/// `whsec_` and base64, as the specification has it; any other text is the key itself.
fn key(secret: &str) -> Result<Vec<u8>, SecretError> {
    let key = match secret.strip_prefix("whsec_") {
        Some(encoded) => {
            STANDARD_NO_PAD.decode(encoded.trim_end_matches('=')).map_err(|_| SecretError::Base64)?
        }
        None => secret.as_bytes().to_vec(),
    };
    if key.is_empty() { Err(SecretError::Empty) } else { Ok(key) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderName, HeaderValue};

    // All vectors were made by the reference library (standardwebhooks on PyPI).
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
    fn the_reference_vectors_are_believed() {
        for (secret, id, timestamp, body, signature) in [
            (SECRET, ID, TIMESTAMP, BODY, SIGNATURE),
            (SECRET, "1", TIMESTAMP, b"", "v1,Ca1fCRKPi4N8x1PmqjUyeULJQ4QewnDb4hxmLpLsC0A="),
            (
                SECRET,
                "msg_2KWPBgLlAfxdpx2AI54pPJ85f4W",
                "1674087231",
                "{\"type\":\"user.updated\",\"data\":{\"name\":\"Zoë 🐎\"}}".as_bytes(),
                "v1,Cw1erNPmg3Fxr6/Qxdk7h18l/QEvSbBMBYhPMY9C1h0=",
            ),
            // A secret that is text, signed as bytes; an id with the separator in it.
            (
                "a shared phrase",
                "1.2",
                TIMESTAMP,
                b"{\"type\": \"x\"}\n",
                "v1,kZWgDGhXm9wUiZCGgG3LAUi1p4vksu0MsUzk/GJzBn0=",
            ),
        ] {
            let now = timestamp.parse().unwrap();
            assert_eq!(verify_at(now, id, timestamp, signature, body, &[secret]), Ok(()), "{id}");
        }
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
        for no_timestamp in ["soon", "-1", "1.5", "99999999999999999999999"] {
            assert_eq!(verify(ID, no_timestamp, SIGNATURE, BODY), Err(SignatureError::Timestamp));
        }
        let far = verify(ID, "18446744073709551615", SIGNATURE, BODY);
        assert!(matches!(far, Err(SignatureError::TooNew(_))), "{far:?}");
    }

    #[test]
    fn secrets_can_be_rotated_on_either_side() {
        let both = format!("v1,AAAA {SIGNATURE} v1a,xxxx");
        let at = |secrets: &[&str]| verify_at(1_614_265_330, ID, TIMESTAMP, &both, BODY, secrets);
        assert_eq!(at(&["whsec_AAAA", SECRET]), Ok(()));
        assert_eq!(at(&["whsec_AAAA"]), Err(SignatureError::Mismatch));
        assert_eq!(at(&[]), Err(SignatureError::Mismatch));
    }

    #[test]
    fn an_empty_secret_signs_nothing() {
        // HMAC-SHA256 with the empty key: the reference library refuses such a secret.
        const BY_NOBODY: &str = "v1,woH/1mJtZGSMCmpFTxRYbStS24eLLD/oXIYr4PYyZ7g=";
        let at = |secrets: &[&str]| verify_at(1_614_265_330, ID, TIMESTAMP, BY_NOBODY, BODY, secrets);
        assert_eq!(at(&[""]), Err(SignatureError::Mismatch));
        assert_eq!(at(&["whsec_"]), Err(SignatureError::Mismatch));
    }

    #[test]
    fn a_text_that_is_no_secret_is_refused() {
        assert_eq!(check_secret(SECRET), Ok(()));
        assert_eq!(check_secret("whsec_AAAA=="), Ok(()));
        assert_eq!(check_secret("a shared phrase"), Ok(()));
        assert_eq!(check_secret(""), Err(SecretError::Empty));
        assert_eq!(check_secret("whsec_"), Err(SecretError::Empty));
        assert_eq!(check_secret("whsec_%"), Err(SecretError::Base64));
    }

    #[test]
    fn a_missing_field_is_named() {
        assert_eq!(verify("", TIMESTAMP, SIGNATURE, BODY), Err(SignatureError::Field("webhook-id")));
        assert_eq!(Signature::read(&HeaderMap::new()), Err(SignatureError::Field("webhook-id")));
        assert_eq!(verify(ID, TIMESTAMP, "", BODY), Err(SignatureError::Field("webhook-signature")));
        let mut twice = HeaderMap::new();
        for name in ["webhook-id", "webhook-timestamp", "webhook-timestamp"] {
            twice.append(name, HeaderValue::from_static("1"));
        }
        assert_eq!(Signature::read(&twice), Err(SignatureError::Field("webhook-timestamp")));
    }
}
