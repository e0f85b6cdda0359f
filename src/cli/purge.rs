//! `staleproof purge`

use clap::Args;
use http::Method;
use serde_json::{Map, Value, json};

use super::client::AdminArgs;
use super::{Failure, print};

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

    /// It becomes stale, and is not gone: served only as stale responses may be, until the app has confirmed or replaced it
    #[arg(long)]
    soft: bool,

    /// With --everything: yes, really
    #[arg(long)]
    yes: bool,

    #[command(flatten)]
    admin: AdminArgs,

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
        let mut target = self.target()?;
        if self.soft {
            target["soft"] = json!(true);
        }
        let target = target.to_string();
        let answer = self.admin.ask(Method::POST, "/v1/purge", Some(target))?;
        if self.json {
            return print(answer);
        }
        let bytes = &answer["bytes"];
        if self.soft {
            let matched = &answer["matched"];
            return print(format_args!("made stale: {matched} stored ({bytes} bytes)"));
        }
        match answer["matched"].as_u64().unwrap_or(0) {
            0 => print("nothing stored matched; what is being fetched right now will not be kept"),
            1 => print(format_args!("purged 1 stored response ({bytes} bytes)")),
            many => print(format_args!("purged {many} stored responses ({bytes} bytes)")),
        }
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
                return Err(Failure::usage(
                    "this purges everything that is stored; say --yes if that is what you want",
                ));
            }
            target.insert("everything".to_owned(), json!(true));
        }
        if !self.partition.is_empty() {
            if route.is_none() && key.is_none() {
                return Err(Failure::usage("--partition goes with --route or --key"));
            }
            let pairs = self.partition.iter().map(|pair| match pair.split_once('=') {
                Some((field, value)) => Ok((field.to_owned(), json!(value))),
                None => Err(Failure::usage(format_args!("--partition {pair:?} is not FIELD=VALUE"))),
            });
            target.insert("partition".to_owned(), Value::Object(pairs.collect::<Result<_, _>>()?));
        }
        Ok(Value::Object(target))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::invalidation::Target;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        purge: Purge,
    }

    fn target(line: &str) -> Result<Value, Failure> {
        let words = std::iter::once("purge").chain(line.split(' '));
        Line::try_parse_from(words).map_err(|error| Failure::Usage(error.to_string()))?.purge.target()
    }

    #[test]
    fn what_the_command_line_names_is_what_the_api_purges() {
        let partition = |user: &str| [("user".to_owned(), user.to_owned())].into();
        for (line, expected) in [
            ("--url http://a.test/?x=1", Target::Url("http://a.test/?x=1".into())),
            ("--tag a=b", Target::Tag("a=b".into())),
            ("--host a.test", Target::Host("a.test".into())),
            ("--namespace users", Target::Namespace("users".into())),
            ("--route user", Target::Route("user".into())),
            (
                "--route user --partition user=4=2",
                Target::RoutePartition { route: "user".into(), values: partition("4=2") },
            ),
            (
                "--key page --partition user=",
                Target::KeyPartition { key: "page".into(), values: partition("") },
            ),
            ("--everything --yes", Target::Everything),
        ] {
            let target = target(line).unwrap();
            assert_eq!(serde_json::from_value::<Target>(target).unwrap(), expected, "{line}");
        }
    }

    #[test]
    fn a_command_line_that_is_not_clear_purges_nothing() {
        for line in [
            "--yes",
            "--tag a --url http://a.test/",
            "--everything",
            "--tag a --partition user=42",
            "--key page --partition user",
        ] {
            assert!(matches!(target(line), Err(Failure::Usage(_))), "{line}");
        }
    }
}
