//! Signing a delivery as its sender would, to try a webhook. PURE.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::Method;
use http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::Hook;
use super::proof::{KeyFormat, Proof, SecretError};
use super::raw::{Raw, Source};
use super::signed::{Missing, Signed};
use super::verify::{Scheme, SignedAt, TimeSource};
use crate::clock::Timestamp;

/// What the caller has said of a delivery.
#[derive(Clone, Debug, Default)]
pub struct Draft {
    /// Fields.
    pub headers: HeaderMap,
    /// The query, without its question mark.
    pub query: String,
    /// Members beside the signature, such as `env`.
    pub members: Vec<(String, String)>,
    /// The body.
    pub body: Bytes,
}

/// A delivery that is believed.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// Path and query.
    pub target: String,
    /// Fields.
    pub headers: HeaderMap,
}

/// Why a delivery cannot be signed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unsigned {
    /// What is covered is not there.
    #[error("{0}: give it with -H or --member")]
    Missing(#[from] Missing),
    /// There is nothing to sign with.
    #[error("the webhook has no secret")]
    NoSecret,
    /// The secret is none.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// Only its sender can.
    #[error(
        "only its sender can sign it: the configuration has what verifies, not what signs; give what it signed with -H"
    )]
    Asymmetric,
    /// The proof is in the body.
    #[error("the proof is in the body: write it there")]
    InBody,
    /// The proof is no value of a field.
    #[error("the secret cannot stand in a field")]
    NoValue,
}

impl Hook {
    /// Signs by the first secret; `id`: by what the delivery is to be known again, where its sender says that.
    ///
    /// # Errors
    /// See [`Unsigned`].
    pub fn sign(&self, draft: Draft, id: &str, now: Timestamp) -> Result<Delivery, Unsigned> {
        let Draft { mut headers, mut query, mut members, body } = draft;
        let fill = |headers: &mut HeaderMap, name: &HeaderName, text: &str| {
            if !headers.contains_key(name) {
                headers.insert(name, HeaderValue::try_from(text).map_err(|_| Unsigned::NoValue)?);
            }
            Ok::<_, Unsigned>(())
        };
        if let Some(Source::Header(name)) = self.delivery.first() {
            fill(&mut headers, name, id)?;
        }
        if let Some(SignedAt { from, unit, .. }) = &self.verify.timestamp {
            match from {
                TimeSource::Delivery(Source::Header(name)) => fill(&mut headers, name, &unit.write(now))?,
                TimeSource::Delivery(Source::Query(_) | Source::Body(_)) => {}
                TimeSource::Signature(name) => members.push((name.to_string(), unit.write(now))),
            }
        }
        // What else is signed names the delivery.
        if let Scheme::Hmac { signed, .. } = &self.verify.scheme {
            signed.fields().try_for_each(|name| fill(&mut headers, name, id))?;
        }
        if let Scheme::Hmac { signed: Signed::Contentful, .. } = &self.verify.scheme {
            let named = HeaderName::from_static("x-contentful-signed-headers");
            let names: Vec<_> = headers.keys().map(HeaderName::as_str).chain([named.as_str()]).collect();
            let names = names.join(",");
            fill(&mut headers, &named, &names)?;
        }
        let secret = || self.secrets.first().map(|secret| secret.reveal()).ok_or(Unsigned::NoSecret);
        match &self.verify.scheme {
            Scheme::None => {}
            Scheme::Ed25519 { proof, .. } | Scheme::Rsa { proof, .. } | Scheme::Jwt { proof, .. } => {
                let is_there = |name| headers.contains_key(name);
                if !matches!(&proof.from, Source::Header(name) if is_there(name)) {
                    return Err(Unsigned::Asymmetric);
                }
            }
            Scheme::Basic => {
                fill(&mut headers, &AUTHORIZATION, &format!("Basic {}", STANDARD.encode(secret()?)))?;
            }
            Scheme::Token { proof } => {
                let text = format!("{}{}", proof.prefix, secret()?);
                self.put(proof, &text, &mut headers, &mut query, &body)?;
            }
            Scheme::Hmac { algorithm, key, proof, signed } => {
                let key = KeyFormat::octets(*key, secret()?)?;
                let target = target(&self.path, &query);
                let raw = Raw::new(&Method::POST, &target, &headers, &body);
                let of = |name: &str| {
                    members.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
                };
                let octets = signed.octets(&raw, of)?;
                let digest = algorithm.digest(&key, &octets).ok_or(Unsigned::NoSecret)?;
                let own = format!("{}{}", proof.prefix, proof.encoding.encode(&digest));
                let text = proof.separator.as_deref().map_or(own.clone(), |separator| {
                    let others = members.iter().map(|(name, value)| format!("{name}={value}"));
                    others.chain([own]).collect::<Vec<_>>().join(separator)
                });
                self.put(proof, &text, &mut headers, &mut query, &body)?;
            }
        }
        Ok(Delivery { target: target(&self.path, &query), headers })
    }

    fn put(
        &self,
        proof: &Proof,
        text: &str,
        headers: &mut HeaderMap,
        query: &mut String,
        body: &Bytes,
    ) -> Result<(), Unsigned> {
        match &proof.from {
            Source::Header(name) => {
                headers.insert(name, HeaderValue::try_from(text).map_err(|_| Unsigned::NoValue)?);
            }
            Source::Query(name) => {
                let separator = if query.is_empty() { "" } else { "&" };
                let value = utf8_percent_encode(text, NON_ALPHANUMERIC);
                query.push_str(&format!("{separator}{name}={value}"));
            }
            Source::Body(_) => {
                let (method, headers) = (Method::POST, HeaderMap::new());
                let raw = Raw::new(&method, &self.path, &headers, body);
                if proof.from.text(&raw, None).as_deref() != Some(text) {
                    return Err(Unsigned::InBody);
                }
            }
        }
        Ok(())
    }
}

fn target(path: &str, query: &str) -> String {
    if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::webhooks::PRESETS;
    use std::net::Ipv4Addr;

    fn hook(says: &str) -> Hook {
        let yaml = format!(
            "upstreams: {{ app: {{ servers: 'http://127.0.0.1:1' }} }}\n\
             routes: [{{ name: a, match: {{ path: '/{{*rest}}' }}, upstream: app }}]\n\
             webhooks: {{ hook: {{ path: /hook, {says}, secret: 'abcd=' }} }}\n"
        );
        config::compile_text("test.yaml", &yaml, &|_| None).unwrap().webhooks.remove(0)
    }

    fn draft() -> Draft {
        let members = vec![("env".to_owned(), "master".to_owned())];
        Draft {
            members,
            body: Bytes::from_static(br#"{"type": "x", "secret": "abcd="}"#),
            ..Draft::default()
        }
    }

    #[test]
    fn what_is_signed_as_its_sender_would_is_believed() {
        let now = Timestamp::from_secs(1_700_000_000);
        let presets =
            PRESETS.lines().filter_map(|line| line.strip_suffix(':')).filter(|line| !line.starts_with(' '));
        let by_preset = presets
            .filter(|preset| *preset != "aws-sns")
            .map(|preset| format!("preset: {preset}, verify: {{ allow_weak: true }}"));
        let others = [
            "verify: { scheme: token, from: query.token }",
            "verify: { scheme: none }, allow_from: 127.0.0.1",
            "verify: { from: header.x, key: base64, encoding: base64url, signed: '{target}{body}' }",
        ];
        let all: Vec<_> = by_preset.chain(others.map(str::to_owned)).collect();
        assert!(all.len() > 25, "{all:?}");
        for says in all {
            let (hook, draft) = (hook(&says), draft());
            let body = draft.body.clone();
            let Delivery { target, headers } = hook.sign(draft, "msg_1", now).unwrap();
            let raw = Raw::new(&Method::POST, &target, &headers, &body);
            assert_eq!(
                hook.verify.check(&raw, &hook.secrets, Ipv4Addr::LOCALHOST.into(), now),
                Ok(()),
                "{says}"
            );
        }
    }

    #[test]
    fn what_cannot_be_signed_is_told() {
        let now = Timestamp::from_secs(1_700_000_000);
        let sign = |says: &str, draft: Draft| hook(says).sign(draft, "msg_1", now).map(drop);
        let bare = Draft { body: Bytes::from_static(b"{}"), ..Draft::default() };
        assert!(matches!(sign("preset: hygraph", bare.clone()), Err(Unsigned::Missing(_))));
        assert_eq!(sign("preset: prismic", bare.clone()), Err(Unsigned::InBody));
        let mut hook = hook("preset: github");
        hook.secrets.clear();
        assert_eq!(hook.sign(bare.clone(), "1", now).map(drop), Err(Unsigned::NoSecret));
        hook.verify.scheme = Scheme::Rsa {
            algorithms: Vec::new(),
            proof: Proof {
                from: Source::parse("header.x").unwrap(),
                separator: None,
                prefix: "".into(),
                encoding: crate::webhooks::Encoding::Hex,
            },
            signed: Signed::AwsSns,
        };
        assert_eq!(hook.sign(bare, "1", now).map(drop), Err(Unsigned::Asymmetric));
    }
}
