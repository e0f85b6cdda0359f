//! All path patterns of one host, so that many routes are as fast as few.
//!
//! A node stands for the segments before it; below it wait the patterns that go on with a literal segment, then
//! those with a capture, then those that take the rest. A walk visits what fits in that order, so it meets the
//! most specific pattern first, compared segment by segment from the left. Each node is visited at most once.

use super::path::Segment;
use memchr::memchr;
use smallvec::SmallVec;
use std::cmp::Reverse;
use std::collections::HashMap;
use std::ops::ControlFlow;

/// Where captures lie in the path, in bytes.
pub(super) type Ranges = SmallVec<[(u32, u32); 4]>;

/// The patterns that begin with the segments that led here.
#[derive(Debug, Default)]
pub(super) struct Tree {
    literal: HashMap<Box<str>, Tree, foldhash::fast::RandomState>,
    /// Captures with text around them; the longest text first.
    affixed: Vec<(Box<str>, Box<str>, Tree)>,
    capture: Option<Box<Tree>>,
    /// Routes whose pattern ends here with a catch-all.
    catch_all: Vec<usize>,
    /// Routes whose pattern ends here.
    end: Vec<usize>,
}

impl Tree {
    /// The routes of the pattern of this shape, to be added to and sorted.
    pub(super) fn leaf(&mut self, shape: &[Segment]) -> &mut Vec<usize> {
        let Some((first, rest)) = shape.split_first() else { return &mut self.end };
        match first {
            Segment::CatchAll => &mut self.catch_all,
            Segment::Literal(text) => self.literal.entry(text.clone()).or_default().leaf(rest),
            Segment::Capture { prefix, suffix } if prefix.is_empty() && suffix.is_empty() => {
                self.capture.get_or_insert_default().leaf(rest)
            }
            Segment::Capture { prefix, suffix } => self.affixed(prefix, suffix).leaf(rest),
        }
    }

    fn affixed(&mut self, prefix: &str, suffix: &str) -> &mut Tree {
        // The text decides last, so that the order does not depend on the routes'.
        type Rank<'t> = (Reverse<usize>, Reverse<usize>, &'t str, &'t str);
        fn rank<'t>(prefix: &'t str, suffix: &'t str) -> Rank<'t> {
            (Reverse(prefix.len() + suffix.len()), Reverse(prefix.len()), prefix, suffix)
        }
        let wanted = rank(prefix, suffix);
        let at = match self.affixed.binary_search_by(|(prefix, suffix, _)| rank(prefix, suffix).cmp(&wanted))
        {
            Ok(at) => at,
            Err(at) => {
                self.affixed.insert(at, (prefix.into(), suffix.into(), Self::default()));
                at
            }
        };
        &mut self.affixed[at].2
    }

    /// Visits the routes of every pattern that takes `path`, the most specific pattern first, with the ranges
    /// of its captures, until `visit` breaks.
    pub(super) fn walk<'t, B>(
        &'t self,
        path: &str,
        mut visit: impl FnMut(&'t [usize], &Ranges) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        // Ranges are of 32 bits. A longer path cannot come out of a request head.
        if !path.starts_with('/') || u32::try_from(path.len()).is_err() {
            return ControlFlow::Continue(());
        }
        self.descend(path, 1, &mut Ranges::new(), &mut visit)
    }

    /// `start` is where the next segment begins; behind the end of the path if there is none.
    fn descend<'t, B, V>(
        &'t self,
        path: &str,
        start: usize,
        ranges: &mut Ranges,
        visit: &mut V,
    ) -> ControlFlow<B>
    where
        V: FnMut(&'t [usize], &Ranges) -> ControlFlow<B>,
    {
        let Some(rest) = path.get(start..) else { return visit_routes(&self.end, ranges, visit) };
        let segment = &rest[..memchr(b'/', rest.as_bytes()).unwrap_or(rest.len())];
        let end = start + segment.len();

        if let Some(next) = self.literal.get(segment) {
            next.descend(path, end + 1, ranges, visit)?;
        }
        for (prefix, suffix, next) in &self.affixed {
            if segment.len() > prefix.len() + suffix.len()
                && segment.starts_with(&**prefix)
                && segment.ends_with(&**suffix)
            {
                ranges.push(range(start + prefix.len(), end - suffix.len()));
                next.descend(path, end + 1, ranges, visit)?;
                ranges.pop();
            }
        }
        if let Some(next) = &self.capture
            && !segment.is_empty()
        {
            ranges.push(range(start, end));
            next.descend(path, end + 1, ranges, visit)?;
            ranges.pop();
        }
        if !self.catch_all.is_empty() {
            ranges.push(range(start, path.len()));
            visit_routes(&self.catch_all, ranges, visit)?;
            ranges.pop();
        }
        ControlFlow::Continue(())
    }
}

fn visit_routes<'t, B, V>(routes: &'t [usize], ranges: &Ranges, visit: &mut V) -> ControlFlow<B>
where
    V: FnMut(&'t [usize], &Ranges) -> ControlFlow<B>,
{
    if routes.is_empty() { ControlFlow::Continue(()) } else { visit(routes, ranges) }
}

/// `walk` has checked that the path's length fits.
fn range(start: usize, end: usize) -> (u32, u32) {
    (start as u32, end as u32)
}
