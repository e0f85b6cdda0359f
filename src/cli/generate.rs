//! `staleproof schema`, `completions`, `man`: what is made from the program itself.

use std::path::PathBuf;

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::{Cli, Failure, print};
use crate::config;

pub(super) fn schema() -> Result<(), Failure> {
    print(serde_json::to_string_pretty(&config::schema())?)
}

/// Prints what a shell needs to complete commands and options.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  staleproof completions bash > /etc/bash_completion.d/staleproof
  staleproof completions fish > ~/.config/fish/completions/staleproof.fish")]
pub(super) struct Completions {
    /// For which shell
    shell: Shell,
}

impl Completions {
    pub(super) fn run(self) -> Result<(), Failure> {
        // Into memory first: clap_complete panics where it cannot write.
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "staleproof", &mut script);
        print(String::from_utf8_lossy(&script).trim_end())
    }
}

/// Writes one man page per command.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  staleproof man /usr/local/share/man/man1")]
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
