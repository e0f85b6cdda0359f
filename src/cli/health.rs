//! `staleproof health`

use clap::Args;
use http::{Method, Uri};

use super::{Failure, client};

/// Asks `/readyz`.
#[derive(Debug, Args)]
pub(super) struct Health {
    /// The admin listener
    #[arg(long, env = "STALEPROOF_ADMIN", default_value = "http://127.0.0.1:9090", value_name = "URL")]
    admin: Uri,
}

impl Health {
    pub(super) fn run(self) -> Result<(), Failure> {
        let (status, _) = client::ask(Method::GET, &self.admin, "/readyz", None, None)?;
        if status.is_success() { Ok(()) } else { Err(Failure::Failed(format!("not ready ({status})"))) }
    }
}
