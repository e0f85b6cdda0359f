//! One entry of a key's `fields:`.

use super::super::diagnostics::{Problems, Span};
use super::super::file::{
    Algorithm, Jwt, KeyField, NormalizeMapping, NormalizeWord, QueryOrder, QueryPreset, QuerySection,
};
use super::super::read::{Either, Given, OneOrMany, Optional, OptionalExt, Required, Text, Word};
use super::super::scalars::Number;
use super::{exactly_one, flag, items};
use crate::keys::{
    Field, JwtSource, JwtTrust, JwtTrustError, Normalizer, QuerySelection, Source, digest_hex,
};
use http::header::AUTHORIZATION;
use std::path::Path;
use std::sync::Arc;

/// The field; `None` once its problems have been told. Relative paths start in `directory`.
pub(super) fn field(
    name: &str,
    name_span: Span,
    section: &KeyField,
    directory: &Path,
    problems: &mut Problems,
) -> Option<Field> {
    let normalize = normalize(section, problems);
    let source = source(name_span, section, directory, problems);
    Some(Field {
        name: name.into(),
        source: source?,
        partition: flag(&section.partition, false),
        hash: flag(&section.hash, false),
        sort: flag(&section.sort, false),
        normalize: normalize?,
    })
}

fn source(name: Span, section: &KeyField, directory: &Path, problems: &mut Problems) -> Option<Source> {
    let members = [
        ("path", section.path.span()),
        ("whole_path", section.whole_path.span()),
        ("query", section.query.span()),
        ("header", section.header.span()),
        ("cookie", section.cookie.span()),
        ("host", section.host.span()),
        ("scheme", section.scheme.span()),
        ("method", section.method.span()),
        ("constant", section.constant.span()),
        ("client", section.client.span()),
        ("jwt", section.jwt.span()),
        ("fingerprint", section.fingerprint.span()),
    ];
    Some(match exactly_one("the source of the field", name, &members, problems)? {
        "path" => path(section.path.value()?, section.path.span()?, problems)?,
        "whole_path" => Source::WholePath,
        "query" => Source::Query(query(section.query.value()?, section.query.span()?, problems)?),
        "header" => Source::Header(section.header.value()?.0.clone()),
        "cookie" => Source::Cookie(nonempty(&section.cookie, "cookie", problems)?),
        "host" => Source::Host,
        "scheme" => Source::Scheme,
        "method" => Source::Method,
        "constant" => Source::Constant((**section.constant.value()?).into()),
        "client" => {
            let client = section.client.value()?;
            let (v4, v6) = (bits(&client.v4, 32, 24, problems), bits(&client.v6, 128, 48, problems));
            Source::ClientPrefix { v4: v4?, v6: v6? }
        }
        "jwt" => Source::Jwt(jwt(section.jwt.value()?, section.jwt.span()?, directory, problems)?),
        _ => {
            let file = &section.fingerprint.value()?.file;
            Source::Fingerprint {
                digest: digest_hex(&read(file.value()?, file.span(), directory, problems)?).into(),
            }
        }
    })
}

fn path(names: &OneOrMany<Text>, span: Span, problems: &mut Problems) -> Option<Source> {
    if names.is_empty() {
        problems.add(span, "no capture is named").help("name one, or write \"*\" for all");
        return None;
    }
    match every(names, "captures", problems)? {
        None => Some(Source::PathAll),
        Some(names) => Some(Source::Path(names)),
    }
}

/// The names, or `Some(None)` for `"*"`, which stands alone.
fn every(names: &OneOrMany<Text>, what: &str, problems: &mut Problems) -> Option<Option<Vec<Arc<str>>>> {
    if let Some((_, span)) = items(names).find(|(name, _)| ***name == *"*") {
        if names.len() > 1 {
            problems.add(span, format!("\"*\" stands for all {what}, so nothing can stand beside it"));
            return None;
        }
        return Some(None);
    }
    if let Some((_, span)) = items(names).find(|(name, _)| name.is_empty()) {
        problems.add(span, "the name is empty");
        return None;
    }
    all(names, |name| (**name).into()).map(Some)
}

/// All items, or nothing if one is wrong.
fn all<T, U>(list: &[Given<T>], item: impl Fn(&T) -> U) -> Option<Vec<U>> {
    list.iter().map(|given| given.value.as_ref().map(&item)).collect()
}

fn query(
    query: &Either<OneOrMany<Text>, QuerySection>,
    span: Span,
    problems: &mut Problems,
) -> Option<QuerySelection> {
    let section = match query {
        Either::First(names) => {
            if names.is_empty() {
                problems.add(span, "no parameter is named").help("name one, or write \"*\" for all");
                return None;
            }
            let only = every(names, "parameters", problems)?;
            return Some(QuerySelection { only, sorted: true, ..QuerySelection::default() });
        }
        Either::Second(section) => section,
    };
    let only = match &section.only {
        None => None,
        Some(given) => every(given.value.as_ref()?, "parameters", problems)?,
    };
    let exclude = match &section.exclude {
        None => Vec::new(),
        Some(given) => all(given.value.as_ref()?, |name| Arc::<str>::from(&**name))?,
    };
    for (name, span) in section.exclude.value().into_iter().flat_map(|names| items(names)) {
        if name.strip_suffix('*').unwrap_or(name).contains('*') {
            problems.add(span, "a star can only stand at the end of a name");
        }
    }
    Some(QuerySelection {
        only,
        exclude,
        drop_tracking: matches!(section.preset.value(), Some(QueryPreset::Tracking)),
        sorted: section.order.value_or(QueryOrder::Sorted) == QueryOrder::Sorted,
    })
}

fn nonempty(text: &Optional<Text>, what: &str, problems: &mut Problems) -> Option<Arc<str>> {
    let Given { span, value, .. } = text.as_ref()?;
    let text = value.as_ref()?;
    if text.is_empty() {
        problems.add(*span, format!("the name of the {what} is empty"));
        return None;
    }
    Some((**text).into())
}

fn bits(given: &Optional<Word<Number>>, most: u8, default: u8, problems: &mut Problems) -> Option<u8> {
    let Some(Given { span, value, .. }) = given else { return Some(default) };
    match u8::try_from(value.as_ref()?.0.0) {
        Ok(bits) if bits <= most => Some(bits),
        _ => {
            problems.add(*span, format!("an address of this kind has {most} bits"));
            None
        }
    }
}

/// A file's bytes.
fn read(file: &Text, span: Span, directory: &Path, problems: &mut Problems) -> Option<Vec<u8>> {
    match std::fs::read(directory.join(&**file)) {
        Ok(bytes) => Some(bytes),
        Err(error) => {
            problems.add(span, format!("cannot read {}: {error}", file.shown()));
            None
        }
    }
}

fn jwt(section: &Jwt, span: Span, directory: &Path, problems: &mut Problems) -> Option<JwtSource> {
    let trust = trust(section, span, directory, problems);
    let header = match (&section.header, &section.cookie) {
        (Some(given), _) => Some(given.value.as_ref()?.0.clone()),
        (None, None) => Some(AUTHORIZATION),
        (None, Some(_)) => None,
    };
    let cookie = match &section.cookie {
        None => None,
        Some(_) => Some(nonempty(&section.cookie, "cookie", problems)?),
    };
    let claim = claim(&section.claim, problems)?;
    Some(JwtSource { header, cookie, claim, trust: trust? })
}

fn claim(claim: &Required<Text>, problems: &mut Problems) -> Option<Arc<str>> {
    let text = claim.value()?;
    if text.is_empty() {
        problems.add(claim.span(), "the name of the claim is empty");
        return None;
    }
    Some((**text).into())
}

fn trust(section: &Jwt, span: Span, directory: &Path, problems: &mut Problems) -> Option<JwtTrust> {
    let members = [
        ("verified_in_front", section.verified_in_front.span()),
        ("secret", section.secret.span()),
        ("public_key_file", section.public_key_file.span()),
    ];
    let why = exactly_one("why the token can be believed", span, &members, problems)?;
    let algorithms = match &section.algorithms {
        None => None,
        Some(given) => Some(all(given.value.as_ref()?, |algorithm| algorithm_of(*algorithm))?),
    };
    let (trust, key_span) = match why {
        "secret" => {
            let algorithms = algorithms.unwrap_or_else(|| vec![jsonwebtoken::Algorithm::HS256]);
            let secret = section.secret.value()?;
            (JwtTrust::hmac(secret.as_bytes(), &algorithms), section.secret.span()?)
        }
        "public_key_file" => {
            let file = section.public_key_file.value()?;
            let file_span = section.public_key_file.span()?;
            let pem = read(file, file_span, directory, problems)?;
            (JwtTrust::pem(&pem, &algorithms.unwrap_or_default()), file_span)
        }
        _ => {
            if let Some(span) = section.algorithms.span() {
                problems
                    .add(span, "nothing is verified here, so no algorithm is needed")
                    .help("leave it out");
            }
            return Some(JwtTrust::VerifiedInFront);
        }
    };
    trust
        .map_err(|error| {
            let span = match error {
                JwtTrustError::NoAlgorithm | JwtTrustError::WrongAlgorithm(_) => {
                    section.algorithms.span().unwrap_or(key_span)
                }
                JwtTrustError::EmptySecret | JwtTrustError::NotPublic | JwtTrustError::Malformed(_) => {
                    key_span
                }
            };
            problems.add(span, error.to_string());
        })
        .ok()
}

pub(super) fn algorithm_of(algorithm: Algorithm) -> jsonwebtoken::Algorithm {
    match algorithm {
        Algorithm::Hs256 => jsonwebtoken::Algorithm::HS256,
        Algorithm::Hs384 => jsonwebtoken::Algorithm::HS384,
        Algorithm::Hs512 => jsonwebtoken::Algorithm::HS512,
        Algorithm::Rs256 => jsonwebtoken::Algorithm::RS256,
        Algorithm::Rs384 => jsonwebtoken::Algorithm::RS384,
        Algorithm::Rs512 => jsonwebtoken::Algorithm::RS512,
        Algorithm::Ps256 => jsonwebtoken::Algorithm::PS256,
        Algorithm::Ps384 => jsonwebtoken::Algorithm::PS384,
        Algorithm::Ps512 => jsonwebtoken::Algorithm::PS512,
        Algorithm::Es256 => jsonwebtoken::Algorithm::ES256,
        Algorithm::Es384 => jsonwebtoken::Algorithm::ES384,
        Algorithm::EdDsa => jsonwebtoken::Algorithm::EdDSA,
    }
}

fn normalize(section: &KeyField, problems: &mut Problems) -> Option<Vec<Normalizer>> {
    let Some(given) = &section.normalize else { return Some(Vec::new()) };
    let steps: Vec<Option<Normalizer>> = given
        .value
        .as_ref()?
        .iter()
        .map(|step| match step.value.as_ref()? {
            Either::First(NormalizeWord::Lower) => Some(Normalizer::Lower),
            Either::First(NormalizeWord::Trim) => Some(Normalizer::Trim),
            Either::First(NormalizeWord::Int) => Some(Normalizer::Int),
            Either::First(NormalizeWord::Bool) => Some(Normalizer::Bool),
            Either::Second(mapping) => step_with_settings(mapping, step.span, problems),
        })
        .collect();
    steps.into_iter().collect()
}

fn step_with_settings(step: &NormalizeMapping, span: Span, problems: &mut Problems) -> Option<Normalizer> {
    let members = [
        ("language", step.language.span()),
        ("encoding", step.encoding.span()),
        ("capture", step.capture.span()),
        ("map", step.map.span()),
    ];
    Some(match exactly_one("what the step does", span, &members, problems)? {
        "language" => Normalizer::Language(offers(&step.language, "language", problems)?),
        "encoding" => Normalizer::Encoding(offers(&step.encoding, "content coding", problems)?),
        "capture" => Normalizer::Capture(step.capture.value()?.0.clone()),
        _ => {
            let map = step.map.value()?;
            let pairs = map
                .entries
                .value()?
                .iter()
                .map(|entry| Some((entry.name.clone(), entry.value.as_ref()?.to_string())));
            let otherwise = match &map.otherwise {
                None => None,
                Some(given) => Some(given.value.as_ref()?.to_string()),
            };
            Normalizer::Map { entries: pairs.collect::<Option<_>>()?, otherwise }
        }
    })
}

fn offers(list: &Optional<OneOrMany<Text>>, what: &str, problems: &mut Problems) -> Option<Vec<Arc<str>>> {
    let Given { span, value, .. } = list.as_ref()?;
    let list = value.as_ref()?;
    if list.is_empty() {
        problems.add(*span, format!("no {what} is given"));
        return None;
    }
    all(list, |offer| (**offer).into())
}
