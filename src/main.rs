//! Flags → configuration → runtime → serve → drain.

use std::process::ExitCode;

use clap::Parser;
use staleproof::cli::Cli;

fn main() -> ExitCode {
    Cli::parse().run()
}
