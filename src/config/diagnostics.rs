//! What is wrong with a configuration file, where, and what was probably meant.
//!
//! Problems are collected while the file is read and compiled, and told all at once. Knows nothing of what the
//! file may say. The source shown is the file as it was written, with secrets masked: values of environment
//! variables are not in it.

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use std::fmt;

/// A stretch of the file, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Span {
    pub(super) start: usize,
    pub(super) end: usize,
}

/// Everything that is wrong with one file, in the order of the file.
///
/// `Display` prints every problem with its line, column and source, and how many there are.
pub struct Diagnostics {
    name: String,
    /// The file as written, secrets masked.
    source: String,
    problems: Vec<Problem>,
}

impl Diagnostics {
    pub(super) fn new(name: &str, source: String, problems: Problems) -> Self {
        let mut problems = problems.0;
        problems.sort_by_key(|problem| problem.span);
        Self { name: name.to_owned(), source, problems }
    }

    /// The file could not be read at all.
    pub(super) fn unreadable(name: &str, error: &std::io::Error) -> Self {
        let mut problems = Problems::default();
        problems.0.push(Problem::new(None, format!("cannot read {name}: {error}")));
        Self::new(name, String::new(), problems)
    }

    /// How many problems there are; at least one.
    #[expect(clippy::len_without_is_empty, reason = "never empty: without a problem there is a plan")]
    pub fn len(&self) -> usize {
        self.problems.len()
    }

    /// All problems as text for people; with colours if `styled`.
    pub fn render(&self, styled: bool) -> String {
        let renderer = if styled { Renderer::styled() } else { Renderer::plain() };
        let mut text = String::new();
        for problem in &self.problems {
            text.push_str(&self.render_one(problem, &renderer));
            text.push_str("\n\n");
        }
        let problems = if self.len() == 1 { "problem" } else { "problems" };
        text.push_str(&format!("{}: {} {problems}", self.name, self.len()));
        text
    }

    fn render_one(&self, problem: &Problem, renderer: &Renderer) -> String {
        let mut group = Group::with_title(Level::ERROR.primary_title(problem.message.as_str()));
        if let Some(span) = problem.span {
            let notes = problem
                .notes
                .iter()
                .map(|(span, label)| AnnotationKind::Context.span(self.clip(*span)).label(label.as_str()));
            group = group.element(
                Snippet::source(self.source.as_str())
                    .path(self.name.as_str())
                    .annotation(AnnotationKind::Primary.span(self.clip(span)))
                    .annotations(notes),
            );
        }
        if let Some(help) = &problem.help {
            group = group.element(Level::HELP.message(help.as_str()));
        }
        renderer.render(&[group])
    }

    /// A span cut to its first line: the caret stands under the token, not under everything that follows.
    fn clip(&self, span: Span) -> std::ops::Range<usize> {
        let start = span.start.min(self.source.len());
        let text = self.source.get(start..span.end.min(self.source.len())).unwrap_or_default();
        let line = text.lines().next().unwrap_or_default().trim_end();
        start..start + line.len()
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl fmt::Debug for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Diagnostics {}

/// One thing that is wrong.
#[derive(Debug)]
pub(super) struct Problem {
    /// `None`: the file as a whole.
    span: Option<Span>,
    message: String,
    help: Option<String>,
    notes: Vec<(Span, String)>,
}

impl Problem {
    fn new(span: Option<Span>, message: String) -> Self {
        Self { span, message, help: None, notes: Vec::new() }
    }

    /// What to write instead.
    pub(super) fn help(&mut self, help: impl Into<String>) -> &mut Self {
        self.help = Some(help.into());
        self
    }

    /// Another place in the file that has to do with it.
    pub(super) fn note(&mut self, span: Span, label: impl Into<String>) -> &mut Self {
        self.notes.push((span, label.into()));
        self
    }

    /// What was probably meant, or else what there is to choose from.
    pub(super) fn suggest<'k>(&mut self, given: &str, known: impl IntoIterator<Item = &'k str>) -> &mut Self {
        let known: Vec<&str> = known.into_iter().collect();
        if let Some(meant) = closest(given, known.iter().copied()) {
            return self.help(format!("did you mean `{meant}`?"));
        }
        self.choices(&known)
    }

    /// What there is to choose from.
    pub(super) fn choices(&mut self, known: &[&str]) -> &mut Self {
        match known {
            [] => self,
            [only] => self.help(format!("there is only `{only}`")),
            _ => self.help(format!("there are {}", list(known, "and"))),
        }
    }
}

/// The problems found so far.
#[derive(Debug, Default)]
pub(super) struct Problems(Vec<Problem>);

impl Problems {
    /// Adds a problem; the help and the notes can be added to what is returned.
    pub(super) fn add(&mut self, span: Span, message: impl Into<String>) -> &mut Problem {
        self.0.push(Problem::new(Some(span), message.into()));
        let last = self.0.len() - 1;
        &mut self.0[last]
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The known word that a mistyped one is nearest to, if any is near.
pub(super) fn closest<'k>(given: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let plain = |word: &str| word.to_lowercase().replace('-', "_");
    let given = plain(given);
    known
        .into_iter()
        .map(|word| (strsim::damerau_levenshtein(&given, &plain(word)), word))
        .filter(|(distance, word)| *distance <= word.chars().count().max(given.chars().count()) / 3)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| word)
}

/// Words as people list them: `a`, `b` and `c`.
pub(super) fn list(words: &[&str], conjunction: &str) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    match quoted.split_last() {
        None => String::new(),
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} {conjunction} {last}", others.join(", ")),
    }
}

/// Text from the file, fit for a message: short, on one line, without control characters.
pub(super) fn quote(text: &str) -> String {
    const LONGEST: usize = 60;
    let mut shown: String = text.chars().take(LONGEST).flat_map(char::escape_debug).collect();
    if text.chars().nth(LONGEST).is_some() {
        shown.push('…');
    }
    // escape_debug is for string literals; in backticks, quotes need no escape.
    format!("`{}`", shown.replace("\\\"", "\"").replace("\\'", "'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_near_is_suggested() {
        let known = ["listen", "max_in_flight", "timeouts", "ttl"];
        assert_eq!(closest("lisen", known), Some("listen"));
        assert_eq!(closest("maxInflight", known), Some("max_in_flight"));
        assert_eq!(closest("max-in-flight", known), Some("max_in_flight"));
        assert_eq!(closest("tll", known), Some("ttl"));
        assert_eq!(closest("upstream", known), None);
    }

    #[test]
    fn quoted_text_stays_on_one_line() {
        assert_eq!(quote("a\nb\"c'"), "`a\\nb\"c'`");
        assert_eq!(quote(&"x".repeat(70)), format!("`{}…`", "x".repeat(60)));
    }

    #[test]
    fn problems_are_told_in_the_order_of_the_file() {
        let mut problems = Problems::default();
        problems.add(Span { start: 5, end: 6 }, "second");
        problems.add(Span { start: 0, end: 4 }, "first").help("do this");
        let diagnostics = Diagnostics::new("x.yaml", "a: b\nc: d\n".into(), problems);
        let expected = "\
error: first
 --> x.yaml:1:1
  |
1 | a: b
  | ^^^^
  |
  = help: do this

error: second
 --> x.yaml:2:1
  |
2 | c: d
  | ^

x.yaml: 2 problems";
        assert_eq!(diagnostics.to_string(), expected);
    }
}
