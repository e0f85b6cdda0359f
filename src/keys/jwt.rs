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
#[expect(clippy::large_enum_variant, reason = "there is one per key field of the configuration")]
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

    /// Whether a token is what it should be, now.
    pub fn believes(&self, token: &[u8], now: Timestamp) -> bool {
        match self {
            Self::VerifiedInFront => true,
            Self::Key { key, validation } => verified(token, key, validation, now).is_ok(),
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use http::header::{AUTHORIZATION, COOKIE};
    use jsonwebtoken::{EncodingKey, Header};
    use serde_json::json;

    const NOW: u64 = 1_800_000_000;

    fn trust() -> JwtTrust {
        JwtTrust::hmac(b"secret", &[Algorithm::HS256]).unwrap()
    }

    fn signed(claims: &Json, secret: &[u8], header: &Header) -> String {
        jsonwebtoken::encode(header, claims, &EncodingKey::from_secret(secret)).unwrap()
    }

    fn token(claims: &Json) -> String {
        signed(claims, b"secret", &Header::default())
    }

    /// Claims without a signature that means anything.
    fn forged(header: &str, claims: &Json) -> String {
        use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
        format!("{}.{}.c2ln", BASE64.encode(header), BASE64.encode(claims.to_string()))
    }

    fn read(
        trust: JwtTrust,
        claim: &str,
        fields: &[(HeaderName, &str)],
    ) -> Result<Value<'static>, Unverified> {
        let source =
            JwtSource { header: Some(AUTHORIZATION), cookie: Some("jwt".into()), claim: claim.into(), trust };
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(name, value.parse().unwrap());
        }
        source.value(&headers, Timestamp::from_secs(NOW))
    }

    fn text(text: &str) -> Value<'static> {
        Value::One(Cow::Owned(text.as_bytes().to_vec()))
    }

    #[test]
    fn a_verified_token_gives_its_claim() {
        let token = token(&json!({"sub": "42"}));
        for line in [format!("Bearer {token}"), format!("bEARER   {token} "), token.clone()] {
            assert_eq!(read(trust(), "sub", &[(AUTHORIZATION, &line)]), Ok(text("42")), "{line}");
        }
        let cookie = format!("a=b; jwt={token}");
        assert_eq!(read(trust(), "sub", &[(COOKIE, &cookie)]), Ok(text("42")));
        assert_eq!(read(trust(), "sub", &[(AUTHORIZATION, "Bearer"), (COOKIE, &cookie)]), Ok(text("42")));
    }

    #[test]
    fn no_token_is_a_missing_value() {
        for fields in [&[][..], &[(AUTHORIZATION, "")], &[(AUTHORIZATION, "Bearer ")], &[(COOKIE, "jwt=")]] {
            assert_eq!(read(trust(), "sub", fields), Ok(Value::Missing), "{fields:?}");
        }
    }

    #[test]
    fn a_token_that_fails_is_not_taken_for_none() {
        let claims = json!({"sub": "42"});
        let good = token(&claims);
        let hs512 = Header::new(Algorithm::HS512);
        let crit = Header { crit: Some(vec!["exp".into()]), ..Header::default() };
        for bad in [
            "nonsense",
            "a.b.c",
            "Basic dXNlcjpwYXNz",
            "Bearerer x",
            &good[..good.len() - 2],
            &signed(&claims, b"other", &Header::default()),
            &signed(&claims, b"secret", &hs512),
            &signed(&claims, b"secret", &crit),
            &forged(r#"{"alg":"none"}"#, &claims),
            &forged(r#"{"alg":"HS256"}"#, &claims),
            &format!("{}.{}.", good.split('.').next().unwrap(), good.split('.').nth(1).unwrap()),
            "\"é",
        ] {
            assert_eq!(read(trust(), "sub", &[(AUTHORIZATION, bad)]), Err(Unverified), "{bad}");
        }
    }

    #[test]
    fn of_several_tokens_none_is_believed() {
        let (a, b) = (token(&json!({"sub": "1"})), token(&json!({"sub": "2"})));
        let lines = [(AUTHORIZATION, &*a), (AUTHORIZATION, &*b)];
        assert_eq!(read(trust(), "sub", &lines), Err(Unverified));
        assert_eq!(read(JwtTrust::VerifiedInFront, "sub", &lines), Err(Unverified));
        let cookies = format!("jwt={a}; jwt={b}");
        assert_eq!(read(trust(), "sub", &[(COOKIE, &cookies)]), Err(Unverified));
    }

    #[test]
    fn time_is_the_requests_with_a_minute_of_leeway() {
        for (claims, valid) in [
            (json!({"exp": NOW + 1}), true),
            (json!({"exp": NOW - 59}), true),
            (json!({"exp": NOW - 60}), false),
            (json!({"exp": 0}), false),
            (json!({"exp": NOW as f64 + 0.5}), true),
            (json!({"exp": "tomorrow"}), false),
            (json!({"exp": null}), false),
            (json!({"nbf": NOW - 1}), true),
            (json!({"nbf": NOW + 60}), true),
            (json!({"nbf": NOW + 61}), false),
            (json!({"nbf": "now"}), false),
        ] {
            let found = read(trust(), "sub", &[(AUTHORIZATION, &token(&claims))]);
            let expected = if valid { Ok(Value::Missing) } else { Err(Unverified) };
            assert_eq!(found, expected, "{claims}");
        }
    }

    #[test]
    fn time_is_checked_here_even_if_the_library_was_told_to() {
        let key = DecodingKey::from_secret(b"secret");
        // Valid in the year 2027 of the test, but not before.
        let claims = json!({"sub": "42", "nbf": NOW - 10, "exp": NOW + 10});
        let validation = Validation { validate_nbf: true, ..Validation::new(Algorithm::HS256) };
        let trust = JwtTrust::Key { key, validation };
        assert_eq!(read(trust, "sub", &[(AUTHORIZATION, &token(&claims))]), Ok(text("42")));
    }

    #[test]
    fn audience_and_issuer_must_be_the_ones_given() {
        let check = |trust: JwtTrust, claims: Json, valid: bool| {
            let found = read(trust, "sub", &[(AUTHORIZATION, &token(&claims))]);
            assert_eq!(found.is_ok(), valid, "{claims}");
        };
        let strict = || trust().for_audiences(&["shop"]).from_issuers(&["me"]);
        check(strict(), json!({"aud": ["shop", "x"], "iss": "me"}), true);
        check(strict(), json!({"aud": "x", "iss": "me"}), false);
        check(strict(), json!({"iss": "me"}), false);
        check(strict(), json!({"aud": "shop", "iss": "you"}), false);
        check(strict(), json!({"aud": "shop"}), false);
        check(trust(), json!({"aud": "shop"}), false);
    }

    #[test]
    fn a_claim_is_found_by_name_or_path() {
        let claims = json!({
            "a.b": "whole",
            "a": {"b": "hidden", "c": {"d": 7}},
            "https://example.com/x": {"role": true},
            "roles": ["b", "a", 1],
            "none": [],
            "deep": {"x": [{}]},
            "null": null,
        });
        let items = |items: &[&str]| {
            Value::List(items.iter().map(|item| Cow::Owned(item.as_bytes().to_vec())).collect())
        };
        let json = |text: &str| {
            let text = Cow::Owned(text.as_bytes().to_vec());
            Value::Pairs(smallvec![(Cow::Borrowed(&b"json"[..]), Some(text))])
        };
        for (path, expected) in [
            ("a.b", text("whole")),
            ("a.c.d", text("7")),
            ("https://example.com/x.role", text("true")),
            ("roles", items(&["b", "a", "1"])),
            ("none", items(&[])),
            ("deep", json(r#"{"x":[{}]}"#)),
            ("deep.x", json("[{}]")),
            ("null", Value::Missing),
            ("a.x", Value::Missing),
            ("a.b.c", Value::Missing),
            ("roles.0", Value::Missing),
        ] {
            let found = read(trust(), path, &[(AUTHORIZATION, &token(&claims))]);
            assert_eq!(found, Ok(expected), "{path}");
        }
    }

    #[test]
    fn a_token_verified_in_front_is_read_as_it_is() {
        let claims = json!({"sub": "42", "exp": 0});
        let read = |token: &str| read(JwtTrust::VerifiedInFront, "sub", &[(AUTHORIZATION, token)]);
        assert_eq!(read(&forged(r#"{"alg":"none"}"#, &claims)), Ok(text("42")));
        assert_eq!(read(&signed(&claims, b"other", &Header::default())), Ok(text("42")));
        for malformed in ["nonsense", "a.b.c", "Basic x", "..", &forged("{}", &json!([1]))] {
            assert_eq!(read(malformed), Ok(Value::Missing), "{malformed}");
        }
    }

    #[test]
    fn a_key_that_cannot_verify_is_refused() {
        use JwtTrustError::{EmptySecret, Malformed, NoAlgorithm, NotPublic, WrongAlgorithm};
        let hmac = |secret: &[u8], algorithms: &[_]| JwtTrust::hmac(secret, algorithms).err();
        assert_eq!(hmac(b"", &[Algorithm::HS256]), Some(EmptySecret));
        assert_eq!(hmac(b"s", &[]), Some(NoAlgorithm));
        assert_eq!(hmac(b"s", &[Algorithm::HS256, Algorithm::RS256]), Some(WrongAlgorithm(Algorithm::RS256)));
        let pem = |pem: &str, algorithms: &[_]| JwtTrust::pem(pem.as_bytes(), algorithms).err();
        assert_eq!(pem("", &[Algorithm::RS256]), Some(Malformed(Algorithm::RS256)));
        assert_eq!(pem(EC_P256, &[]), Some(NoAlgorithm));
        assert_eq!(pem(EC_P256, &[Algorithm::HS256]), Some(WrongAlgorithm(Algorithm::HS256)));
        assert_eq!(pem(EC_P256, &[Algorithm::RS256]), Some(Malformed(Algorithm::RS256)));
        assert_eq!(pem(EC_P256, &[Algorithm::ES384]), Some(Malformed(Algorithm::ES384)));
        let private = "-----BEGIN RSA PRIVATE KEY-----";
        assert_eq!(pem(private, &[Algorithm::RS256]), Some(NotPublic));
    }

    const EC_P256: &str = "-----BEGIN PUBLIC KEY-----\n\
        MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEj3HHygaRnjd87lzblQTCLQlNj0k0\n\
        4YggCYf/HjLQGl4FaRgu7+rFMaN5rQPhipZjqM0WMJo8n/y+z6zQ1I+8hA==\n\
        -----END PUBLIC KEY-----\n";
    /// `{"sub":"42"}`, signed with the private part of [`EC_P256`].
    const ES256_TOKEN: &str = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiI0MiJ9.\
        yks9Y4m-vF1akondN4IcP6DZnKTzzR8yw3ubWect4Wfg9Ew3bNmJD3cJyTPyUrb9WbZYUnnUJFFhOQY8nN9zgQ";

    #[test]
    fn a_public_key_verifies_what_its_private_part_signed() {
        let trust = || JwtTrust::pem(EC_P256.as_bytes(), &[Algorithm::ES256]).unwrap();
        assert_eq!(read(trust(), "sub", &[(AUTHORIZATION, ES256_TOKEN)]), Ok(text("42")));
        // The classic confusion: the public key taken for a shared secret.
        let confused = signed(&json!({"sub": "1"}), EC_P256.as_bytes(), &Header::default());
        assert_eq!(read(trust(), "sub", &[(AUTHORIZATION, &confused)]), Err(Unverified));
    }

    #[test]
    fn keys_are_never_shown() {
        assert_eq!(format!("{:?}", trust()), "Key { algorithms: [HS256], .. }");
    }
}
