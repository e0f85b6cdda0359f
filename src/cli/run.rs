//! `staleproof run`

use clap::Args;

use super::{ConfigFile, Failure, serve, shutdown_signal};
use crate::clock::Clock;
use crate::server;

/// Serves until SIGTERM or Ctrl-C, then finishes what is in flight.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  staleproof run
  staleproof run --config /etc/staleproof/proxy.yaml --log warn")]
pub(super) struct Run {
    #[command(flatten)]
    file: ConfigFile,
}

/// The admin token of the shipped configuration.
const DEMO_TOKEN: &str = "demo-token";

impl Run {
    pub(super) fn run(self) -> Result<(), Failure> {
        let plan = self.file.load()?;
        serve(async {
            let bound = server::bind(&plan).await?;
            for address in &bound.addresses {
                tracing::info!("serving on http://{address}");
            }
            tracing::info!("administration and webhooks on http://{}", bound.admin_address);
            if plan.admin.tokens.is_empty() {
                tracing::info!("no admin token is configured, so the purge API refuses everyone");
            }
            if plan.admin.tokens.iter().any(|token| token.secret.reveal() == DEMO_TOKEN) {
                tracing::warn!("the admin token is the demo's, which everybody knows: set STALEPROOF_TOKEN");
            }
            bound.start(plan, Clock::system())?.serve_until(shutdown_signal()).await;
            tracing::info!("stopped");
            Ok(())
        })
    }
}
