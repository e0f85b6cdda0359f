//! What is known of senders of webhooks, and what a file says otherwise.

use super::super::diagnostics::{Problems, Span};
use super::super::file::{
    self, AlgorithmWord, EncodingWord, EventSection, KeyFormatWord, PresetSection, SchemeWord, TimeUnit,
    VerifySection,
};
use super::super::read::{Entries, Given, OneOrMany, Optional, OptionalExt, Read, Text, Word};
use super::super::tree;
use super::field::algorithm_of;
use super::{duration, entries, flag, items, tell_unknown};
use crate::selector::Selector;
use crate::webhooks::{
    self, Algorithm, Demand, Encoding, EventMapping, JwtDemands, KeyFormat, KindMapping, PRESETS, Proof,
    Scheme, Signed, SignedAt, Source, Verify,
};
use std::time::Duration;

/// How far the signed time may be from now, unless somebody says.
const TOLERANCE: Duration = Duration::from_secs(5 * 60);

/// All of them. What is wrong with them is told.
pub(super) fn all(problems: &mut Problems) -> Option<Entries<PresetSection>> {
    let root = tree::parse(PRESETS, &|_| None, problems)?;
    Entries::read(&root, problems)
}

/// The one that is named. `None`: none is, or there is no such one, which has been told.
pub(super) fn find<'p>(
    known: &'p Entries<PresetSection>,
    name: &Optional<Text>,
    problems: &mut Problems,
) -> Option<&'p PresetSection> {
    let Some(Given { span, value: Some(name), .. }) = name else { return None };
    let found = known.iter().find(|preset| preset.name == **name);
    if found.is_none() {
        let names = known.iter().map(|preset| preset.name.as_str());
        tell_unknown("preset", name, *span, names, problems);
    }
    found?.value.as_ref()
}

/// How its deliveries are verified. `None`: something is wrong, which has been told.
pub(super) fn verify(
    section: &file::Webhook,
    name: Span,
    preset: Option<&PresetSection>,
    problems: &mut Problems,
) -> Option<Verify> {
    let nothing = VerifySection::default();
    let own = section.verify.value().unwrap_or(&nothing);
    let known = preset.and_then(|preset| preset.verify.value()).unwrap_or(&nothing);
    if section.preset.is_some() && preset.is_none() {
        return None;
    }
    if section.preset.is_none() && section.verify.is_none() {
        problems
            .add(name, "it is not said how its deliveries are verified")
            .help("give the `preset` of its sender, such as `standard-webhooks`, or `verify`");
        return None;
    }
    let allow_from = section.allow_from.value().map(|list| &**list).unwrap_or_default();
    let allow_from: Vec<_> = items(allow_from).map(|(network, _)| **network).collect();
    let scheme = own.scheme.value().or(known.scheme.value()).copied().unwrap_or(SchemeWord::Hmac);
    let span = section.verify.span().unwrap_or(name);
    let scheme = match scheme {
        SchemeWord::None if allow_from.is_empty() => {
            problems
                .add(own.scheme.span().unwrap_or(span), "anybody could send it")
                .help("say in `allow_from` from which addresses it comes, or take another scheme");
            return None;
        }
        SchemeWord::None => Scheme::None,
        SchemeWord::Basic => Scheme::Basic,
        SchemeWord::Rsa => Scheme::Rsa {
            algorithms: rsa_algorithms(own),
            proof: proof(own, known, span, problems)?,
            signed: signed(own, known)?,
        },
        SchemeWord::Jwt => {
            Scheme::Jwt { proof: proof(own, known, span, problems)?, demands: jwt_demands(own, known) }
        }
        SchemeWord::Token => Scheme::Token { proof: proof(own, known, span, problems)? },
        SchemeWord::Hmac => Scheme::Hmac {
            algorithm: algorithm(own, known, span, problems)?,
            key: key(own, known),
            proof: proof(own, known, span, problems)?,
            signed: signed(own, known)?,
        },
        SchemeWord::Ed25519 => Scheme::Ed25519 {
            key: key(own, known),
            proof: proof(own, known, span, problems)?,
            signed: signed(own, known)?,
        },
    };
    let known_tolerance = preset.map_or(TOLERANCE, |preset| duration(&preset.tolerance, TOLERANCE));
    let timestamp = own.timestamp.value().or(known.timestamp.value()).and_then(|timestamp| {
        Some(SignedAt {
            from: timestamp.from.value()?.0.clone(),
            unit: match timestamp.unit.value_or(TimeUnit::Seconds) {
                TimeUnit::Seconds => webhooks::TimeUnit::Seconds,
                TimeUnit::Millis => webhooks::TimeUnit::Millis,
                TimeUnit::Iso8601 => webhooks::TimeUnit::Iso8601,
            },
            tolerance: duration(&section.tolerance, known_tolerance),
        })
    });
    let must = must(own, problems);
    check_topic(&scheme, own, span, problems);
    Some(Verify { scheme, allow_from, timestamp, must })
}

fn must(own: &VerifySection, problems: &mut Problems) -> Vec<Demand> {
    let mut demands = Vec::new();
    for (entry, values) in entries(&own.must) {
        let at = Selector::parse(&entry.name).map_err(|error| {
            problems.add(entry.name_span, error.message);
        });
        if values.is_empty() {
            problems.add(entry.span, "no value is given, so none will do").help("give one, or a list");
        }
        let values = items(values).map(|(value, _)| value.to_string()).collect();
        demands.extend(at.map(|at| Demand { at, values }));
    }
    demands
}

/// SNS signs for everybody who has an account.
fn check_topic(scheme: &Scheme, own: &VerifySection, span: Span, problems: &mut Problems) {
    if !matches!(scheme, Scheme::Rsa { signed: Signed::AwsSns, .. }) {
        return;
    }
    let is_said = entries(&own.must).any(|(entry, _)| TOPIC.contains(&&*entry.name));
    if !is_said {
        problems
            .add(
                span,
                "anybody with an AWS account can have SNS sign, and it is not said whose topic is believed",
            )
            .help("write `verify: { must: { $.TopicArn: \"arn:aws:sns:REGION:ACCOUNT:TOPIC\" } }`");
    }
}

/// Where a delivery of SNS says its topic.
const TOPIC: [&str; 3] = ["$.TopicArn", "$['TopicArn']", "$[\"TopicArn\"]"];

fn algorithm(
    own: &VerifySection,
    known: &VerifySection,
    span: Span,
    problems: &mut Problems,
) -> Option<Algorithm> {
    match own.algorithm.value().or(known.algorithm.value()).copied().unwrap_or(AlgorithmWord::Sha256) {
        AlgorithmWord::Sha256 => Some(Algorithm::Sha256),
        AlgorithmWord::Sha1 if flag(&own.allow_weak, false) => Some(Algorithm::Sha1),
        AlgorithmWord::Sha1 => {
            problems
                .add(own.algorithm.span().unwrap_or(span), "its deliveries are signed by SHA-1")
                .help("if the sender has nothing better, write `verify: { allow_weak: true }`");
            None
        }
    }
}

/// SHA-256, and the weaker one where that is allowed: senders say in the delivery which it is.
fn rsa_algorithms(own: &VerifySection) -> Vec<Algorithm> {
    let weaker = flag(&own.allow_weak, false).then_some(Algorithm::Sha1);
    std::iter::once(Algorithm::Sha256).chain(weaker).collect()
}

fn jwt_demands(own: &VerifySection, known: &VerifySection) -> JwtDemands {
    let texts = |own: &Optional<OneOrMany<Text>>, known: &Optional<OneOrMany<Text>>| {
        let given = own.value().or(known.value()).map(|list| &**list).unwrap_or_default();
        items(given).map(|(text, _)| text.to_string()).collect()
    };
    let algorithms =
        own.algorithms.value().or(known.algorithms.value()).map(|list| &**list).unwrap_or_default();
    JwtDemands {
        algorithms: items(algorithms).map(|(algorithm, _)| algorithm_of(*algorithm)).collect(),
        audiences: texts(&own.audience, &known.audience),
        issuers: texts(&own.issuer, &known.issuer),
    }
}

fn key(own: &VerifySection, known: &VerifySection) -> KeyFormat {
    match own.key.value().or(known.key.value()).copied().unwrap_or(KeyFormatWord::Utf8) {
        KeyFormatWord::Utf8 => KeyFormat::Utf8,
        KeyFormatWord::Base64 => KeyFormat::Base64,
        KeyFormatWord::Hex => KeyFormat::Hex,
        KeyFormatWord::Whsec => KeyFormat::Whsec,
    }
}

fn proof(own: &VerifySection, known: &VerifySection, span: Span, problems: &mut Problems) -> Option<Proof> {
    let text = |own: &Optional<Text>, known: &Optional<Text>| -> Option<Box<str>> {
        own.value().or(known.value()).map(|text| Box::from(&**text))
    };
    let Some(from) = own.from.value().or(known.from.value()) else {
        if own.from.is_none() {
            problems.add(span, "it is not said where the proof is").help("write `from: header.x-signature`");
        }
        return None;
    };
    Some(Proof {
        from: from.0.clone(),
        separator: text(&own.separator, &known.separator).filter(|text| !text.is_empty()),
        prefix: text(&own.prefix, &known.prefix).unwrap_or_default(),
        encoding: match own.encoding.value().or(known.encoding.value()).copied().unwrap_or(EncodingWord::Hex)
        {
            EncodingWord::Hex => Encoding::Hex,
            EncodingWord::Base64 => Encoding::Base64,
            EncodingWord::Base64Url => Encoding::Base64Url,
        },
    })
}

/// `None`: it is wrong, which has been told.
fn signed(own: &VerifySection, known: &VerifySection) -> Option<Signed> {
    match (&own.signed, known.signed.value()) {
        (Some(own), _) => own.value.as_ref().map(|signed| signed.0.clone()),
        (None, Some(known)) => Some(known.0.clone()),
        (None, None) => Signed::parse("{body}").ok(),
    }
}

type Sources = Optional<OneOrMany<Word<Source>>>;

/// Those of the file, or those of the preset.
pub(super) fn sources(own: &Sources, known: Option<&Sources>) -> Vec<Source> {
    let given = own.value().or(known.and_then(OptionalExt::value)).map(|list| &**list).unwrap_or_default();
    items(given).map(|(source, _)| source.0.clone()).collect()
}

/// Where the parts of its events are.
pub(super) fn event(own: &Optional<EventSection>, known: Option<&EventSection>) -> EventMapping {
    let nothing = EventSection::default();
    let (own, known) = (own.value().unwrap_or(&nothing), known.unwrap_or(&nothing));
    type Selectors = Optional<OneOrMany<Word<Selector>>>;
    let selectors = |own: &Selectors, known: &Selectors| {
        let given = own.value().or(known.value()).map(|list| &**list).unwrap_or_default();
        items(given).map(|(selector, _)| selector.0.clone()).collect()
    };
    let words = |given: &Optional<OneOrMany<Text>>| {
        let given = given.value().map(|list| &**list).unwrap_or_default();
        items(given).map(|(word, _)| word.to_string()).collect()
    };
    let mut name = sources(&own.name, Some(&known.name));
    if own.name.is_none() && known.name.is_none() {
        name.extend(Source::parse("$.type"));
    }
    EventMapping {
        inside: own.inside.value().or(known.inside.value()).map(|inside| inside.0.clone()),
        each: own.each.value().or(known.each.value()).map(|each| each.0.clone()),
        name,
        joins_names: own.join_names.value().or(known.join_names.value()).is_none_or(|joins| joins.0),
        before: selectors(&own.before, &known.before),
        after: selectors(&own.after, &known.after),
        changed: selectors(&own.changed, &known.changed),
        kind: own.kind.value().or(known.kind.value()).and_then(|kind| {
            Some(KindMapping {
                from: items(kind.from.value()?).map(|(source, _)| source.0.clone()).collect(),
                create: words(&kind.create),
                update: words(&kind.update),
                delete: words(&kind.delete),
            })
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_presets_are_right() {
        let mut problems = Problems::default();
        let presets = all(&mut problems).unwrap();
        assert!(problems.is_empty(), "{problems:?}");
        assert!(presets.iter().count() > 20);
    }
}
