//! What a file means all together: names resolved, defaults filled in, contradictions told.
//!
//! Every part is compiled even if another is wrong, so that nothing waits to be told. What has been told does not
//! lead to further problems: a name that stands in the file can be referred to, whatever is wrong with its entry.

mod dispatchers;
mod field;
mod invalidation;
mod keys;
mod presets;
mod routes;
mod server;

use super::Plan;
use super::diagnostics::{Problems, Span, quote};
use super::file::File;
use super::read::{Entries, Given, Named, Optional, OptionalExt, Text, Word};
use super::scalars::{Count, Size, Timeout};
use crate::routes::Template;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// The plan; `None`, or a plan of no use, once problems have been told. Relative paths start in `directory`.
pub(super) fn compile(file: &File, directory: &Path, problems: &mut Problems) -> Option<Plan> {
    let (server, admin) = server::listeners(file, problems);
    let upstreams = server::upstreams(file, problems);
    let memory = server::memory(file, problems);
    let keys = keys::Keys::new(file, directory, problems);
    let routes = routes::Routes::new(file, &keys, problems);
    let webhooks = invalidation::webhooks(file, problems);
    let dispatchers = dispatchers::dispatchers(file, directory, problems);
    let rules = invalidation::rules(file, &keys, &routes, &dispatchers, problems);
    Some(Plan {
        server,
        admin,
        upstreams,
        memory: memory?,
        keys: keys.constructors(&routes),
        routes: Arc::new(routes.into_table()?),
        webhooks,
        rules,
        dispatchers,
    })
}

/// The names of one kind of thing, for references to them.
struct Names<'f> {
    /// What a thing is called: `upstream`.
    kind: &'static str,
    /// `None`: their section is wrong, so that nobody knows.
    names: Option<Vec<&'f str>>,
}

impl<'f> Names<'f> {
    fn of<T>(kind: &'static str, entries: Option<&'f Entries<T>>) -> Self {
        Self { kind, names: entries.map(|entries| entries.iter().map(|entry| &*entry.name).collect()) }
    }

    /// The names of a section that may be left out.
    fn of_optional<T>(kind: &'static str, entries: &'f Optional<Entries<T>>) -> Self {
        match entries {
            None => Self { kind, names: Some(Vec::new()) },
            Some(given) => Self::of(kind, given.value.as_ref()),
        }
    }

    /// The index of the thing referred to; an unknown name is told.
    fn find(&self, name: &Text, span: Span, problems: &mut Problems) -> Option<usize> {
        let names = self.names.as_ref()?;
        let found = names.iter().position(|known| **known == **name);
        if found.is_none() {
            tell_unknown(self.kind, name, span, names.iter().copied(), problems);
        }
        found
    }
}

fn tell_unknown<'k>(
    kind: &str,
    name: &Text,
    span: Span,
    known: impl IntoIterator<Item = &'k str>,
    problems: &mut Problems,
) {
    let problem = problems.add(span, format!("there is no {kind} {}", name.shown()));
    // A suggestion would say something about the variable's value.
    if !name.filled() {
        problem.suggest(name, known);
    }
}

/// Tells names in a list that are given twice.
fn tell_repeated<'f>(kind: &str, names: impl IntoIterator<Item = (&'f Text, Span)>, problems: &mut Problems) {
    let mut seen: Vec<(&Text, Span)> = Vec::new();
    for (name, span) in names {
        match seen.iter().find(|(known, _)| ***known == **name) {
            Some((_, first)) => {
                problems
                    .add(span, format!("there are two {kind}s called {}", name.shown()))
                    .note(*first, "the first");
            }
            None => seen.push((name, span)),
        }
    }
}

/// The one of these that is given; none or several are told. `what` is what one of them would be.
fn exactly_one<'w>(
    what: &str,
    section: Span,
    members: &[(&'w str, Option<Span>)],
    problems: &mut Problems,
) -> Option<&'w str> {
    let mut given: Vec<(Span, &str)> =
        members.iter().filter_map(|(name, span)| Some(((*span)?, *name))).collect();
    given.sort_unstable();
    match given.as_slice() {
        [] => {
            let names: Vec<&str> = members.iter().map(|(name, _)| *name).collect();
            problems
                .add(section, format!("{what} is missing here"))
                .help(format!("give one of {}", super::diagnostics::list(&names, "or")));
            None
        }
        [(_, only)] => Some(only),
        [(first, name), (second, other), ..] => {
            problems
                .add(*second, format!("`{name}` and `{other}` cannot be given together"))
                .note(*first, format!("`{name}` is here"));
            None
        }
    }
}

/// Tells holes in a template that nothing fills. `owner` would have such a `kind` of thing: the path a capture.
fn tell_unknown_holes<'k, K: Iterator<Item = &'k str>>(
    template: &Template,
    (span, text_at): Place,
    (owner, kind): (&str, &str),
    known: impl Fn() -> K,
    problems: &mut Problems,
) {
    let text = template.to_string();
    for (i, hole) in template.names().enumerate() {
        // One hole may be there twice; it is told once.
        if known().any(|known| known == hole) || template.names().take(i).any(|earlier| earlier == hole) {
            continue;
        }
        // Where a variable was filled in, the hole may have come with it.
        let Some(text_at) = text_at else {
            problems.add(
                span,
                format!("with its variables filled in, a hole in this is no {kind} of the {owner}"),
            );
            return;
        };
        let at = text.find(&format!("{{{hole}}}")).map(|offset| text_at + offset);
        let span = at.map_or(span, |start| Span { start, end: start + hole.len() + 2 });
        problems.add(span, format!("the {owner} has no {kind} {}", quote(hole))).suggest(hole, known());
    }
}

/// Where a scalar is, and where its text begins if it stands there letter by letter.
type Place = (Span, Option<usize>);

/// The items that are right.
fn items<T>(list: &[Given<T>]) -> impl Iterator<Item = (&T, Span)> {
    list.iter().filter_map(|item| Some((item.value.as_ref()?, item.span)))
}

/// The items that are right, with where they are and where their text is.
fn places<T>(list: &[Given<T>]) -> impl Iterator<Item = (&T, Place)> {
    list.iter().filter_map(|item| Some((item.value.as_ref()?, (item.span, item.text_at))))
}

/// The entries that are right.
fn entries<T>(entries: &Optional<Entries<T>>) -> impl Iterator<Item = (&Named<T>, &T)> {
    let entries = entries.value().map(|entries| &**entries).unwrap_or_default();
    entries.iter().filter_map(|entry| Some((entry, entry.value.as_ref()?)))
}

/// Tells a name that nobody could write in a command or read in a log.
fn check_name(kind: &str, name: &str, span: Span, problems: &mut Problems) {
    if name.trim().is_empty() {
        problems.add(span, format!("the name of this {kind} is empty"));
    } else if name.trim() != name || name.chars().any(char::is_control) {
        problems.add(
            span,
            format!("the name of this {kind} begins or ends with white space, or has control characters"),
        );
    }
}

fn duration(key: &Optional<Word<Duration>>, default: Duration) -> Duration {
    key.value_or(Word(default)).0
}

fn timeout(key: &Optional<Word<Timeout>>, default: Duration) -> Duration {
    key.value_or(Word(Timeout(default))).0.0
}

fn count(key: &Optional<Word<Count>>, default: usize) -> usize {
    key.value_or(Word(Count(default))).0.0
}

fn size(key: &Optional<Word<Size>>, default: u64) -> u64 {
    key.value_or(Word(Size(default))).0.0
}

/// A size that stays in memory as one piece.
fn length(key: &Optional<Word<Size>>, default: u64) -> usize {
    usize::try_from(size(key, default)).unwrap_or(usize::MAX)
}

fn flag(key: &Optional<Word<bool>>, default: bool) -> bool {
    key.value_or(Word(default)).0
}

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

/// The largest body that is stored, unless told.
const MAX_OBJECT_BYTES: u64 = 64 * MIB;
