//! The file as a tree that remembers where everything was written.
//!
//! YAML's own rules end here: anchors and aliases are resolved, `<<` is merged, variables are filled in, and
//! repeated keys are told. Knows nothing of what the file may say.

use super::diagnostics::{Problems, Span, quote};
use super::{interpolation, mask};
use serde_yaml::granit_parser::{Event, Options, Parser, ScalarStyle, ScanError, StrInput, StructureStyle};
use std::collections::HashMap;
use std::rc::Rc;

/// A value and where it was written.
#[derive(Debug)]
pub(super) struct Node {
    /// What to point at: for a mapping or list in block style only its beginning.
    pub(super) span: Span,
    pub(super) value: Value,
    /// How many nodes it stands for, aliases included.
    weight: usize,
}

#[derive(Debug)]
pub(super) enum Value {
    /// Nothing, `~` or `null`.
    Null,
    Scalar(Scalar),
    List(Vec<Rc<Node>>),
    Mapping(Vec<Entry>),
    /// Something whose problem has been told already.
    Broken,
}

/// A scalar that is not null.
#[derive(Debug)]
pub(super) struct Scalar {
    /// With its variables filled in.
    pub(super) text: String,
    /// As it was written, with `${VAR}`; the only form that may be shown. Of a secret only `…`.
    pub(super) written: String,
    /// Neither quoted nor a block.
    pub(super) plain: bool,
    /// Whether anything was filled in.
    pub(super) filled: bool,
    /// Where in the file `written` begins, if it stands there letter by letter.
    pub(super) verbatim_at: Option<usize>,
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) key_span: Span,
    pub(super) value: Rc<Node>,
}

/// The tree of a file with one document; what is wrong is added to `problems`.
///
/// After a syntax error nothing more can be said of the file, and the tree is `None`.
pub(super) fn parse(
    source: &str,
    env: &dyn Fn(&str) -> Option<String>,
    problems: &mut Problems,
) -> Option<Rc<Node>> {
    let mut options = Options::default();
    options.set_emit_comments(false);
    let parser = Parser::new_from_str_with_options(source, options);
    let mut builder =
        Builder { source, env, problems, parser, anchors: HashMap::new(), weight: 0, secret: false };
    match builder.document() {
        Ok(root) => Some(root),
        Err(Stop::Syntax(error)) => {
            let start = error.marker().byte_offset().unwrap_or(source.len()).min(source.len());
            tell_syntax_error(&error.info(), start, source, problems);
            None
        }
        Err(Stop::Told) => None,
    }
}

/// Scalars, lists and mappings, aliases counted every time: what keeps a few lines of aliases of aliases from
/// becoming billions of nodes.
const MAX_NODES: usize = 100_000;

enum Stop {
    Syntax(Box<ScanError>),
    Told,
}

impl From<ScanError> for Stop {
    fn from(error: ScanError) -> Self {
        Self::Syntax(Box::new(error))
    }
}

struct Builder<'s, 'p> {
    source: &'s str,
    env: &'p dyn Fn(&str) -> Option<String>,
    problems: &'p mut Problems,
    parser: Parser<'s, StrInput<'s>>,
    /// `None` while the anchor's own node is being read.
    anchors: HashMap<usize, Option<Rc<Node>>>,
    weight: usize,
    /// Whether the value of a secret is being read, which may not be quoted in errors.
    secret: bool,
}

impl<'s> Builder<'s, '_> {
    fn document(&mut self) -> Result<Rc<Node>, Stop> {
        let mut root = None;
        while let Some((event, span)) = self.next()? {
            match event {
                Event::StreamStart | Event::StreamEnd | Event::DocumentStart(..) | Event::DocumentEnd => {}
                _ if root.is_some() => {
                    self.problems.add(span, "a second document begins here").help("one file is one document");
                    return Err(Stop::Told);
                }
                _ => root = Some(self.node(event, span)?),
            }
        }
        Ok(root
            .map(without_extensions)
            .unwrap_or_else(|| Rc::new(Node { span: Span::default(), value: Value::Null, weight: 1 })))
    }

    fn next(&mut self) -> Result<Option<(Event<'s>, Span)>, Stop> {
        let Some(next) = self.parser.next_event() else { return Ok(None) };
        let (event, span) = next?;
        let range = span.byte_range().unwrap_or_default();
        Ok(Some((event, Span { start: range.start, end: range.end })))
    }

    /// The event after one that cannot be the last.
    fn following(&mut self) -> Result<(Event<'s>, Span), Stop> {
        self.next()?.ok_or(Stop::Told)
    }

    fn node(&mut self, event: Event<'s>, span: Span) -> Result<Rc<Node>, Stop> {
        if let Some(tag) = event.tag() {
            let written = tag.original();
            self.problems
                .add(span, format!("the tag {} has no meaning here", quote(&written)))
                .help("text that begins with an exclamation mark needs quotes");
        }
        let anchor = event.anchor_id();
        if let Some(anchor) = anchor {
            self.anchors.insert(anchor, None);
        }
        let outer_weight = std::mem::replace(&mut self.weight, 1);
        let (span, value) = match event {
            Event::Scalar(text, style, ..) => (span, self.scalar(text.into_owned(), style, span)),
            Event::SequenceStart(style, ..) => self.list(style, span)?,
            Event::MappingStart(style, ..) => self.mapping(style, span)?,
            Event::Alias(id) => {
                let Some(Some(node)) = self.anchors.get(&id) else {
                    self.problems.add(span, "this alias stands inside the value it stands for");
                    return Err(Stop::Told);
                };
                let node = Rc::clone(node);
                self.weight = outer_weight + node.weight;
                self.check_weight(span)?;
                return Ok(node);
            }
            _ => return Err(Stop::Told),
        };
        let node = Rc::new(Node { span, value, weight: self.weight });
        self.weight += outer_weight;
        self.check_weight(span)?;
        if let Some(anchor) = anchor {
            self.anchors.insert(anchor, Some(Rc::clone(&node)));
        }
        Ok(node)
    }

    fn check_weight(&mut self, span: Span) -> Result<(), Stop> {
        if self.weight > MAX_NODES {
            self.problems.add(span, format!("the file is too large here: more than {MAX_NODES} values"));
            return Err(Stop::Told);
        }
        Ok(())
    }

    fn scalar(&mut self, written: String, style: ScalarStyle, span: Span) -> Value {
        let plain = style == ScalarStyle::Plain;
        if plain && matches!(written.as_str(), "" | "~" | "null") {
            return Value::Null;
        }
        let source = self.source.get(span.start..span.end).unwrap_or_default();
        let verbatim_at = source.find(&written).map(|offset| span.start + offset);
        let filled = interpolation::fill(&written, self.env);
        let shown = |written| if self.secret { "…".to_owned() } else { written };
        match filled {
            Ok(None) => {
                let text = written.clone();
                Value::Scalar(Scalar { text, written: shown(written), plain, filled: false, verbatim_at })
            }
            Ok(Some(text)) => {
                Value::Scalar(Scalar { text, written: shown(written), plain, filled: true, verbatim_at })
            }
            Err(faults) => {
                for fault in faults {
                    let at = match verbatim_at {
                        Some(start) => Span { start: start + fault.at.start, end: start + fault.at.end },
                        None => span,
                    };
                    self.problems.add(at, fault.message).help(fault.help);
                }
                Value::Broken
            }
        }
    }

    fn list(&mut self, style: StructureStyle, start: Span) -> Result<(Span, Value), Stop> {
        let mut items = Vec::new();
        loop {
            let (event, span) = self.following()?;
            if event == Event::SequenceEnd {
                let first = items.first().map(|item: &Rc<Node>| item.span);
                return Ok((whole(style, start, first, span), Value::List(items)));
            }
            items.push(self.node(event, span)?);
        }
    }

    fn mapping(&mut self, style: StructureStyle, start: Span) -> Result<(Span, Value), Stop> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut merged: Vec<Entry> = Vec::new();
        loop {
            let (event, key_span) = self.following()?;
            if event == Event::MappingEnd {
                let first = entries.first().map(|entry| entry.key_span);
                for entry in merged {
                    if !entries.iter().any(|known| known.key == entry.key) {
                        entries.push(entry);
                    }
                }
                return Ok((whole(style, start, first, key_span), Value::Mapping(entries)));
            }
            let key = match event {
                Event::Scalar(key, _, 0, None) => Some(key.into_owned()),
                _ => {
                    self.node(event, key_span)?;
                    None
                }
            };
            let outer = std::mem::replace(&mut self.secret, key.as_deref().is_some_and(mask::is_secret));
            let (event, span) = self.following()?;
            let value = self.node(event, span)?;
            self.secret = outer;
            match key {
                None => {
                    self.problems.add(key_span, "a key must be plain or quoted text");
                }
                Some(key) if key.contains("${") => {
                    self.problems
                        .add(key_span, "variables are filled in in values, not in keys")
                        .help("write the key itself");
                }
                Some(key) if key == "<<" => self.merge(&value, key_span, &mut merged),
                Some(key) => match entries.iter().find(|known| known.key == key) {
                    Some(first) => {
                        let first = first.key_span;
                        self.problems
                            .add(key_span, format!("the key {} is given twice", quote(&key)))
                            .note(first, "first given here");
                    }
                    None => entries.push(Entry { key, key_span, value }),
                },
            }
        }
    }

    /// `<<: *one` or `<<: [*one, *another]`; what comes first wins.
    fn merge(&mut self, value: &Node, key_span: Span, merged: &mut Vec<Entry>) {
        match &value.value {
            Value::Mapping(entries) => merged.extend(entries.iter().map(|entry| Entry {
                key: entry.key.clone(),
                key_span: entry.key_span,
                value: Rc::clone(&entry.value),
            })),
            Value::List(items) => items.iter().for_each(|item| self.merge(item, key_span, merged)),
            Value::Broken => {}
            Value::Null | Value::Scalar(_) => {
                self.problems
                    .add(key_span, "`<<` takes a mapping, or a list of them")
                    .help("name an anchor: `<<: *name`");
            }
        }
    }
}

/// Keys that begin with `x-` are for anchors.
fn without_extensions(root: Rc<Node>) -> Rc<Node> {
    match Rc::try_unwrap(root) {
        Ok(mut root) => {
            if let Value::Mapping(entries) = &mut root.value {
                entries.retain(|entry| !entry.key.starts_with("x-"));
            }
            Rc::new(root)
        }
        // Only an anchor at the very root is shared; then the file cannot use it anyway.
        Err(root) => root,
    }
}

/// What to point at for a list or mapping: all of it in flow style, else its first item or key.
fn whole(style: StructureStyle, start: Span, first: Option<Span>, end: Span) -> Span {
    match (style, first) {
        (StructureStyle::Block, Some(first)) => first,
        _ => Span { start: start.start, end: end.end },
    }
}

fn tell_syntax_error(message: &str, start: usize, source: &str, problems: &mut Problems) {
    let line_start = source[..start].rfind('\n').map_or(0, |end| end + 1);
    let length = source[start..].chars().next().map_or(0, char::len_utf8);
    let problem = problems.add(Span { start, end: start + length }, format!("this is not YAML: {message}"));
    let before = &source[line_start..start + length];
    if before.contains("${") {
        problem.help("between { } and [ ], quote variables: \"${NAME}\"");
    } else if before.contains("/{") {
        problem.help("between { } and [ ], quote patterns: \"/users/{user_id}\"");
    } else if message.contains("tabs") {
        problem.help("indent with spaces");
    } else if message.contains("mapping values are not allowed") {
        problem.help("is the indentation right? Text that contains `: ` needs quotes");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::diagnostics::Diagnostics;

    fn tree(source: &str) -> (Option<Rc<Node>>, String) {
        let mut problems = Problems::default();
        let env = |name: &str| (name == "PORT").then(|| "8080".to_owned());
        let root = parse(source, &env, &mut problems);
        let told = if problems.is_empty() {
            String::new()
        } else {
            Diagnostics::new("t", source.into(), problems).to_string()
        };
        (root, told)
    }

    /// The tree in one line, as JSON has it.
    fn show(node: &Node) -> String {
        match &node.value {
            Value::Null => "null".into(),
            Value::Broken => "broken".into(),
            Value::Scalar(scalar) if scalar.plain => scalar.text.clone(),
            Value::Scalar(scalar) => format!("{:?}", scalar.text),
            Value::List(items) => {
                format!("[{}]", items.iter().map(|item| show(item)).collect::<Vec<_>>().join(", "))
            }
            Value::Mapping(entries) => {
                let entries: Vec<_> =
                    entries.iter().map(|entry| format!("{}: {}", entry.key, show(&entry.value))).collect();
                format!("{{{}}}", entries.join(", "))
            }
        }
    }

    fn check(source: &str, expected: &str) {
        let (root, told) = tree(source);
        assert_eq!(
            (root.map(|root| show(&root)).as_deref(), told.as_str()),
            (Some(expected), ""),
            "{source}"
        );
    }

    fn check_told(source: &str, expected: &[&str]) {
        let (_, told) = tree(source);
        for expected in expected {
            assert!(told.contains(expected), "{source}\n{told}\nlacks {expected}");
        }
        let problems = told.lines().filter(|line| line.starts_with("error: ")).count();
        assert_eq!(problems, expected.iter().filter(|line| line.starts_with("error: ")).count(), "{told}");
    }

    #[test]
    fn the_tree_is_what_was_written() {
        check("", "null");
        check("a: [1, 'x', ~]\nb:\n  - c: d\n", "{a: [1, \"x\", null], b: [{c: d}]}");
        check("a: ${PORT}\nb: \"x${PORT}\"\n", "{a: 8080, b: \"x8080\"}");
    }

    #[test]
    fn aliases_and_merges_are_resolved() {
        check("a: &x [1]\nb: *x\n", "{a: [1], b: [1]}");
        check("a: &x {k: 1, l: 2}\nb: {<<: *x, k: 3}\n", "{a: {k: 1, l: 2}, b: {k: 3, l: 2}}");
        check(
            "a: &x {k: 1}\nb: &y {k: 2, l: 2}\nc: {<<: [*x, *y]}\n",
            "{a: {k: 1}, b: {k: 2, l: 2}, c: {k: 1, l: 2}}",
        );
    }

    #[test]
    fn what_is_wrong_is_told_and_the_rest_is_read() {
        check_told(
            "a: 1\nb: 2\na: 3\na: 4\n",
            &[
                "error: the key `a` is given twice",
                "t:3:1",
                "first given here",
                "error: the key `a` is given twice",
                "t:4:1",
            ],
        );
        check_told(
            "a: \"${NONE}\"\nb: x${NO}\n",
            &[
                "error: the environment variable NONE",
                "t:1:5",
                "error: the environment variable NO ",
                "t:2:5",
            ],
        );
        check_told("a: !x 1\n", &["error: the tag `!x`"]);
        check_told("? [a]\n: b\n", &["error: a key must be plain or quoted text"]);
        check_told("a: &x {b: *x}\n", &["error: this alias stands inside"]);
        check_told("a: {<<: 1}\n", &["error: `<<` takes a mapping"]);
        check_told("a: 1\n---\nb: 1\n", &["error: a second document begins here", "t:3:1"]);
    }

    #[test]
    fn a_syntax_error_is_told_where_it_is() {
        check_told("a: {b: ${PORT}}\n", &["error: this is not YAML", "t:1:", "quote variables: \"${NAME}\""]);
        check_told("a:\n\tb: 1\n", &["error: this is not YAML", "t:2:", "indent with spaces"]);
        check_told("a: 'x\n", &["error: this is not YAML", "t:1:4"]);
    }

    #[test]
    fn aliases_of_aliases_cannot_exhaust_memory() {
        let mut source = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for i in 1..12 {
            let aliases = vec![format!("*a{}", i - 1); 10].join(", ");
            source.push_str(&format!("a{i}: &a{i} [{aliases}]\n"));
        }
        check_told(&source, &["error: the file is too large here"]);
    }
}
