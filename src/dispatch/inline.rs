//! The `inline` dispatcher: done when the answer is sent.

use super::Report;
use crate::invalidation::Invalidator;
use crate::invalidation::event::Event;
use crate::invalidation::rule::Rule;

pub(super) fn run(rule: &Rule, event: &Event, invalidator: &Invalidator) -> Report {
    let mut report = Report { rule: rule.name.to_string(), ..Report::default() };
    match rule.targets(event) {
        Err(skipped) => report.skipped = Some(skipped),
        Ok(mut targets) => {
            report.targets = targets.len();
            // One target that cannot be understood (a payload that makes no URL, say) must not keep the others.
            targets.retain(|target| match invalidator.check(target) {
                Ok(()) => true,
                Err(error) => {
                    report.error = Some(format!("{target}: {error}"));
                    false
                }
            });
            match invalidator.purge(&targets) {
                Ok(purged) => report.matched = purged.matched,
                Err(error) => report.error = Some(error.to_string()),
            }
        }
    }
    report
}
