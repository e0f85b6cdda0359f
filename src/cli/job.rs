//! Work that a running server does by itself: waiting for it, and telling how it goes.

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::pin::pin;
use std::time::Duration;

use clap::Args;
use http::Method;
use serde_json::Value;

use super::client::AdminArgs;
use super::{Failure, print};
use crate::warm::{Progress, State};

/// How often the server is asked how it goes: at first, and at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// Whose work, and how it is told.
#[derive(Debug, Args)]
pub(super) struct JobArgs {
    /// Do not wait: print its number
    #[arg(long)]
    pub(super) no_wait: bool,

    #[command(flatten)]
    admin: AdminArgs,

    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

impl JobArgs {
    /// Waits for what has begun, unless told not to, and tells what came of it. Not all of it is a failure.
    pub(super) fn follow(&self, progress: Progress) -> Result<(), Failure> {
        if self.no_wait {
            return if self.json { self.tell(&progress) } else { print(progress.id) };
        }
        let progress = self.wait(progress)?;
        self.tell(&progress)?;
        let incomplete = progress.failed + progress.left_out > 0 || progress.state != State::Done;
        if incomplete { Err(Failure::Failed("not all of it could be done".to_owned())) } else { Ok(()) }
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

    /// What the server says of it.
    pub(super) fn ask(&self, method: Method, path: &str, body: Option<String>) -> Result<Progress, Failure> {
        let answer: Value = self.admin.ask(method, path, body)?;
        Ok(serde_json::from_value(answer)?)
    }

    /// Tells how it stands.
    pub(super) fn tell(&self, progress: &Progress) -> Result<(), Failure> {
        if self.json { print(serde_json::to_string_pretty(progress)?) } else { print(Summary(progress)) }
    }
}

/// Where it can be asked after.
pub(super) fn path(id: u64) -> String {
    format!("/v1/warm/{id}")
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
            State::Reading if *sitemaps == 0 => write!(f, "job {id} begins"),
            State::Reading => write!(f, "job {id}: {sitemaps} sitemaps read"),
            // Short enough for one line of a terminal, which is written over.
            _ => write!(
                f,
                "job {id}: {done} of {total}: {warmed} warmed, {already} already, {not_stored} not stored, {failed} failed"
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
            write!(
                f,
                "\nleft out: {left_out}, beyond what may be at once (admin.warm.max_urls), or what only its clients can ask for"
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::warm::{Failure as Failed, Reason};

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
             left out: 4, beyond what may be at once (admin.warm.max_urls), or what only its clients can ask for"
        );
    }
}
