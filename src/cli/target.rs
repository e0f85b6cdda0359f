//! What a command is about: the options that name what is stored.

use clap::Args;
use serde_json::{Map, Value, json};

use super::Failure;

/// What is meant.
#[derive(Debug, Args)]
pub(super) struct TargetArgs {
    #[command(flatten)]
    what: What,

    /// With --key or --route: only what agrees in this partition field (may be repeated)
    #[arg(long, value_name = "FIELD=VALUE")]
    partition: Vec<String>,

    /// Only responses with this status (may be repeated)
    #[arg(long, value_name = "CODE")]
    status: Vec<u16>,

    /// Only responses with this content type, such as image/* (may be repeated)
    #[arg(long, value_name = "TYPE")]
    content_type: Vec<String>,

    /// Only responses with a larger body, such as 1MiB
    #[arg(long, value_name = "SIZE")]
    larger_than: Option<String>,

    /// Only responses that were received so long ago, such as 1h
    #[arg(long, value_name = "TIME")]
    older_than: Option<String>,
}

#[derive(Debug, Args)]
#[group(multiple = false)]
struct What {
    /// A URL with its query, in all its variants
    #[arg(long)]
    url: Option<String>,
    /// All that carries a tag
    #[arg(long)]
    tag: Option<String>,
    /// All that carries one of these tags
    #[arg(long, value_name = "TAG,TAG…", value_delimiter = ',')]
    any_tag: Vec<String>,
    /// All that carries all of these tags
    #[arg(long, value_name = "TAG,TAG…", value_delimiter = ',')]
    all_tags: Vec<String>,
    /// All that was fetched for a host
    #[arg(long)]
    host: Option<String>,
    /// All that may be served on a route
    #[arg(long)]
    route: Option<String>,
    /// All that is stored under a key constructor
    #[arg(long)]
    key: Option<String>,
    /// All that is stored under a namespace
    #[arg(long)]
    namespace: Option<String>,
    /// All that was fetched for a URL, or for a path of any host, that begins so
    #[arg(long)]
    prefix: Option<String>,
    /// All that was fetched for such a URL, or such a path of any host; * stands for anything
    #[arg(long)]
    glob: Option<String>,
    /// All of it
    #[arg(long)]
    everything: bool,
}

impl TargetArgs {
    /// In JSON, as the admin API takes it; empty if nothing is said.
    pub(super) fn members(&self) -> Result<Map<String, Value>, Failure> {
        let What { url, tag, any_tag, all_tags, host, route, key, namespace, prefix, glob, everything } =
            &self.what;
        let named = [
            ("url", url),
            ("tag", tag),
            ("host", host),
            ("route", route),
            ("key", key),
            ("namespace", namespace),
            ("prefix", prefix),
            ("glob", glob),
        ];
        let mut members: Map<String, Value> = named
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), json!(value.as_ref()?))))
            .collect();
        for (name, tags) in [("any_tag", any_tag), ("all_tags", all_tags)] {
            if !tags.is_empty() {
                members.insert(name.to_owned(), json!(tags));
            }
        }
        if *everything {
            members.insert("everything".to_owned(), json!(true));
        }
        if !self.partition.is_empty() {
            if route.is_none() && key.is_none() {
                return Err(Failure::usage("--partition goes with --route or --key"));
            }
            let pairs = self.partition.iter().map(|pair| match pair.split_once('=') {
                Some((field, value)) => Ok((field.to_owned(), json!(value))),
                None => Err(Failure::usage(format_args!("--partition {pair:?} is not FIELD=VALUE"))),
            });
            members.insert("partition".to_owned(), Value::Object(pairs.collect::<Result<_, _>>()?));
        }
        let like = self.like();
        if !like.is_empty() {
            members.insert("where".to_owned(), Value::Object(like));
        }
        Ok(members)
    }

    fn like(&self) -> Map<String, Value> {
        let mut like = Map::new();
        if !self.status.is_empty() {
            like.insert("status".to_owned(), json!(self.status));
        }
        if !self.content_type.is_empty() {
            like.insert("content_type".to_owned(), json!(self.content_type));
        }
        for (name, value) in [("larger_than", &self.larger_than), ("older_than", &self.older_than)] {
            if let Some(value) = value {
                like.insert(name.to_owned(), json!(value));
            }
        }
        like
    }

    /// The same where something must be said, and all of it only on purpose.
    pub(super) fn target(&self, yes: bool) -> Result<Map<String, Value>, Failure> {
        let members = self.members()?;
        if members.is_empty() {
            return Err(Failure::usage(
                "say what: --url, --tag, --route, --key, --host, --namespace, --prefix, --glob or --everything",
            ));
        }
        if self.what.everything && !yes {
            return Err(Failure::usage(
                "this is everything that is stored; say --yes if that is what you want",
            ));
        }
        Ok(members)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::invalidation::Target;
    use crate::invalidation::target::Where;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        target: TargetArgs,
        #[arg(long)]
        yes: bool,
    }

    fn target(line: &str) -> Result<Value, Failure> {
        let words = std::iter::once("purge").chain(line.split(' ').filter(|word| !word.is_empty()));
        let line = Line::try_parse_from(words).map_err(|error| Failure::Usage(error.to_string()))?;
        line.target.target(line.yes).map(Value::Object)
    }

    #[test]
    fn what_the_command_line_names_is_what_the_api_takes() {
        let partition = |user: &str| [("user".to_owned(), user.to_owned())].into();
        let like = Where { status: vec![404, 410], ..Where::default() };
        for (line, expected) in [
            ("--url http://a.test/?x=1", Target::Url("http://a.test/?x=1".into())),
            ("--tag a=b", Target::Tag("a=b".into())),
            ("--any-tag a,b", Target::AnyTag(vec!["a".into(), "b".into()])),
            ("--all-tags a,b", Target::AllTags(vec!["a".into(), "b".into()])),
            ("--host a.test", Target::Host("a.test".into())),
            ("--namespace users", Target::Namespace("users".into())),
            ("--route user", Target::Route("user".into())),
            ("--prefix /a/", Target::Prefix("/a/".into())),
            ("--glob http://*.test/*", Target::Glob("http://*.test/*".into())),
            (
                "--route user --partition user=4=2",
                Target::RoutePartition { route: "user".into(), values: partition("4=2") },
            ),
            (
                "--key page --partition user=",
                Target::KeyPartition { key: "page".into(), values: partition("") },
            ),
            (
                "--tag a --status 404 --status 410",
                Target::Where(Box::new(Target::Tag("a".into())), like.clone()),
            ),
            ("--status 404 --status 410", Target::Where(Box::new(Target::Everything), like)),
            ("--everything --yes", Target::Everything),
        ] {
            let target = target(line).unwrap();
            assert_eq!(serde_json::from_value::<Target>(target).unwrap(), expected, "{line}");
        }
    }

    #[test]
    fn what_names_nothing_or_too_much_is_refused() {
        for (line, reason) in [
            ("", "say what"),
            ("--everything", "--yes"),
            ("--tag a --partition b=c", "goes with"),
            ("--route a --partition b", "FIELD=VALUE"),
            ("--tag a --url b", "cannot be used with"),
        ] {
            let Err(Failure::Usage(told)) = target(line) else { panic!("{line}") };
            assert!(told.contains(reason), "{line}: {told}");
        }
    }
}
