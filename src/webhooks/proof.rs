//! Where a proof is in a delivery, how it is written, and what keys are. PURE.

use aws_lc_rs::signature::{
    self, ED25519, RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY,
    RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY, UnparsedPublicKey,
};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, SubjectPublicKeyInfoDer};
use sha1::Sha1;
use sha2::Sha256;

use super::raw::{Raw, Source};
use super::signed::Missing;
use crate::keys::JwtTrustError;

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
    /// `whsec_` (or `whpk_`, or these after `v1,`) and base64, as Standard Webhooks has it; any other text is itself.
    Whsec,
    /// A public key, or a certificate for one, in PEM.
    Pem,
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

/// How many proofs are looked at: how many there are is the sender's choice.
const MAX_PROOFS: usize = 16;

/// Why a text is no secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
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
    /// It is to be a public key, or a certificate for one.
    #[error("it is no public key or certificate in PEM: those begin with -----BEGIN")]
    Pem,
    /// It is to be what verifies a token.
    #[error("it verifies no token: {0}")]
    Jwt(JwtTrustError),
}

impl KeyFormat {
    /// All that a secret can stand for: who shows one of Standard Webhooks without its `whsec_` may mean base64 all the same,
    /// as the libraries take it.
    pub(super) fn keys(self, secret: &str) -> impl Iterator<Item = Vec<u8>> {
        let is_bare = self == Self::Whsec && !secret.contains("whsec_") && !secret.contains("whpk_");
        let also = base64(secret).filter(|key| is_bare && !key.is_empty());
        self.octets(secret).ok().into_iter().chain(also)
    }

    pub(super) fn octets(self, secret: &str) -> Result<Vec<u8>, SecretError> {
        let key = match self {
            Self::Utf8 => secret.as_bytes().to_vec(),
            Self::Base64 => base64(secret).ok_or(SecretError::Base64)?,
            Self::Hex => hex(secret).ok_or(SecretError::Hex)?,
            Self::Whsec => {
                // As some senders show it.
                let bare = secret.strip_prefix("v1,").unwrap_or(secret);
                match bare.strip_prefix("whsec_").or_else(|| bare.strip_prefix("whpk_")) {
                    Some(encoded) => base64(encoded).ok_or(SecretError::Base64)?,
                    None => secret.as_bytes().to_vec(),
                }
            }
            Self::Pem => public_key(secret).ok_or(SecretError::Pem)?,
        };
        if key.is_empty() { Err(SecretError::Empty) } else { Ok(key) }
    }
}

/// The key itself, as X.509 has it (RFC 5280 §4.1.2.7).
fn public_key(pem: &str) -> Option<Vec<u8>> {
    if let Ok(key) = SubjectPublicKeyInfoDer::from_pem_slice(pem.as_bytes()) {
        return Some(key.to_vec());
    }
    let certificate = CertificateDer::from_pem_slice(pem.as_bytes()).ok()?;
    let certificate = webpki::EndEntityCert::try_from(&certificate).ok()?;
    Some(certificate.subject_public_key_info().to_vec())
}

/// Whether the key's owner has signed it.
pub(super) fn is_signed(key: SignatureKey<'_>, octets: &[u8], signature: &[u8]) -> bool {
    let (algorithm, key): (&'static dyn signature::VerificationAlgorithm, _) = match key {
        SignatureKey::Ed25519(key) => (&ED25519, key),
        SignatureKey::Rsa(Algorithm::Sha256, key) => (&RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY, key),
        SignatureKey::Rsa(Algorithm::Sha1, key) => (&RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY, key),
    };
    UnparsedPublicKey::new(algorithm, key).verify(octets, signature).is_ok()
}

/// A public key, and what it verifies.
#[derive(Clone, Copy, Debug)]
pub(super) enum SignatureKey<'k> {
    /// Ed25519 (RFC 8032).
    Ed25519(&'k [u8]),
    /// RSASSA-PKCS1-v1_5 (RFC 8017 §8.2).
    Rsa(Algorithm, &'k [u8]),
}

impl Algorithm {
    pub(super) fn digest(self, key: &[u8], octets: &[u8]) -> Option<Vec<u8>> {
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
    pub(super) fn text(&self, raw: &Raw<'_>) -> Result<String, Missing> {
        self.from.text(raw, None).ok_or_else(|| Missing("the signature".to_owned()))
    }

    /// All that begin as they should.
    pub(super) fn items<'f>(&self, field: &'f str) -> impl Iterator<Item = &'f str> {
        let items = self.members(field).filter_map(|item| item.strip_prefix(&*self.prefix));
        items.filter(|item| !item.is_empty()).take(MAX_PROOFS)
    }

    pub(super) fn octets(&self, field: &str) -> Vec<Vec<u8>> {
        self.items(field).filter_map(|item| self.encoding.decode(item)).collect()
    }

    /// The value of `name=value` among them.
    pub(super) fn member<'f>(&self, field: &'f str, name: &str) -> Option<&'f str> {
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
    pub(super) fn encode(self, octets: &[u8]) -> String {
        match self {
            Self::Hex => octets.iter().map(|octet| format!("{octet:02x}")).collect(),
            Self::Base64 => STANDARD.encode(octets),
            Self::Base64Url => URL_SAFE_NO_PAD.encode(octets),
        }
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octets_are_written_in_many_ways() {
        assert_eq!(hex("00fFa0"), Some(vec![0, 255, 160]));
        assert_eq!(hex("0"), None);
        assert_eq!(hex("0g"), None);
        assert_eq!(Encoding::Base64Url.decode("-_8"), Some(vec![0xfb, 0xff]));
        assert_eq!(Encoding::Base64.decode("+/8="), Some(vec![0xfb, 0xff]));
    }
}
