//! Whether a delivery is believed: one engine, told by data where the proof is and what it covers. PURE.
//!
//! Whatever is compared is compared in constant time, and the sender learns nothing of why it was not believed.

use std::borrow::Cow;
use std::net::IpAddr;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ipnet::IpNet;
use serde_json::Value;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::proof::{Algorithm, KeyFormat, Proof, SecretError, SignatureKey, is_signed};
use super::raw::{Raw, Source};
use super::signed::{Missing, Signed};
use crate::clock::Timestamp;
use crate::config::Secret;
use crate::keys::{JwtTrust, JwtTrustError};
use crate::selector::{Selector, text};

/// How a delivery proves where it comes from.
#[derive(Clone, Debug)]
pub struct Verify {
    /// What the proof is.
    pub scheme: Scheme,
    /// From where it may come; empty: from anywhere.
    pub allow_from: Vec<IpNet>,
    /// When it was signed, where that is said.
    pub timestamp: Option<SignedAt>,
    /// What the body must say, all of it.
    pub must: Vec<Demand>,
}

/// What a body must say for itself.
#[derive(Clone, Debug)]
pub struct Demand {
    /// Where.
    pub at: Selector,
    /// One of these.
    pub values: Vec<String>,
}

impl Demand {
    /// Of several values nobody knows which was meant.
    fn is_met(&self, json: &Value) -> bool {
        let [found] = self.at.find(json)[..] else { return false };
        text(found).is_some_and(|found| self.values.contains(&found))
    }
}

/// What a proof is.
#[derive(Clone, Debug)]
pub enum Scheme {
    /// A keyed digest.
    Hmac {
        /// By which function.
        algorithm: Algorithm,
        /// What secrets are.
        key: KeyFormat,
        /// Where it is.
        proof: Proof,
        /// What it covers.
        signed: Signed,
    },
    /// A signature by a private key; secrets are public keys.
    Ed25519 {
        /// What they are written as.
        key: KeyFormat,
        /// Where it is.
        proof: Proof,
        /// What it covers.
        signed: Signed,
    },
    /// A signature by RSA (PKCS #1 v1.5); secrets are public keys, or certificates for them.
    Rsa {
        /// By any of these functions.
        algorithms: Vec<Algorithm>,
        /// Where it is.
        proof: Proof,
        /// What it covers.
        signed: Signed,
    },
    /// A JSON Web Token (RFC 7519), which says nothing of the body. Secrets are shared with the sender, or public keys.
    Jwt {
        /// Where it is.
        proof: Proof,
        /// What it must say.
        demands: JwtDemands,
    },
    /// The secret itself.
    Token {
        /// Where it is.
        proof: Proof,
    },
    /// `user:password`, which the secret is, in `Authorization` (RFC 7617).
    Basic,
    /// Nothing; only the address counts.
    None,
}

/// When it was signed.
#[derive(Clone, Debug)]
pub struct SignedAt {
    /// Where that is said: `sig.t`, or a [`Source`].
    pub from: TimeSource,
    /// How it is written.
    pub unit: TimeUnit,
    /// How far from now, both ways.
    pub tolerance: Duration,
}

/// How a time is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeUnit {
    /// In seconds since the Unix epoch.
    Seconds,
    /// In milliseconds.
    Millis,
    /// In UTC, as ISO 8601 has it.
    Iso8601,
}

impl TimeUnit {
    pub(super) fn write(self, time: Timestamp) -> String {
        match self {
            Self::Seconds => time.as_secs().to_string(),
            Self::Millis => time.as_millis().to_string(),
            Self::Iso8601 => time.iso8601().to_string(),
        }
    }

    fn read(self, text: &str) -> Option<Timestamp> {
        match self {
            Self::Seconds => text.parse().ok().map(Timestamp::from_secs),
            Self::Millis => text.parse().ok().map(Timestamp::from_millis),
            Self::Iso8601 => humantime::parse_rfc3339(text).ok().map(Timestamp::from),
        }
    }
}

/// What a token must say, beyond what it says of its own time.
#[derive(Clone, Debug, Default)]
pub struct JwtDemands {
    /// By which of these it is signed; none: HS256 by a shared secret, RS256, ES256 or EdDSA by a public key.
    pub algorithms: Vec<jsonwebtoken::Algorithm>,
    /// Whom it is for; none: nobody in particular.
    pub audiences: Vec<String>,
    /// Who made it; none: whoever has the key.
    pub issuers: Vec<String>,
}

impl JwtDemands {
    fn trust(&self, secret: &str) -> Result<JwtTrust, JwtTrustError> {
        use jsonwebtoken::Algorithm::{ES256, EdDSA, HS256, RS256};
        let trust = if !secret.contains("-----BEGIN") {
            let algorithms = if self.algorithms.is_empty() { &[HS256][..] } else { &self.algorithms };
            JwtTrust::hmac(secret.as_bytes(), algorithms)?
        } else if self.algorithms.is_empty() {
            let by = |algorithm| JwtTrust::pem(secret.as_bytes(), &[algorithm]);
            by(RS256).or_else(|_| by(ES256)).or_else(|_| by(EdDSA))?
        } else {
            JwtTrust::pem(secret.as_bytes(), &self.algorithms)?
        };
        let trust = if self.audiences.is_empty() { trust } else { trust.for_audiences(&self.audiences) };
        Ok(if self.issuers.is_empty() { trust } else { trust.from_issuers(&self.issuers) })
    }
}

/// Where a time is.
#[derive(Clone, Debug)]
pub enum TimeSource {
    /// Somewhere in the delivery.
    Delivery(Source),
    /// A member of the field that the proof is in.
    Signature(Box<str>),
}

/// Why a delivery is not believed. For the log; the sender learns nothing of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unbelieved {
    /// Something is not there.
    #[error(transparent)]
    Missing(#[from] Missing),
    /// It comes from elsewhere.
    #[error("it comes from {0}")]
    Address(IpAddr),
    /// The timestamp is none.
    #[error("the timestamp is not a number")]
    Timestamp,
    /// The delivery was signed too long ago.
    #[error("it was signed {0:?} ago")]
    TooOld(Duration),
    /// It was signed in the future.
    #[error("it was signed {0:?} in the future")]
    TooNew(Duration),
    /// The body says something else, or nothing.
    #[error("what {0} selects is not what `must` asks for")]
    Demand(String),
    /// No secret makes this proof.
    #[error("no signature matches")]
    Mismatch,
}

impl Verify {
    /// Believes it or not. Any of the secrets will do. `client`: where it comes from.
    ///
    /// # Errors
    /// Why not.
    pub fn check(
        &self,
        raw: &Raw<'_>,
        secrets: &[Secret],
        client: IpAddr,
        now: Timestamp,
    ) -> Result<(), Unbelieved> {
        let client = client.to_canonical();
        if !self.allow_from.is_empty() && !self.allow_from.iter().any(|network| network.contains(&client)) {
            return Err(Unbelieved::Address(client));
        }
        self.check_proof(raw, secrets, now)?;
        // Of what is not believed the time says nothing.
        self.check_time(raw, now)?;
        self.check_body(raw)
    }

    fn check_body(&self, raw: &Raw<'_>) -> Result<(), Unbelieved> {
        let is_met = |demand: &Demand| raw.json().is_ok_and(|json| demand.is_met(json));
        match self.must.iter().find(|demand| !is_met(demand)) {
            Some(demand) => Err(Unbelieved::Demand(demand.at.to_string())),
            None => Ok(()),
        }
    }

    fn check_proof(&self, raw: &Raw<'_>, secrets: &[Secret], now: Timestamp) -> Result<(), Unbelieved> {
        let is_proven = match &self.scheme {
            Scheme::None => true,
            Scheme::Hmac { algorithm, key, proof, signed } => {
                let field = proof.text(raw)?;
                let proofs = proof.octets(&field);
                let octets = signed.octets(raw, |name| proof.member(&field, name))?;
                let keys = secrets.iter().flat_map(|secret| key.keys(secret.reveal()));
                let digests = keys.filter_map(|key| algorithm.digest(&key, &octets));
                digests
                    .collect::<Vec<_>>()
                    .iter()
                    .any(|digest| proofs.iter().any(|proof| is_same(proof, digest)))
            }
            Scheme::Ed25519 { key, proof, signed } => {
                let field = proof.text(raw)?;
                let proofs = proof.octets(&field);
                let octets = signed.octets(raw, |name| proof.member(&field, name))?;
                secrets.iter().flat_map(|secret| key.keys(secret.reveal())).any(|key| {
                    proofs.iter().any(|proof| is_signed(SignatureKey::Ed25519(&key), &octets, proof))
                })
            }
            Scheme::Rsa { algorithms, proof, signed } => {
                let field = proof.text(raw)?;
                let proofs = proof.octets(&field);
                let octets = signed.octets(raw, |name| proof.member(&field, name))?;
                let keys = secrets.iter().filter_map(|secret| KeyFormat::Pem.octets(secret.reveal()).ok());
                let is_signed = |key: &[u8]| {
                    let by = |algorithm| {
                        let key = SignatureKey::Rsa(algorithm, key);
                        proofs.iter().any(|proof| is_signed(key, &octets, proof))
                    };
                    algorithms.iter().copied().any(by)
                };
                keys.into_iter().any(|key| is_signed(&key))
            }
            Scheme::Jwt { proof, demands } => {
                let field = proof.text(raw)?;
                let is_believed = |token: &str| {
                    let trusts = secrets.iter().filter_map(|secret| demands.trust(secret.reveal()).ok());
                    trusts.into_iter().any(|trust| trust.believes(token.as_bytes(), now))
                };
                proof.items(&field).any(is_believed)
            }
            Scheme::Token { proof } => {
                let field = proof.text(raw)?;
                proof.items(&field).any(|token| is_one_of(token.as_bytes(), secrets))
            }
            Scheme::Basic => {
                let missing = || Missing("Authorization: Basic".to_owned());
                let field = raw.field(&http::header::AUTHORIZATION).ok_or_else(missing)?;
                let (scheme, credentials) = field.split_once(' ').ok_or_else(missing)?;
                let given = STANDARD.decode(credentials.trim()).map_err(|_| missing())?;
                scheme.eq_ignore_ascii_case("basic") && is_one_of(&given, secrets)
            }
        };
        if is_proven { Ok(()) } else { Err(Unbelieved::Mismatch) }
    }

    fn check_time(&self, raw: &Raw<'_>, now: Timestamp) -> Result<(), Unbelieved> {
        let Some(SignedAt { unit, tolerance, .. }) = &self.timestamp else { return Ok(()) };
        let Some(text) = self.signed_at(raw).transpose()? else { return Ok(()) };
        let signed_at = unit.read(text.trim()).ok_or(Unbelieved::Timestamp)?;
        if now.since(signed_at) > *tolerance {
            return Err(Unbelieved::TooOld(now.since(signed_at)));
        }
        if signed_at.since(now) > *tolerance {
            return Err(Unbelieved::TooNew(signed_at.since(now)));
        }
        Ok(())
    }

    /// When it was signed, as it says; `None`: such deliveries do not.
    pub(super) fn signed_at(&self, raw: &Raw<'_>) -> Option<Result<String, Missing>> {
        let missing = || Missing("the timestamp".to_owned());
        Some(match &self.timestamp.as_ref()?.from {
            TimeSource::Delivery(source) => source.text(raw, None).ok_or_else(missing),
            TimeSource::Signature(name) => self.proof().ok_or_else(missing).and_then(|proof| {
                let field = proof.text(raw)?;
                proof.member(&field, name).map(str::to_owned).ok_or_else(missing)
            }),
        })
    }

    /// What may be shown and kept of a body: not the secret, where that is in it.
    pub fn without_secret<'v>(&self, json: &'v Value) -> Cow<'v, Value> {
        match &self.scheme {
            Scheme::Token { proof } | Scheme::Jwt { proof, .. } => match &proof.from {
                Source::Body(at) => Cow::Owned(at.blank(json)),
                Source::Header(_) | Source::Query(_) => Cow::Borrowed(json),
            },
            // A signature is of this delivery only.
            Scheme::Hmac { .. }
            | Scheme::Ed25519 { .. }
            | Scheme::Rsa { .. }
            | Scheme::Basic
            | Scheme::None => Cow::Borrowed(json),
        }
    }

    /// Whether what is there is to be relied on: a delivery that says itself which fields are signed vouches for no others.
    pub(super) fn vouches_for(&self, raw: &Raw<'_>, source: &Source) -> bool {
        match (&self.scheme, source) {
            (Scheme::Hmac { signed, .. }, Source::Header(name)) => signed.may_cover(raw, name),
            _ => true,
        }
    }

    fn proof(&self) -> Option<&Proof> {
        match &self.scheme {
            Scheme::Hmac { proof, .. }
            | Scheme::Ed25519 { proof, .. }
            | Scheme::Rsa { proof, .. }
            | Scheme::Jwt { proof, .. }
            | Scheme::Token { proof } => Some(proof),
            Scheme::Basic | Scheme::None => None,
        }
    }

    /// Whether a secret can be one.
    ///
    /// # Errors
    /// Why not.
    pub fn check_secret(&self, secret: &str) -> Result<(), SecretError> {
        let key = match &self.scheme {
            Scheme::Hmac { key, .. } | Scheme::Ed25519 { key, .. } => key.octets(secret)?,
            Scheme::Rsa { .. } => KeyFormat::Pem.octets(secret)?,
            Scheme::Jwt { demands, .. } => {
                demands.trust(secret).map_err(SecretError::Jwt)?;
                secret.as_bytes().to_vec()
            }
            Scheme::Basic if !secret.contains(':') => return Err(SecretError::NoPassword),
            Scheme::Token { .. } | Scheme::Basic | Scheme::None => secret.as_bytes().to_vec(),
        };
        match &self.scheme {
            _ if key.is_empty() => Err(SecretError::Empty),
            Scheme::Ed25519 { .. } if key.len() != 32 => Err(SecretError::NoPublicKey),
            _ => Ok(()),
        }
    }
}

fn is_same(given: &[u8], expected: &[u8]) -> bool {
    given.ct_eq(expected).into()
}

/// Digests have one length, so that not even the length of a secret shows.
fn is_one_of(given: &[u8], secrets: &[Secret]) -> bool {
    let given = Sha256::digest(given);
    let known = secrets.iter().map(Secret::reveal).filter(|secret| !secret.is_empty());
    known.fold(false, |found, secret| found | is_same(&given, &Sha256::digest(secret.as_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::webhooks::Hook;
    use bytes::Bytes;
    use http::{HeaderMap, HeaderName, HeaderValue, Method};
    use std::net::Ipv4Addr;

    /// A webhook as a file says it.
    fn hook(says: &str) -> Hook {
        let yaml = format!(
            "upstreams: {{ app: {{ servers: 'http://127.0.0.1:1' }} }}\n\
             routes: [{{ name: a, match: {{ path: '/{{*rest}}' }}, upstream: app }}]\n\
             webhooks: {{ hook: {{ path: /hook, {says} }} }}\n"
        );
        match config::compile_text("test.yaml", &yaml, &|_| None) {
            Ok(mut plan) => plan.webhooks.remove(0),
            Err(problems) => panic!("{problems}"),
        }
    }

    fn headers(given: &[(&str, &str)]) -> HeaderMap {
        let field = |(name, value): &(&str, &str)| {
            (name.parse::<HeaderName>().unwrap(), HeaderValue::from_bytes(value.as_bytes()).unwrap())
        };
        given.iter().map(field).collect()
    }

    fn check(
        hook: &Hook,
        now: Timestamp,
        fields: &[(&str, &str)],
        target: &str,
        body: &[u8],
    ) -> Result<(), Unbelieved> {
        let (headers, body) = (headers(fields), Bytes::copy_from_slice(body));
        let raw = Raw::new(&Method::POST, target, &headers, &body);
        hook.verify.check(&raw, &hook.secrets, Ipv4Addr::LOCALHOST.into(), now)
    }

    // Vectors of the reference library (standardwebhooks on PyPI).
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const TIMESTAMP: &str = "1614265330";
    const BODY: &[u8] = br#"{"test": 2432232314}"#;
    const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

    fn standard(
        now: u64,
        [id, timestamp, signature]: [&str; 3],
        body: &[u8],
        secrets: &str,
    ) -> Result<(), Unbelieved> {
        let hook = hook(&format!("preset: standard-webhooks, secret: [{secrets}]"));
        let fields = [("webhook-id", id), ("webhook-timestamp", timestamp), ("webhook-signature", signature)];
        check(&hook, Timestamp::from_secs(now), &fields, "/hook", body)
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
            // The same as the libraries take it without its prefix.
            (&SECRET["whsec_".len()..], ID, TIMESTAMP, BODY, SIGNATURE),
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
            assert_eq!(standard(now, [id, timestamp, signature], body, secret), Ok(()), "{id}");
        }
    }

    #[test]
    fn a_flipped_bit_anywhere_is_not_believed() {
        let at = |id, timestamp, signature: &str, body| {
            standard(1_614_265_330, [id, timestamp, signature], body, SECRET)
        };
        let mismatch = Err(Unbelieved::Mismatch);
        assert_eq!(at("msg_p5jXN8AQM9LWM0D4loKWxJel", TIMESTAMP, SIGNATURE, BODY), mismatch);
        assert_eq!(at(ID, "1614265331", SIGNATURE, BODY), mismatch);
        assert_eq!(at(ID, TIMESTAMP, SIGNATURE, br#"{"test": 2432232315}"#), mismatch);
        assert_eq!(at(ID, TIMESTAMP, &SIGNATURE.replace("g0hM", "h0hM"), BODY), mismatch);
        assert_eq!(at(ID, TIMESTAMP, &SIGNATURE.replace("v1,", "v2,"), BODY), mismatch);
        assert_eq!(at(ID, TIMESTAMP, "v1,", BODY), mismatch);
    }

    #[test]
    fn the_timestamp_is_bounded_both_ways() {
        let at = |now| standard(now, [ID, TIMESTAMP, SIGNATURE], BODY, SECRET);
        assert_eq!(at(1_614_265_630), Ok(()));
        assert_eq!(at(1_614_265_631), Err(Unbelieved::TooOld(Duration::from_secs(301))));
        assert_eq!(at(1_614_265_030), Ok(()));
        assert_eq!(at(1_614_265_029), Err(Unbelieved::TooNew(Duration::from_secs(301))));
    }

    #[test]
    fn secrets_can_be_rotated_on_either_side() {
        let both = format!("v1,AAAA {SIGNATURE} v1a,xxxx");
        let at = |secrets: &str| standard(1_614_265_330, [ID, TIMESTAMP, &both], BODY, secrets);
        assert_eq!(at(&format!("whsec_AAAA, {SECRET}")), Ok(()));
        assert_eq!(at("whsec_AAAA"), Err(Unbelieved::Mismatch));
    }

    #[test]
    fn what_is_missing_is_named_in_the_log() {
        let hook = hook(&format!("preset: standard-webhooks, secret: {SECRET}"));
        let now = Timestamp::from_secs(1_614_265_330);
        let missing = |fields: &[(&str, &str)]| match check(&hook, now, fields, "/hook", BODY) {
            Err(Unbelieved::Missing(Missing(what))) => what,
            other => panic!("{other:?}"),
        };
        assert_eq!(missing(&[]), "the signature");
        assert_eq!(missing(&[("webhook-signature", SIGNATURE)]), "the field webhook-id");
        let twice = [
            ("webhook-signature", SIGNATURE),
            ("webhook-id", "1"),
            ("webhook-timestamp", "1"),
            ("webhook-timestamp", "1"),
        ];
        assert_eq!(missing(&twice), "the field webhook-timestamp");
    }

    #[test]
    fn a_token_is_compared_wherever_it_is() {
        let now = Timestamp::default();
        for (says, fields, target, body) in [
            ("verify: { scheme: token, from: header.x-token }", &[("x-token", "s3cret")][..], "/hook", "{}"),
            ("verify: { scheme: token, from: query.token }", &[], "/hook?token=s3cret", "{}"),
            ("preset: prismic", &[], "/hook", r#"{"secret": "s3cret"}"#),
            ("preset: strapi", &[("authorization", "Bearer s3cret")], "/hook", "{}"),
        ] {
            let hook = hook(&format!("{says}, secret: [other, s3cret]"));
            assert_eq!(check(&hook, now, fields, target, body.as_bytes()), Ok(()), "{says}");
            let wrong = |text: &str| text.replace("s3cret", "s3crets");
            let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, wrong(value))).collect();
            let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
            let checked = check(&hook, now, &fields, &wrong(target), wrong(body).as_bytes());
            assert_eq!(checked, Err(Unbelieved::Mismatch), "{says}");
        }
        let hook = hook("verify: { scheme: basic }, secret: 'user:pass:word'");
        let basic = |text: &str| format!("Basic {}", STANDARD.encode(text));
        let at = |text: &str| check(&hook, now, &[("authorization", &basic(text))], "/hook", b"{}");
        assert_eq!(at("user:pass:word"), Ok(()));
        assert_eq!(at("user:pass"), Err(Unbelieved::Mismatch));
    }

    #[test]
    fn an_address_may_be_enough_and_may_be_too_little() {
        let now = Timestamp::default();
        let hook_of = |from: &str| hook(&format!("verify: {{ scheme: none }}, allow_from: {from}"));
        assert_eq!(check(&hook_of("127.0.0.0/8"), now, &[], "/hook", b"{}"), Ok(()));
        let elsewhere = check(&hook_of("10.0.0.0/8"), now, &[], "/hook", b"{}");
        assert_eq!(elsewhere, Err(Unbelieved::Address(Ipv4Addr::LOCALHOST.into())));
        let both = hook("verify: { scheme: token, from: header.x }, secret: s, allow_from: 10.0.0.0/8");
        assert!(matches!(check(&both, now, &[("x", "s")], "/hook", b"{}"), Err(Unbelieved::Address(_))));
    }

    #[test]
    fn public_keys_verify() {
        use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
        let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
        let key = STANDARD.encode(pair.public_key().as_ref());
        let hook = hook(&format!(
            "preset: standard-webhooks, verify: {{ scheme: ed25519, prefix: 'v1a,' }}, secret: whpk_{key}"
        ));
        let signature = pair.sign(&[b"1.1614265330.".as_slice(), BODY].concat());
        let signature = format!("v1,xx v1a,{}", STANDARD.encode(signature));
        let at = |body: &[u8]| {
            let fields =
                [("webhook-id", "1"), ("webhook-timestamp", TIMESTAMP), ("webhook-signature", &*signature)];
            check(&hook, Timestamp::from_secs(1_614_265_330), &fields, "/hook", body)
        };
        assert_eq!(at(BODY), Ok(()));
        assert_eq!(at(b"{}"), Err(Unbelieved::Mismatch));
    }

    #[test]
    fn tokens_are_verified_by_shared_secrets_and_public_keys() {
        let encode = |part: &str| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(part);
        let token = |claims: &str, secret: &str| {
            let signed = format!("{}.{}", encode(r#"{"alg":"HS256","typ":"JWT"}"#), encode(claims));
            let mac = Algorithm::Sha256.digest(secret.as_bytes(), signed.as_bytes()).unwrap();
            format!("{signed}.{}", base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(mac))
        };
        let says = "verify: { scheme: jwt, from: header.authorization, prefix: 'Bearer ', audience: cache, issuer: cms }";
        let hook = hook(&format!("{says}, secret: [old secret, shared secret]"));
        let now = Timestamp::from_secs(1000);
        let at = |claims: &str, secret: &str| {
            let field = format!("Bearer {}", token(claims, secret));
            check(&hook, now, &[("authorization", &field)], "/hook", b"{}")
        };
        let good = r#"{"aud": "cache", "iss": "cms", "exp": 1100}"#;
        assert_eq!(at(good, "shared secret"), Ok(()));
        assert_eq!(at(good, "old secret"), Ok(()));
        assert_eq!(at(good, "another secret"), Err(Unbelieved::Mismatch));
        for claims in [
            r#"{"aud": "cache", "iss": "cms", "exp": 900}"#,
            r#"{"aud": "cache", "iss": "cms", "nbf": 2000}"#,
            r#"{"aud": "elsewhere", "iss": "cms"}"#,
            r#"{"aud": "cache", "iss": "nobody"}"#,
            r#"{"aud": "cache"}"#,
        ] {
            assert_eq!(at(claims, "shared secret"), Err(Unbelieved::Mismatch), "{claims}");
        }
        let unsigned = format!("Bearer {}.{}.", encode(r#"{"alg":"none"}"#), encode(good));
        let checked = check(&hook, now, &[("authorization", &unsigned)], "/hook", b"{}");
        assert_eq!(checked, Err(Unbelieved::Mismatch));
        let key = include_str!("../../tests/webhooks/another_key.pem");
        assert_eq!(hook.verify.check_secret(key), Ok(()));
        assert!(hook.verify.check_secret("-----BEGIN PUBLIC KEY-----").is_err());
    }

    #[test]
    fn a_body_says_what_it_must() {
        let must = r#"must: { $.topic: [products, prices], $.region: 7 }"#;
        let hook = hook(&format!("verify: {{ scheme: token, from: header.x, {must} }}, secret: s"));
        let at = |body: &str| check(&hook, Timestamp::default(), &[("x", "s")], "/hook", body.as_bytes());
        assert_eq!(at(r#"{"topic": "prices", "region": 7}"#), Ok(()));
        let unmet = |path: &str| Err(Unbelieved::Demand(path.to_owned()));
        for body in [
            r#"{"topic": "stocks", "region": 7}"#,
            r#"{"topic": ["prices"], "region": 7}"#,
            r#"{"region": 7}"#,
            r#"[{"topic": "prices", "region": 7}]"#,
            "topic",
        ] {
            assert_eq!(at(body), unmet("$.topic"), "{body}");
        }
        assert_eq!(at(r#"{"topic": "prices", "region": 8}"#), unmet("$.region"));
        // Who has no proof learns nothing of it.
        let checked = check(&hook, Timestamp::default(), &[("x", "t")], "/hook", b"{}");
        assert_eq!(checked, Err(Unbelieved::Mismatch));
    }

    #[test]
    fn a_text_that_is_no_secret_is_refused() {
        let of = |says: &str| hook(says).verify;
        let standard = of(&format!("preset: standard-webhooks, secret: {SECRET}"));
        assert_eq!(standard.check_secret("whsec_AAAA=="), Ok(()));
        assert_eq!(standard.check_secret("v1,whsec_AAAA"), Ok(()));
        assert_eq!(standard.check_secret("v1,whsec_%"), Err(SecretError::Base64));
        assert_eq!(standard.check_secret("a shared phrase"), Ok(()));
        assert_eq!(standard.check_secret(""), Err(SecretError::Empty));
        assert_eq!(standard.check_secret("whsec_"), Err(SecretError::Empty));
        assert_eq!(standard.check_secret("whsec_%"), Err(SecretError::Base64));
        let basic = of("verify: { scheme: basic }, secret: 'a:b'");
        assert_eq!(basic.check_secret("ab"), Err(SecretError::NoPassword));
        let public = of(&format!(
            "verify: {{ scheme: ed25519, from: header.x, key: hex }}, secret: {}",
            "ab".repeat(32)
        ));
        assert_eq!(public.check_secret("abcd"), Err(SecretError::NoPublicKey));
        assert_eq!(public.check_secret("xyz"), Err(SecretError::Hex));
        let key = include_str!("../../tests/webhooks/another_key.pem");
        let rsa = of(&format!("verify: {{ scheme: rsa, from: header.x }}, secret: {key:?}"));
        assert_eq!(rsa.check_secret(key), Ok(()));
        assert_eq!(rsa.check_secret("shared secret"), Err(SecretError::Pem));
    }
}
