//! `staleproof hooks deliveries`, `replay`, `dead-letters`: what came by the webhooks, through the admin API.

use clap::Args;
use http::Method;
use serde_json::{Value, json};

use super::super::client::AdminArgs;
use super::super::stored::{ListArgs, text};
use super::super::{Failure, print};

#[derive(Debug, Args)]
pub(super) struct Deliveries {
    /// Only those of this webhook
    #[arg(long, value_name = "NAME")]
    webhook: Option<String>,

    #[command(flatten)]
    list: ListArgs,
}

impl Deliveries {
    pub(super) fn run(self) -> Result<(), Failure> {
        let parameters = self.webhook.into_iter().map(|webhook| ("webhook".to_owned(), webhook)).collect();
        let line = |seen: &Value| {
            let (number, matched) = (&seen["number"], &seen["matched"]);
            let (at, webhook, outcome) = (text(seen, "at"), text(seen, "webhook"), text(seen, "outcome"));
            let what = match (text(seen, "event"), text(seen, "why")) {
                ("", "") => String::new(),
                ("", why) => format!(": {why}"),
                (event, _) => format!(" {event}: {matched} matched"),
            };
            format!("{number} {at} {webhook} {outcome}{what}")
        };
        self.list.list("/v1/deliveries", parameters, "deliveries", line).map(drop)
    }
}

/// Does once more what the rules say of a delivery; what it said must have been kept (`keep_bodies`)
#[derive(Debug, Args)]
pub(super) struct Replay {
    /// Its number, as `hooks deliveries` lists it
    number: u64,

    #[command(flatten)]
    admin: AdminArgs,
}

impl Replay {
    pub(super) fn run(self) -> Result<(), Failure> {
        let path = format!("/v1/deliveries/{}/replay", self.number);
        print(self.admin.ask(Method::POST, &path, None)?)
    }
}

/// Lists what a durable dispatcher could not do, tries it again, or forgets it
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  staleproof hooks dead-letters
  staleproof hooks dead-letters --replay 17 18
  staleproof hooks dead-letters --discard --all")]
pub(super) struct DeadLetters {
    /// Which, by the numbers that are listed
    #[arg(value_name = "NUMBER", conflicts_with = "all")]
    numbers: Vec<u64>,

    /// All of them
    #[arg(long)]
    all: bool,

    /// Try them again
    #[arg(long, conflicts_with = "discard")]
    replay: bool,

    /// Forget them
    #[arg(long)]
    discard: bool,

    /// The dispatcher; not needed if only one is durable
    #[arg(long, value_name = "NAME")]
    dispatcher: Option<String>,

    #[command(flatten)]
    list: ListArgs,
}

impl DeadLetters {
    pub(super) fn run(self) -> Result<(), Failure> {
        if !self.replay && !self.discard {
            if self.all || !self.numbers.is_empty() {
                return Err(Failure::usage("say what is to be done with them: --replay or --discard"));
            }
            let parameters =
                self.dispatcher.into_iter().map(|name| ("dispatcher".to_owned(), name)).collect();
            let line = |dead: &Value| {
                let (number, attempts) = (&dead["number"], &dead["attempts"]);
                let (at, rule, delivery, why) =
                    (text(dead, "at"), text(dead, "rule"), text(dead, "delivery"), text(dead, "why"));
                format!("{number} {at} rule {rule:?}, delivery {delivery:?}, {attempts} attempts: {why}")
            };
            return self.list.list("/v1/dead-letters", parameters, "dead_letters", line).map(drop);
        }
        if !self.all && self.numbers.is_empty() {
            return Err(Failure::usage("say which: their numbers, or --all"));
        }
        let mut body = if self.all { json!({ "all": true }) } else { json!({ "numbers": self.numbers }) };
        if let Some(name) = self.dispatcher {
            body["dispatcher"] = name.into();
        }
        let deed = if self.replay { "replay" } else { "discard" };
        let answer =
            self.list.admin.ask(Method::POST, &format!("/v1/dead-letters/{deed}"), Some(body.to_string()))?;
        print(answer)
    }
}
