//! Text with holes, such as `user:{user_id}`.
//!
//! Decides what a template says, not where the values come from.

use std::borrow::Cow;
use std::fmt;

/// Text with `{name}` holes, such as `user:{user_id}`; `{{` and `}}` are literal braces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    text: Box<str>,
    pieces: Box<[Piece]>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(Box<str>),
    Hole(Box<str>),
}

/// Why a template was refused: byte offset into it, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct TemplateError {
    /// Byte offset into the template.
    pub at: usize,
    /// What is wrong, and what to write instead.
    pub message: String,
}

impl Template {
    /// Reads a template as people write it.
    ///
    /// # Errors
    ///
    /// Braces that do not match, and holes without a proper name.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let refuse = |at, message: &str| Err(TemplateError { at, message: message.into() });
        let mut pieces = Vec::new();
        let mut literal = String::new();
        let mut at = 0;
        while let Some(brace) = text[at..].find(['{', '}']).map(|offset| at + offset) {
            literal.push_str(&text[at..brace]);
            let from_brace = &text[brace..];
            if from_brace.starts_with("{{") || from_brace.starts_with("}}") {
                literal.push_str(&from_brace[..1]);
                at = brace + 2;
                continue;
            }
            if from_brace.starts_with('}') {
                return refuse(brace, "this brace was never opened; write }} for a literal brace");
            }
            let Some(length) = from_brace.find('}') else {
                return refuse(brace, "this brace is never closed; write {{ for a literal brace");
            };
            let name = &from_brace[1..length];
            if !is_name(name) {
                return refuse(
                    brace + 1,
                    "a hole needs a name of letters, digits, _, - and ., such as {user_id}",
                );
            }
            if !literal.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut literal).into()));
            }
            pieces.push(Piece::Hole(name.into()));
            at = brace + length + 1;
        }
        literal.push_str(&text[at..]);
        if !literal.is_empty() {
            pieces.push(Piece::Text(literal.into()));
        }
        Ok(Self { text: text.into(), pieces: pieces.into() })
    }

    /// The names in the holes, in order; a name that is used twice comes twice.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Hole(name) => Some(&**name),
            Piece::Text(_) => None,
        })
    }

    /// Whether there are values with which this is the text.
    pub fn could_be(&self, text: &str) -> bool {
        let mut left = text;
        let mut anything = false;
        for (index, piece) in self.pieces.iter().enumerate() {
            let Piece::Text(literal) = piece else {
                anything = true;
                continue;
            };
            let is_last = index + 1 == self.pieces.len();
            let rest = match (anything, is_last) {
                (false, _) => left.strip_prefix(&**literal),
                (true, true) => left.strip_suffix(&**literal).map(|_| ""),
                (true, false) => left.split_once(&**literal).map(|(_, rest)| rest),
            };
            let Some(rest) = rest else { return false };
            (left, anything) = (rest, false);
        }
        anything || left.is_empty()
    }

    /// The text with every hole filled, in all ways in which each can be; none if one has no value. `None`: in more than `limit`.
    pub fn render_all(&self, values: impl Fn(&str) -> Vec<String>, limit: usize) -> Option<Vec<String>> {
        let mut names: Vec<&str> = self.names().collect();
        names.sort_unstable();
        names.dedup();
        let values: Vec<(&str, Vec<String>)> = names.into_iter().map(|name| (name, values(name))).collect();
        let number = values.iter().map(|(_, values)| values.len()).fold(1, usize::saturating_mul);
        if number > limit {
            return None;
        }
        let rendered = (0..number).filter_map(|index| {
            // Each number is a choice of one value for each name.
            let mut rest = index;
            let chosen: Vec<(&str, &str)> = values
                .iter()
                .filter_map(|(name, values)| {
                    let value = values.get(rest % values.len())?;
                    rest /= values.len();
                    Some((*name, value.as_str()))
                })
                .collect();
            self.render(|name| Some(Cow::Borrowed(chosen.iter().find(|(known, _)| *known == name)?.1)))
        });
        Some(rendered.collect())
    }

    /// The text with every hole filled; `None` if a value is missing.
    pub fn render<'v>(&self, value: impl Fn(&str) -> Option<Cow<'v, str>>) -> Option<String> {
        let mut rendered = String::with_capacity(self.text.len());
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => rendered.push_str(text),
                Piece::Hole(name) => rendered.push_str(&value(name)?),
            }
        }
        Some(rendered)
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, names: &[&str], rendered: Option<&str>) {
        let template = Template::parse(text).unwrap();
        assert_eq!(template.names().collect::<Vec<_>>(), names, "{text}");
        let value = |name: &str| match name {
            "id" => Some(Cow::Borrowed("42")),
            "brace" => Some(Cow::Borrowed("{id}")),
            _ => None,
        };
        assert_eq!(template.render(value).as_deref(), rendered, "{text}");
        assert_eq!(template.to_string(), text);
    }

    #[test]
    fn holes_are_filled_in_all_ways() {
        let values = |name: &str| match name {
            "a" => vec!["1".to_owned(), "2".to_owned()],
            "b" => vec!["x".to_owned(), "y".to_owned()],
            _ => Vec::new(),
        };
        let all = |text: &str, limit| {
            let rendered = Template::parse(text).unwrap().render_all(values, limit);
            rendered.map(|texts| texts.join(" "))
        };
        assert_eq!(all("{a}-{b}-{a}", 4).as_deref(), Some("1-x-1 2-x-2 1-y-1 2-y-2"));
        assert_eq!(all("{a}-{b}", 3), None);
        assert_eq!(all("{a}{none}", 4).as_deref(), Some(""));
        assert_eq!(all("same", 1).as_deref(), Some("same"));
    }

    #[test]
    fn holes_are_filled_and_values_are_not_read_again() {
        check("", &[], Some(""));
        check("all", &[], Some("all"));
        check("user:{id}", &["id"], Some("user:42"));
        check("{id}{id}é{brace}", &["id", "id", "brace"], Some("4242é{id}"));
        check("{{{id}}}", &["id"], Some("{42}"));
        check("{{id}}", &[], Some("{id}"));
    }

    #[test]
    fn a_text_could_be_a_templates_if_its_literal_parts_are_there_in_order() {
        for (template, text, could) in [
            ("all", "all", true),
            ("all", "allx", false),
            ("", "", true),
            ("user:{id}", "user:42", true),
            ("user:{id}", "user:", true),
            ("user:{id}", "users:42", false),
            ("{a}:{b}", "x:y:z", true),
            ("{a}:{b}", "xy", false),
            ("{a}:x", "y:x", true),
            ("{a}:x", "y:xx", false),
            ("a{b}a", "a", false),
            ("a{b}c{d}c", "acc", true),
            ("a{b}c{d}c", "abc", false),
            ("{a}", "", true),
        ] {
            assert_eq!(Template::parse(template).unwrap().could_be(text), could, "{template} {text}");
        }
    }

    #[test]
    fn a_missing_value_leaves_no_text_at_all() {
        check("user:{id}:{other}", &["id", "other"], None);
    }

    #[test]
    fn a_malformed_template_says_where_and_what_to_do() {
        for (text, at, hint) in [
            ("user:{id", 5, "never closed"),
            ("é}", 2, "never opened"),
            ("{}", 1, "needs a name"),
            ("{a b}", 1, "needs a name"),
            ("{{{", 2, "never closed"),
        ] {
            let error = Template::parse(text).unwrap_err();
            assert_eq!(error.at, at, "{text}: {error}");
            assert!(error.message.contains(hint), "{text}: {error}");
        }
    }
}
