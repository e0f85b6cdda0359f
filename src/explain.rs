//! Why a request gets what it gets: the words and the page. `staleproof explain` prints it, `GET /v1/explain` sends it.
//!
//! What is said is worked out by the [`cache`](crate::cache), with the very rules that requests meet.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a request would get now, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// Method and URL as the cache sees them.
    pub request: String,
    /// The route it takes.
    pub route: String,
    /// The key it is looked up under; `None` if it is not.
    pub key: Option<String>,
    /// What is stored under the key.
    pub stored: Vec<StoredLine>,
    /// The rules that were asked, in order, up to the one that decides.
    pub rules: Vec<RuleLine>,
    /// What comes of it: the word of `X-Cache` it would get.
    pub verdict: String,
    /// The reason, in the words of `Cache-Status` and the access log.
    pub why: String,
}

/// Whether a response to a request may be stored, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Storing {
    /// The rules that were asked, in order, up to the one that decides.
    pub rules: Vec<RuleLine>,
    /// On what terms it is stored; or why not, in the words of `Cache-Status`.
    pub verdict: Result<TermsLine, String>,
}

/// A rule, and what it says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleLine {
    /// The rule.
    pub rule: String,
    /// Whether it holds.
    pub holds: bool,
}

/// A stored response.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredLine {
    /// Whether the request selects it.
    pub selected: bool,
    /// Whether an invalidation has condemned it.
    pub purged: bool,
    /// Whether a soft one has made it stale.
    #[serde(default)]
    pub softened: bool,
    /// Its status code.
    pub status: u16,
    /// Its current age, in seconds.
    pub age_secs: u64,
    /// The freshness lifetime left, in seconds; negative if it is stale.
    pub ttl_secs: i64,
    /// When it was received, in UTC.
    pub received_at: String,
    /// The size of its body.
    pub bytes: usize,
    /// Its entity tag.
    pub etag: Option<String>,
    /// The fields that select it.
    pub vary: Vec<String>,
    /// How many tags it can be purged by.
    pub tags: usize,
    /// What it was stored on.
    pub terms: TermsLine,
}

/// On what terms a response is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TermsLine {
    /// The freshness lifetime, in seconds.
    pub lifetime_secs: u64,
    /// Where that comes from.
    pub lifetime_from: String,
    /// Its age when it was received, in seconds.
    pub initial_age_secs: u64,
    /// It is validated before every use.
    pub always_validate: bool,
    /// How long past its lifetime it may be served while it is validated, in seconds.
    pub stale_while_revalidate_secs: u64,
    /// How long past its lifetime it may be served when the origin fails, in seconds.
    pub stale_if_error_secs: u64,
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "request  {}", self.request)?;
        writeln!(f, "route    {}", self.route)?;
        writeln!(f, "key      {}", self.key.as_deref().unwrap_or("-"))?;
        if self.key.is_some() && self.stored.is_empty() {
            writeln!(f, "stored   nothing")?;
        }
        for stored in &self.stored {
            writeln!(f, "stored   {stored}")?;
        }
        write_rules(f, &self.rules)?;
        write!(f, "now      {}: {}", self.verdict, self.why)
    }
}

impl fmt::Display for Storing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_rules(f, &self.rules)?;
        match &self.verdict {
            Ok(terms) => write!(f, "stored   {terms}"),
            Err(why) => write!(f, "stored   no: {why}"),
        }
    }
}

fn write_rules(f: &mut fmt::Formatter<'_>, rules: &[RuleLine]) -> fmt::Result {
    rules.iter().enumerate().try_for_each(|(index, RuleLine { rule, holds })| {
        let label = if index == 0 { "rules" } else { "" };
        writeln!(f, "{label:<8} {}  {rule}", if *holds { "yes" } else { "no " })
    })
}

impl fmt::Display for StoredLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { status, age_secs, ttl_secs, received_at, bytes, .. } = self;
        write!(f, "{status}, {bytes} bytes, received {received_at}, {age_secs} s old, ")?;
        match ttl_secs {
            0.. => write!(f, "fresh for another {ttl_secs} s; ")?,
            _ => write!(f, "stale for {} s; ", ttl_secs.unsigned_abs())?,
        }
        write!(f, "{}", self.terms)?;
        if let Some(etag) = &self.etag {
            write!(f, "; {etag}")?;
        }
        if !self.vary.is_empty() {
            write!(f, "; varies by {}", self.vary.join(", "))?;
        }
        write!(f, "; {} tags", self.tags)?;
        if self.softened {
            write!(f, "; softly purged")?;
        }
        match (self.purged, self.selected) {
            (true, _) => write!(f, "; purged"),
            (false, true) => write!(f, "; selected"),
            (false, false) => write!(f, "; for other requests"),
        }
    }
}

impl fmt::Display for TermsLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "for {} s by {}", self.lifetime_secs, self.lifetime_from)?;
        if self.initial_age_secs > 0 {
            write!(f, ", {} s old when it came", self.initial_age_secs)?;
        }
        if self.always_validate {
            write!(f, ", validated before every use")?;
        }
        if self.stale_while_revalidate_secs > 0 {
            write!(f, ", stale for {} s more while it is validated", self.stale_while_revalidate_secs)?;
        }
        if self.stale_if_error_secs > 0 {
            write!(f, ", stale for {} s more if the app fails", self.stale_if_error_secs)?;
        }
        Ok(())
    }
}
