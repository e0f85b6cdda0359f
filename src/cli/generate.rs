//! `staleproof schema`, `completions`, `man`: what is made from the program itself.

use std::path::PathBuf;

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::{Cli, Failure, print};
use crate::config;

pub(super) fn schema() -> Result<(), Failure> {
    print(format_args!("{}", serde_json::to_string_pretty(&config::schema())?))?;
    Ok(())
}

/// Prints completions, for example: staleproof completions bash > /etc/bash_completion.d/staleproof
#[derive(Debug, Args)]
pub(super) struct Completions {
    /// For which shell
    shell: Shell,
}

impl Completions {
    pub(super) fn run(self) -> Result<(), Failure> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "staleproof", &mut script);
        print(String::from_utf8_lossy(&script))
    }
}

/// Writes one man page per command.
#[derive(Debug, Args)]
pub(super) struct Man {
    /// The directory to write to
    #[arg(default_value = ".")]
    directory: PathBuf,
}

impl Man {
    pub(super) fn run(self) -> Result<(), Failure> {
        std::fs::create_dir_all(&self.directory)
            .and_then(|()| clap_mangen::generate_to(Cli::command(), &self.directory))
            .map_err(|error| {
                Failure::Failed(format!("cannot write to {}: {error}", self.directory.display()))
            })
    }
}
