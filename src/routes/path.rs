//! Path patterns: `/users/{user_id}`, `/reports/{id}.json`, `/files/{*rest}`.
//!
//! A pattern is compared with a path that is normalised (RFC 3986 §6.2.2), so its literal text is normalised in
//! the same way when it is parsed: `/café` and `/caf%c3%a9` are the same pattern. Knows nothing of hosts,
//! methods or the other patterns of a table.

use std::fmt;
use std::sync::Arc;

/// A path pattern such as `/users/{user_id}` or `/files/{*rest}`.
///
/// - `{name}` stands for one whole, non-empty segment, or with text around it (`{id}.json`) for a part of one;
///   a segment holds at most one capture.
/// - `{*name}` comes last and stands for everything that is left, slashes included; it may be empty.
/// - `{{` and `}}` are literal braces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathPattern {
    text: Box<str>,
    segments: Box<[Segment]>,
    names: Arc<[Arc<str>]>,
}

/// What stands between two slashes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Segment {
    Literal(Box<str>),
    /// One capture with literal text around it, both often empty.
    Capture {
        prefix: Box<str>,
        suffix: Box<str>,
    },
    CatchAll,
}

/// Why a pattern was refused: byte offset into the pattern, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct PatternError {
    /// Byte offset into the pattern.
    pub at: usize,
    /// What is wrong, and what to write instead.
    pub message: String,
}

impl PatternError {
    pub(super) fn new(at: usize, message: impl Into<String>) -> Self {
        Self { at, message: message.into() }
    }
}

impl PathPattern {
    /// Reads a pattern as people write it.
    ///
    /// # Errors
    ///
    /// Where the pattern is malformed, and what to write instead.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        let Some(path) = text.strip_prefix('/') else {
            return Err(PatternError::new(0, "a path pattern starts with a slash"));
        };
        let mut names = Vec::new();
        let mut segments = Vec::new();
        let mut at = 1;
        for segment in path.split('/') {
            if segments.last() == Some(&Segment::CatchAll) {
                return Err(PatternError::new(
                    at - 1,
                    "nothing can follow {*…}: it takes the rest of the path",
                ));
            }
            segments.push(SegmentParser { text: segment, at, names: &mut names }.parse()?);
            at += segment.len() + 1;
        }
        Ok(Self { text: text.into(), segments: segments.into(), names: names.into() })
    }

    /// Names of the captures, in order.
    pub fn captures(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(|name| &**name)
    }

    pub(super) fn names(&self) -> &Arc<[Arc<str>]> {
        &self.names
    }

    /// The pattern without the names of its captures: two patterns of one shape take the same paths.
    pub(super) fn shape(&self) -> &[Segment] {
        &self.segments
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Whether `name` can name a capture: a letter or `_`, then letters, digits, `_` and `-`.
fn is_capture_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}

struct SegmentParser<'s> {
    text: &'s str,
    /// Where the segment begins in the pattern.
    at: usize,
    names: &'s mut Vec<Arc<str>>,
}

impl SegmentParser<'_> {
    fn parse(mut self) -> Result<Segment, PatternError> {
        let text = self.text;
        if let "*" | "**" = text {
            return Err(self.error(0, "write {*rest} to match any ending, {name} to match one segment"));
        }
        let mut literal = String::new();
        let mut prefix = None;
        let mut i = 0;
        while let Some(&byte) = text.as_bytes().get(i) {
            let doubled = text.as_bytes().get(i + 1) == Some(&byte);
            match byte {
                b'{' | b'}' if doubled => {
                    push_encoded(byte, &mut literal);
                    i += 2;
                }
                b'{' => {
                    let Some(length) = text[i..].find('}') else {
                        return Err(self.error(i, "this brace is never closed; write {{ for a literal brace"));
                    };
                    let name = &text[i + 1..i + length];
                    if let Some(rest) = name.strip_prefix('*') {
                        if i > 0 || length + 1 < text.len() {
                            return Err(self.error(i, "{*…} must be a segment of its own"));
                        }
                        self.name(rest, 2)?;
                        return Ok(Segment::CatchAll);
                    }
                    if prefix.is_some() {
                        return Err(self.error(i, "a segment can hold only one capture"));
                    }
                    self.name(name, i + 1)?;
                    prefix = Some(std::mem::take(&mut literal));
                    i += length + 1;
                }
                b'}' => {
                    return Err(self.error(i, "this brace was never opened; write }} for a literal brace"));
                }
                b'?' | b'#' => {
                    return Err(self.error(i, "a path pattern has no query: a route takes every query"));
                }
                b'%' => {
                    let decoded = hex_pair(text.as_bytes(), i + 1).ok_or_else(|| {
                        self.error(
                            i,
                            "a percent sign needs two hexadecimal digits; write %25 for a literal one",
                        )
                    })?;
                    if is_unreserved(decoded) {
                        literal.push(char::from(decoded));
                    } else {
                        push_encoded(decoded, &mut literal);
                    }
                    i += 3;
                }
                _ if is_path_character(byte) => {
                    literal.push(char::from(byte));
                    i += 1;
                }
                _ => {
                    push_encoded(byte, &mut literal);
                    i += 1;
                }
            }
        }
        match prefix {
            Some(prefix) => Ok(Segment::Capture { prefix: prefix.into(), suffix: literal.into() }),
            None if literal == "." || literal == ".." => {
                Err(self.error(0, "dot segments are resolved before routing, so this can never match"))
            }
            None => Ok(Segment::Literal(literal.into())),
        }
    }

    fn name(&mut self, name: &str, at: usize) -> Result<(), PatternError> {
        if !is_capture_name(name) {
            return Err(
                self.error(at, "a capture needs a name of letters, digits, _ and -, such as {user_id}")
            );
        }
        if self.names.iter().any(|known| **known == *name) {
            return Err(self.error(at, format!("{name} is captured twice")));
        }
        self.names.push(name.into());
        Ok(())
    }

    fn error(&self, at: usize, message: impl Into<String>) -> PatternError {
        PatternError::new(self.at + at, message)
    }
}

/// RFC 3986 §2.3.
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

/// `pchar` without `pct-encoded`: RFC 3986 §3.3.
fn is_path_character(byte: u8) -> bool {
    is_unreserved(byte) || b"!$&'()*+,;=:@".contains(&byte)
}

fn hex_pair(text: &[u8], at: usize) -> Option<u8> {
    let digit = |at: usize| text.get(at).and_then(|&byte| char::from(byte).to_digit(16));
    u8::try_from(digit(at)? * 16 + digit(at + 1)?).ok()
}

fn push_encoded(byte: u8, out: &mut String) {
    out.push_str(percent_encoding::percent_encode_byte(byte));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn literal(text: &str) -> Segment {
        Segment::Literal(text.into())
    }

    fn capture(prefix: &str, suffix: &str) -> Segment {
        Segment::Capture { prefix: prefix.into(), suffix: suffix.into() }
    }

    fn check(text: &str, segments: &[Segment], names: &[&str]) {
        let pattern = PathPattern::parse(text).unwrap();
        assert_eq!(pattern.shape(), segments, "{text}");
        assert_eq!(pattern.captures().collect::<Vec<_>>(), names, "{text}");
        assert_eq!(pattern.to_string(), text);
    }

    #[test]
    fn a_pattern_is_read_segment_by_segment() {
        check("/", &[literal("")], &[]);
        check("/a/", &[literal("a"), literal("")], &[]);
        check("/users/{user_id}", &[literal("users"), capture("", "")], &["user_id"]);
        check("/r/{id}.json", &[literal("r"), capture("", ".json")], &["id"]);
        check("/r/v{id}-x/{b}", &[literal("r"), capture("v", "-x"), capture("", "")], &["id", "b"]);
        check("/{*rest}", &[Segment::CatchAll], &["rest"]);
        check("/a:b/*.css", &[literal("a:b"), literal("*.css")], &[]);
    }

    #[test]
    fn literal_text_is_normalised_like_the_paths_it_is_compared_with() {
        check("/caf%c3%a9", &[literal("caf%C3%A9")], &[]);
        check("/café", &[literal("caf%C3%A9")], &[]);
        check("/%7euser/%2f", &[literal("~user"), literal("%2F")], &[]);
        check("/a b/{{x}}", &[literal("a%20b"), literal("%7Bx%7D")], &[]);
        check("/{{{x}}}", &[capture("%7B", "%7D")], &["x"]);
    }

    #[test]
    fn a_malformed_pattern_says_where_and_what_to_do() {
        for (text, at, hint) in [
            ("", 0, "starts with a slash"),
            ("users", 0, "starts with a slash"),
            ("/users/{id", 7, "never closed"),
            ("/users/{a/b}", 7, "never closed"),
            ("/users/id}", 9, "never opened"),
            ("/{}", 2, "needs a name"),
            ("/{1a}", 2, "needs a name"),
            ("/{a}{b}", 4, "only one capture"),
            ("/{a}/{a}", 6, "captured twice"),
            ("/x{*rest}", 2, "segment of its own"),
            ("/{*rest}.js", 1, "segment of its own"),
            ("/{*rest}/x", 8, "takes the rest"),
            ("/{*}", 3, "needs a name"),
            ("/static/*", 8, "write {*rest}"),
            ("/a?b=1", 2, "no query"),
            ("/a/%zz", 3, "two hexadecimal digits"),
            ("/a/../b", 3, "dot segments"),
            ("/a/%2e", 3, "dot segments"),
        ] {
            let error = PathPattern::parse(text).unwrap_err();
            assert!(error.message.contains(hint), "{text}: {error}");
            assert_eq!(error.at, at, "{text}: {error}");
        }
    }
}
