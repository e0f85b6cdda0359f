//! Header fields as they stand in a message (RFC 9112 §5): one line each, in one piece of memory.
//!
//! What is stored is kept so: a [`HeaderMap`] of the same fields takes several times the memory, and has to be made into lines
//! whenever it is sent. Knows nothing of what the fields mean.

use std::fmt;
use std::ops::Range;

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, HeaderName, HeaderValue};
use memchr::{memchr, memchr_iter};

const COLON: &[u8] = b": ";
const END: &[u8] = b"\r\n";

/// Lines of `name: value`, each with its line ending. No name and no value contains one.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Lines {
    text: Box<[u8]>,
    /// Where the line of the length lies in it; empty if there is none.
    length: (u32, u32),
}

impl Lines {
    /// The fields in their order; several lines of one name follow each other.
    pub fn of(fields: &HeaderMap) -> Self {
        let length = |(name, value): (&HeaderName, &HeaderValue)| {
            name.as_str().len() + COLON.len() + value.len() + END.len()
        };
        let mut lines = Vec::with_capacity(fields.iter().map(length).sum());
        let mut length = (0, 0);
        for (name, value) in fields {
            let start = lines.len();
            push(name.as_str(), value.as_bytes(), &mut lines);
            if *name == CONTENT_LENGTH
                && let (Ok(start), Ok(end)) = (u32::try_from(start), u32::try_from(lines.len()))
            {
                length = (start, end);
            }
        }
        Self { text: lines.into(), length }
    }

    /// As they are sent.
    pub fn as_bytes(&self) -> &[u8] {
        &self.text
    }

    /// The same but for the last `Content-Length`, in two pieces.
    pub fn without_length(&self) -> [&[u8]; 2] {
        let (start, end) = self.length;
        [&self.text[..start as usize], &self.text[end as usize..]]
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// Names, in lower case, and values.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let lines =
            self.text.split_inclusive(|&byte| byte == b'\n').filter_map(|line| line.strip_suffix(END));
        lines.filter_map(|line| {
            let colon = line.iter().position(|&byte| byte == b':')?;
            Some((&line[..colon], line.get(colon + COLON.len()..).unwrap_or_default()))
        })
    }

    /// The value of the first line of this name.
    pub fn get(&self, name: &HeaderName) -> Option<&[u8]> {
        self.iter().find_map(|(known, value)| (known == name.as_str().as_bytes()).then_some(value))
    }

    /// Whether there is a line of this name.
    pub fn has(&self, name: &HeaderName) -> bool {
        self.get(name).is_some()
    }

    /// The same fields, to be changed.
    pub fn to_map(&self) -> HeaderMap {
        let mut fields = HeaderMap::with_capacity(memchr_iter(b'\n', &self.text).count() + ROOM);
        append(&self.text, &mut fields);
        fields
    }
}

/// What is mostly added to fields that are sent: `Age`, and what the cache says of itself.
const ROOM: usize = 5;

impl fmt::Debug for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map()
            .entries(
                self.iter()
                    .map(|(name, value)| (name.escape_ascii().to_string(), value.escape_ascii().to_string())),
            )
            .finish()
    }
}

/// Adds a line. Neither a name nor a value has a line ending in it: they were those of a [`HeaderMap`], or are ours.
pub fn push(name: &str, value: &[u8], lines: &mut Vec<u8>) {
    for part in [name.as_bytes(), COLON, value, END] {
        lines.extend_from_slice(part);
    }
}

/// Where the names and values of lines are.
fn places(lines: &[u8]) -> impl Iterator<Item = (Range<usize>, Range<usize>)> {
    let mut start = 0;
    std::iter::from_fn(move || {
        let line = &lines[start..];
        let end = memchr(b'\n', line)?;
        let colon = memchr(b':', &line[..end])?;
        let value = colon + COLON.len();
        let places =
            (start..start + colon, start + value..start + (end + 1).saturating_sub(END.len()).max(value));
        start += end + 1;
        Some(places)
    })
}

/// Adds a line whose value is text that is written.
pub fn push_text(name: &HeaderName, lines: &mut Vec<u8>, write: impl FnOnce(&mut Text<'_>) -> fmt::Result) {
    push(name.as_str(), &[], lines);
    lines.truncate(lines.len() - END.len());
    // Writing to memory does not fail.
    let _ = write(&mut Text(lines));
    lines.extend_from_slice(END);
}

/// The value of a line while it is written. What could end the line is left out.
#[derive(Debug)]
pub struct Text<'l>(&'l mut Vec<u8>);

impl fmt::Write for Text<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if text.bytes().any(|byte| byte < b' ') {
            self.0.extend(text.bytes().filter(|&byte| byte >= b' '));
        } else {
            self.0.extend_from_slice(text.as_bytes());
        }
        Ok(())
    }
}

/// Adds these lines to fields.
pub fn append(lines: &[u8], fields: &mut HeaderMap) {
    // All values lie in one piece of memory.
    let lines = Bytes::copy_from_slice(lines);
    for (name, value) in places(&lines) {
        if let Ok(name) = HeaderName::from_bytes(&lines[name])
            && let Ok(value) = HeaderValue::from_maybe_shared(lines.slice(value))
        {
            fields.append(name, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fields(lines: &[(&str, &[u8])]) -> HeaderMap {
        let field = |(name, value): &(&str, &[u8])| {
            (HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_bytes(value).unwrap())
        };
        lines.iter().map(field).collect()
    }

    #[test]
    fn they_stand_as_in_a_message() {
        let lines = Lines::of(&fields(&[("Vary", b"a"), ("x", b""), ("etag", b"\"a: b\""), ("vary", b"b")]));
        assert_eq!(lines.as_bytes(), b"vary: a\r\nvary: b\r\nx: \r\netag: \"a: b\"\r\n");
        assert_eq!(lines.get(&http::header::VARY), Some(&b"a"[..]));
        assert_eq!(lines.get(&http::header::ETAG), Some(&b"\"a: b\""[..]));
        assert!(lines.has(&HeaderName::from_static("x")) && !lines.has(&http::header::AGE));
        assert!(Lines::default().is_empty() && Lines::default().to_map().is_empty());
    }

    #[test]
    fn the_length_can_be_left_out() {
        let check = |lines: &[(&str, &[u8])], expected: &[u8]| {
            assert_eq!(Lines::of(&fields(lines)).without_length().concat(), expected);
        };
        check(&[("a", b"1"), ("content-length", b"5"), ("b", b"2")], b"a: 1\r\nb: 2\r\n");
        check(&[("content-length", b"5")], b"");
        check(&[("a", b"1")], b"a: 1\r\n");
        check(&[], b"");
    }

    proptest! {
        #[test]
        fn what_comes_out_is_what_went_in(
            lines in prop::collection::vec(("[a-zA-Z0-9!#$%&'*+.^_`|~-]{1,20}", "[ -~\u{80}-\u{ff}\t]{0,40}"), 0..20)
        ) {
            let lines: Vec<_> = lines.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
            let fields = fields(&lines);
            prop_assert_eq!(Lines::of(&fields).to_map(), fields);
        }
    }
}
