//! Scalars: those with a syntax of their own, plain text, and values of any kind.

use super::super::diagnostics::{Problems, Span, quote};
use super::super::tree::{Node, Scalar, Value};
use super::{LIST, MAPPING, Read, SCALAR, tell_unexpected};
use schemars::{Schema, json_schema};
use std::ops::Deref;

/// A scalar with a syntax of its own.
pub(in crate::config) trait Parse: Sized {
    /// What it is, for people: `a duration such as 5m`.
    const EXPECTED: &'static str;
    /// Whether quotes around it are a mistake.
    const NEVER_QUOTED: bool = false;

    /// # Errors
    ///
    /// What is wrong with the text.
    fn parse(text: &str) -> Result<Self, Refusal>;

    fn schema() -> Schema {
        json_schema!({ "type": "string" })
    }
}

/// Why a scalar was refused.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::config) struct Refusal {
    /// The byte in the text at which it goes wrong, where one can be named.
    pub(in crate::config) at: Option<usize>,
    pub(in crate::config) message: String,
    pub(in crate::config) help: Option<String>,
}

impl Refusal {
    pub(in crate::config) fn new(message: impl Into<String>) -> Self {
        Self { at: None, message: message.into(), help: None }
    }
    pub(in crate::config) fn at(mut self, at: usize) -> Self {
        self.at = Some(at);
        self
    }
    pub(in crate::config) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// A scalar that has been parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::config) struct Word<T>(pub(in crate::config) T);

impl<T> Deref for Word<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: Parse> Read for Word<T> {
    const SHAPES: u8 = SCALAR;

    fn expected() -> String {
        T::EXPECTED.into()
    }

    fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        let Value::Scalar(scalar) = &node.value else {
            tell_unexpected::<Self>(node, problems);
            return None;
        };
        if T::NEVER_QUOTED && !scalar.plain && !scalar.filled {
            let found = quote(&scalar.written);
            problems
                .add(node.span, format!("expected {}, found the text {found}", T::EXPECTED))
                .help("leave out the quotes");
            return None;
        }
        match T::parse(&scalar.text) {
            Ok(value) => Some(Self(value)),
            Err(refusal) => {
                tell_refused(scalar, node.span, T::EXPECTED, refusal, problems);
                None
            }
        }
    }
}

/// Tells why a scalar was refused. Where a variable was filled in, the reason might quote its value.
pub(in crate::config) fn tell_refused(
    scalar: &Scalar,
    span: Span,
    expected: &str,
    refusal: Refusal,
    problems: &mut Problems,
) {
    if scalar.filled {
        problems
            .add(span, format!("with its variables filled in, {} is not {expected}", quote(&scalar.written)));
        return;
    }
    let span = match (refusal.at, scalar.verbatim_at) {
        (Some(at), Some(start)) => {
            let length =
                scalar.written.get(at..).and_then(|rest| rest.chars().next()).map_or(0, char::len_utf8);
            Span { start: start + at, end: start + at + length }
        }
        _ => span,
    };
    let problem = problems.add(span, refusal.message);
    if let Some(help) = refusal.help {
        problem.help(help);
    }
}

/// Text of any kind; numbers and the like are taken as they are written.
#[derive(Clone, Debug)]
pub(in crate::config) struct Text {
    text: String,
    written: String,
    filled: bool,
}

impl Text {
    /// The text as it may be shown: as written, with `${VAR}`.
    pub(in crate::config) fn shown(&self) -> String {
        quote(&self.written)
    }
    /// Whether variables were filled in, so that nothing may be told about the text.
    pub(in crate::config) fn filled(&self) -> bool {
        self.filled
    }
}

impl Deref for Text {
    type Target = str;
    fn deref(&self) -> &str {
        &self.text
    }
}

impl Read for Text {
    const SHAPES: u8 = SCALAR;

    fn expected() -> String {
        "text".into()
    }

    fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        let Value::Scalar(Scalar { text, written, filled, .. }) = &node.value else {
            tell_unexpected::<Self>(node, problems);
            return None;
        };
        Some(Self { text: text.clone(), written: written.clone(), filled: *filled })
    }
}

/// Any value, as JSON has it.
#[derive(Debug)]
pub(in crate::config) struct Any {
    pub(in crate::config) json: serde_json::Value,
    /// Whether variables were filled in, so that nothing may be told about the value.
    pub(in crate::config) filled: bool,
}

impl Read for Any {
    const SHAPES: u8 = SCALAR | LIST | MAPPING;

    fn expected() -> String {
        "a value".into()
    }

    fn read(node: &Node, _: &mut Problems) -> Option<Self> {
        Some(Self { json: to_json(node)?, filled: is_filled(node) })
    }
}

/// The node by YAML's core schema; `None` if anything in it is broken.
fn to_json(node: &Node) -> Option<serde_json::Value> {
    use serde_json::Value as Json;
    Some(match &node.value {
        Value::Broken => return None,
        Value::Null => Json::Null,
        Value::List(items) => Json::Array(items.iter().map(|item| to_json(item)).collect::<Option<_>>()?),
        Value::Mapping(entries) => Json::Object(
            entries
                .iter()
                .map(|entry| Some((entry.key.clone(), to_json(&entry.value)?)))
                .collect::<Option<_>>()?,
        ),
        Value::Scalar(Scalar { text, plain: true, .. }) => match text.as_str() {
            "true" => Json::Bool(true),
            "false" => Json::Bool(false),
            text => match (text.parse::<i64>(), text.parse::<u64>(), text.parse::<f64>()) {
                (Ok(number), ..) => Json::from(number),
                (_, Ok(number), _) => Json::from(number),
                (.., Ok(number)) if text.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c)) => {
                    Json::from(number)
                }
                _ => Json::String(text.to_owned()),
            },
        },
        Value::Scalar(scalar) => Json::String(scalar.text.clone()),
    })
}

fn is_filled(node: &Node) -> bool {
    match &node.value {
        Value::Scalar(scalar) => scalar.filled,
        Value::List(items) => items.iter().any(|item| is_filled(item)),
        Value::Mapping(entries) => entries.iter().any(|entry| is_filled(&entry.value)),
        Value::Null | Value::Broken => false,
    }
}
