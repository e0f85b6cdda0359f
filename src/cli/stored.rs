//! `staleproof entries`, `tags`, `log`: what is stored, by which tags it can be purged, and what was.

use clap::Args;
use http::Method;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use super::client::AdminArgs;
use super::target::TargetArgs;
use super::{Failure, print};

/// How much of a list.
#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// How many at most, up to 1000
    #[arg(long, default_value_t = 100, value_name = "NUMBER")]
    limit: usize,

    #[command(flatten)]
    pub(super) admin: AdminArgs,

    /// Print the answer as JSON
    #[arg(long)]
    json: bool,
}

impl ListArgs {
    /// Asks for a list, and prints a line for each of its `members`.
    pub(super) fn list(
        &self,
        path: &str,
        mut parameters: Vec<(String, String)>,
        members: &str,
        line: impl Fn(&Value) -> String,
    ) -> Result<Value, Failure> {
        parameters.push(("limit".to_owned(), self.limit.to_string()));
        let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let pairs = parameters.iter().map(|(name, value)| format!("{}={}", encoded(name), encoded(value)));
        let query = pairs.collect::<Vec<_>>().join("&");
        let answer = self.admin.ask(Method::GET, &format!("{path}?{query}"), None)?;
        if self.json {
            print(&answer)?;
        } else {
            for member in answer[members].as_array().map(Vec::as_slice).unwrap_or_default() {
                print(line(member))?;
            }
        }
        Ok(answer)
    }
}

pub(super) fn text<'v>(member: &'v Value, name: &str) -> &'v str {
    member[name].as_str().unwrap_or_default()
}

/// Lists what is stored: status, age, lifetime left, size, URL. Without options all of it.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  staleproof entries --tag product:42
  staleproof entries --route article --partition slug=news
  staleproof entries --prefix http://www.example.com/blog/ --limit 1000 --json")]
pub(super) struct Entries {
    #[command(flatten)]
    target: TargetArgs,

    #[command(flatten)]
    list: ListArgs,
}

impl Entries {
    pub(super) fn run(self) -> Result<(), Failure> {
        let mut parameters = Vec::new();
        for (name, value) in self.target.members()? {
            match value {
                Value::String(value) => parameters.push((name, value)),
                Value::Object(fields) if name == "partition" => {
                    let pair = |(field, value): (String, Value)| {
                        ("partition".to_owned(), format!("{field}={}", value.as_str().unwrap_or_default()))
                    };
                    parameters.extend(fields.into_iter().map(pair));
                }
                // All of it is what is listed if nothing is said.
                Value::Bool(true) => {}
                _ => {
                    return Err(Failure::usage(
                        "listed is what one of --url, --tag, --host, --route, --key, --namespace, --prefix and --glob names",
                    ));
                }
            }
        }
        let answer = self.list.list("/v1/entries", parameters, "entries", |entry| {
            let (status, age, ttl) = (&entry["status"], &entry["age_secs"], &entry["ttl_secs"]);
            let softened = if entry["softened"] == true { " stale" } else { "" };
            let size = &entry["bytes"];
            format!("{status} age {age} s ttl {ttl} s{softened} {size} bytes {}", text(entry, "url"))
        })?;
        let (matched, shown) = (
            answer["matched"].as_u64().unwrap_or(0),
            answer["entries"].as_array().map_or(0, Vec::len) as u64,
        );
        if !self.list.json && matched > shown {
            print(format_args!("… and {} more (--limit)", matched - shown))?;
        }
        Ok(())
    }
}

/// Lists the tags that the app has given to what is stored, with the number of keys that carry each.
#[derive(Debug, Args)]
pub(super) struct Tags {
    /// Only those that begin so
    #[arg(long, default_value = "")]
    prefix: String,

    #[command(flatten)]
    list: ListArgs,
}

impl Tags {
    pub(super) fn run(self) -> Result<(), Failure> {
        let parameters = vec![("prefix".to_owned(), self.prefix)];
        let line = |tag: &Value| format!("{:>8} {}", tag["keys"].as_u64().unwrap_or(0), text(tag, "tag"));
        self.list.list("/v1/tags", parameters, "tags", line).map(drop)
    }
}

/// Lists the last purges, the newest first: position, time, who, what, how many.
#[derive(Debug, Args)]
pub(super) struct Log {
    #[command(flatten)]
    list: ListArgs,
}

impl Log {
    pub(super) fn run(self) -> Result<(), Failure> {
        let line = |purge: &Value| {
            let soft = if purge["soft"] == true { " softly" } else { "" };
            let (position, matched) = (&purge["position"], &purge["matched"]);
            let (at, by, targets) = (text(purge, "at"), text(purge, "by"), text(purge, "targets"));
            format!("{position} {at} {by}: {targets}{soft}: {matched} matched")
        };
        self.list.list("/v1/log", Vec::new(), "purges", line).map(drop)
    }
}
