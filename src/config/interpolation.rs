//! Values from the environment: `${NAME}`, `${NAME:-default}`, and `$${` for a literal `${`.
//!
//! Decides what a text says once its variables are filled in; what is wrong is told without their values.

use std::ops::Range;

/// What is wrong with a reference to a variable, and where in the text.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) at: Range<usize>,
    pub(super) message: String,
    pub(super) help: String,
}

/// A piece of a text.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece<'t> {
    Literal(&'t str),
    Variable { name: &'t str, default: Option<&'t str>, at: Range<usize> },
    Broken(Fault),
}

/// The text with its variables filled in; `None` if it names none and has nothing to unescape.
///
/// A default is used where the variable is unset or empty, as in a shell.
pub(super) fn fill(text: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<Option<String>, Vec<Fault>> {
    if !text.contains("${") {
        return Ok(None);
    }
    let mut filled = String::with_capacity(text.len());
    let mut faults = Vec::new();
    for piece in pieces(text) {
        match piece {
            Piece::Literal(literal) => filled.push_str(literal),
            Piece::Variable { name, default, at } => match (env(name), default) {
                (Some(value), _) if !value.is_empty() => filled.push_str(&value),
                (_, Some(default)) => filled.push_str(default),
                (Some(_), None) => {}
                (None, None) => faults.push(Fault {
                    at,
                    message: format!("the environment variable {name} is not set"),
                    help: format!("set it, or give a default: ${{{name}:-…}}"),
                }),
            },
            Piece::Broken(fault) => faults.push(fault),
        }
    }
    if faults.is_empty() { Ok(Some(filled)) } else { Err(faults) }
}

/// The pieces of a text, in order.
pub(super) fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut at = 0;
    while let Some(start) = text[at..].find("${").map(|offset| at + offset) {
        if text[at..start].ends_with('$') {
            pieces.push(Piece::Literal(&text[at..start - 1]));
            pieces.push(Piece::Literal("${"));
            at = start + 2;
            continue;
        }
        pieces.push(Piece::Literal(&text[at..start]));
        let Some(end) = text[start..].find('}').map(|offset| start + offset) else {
            pieces.push(Piece::Broken(Fault {
                at: start..start + 2,
                message: "this `${` is never closed".into(),
                help: "write ${NAME}, or $${ for a literal ${".into(),
            }));
            return pieces;
        };
        let inner = &text[start + 2..end];
        let (name, default) = match inner.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (inner, None),
        };
        pieces.push(if is_name(name) {
            Piece::Variable { name, default, at: start..end + 1 }
        } else {
            Piece::Broken(Fault {
                at: start..end + 1,
                message: "this is not the name of an environment variable".into(),
                help: "write ${NAME} or ${NAME:-default}, or $${ for a literal ${".into(),
            })
        });
        at = end + 1;
    }
    pieces.push(Piece::Literal(&text[at..]));
    pieces
}

fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(name: &str) -> Option<String> {
        match name {
            "PORT" => Some("8080".into()),
            "EMPTY" => Some(String::new()),
            "NESTED" => Some("${PORT}".into()),
            _ => None,
        }
    }

    fn check(text: &str, expected: Option<&str>) {
        assert_eq!(fill(text, &env).unwrap().as_deref(), expected, "{text}");
    }

    #[test]
    fn variables_are_filled_in_once() {
        check("plain $5 {user_id} $.data.id", None);
        check("127.0.0.1:${PORT}", Some("127.0.0.1:8080"));
        check("${PORT}${PORT}", Some("80808080"));
        check("${NESTED}", Some("${PORT}"));
    }

    #[test]
    fn a_default_stands_in_for_what_is_unset_or_empty() {
        check("${NONE:-x}", Some("x"));
        check("${EMPTY:-x}", Some("x"));
        check("${PORT:-x}", Some("8080"));
        check("${NONE:-}", Some(""));
        check("${EMPTY}", Some(""));
    }

    #[test]
    fn a_doubled_dollar_is_literal() {
        check("$${PORT}", Some("${PORT}"));
        check("a$${b}${PORT}", Some("a${b}8080"));
    }

    #[test]
    fn every_fault_is_told_with_its_place() {
        let faults = fill("a ${NONE} ${9} ${", &env).unwrap_err();
        let places: Vec<_> = faults.iter().map(|fault| fault.at.clone()).collect();
        assert_eq!(places, [2..9, 10..14, 15..17]);
        assert_eq!(faults[0].message, "the environment variable NONE is not set");
    }
}
