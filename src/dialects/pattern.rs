//! What the regular expressions of other systems' purges mean. They are read, never run.
//!
//! Of tags: the ones that it lists. Of URLs: patterns with stars that match all that it matches, and perhaps more.

use regex_syntax::ast::parse::ParserBuilder;
use regex_syntax::ast::{AssertionKind, Ast, ClassPerlKind, Flag, GroupKind, RepetitionKind};

/// Why an expression cannot be understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// Not by this syntax.
    #[error("this is no regular expression that can be read")]
    Syntax,
    /// Alternatives of alternatives.
    #[error("this regular expression stands for too much")]
    TooMany,
    /// It names no tags.
    #[error("of the tags, this regular expression must list some: (^|,)(a|b)(,|$)")]
    NoList,
}

/// How many pieces all that an expression stands for may have together.
const MAX_PIECES: usize = 1_000_000;

/// How deep it may be nested.
const MAX_NESTING: u32 = 50;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Piece {
    Is(char),
    /// A dot, which is often meant to be one.
    Dot,
    /// Any characters.
    Any,
    /// Some of them, or some number.
    Some,
    Start,
    End,
}

/// One of the texts that an expression stands for.
type Text = Vec<Piece>;

/// The tags that an expression lists, such as `((^|,)a(,|$))|((^|,)b(,|$))`; `None`: it matches every tag.
///
/// # Errors
/// Where it cannot be said which these are.
pub(super) fn tags(expression: &str) -> Result<Option<Vec<String>>, Unreadable> {
    let mut tags = Vec::new();
    for text in texts(expression)? {
        let pieces = text.iter().filter(|piece| !matches!(piece, Piece::Start | Piece::End));
        if pieces.clone().next().is_some() && pieces.clone().all(|piece| *piece == Piece::Any) {
            return Ok(None);
        }
        let character = |piece: &Piece| match piece {
            Piece::Is(character) => Ok(*character),
            // What is listed is literal, and its dots often are not escaped.
            Piece::Dot => Ok('.'),
            Piece::Any | Piece::Some | Piece::Start | Piece::End => Err(Unreadable::NoList),
        };
        let tag = pieces.map(character).collect::<Result<String, _>>()?;
        let tag = tag.trim_matches([',', ' ', ';']);
        if !tag.is_empty() && !tags.iter().any(|known| known == tag) {
            tags.push(tag.to_owned());
        }
    }
    if tags.is_empty() { Err(Unreadable::NoList) } else { Ok(Some(tags)) }
}

/// Patterns with stars, one of which matches whatever a path with its query or a content type is that the expression is found in.
///
/// # Errors
/// Where none would.
pub(super) fn globs(expression: &str) -> Result<Vec<String>, Unreadable> {
    written(expression, "*")
}

/// The same of hosts, in which dots are dots.
///
/// # Errors
/// Where there are none.
pub(super) fn hosts(expression: &str) -> Result<Vec<String>, Unreadable> {
    written(&expression.to_ascii_lowercase(), ".")
}

fn written(expression: &str, dot: &str) -> Result<Vec<String>, Unreadable> {
    let mut globs = Vec::new();
    for text in texts(expression)? {
        let mut glob = String::new();
        let push = |glob: &mut String, piece: &str| {
            if piece != "*" || !glob.ends_with('*') {
                glob.push_str(piece);
            }
        };
        let starts = text.iter().take_while(|piece| **piece == Piece::Start).count();
        let ends = text.iter().rev().take_while(|piece| **piece == Piece::End).count();
        if starts == 0 {
            push(&mut glob, "*");
        }
        for piece in text.iter().skip(starts).take(text.len().saturating_sub(starts + ends)) {
            match piece {
                Piece::Is(character) => push(&mut glob, character.encode_utf8(&mut [0; 4])),
                Piece::Dot => push(&mut glob, dot),
                // In the middle, the start and the end match nothing, or a line's.
                Piece::Any | Piece::Some | Piece::Start | Piece::End => push(&mut glob, "*"),
            }
        }
        if ends == 0 {
            push(&mut glob, "*");
        }
        if !globs.contains(&glob) {
            globs.push(glob);
        }
    }
    Ok(globs)
}

fn texts(expression: &str) -> Result<Vec<Text>, Unreadable> {
    let mut parser = ParserBuilder::new().nest_limit(MAX_NESTING).build();
    let ast = parser.parse(expression).map_err(|_| Unreadable::Syntax)?;
    read(&ast, false)
}

/// `any_case`: letters may be either.
fn read(ast: &Ast, any_case: bool) -> Result<Vec<Text>, Unreadable> {
    let one = |piece| Ok(vec![vec![piece]]);
    match ast {
        Ast::Empty(_) => Ok(vec![Vec::new()]),
        // Of flags in the middle nobody knows here what they are about: see `Concat`.
        Ast::Flags(_) => Ok(vec![Vec::new()]),
        Ast::Literal(literal) if any_case && literal.c.is_alphabetic() => one(Piece::Some),
        Ast::Literal(literal) => one(Piece::Is(literal.c)),
        Ast::Dot(_) => one(Piece::Dot),
        Ast::Assertion(assertion) => match assertion.kind {
            AssertionKind::StartLine | AssertionKind::StartText => one(Piece::Start),
            AssertionKind::EndLine | AssertionKind::EndText => one(Piece::End),
            _ => Ok(vec![Vec::new()]),
        },
        // Between tags.
        Ast::ClassPerl(class) if class.kind == ClassPerlKind::Space && !class.negated => one(Piece::Is(' ')),
        Ast::ClassUnicode(_) | Ast::ClassPerl(_) | Ast::ClassBracketed(_) => one(Piece::Some),
        Ast::Repetition(repetition) => match repetition.op.kind {
            RepetitionKind::ZeroOrOne => {
                let mut texts = read(&repetition.ast, any_case)?;
                texts.push(Vec::new());
                Ok(texts)
            }
            _ if matches!(*repetition.ast, Ast::Dot(_)) => one(Piece::Any),
            _ => one(Piece::Some),
        },
        Ast::Group(group) => {
            let any_case = match &group.kind {
                GroupKind::NonCapturing(flags) => flags.flag_state(Flag::CaseInsensitive).unwrap_or(any_case),
                GroupKind::CaptureIndex(_) | GroupKind::CaptureName { .. } => any_case,
            };
            read(&group.ast, any_case)
        }
        Ast::Alternation(alternation) => {
            let mut texts = Vec::new();
            for ast in &alternation.asts {
                texts.extend(read(ast, any_case)?);
                check(&texts)?;
            }
            Ok(texts)
        }
        Ast::Concat(concat) => {
            let (mut texts, mut any_case) = (vec![Vec::new()], any_case);
            for ast in &concat.asts {
                if let Ast::Flags(flags) = ast {
                    any_case = flags.flags.flag_state(Flag::CaseInsensitive).unwrap_or(any_case);
                }
                let next = read(ast, any_case)?;
                texts = match next.as_slice() {
                    [only] => {
                        texts.iter_mut().for_each(|text: &mut Text| text.extend(only));
                        texts
                    }
                    several if texts.len().saturating_mul(several.len()) > MAX_PIECES => {
                        return Err(Unreadable::TooMany);
                    }
                    several => texts
                        .iter()
                        .flat_map(|text| several.iter().map(move |more| [text.as_slice(), more].concat()))
                        .collect(),
                };
                check(&texts)?;
            }
            Ok(texts)
        }
    }
}

fn check(texts: &[Text]) -> Result<(), Unreadable> {
    let pieces: usize = texts.iter().map(|text| text.len() + 1).sum();
    if pieces > MAX_PIECES { Err(Unreadable::TooMany) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_listed_in_many_ways() {
        for (expression, expected) in [
            ("((^|,)cat_p_1(,|$))", "cat_p_1"),
            ("((^|,)cat_p_1(,|$))|((^|,)cat_p(,|$))|((^|,)FPC(,|$))", "cat_p_1 cat_p FPC"),
            ("(^|,)(a|b-1|c)(,|$)", "a b-1 c"),
            (r"(^|\,)(/dummies/1|/dummies)($|\,)", "/dummies/1 /dummies"),
            (r"(^|\s)node:1(\s|$)", "node:1"),
            (r"system\.site", "system.site"),
            ("system.site", "system.site"),
            ("a", "a"),
            ("^(?:a|b)$", "a b"),
            ("colou?r", "colour color"),
        ] {
            let tags = tags(expression).map(|tags| tags.map(|tags| tags.join(" ")));
            assert_eq!(tags, Ok(Some(expected.to_owned())), "{expression}");
        }
        for everything in [".*", "^.*$", "(.*)", ".+"] {
            assert_eq!(tags(everything), Ok(None), "{everything}");
        }
    }

    #[test]
    fn what_lists_no_tags_is_refused() {
        for expression in ["", "^$", "(^|,)cat_.*(,|$)", "a+", "(?i)a", "(^|,)"] {
            assert_eq!(tags(expression), Err(Unreadable::NoList), "{expression}");
        }
        for expression in ["(", "(?=a)", r"(a)\1"] {
            assert_eq!(tags(expression), Err(Unreadable::Syntax), "{expression}");
        }
        assert_eq!(tags(&"(a|b)".repeat(40)), Err(Unreadable::TooMany));
        assert_eq!(tags(&"(".repeat(10_000)), Err(Unreadable::Syntax));
    }

    #[test]
    fn a_thousand_tags_are_no_trouble() {
        let one = |number| format!("((^|,)cat_p_{number}(,|$))");
        let expression = (0..3000).map(one).collect::<Vec<_>>().join("|");
        assert_eq!(tags(&expression).unwrap().unwrap().len(), 3000);
    }

    #[test]
    fn urls_are_matched_by_at_least_as_much() {
        for (expression, expected) in [
            ("^/blog/.*", "/blog/*"),
            ("^/blog/", "/blog/*"),
            ("/blog/", "*/blog/*"),
            ("^/blog/$", "/blog/"),
            (r"^/a\.html$", "/a.html"),
            ("^/a.html$", "/a*html"),
            (".*", "*"),
            ("", "*"),
            ("^/(a|b)/?$", "/a/ /a /b/ /b"),
            (r"^/articles/\d+/[^/]*$", "/articles/*/*"),
            ("(?i)^/a1$", "/*1"),
            ("^/(?i:a)b$", "/*b"),
            (r"\.(png|jpe?g)$", "*.png *.jpeg *.jpg"),
            ("^/a^b", "/a*b*"),
        ] {
            assert_eq!(
                globs(expression).map(|globs| globs.join(" ")),
                Ok(expected.to_owned()),
                "{expression}"
            );
        }
    }

    #[test]
    fn the_dots_of_a_host_are_dots() {
        for (expression, expected) in [
            ("^www.example.com$", "www.example.com"),
            (r"^(www\.example\.com|Example.com)$", "www.example.com example.com"),
            ("example.com", "*example.com*"),
            (".*", "*"),
        ] {
            assert_eq!(
                hosts(expression).map(|hosts| hosts.join(" ")),
                Ok(expected.to_owned()),
                "{expression}"
            );
        }
    }
}
