//! Bans: invalidations of what no tag names, by a pattern. PURE.
//!
//! A ban is checked by what is older than it, until all that was stored has been looked at once and every fetch that was
//! under way has landed. Then it is forgotten: what it struck knows it ([`Carried::note`]).

use http::StatusCode;

use super::sync::{AtomicBool, Ordering};
use super::{Carried, Position, Strength, TagId};
use crate::clock::Timestamp;
use crate::routes::StoreCondition;
use crate::semantics::Lines;
use crate::uri::without_default_port;

/// An invalidation by a pattern.
#[derive(Debug)]
pub struct Ban {
    /// Its place in the log.
    pub position: Position,
    /// What it does to what it matches.
    pub strength: Strength,
    /// What it matches.
    pub pattern: Pattern<TagId>,
    /// All that was stored has been looked at.
    pub(super) swept: AtomicBool,
}

impl Ban {
    pub(super) fn is_swept(&self) -> bool {
        self.swept.load(Ordering::Acquire)
    }
}

/// What a ban matches: all that is said must hold. `T`: a tag, or its id.
#[derive(Clone, Debug)]
pub struct Pattern<T> {
    /// It carries one of each of these groups.
    pub groups: Vec<Vec<T>>,
    /// It was fetched for such a URL; or it carries one of `anywhere`.
    pub url: Option<UrlPattern>,
    /// What may be served for other URLs than the one it was fetched for: its URL says nothing of it.
    pub anywhere: Vec<T>,
    /// It is such a response.
    pub response: Option<ResponsePattern>,
}

impl<T> Default for Pattern<T> {
    fn default() -> Self {
        Self { groups: Vec::new(), url: None, anywhere: Vec::new(), response: None }
    }
}

/// What a URL is like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UrlPattern {
    /// Normalised, without the port that may be the default; `*` stands for anything. `None`: any.
    pub host: Option<Box<str>>,
    /// Path and query; `*` stands for anything.
    pub target: Box<str>,
    /// It is the path alone; the query is whatever it is.
    pub any_query: bool,
}

/// What a response is like; what is not said may be anything.
#[derive(Clone, Debug, Default)]
pub struct ResponsePattern {
    /// Its status and fields.
    pub condition: StoreCondition,
    /// Its body has more bytes.
    pub larger_than: Option<u64>,
    /// It was received before.
    pub received_before: Option<Timestamp>,
}

/// What a stored response is, as far as it is known. What is not known may be anything.
#[derive(Clone, Copy, Debug, Default)]
pub struct Subject<'a> {
    /// Host, and path with query, as normalised.
    pub url: Option<(&'a str, &'a str)>,
    /// Status, fields and when it was received.
    pub response: Option<(StatusCode, &'a Lines, Timestamp)>,
    /// The size of the body.
    pub bytes: Option<u64>,
}

impl<T> Pattern<T> {
    /// The same, of other tags.
    pub fn map<U>(self, mut with: impl FnMut(T) -> U) -> Pattern<U> {
        let Self { groups, url, anywhere, response } = self;
        let groups = groups.into_iter().map(|group| group.into_iter().map(&mut with).collect()).collect();
        Pattern { groups, url, anywhere: anywhere.into_iter().map(with).collect(), response }
    }
}

impl Pattern<TagId> {
    /// Whether it may match.
    pub fn matches(&self, carried: &Carried, subject: &Subject<'_>) -> bool {
        let carries = |tags: &[TagId]| tags.iter().any(|tag| carried.carries(*tag));
        self.groups.iter().all(|group| carries(group))
            && self.url.as_ref().is_none_or(|url| {
                subject.url.is_none_or(|(host, target)| url.matches(host, target)) || carries(&self.anywhere)
            })
            && self.response.as_ref().is_none_or(|response| response.matches(subject))
    }
}

impl UrlPattern {
    fn matches(&self, host: &str, target: &str) -> bool {
        self.host.as_ref().is_none_or(|pattern| glob(pattern, without_default_port(host)))
            && match target.split_once('?') {
                Some((path, _)) if self.any_query => glob(&self.target, path),
                _ => glob(&self.target, target),
            }
    }
}

impl ResponsePattern {
    fn matches(&self, subject: &Subject<'_>) -> bool {
        let Self { condition, larger_than, received_before } = self;
        let larger = |least: u64| subject.bytes.is_none_or(|bytes| bytes > least);
        larger_than.is_none_or(larger)
            && subject.response.is_none_or(|(status, lines, received_at)| {
                received_before.is_none_or(|before| received_at < before)
                    && condition.holds(status, &lines.to_map())
            })
    }
}

/// Whether `text` is like `pattern`, in which `*` stands for any characters, none included. In linear time and a little more:
/// of the stars only the last one that was met is ever tried again.
pub(super) fn glob(pattern: &str, text: &str) -> bool {
    let mut pieces = pattern.split('*');
    let Some(mut rest) = pieces.next().and_then(|first| text.strip_prefix(first)) else { return false };
    let pieces: Vec<_> = pieces.collect();
    let Some((last, middle)) = pieces.split_last() else { return rest.is_empty() };
    for piece in middle {
        let Some(at) = rest.find(piece) else { return false };
        rest = &rest[at + piece.len()..];
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::invalidation::{Log, Tag};

    #[test]
    fn a_star_stands_for_anything() {
        for (pattern, text, expected) in [
            ("/a", "/a", true),
            ("/a", "/ab", false),
            ("/a*", "/a", true),
            ("/a*", "/ab/c?d", true),
            ("*", "", true),
            ("*/edit", "/a/b/edit", true),
            ("*/edit", "/a/b/edit?x", false),
            ("/a/*/c*", "/a/b/c", true),
            ("/a/*/c", "/a/c", false),
            ("a*a", "a", false),
            ("*ab*ab*", "abab", true),
            ("*ab*ab*", "aab", false),
            ("**", "x", true),
            ("", "", true),
            ("", "x", false),
        ] {
            assert_eq!(glob(pattern, text), expected, "{pattern} {text}");
        }
    }

    fn matches(pattern: Pattern<&str>, tags: &[&str], subject: Subject<'_>) -> bool {
        let log = Arc::new(Log::new(100));
        let carried = log.carry(&log.begin_fetch(), tags.iter().map(|tag| Tag::application(tag)));
        pattern.map(|tag| log.id(&Tag::application(tag))).matches(&carried, &subject)
    }

    #[test]
    fn one_of_each_group_is_carried() {
        let pattern = || Pattern { groups: vec![vec!["a", "b"], vec!["c"]], ..Pattern::default() };
        assert!(matches(pattern(), &["a", "c"], Subject::default()));
        assert!(matches(pattern(), &["b", "c", "d"], Subject::default()));
        assert!(!matches(pattern(), &["a", "b"], Subject::default()));
        assert!(!matches(pattern(), &["c"], Subject::default()));
    }

    #[test]
    fn a_url_is_like_it_unless_it_says_nothing() {
        let url = UrlPattern { host: Some("*.a.test".into()), target: "/b/*".into(), any_query: false };
        let pattern = || Pattern { url: Some(url.clone()), anywhere: vec!["shared"], ..Pattern::default() };
        let of = |host, target| Subject { url: Some((host, target)), ..Subject::default() };
        assert!(matches(pattern(), &[], of("www.a.test", "/b/c?d")));
        assert!(matches(pattern(), &[], of("www.a.test:443", "/b/")));
        assert!(!matches(pattern(), &[], of("www.b.test", "/b/c")));
        assert!(!matches(pattern(), &[], of("www.a.test", "/c")));
        assert!(matches(pattern(), &["shared"], of("www.a.test", "/c")));
        assert!(matches(pattern(), &[], Subject::default()), "what is not known may be anything");
    }

    #[test]
    fn a_path_may_have_any_query() {
        let url = UrlPattern { host: None, target: "/a".into(), any_query: true };
        let pattern = || Pattern { url: Some(url.clone()), ..Pattern::default() };
        for (target, expected) in [("/a", true), ("/a?x=1", true), ("/a/b", false), ("/b?/a", false)] {
            let subject = Subject { url: Some(("h", target)), ..Subject::default() };
            assert_eq!(matches(pattern(), &[], subject), expected, "{target}");
        }
    }

    #[test]
    fn a_response_is_like_it_in_all_that_is_said() {
        let condition = StoreCondition { status: vec![404], ..StoreCondition::default() };
        let before = Some(Timestamp::from_secs(100));
        let response = ResponsePattern { condition, larger_than: Some(10), received_before: before };
        let headers = Lines::default();
        let check = |status: StatusCode, at, bytes: u64| {
            let subject = Subject {
                url: None,
                response: Some((status, &headers, Timestamp::from_secs(at))),
                bytes: Some(bytes),
            };
            matches(Pattern { response: Some(response.clone()), ..Pattern::default() }, &[], subject)
        };
        assert!(check(StatusCode::NOT_FOUND, 99, 11));
        assert!(!check(StatusCode::OK, 99, 11));
        assert!(!check(StatusCode::NOT_FOUND, 100, 11));
        assert!(!check(StatusCode::NOT_FOUND, 99, 10));
    }
}
