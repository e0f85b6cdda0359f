//! How the file types are read from the tree.
//!
//! Every value is read for itself: one that is wrong is told and remembered as given, and the reading goes on.
//! That is how all problems come out in one pass, and why a mistyped value is not called missing as well.
//!
//! A [`section!`] is a mapping with known keys, a [`choice!`] one of a few words. Both also say what they take
//! to [`schemars`], so the JSON Schema cannot differ from what is read.

use super::diagnostics::{Problems, Span, closest, quote};
use super::tree::{Entry, Node, Scalar, Value};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use std::borrow::Cow;
use std::ops::Deref;

/// A type that can be read from a node.
pub(super) trait Read: Sized {
    /// The forms it can have.
    const SHAPES: u8;

    /// What it is, for people: `a duration such as 5m`.
    fn expected() -> String;

    /// The value, or `None` once the problem has been told.
    fn read(node: &Node, problems: &mut Problems) -> Option<Self>;
}

pub(super) const SCALAR: u8 = 1;
pub(super) const LIST: u8 = 2;
pub(super) const MAPPING: u8 = 4;

/// Tells that something else was expected.
pub(super) fn tell_unexpected<T: Read>(node: &Node, problems: &mut Problems) {
    let found = match &node.value {
        Value::Broken => return,
        Value::Null => "nothing".into(),
        Value::List(_) => "a list".into(),
        Value::Mapping(_) => "a mapping".into(),
        Value::Scalar(scalar) if scalar.plain => quote(&scalar.written),
        Value::Scalar(scalar) => format!("the text {}", quote(&scalar.written)),
    };
    problems.add(node.span, format!("expected {}, found {found}", T::expected()));
}

/// A value that stands in the file, right or wrong, and where.
#[derive(Debug)]
pub(super) struct Given<T> {
    pub(super) span: Span,
    /// Where the text of a scalar begins, if it stands in the file letter by letter.
    pub(super) text_at: Option<usize>,
    /// `None`: it is wrong, which has been told.
    pub(super) value: Option<T>,
}

impl<T: Read> Given<T> {
    fn read(node: &Node, problems: &mut Problems) -> Self {
        Self { span: node.span, text_at: text_at(node), value: T::read(node, problems) }
    }
}

/// Where a scalar's text begins in the file; `None` if variables were filled in or escapes resolved.
fn text_at(node: &Node) -> Option<usize> {
    match &node.value {
        Value::Scalar(scalar) if !scalar.filled => scalar.verbatim_at,
        _ => None,
    }
}

/// A key that may be left out.
pub(super) type Optional<T> = Option<Given<T>>;

/// What can be asked of a key that may be left out.
pub(super) trait OptionalExt<T> {
    /// The value, if it is there and right.
    fn value(&self) -> Option<&T>;
    /// The value, or the default.
    fn value_or(&self, default: T) -> T
    where
        T: Copy;
    fn span(&self) -> Option<Span>;
}

impl<T> OptionalExt<T> for Optional<T> {
    fn value(&self) -> Option<&T> {
        self.as_ref()?.value.as_ref()
    }
    fn value_or(&self, default: T) -> T
    where
        T: Copy,
    {
        self.value().copied().unwrap_or(default)
    }
    fn span(&self) -> Option<Span> {
        Some(self.as_ref()?.span)
    }
}

/// A key that must be given.
#[derive(Debug)]
pub(super) struct Required<T>(Option<Given<T>>);

impl<T> Default for Required<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T> Required<T> {
    /// The value, if it is there and right; if not, that has been told.
    pub(super) fn value(&self) -> Option<&T> {
        self.0.as_ref()?.value.as_ref()
    }
    pub(super) fn span(&self) -> Span {
        self.0.as_ref().map(|given| given.span).unwrap_or_default()
    }
}

/// How a key of a section is read.
pub(super) trait FromKey {
    /// `section` is what to point at if a key is missing; `None` if that has been told in another way.
    fn from_key(key: &str, entry: Option<&Entry>, section: Option<Span>, problems: &mut Problems) -> Self;
}

impl<T: Read> FromKey for Optional<T> {
    /// A key without a value counts as left out, so that everything below it can be commented out.
    fn from_key(_: &str, entry: Option<&Entry>, _: Option<Span>, problems: &mut Problems) -> Self {
        let entry = entry.filter(|entry| !matches!(entry.value.value, Value::Null))?;
        Some(Given::read(&entry.value, problems))
    }
}

impl<T: Read> FromKey for Required<T> {
    fn from_key(key: &str, entry: Option<&Entry>, section: Option<Span>, problems: &mut Problems) -> Self {
        match entry {
            None => {
                if let Some(section) = section {
                    problems
                        .add(section, format!("`{key}` is missing here"))
                        .help(format!("it takes {}", T::expected()));
                }
                Self(None)
            }
            Some(entry) if matches!(entry.value.value, Value::Null) => {
                problems
                    .add(entry.key_span, format!("`{key}` has no value"))
                    .help(format!("it takes {}", T::expected()));
                Self(None)
            }
            Some(entry) => Self(Some(Given::read(&entry.value, problems))),
        }
    }
}

/// The keys of a section while it is read.
pub(super) struct Keys<'n> {
    entries: &'n [Entry],
    section: Span,
    /// What unknown keys were probably meant to be.
    mistyped: Vec<String>,
}

impl<'n> Keys<'n> {
    /// `None` if the node is no mapping; keys that are not `known` are told.
    pub(super) fn of<T: Read>(node: &'n Node, known: &[&str], problems: &mut Problems) -> Option<Self> {
        let entries: &[Entry] = match &node.value {
            Value::Mapping(entries) => entries,
            Value::Null => &[],
            _ => {
                tell_unexpected::<T>(node, problems);
                return None;
            }
        };
        let mut mistyped = Vec::new();
        for entry in entries.iter().filter(|entry| !known.contains(&&*entry.key)) {
            problems
                .add(entry.key_span, format!("unknown key {}", quote(&entry.key)))
                .suggest(&entry.key, known.iter().copied());
            mistyped.extend(closest(&entry.key, known.iter().copied()).map(str::to_owned));
        }
        Some(Self { entries, section: node.span, mistyped })
    }

    pub(super) fn take<F: FromKey>(&self, key: &str, problems: &mut Problems) -> F {
        let entry = self.entries.iter().find(|entry| entry.key == key);
        let told = self.mistyped.iter().any(|meant| meant == key);
        F::from_key(key, entry, (!told).then_some(self.section), problems)
    }
}

/// The key that a struct's field is written as.
pub(super) fn key_of(field: &'static str) -> &'static str {
    field.strip_prefix("r#").unwrap_or(field)
}

/// A mapping with known keys. Each field is `Optional` or `Required`; its documentation is the manual's.
macro_rules! section {
    ($(#[$meta:meta])* struct $name:ident { $( $(#[$field_meta:meta])* $field:ident: $type:ty, )* }) => {
        #[derive(Debug, Default, schemars::JsonSchema)]
        #[schemars(deny_unknown_fields)]
        $(#[$meta])*
        pub(in crate::config) struct $name { $( $(#[$field_meta])* pub(in crate::config) $field: $type, )* }

        impl $crate::config::read::Read for $name {
            const SHAPES: u8 = $crate::config::read::MAPPING;

            fn expected() -> String {
                let keys = [$( $crate::config::read::key_of(stringify!($field)) ),*];
                format!("a mapping with {}", $crate::config::diagnostics::list(&keys, "or"))
            }

            fn read(
                node: &$crate::config::tree::Node,
                problems: &mut $crate::config::diagnostics::Problems,
            ) -> Option<Self> {
                #[allow(unused_imports)]
                use $crate::config::read::{Keys, key_of};
                let _keys = Keys::of::<Self>(node, &[$( key_of(stringify!($field)) ),*], problems)?;
                Some(Self { $( $field: _keys.take(key_of(stringify!($field)), problems), )* })
            }
        }
    };
}
pub(super) use section;

/// One of a few words.
macro_rules! choice {
    ($(#[$meta:meta])* enum $name:ident { $( $(#[doc = $doc:literal])* $variant:ident = $word:literal, )* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(in crate::config) enum $name { $( $(#[doc = $doc])* $variant, )* }

        impl $crate::config::read::Read for $name {
            const SHAPES: u8 = $crate::config::read::SCALAR;

            fn expected() -> String {
                $crate::config::diagnostics::list(&[$( $word ),*], "or")
            }

            fn read(
                node: &$crate::config::tree::Node,
                problems: &mut $crate::config::diagnostics::Problems,
            ) -> Option<Self> {
                match $crate::config::read::word::<Self>(node, &[$( $word ),*], problems)? {
                    $( $word => Some(Self::$variant), )*
                    _ => None,
                }
            }
        }

        impl schemars::JsonSchema for $name {
            fn inline_schema() -> bool { true }
            fn schema_name() -> std::borrow::Cow<'static, str> { stringify!($name).into() }
            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                let words: &[(&str, &[&str])] = &[$( ($word, &[$( $doc ),*]) ),*];
                $crate::config::read::words_schema(words)
            }
        }
    };
}
pub(super) use choice;

/// The one of `words` that the node is.
pub(super) fn word<'n, T: Read>(node: &'n Node, words: &[&str], problems: &mut Problems) -> Option<&'n str> {
    let Value::Scalar(scalar) = &node.value else {
        tell_unexpected::<T>(node, problems);
        return None;
    };
    if words.contains(&scalar.text.as_str()) {
        return Some(&scalar.text);
    }
    let problem =
        problems.add(node.span, format!("expected {}, found {}", T::expected(), quote(&scalar.written)));
    // A suggestion would say something about the variable's value.
    if !scalar.filled
        && let Some(meant) = closest(&scalar.written, words.iter().copied())
    {
        problem.help(format!("did you mean `{meant}`?"));
    }
    None
}

/// The schema of a choice: each word with its documentation.
pub(super) fn words_schema(words: &[(&str, &[&str])]) -> Schema {
    let words = words.iter().map(|(word, doc)| {
        let doc = doc.join("\n");
        json_schema!({ "const": word, "description": doc.trim() })
    });
    any_of(words.chain([variable_schema()]))
}

/// A variable stands for a value of any type.
pub(super) fn variable_schema() -> Schema {
    json_schema!({ "type": "string", "pattern": r"\$\{" })
}

/// Alternatives, without alternatives in them.
fn any_of(schemas: impl IntoIterator<Item = Schema>) -> Schema {
    let mut flat: Vec<serde_json::Value> = Vec::new();
    for schema in schemas {
        match schema.get("anyOf") {
            Some(serde_json::Value::Array(inner)) => flat.extend(inner.iter().cloned()),
            _ => flat.push(schema.to_value()),
        }
    }
    json_schema!({ "anyOf": flat })
}

/// A scalar with a syntax of its own.
pub(super) trait Parse: Sized {
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
pub(super) struct Refusal {
    /// The byte in the text at which it goes wrong, where one can be named.
    pub(super) at: Option<usize>,
    pub(super) message: String,
    pub(super) help: Option<String>,
}

impl Refusal {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self { at: None, message: message.into(), help: None }
    }
    pub(super) fn at(mut self, at: usize) -> Self {
        self.at = Some(at);
        self
    }
    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// A scalar that has been parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Word<T>(pub(super) T);

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
pub(super) fn tell_refused(
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
pub(super) struct Text {
    text: String,
    written: String,
    filled: bool,
}

impl Text {
    /// The text as it may be shown: as written, with `${VAR}`.
    pub(super) fn shown(&self) -> String {
        quote(&self.written)
    }
    /// Whether variables were filled in, so that nothing may be told about the text.
    pub(super) fn filled(&self) -> bool {
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
pub(super) struct Any {
    pub(super) json: serde_json::Value,
    /// Whether variables were filled in, so that nothing may be told about the value.
    pub(super) filled: bool,
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

/// A list; each item is read for itself.
#[derive(Debug)]
pub(super) struct List<T>(Vec<Given<T>>);

impl<T> Deref for List<T> {
    type Target = [Given<T>];
    fn deref(&self) -> &[Given<T>] {
        &self.0
    }
}

impl<T: Read> Read for List<T> {
    const SHAPES: u8 = LIST;

    fn expected() -> String {
        format!("a list, each item {}", T::expected())
    }

    fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        let Value::List(items) = &node.value else {
            tell_unexpected::<Self>(node, problems);
            return None;
        };
        Some(Self(items.iter().map(|item| Given::read(item, problems)).collect()))
    }
}

/// One value, or a list of them.
#[derive(Debug)]
pub(super) struct OneOrMany<T>(Vec<Given<T>>);

impl<T> Deref for OneOrMany<T> {
    type Target = [Given<T>];
    fn deref(&self) -> &[Given<T>] {
        &self.0
    }
}

impl<T: Read> Read for OneOrMany<T> {
    const SHAPES: u8 = LIST | T::SHAPES;

    fn expected() -> String {
        format!("{}, or a list of such", T::expected())
    }

    fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        match &node.value {
            Value::List(_) => List::read(node, problems).map(|List(items)| Self(items)),
            _ if shape(node) & T::SHAPES == 0 => {
                tell_unexpected::<Self>(node, problems);
                None
            }
            _ => {
                let one = Given::read(node, problems);
                one.value.is_some().then(|| Self(vec![one]))
            }
        }
    }
}

/// A mapping with names that the file chooses.
#[derive(Debug)]
pub(super) struct Entries<T>(Vec<Named<T>>);

/// One entry of such a mapping.
#[derive(Debug)]
pub(super) struct Named<T> {
    pub(super) name: String,
    pub(super) name_span: Span,
    /// Of the value.
    pub(super) span: Span,
    /// Where the text of the value begins, if it is a scalar that stands in the file letter by letter.
    pub(super) text_at: Option<usize>,
    pub(super) value: Option<T>,
}

impl<T> Deref for Entries<T> {
    type Target = [Named<T>];
    fn deref(&self) -> &[Named<T>] {
        &self.0
    }
}

impl<T: Read> Read for Entries<T> {
    const SHAPES: u8 = MAPPING;

    fn expected() -> String {
        "a mapping of names".into()
    }

    fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        let entries: &[Entry] = match &node.value {
            Value::Mapping(entries) => entries,
            Value::Null => &[],
            _ => {
                tell_unexpected::<Self>(node, problems);
                return None;
            }
        };
        let read = |entry: &Entry| Named {
            name: entry.key.clone(),
            name_span: entry.key_span,
            span: entry.value.span,
            text_at: text_at(&entry.value),
            value: T::read(&entry.value, problems),
        };
        Some(Self(entries.iter().map(read).collect()))
    }
}

/// One of two types of different shape.
#[derive(Debug)]
pub(super) enum Either<A, B> {
    First(A),
    Second(B),
}

impl<A: Read, B: Read> Read for Either<A, B> {
    const SHAPES: u8 = A::SHAPES | B::SHAPES;

    fn expected() -> String {
        format!("{}, or {}", A::expected(), B::expected())
    }

    fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        let shape = shape(node);
        if shape & A::SHAPES != 0 {
            A::read(node, problems).map(Self::First)
        } else if shape & B::SHAPES != 0 {
            B::read(node, problems).map(Self::Second)
        } else {
            tell_unexpected::<Self>(node, problems);
            None
        }
    }
}

fn shape(node: &Node) -> u8 {
    match node.value {
        Value::Null | Value::Broken => 0,
        Value::Scalar(_) => SCALAR,
        Value::List(_) => LIST,
        Value::Mapping(_) => MAPPING,
    }
}

/// What a wrapper says to the schema: `$schema` is made of the schemas of its parameters.
macro_rules! wrapper_schema {
    ($name:ident<$($parameter:ident),+>, $generator:ident => $schema:expr) => {
        impl<$($parameter: JsonSchema),+> JsonSchema for $name<$($parameter),+> {
            fn inline_schema() -> bool {
                true
            }
            fn schema_name() -> Cow<'static, str> {
                [stringify!($name) $(, &$parameter::schema_name())+].join("_").into()
            }
            fn json_schema($generator: &mut SchemaGenerator) -> Schema {
                $schema
            }
        }
    };
}

wrapper_schema!(Given<T>, generator => generator.subschema_for::<T>());
wrapper_schema!(Required<T>, generator => generator.subschema_for::<T>());
wrapper_schema!(List<T>, generator => generator.subschema_for::<Vec<T>>());
wrapper_schema!(OneOrMany<T>, generator =>
    any_of([generator.subschema_for::<T>(), generator.subschema_for::<Vec<T>>()]));
wrapper_schema!(Entries<T>, generator =>
    json_schema!({ "type": "object", "additionalProperties": generator.subschema_for::<T>() }));
wrapper_schema!(Either<A, B>, generator =>
    any_of([generator.subschema_for::<A>(), generator.subschema_for::<B>()]));

impl<T: Parse> JsonSchema for Word<T> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Word".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        if T::NEVER_QUOTED { any_of([T::schema(), variable_schema()]) } else { T::schema() }
    }
}

impl JsonSchema for Text {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Text".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "number", "boolean"] })
    }
}

impl JsonSchema for Any {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Any".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!(true)
    }
}
