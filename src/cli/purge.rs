//! `staleproof purge`

use clap::Args;
use http::Method;
use serde_json::{Value, json};

use super::client::AdminArgs;
use super::target::TargetArgs;
use super::{Failure, print};

/// Purges what is named. When the command ends well, nothing of it that was fetched before is ever served again.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  staleproof purge --url http://www.example.com/products/42
  staleproof purge --tag product:42
  staleproof purge --key user_payload --partition user=42
  staleproof purge --route user --soft
  staleproof purge --prefix http://www.example.com/blog/ --status 404
  staleproof purge --glob '/*/edit' --dry-run
  staleproof purge --everything --yes")]
pub(super) struct Purge {
    #[command(flatten)]
    target: TargetArgs,

    /// It becomes stale, and is not gone: served only as stale responses may be, until the app has confirmed or replaced it
    #[arg(long)]
    soft: bool,

    /// Change nothing: say what would be purged
    #[arg(long)]
    dry_run: bool,

    /// With --everything: yes, really
    #[arg(long)]
    yes: bool,

    #[command(flatten)]
    admin: AdminArgs,

    /// Print the answer as JSON
    #[arg(long)]
    json: bool,
}

impl Purge {
    pub(super) fn run(self) -> Result<(), Failure> {
        let mut target = self.target.target(self.yes || self.dry_run)?;
        for (option, given) in [("soft", self.soft), ("dry_run", self.dry_run)] {
            if given {
                target.insert(option.to_owned(), json!(true));
            }
        }
        let answer = self.admin.ask(Method::POST, "/v1/purge", Some(Value::Object(target).to_string()))?;
        if self.json { print(answer) } else { self.tell(&answer) }
    }

    fn tell(&self, answer: &Value) -> Result<(), Failure> {
        let (matched, bytes) = (answer["matched"].as_u64().unwrap_or(0), &answer["bytes"]);
        let or_more = if answer["at_least"] == true { " or more" } else { "" };
        let responses = if matched == 1 { "response" } else { "responses" };
        if self.dry_run {
            print(format_args!("would match {matched} stored {responses} ({bytes} bytes)"))?;
            let examples = answer["examples"].as_array().map(Vec::as_slice).unwrap_or_default();
            return examples
                .iter()
                .filter_map(Value::as_str)
                .try_for_each(|url| print(format_args!("  {url}")));
        }
        match (matched, self.soft) {
            (0, false) => print("nothing stored matched; what is being fetched right now will not be kept"),
            (0, true) => print("nothing stored matched; what is being fetched right now will be stale"),
            (_, false) => print(format_args!("purged {matched}{or_more} stored {responses} ({bytes} bytes)")),
            (_, true) => {
                print(format_args!("{matched}{or_more} stored {responses} made stale ({bytes} bytes)"))
            }
        }
    }
}
