//! `staleproof explain`

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use http::header::HOST;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::client::{self, AdminArgs};
use super::{AskedArgs, ConfigFile, Failure, print};
use crate::cache;
use crate::clock::Clock;
use crate::config::Plan;
use crate::exchange::Routed;
use crate::explain::{Explanation, Storing};
use crate::inspect;

/// How long an app may take with --fetch.
const FETCH_TIMEOUT: Duration = Duration::from_secs(60);

/// Tells what a request would get now from a running server, and why: each rule in the order it is asked. With
/// --response or --fetch: whether that response would be stored, and for how long.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  staleproof explain http://www.example.com/users/42 -H 'Accept-Language: fr'
  staleproof explain http://www.example.com/users/42 --fetch
  curl -si http://127.0.0.1:8000/users/42 | staleproof explain http://www.example.com/users/42 --response -")]
pub(super) struct Explain {
    #[command(flatten)]
    asked: AskedArgs,

    /// A response to it, head first, as `curl -i` prints it; - reads standard input. Asks nobody
    #[arg(long, value_name = "FILE", conflicts_with = "fetch")]
    response: Option<PathBuf>,

    /// Fetch it from the app behind the route, past any cache
    #[arg(long)]
    fetch: bool,

    #[command(flatten)]
    admin: AdminArgs,

    /// Print JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    file: ConfigFile,
}

impl Explain {
    pub(super) fn run(self) -> Result<(), Failure> {
        if self.response.is_none() && !self.fetch {
            let explanation = self.ask()?;
            return if self.json {
                print(serde_json::to_string_pretty(&explanation)?)
            } else {
                print(explanation)
            };
        }
        let plan = self.file.load()?;
        let routed = self.asked.routed(&plan)?;
        let (status, fields) = match &self.response {
            Some(file) => head(&read(file)?).map_err(Failure::usage)?,
            None => fetch(&plan, &routed)?,
        };
        let storing = cache::storing(&routed, status, &fields, Clock::system().now());
        if self.json {
            print(serde_json::to_string_pretty(&storing)?)
        } else {
            print(Told(&routed, status, storing))
        }
    }

    /// Asks the running server.
    fn ask(&self) -> Result<Explanation, Failure> {
        let AskedArgs { url, method, headers, client } = &self.asked;
        let mut query =
            vec![("url", url.clone()), ("method", method.to_string()), ("client", client.to_string())];
        query.extend(headers.iter().map(|line| ("header", line.clone())));
        let pairs: Vec<_> = query
            .iter()
            .map(|(name, value)| format!("{name}={}", utf8_percent_encode(value, NON_ALPHANUMERIC)))
            .collect();
        let answer = self.admin.ask(Method::GET, &format!("/v1/explain?{}", pairs.join("&")), None)?;
        Ok(serde_json::from_value(answer)?)
    }
}

struct Told<'a>(&'a Routed, StatusCode, Storing);

impl std::fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self(routed, status, storing) = self;
        write!(f, "route    {}\nresponse {status}\n{storing}", routed.route.name)
    }
}

pub(super) fn read(file: &Path) -> Result<String, Failure> {
    let text = if file == Path::new("-") {
        std::io::read_to_string(std::io::stdin())
    } else {
        std::fs::read_to_string(file)
    };
    text.map_err(|error| Failure::usage(format_args!("cannot read {}: {error}", file.display())))
}

/// Status and fields of a response that begins with its status line.
fn head(text: &str) -> Result<(StatusCode, HeaderMap), String> {
    let mut lines = text.lines().map(|line| line.trim_end_matches('\r'));
    let first = lines.next().unwrap_or_default();
    let mut words = first.split_ascii_whitespace();
    let status = match (words.next(), words.next()) {
        (Some(version), Some(code)) if version.starts_with("HTTP/") => code.parse().ok(),
        _ => None,
    };
    let status = status.ok_or_else(|| format!("{first:?} is not a status line such as HTTP/1.1 200 OK"))?;
    let fields =
        inspect::fields(lines.take_while(|line| !line.is_empty())).map_err(|error| error.to_string())?;
    Ok((status, fields))
}

/// Asks the first server of the route's upstream.
fn fetch(plan: &Plan, routed: &Routed) -> Result<(StatusCode, HeaderMap), Failure> {
    let request = &routed.request;
    let server = plan.upstreams.get(routed.route.upstream).and_then(|upstream| upstream.servers.first());
    let server = server.ok_or_else(|| Failure::Failed("the upstream has no server".into()))?;
    let base: Uri = format!("http://{server}").parse()?;
    let mut fields = request.head.headers.clone();
    fields.insert(HOST, HeaderValue::from_str(&request.host)?);
    let target = request.head.uri.to_string();
    let response =
        client::fetch(request.head.method.clone(), &base, &target, fields, Bytes::new(), FETCH_TIMEOUT)?;
    Ok((response.status(), response.headers().clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_is_read_as_curl_prints_it() {
        let (status, fields) =
            head("HTTP/1.1 404 Not Found\r\nCache-Control: max-age=5\r\nA: b\r\n\r\nX: body").unwrap();
        assert_eq!((status.as_u16(), fields.len()), (404, 2));
        assert_eq!(head("HTTP/2 200 \nA: b\n").unwrap().0, 200);
        for bad in ["", "200 OK", "HTTP/1.1 soon", "HTTP/1.1 200 OK\nno field\n"] {
            assert!(head(bad).is_err(), "{bad}");
        }
    }
}
