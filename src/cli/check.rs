//! `staleproof check`

use clap::Args;

use super::{ConfigFile, Failure, print};

/// Reports every mistake in the configuration, with its place and what was probably meant.
#[derive(Debug, Args)]
pub(super) struct Check {
    #[command(flatten)]
    file: ConfigFile,
}

impl Check {
    pub(super) fn run(self) -> Result<(), Failure> {
        let plan = self.file.load()?;
        let count =
            |number: usize, noun: &str| format!("{number} {noun}{}", if number == 1 { "" } else { "s" });
        print(format_args!(
            "{} is fine: {}, {}, {}, {}",
            self.file.config.display(),
            count(plan.routes.routes().len(), "route"),
            count(plan.upstreams.len(), "upstream"),
            count(plan.webhooks.len(), "webhook"),
            count(plan.rules.len(), "invalidation rule"),
        ))?;
        Ok(())
    }
}
