//! `staleproof warm`
//!
//! The server does the work, and goes on with it whether or not this command waits.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::time::Duration;

use clap::Args;
use http::Method;
use serde_json::Value;

use super::client::AdminArgs;
use super::{Failure, print};
use crate::inspect;
use crate::warm::sitemap::{self, Sitemap};
use crate::warm::{Progress, State, Wanted};

/// How often the server is asked how it goes: at first, and at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// Has a running server request URLs as a client would, so that clients find them stored. Exit status 1 if any failed.
/// Ctrl-C ends only the waiting.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  staleproof warm http://www.example.com/ http://www.example.com/products
  staleproof warm --sitemap http://www.example.com/sitemap.xml --concurrency 8
  staleproof warm --file urls.txt --header 'Accept-Encoding: gzip'
  staleproof warm --sitemap http://www.example.com/sitemap.xml --no-wait
  staleproof warm --job 3
  curl -s https://www.example.com/sitemap.xml.gz | gunzip | staleproof warm --file -")]
pub(super) struct Warm {
    /// URLs with scheme and host, as clients ask for them
    #[arg(value_name = "URL")]
    urls: Vec<String>,

    /// A sitemap, or an index of sitemaps, by its URL; the server requests it like the others
    #[arg(long, value_name = "URL")]
    sitemap: Option<String>,

    /// A file with a URL a line, or a sitemap; - reads standard input
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,

    /// A field of every request (may be repeated)
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    headers: Vec<String>,

    /// Requests at once [default: 4, or what the server allows]
    #[arg(long, value_name = "NUMBER")]
    concurrency: Option<usize>,

    /// Do not wait: print the number of the warm-up
    #[arg(long)]
    no_wait: bool,

    /// Wait for a warm-up that has begun
    #[arg(long, value_name = "NUMBER", conflicts_with_all = ["urls", "sitemap", "file", "headers", "concurrency", "no_wait"])]
    job: Option<u64>,

    /// End a warm-up
    #[arg(long, value_name = "NUMBER", conflicts_with_all = ["urls", "sitemap", "file", "headers", "concurrency", "no_wait", "job"])]
    cancel: Option<u64>,

    #[command(flatten)]
    admin: AdminArgs,

    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

impl Warm {
    pub(super) fn run(self) -> Result<(), Failure> {
        if let Some(id) = self.cancel {
            return self.tell(&self.ask(Method::DELETE, &path(id), None)?);
        }
        let progress = match self.job {
            Some(id) => self.ask(Method::GET, &path(id), None)?,
            None => {
                let wanted = serde_json::to_string(&self.wanted()?)?;
                self.ask(Method::POST, "/v1/warm", Some(wanted))?
            }
        };
        if self.no_wait {
            return if self.json { self.tell(&progress) } else { print(progress.id) };
        }
        let progress = self.wait(progress)?;
        self.tell(&progress)?;
        let incomplete = progress.failed + progress.left_out > 0 || progress.state != State::Done;
        if incomplete { Err(Failure::Failed("not all of it could be warmed".to_owned())) } else { Ok(()) }
    }

    /// What the command line says, for the API.
    fn wanted(&self) -> Result<Wanted, Failure> {
        let mut urls = self.urls.clone();
        if let Some(file) = &self.file {
            urls.extend(listed(file)?);
        }
        if urls.is_empty() && self.sitemap.is_none() {
            return Err(Failure::usage("there is nothing to warm: give URLs, --sitemap or --file"));
        }
        let fields =
            inspect::fields(&self.headers).map_err(|error| Failure::usage(format_args!("-H {error}")))?;
        let mut headers = BTreeMap::new();
        for name in fields.keys() {
            let lines: Result<Vec<_>, _> = fields.get_all(name).iter().map(|value| value.to_str()).collect();
            // The one field that is a list of another kind (RFC 6265 §5.4).
            let separator = if name == http::header::COOKIE { "; " } else { ", " };
            headers.insert(name.as_str().to_owned(), lines?.join(separator));
        }
        Ok(Wanted { urls, sitemap: self.sitemap.clone(), headers, concurrency: self.concurrency })
    }

    /// Waits until it is over, and tells how it goes on standard error.
    fn wait(&self, mut progress: Progress) -> Result<Progress, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let mut interrupted = pin!(tokio::signal::ctrl_c());
        let mut teller = Teller::new();
        let (mut pause, longest) = PAUSES;
        while !progress.state.is_over() {
            teller.tell(&progress);
            let is_interrupted = runtime.block_on(async {
                tokio::select! {
                    biased;
                    _ = &mut interrupted => true,
                    () = tokio::time::sleep(pause) => false,
                }
            });
            if is_interrupted {
                teller.end();
                let id = progress.id;
                return Err(Failure::Failed(format!(
                    "no longer waiting; the server goes on\nTo see how it goes: staleproof warm --job {id}\n\
                     To end it: staleproof warm --cancel {id}"
                )));
            }
            pause = (pause * 2).min(longest);
            progress = self.ask(Method::GET, &path(progress.id), None)?;
        }
        teller.end();
        Ok(progress)
    }

    fn ask(&self, method: Method, path: &str, body: Option<String>) -> Result<Progress, Failure> {
        let answer: Value = self.admin.ask(method, path, body)?;
        Ok(serde_json::from_value(answer)?)
    }

    fn tell(&self, progress: &Progress) -> Result<(), Failure> {
        if self.json { print(serde_json::to_string_pretty(progress)?) } else { print(Summary(progress)) }
    }
}

fn path(id: u64) -> String {
    format!("/v1/warm/{id}")
}

/// The URLs in a file: one a line, or a sitemap's.
fn listed(file: &Path) -> Result<Vec<String>, Failure> {
    let bytes = if file == Path::new("-") {
        let mut bytes = Vec::new();
        io::Read::read_to_end(&mut io::stdin().lock(), &mut bytes).map(|_| bytes)
    } else {
        std::fs::read(file)
    };
    let shown = file.display();
    let bytes = bytes.map_err(|error| Failure::usage(format_args!("cannot read {shown}: {error}")))?;
    match sitemap::read(&bytes, true) {
        Ok(Sitemap::Urls(urls)) => Ok(urls),
        Ok(Sitemap::Index(_)) => {
            Err(Failure::usage(format_args!("{shown} is an index of sitemaps: give its URL with --sitemap")))
        }
        Err(error) => Err(Failure::usage(format_args!("{shown}: {error}"))),
    }
}

/// Tells how it goes: on one line of a terminal, else in a line at every tenth.
struct Teller {
    on_terminal: bool,
    told: Option<(State, u64)>,
}

impl Teller {
    fn new() -> Self {
        Self { on_terminal: io::stderr().is_terminal(), told: None }
    }

    fn tell(&mut self, progress: &Progress) {
        let tenth = (progress.done * 10).checked_div(progress.total).unwrap_or(0);
        let now = Some((progress.state, tenth));
        // That nobody can be told is no reason to stop.
        if self.on_terminal {
            let mut out = io::stderr().lock();
            let _ = write!(out, "\r\x1b[K{}", Line(progress)).and_then(|()| out.flush());
        } else if self.told != now {
            let _ = writeln!(io::stderr(), "{}", Line(progress));
        }
        self.told = now;
    }

    /// Leaves no line behind that is not one.
    fn end(&self) {
        if self.on_terminal && self.told.is_some() {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

struct Line<'p>(&'p Progress);

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Progress { id, state, sitemaps, total, done, warmed, already, not_stored, failed, .. } = self.0;
        match state {
            State::Reading if *sitemaps == 0 => write!(f, "warm-up {id} begins"),
            State::Reading => write!(f, "warm-up {id}: {sitemaps} sitemaps read"),
            // Short enough for one line of a terminal, which is written over.
            _ => write!(
                f,
                "warm-up {id}: {done} of {total}: {warmed} warmed, {already} already, {not_stored} not stored, {failed} failed"
            ),
        }
    }
}

struct Summary<'p>(&'p Progress);

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Progress { state, total, done, warmed, already, not_stored, failed, left_out, .. } = self.0;
        if *state == State::Cancelled {
            writeln!(f, "cancelled after {done} of {total}")?;
        }
        write!(f, "{warmed} warmed, {already} already stored, {not_stored} not stored, {failed} failed")?;
        for (reason, told) in &self.0.reasons {
            write!(f, "\nnot stored: {} by {reason}, such as {}", told.count, told.such_as)?;
        }
        for failure in &self.0.failures {
            write!(f, "\nfailed: {}: {}", failure.url, failure.reason)?;
        }
        let more = failed.saturating_sub(self.0.failures.len() as u64);
        if more > 0 {
            write!(f, "\nfailed: {more} more")?;
        }
        if *left_out > 0 {
            write!(f, "\nleft out: {left_out}, beyond what one warm-up may have (admin.warm.max_urls)")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::warm::{Failure as Failed, Reason};

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        warm: Warm,
    }

    fn wanted(words: &[&str]) -> Result<Wanted, Failure> {
        let words = std::iter::once(&"warm").chain(words);
        Line::try_parse_from(words).map_err(|error| Failure::Usage(error.to_string()))?.warm.wanted()
    }

    #[test]
    fn what_the_command_line_says_is_what_the_api_is_asked() {
        let file = std::env::temp_dir().join(format!("staleproof-warm-{}", std::process::id()));
        std::fs::write(&file, "http://a.test/2\n\n http://a.test/3\n").unwrap();
        let name = file.display().to_string();
        let words = [
            "http://a.test/1",
            "--sitemap",
            "http://a.test/s",
            "--file",
            &name,
            "-H",
            "Accept: a",
            "-H",
            "accept: b",
            "-H",
            "Cookie: a=1",
            "-H",
            "Cookie: b=2",
            "--concurrency",
            "2",
        ];
        let said = wanted(&words).unwrap();
        std::fs::remove_file(&file).unwrap();
        let json = serde_json::from_str::<Wanted>(
            r#"{"urls": ["http://a.test/1", "http://a.test/2", "http://a.test/3"], "sitemap": "http://a.test/s",
                "headers": {"accept": "a, b", "cookie": "a=1; b=2"}, "concurrency": 2}"#,
        );
        assert_eq!(said, json.unwrap());
    }

    #[test]
    fn a_command_line_that_is_not_clear_warms_nothing() {
        for words in [
            &[][..],
            &["--header", "x", "http://a.test/"],
            &["--file", "/there/is/none"],
            &["--job", "1", "http://a.test/"],
            &["--job", "1", "--cancel", "1"],
        ] {
            assert!(matches!(wanted(words), Err(Failure::Usage(_))), "{words:?}");
        }
    }

    #[test]
    fn the_summary_says_what_is_not_warm_and_why() {
        let reason = Reason { count: 3, such_as: "http://a.test/me".into() };
        let failure = Failed { url: "http://a.test/x".into(), reason: "no route takes it".into() };
        let progress = Progress {
            id: 1,
            state: State::Done,
            started_at: String::new(),
            ended_at: None,
            sitemaps: 0,
            total: 8,
            done: 8,
            warmed: 2,
            already: 1,
            not_stored: 3,
            failed: 2,
            left_out: 4,
            reasons: [("private".to_owned(), reason)].into(),
            failures: vec![failure],
        };
        assert_eq!(
            Summary(&progress).to_string(),
            "2 warmed, 1 already stored, 3 not stored, 2 failed\n\
             not stored: 3 by private, such as http://a.test/me\n\
             failed: http://a.test/x: no route takes it\n\
             failed: 1 more\n\
             left out: 4, beyond what one warm-up may have (admin.warm.max_urls)"
        );
    }
}
