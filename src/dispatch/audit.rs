//! Who purged what: one line in the log for each purge that somebody asked for.

use std::fmt;

use crate::invalidation::{Purged, Target};

/// How many targets a line names; the others are counted.
const NAMED: usize = 20;

/// Writes the line. `by`: a token or a rule, by name, such as `token deploy`.
pub fn audit(by: &str, targets: &[Target], purged: &Purged) {
    tracing::info!(
        by,
        targets = %Named(targets),
        position = %purged.position,
        matched = purged.matched,
        bytes = purged.bytes,
        took = ?purged.took,
        "purged"
    );
}

struct Named<'t>(&'t [Target]);

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, target) in self.0.iter().take(NAMED).enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            write!(f, "{separator}{target}")?;
        }
        match self.0.len().saturating_sub(NAMED) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_names_what_was_purged_and_stays_a_line() {
        let targets = [Target::Tag("a\nb".into()), Target::Everything];
        assert_eq!(Named(&targets).to_string(), r#"tag "a\nb", everything"#);
        let many = vec![Target::Everything; NAMED + 2];
        assert!(Named(&many).to_string().ends_with("everything and 2 more"));
    }
}
