//! Lists, mappings with names of their own, and values that can have one form or another.

use super::super::diagnostics::{Problems, Span};
use super::super::tree::{Entry, Node, Value};
use super::{Given, LIST, MAPPING, Read, SCALAR, tell_unexpected, text_at};
use std::ops::Deref;

/// A list; each item is read for itself.
#[derive(Debug)]
pub(in crate::config) struct List<T>(Vec<Given<T>>);

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
pub(in crate::config) struct OneOrMany<T>(Vec<Given<T>>);

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
pub(in crate::config) struct Entries<T>(Vec<Named<T>>);

/// One entry of such a mapping.
#[derive(Debug)]
pub(in crate::config) struct Named<T> {
    pub(in crate::config) name: String,
    pub(in crate::config) name_span: Span,
    /// Of the value.
    pub(in crate::config) span: Span,
    /// Where the text of the value begins, if it is a scalar that stands in the file letter by letter.
    pub(in crate::config) text_at: Option<usize>,
    pub(in crate::config) value: Option<T>,
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
pub(in crate::config) enum Either<A, B> {
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
