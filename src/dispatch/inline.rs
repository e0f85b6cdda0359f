//! The `inline` dispatcher: done when the answer is sent.

use super::{Means, Report};
use crate::invalidation::Target;
use crate::invalidation::event::Event;
use crate::invalidation::rule::{Named, Rule};

pub(super) fn run(rule: &Rule, event: &Event, means: &Means) -> Report {
    let mut report = Report { rule: rule.name.to_string(), ..Report::default() };
    let Named { mut targets, mut refreshed, widened } = match rule.named(event) {
        Ok(named) => named,
        Err(skipped) => {
            report.skipped = Some(skipped);
            return report;
        }
    };
    report.targets = targets.len() + refreshed.len();
    report.widened = widened;
    // One target that cannot be understood (a payload that makes no URL, say) must not keep the others.
    let mut is_understood = |target: &Target| match means.invalidator.check(target) {
        Ok(()) => true,
        Err(error) => {
            report.fail(format!("{target}: {error}"));
            false
        }
    };
    targets.retain(&mut is_understood);
    refreshed.retain(&mut is_understood);
    let by = format!("rule {:?}, delivery {:?} of {:?}", rule.name, event.delivery, event.webhook);
    // Before the purge: it takes away what it names.
    let requests = (!refreshed.is_empty()).then(|| means.invalidator.requests(&refreshed));
    if !targets.is_empty() {
        match means.invalidator.purge(&by, &targets, rule.strength) {
            Ok(purged) => report.matched = purged.matched,
            Err(error) => report.fail(error.to_string()),
        }
    }
    match requests {
        Some(Ok((requests, others))) => match means.warmer.refresh(requests, others, None, &by) {
            Ok(progress) => report.refresh = Some(progress.id),
            Err(refusal) => report.fail(format!("nothing is fetched again: {refusal}")),
        },
        Some(Err(error)) => report.fail(error.to_string()),
        None => {}
    }
    report
}
