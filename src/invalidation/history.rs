//! Who purged what: one line in the log for each purge that somebody asked for, and the last of them to be looked up.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Mutex;

use super::log::lock;
use super::{Purged, Strength, Target};
use crate::clock::Timestamp;

/// How many targets a line names; the others are counted.
const NAMED: usize = 20;

/// How much of a target is told, in characters.
const MAX_CHARACTERS: usize = 300;

/// How many purges are remembered.
const REMEMBERED: usize = 1000;

/// The last purges.
#[derive(Debug, Default)]
pub struct History(Mutex<VecDeque<Entry>>);

/// A purge that was carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// When.
    pub at: Timestamp,
    /// Who asked for it: a token or a rule, by name, such as `token deploy`.
    pub by: String,
    /// What was named.
    pub targets: String,
    /// What it did to that.
    pub strength: Strength,
    /// What came of it.
    pub purged: Purged,
}

impl History {
    /// Notes a purge.
    pub(super) fn add(
        &self,
        at: Timestamp,
        by: &str,
        targets: &[Target],
        strength: Strength,
        purged: &Purged,
    ) {
        let targets = Named(targets).to_string();
        tracing::info!(
            by,
            targets,
            soft = strength == Strength::Soft,
            position = %purged.position,
            matched = purged.matched,
            bytes = purged.bytes,
            took = ?purged.took,
            "purged"
        );
        let mut entries = lock(&self.0);
        if entries.len() == REMEMBERED {
            entries.pop_front();
        }
        entries.push_back(Entry { at, by: by.to_owned(), targets, strength, purged: purged.clone() });
    }

    /// The last purges, the newest first.
    pub fn last(&self, number: usize) -> Vec<Entry> {
        lock(&self.0).iter().rev().take(number).cloned().collect()
    }
}

struct Named<'t>(&'t [Target]);

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, target) in self.0.iter().take(NAMED).enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            let target = target.to_string();
            match target.char_indices().nth(MAX_CHARACTERS) {
                Some((end, _)) => write!(f, "{separator}{}…", &target[..end])?,
                None => write!(f, "{separator}{target}")?,
            }
        }
        match self.0.len().saturating_sub(NAMED) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::invalidation::Position;

    #[test]
    fn a_line_names_what_was_purged_and_stays_a_line() {
        let targets = [Target::Tag("a\nb".into()), Target::Everything];
        assert_eq!(Named(&targets).to_string(), r#"tag "a\nb", everything"#);
        let many = vec![Target::Everything; NAMED + 2];
        assert!(Named(&many).to_string().ends_with("everything and 2 more"));
        let long = Named(&[Target::Tag("é".repeat(1000))]).to_string();
        assert!(long.ends_with('…') && long.chars().count() == MAX_CHARACTERS + 1, "{long}");
    }

    #[test]
    fn the_last_purges_are_remembered_the_newest_first() {
        let history = History::default();
        for number in 0..REMEMBERED as u64 + 5 {
            let position = Position(number);
            let purged = Purged {
                position,
                matched: 0,
                at_least: false,
                bytes: 0,
                each: Vec::new(),
                took: Duration::ZERO,
            };
            history.add(Timestamp::default(), "x", &[Target::Everything], Strength::Hard, &purged);
        }
        let last = history.last(usize::MAX);
        assert_eq!((last.len(), last[0].purged.position), (REMEMBERED, Position(REMEMBERED as u64 + 4)));
    }
}
