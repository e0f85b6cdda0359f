//! Ranges: RFC 9110 §14, and what of RFC 9111 §3.3 and §3.4 is arithmetic.
//!
//! Decides which bytes of a representation a request asks for. Knows bytes only by their numbers; what cannot be
//! read, or asks for more than there is, is answered with the whole representation, which is always allowed (§14.2).

use super::{EntityTag, StoredResponse, dates};
use crate::clock::Timestamp;
use http::header::{CONTENT_RANGE, ETAG, IF_RANGE, LAST_MODIFIED, RANGE};
use http::{HeaderMap, HeaderValue};
use smallvec::SmallVec;
use std::ops::Range;

/// More parts than these are answered with the whole: they cost more than they save.
const MAX_PARTS: usize = 16;

/// The bytes asked for, in the order they were asked for; none empty, none beyond the end, none twice.
pub type Parts = SmallVec<[Range<u64>; 1]>;

/// What a request asks for of a representation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// All of it.
    Whole,
    /// These bytes.
    Parts(Parts),
    /// Bytes beyond its end: 416 (§15.5.17).
    Unsatisfiable,
}

/// What a GET asks for of a stored response whose complete representation has `complete` bytes. Asked after the other
/// preconditions (§13.2.2).
pub fn wanted(request: &HeaderMap, stored: &StoredResponse, complete: u64) -> Wanted {
    if if_range_holds(request, stored) { asked(request, complete) } else { Wanted::Whole }
}

/// The same, whatever `If-Range` says.
pub fn asked(request: &HeaderMap, complete: u64) -> Wanted {
    let Some(specs) = asked_specs(request) else { return Wanted::Whole };
    let parts: Parts = specs.iter().filter_map(|spec| spec.within(complete)).collect();
    if parts.is_empty() {
        return Wanted::Unsatisfiable;
    }
    // "A server … MAY ignore or reject a Range header field that contains … a ranges-specifier with more than two
    // overlapping ranges, or a set of many small ranges" (§14.2): whatever costs more than the whole.
    let overlap = parts.iter().enumerate().any(|(index, part)| {
        parts.iter().take(index).any(|other| part.start < other.end && other.start < part.end)
    });
    if overlap { Wanted::Whole } else { Wanted::Parts(parts) }
}

fn asked_specs(request: &HeaderMap) -> Option<SmallVec<[Spec; 4]>> {
    let mut lines = request.get_all(RANGE).iter();
    let (Some(line), None) = (lines.next(), lines.next()) else { return None };
    specs(line.as_bytes())
}

/// Whether the range still means what the client thinks.
fn if_range_holds(request: &HeaderMap, stored: &StoredResponse) -> bool {
    let received_at = stored.terms.received_at;
    !request.contains_key(IF_RANGE)
        || Validators::of(&stored.headers(), received_at).is_some_and(|own| own.hold(request, received_at))
}

/// One member of a `Range`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spec {
    /// From the first to the last, both included; `None`: to the end.
    FromTo(u64, Option<u64>),
    /// So many at the end.
    Last(u64),
}

impl Spec {
    fn within(self, complete: u64) -> Option<Range<u64>> {
        let range = match self {
            Self::FromTo(first, last) => {
                first..last.map_or(complete, |last| last.saturating_add(1)).min(complete)
            }
            Self::Last(length) => complete.saturating_sub(length)..complete,
        };
        (range.start < range.end).then_some(range)
    }
}

/// `bytes=0-4, 10-, -5`; `None` if it is another unit, or if any of it cannot be read.
fn specs(line: &[u8]) -> Option<SmallVec<[Spec; 4]>> {
    let (unit, list) = line.split_at(line.iter().position(|&byte| byte == b'=')?);
    if !unit.trim_ascii().eq_ignore_ascii_case(b"bytes") {
        return None;
    }
    let members =
        list[1..].split(|&byte| byte == b',').map(<[u8]>::trim_ascii).filter(|member| !member.is_empty());
    let mut specs = SmallVec::new();
    for member in members {
        let (first, last) = member.split_at(member.iter().position(|&byte| byte == b'-')?);
        let last = &last[1..];
        let spec = match (first.is_empty(), last.is_empty()) {
            (true, true) => return None,
            (true, false) => Spec::Last(number(last)?),
            (false, true) => Spec::FromTo(number(first)?, None),
            (false, false) => Spec::FromTo(number(first)?, Some(number(last)?)),
        };
        // "An int-range is invalid if the last-pos value is present and less than first-pos" (§14.1.1)
        if matches!(spec, Spec::FromTo(first, Some(last)) if last < first) || specs.len() == MAX_PARTS {
            return None;
        }
        specs.push(spec);
    }
    (!specs.is_empty()).then_some(specs)
}

/// Digits and nothing else; what is too large is as good as the largest.
fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digit = |number: u64, digit: &u8| number.saturating_mul(10).saturating_add(u64::from(digit - b'0'));
    Some(digits.iter().fold(0, digit))
}

/// A piece of a representation that is cut into pieces of one size. The last may be shorter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slice {
    /// Which, from 0.
    pub index: u64,
    /// The size, in bytes.
    pub size: u64,
}

impl Slice {
    /// The one with this byte in it.
    pub fn with(byte: u64, size: u64) -> Self {
        Self { index: byte / size, size }
    }

    /// The one that a request wants first, as far as that is known without the length of the whole.
    pub fn wanted_first(request: &HeaderMap, size: u64) -> Self {
        let first = match asked_specs(request).as_deref() {
            Some([Spec::FromTo(first, _)]) => *first,
            _ => 0,
        };
        Self::with(first, size)
    }

    /// Its bytes, of so many.
    pub fn within(self, complete: u64) -> Range<u64> {
        let start = self.index.saturating_mul(self.size).min(complete);
        start..start.saturating_add(self.size).min(complete)
    }

    /// The `Range` that asks for it.
    pub fn to_range(self) -> HeaderValue {
        let Range { start, end } = self.within(u64::MAX);
        HeaderValue::try_from(format!("bytes={start}-{}", end.saturating_sub(1)))
            .unwrap_or(HeaderValue::from_static("bytes=0-"))
    }
}

/// Which bytes of a representation a 206 has (§14.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContentRange {
    /// The bytes.
    pub bytes: Range<u64>,
    /// The length of the complete representation.
    pub complete: u64,
}

impl ContentRange {
    /// The one a response says; `None` if it cannot be read, or does not say how long the whole is.
    pub fn of(response: &HeaderMap) -> Option<Self> {
        let mut lines = response.get_all(CONTENT_RANGE).iter();
        let (line, None) = (lines.next()?.as_bytes().trim_ascii(), lines.next()) else { return None };
        let (unit, rest) = line.split_at(line.iter().position(|&byte| byte == b' ')?);
        let rest = rest.trim_ascii();
        let (bytes, complete) = rest.split_at(rest.iter().position(|&byte| byte == b'/')?);
        let (first, last) = bytes.split_at(bytes.iter().position(|&byte| byte == b'-')?);
        let (first, last, complete) = (number(first)?, number(&last[1..])?, number(&complete[1..])?);
        // "invalid if … last-pos value less than its first-pos value, or a complete-length value less than or
        // equal to its last-pos value"
        let valid = unit.eq_ignore_ascii_case(b"bytes") && first <= last && last < complete;
        valid.then(|| Self { bytes: first..last + 1, complete })
    }

    /// As it is written in a 206.
    pub fn to_value(&self) -> Option<HeaderValue> {
        let Self { bytes, complete } = self;
        HeaderValue::try_from(format!("bytes {}-{}/{complete}", bytes.start, bytes.end.checked_sub(1)?)).ok()
    }

    /// As it is written in a 416.
    pub fn unsatisfied(complete: u64) -> Option<HeaderValue> {
        HeaderValue::try_from(format!("bytes */{complete}")).ok()
    }

    /// Whether all of `parts` is in it.
    pub fn covers(&self, parts: &[Range<u64>]) -> bool {
        parts.iter().all(|part| self.bytes.start <= part.start && part.end <= self.bytes.end)
    }

    /// What is missing after it, as a `Range`; `None` unless it is the beginning, and not all.
    pub fn missing(&self) -> Option<HeaderValue> {
        let begins = self.bytes.start == 0 && self.bytes.end < self.complete;
        begins.then(|| HeaderValue::try_from(format!("bytes={}-", self.bytes.end)).ok()).flatten()
    }

    /// Both together, if nothing is missing between them.
    pub fn joined(&self, other: &Self) -> Option<Self> {
        let touch = self.bytes.start <= other.bytes.end && other.bytes.start <= self.bytes.end;
        let bytes = self.bytes.start.min(other.bytes.start)..self.bytes.end.max(other.bytes.end);
        (touch && self.complete == other.complete).then_some(Self { bytes, complete: self.complete })
    }

    /// Whether it is the complete representation.
    pub fn is_complete(&self) -> bool {
        self.bytes == (0..self.complete)
    }
}

/// Whether a response is of the same representation as a stored one, byte for byte (RFC 9111 §3.4: "the same strong
/// validator").
pub fn is_same_representation(stored: &StoredResponse, response: &HeaderMap) -> bool {
    let mut lines = response.get_all(ETAG).iter();
    let (Some(tag), None) = (lines.next(), lines.next()) else { return false };
    stored.entity_tag().is_some_and(|own| !own.is_weak() && own.as_value() == tag)
}

/// By what two responses with parts are known to have parts of the same representation: strong validators (RFC 9110 §8.8.1).
#[derive(Clone, Debug)]
pub struct Validators {
    tag: Option<EntityTag>,
    modified: Option<Timestamp>,
}

impl Validators {
    /// Of a response received at `received_at`. `None`: it has no strong one.
    pub fn of(response: &HeaderMap, received_at: Timestamp) -> Option<Self> {
        let date = |name| dates::field(response, name, received_at);
        let tag = EntityTag::of(response).filter(|tag| !tag.is_weak());
        let is_single = response.get_all(LAST_MODIFIED).iter().count() == 1;
        let modified = date(LAST_MODIFIED)
            .filter(|&modified| is_single && is_strong(modified, date(http::header::DATE)));
        (tag.is_some() || modified.is_some()).then_some(Self { tag, modified })
    }

    /// Whether both are of the same representation: by their tags, if both have one.
    pub fn agree(&self, other: &Self) -> bool {
        match (&self.tag, &other.tag) {
            (Some(own), Some(theirs)) => own == theirs,
            (None, None) => self.modified == other.modified,
            _ => false,
        }
    }

    /// Whether the `Range` of a request is to be heard, as far as its `If-Range` says (§13.1.5): "exact match", by strong
    /// comparison.
    pub fn hold(&self, request: &HeaderMap, now: Timestamp) -> bool {
        let mut lines = request.get_all(IF_RANGE).iter().map(|line| line.as_bytes().trim_ascii());
        match (lines.next(), lines.next()) {
            (None, _) => true,
            (Some(condition), None) if condition.starts_with(b"\"") || condition.starts_with(b"W/") => {
                self.tag.as_ref().is_some_and(|tag| tag.as_value().as_bytes() == condition)
            }
            (Some(condition), None) => {
                let date = dates::parse(condition, now);
                date.is_some() && date == self.modified
            }
            (Some(_), Some(_)) => false,
        }
    }
}

/// "strong … if … the Last-Modified value is at least one second earlier than the Date value" (§8.8.2.2)
fn is_strong(modified: Timestamp, date: Option<Timestamp>) -> bool {
    date.is_some_and(|date| modified.as_secs() < date.as_secs())
}

/// What of a whole response does not describe a part of it, or is said of each part for itself.
pub fn describes_whole(name: &http::HeaderName) -> bool {
    [CONTENT_RANGE, http::header::CONTENT_LENGTH].contains(name) || name.as_str() == "content-md5"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::semantics::samples::{date, fields, stored};
    use proptest::prelude::*;

    fn parts(parts: &[(u64, u64)]) -> Wanted {
        Wanted::Parts(parts.iter().map(|&(start, end)| start..end).collect())
    }

    /// Of ten bytes.
    fn check(range: &str, expected: Wanted) {
        assert_eq!(wanted(&fields(&[("range", range)]), &stored(&[]), 10), expected, "{range}");
    }

    #[test]
    fn one_range_is_from_to_open_or_a_suffix() {
        check("bytes=0-0", parts(&[(0, 1)]));
        check("bytes=2-4", parts(&[(2, 5)]));
        check("Bytes = 2-4", parts(&[(2, 5)]));
        check("bytes=2-", parts(&[(2, 10)]));
        check("bytes=-3", parts(&[(7, 10)]));
        check("bytes=-30", parts(&[(0, 10)]));
        check("bytes=5-99", parts(&[(5, 10)]));
        check("bytes=5-99999999999999999999999", parts(&[(5, 10)]));
    }

    #[test]
    fn several_keep_their_order() {
        check("bytes=8-9, 0-1", parts(&[(8, 10), (0, 2)]));
        check("bytes= 0-1 ,, 4-5,-1 ", parts(&[(0, 2), (4, 6), (9, 10)]));
        check("bytes=0-1, 50-60", parts(&[(0, 2)]));
    }

    #[test]
    fn what_lies_beyond_the_end_cannot_be_satisfied() {
        check("bytes=10-", Wanted::Unsatisfiable);
        check("bytes=10-12, 99-", Wanted::Unsatisfiable);
        check("bytes=-0", Wanted::Unsatisfiable);
        assert_eq!(wanted(&fields(&[("range", "bytes=0-")]), &stored(&[]), 0), Wanted::Unsatisfiable);
    }

    #[test]
    fn whatever_cannot_be_read_or_is_too_much_is_the_whole() {
        for range in [
            "",
            "bytes",
            "bytes=",
            "bytes=,",
            "bytes=a-b",
            "bytes=4-2",
            "bytes=--1",
            "bytes=1-2-3",
            "lines=0-1",
            "bytes=1",
            "bytes=-",
            "bytes=+1-2",
            "bytes=0-4,2-6",
            "bytes=0-,-1",
        ] {
            check(range, Wanted::Whole);
        }
        let many: Vec<_> = (0..17).map(|part| format!("{part}-{part}")).collect();
        check(&format!("bytes={}", many.join(",")), Wanted::Whole);
        let twice = fields(&[("range", "bytes=0-1"), ("range", "bytes=2-3")]);
        assert_eq!(wanted(&twice, &stored(&[]), 10), Wanted::Whole);
        assert_eq!(wanted(&fields(&[]), &stored(&[]), 10), Wanted::Whole);
    }

    #[test]
    fn if_range_must_name_exactly_what_is_stored() {
        let check = |own: &[(&str, &str)], condition: &str, holds| {
            let request = fields(&[("range", "bytes=0-1"), ("if-range", condition)]);
            let expected = if holds { parts(&[(0, 2)]) } else { Wanted::Whole };
            assert_eq!(wanted(&request, &stored(own), 10), expected, "{own:?} {condition}");
        };
        check(&[("etag", "\"a\"")], "\"a\"", true);
        check(&[("etag", "\"a\"")], "\"b\"", false);
        check(&[("etag", "W/\"a\"")], "W/\"a\"", false);
        check(&[("etag", "\"a\"")], "W/\"a\"", false);
        check(&[], "\"a\"", false);
        let (five, nine) = (date(5), date(9));
        let strong = [("last-modified", &*five), ("date", &*nine)];
        check(&strong, &five, true);
        check(&strong, "Thursday, 01-Jan-70 00:00:05 GMT", true);
        check(&strong, &nine, false);
        check(&[("last-modified", &*nine), ("date", &*nine)], &nine, false);
        check(&strong, "tomorrow", false);
    }

    fn content_range(value: &str) -> Option<(u64, u64, u64)> {
        let range = ContentRange::of(&fields(&[("content-range", value)]))?;
        Some((range.bytes.start, range.bytes.end, range.complete))
    }

    #[test]
    fn a_206_says_which_bytes_it_has() {
        assert_eq!(content_range("bytes 2-4/10"), Some((2, 5, 10)));
        assert_eq!(content_range("BYTES 0-9/10"), Some((0, 10, 10)));
        for invalid in [
            "bytes 4-2/10",
            "bytes 2-10/10",
            "bytes 2-4/*",
            "bytes */10",
            "lines 2-4/10",
            "bytes=2-4/10",
            "2-4/10",
            "",
        ] {
            assert_eq!(content_range(invalid), None, "{invalid}");
        }
        let twice = fields(&[("content-range", "bytes 2-4/10"), ("content-range", "bytes 2-4/10")]);
        assert_eq!(ContentRange::of(&twice), None);
        let range = ContentRange { bytes: 2..5, complete: 10 };
        assert_eq!(range.to_value().unwrap(), "bytes 2-4/10");
        assert_eq!(ContentRange::unsatisfied(10).unwrap(), "bytes */10");
    }

    #[test]
    fn parts_that_touch_are_joined() {
        let range = |start, end| ContentRange { bytes: start..end, complete: 10 };
        assert_eq!(range(0, 5).joined(&range(5, 10)), Some(range(0, 10)));
        assert_eq!(range(5, 10).joined(&range(0, 6)), Some(range(0, 10)));
        assert_eq!(range(0, 5).joined(&range(6, 10)), None);
        assert_eq!(range(0, 5).joined(&ContentRange { bytes: 5..10, complete: 11 }), None);
        assert!(range(0, 10).is_complete() && !range(0, 9).is_complete());
        assert_eq!(range(0, 5).missing().unwrap(), "bytes=5-");
        assert_eq!((range(1, 5).missing(), range(0, 10).missing()), (None, None));
        let covers = |parts: &[(u64, u64)]| {
            range(2, 6).covers(&parts.iter().map(|&(start, end)| start..end).collect::<Vec<_>>())
        };
        assert!(covers(&[(2, 4), (5, 6)]) && !covers(&[(1, 4)]) && !covers(&[(5, 7)]));
    }

    #[test]
    fn only_the_same_strong_tag_is_the_same_bytes() {
        let check = |own: &str, other: &str, same| {
            assert_eq!(is_same_representation(&stored(&[("etag", own)]), &fields(&[("etag", other)])), same);
        };
        check("\"a\"", "\"a\"", true);
        check("\"a\"", "\"b\"", false);
        check("W/\"a\"", "W/\"a\"", false);
        assert!(!is_same_representation(&stored(&[]), &fields(&[])));
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_strange(line in proptest::collection::vec(any::<u8>(), 0..60), complete: u64) {
            if let Ok(line) = HeaderValue::from_bytes(&line) {
                let request = HeaderMap::from_iter([(RANGE, line.clone())]);
                let _ = (wanted(&request, &stored(&[]), complete), ContentRange::of(&HeaderMap::from_iter([(CONTENT_RANGE, line)])));
            }
        }

        #[test]
        fn parts_lie_within_the_representation_and_apart(text in "bytes=([0-9]{0,2}-[0-9]{0,2},?){1,5}", complete in 0u64..120) {
            if let Wanted::Parts(parts) = wanted(&fields(&[("range", &text)]), &stored(&[]), complete) {
                prop_assert!(parts.iter().all(|part| part.start < part.end && part.end <= complete));
                prop_assert!(parts.iter().map(|part| part.end - part.start).sum::<u64>() <= complete);
            }
        }
    }
}
