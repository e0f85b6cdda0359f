//! How the file types are read from the tree.
//!
//! Every value is read for itself: one that is wrong is told and remembered as given, and the reading goes on.
//! That is how all problems come out in one pass, and why a mistyped value is not called missing as well.
//!
//! A [`section!`] is a mapping with known keys, a [`choice!`] one of a few words. Both also say what they take
//! to [`schemars`], so the JSON Schema cannot differ from what is read.

mod collection;
mod scalar;
mod schema;

pub(super) use collection::{Either, Entries, List, Named, OneOrMany};
pub(super) use scalar::{Any, Parse, Refusal, Text, Word};
pub(super) use schema::words_schema;

use super::diagnostics::{Problems, Span, closest, quote};
use super::tree::{Entry, Node, Value};

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
