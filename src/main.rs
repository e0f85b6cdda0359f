//! Flags → configuration → runtime → serve → drain.

use std::process::ExitCode;

use clap::Parser;
use mimalloc::MiMalloc;
use staleproof::cli::Cli;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    Cli::parse().run()
}
