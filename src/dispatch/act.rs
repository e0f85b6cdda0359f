//! Doing what a rule says of events: here, now, and in one go.

use std::collections::HashSet;
use std::sync::Arc;

use super::{Means, Report};
use crate::invalidation::Target;
use crate::invalidation::event::Event;
use crate::invalidation::rule::{Named, OnError, Rule};
use crate::store::Asked;

/// How many targets are named in one go, about.
const MAX_AT_ONCE: usize = 10_000;

/// Does it, tells the log, and reports of each event. Of several that are done in one go, the first that names anything has
/// what was purged for all.
pub(super) fn run(rule: &Rule, events: &[&Event], means: &Means) -> Vec<Report> {
    let mut reports: Vec<_> = events.iter().map(|_| Report::of(rule)).collect();
    let mut from = 0;
    let mut all = Together::default();
    for index in 0..events.len() {
        match rule.named(events[index]) {
            Ok(named) => all.add(named, &mut reports[index], means),
            Err(skipped) => reports[index].skipped = Some(skipped),
        }
        if all.len() >= MAX_AT_ONCE || index + 1 == events.len() {
            let all = std::mem::take(&mut all);
            all.finish(rule, &events[from..=index], &mut reports[from..=index], means);
            from = index + 1;
        }
    }
    for (event, report) in events.iter().zip(&mut reports) {
        report.refused = report.is_incomplete() && rule.on_error == OnError::Fail;
        tell(rule, event, report);
        means.metrics.rule(&rule.webhook, &rule.name, report.outcome());
    }
    reports
}

/// What several events name.
#[derive(Default)]
struct Together {
    targets: Vec<Target>,
    refreshed: Vec<Target>,
    known: HashSet<(bool, String)>,
}

impl Together {
    fn add(&mut self, named: Named, report: &mut Report, means: &Means) {
        let Named { targets, refreshed, unnamed, widened } = named;
        report.targets = targets.len() + refreshed.len() + unnamed.len();
        unnamed.into_iter().for_each(|why| report.fail(why));
        report.widened = widened;
        for (is_refresh, list) in [(false, targets), (true, refreshed)] {
            for target in list {
                // One that cannot be understood (a payload that makes no URL, say) must not keep the others.
                if let Err(error) = means.invalidator.check(&target) {
                    report.fail(format!("{target}: {error}"));
                } else if self.known.insert((is_refresh, target.to_string())) {
                    if is_refresh { &mut self.refreshed } else { &mut self.targets }.push(target);
                }
            }
        }
    }

    fn len(&self) -> usize {
        self.targets.len() + self.refreshed.len()
    }

    fn finish(self, rule: &Rule, events: &[&Event], reports: &mut [Report], means: &Means) {
        let Some(first) = reports.iter_mut().find(|report| report.names_anything()) else { return };
        let done = self.carry_out(rule, &by(rule, events), means);
        (first.matched, first.at_least) = (done.matched, done.at_least);
        first.refresh = done.refresh;
        first.not_refreshed = done.not_refreshed;
        for report in reports.iter_mut().filter(|report| report.names_anything()) {
            report.is_temporary |= done.is_temporary;
            done.errors.iter().for_each(|error| report.fail(error.clone()));
        }
    }

    fn carry_out(&self, rule: &Rule, by: &str, means: &Means) -> Report {
        let mut report = Report::of(rule);
        // Before the purge: it takes away what it names.
        let requests = (!self.refreshed.is_empty()).then(|| means.invalidator.requests(&self.refreshed));
        if !self.targets.is_empty() {
            match means.invalidator.purge(by, &self.targets, rule.strength) {
                Ok(purged) => (report.matched, report.at_least) = (purged.matched, purged.at_least),
                Err(error) => report.fail(error.to_string()),
            }
            means.metrics.purge("webhook", report.matched);
        }
        match requests {
            Some(Ok((mut requests, others))) => {
                // The most popular come first.
                let limit = rule.refresh_limit.unwrap_or(usize::MAX);
                report.not_refreshed = requests.len().saturating_sub(limit);
                requests.truncate(limit);
                self.refresh(requests, others, by, &mut report, means);
            }
            Some(Err(error)) => report.fail(error.to_string()),
            None => {}
        }
        report
    }

    fn refresh(&self, requests: Vec<Arc<Asked>>, others: u64, by: &str, report: &mut Report, means: &Means) {
        match means.warmer.refresh(requests, others, None, by) {
            Ok(progress) => report.refresh = Some(progress.id),
            Err(refusal) => {
                report.fail(format!("nothing is fetched again: {refusal}"));
                // What was purged is not there to be fetched again later.
                report.is_temporary = self.targets.is_empty();
            }
        }
    }
}

/// Who asks for it, for the history.
fn by(rule: &Rule, events: &[&Event]) -> String {
    let deliveries = match events {
        [] => return format!("rule {:?}", rule.name),
        [only] => format!("delivery {:?}", only.delivery),
        [first, others @ ..] => format!("delivery {:?} and {} other events", first.delivery, others.len()),
    };
    format!("rule {:?}, {deliveries} of {:?}", rule.name, rule.webhook)
}

fn tell(rule: &Rule, event: &Event, report: &Report) {
    let skipped = report.skipped.as_ref().map(ToString::to_string);
    if report.is_incomplete() {
        tracing::warn!(
            rule = %rule.name, webhook = %event.webhook, delivery = event.delivery, event = event.name,
            targets = report.targets, failed = report.failed, errors = ?report.errors, skipped,
            "a rule could not do all that an event asks for"
        );
        return;
    }
    if report.widened {
        tracing::warn!(
            rule = %rule.name, webhook = %event.webhook, delivery = event.delivery, event = event.name,
            "an event names so much that all that it may name was purged"
        );
    }
    tracing::info!(
        rule = %rule.name, webhook = %event.webhook, delivery = event.delivery, event = event.name,
        targets = report.targets, matched = report.matched, skipped,
        "a rule heard an event"
    );
}
