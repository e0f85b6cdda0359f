//! Whether a delivery is believed: one engine, told by data where the proof is and what it covers. PURE.
//!
//! Whatever is compared is compared in constant time, and the sender learns nothing of why it was not believed.

use std::net::IpAddr;
use std::time::Duration;

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use ipnet::IpNet;
use sha1::Sha1;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::raw::{Raw, Source};
use super::signed::{Missing, Signed};
use crate::clock::Timestamp;
use crate::config::Secret;

/// How a delivery proves where it comes from.
#[derive(Clone, Debug)]
pub struct Verify {
    /// What the proof is.
    pub scheme: Scheme,
    /// From where it may come; empty: from anywhere.
    pub allow_from: Vec<IpNet>,
    /// When it was signed, where that is said.
    pub timestamp: Option<SignedAt>,
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

/// By which function a keyed digest is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// SHA-256.
    Sha256,
    /// SHA-1, by which some senders still sign. As a keyed digest it is not broken.
    Sha1,
}

/// What the text of a secret stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyFormat {
    /// Its own octets.
    Utf8,
    /// Base64.
    Base64,
    /// Hexadecimal.
    Hex,
    /// `whsec_` (or `whpk_`) and base64, as Standard Webhooks has it; any other text is itself.
    Whsec,
}

/// Where a proof is, and how it is written.
#[derive(Clone, Debug)]
pub struct Proof {
    /// Where.
    pub from: Source,
    /// What stands between several.
    pub separator: Option<Box<str>>,
    /// What it begins with; others are no such proofs.
    pub prefix: Box<str>,
    /// How octets are written.
    pub encoding: Encoding,
}

/// How octets are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Hexadecimal.
    Hex,
    /// Base64, padded or not.
    Base64,
    /// Base64 for URLs, padded or not.
    Base64Url,
}

/// When it was signed.
#[derive(Clone, Debug)]
pub struct SignedAt {
    /// Where that is said: `sig.t`, or a [`Source`].
    pub from: TimeSource,
    /// In milliseconds, not in seconds.
    pub in_millis: bool,
    /// How far from now, both ways.
    pub tolerance: Duration,
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
    /// No secret makes this proof.
    #[error("no signature matches")]
    Mismatch,
}

/// How many proofs are looked at: how many there are is the sender's choice.
const MAX_PROOFS: usize = 16;

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
        self.check_proof(raw, secrets)?;
        // Of what is not believed the time says nothing.
        self.check_time(raw, now)
    }

    fn check_proof(&self, raw: &Raw<'_>, secrets: &[Secret]) -> Result<(), Unbelieved> {
        let is_proven = match &self.scheme {
            Scheme::None => true,
            Scheme::Hmac { algorithm, key, proof, signed } => {
                let field = proof.text(raw)?;
                let proofs = proof.octets(&field);
                let octets = signed.octets(raw, |name| proof.member(&field, name))?;
                let digests = secrets.iter().filter_map(|secret| {
                    let key = key.octets(secret.reveal()).ok()?;
                    algorithm.digest(&key, &octets)
                });
                digests.into_iter().any(|digest| proofs.iter().any(|proof| is_same(proof, &digest)))
            }
            Scheme::Ed25519 { key, proof, signed } => {
                let field = proof.text(raw)?;
                let proofs = proof.octets(&field);
                let octets = signed.octets(raw, |name| proof.member(&field, name))?;
                secrets.iter().filter_map(|secret| key.octets(secret.reveal()).ok()).any(|key| {
                    let key = UnparsedPublicKey::new(&ED25519, key);
                    proofs.iter().any(|proof| key.verify(&octets, proof).is_ok())
                })
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
        let Some(SignedAt { from, in_millis, tolerance }) = &self.timestamp else { return Ok(()) };
        let missing = || Missing("the timestamp".to_owned());
        let text = match from {
            TimeSource::Delivery(source) => source.text(raw, None).ok_or_else(missing)?,
            TimeSource::Signature(name) => {
                let proof = self.proof().ok_or_else(missing)?;
                let field = proof.text(raw)?;
                proof.member(&field, name).ok_or_else(missing)?.to_owned()
            }
        };
        let number: u64 = text.trim().parse().map_err(|_| Unbelieved::Timestamp)?;
        let signed_at =
            if *in_millis { Timestamp::from_millis(number) } else { Timestamp::from_secs(number) };
        if now.since(signed_at) > *tolerance {
            return Err(Unbelieved::TooOld(now.since(signed_at)));
        }
        if signed_at.since(now) > *tolerance {
            return Err(Unbelieved::TooNew(signed_at.since(now)));
        }
        Ok(())
    }

    fn proof(&self) -> Option<&Proof> {
        match &self.scheme {
            Scheme::Hmac { proof, .. } | Scheme::Ed25519 { proof, .. } | Scheme::Token { proof } => {
                Some(proof)
            }
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

/// Why a text is no secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// Anybody could sign with it.
    #[error("the secret is empty")]
    Empty,
    /// It begins with `whsec_` and goes on with something else, or is to be base64.
    #[error("it is not base64, or what follows whsec_ is not base64")]
    Base64,
    /// It is to be hexadecimal.
    #[error("it is not hexadecimal")]
    Hex,
    /// It is to be `user:password`.
    #[error("a secret of basic authentication is user:password")]
    NoPassword,
    /// It is to be a public key.
    #[error("it is no public key of Ed25519: those have 32 octets")]
    NoPublicKey,
}

impl KeyFormat {
    fn octets(self, secret: &str) -> Result<Vec<u8>, SecretError> {
        let key = match self {
            Self::Utf8 => secret.as_bytes().to_vec(),
            Self::Base64 => base64(secret).ok_or(SecretError::Base64)?,
            Self::Hex => hex(secret).ok_or(SecretError::Hex)?,
            Self::Whsec => match secret.strip_prefix("whsec_").or_else(|| secret.strip_prefix("whpk_")) {
                Some(encoded) => base64(encoded).ok_or(SecretError::Base64)?,
                None => secret.as_bytes().to_vec(),
            },
        };
        if key.is_empty() { Err(SecretError::Empty) } else { Ok(key) }
    }
}

impl Algorithm {
    fn digest(self, key: &[u8], octets: &[u8]) -> Option<Vec<u8>> {
        fn by<M: Mac + KeyInit>(key: &[u8], octets: &[u8]) -> Option<Vec<u8>> {
            let mut mac = <M as KeyInit>::new_from_slice(key).ok()?;
            mac.update(octets);
            Some(mac.finalize().into_bytes().to_vec())
        }
        match self {
            Self::Sha256 => by::<Hmac<Sha256>>(key, octets),
            Self::Sha1 => by::<Hmac<Sha1>>(key, octets),
        }
    }
}

impl Proof {
    fn text(&self, raw: &Raw<'_>) -> Result<String, Missing> {
        self.from.text(raw, None).ok_or_else(|| Missing("the signature".to_owned()))
    }

    /// All that begin as they should.
    fn items<'f>(&self, field: &'f str) -> impl Iterator<Item = &'f str> {
        let items = self.members(field).filter_map(|item| item.strip_prefix(&*self.prefix));
        items.filter(|item| !item.is_empty()).take(MAX_PROOFS)
    }

    fn octets(&self, field: &str) -> Vec<Vec<u8>> {
        self.items(field).filter_map(|item| self.encoding.decode(item)).collect()
    }

    /// The value of `name=value` among them.
    fn member<'f>(&self, field: &'f str, name: &str) -> Option<&'f str> {
        self.members(field).find_map(|item| item.strip_prefix(name)?.strip_prefix('='))
    }

    fn members<'f>(&self, field: &'f str) -> impl Iterator<Item = &'f str> {
        let separator = self.separator.as_deref();
        let mut rest = Some(field);
        std::iter::from_fn(move || {
            let text = rest?;
            let (item, after) = match separator.and_then(|separator| text.split_once(separator)) {
                Some((item, after)) => (item, Some(after)),
                None => (text, None),
            };
            rest = after;
            Some(item.trim())
        })
    }
}

impl Encoding {
    fn decode(self, text: &str) -> Option<Vec<u8>> {
        match self {
            Self::Hex => hex(text),
            Self::Base64 => base64(text),
            Self::Base64Url => URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok(),
        }
    }
}

fn base64(text: &str) -> Option<Vec<u8>> {
    STANDARD_NO_PAD.decode(text.trim_end_matches('=')).ok()
}

fn hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let octet = |pair: &[u8]| match pair {
        [high, low] => u8::try_from(digit(*high)? << 4 | digit(*low)?).ok(),
        _ => None,
    };
    digits.chunks(2).map(octet).collect()
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
    fn a_text_that_is_no_secret_is_refused() {
        let of = |says: &str| hook(says).verify;
        let standard = of(&format!("preset: standard-webhooks, secret: {SECRET}"));
        assert_eq!(standard.check_secret("whsec_AAAA=="), Ok(()));
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
    }

    #[test]
    fn octets_are_written_in_many_ways() {
        assert_eq!(hex("00fFa0"), Some(vec![0, 255, 160]));
        assert_eq!(hex("0"), None);
        assert_eq!(hex("0g"), None);
        assert_eq!(Encoding::Base64Url.decode("-_8"), Some(vec![0xfb, 0xff]));
        assert_eq!(Encoding::Base64.decode("+/8="), Some(vec![0xfb, 0xff]));
    }
}
