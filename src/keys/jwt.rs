//! A claim of a JSON Web Token (RFC 7519) as a field of a key.
//!
//! A claim may tell one user's responses from another's only if it can be believed. So a token is either verified
//! here, with the key and algorithms the operator gave, or read as it is because the operator says that something
//! in front has verified it. Time is an argument here too.

use super::cookie;
use super::value::Value;
use crate::clock::Timestamp;
use http::{HeaderMap, HeaderName};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, Validation};
use serde_json::{Map, Number, Value as Json};
use smallvec::smallvec;
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

/// Where the token is, which claim of it counts, and why it can be believed.
pub struct JwtSource {
    /// The field that carries the token; `Bearer ` is skipped, in either case.
    pub header: Option<HeaderName>,
    /// The cookie that carries it, if the field is missing.
    pub cookie: Option<Arc<str>>,
    /// A claim's name or a dotted path.
    pub claim: Arc<str>,
    /// Why it can be believed.
    pub trust: JwtTrust,
}

/// Why a token can be believed.
pub enum JwtTrust {
    /// Something in front of Staleproof has verified the token. What is no token counts as none.
    VerifiedInFront,
    /// Verified here, with the algorithms and key given. `exp` and `nbf` are always checked if the token has them,
    /// against the time of the request and with the leeway of `validation`; a token with an `aud` is only accepted
    /// if it names one of the audiences given (RFC 7519 §4.1.3).
    Key {
        /// The shared secret or public key.
        key: DecodingKey,
        /// Algorithms, audiences and issuers that are accepted.
        validation: Validation,
    },
}

/// Why a key cannot verify tokens.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JwtTrustError {
    /// No algorithm is accepted, so no token would be.
    #[error("at least one algorithm must be named, such as HS256 for a secret or RS256 for a public key")]
    NoAlgorithm,
    /// The algorithm works with another kind of key.
    #[error("{0:?} does not work with this kind of key")]
    WrongAlgorithm(Algorithm),
    /// Everybody knows the empty secret.
    #[error("the secret is empty")]
    EmptySecret,
    /// Verifying takes the public key only.
    #[error("this is not a public key: give the one that begins with -----BEGIN PUBLIC KEY-----")]
    NotPublic,
    /// Not a key in PEM form, or of another kind than the algorithms need.
    #[error("this is not a public key in PEM form that {0:?} can use")]
    Malformed(Algorithm),
}

/// A token is there, but cannot be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unverified;

impl JwtTrust {
    /// Tokens signed with a shared secret: HS256, HS384 or HS512.
    ///
    /// # Errors
    ///
    /// An empty secret, no algorithm, or one that takes another kind of key.
    pub fn hmac(secret: &[u8], algorithms: &[Algorithm]) -> Result<Self, JwtTrustError> {
        if secret.is_empty() {
            return Err(JwtTrustError::EmptySecret);
        }
        Self::new(DecodingKey::from_secret(secret), algorithms)
    }

    /// Tokens signed with the private part of this public key in PEM form: RS*, PS*, ES* or EdDSA.
    ///
    /// # Errors
    ///
    /// No algorithm, algorithms of different kinds of keys, a private key or certificate, or a key of another kind
    /// than the algorithms take.
    pub fn pem(pem: &[u8], algorithms: &[Algorithm]) -> Result<Self, JwtTrustError> {
        let &first = algorithms.first().ok_or(JwtTrustError::NoAlgorithm)?;
        let label = |label: &[u8]| pem.windows(label.len()).any(|window| window == label);
        if label(b"PRIVATE KEY-----") || label(b"CERTIFICATE-----") {
            return Err(JwtTrustError::NotPublic);
        }
        let key = match first.family() {
            AlgorithmFamily::Hmac => return Err(JwtTrustError::WrongAlgorithm(first)),
            AlgorithmFamily::Rsa => DecodingKey::from_rsa_pem(pem),
            AlgorithmFamily::Ec => DecodingKey::from_ec_pem(pem),
            AlgorithmFamily::Ed => DecodingKey::from_ed_pem(pem),
        };
        let key = key.map_err(|_| JwtTrustError::Malformed(first))?;
        for &algorithm in algorithms {
            // An uncompressed point: 1 byte and two coordinates (SEC 1 §2.3.3).
            let point = match algorithm {
                Algorithm::ES256 => 65,
                Algorithm::ES384 => 97,
                _ => continue,
            };
            if key.try_get_as_bytes().is_ok_and(|key| key.len() != point) {
                return Err(JwtTrustError::Malformed(algorithm));
            }
        }
        Self::new(key, algorithms)
    }

    /// Accepts only tokens whose `aud` names one of these.
    #[must_use]
    pub fn for_audiences<A: ToString>(mut self, audiences: &[A]) -> Self {
        if let Self::Key { validation, .. } = &mut self {
            validation.set_audience(audiences);
            validation.required_spec_claims.insert("aud".to_owned());
        }
        self
    }

    /// Accepts only tokens whose `iss` is one of these.
    #[must_use]
    pub fn from_issuers<I: ToString>(mut self, issuers: &[I]) -> Self {
        if let Self::Key { validation, .. } = &mut self {
            validation.set_issuer(issuers);
            validation.required_spec_claims.insert("iss".to_owned());
        }
        self
    }

    fn new(key: DecodingKey, algorithms: &[Algorithm]) -> Result<Self, JwtTrustError> {
        let &first = algorithms.first().ok_or(JwtTrustError::NoAlgorithm)?;
        if let Some(&wrong) = algorithms.iter().find(|algorithm| algorithm.family() != key.family()) {
            return Err(JwtTrustError::WrongAlgorithm(wrong));
        }
        let mut validation = Validation::new(first);
        validation.algorithms = algorithms.to_vec();
        // They are checked below, against the time that is given.
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        validation.validate_nbf = false;
        Ok(Self::Key { key, validation })
    }
}

impl JwtSource {
    /// The claim's value; `Missing` without a token or a claim.
    pub(super) fn value<'v>(&self, headers: &HeaderMap, now: Timestamp) -> Result<Value<'v>, Unverified> {
        let Some(token) = self.token(headers)? else { return Ok(Value::Missing) };
        let claims = match &self.trust {
            JwtTrust::VerifiedInFront => jsonwebtoken::dangerous::insecure_decode_claims(token).ok(),
            JwtTrust::Key { key, validation } => Some(verified(token, key, validation, now)?),
        };
        Ok(claims.as_ref().and_then(|claims| find(claims, &self.claim)).map_or(Value::Missing, to_value))
    }

    /// The one token of the request. Of several, nobody knows which one the origin will read.
    fn token<'h>(&'h self, headers: &'h HeaderMap) -> Result<Option<&'h [u8]>, Unverified> {
        let in_field = self.header.iter().flat_map(|name| headers.get_all(name)).map(|line| line.as_bytes());
        if let Some(line) = one(in_field)? {
            let line = line.trim_ascii();
            let bare = match line.split_at_checked("bearer".len()) {
                Some((scheme, rest)) if scheme.eq_ignore_ascii_case(b"bearer") => match rest.first() {
                    None | Some(b' ' | b'\t') => rest.trim_ascii_start(),
                    Some(_) => line,
                },
                _ => line,
            };
            if !bare.is_empty() {
                return Ok(Some(bare));
            }
        }
        let in_cookie = self.cookie.iter().flat_map(|name| cookie::values(name, headers));
        Ok(one(in_cookie)?.filter(|token| !token.is_empty()))
    }
}

impl fmt::Debug for JwtSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JwtSource").field("claim", &self.claim).finish_non_exhaustive()
    }
}

impl fmt::Debug for JwtTrust {
    /// Without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::VerifiedInFront => f.write_str("VerifiedInFront"),
            Self::Key { validation, .. } => {
                f.debug_struct("Key").field("algorithms", &validation.algorithms).finish_non_exhaustive()
            }
        }
    }
}

fn one<T>(mut several: impl Iterator<Item = T>) -> Result<Option<T>, Unverified> {
    let first = several.next();
    if several.next().is_some() { Err(Unverified) } else { Ok(first) }
}

type Claims = Map<String, Json>;

fn verified(
    token: &[u8],
    key: &DecodingKey,
    validation: &Validation,
    now: Timestamp,
) -> Result<Claims, Unverified> {
    let mut validation = Cow::Borrowed(validation);
    if validation.validate_exp || validation.validate_nbf {
        // The library would read the clock; time is checked below.
        let validation = validation.to_mut();
        validation.validate_exp = false;
        validation.validate_nbf = false;
    }
    let token = jsonwebtoken::decode::<Claims>(token, key, &validation).map_err(|_| Unverified)?;
    // "If any of the listed extension Header Parameters are not understood and supported by the recipient, then the
    // JWS is invalid." (RFC 7515 §4.1.11) None is.
    if token.header.crit.is_some() {
        return Err(Unverified);
    }
    let now = now.as_millis() as f64 / 1000.0;
    let leeway = validation.leeway as f64;
    let expired = moment(&token.claims, "exp")?.is_some_and(|exp| now >= exp + leeway);
    let early = moment(&token.claims, "nbf")?.is_some_and(|nbf| now + leeway < nbf);
    if expired || early { Err(Unverified) } else { Ok(token.claims) }
}

/// In seconds since the Unix epoch, perhaps with a fraction (RFC 7519 §2, NumericDate).
fn moment(claims: &Claims, name: &str) -> Result<Option<f64>, Unverified> {
    claims.get(name).map(|claim| claim.as_f64().ok_or(Unverified)).transpose()
}

/// The claim itself, or the one that a dotted path leads to; a name may contain dots.
fn find<'c>(claims: &'c Claims, path: &str) -> Option<&'c Json> {
    claims.get(path).or_else(|| {
        path.match_indices('.').find_map(|(dot, _)| match claims.get(&path[..dot])? {
            Json::Object(inner) => find(inner, &path[dot + 1..]),
            _ => None,
        })
    })
}

/// Numbers and booleans are their text, arrays of plain values are lists.
fn to_value<'v>(claim: &Json) -> Value<'v> {
    if claim.is_null() {
        return Value::Missing;
    }
    if let Some(text) = plain(claim) {
        return Value::One(text);
    }
    if let Json::Array(items) = claim
        && let Some(items) = items.iter().map(plain).collect()
    {
        return Value::List(items);
    }
    // Not as plain text: a text claim could say the same.
    let json = Cow::Owned(claim.to_string().into_bytes());
    Value::Pairs(smallvec![(Cow::Borrowed(&b"json"[..]), Some(json))])
}

fn plain<'v>(claim: &Json) -> Option<Cow<'v, [u8]>> {
    let text = match claim {
        Json::String(text) => text.clone(),
        Json::Number(number) => Number::to_string(number),
        Json::Bool(truth) => truth.to_string(),
        Json::Null | Json::Array(_) | Json::Object(_) => return None,
    };
    Some(Cow::Owned(text.into_bytes()))
}
