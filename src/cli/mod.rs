//! The commands, one file each.

mod check;
pub(crate) mod client;
mod demo;
mod generate;
mod health;
mod key;
mod purge;
mod run;

use std::fmt::Display;
use std::future::Future;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use tracing_subscriber::EnvFilter;

use crate::config::{self, Plan};

/// An HTTP caching reverse proxy whose purges can be trusted.
///
/// Put it in front of an existing web app, say in one YAML file how keys are built, how long responses are fresh
/// and which events invalidate what, and tell it by signed webhooks what has changed. Once a purge is
/// acknowledged, no response whose fetch began before it is ever served again.
#[derive(Debug, Parser)]
#[command(
    name = "staleproof",
    version,
    max_term_width = 100,
    after_help = "\
Try it:
  staleproof demo                    an example app behind the proxy, with things to try
  staleproof check                   every mistake in proxy.yaml, at once
  staleproof run                     serve
  staleproof key http://localhost/a  what the key of a request would be
  staleproof purge --tag product:42  forget what is tagged so"
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,

    /// What is logged to standard error: error, warn, info, debug, or a filter such as `staleproof::origin=debug`
    #[arg(long, global = true, env = "STALEPROOF_LOG", default_value = "info", value_name = "FILTER")]
    log: String,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve
    Run(run::Run),
    /// Check the configuration: exit status 2 if anything is wrong with it
    Check(check::Check),
    /// Print the cache key of a request, and the route it takes; asks nobody
    Key(key::Key),
    /// Purge what is stored, through the admin API
    Purge(purge::Purge),
    /// Serve an example app behind the proxy, with things to try
    Demo(demo::Demo),
    /// Ask a running server whether it is ready: exit status 1 if not (for container health checks)
    Health(health::Health),
    /// Print the JSON Schema of the configuration, for editors
    Schema,
    /// Print shell completions
    Completions(generate::Completions),
    /// Write man pages
    Man(generate::Man),
}

/// Which configuration.
#[derive(Debug, Args)]
struct ConfigFile {
    /// The configuration file
    #[arg(short, long, env = "STALEPROOF_CONFIG", default_value = "proxy.yaml", value_name = "FILE")]
    config: PathBuf,
}

impl ConfigFile {
    /// Loads it; what is wrong with it goes to standard error.
    fn load(&self) -> Result<Plan, Failure> {
        config::load(&self.config).map_err(|problems| {
            eprintln!("{problems}");
            Failure::Usage
        })
    }
}

/// How a command ends when it does not end well.
#[derive(Debug)]
enum Failure {
    /// The configuration or the command line is wrong, and has been explained: exit status 2.
    Usage,
    /// It could not be done: exit status 1.
    Failed(String),
}

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Failed(error.to_string())
    }
}

impl Cli {
    /// Runs the command; errors are explained on standard error.
    pub fn run(self) -> ExitCode {
        if let Err(problem) = start_log(&self.log) {
            eprintln!("error: --log {:?}: {problem}", self.log);
            return ExitCode::from(2);
        }
        let result = match self.command {
            Command::Run(run) => run.run(),
            Command::Check(check) => check.run(),
            Command::Key(key) => key.run(),
            Command::Purge(purge) => purge.run(),
            Command::Demo(demo) => demo.run(),
            Command::Health(health) => health.run(),
            Command::Schema => generate::schema(),
            Command::Completions(completions) => completions.run(),
            Command::Man(man) => man.run(),
        };
        match result {
            Ok(()) => ExitCode::SUCCESS,
            Err(Failure::Usage) => ExitCode::from(2),
            Err(Failure::Failed(reason)) => {
                eprintln!("error: {reason}");
                ExitCode::FAILURE
            }
        }
    }
}

fn start_log(filter: &str) -> Result<(), String> {
    let filter = EnvFilter::try_new(filter).map_err(|error| error.to_string())?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .with_target(false)
        .try_init()
        .map_err(|error| error.to_string())
}

/// Prints a line. A reader that has seen enough (`| head`) is no failure.
fn print(text: impl Display) -> Result<(), Failure> {
    match writeln!(io::stdout(), "{text}") {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// A runtime for commands that serve.
fn serve(future: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(future)
}

/// Ready when the process is told to end: SIGTERM or Ctrl-C.
async fn shutdown_signal() {
    let interrupted = tokio::signal::ctrl_c();
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminated) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = interrupted => {}
                _ = terminated.recv() => {}
            }
            return;
        }
    }
    let _ = interrupted.await;
}
