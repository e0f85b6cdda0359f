//! `staleproof hooks test`: what a delivery would do.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use clap::Args;
use http::Method;
use serde::Serialize;

use super::super::explain::read;
use super::super::{ConfigFile, Failure, print};
use crate::clock::Clock;
use crate::config::Plan;
use crate::inspect;
use crate::invalidation::event::Event;
use crate::invalidation::rule::Rule;
use crate::invalidation::{Invalidator, Log};
use crate::store::Memory;
use crate::webhooks::Raw;

/// Tells what a delivery would do: whether it is believed, what it says has changed, and of every rule whether it would run,
/// and what that would purge. Nothing is sent, and nothing purged.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  staleproof hooks test delivery.json
  staleproof hooks test delivery.json --webhook shop -H 'X-Shopify-Topic: products/update'
  staleproof hooks test delivery.json --webhook app -H 'webhook-id: msg_1' \\
    -H 'webhook-timestamp: 1700000000' -H 'webhook-signature: v1,…' --at 2023-11-14T22:13:20Z")]
pub(super) struct Test {
    /// The body of the delivery; - reads standard input
    body: PathBuf,

    /// The webhook, by its name in the configuration; not needed if there is only one
    #[arg(long, value_name = "NAME")]
    webhook: Option<String>,

    /// A field of the delivery (may be repeated). Without one its signature is not checked
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    headers: Vec<String>,

    /// The query of its URL, for tokens that are there
    #[arg(long, default_value = "", value_name = "QUERY")]
    query: String,

    /// The address it comes from
    #[arg(long, default_value = "127.0.0.1", value_name = "ADDRESS")]
    client: IpAddr,

    /// When it comes (default: now)
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_rfc3339)]
    at: Option<std::time::SystemTime>,

    /// Print JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    file: ConfigFile,
}

impl Test {
    pub(super) fn run(self) -> Result<(), Failure> {
        let plan = self.file.load()?;
        let body = Bytes::from(read(&self.body)?);
        let told = self.tell(&plan, &body)?;
        if self.json { print(serde_json::to_string_pretty(&told)?) } else { print(told) }
    }

    fn tell(&self, plan: &Plan, body: &Bytes) -> Result<Told, Failure> {
        let hook = super::hook(plan, self.webhook.as_deref())?;
        let headers =
            inspect::fields(&self.headers).map_err(|error| Failure::usage(format_args!("-H {error}")))?;
        let query = if self.query.is_empty() { String::new() } else { format!("?{}", self.query) };
        let target = format!("{}{query}", hook.path);
        let raw = Raw::new(&Method::POST, &target, &headers, body);
        let clock = Clock::system();
        let now = self.at.map_or_else(|| clock.now(), crate::clock::Timestamp::from);
        let is_checked = !self.headers.is_empty() || !self.query.is_empty();
        let signature = match hook.verify.check(&raw, &hook.secrets, self.client, now) {
            _ if !is_checked => "not checked: no fields are given (-H)".to_owned(),
            Ok(()) => "believed".to_owned(),
            Err(why) => format!("not believed: {why}"),
        };
        let json = raw.json().map_err(|why| Failure::Failed(format!("the body is not JSON: {why}")))?;
        let delivery = hook.delivery_id(&raw).text;
        let log = Arc::new(Log::new(1));
        let store = Arc::new(Memory::new(plan.memory));
        let invalidator = Invalidator::new(log, store, Arc::clone(&plan.routes), clock);
        let json = hook.verify.without_secret(json);
        let events = Event::all(&hook.name, &delivery, &hook.event, &raw, &json);
        let events = events.iter().map(|event| EventLine::of(event, &plan.rules, &invalidator)).collect();
        Ok(Told { webhook: hook.name.to_string(), signature, delivery, events })
    }
}

/// What is told of a delivery.
#[derive(Debug, Serialize)]
struct Told {
    webhook: String,
    signature: String,
    delivery: String,
    events: Vec<EventLine>,
}

#[derive(Debug, Serialize)]
struct EventLine {
    name: String,
    kind: Option<&'static str>,
    changed: Option<Vec<String>>,
    rules: Vec<RuleLine>,
}

#[derive(Debug, Serialize)]
struct RuleLine {
    rule: String,
    /// Whether it is about such events at all.
    listens: bool,
    conditions: Vec<ConditionLine>,
    /// Why it would not run.
    skipped: Option<String>,
    purges: Vec<String>,
    refreshes: Vec<String>,
    widened: bool,
    errors: Vec<String>,
}

#[derive(Debug, Serialize)]
struct ConditionLine {
    condition: String,
    holds: bool,
    /// Why nobody knows; it is taken to.
    #[serde(skip_serializing_if = "Option::is_none")]
    failed: Option<String>,
}

impl EventLine {
    fn of(event: &Event, rules: &[Rule], invalidator: &Invalidator) -> Self {
        let of_webhook = rules.iter().filter(|rule| rule.webhook == event.webhook);
        Self {
            name: event.name.clone(),
            kind: event.kind.map(crate::invalidation::event::Kind::as_str),
            changed: event.changed.as_ref().map(|names| names.iter().cloned().collect()),
            rules: of_webhook.map(|rule| RuleLine::of(rule, event, invalidator)).collect(),
        }
    }
}

impl RuleLine {
    fn of(rule: &Rule, event: &Event, invalidator: &Invalidator) -> Self {
        let listens = rule.listens_to(event);
        let conditions = rule.when.iter().filter(|_| listens).map(|condition| ConditionLine {
            condition: condition.to_string(),
            holds: condition.holds(&event.body),
            failed: None,
        });
        let expression = rule.expression.iter().filter(|_| listens).map(|expression| {
            let (condition, held) = (expression.to_string(), expression.holds(event));
            ConditionLine { condition, holds: held != Ok(false), failed: held.err() }
        });
        let mut line = Self {
            rule: rule.name.to_string(),
            listens,
            conditions: conditions.chain(expression).collect(),
            skipped: None,
            purges: Vec::new(),
            refreshes: Vec::new(),
            widened: false,
            errors: Vec::new(),
        };
        if !listens {
            return line;
        }
        match rule.named(event) {
            Err(skipped) => line.skipped = Some(skipped.to_string()),
            Ok(named) => {
                let all = named.targets.iter().chain(&named.refreshed);
                let wrong =
                    all.filter_map(|target| Some(format!("{target}: {}", invalidator.check(target).err()?)));
                line.errors = named.unnamed.iter().cloned().chain(wrong).collect();
                line.purges = named.targets.iter().map(ToString::to_string).collect();
                line.refreshes = named.refreshed.iter().map(ToString::to_string).collect();
                line.widened = named.widened;
            }
        }
        line
    }
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { webhook, signature, delivery, events } = self;
        write!(f, "webhook    {webhook}\nsignature  {signature}\ndelivery   {delivery}")?;
        for event in events {
            let name = if event.name.is_empty() { "(without a name)" } else { &event.name };
            write!(f, "\n\nevent      {name}")?;
            if let Some(kind) = event.kind {
                write!(f, ", {kind}")?;
            }
            if let Some(changed) = &event.changed {
                write!(f, "\nchanged    {}", changed.join(", "))?;
            }
            for rule in &event.rules {
                write!(f, "\n{rule}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for RuleLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = match (&self.skipped, self.listens) {
            (_, false) => "is about other events",
            (Some(skipped), _) => skipped,
            (None, _) => "runs",
        };
        write!(f, "rule       {}: {verdict}", self.rule)?;
        for ConditionLine { condition, holds, failed } in &self.conditions {
            write!(f, "\n  when     {condition}: {}", if *holds { "holds" } else { "does not hold" })?;
            if let Some(why) = failed {
                write!(f, ", since it cannot be evaluated: {why}")?;
            }
        }
        if self.widened {
            f.write_str("\n  widened  it names so much that what they all belong to is named")?;
        }
        for (word, lines) in [("purges", &self.purges), ("fetches", &self.refreshes), ("error", &self.errors)]
        {
            for line in lines {
                write!(f, "\n  {word:<8} {line}")?;
            }
        }
        Ok(())
    }
}
