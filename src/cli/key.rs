//! `staleproof key`

use std::net::IpAddr;

use clap::Args;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use serde_json::json;

use super::{ConfigFile, Failure, print};
use crate::clock::Clock;
use crate::keys::KeyInput;
use crate::routes::RouteQuery;
use crate::uri;

/// Prints what the key of a request would be: no network, nothing is sent anywhere.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  staleproof key 'http://www.example.com/users/42?page=2'
  staleproof key http://www.example.com/ -H 'Accept-Language: fr' -H 'Cookie: theme=dark'")]
pub(super) struct Key {
    /// The URL of the request
    url: String,

    /// The method
    #[arg(short = 'X', long, default_value = "GET")]
    method: Method,

    /// A field of the request (may be repeated)
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    headers: Vec<String>,

    /// The client's address
    #[arg(long, default_value = "127.0.0.1", value_name = "ADDRESS")]
    client: IpAddr,

    /// Print JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    file: ConfigFile,
}

impl Key {
    pub(super) fn run(self) -> Result<(), Failure> {
        let plan = self.file.load()?;
        let invalid = |why: &str| Failure::Failed(format!("{:?} {why}", self.url));
        let url: Uri = self.url.parse().map_err(|_| invalid("is not a URL"))?;
        let (Some(scheme @ ("http" | "https")), Some(authority)) = (url.scheme_str(), url.authority()) else {
            return Err(invalid("is not absolute: write http://host/path"));
        };
        let host =
            uri::normalize_authority(authority.as_str(), scheme).map_err(|why| invalid(&why.to_string()))?;
        let path = uri::normalize_path(url.path()).map_err(|why| invalid(&why.to_string()))?;
        let headers = self.fields()?;
        let query = RouteQuery { method: &self.method, host: &host, path: &path, headers: &headers };
        let Some((route, captures)) = plan.routes.find(query) else {
            return Err(Failure::Failed("no route matches: the answer would be 404".into()));
        };
        let Some(rule) = &route.cache else {
            print(format_args!("route      {}\nnot cached (cache: off)", route.name))?;
            return Ok(());
        };
        let input = KeyInput {
            method: &self.method,
            scheme,
            host: &host,
            path: &path,
            query: url.query(),
            headers: &headers,
            captures: &captures,
            client: self.client,
            now: Clock::system().now(),
        };
        let parts = rule.key.parts(&input)?;
        let key = rule.key.key(&input)?;
        if self.json {
            let parts: Vec<_> = parts
                .iter()
                .map(
                    |part| json!({"field": &*part.field, "partition": part.partition, "value": part.encoded}),
                )
                .collect();
            let partition: serde_json::Map<_, _> =
                key.partition.iter().map(|(name, value)| (name.to_string(), json!(value))).collect();
            let answer = json!({
                "route": &*route.name, "constructor": &*rule.key.name, "key": &*key.text, "digest": key.digest(),
                "partition": partition, "suffix": key.suffix(), "parts": parts,
            });
            print(format_args!("{answer:#}"))?;
            return Ok(());
        }
        print(format_args!("route      {}", route.name))?;
        print(format_args!("built by   {}", rule.key.name))?;
        for part in &parts {
            let mark = if part.partition { "  (partition)" } else { "" };
            print(format_args!("  {:<8} {}{mark}", part.field, part.encoded))?;
        }
        print(format_args!("partition  {}", key.partition_str()))?;
        print(format_args!("suffix     {}", key.suffix()))?;
        print(format_args!("key        {}", key.text))?;
        print(format_args!("digest     {}", key.digest()))?;
        if !key.partition.is_empty() {
            let fields: Vec<_> =
                key.partition.iter().map(|(name, value)| format!(" --partition {name}={value}")).collect();
            print(format_args!(
                "\nIts partition is purged by\n  staleproof purge --route {}{}",
                route.name,
                fields.concat()
            ))?;
        }
        Ok(())
    }

    fn fields(&self) -> Result<HeaderMap, Failure> {
        let mut headers = HeaderMap::new();
        for line in &self.headers {
            let field = line.split_once(':').and_then(|(name, value)| {
                let name = HeaderName::from_bytes(name.trim().as_bytes()).ok()?;
                Some((name, HeaderValue::from_str(value.trim()).ok()?))
            });
            let Some((name, value)) = field else {
                return Err(Failure::Failed(format!("-H {line:?} is not 'Name: value'")));
            };
            headers.append(name, value);
        }
        Ok(headers)
    }
}
