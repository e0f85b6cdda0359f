//! `staleproof warm`
//!
//! The server does the work, and goes on with it whether or not this command waits.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use clap::Args;
use http::Method;

use super::Failure;
use super::job::{JobArgs, path};
use crate::inspect;
use crate::warm::Wanted;
use crate::warm::sitemap::{self, Sitemap};

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

    /// Wait for a warm-up that has begun
    #[arg(long, value_name = "NUMBER", conflicts_with_all = ["urls", "sitemap", "file", "headers", "concurrency", "no_wait"])]
    job: Option<u64>,

    /// End a warm-up
    #[arg(long, value_name = "NUMBER", conflicts_with_all = ["urls", "sitemap", "file", "headers", "concurrency", "no_wait", "job"])]
    cancel: Option<u64>,

    #[command(flatten)]
    admin: JobArgs,
}

impl Warm {
    pub(super) fn run(self) -> Result<(), Failure> {
        if let Some(id) = self.cancel {
            return self.admin.tell(&self.admin.ask(Method::DELETE, &path(id), None)?);
        }
        let progress = match self.job {
            Some(id) => self.admin.ask(Method::GET, &path(id), None)?,
            None => {
                let wanted = serde_json::to_string(&self.wanted()?)?;
                self.admin.ask(Method::POST, "/v1/warm", Some(wanted))?
            }
        };
        self.admin.follow(progress)
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

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

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
}
