//! Steps that make equivalent values equal.

use super::negotiation;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

/// One step of a `normalize:` pipeline. A step that fails keeps the value; where there is no value, only the steps
/// that know a default supply one.
#[derive(Clone, Debug)]
pub enum Normalizer {
    /// Lower case.
    Lower,
    /// Without white space around it.
    Trim,
    /// An integer in its canonical form: `+007` becomes `7`.
    Int,
    /// `true` for true, t, yes, y, on, 1; `false` for false, f, no, n, off, 0; in either case.
    Bool,
    /// The best of these languages by the request's q-values (RFC 9110 §12.5.4); the first if none fits.
    Language(Vec<Arc<str>>),
    /// The first of these content codings that the request accepts (RFC 9110 §12.5.3); `identity` if none.
    Encoding(Vec<Arc<str>>),
    /// The first capture group, or the whole match; no match keeps the value.
    Capture(regex::Regex),
    /// The entry for the value.
    Map {
        /// From value to value.
        entries: BTreeMap<String, String>,
        /// For values without an entry, and where there is no value; `None` keeps them.
        otherwise: Option<String>,
    },
}

/// Takes a value through all steps. What is not UTF-8 no step understands, so it stays as it is.
pub(super) fn normalize<'a>(steps: &'a [Normalizer], value: Option<Cow<'a, [u8]>>) -> Option<Cow<'a, [u8]>> {
    let text = match value {
        None => None,
        Some(Cow::Borrowed(bytes)) => match str::from_utf8(bytes) {
            Ok(text) => Some(Cow::Borrowed(text)),
            Err(_) => return Some(Cow::Borrowed(bytes)),
        },
        Some(Cow::Owned(bytes)) => match String::from_utf8(bytes) {
            Ok(text) => Some(Cow::Owned(text)),
            Err(error) => return Some(Cow::Owned(error.into_bytes())),
        },
    };
    match steps.iter().fold(text, |text, step| step.apply(text))? {
        Cow::Borrowed(text) => Some(Cow::Borrowed(text.as_bytes())),
        Cow::Owned(text) => Some(Cow::Owned(text.into_bytes())),
    }
}

impl Normalizer {
    fn apply<'a>(&'a self, value: Option<Cow<'a, str>>) -> Option<Cow<'a, str>> {
        let has_default = match self {
            Self::Language(_) | Self::Encoding(_) => true,
            Self::Map { otherwise, .. } => otherwise.is_some(),
            Self::Lower | Self::Trim | Self::Int | Self::Bool | Self::Capture(_) => false,
        };
        let value = match value {
            None if !has_default => return None,
            value => value.unwrap_or_default(),
        };
        let changed = match self {
            Self::Lower => {
                value.contains(|c: char| c.is_uppercase()).then(|| Cow::Owned(value.to_lowercase()))
            }
            Self::Trim => trim(&value),
            Self::Int => canonical_integer(&value).map(Cow::Owned),
            Self::Bool => boolean(&value).map(Cow::Borrowed),
            Self::Language(offers) => negotiation::language(offers, &value).map(Cow::Borrowed),
            Self::Encoding(offers) => Some(Cow::Borrowed(negotiation::encoding(offers, &value))),
            Self::Capture(regex) => regex.captures(&value).and_then(|groups| {
                let found = groups.get(1).or_else(|| groups.get(0))?;
                Some(Cow::Owned(found.as_str().to_owned()))
            }),
            Self::Map { entries, otherwise } => {
                entries.get(&*value).or(otherwise.as_ref()).map(|text| Cow::Borrowed(&**text))
            }
        };
        Some(changed.unwrap_or(value))
    }
}

/// `None` if nothing changes.
fn trim(value: &str) -> Option<Cow<'static, str>> {
    let trimmed = value.trim();
    (trimmed.len() < value.len()).then(|| Cow::Owned(trimmed.to_owned()))
}

/// Of any length: an identifier may be longer than the machine's integers.
fn canonical_integer(value: &str) -> Option<String> {
    let value = value.trim();
    let (negative, digits) = match value.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, value.strip_prefix('+').unwrap_or(value)),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let digits = digits.trim_start_matches('0');
    Some(match (negative, digits) {
        (_, "") => "0".to_owned(),
        (true, digits) => format!("-{digits}"),
        (false, digits) => digits.to_owned(),
    })
}

fn boolean(value: &str) -> Option<&'static str> {
    match value.trim().to_ascii_lowercase().as_str() {
        "true" | "t" | "yes" | "y" | "on" | "1" => Some("true"),
        "false" | "f" | "no" | "n" | "off" | "0" => Some("false"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(steps: &[Normalizer], value: Option<&str>, expected: Option<&str>) {
        let value = value.map(|text| Cow::Borrowed(text.as_bytes()));
        let normalized = normalize(steps, value.clone());
        assert_eq!(normalized.as_deref(), expected.map(str::as_bytes), "{value:?}");
    }

    fn map(otherwise: Option<&str>) -> Normalizer {
        let entries = [("a", "1"), ("", "none")].map(|(from, to)| (from.to_owned(), to.to_owned()));
        Normalizer::Map { entries: entries.into(), otherwise: otherwise.map(str::to_owned) }
    }

    fn capture(regex: &str) -> Normalizer {
        Normalizer::Capture(regex::Regex::new(regex).unwrap())
    }

    #[test]
    fn each_step_does_what_it_says_and_keeps_what_it_cannot_read() {
        use Normalizer::{Bool, Int, Lower, Trim};
        for (step, value, expected) in [
            (Lower, "ABcÉ", "abcé"),
            (Lower, "abc", "abc"),
            (Trim, " \ta b ", "a b"),
            (Int, "007", "7"),
            (Int, "+1", "1"),
            (Int, "-0", "0"),
            (Int, " -010 ", "-10"),
            (Int, "00123456789012345678901234567890", "123456789012345678901234567890"),
            (Int, "1.0", "1.0"),
            (Int, "", ""),
            (Int, "-", "-"),
            (Int, "٣", "٣"),
            (Bool, "YES", "true"),
            (Bool, "1", "true"),
            (Bool, "off", "false"),
            (Bool, "maybe", "maybe"),
            (capture("^v([0-9]+)"), "v12.3", "12"),
            (capture("[0-9]+"), "v12.3", "12"),
            (capture("x|(y)"), "axb", "x"),
            (capture("z"), "abc", "abc"),
            (map(None), "a", "1"),
            (map(None), "b", "b"),
            (map(Some("other")), "b", "other"),
        ] {
            check(std::slice::from_ref(&step), Some(value), Some(expected));
        }
    }

    #[test]
    fn steps_run_one_after_the_other() {
        let steps = [Normalizer::Trim, Normalizer::Lower, map(Some("other"))];
        check(&steps, Some(" A "), Some("1"));
        check(&steps, Some("b"), Some("other"));
    }

    #[test]
    fn only_steps_with_a_default_supply_a_missing_value() {
        let languages = Normalizer::Language(vec!["en".into(), "fr".into()]);
        check(&[languages], None, Some("en"));
        check(&[Normalizer::Encoding(vec!["br".into()])], None, Some("identity"));
        check(&[map(Some("other"))], None, Some("none"));
        check(&[map(None)], None, None);
        check(&[Normalizer::Lower, Normalizer::Trim, Normalizer::Int, Normalizer::Bool], None, None);
        check(&[capture(".*")], None, None);
    }

    #[test]
    fn bytes_that_are_not_text_are_kept() {
        let value: Cow<'_, [u8]> = Cow::Borrowed(b"A\xff");
        assert_eq!(normalize(&[Normalizer::Lower], Some(value.clone())), Some(value));
    }
}
