//! `dispatchers:`.

use std::path::Path;
use std::time::Duration;

use super::super::diagnostics::{Problems, Span, quote};
use super::super::file::{self, KindWord};
use super::super::read::OptionalExt;
use super::{MIB, check_name, count, duration, entries, flag, size};
use crate::dispatch::{DeferredSettings, DurableSettings};

/// The dispatcher that is always there.
pub(super) const INLINE: &str = "inline";

/// Those that work after the answer. Relative paths start in `directory`.
pub(super) fn dispatchers(
    file: &file::File,
    directory: &Path,
    problems: &mut Problems,
) -> Vec<DeferredSettings> {
    let mut dispatchers: Vec<DeferredSettings> = Vec::new();
    for (entry, section) in entries(&file.dispatchers) {
        check_name("dispatcher", &entry.name, entry.name_span, problems);
        let Some(kind) = kind(&entry.name, entry.name_span, section, problems) else { continue };
        tell_settings_of_others(kind, section, problems);
        let durable = match kind {
            KindWord::Inline => continue,
            KindWord::Background => None,
            KindWord::Durable => {
                let Some(durable) = durable(section, entry.name_span, directory, problems) else { continue };
                let first = dispatchers
                    .iter()
                    .find(|known| known.durable.as_ref().is_some_and(|known| known.path == durable.path));
                if let (Some(first), Some(span)) = (first, section.path.span()) {
                    problems
                        .add(span, format!("the dispatcher {} has this file", quote(&first.name)))
                        .help("give each a file of its own");
                }
                Some(durable)
            }
        };
        let batch = section.batch.value();
        let default_size = if durable.is_some() { 1024 * MIB } else { 64 * MIB };
        dispatchers.push(DeferredSettings {
            name: entry.name.as_str().into(),
            max_waiting: count(&section.queue, if durable.is_some() { 100_000 } else { 1000 }),
            max_waiting_bytes: size(&section.queue_size, default_size),
            workers: count(&section.workers, 1),
            batch: batch.map_or(BATCH, |batch| count(&batch.max, BATCH)),
            linger: batch.map_or(Duration::ZERO, |batch| duration(&batch.linger, Duration::ZERO)),
            durable,
        });
    }
    dispatchers
}

/// How many pieces of work are done in one go, unless told.
const BATCH: usize = 100;

/// The kind of a dispatcher; `None`: there is none, which has been told.
fn kind(
    name: &str,
    name_span: Span,
    section: &file::Dispatcher,
    problems: &mut Problems,
) -> Option<KindWord> {
    let (kind, span) = (section.kind.value().copied(), section.kind.span().unwrap_or_default());
    match (name == INLINE, kind) {
        (true, None | Some(KindWord::Inline)) => Some(KindWord::Inline),
        (true, Some(_)) => {
            problems.add(span, "`inline` is `inline`").help("give it another name");
            None
        }
        (false, Some(KindWord::Inline)) => {
            problems
                .add(span, "only the dispatcher `inline` is inline")
                .help("write `dispatcher: inline` in the rule, or leave it out");
            None
        }
        (false, None) => {
            if section.kind.is_none() {
                problems
                    .add(name_span, format!("it is not said of which kind the dispatcher {} is", quote(name)))
                    .help("write `kind: background` or `kind: durable`, or `inline` for the one that is always there");
            }
            None
        }
        (false, kind) => kind,
    }
}

/// What is given though dispatchers of this kind do not have it.
fn tell_settings_of_others(kind: KindWord, section: &file::Dispatcher, problems: &mut Problems) {
    let (not_inline, not_durable, only_durable) = (
        [section.queue.span(), section.queue_size.span(), section.batch.span()],
        [section.workers.span()],
        [
            section.path.span(),
            section.required.span(),
            section.max_attempts.span(),
            section.backoff.span(),
            section.max_backoff.span(),
            section.dead_letters.span(),
        ],
    );
    let wrong: Vec<_> = match kind {
        KindWord::Inline => [&not_inline[..], &not_durable, &only_durable].concat(),
        KindWord::Background => only_durable.to_vec(),
        KindWord::Durable => not_durable.to_vec(),
    };
    let why = match kind {
        KindWord::Inline => "`inline` has no settings: it works at once",
        KindWord::Background => "this is a setting of `durable` dispatchers",
        KindWord::Durable => "a `durable` dispatcher has one worker: its work is done in the order it came",
    };
    for span in wrong.into_iter().flatten() {
        problems.add(span, why).help("leave it out");
    }
}

fn durable(
    section: &file::Dispatcher,
    name: Span,
    directory: &Path,
    problems: &mut Problems,
) -> Option<DurableSettings> {
    let Some(path) = section.path.value() else {
        if section.path.is_none() {
            problems
                .add(name, "it is not said where the work is kept")
                .help("write `path: queue.redb`, on a disk that stays");
        }
        return None;
    };
    let backoff = duration(&section.backoff, Duration::from_secs(1));
    let max_backoff = duration(&section.max_backoff, Duration::from_secs(5 * 60));
    if max_backoff < backoff {
        problems
            .add(
                section.max_backoff.span().or(section.backoff.span()).unwrap_or(name),
                "`max_backoff` is less than `backoff`",
            )
            .help("write a longer time");
    }
    Some(DurableSettings {
        path: directory.join(&**path),
        required: flag(&section.required, true),
        max_attempts: u32::try_from(count(&section.max_attempts, 10)).unwrap_or(u32::MAX),
        backoff,
        max_backoff,
        dead_letters: count(&section.dead_letters, 1000),
    })
}
