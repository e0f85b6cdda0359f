//! The `inline` dispatcher: done when the answer is sent.

use super::Report;
use crate::invalidation::event::Event;
use crate::invalidation::rule::{Named, Rule};
use crate::invalidation::{Invalidator, Strength};

pub(super) fn run(rule: &Rule, event: &Event, invalidator: &Invalidator) -> Report {
    let mut report = Report { rule: rule.name.to_string(), ..Report::default() };
    let Named { mut targets, widened } = match rule.named(event) {
        Ok(named) => named,
        Err(skipped) => {
            report.skipped = Some(skipped);
            return report;
        }
    };
    report.targets = targets.len();
    report.widened = widened;
    // One target that cannot be understood (a payload that makes no URL, say) must not keep the others.
    targets.retain(|target| match invalidator.check(target) {
        Ok(()) => true,
        Err(error) => {
            report.fail(format!("{target}: {error}"));
            false
        }
    });
    if targets.is_empty() {
        return report;
    }
    let by = format!("rule {:?}, delivery {:?} of {:?}", rule.name, event.delivery, event.webhook);
    match invalidator.purge(&by, &targets, Strength::Hard) {
        Ok(purged) => report.matched = purged.matched,
        Err(error) => report.fail(error.to_string()),
    }
    report
}
