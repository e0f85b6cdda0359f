//! Flags → configuration → runtime → serve → drain.

use std::process::ExitCode;

use clap::Parser;
use staleproof::cli::Cli;
use tikv_jemallocator::Jemalloc;

#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    Cli::parse().run()
}
