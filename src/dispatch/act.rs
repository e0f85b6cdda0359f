//! Doing what a rule says of events: here, now, and in one go.

use std::collections::HashSet;
use std::sync::Arc;

use super::{Means, Report, cut};
use crate::clock::Patience;
use crate::invalidation::event::Event;
use crate::invalidation::rule::{Named, OnError, Rule};
use crate::invalidation::{PurgeError, Requests, Target};
use crate::store::Asked;

/// How many targets are named in one go, about.
const MAX_AT_ONCE: usize = 10_000;

/// How many responses that are not fetched again are purged one by one; of more, all that was to be fetched again is.
const MAX_ONE_BY_ONE: usize = 1000;

/// Does it, tells the log, and reports of each event. Of several that are done in one go, the first that names anything has
/// what was purged for all. `patience`: how long counts are waited for.
pub(super) fn run(rule: &Rule, events: &[&Event], means: &Means, patience: &Patience) -> Vec<Report> {
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
            let (events, reports) = (&events[from..=index], &mut reports[from..=index]);
            all.finish(&Deed { rule, by: &by(rule, events), means, patience }, reports);
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
        let Named { targets, refreshed, unnamed, widened, expression_failed } = named;
        report.expression_failed = expression_failed.map(cut);
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

    fn finish(self, deed: &Deed<'_>, reports: &mut [Report]) {
        let Some(first) = reports.iter_mut().find(|report| report.names_anything()) else { return };
        let done = self.carry_out(deed);
        (first.matched, first.at_least) = (done.matched, done.at_least);
        first.refresh = done.refresh;
        first.not_refreshed = done.not_refreshed;
        first.not_refreshed_because = done.not_refreshed_because;
        for report in reports.iter_mut().filter(|report| report.names_anything()) {
            done.errors.iter().for_each(|error| report.fail(error.clone()));
        }
    }

    fn carry_out(&self, deed: &Deed<'_>) -> Report {
        let mut report = Report::of(deed.rule);
        // Before the purge: it takes away what it names.
        let requests = (!self.refreshed.is_empty()).then(|| deed.requests(&self.refreshed));
        deed.purge(&self.targets, &mut report);
        match requests {
            Some(Ok(requests)) => self.refresh(requests, deed, &mut report),
            Some(Err(error)) => report.fail(error.to_string()),
            None => {}
        }
        report
    }

    /// Has fetched again what can be, and purges the rest: the event says that it is old.
    fn refresh(&self, requests: Requests, deed: &Deed<'_>, report: &mut Report) {
        let Requests { mut again, others, at_least } = requests;
        let number_of_others = others.len();
        let max = deed.means.warmer.max_requests();
        let limit = deed.rule.refresh_limit.map_or(max, |limit| limit.min(max));
        // The most popular come first.
        let mut left = again.split_off(again.len().min(limit));
        if !left.is_empty() {
            report.not_refreshed_because.push(format!("no more than {limit} requests are made again"));
        }
        if !others.is_empty() {
            report.not_refreshed_because.push("only their own clients can ask for some".to_owned());
        }
        left.extend(others);
        report.not_refreshed = left.len();
        // Before the rest is fetched: what is fetched after a purge is not struck by it.
        if at_least {
            report.not_refreshed_because.push("there is more than could be found in time".to_owned());
            deed.purge(&self.only_refreshed(), report);
        } else {
            self.purge_instead(&left, deed, report);
        }
        let number = again.len();
        match deed.means.warmer.refresh(again, number_of_others as u64, None, deed.by) {
            Ok(progress) => report.refresh = Some(progress.id),
            Err(refusal) => {
                report.not_refreshed_because.push(refusal.to_string());
                report.not_refreshed += number;
                deed.purge(&self.only_refreshed(), report);
            }
        }
    }

    fn purge_instead(&self, left: &[Arc<Asked>], deed: &Deed<'_>, report: &mut Report) {
        let whole = self.only_refreshed();
        if left.is_empty() || whole.is_empty() {
            return;
        }
        let urls: HashSet<String> =
            left.iter().take(MAX_ONE_BY_ONE + 1).map(|asked| asked.to_string()).collect();
        let urls: Vec<_> = urls.into_iter().map(Target::Url).collect();
        let are_urls = urls.iter().all(|url| deed.means.invalidator.check(url).is_ok());
        let by_url = left.len() <= MAX_ONE_BY_ONE && are_urls;
        deed.purge(if by_url { &urls } else { &whole }, report);
    }

    /// What is to be fetched again and is not purged anyway.
    fn only_refreshed(&self) -> Vec<Target> {
        let is_purged = |target: &&Target| self.known.contains(&(false, target.to_string()));
        self.refreshed.iter().filter(|target| !is_purged(target)).cloned().collect()
    }
}

/// Who does it, for which rule, by what means.
struct Deed<'d> {
    rule: &'d Rule,
    by: &'d str,
    means: &'d Means,
    patience: &'d Patience,
}

impl Deed<'_> {
    fn requests(&self, targets: &[Target]) -> Result<Requests, PurgeError> {
        self.means.invalidator.requests(targets, self.patience.left())
    }

    fn purge(&self, targets: &[Target], report: &mut Report) {
        if targets.is_empty() {
            return;
        }
        let mut matched = 0;
        let Self { rule, by, means, patience } = self;
        match means.invalidator.purge_within(patience.left(), by, targets, rule.strength) {
            Ok(purged) => {
                matched = purged.matched;
                report.matched += matched;
                report.at_least |= purged.at_least;
            }
            Err(error) => report.fail(error.to_string()),
        }
        means.metrics.purge("webhook", matched);
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
    if let Some(why) = &report.expression_failed {
        tracing::warn!(
            rule = %rule.name, webhook = %event.webhook, delivery = event.delivery, event = event.name, why,
            "a rule's expression cannot be evaluated: the rule ran as if it held"
        );
    }
    if !report.not_refreshed_because.is_empty() {
        tracing::warn!(
            rule = %rule.name, webhook = %event.webhook, delivery = event.delivery, event = event.name,
            number = report.not_refreshed, because = ?report.not_refreshed_because,
            "what an event wants fetched again was purged instead"
        );
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
