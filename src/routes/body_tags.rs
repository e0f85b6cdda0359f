//! Tags that a response names in its body, which is JSON: `product:{$.items[*].id}`.
//!
//! Decides which tags those are, not where the body comes from.

use std::collections::BTreeSet;
use std::fmt;

use serde_json::Value;

use super::TemplateError;
use crate::selector::{self, Selector};

/// More tags than this are not read out of a body.
const MAX_TAGS: usize = 10_000;

/// Text around a JSONPath; a tag for each value that it selects.
#[derive(Clone, Debug)]
pub struct BodyTag {
    before: Box<str>,
    selector: Selector,
    after: Box<str>,
}

/// Why the tags of a body are not known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoTags {
    /// It is not what it says.
    #[error("the body is no JSON: {0}")]
    Json(String),
    /// More than are read.
    #[error("the body names more than {MAX_TAGS} tags")]
    TooMany,
}

impl BodyTag {
    /// Reads `text{path}text`.
    ///
    /// # Errors
    /// Without exactly one JSONPath in braces; where it stops being one.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let refuse = |at, message: &str| Err(TemplateError { at, message: message.to_owned() });
        let Some(open) = text.find('{') else {
            return refuse(0, "a JSONPath in braces says which tags: product:{$.items[*].id}");
        };
        let from_path = &text[open + 1..];
        let mut error = None;
        // A path may have braces of its own, in the quotes of a filter.
        for (end, _) in from_path.match_indices('}') {
            match Selector::parse(&from_path[..end]) {
                Ok(selector) => {
                    let after = &from_path[end + 1..];
                    if after.contains(['{', '}']) {
                        let at = open + 1 + end + 1;
                        return refuse(
                            at,
                            "there is one JSONPath in a tag; give another tag for another path",
                        );
                    }
                    return Ok(Self { before: text[..open].into(), selector, after: after.into() });
                }
                Err(wrong) => {
                    let _ = error.get_or_insert(wrong);
                }
            }
        }
        match error {
            Some(wrong) => Err(TemplateError { at: open + 1 + wrong.at, message: wrong.message }),
            None => refuse(open, "this brace is never closed"),
        }
    }
}

impl fmt::Display for BodyTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{{{}}}{}", self.before, self.selector, self.after)
    }
}

/// The tags that a body names, each once.
///
/// # Errors
/// Where it cannot be said which these are.
pub fn body_tags(templates: &[BodyTag], body: &[u8]) -> Result<BTreeSet<String>, NoTags> {
    let mut tags = BTreeSet::new();
    // Nothing is said of nothing.
    if body.is_empty() {
        return Ok(tags);
    }
    let body: Value = serde_json::from_slice(body).map_err(|error| NoTags::Json(error.to_string()))?;
    for BodyTag { before, selector, after } in templates {
        for value in selector.find(&body) {
            let Some(value) = selector::text(value) else { continue };
            tags.insert(format!("{before}{value}{after}"));
            if tags.len() > MAX_TAGS {
                return Err(NoTags::TooMany);
            }
        }
    }
    Ok(tags)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(templates: &[&str], body: &str) -> Result<Vec<String>, NoTags> {
        let templates: Vec<_> = templates.iter().map(|text| BodyTag::parse(text).unwrap()).collect();
        body_tags(&templates, body.as_bytes()).map(|tags| tags.into_iter().collect())
    }

    #[test]
    fn each_value_that_a_path_selects_makes_a_tag() {
        let body = r#"{"items": [{"id": 1, "slug": "a"}, {"id": 2.0, "slug": "}"}, {"id": null}, {"id": 1}], "type": "list"}"#;
        for (templates, expected) in [
            (&["product:{$.items[*].id}"][..], &["product:1", "product:2"][..]),
            (&["{$.type}"], &["list"]),
            (&["{$.type}:all", "{$.none}"], &["list:all"]),
            (&["p:{$.items[?@.slug == '}'].id}"], &["p:2"]),
            (&["{$.items}", "{$.items[*]}"], &[]),
        ] {
            let expected = expected.iter().map(|tag| (*tag).to_owned()).collect();
            assert_eq!(tags(templates, body), Ok(expected), "{templates:?}");
        }
        assert_eq!(tags(&["{$.a}"], ""), Ok(Vec::new()));
    }

    #[test]
    fn what_cannot_be_read_is_told() {
        assert!(matches!(tags(&["{$.a}"], "<html>"), Err(NoTags::Json(_))));
        assert!(matches!(tags(&["{$.a}"], &"[".repeat(100_000)), Err(NoTags::Json(_))));
        let many = format!("{:?}", (0..=MAX_TAGS).collect::<Vec<_>>());
        assert_eq!(tags(&["{$[*]}"], &many), Err(NoTags::TooMany));
    }

    #[test]
    fn a_template_has_one_path() {
        for (text, at, why) in [
            ("product", 0, "in braces"),
            ("product:{$.a", 8, "never closed"),
            ("product:{a}", 9, "begins with $"),
            ("{$.a}:{$.b}", 5, "one JSONPath"),
            ("{$.a[}", 4, ""),
        ] {
            let error = BodyTag::parse(text).unwrap_err();
            assert!(error.message.contains(why), "{text}: {error}");
            assert!(error.at >= at, "{text}: {error:?}");
        }
        assert_eq!(BodyTag::parse("a{$['b']}c").unwrap().to_string(), "a{$['b']}c");
    }
}
