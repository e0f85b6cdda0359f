//! `staleproof key`

use clap::Args;

use super::{AskedArgs, ConfigFile, Failure, print};
use crate::clock::Clock;
use crate::inspect::key;

/// Prints what the key of a request would be: no network, nothing is sent anywhere.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  staleproof key 'http://www.example.com/users/42?page=2'
  staleproof key http://www.example.com/ -H 'Accept-Language: fr' -H 'Cookie: theme=dark'
  staleproof key http://www.example.com/users/42 --json | jq -r .digest")]
pub(super) struct Key {
    #[command(flatten)]
    asked: AskedArgs,

    /// Print JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    file: ConfigFile,
}

impl Key {
    pub(super) fn run(self) -> Result<(), Failure> {
        let plan = self.file.load()?;
        let report = key::report(&self.asked.routed(&plan)?, Clock::system().now());
        if self.json { print(serde_json::to_string_pretty(&report)?) } else { print(report) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::exchange::Routed;
    use http::Method;
    use std::net::IpAddr;

    const CONFIG: &str = "
upstreams: { app: { servers: 'http://127.0.0.1:1' } }
routes: [{ name: user, match: { path: '/users/{user_id}' }, upstream: app }]
";

    fn routed(url: &str, headers: &[&str]) -> Result<Routed, Failure> {
        let plan = config::compile_text("test.yaml", CONFIG, &|_| None).expect("it is fine");
        let headers = headers.iter().map(ToString::to_string).collect();
        let client = IpAddr::from([127, 0, 0, 1]);
        AskedArgs { url: url.into(), method: Method::GET, headers, client }.routed(&plan)
    }

    #[test]
    fn what_is_no_request_is_refused_with_what_to_write() {
        for (url, headers, reason) in [
            ("/users/42", &[][..], "http://host/path"),
            ("ftp://a.test/", &[], "http://host/path"),
            ("http://a.test/%zz", &[], "%zz"),
            ("http://a.test/", &["Accept"], "Name: value"),
        ] {
            let Err(Failure::Usage(explanation)) = routed(url, headers) else { panic!("{url} is refused") };
            assert!(explanation.contains(reason), "{explanation}");
        }
        assert!(matches!(routed("http://a.test/nowhere", &[]), Err(Failure::Failed(_))));
    }
}
