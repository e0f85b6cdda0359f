//! `staleproof refresh`

use clap::Args;
use http::Method;
use serde_json::{Value, json};

use super::Failure;
use super::job::JobArgs;
use super::target::TargetArgs;

/// Has what is stored fetched again, by the requests that led to it, those asked for most often first. Exit status 1 if any
/// failed. Ctrl-C ends only the waiting.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  staleproof refresh --tag news
  staleproof refresh --route article --concurrency 8
  staleproof refresh --prefix /blog/ --purge
  staleproof refresh --everything --yes --no-wait")]
pub(super) struct Refresh {
    #[command(flatten)]
    target: TargetArgs,

    /// Purge it as well: it is not served until the new is there
    #[arg(long)]
    purge: bool,

    /// Requests at once [default: 4, or what the server allows]
    #[arg(long, value_name = "NUMBER")]
    concurrency: Option<usize>,

    /// With --everything: yes, really
    #[arg(long)]
    yes: bool,

    #[command(flatten)]
    admin: JobArgs,
}

impl Refresh {
    pub(super) fn run(self) -> Result<(), Failure> {
        let mut wanted = self.target.target(self.yes)?;
        if self.purge {
            wanted.insert("purge".to_owned(), json!(true));
        }
        if let Some(concurrency) = self.concurrency {
            wanted.insert("concurrency".to_owned(), json!(concurrency));
        }
        let wanted = Value::Object(wanted).to_string();
        self.admin.follow(self.admin.ask(Method::POST, "/v1/refresh", Some(wanted))?)
    }
}
