//! `staleproof check`

use std::path::PathBuf;

use clap::Args;

use super::{ConfigFile, Failure, print};

/// Reports every mistake in the configuration, with its place and what was probably meant.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  staleproof check
  staleproof check /etc/staleproof/proxy.yaml && systemctl restart staleproof")]
pub(super) struct Check {
    /// The configuration file, in place of --config
    path: Option<PathBuf>,

    #[command(flatten)]
    file: ConfigFile,
}

impl Check {
    pub(super) fn run(self) -> Result<(), Failure> {
        let file = self.path.map_or(self.file, |config| ConfigFile { config });
        let plan = file.load()?;
        let count =
            |number: usize, noun: &str| format!("{number} {noun}{}", if number == 1 { "" } else { "s" });
        print(format_args!(
            "{} is fine: {}, {}, {}, {}, {}",
            file.config.display(),
            count(plan.upstreams.len(), "upstream"),
            count(plan.keys.len(), "key"),
            count(plan.routes.routes().len(), "route"),
            count(plan.webhooks.len(), "webhook"),
            count(plan.rules.len(), "invalidation rule"),
        ))
    }
}
