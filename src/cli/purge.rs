//! `staleproof purge`

use clap::Args;
use http::{Method, Uri};
use serde_json::{Map, Value, json};

use super::{Failure, client, print};

/// Purges one thing. When the command ends well, nothing that was fetched before is ever served again.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  staleproof purge --url http://www.example.com/products/42
  staleproof purge --tag product:42
  staleproof purge --key user_payload --partition user=42
  staleproof purge --route user
  staleproof purge --everything --yes")]
pub(super) struct Purge {
    #[command(flatten)]
    what: What,

    /// With --key or --route: only what agrees in this partition field (may be repeated)
    #[arg(long, value_name = "FIELD=VALUE")]
    partition: Vec<String>,

    /// With --everything: yes, really
    #[arg(long)]
    yes: bool,

    /// The admin listener
    #[arg(long, env = "STALEPROOF_ADMIN", default_value = "http://127.0.0.1:9090", value_name = "URL")]
    admin: Uri,

    /// A token that may purge
    #[arg(long, env = "STALEPROOF_TOKEN", hide_env_values = true, value_name = "SECRET")]
    token: Option<String>,

    /// Print the answer as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct What {
    /// A URL with its query, in all its variants
    #[arg(long)]
    url: Option<String>,
    /// All that carries a tag
    #[arg(long)]
    tag: Option<String>,
    /// All that was fetched for a host
    #[arg(long)]
    host: Option<String>,
    /// All that was fetched by a route
    #[arg(long)]
    route: Option<String>,
    /// All that is stored under a key constructor
    #[arg(long)]
    key: Option<String>,
    /// All that is stored under a namespace
    #[arg(long)]
    namespace: Option<String>,
    /// All of it
    #[arg(long)]
    everything: bool,
}

impl Purge {
    pub(super) fn run(self) -> Result<(), Failure> {
        let target = self.target()?;
        let (status, answer) = client::ask(
            Method::POST,
            &self.admin,
            "/v1/purge",
            self.token.as_deref(),
            Some(target.to_string()),
        )?;
        let answer: Value = serde_json::from_slice(&answer)
            .map_err(|_| Failure::Failed(format!("{} is not an admin listener ({status})", self.admin)))?;
        if !status.is_success() {
            let detail = answer["detail"].as_str().unwrap_or("no reason was given");
            let hint =
                if status == http::StatusCode::UNAUTHORIZED { " (--token or STALEPROOF_TOKEN)" } else { "" };
            return Err(Failure::Failed(format!("{detail}{hint}")));
        }
        if self.json {
            print(format_args!("{answer}"))?;
        } else {
            match answer["matched"].as_u64().unwrap_or(0) {
                0 => print(format_args!(
                    "nothing stored matched; whatever is being fetched right now will not be kept"
                ))?,
                1 => print(format_args!("purged 1 stored response ({} bytes)", answer["bytes"]))?,
                many => print(format_args!("purged {many} stored responses ({} bytes)", answer["bytes"]))?,
            }
        }
        Ok(())
    }

    /// The target in JSON.
    fn target(&self) -> Result<Value, Failure> {
        let What { url, tag, host, route, key, namespace, everything } = &self.what;
        let named = [
            ("url", url),
            ("tag", tag),
            ("host", host),
            ("route", route),
            ("key", key),
            ("namespace", namespace),
        ];
        let mut target: Map<String, Value> = named
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), json!(value.as_ref()?))))
            .collect();
        if *everything {
            if !self.yes {
                eprintln!("error: this purges everything that is stored; say --yes if that is what you want");
                return Err(Failure::Usage);
            }
            target.insert("everything".to_owned(), json!(true));
        }
        if !self.partition.is_empty() {
            let pairs = self.partition.iter().map(|pair| match pair.split_once('=') {
                Some((field, value)) => Ok((field.to_owned(), json!(value))),
                None => {
                    eprintln!("error: --partition {pair:?} is not FIELD=VALUE");
                    Err(Failure::Usage)
                }
            });
            target.insert("partition".to_owned(), Value::Object(pairs.collect::<Result<_, _>>()?));
        }
        Ok(Value::Object(target))
    }
}
