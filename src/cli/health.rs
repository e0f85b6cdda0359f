//! `staleproof health`

use std::time::Duration;

use clap::Args;
use http::{Method, Uri};

use super::{Failure, client};

/// Long enough for a busy machine, short enough for those who run health checks.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Asks `/healthz`: whether the server is alive. Draining is part of a life.
#[derive(Debug, Args)]
pub(super) struct Health {
    /// Ask `/readyz` instead: whether it takes new requests, which it does not while it drains
    #[arg(long)]
    ready: bool,

    /// The admin listener
    #[arg(long, env = "STALEPROOF_ADMIN", default_value = "http://127.0.0.1:9090", value_name = "URL")]
    admin: Uri,
}

impl Health {
    pub(super) fn run(self) -> Result<(), Failure> {
        let path = if self.ready { "/readyz" } else { "/healthz" };
        let (status, _) = client::ask(Method::GET, &self.admin, path, None, None, TIMEOUT)?;
        if status.is_success() {
            return Ok(());
        }
        Err(Failure::Failed(format!("{path} was answered with {status}")))
    }
}
