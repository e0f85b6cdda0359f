//! `staleproof hooks`: webhooks, tried before they come and looked at after.

mod deliveries;
mod repair;
mod send;
mod test;

use clap::{Args, Subcommand};

use super::Failure;
use crate::config::Plan;
use crate::webhooks::Hook;

/// Try webhooks, see what came by them, and do again what could not be done
#[derive(Debug, Args)]
pub(super) struct Hooks {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Test(test::Test),
    Send(send::Send),
    /// List the last deliveries, the newest first: number, time, webhook, event, what became of it
    Deliveries(deliveries::Deliveries),
    Replay(deliveries::Replay),
    DeadLetters(deliveries::DeadLetters),
    Repair(repair::Repair),
}

impl Hooks {
    pub(super) fn run(self) -> Result<(), Failure> {
        match self.command {
            Command::Test(test) => test.run(),
            Command::Send(send) => send.run(),
            Command::Deliveries(deliveries) => deliveries.run(),
            Command::Replay(replay) => replay.run(),
            Command::DeadLetters(dead_letters) => dead_letters.run(),
            Command::Repair(repair) => repair.run(),
        }
    }
}

/// The webhook that is meant: the one that is named, or the only one.
fn hook<'p>(plan: &'p Plan, named: Option<&str>) -> Result<&'p Hook, Failure> {
    let names = || plan.webhooks.iter().map(|hook| &*hook.name).collect::<Vec<_>>().join(", ");
    match (named, plan.webhooks.as_slice()) {
        (_, []) => Err(Failure::Failed("the configuration has no webhooks".into())),
        (None, [only]) => Ok(only),
        (None, _) => {
            Err(Failure::usage(format_args!("there are several; say --webhook, one of {}", names())))
        }
        (Some(name), hooks) => hooks.iter().find(|hook| *hook.name == *name).ok_or_else(|| {
            Failure::usage(format_args!("there is no webhook {name:?}; there are {}", names()))
        }),
    }
}
