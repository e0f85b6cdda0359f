//! The commands, one file each.
//!
//! Exit status: 0; 1 if it could not be done; 2 if the command line or the configuration is wrong.

mod check;
pub(crate) mod client;
mod demo;
mod explain;
mod generate;
mod health;
mod hooks;
mod job;
mod key;
mod purge;
mod refresh;
mod run;
mod stored;
mod target;
mod warm;

use std::fmt;
use std::future::Future;
use std::io::{self, IsTerminal, Write};
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use http::Method;
use tracing_subscriber::EnvFilter;

use crate::config::{self, Plan};
use crate::exchange::Routed;
use crate::inspect::{self, Asked, NoAnswer};
use crate::sealed;

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
  staleproof explain http://localhost/a
                                     what it would get now, and why
  staleproof purge --tag product:42  forget what is tagged so
  staleproof warm --sitemap http://localhost/sitemap.xml
                                     request it all before its clients come"
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
    /// Check the configuration: exit status 2 if anything is wrong with it, which is told with its place
    Check(check::Check),
    /// Print the cache key of a request, and the route it takes; asks nobody
    Key(key::Key),
    /// Tell what a request would get and why, or whether a response would be stored
    Explain(explain::Explain),
    /// Purge what is stored, through the admin API
    Purge(purge::Purge),
    /// Have what is stored fetched again, by the requests that led to it
    Refresh(refresh::Refresh),
    /// List what is stored
    Entries(stored::Entries),
    /// List the tags that what is stored can be purged by
    Tags(stored::Tags),
    /// List the last purges
    Log(stored::Log),
    /// Have URLs, or those of a sitemap, requested before their clients come
    Warm(warm::Warm),
    Hooks(hooks::Hooks),
    /// Serve an example app behind the proxy, with things to try
    Demo(demo::Demo),
    /// Ask a running server whether it is well: exit status 1 if not (for container health checks)
    Health(health::Health),
    /// Print the JSON Schema of the configuration, for editors
    Schema,
    /// Print shell completions
    Completions(generate::Completions),
    /// Write man pages
    Man(generate::Man),
}

/// A request that is asked about.
#[derive(Debug, Args)]
struct AskedArgs {
    /// The URL of the request
    url: String,

    /// The method
    #[arg(short = 'X', long, default_value = "GET")]
    method: Method,

    /// A field of the request (may be repeated); a Host takes the place of the URL's
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    headers: Vec<String>,

    /// The client's address
    #[arg(long, default_value = "127.0.0.1", value_name = "ADDRESS")]
    client: IpAddr,
}

impl AskedArgs {
    /// The request as it would come to the cache.
    fn routed(&self, plan: &Plan) -> Result<Routed, Failure> {
        let headers =
            inspect::fields(&self.headers).map_err(|error| Failure::usage(format_args!("-H {error}")))?;
        let (url, method, client) = (self.url.clone(), self.method.clone(), self.client);
        let asked = Asked { url, method, headers, client };
        asked.routed(&plan.routes).map_err(|error| match error {
            NoAnswer::NoRoute => Failure::Failed(error.to_string()),
            NoAnswer::Url { .. } | NoAnswer::Field(_) => Failure::usage(error),
        })
    }
}

/// Which configuration.
#[derive(Debug, Args)]
struct ConfigFile {
    /// The configuration file
    #[arg(short, long, env = "STALEPROOF_CONFIG", default_value = "proxy.yaml", value_name = "FILE")]
    config: PathBuf,
}

impl ConfigFile {
    /// Loads it; whatever is wrong with it is the failure.
    fn load(&self) -> Result<Plan, Failure> {
        if !self.config.exists() {
            return Err(Failure::usage(format_args!(
                "there is no {} here\nSay where it is with --config, or begin with the one that the demo runs on:\n  \
                 staleproof demo --print-config > proxy.yaml",
                self.config.display()
            )));
        }
        config::load(&self.config).map_err(|problems| Failure::Usage(problems.render(styled())))
    }
}

/// How a command ends when it does not end well.
#[derive(Debug)]
enum Failure {
    /// The configuration or the command line is wrong: exit status 2. The text stands for itself.
    Usage(String),
    /// It could not be done: exit status 1.
    Failed(String),
}

impl Failure {
    /// The command line is wrong.
    fn usage(reason: impl fmt::Display) -> Self {
        Self::Usage(format!("error: {reason}"))
    }
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
            Command::Explain(explain) => explain.run(),
            Command::Purge(purge) => purge.run(),
            Command::Refresh(refresh) => refresh.run(),
            Command::Entries(entries) => entries.run(),
            Command::Tags(tags) => tags.run(),
            Command::Log(log) => log.run(),
            Command::Warm(warm) => warm.run(),
            Command::Demo(demo) => demo.run(),
            Command::Hooks(hooks) => hooks.run(),
            Command::Health(health) => health.run(),
            Command::Schema => generate::schema(),
            Command::Completions(completions) => completions.run(),
            Command::Man(man) => man.run(),
        };
        match result {
            Ok(()) => ExitCode::SUCCESS,
            Err(Failure::Usage(explanation)) => {
                eprintln!("{explanation}");
                ExitCode::from(2)
            }
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
        .with_ansi(styled())
        .with_target(false)
        .try_init()
        .map_err(|error| error.to_string())
}

/// Whether standard error is to be in colours (<https://no-color.org>).
fn styled() -> bool {
    io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Prints a command's result. A reader that has had enough (`| head`) is no failure.
fn print(text: impl fmt::Display) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// A runtime for commands that serve.
fn serve(future: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    sealed::raise_descriptor_limit();
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(future)
}

/// Ready when the process is told to end: SIGTERM or Ctrl-C. Told again, it ends at once.
async fn shutdown_signal() {
    termination().await;
    tracing::info!("finishing what is in flight; told again, this ends at once");
    tokio::spawn(async {
        termination().await;
        // What a shell reports of a process that SIGINT ended.
        std::process::exit(130);
    });
}

async fn termination() {
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

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_and_every_option_says_what_it_is() {
        for command in Cli::command().get_subcommands() {
            assert!(command.get_about().is_some(), "{}", command.get_name());
            for argument in command.get_arguments() {
                assert!(argument.get_help().is_some(), "{} {}", command.get_name(), argument.get_id());
            }
        }
    }
}
