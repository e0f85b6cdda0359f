//! `staleproof hooks send`: a delivery, signed as its sender would sign it.

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use http::{Method, Uri};

use super::super::client::fetch;
use super::super::explain::read;
use super::super::{ConfigFile, Failure, print};
use crate::clock::Clock;
use crate::inspect;
use crate::webhooks::{Delivery, Draft};

/// How long an answer is waited for.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Signs a delivery as its sender would, by the secret in the configuration, and posts it to the running server
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  staleproof hooks send delivery.json
  staleproof hooks send delivery.json --webhook shop -H 'X-Shopify-Topic: products/update'
  echo '{\"type\": \"article.updated\", \"data\": {\"id\": 1}}' | staleproof hooks send -")]
pub(super) struct Send {
    /// The body of the delivery; - reads standard input
    body: PathBuf,

    /// The webhook, by its name in the configuration; not needed if there is only one
    #[arg(long, value_name = "NAME")]
    webhook: Option<String>,

    /// A field of the delivery (may be repeated)
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    headers: Vec<String>,

    /// What stands beside the signature, where its sender has such (may be repeated)
    #[arg(long, value_name = "NAME=VALUE")]
    member: Vec<String>,

    /// The query of its URL
    #[arg(long, default_value = "", value_name = "QUERY")]
    query: String,

    /// By what the delivery is known again (default: a new one each time)
    #[arg(long, value_name = "ID")]
    id: Option<String>,

    /// Where the server listens for webhooks (default: as the configuration says)
    #[arg(long, value_name = "URL")]
    to: Option<Uri>,

    #[command(flatten)]
    file: ConfigFile,
}

impl Send {
    pub(super) fn run(self) -> Result<(), Failure> {
        let plan = self.file.load()?;
        let hook = super::hook(&plan, self.webhook.as_deref())?;
        let body = Bytes::from(read(&self.body)?);
        let headers =
            inspect::fields(&self.headers).map_err(|error| Failure::usage(format_args!("-H {error}")))?;
        let members = self.member.iter().map(|member| {
            let (name, value) = member
                .split_once('=')
                .ok_or_else(|| Failure::usage(format_args!("--member {member:?} is not NAME=VALUE")))?;
            Ok((name.to_owned(), value.to_owned()))
        });
        let members = members.collect::<Result<_, Failure>>()?;
        let draft = Draft { headers, query: self.query, members, body: body.clone() };
        let id = self.id.unwrap_or_else(|| format!("msg_{:016x}", fastrand::u64(..)));
        let Delivery { target, headers } = hook.sign(draft, &id, Clock::system().now())?;
        let to = match self.to {
            Some(to) => to,
            None => format!("http://{}", plan.admin.listen)
                .parse()
                .map_err(|error| Failure::usage(format_args!("--to is needed: {error}")))?,
        };
        let answer = fetch(Method::POST, &to, &target, headers, body, TIMEOUT)?;
        let (status, text) = (answer.status(), String::from_utf8_lossy(answer.body()).into_owned());
        print(text.trim_end())?;
        if status.is_success() {
            Ok(())
        } else {
            Err(Failure::Failed(format!("it was answered with {status}")))
        }
    }
}
