//! Hiding secrets in the source that error messages show.
//!
//! Every character of a literal secret is replaced by one of the same length in bytes, so that line and column
//! stay true. References to variables stay: they say what was meant and give nothing away.

use super::interpolation::{Piece, pieces};
use super::tree::{Node, Value};
use std::borrow::Cow;
use std::sync::LazyLock;

/// The source with the values of all keys that look like secrets masked.
pub(super) fn mask(source: &str, root: Option<&Node>) -> String {
    let Some(root) = root else { return mask_lines(source).into_owned() };
    let mut masked = source.to_owned();
    mask_node(root, false, &mut masked);
    masked
}

/// Whether what stands under this key may be a secret, mistyped keys included.
pub(super) fn is_secret(key: &str) -> bool {
    let key = key.to_lowercase();
    ["secret", "passw", "token", "credential", "private_key"].iter().any(|word| key.contains(word))
        || strsim::damerau_levenshtein(&key, "secret") <= 2
}

fn mask_node(node: &Node, secret: bool, masked: &mut String) {
    match &node.value {
        Value::Mapping(entries) => {
            for entry in entries {
                // Under `tokens:` only the secrets are secret; a mapping has keys of its own that say so.
                mask_node(&entry.value, is_secret(&entry.key), masked);
            }
        }
        Value::List(items) => items.iter().for_each(|item| mask_node(item, secret, masked)),
        Value::Scalar(_) | Value::Broken if secret => {
            let range = node.span.start..node.span.end;
            if let Some(hidden) = masked.get(range.clone()).map(hide) {
                masked.replace_range(range, &hidden);
            }
        }
        Value::Scalar(_) | Value::Broken | Value::Null => {}
    }
}

/// A scalar as written, with everything but quotes, line ends and `${VAR}` replaced.
fn hide(written: &str) -> String {
    let mut hidden = String::with_capacity(written.len());
    for piece in pieces(written) {
        match piece {
            Piece::Literal(text) => hidden.extend(text.chars().map(blot)),
            Piece::Variable { name, default: None, .. } => hidden.push_str(&format!("${{{name}}}")),
            Piece::Variable { name, default: Some(default), .. } => {
                hidden.push_str(&format!("${{{name}:-{}}}", default.chars().map(blot).collect::<String>()));
            }
            Piece::Broken(fault) => hidden.extend(written[fault.at].chars().map(blot)),
        }
    }
    // `pieces` unescapes `$${` and stops at what is never closed; neither may shift what follows.
    if hidden.len() == written.len() { hidden } else { written.chars().map(blot).collect() }
}

/// A character of the same length that says nothing.
fn blot(c: char) -> char {
    match (c, c.len_utf8()) {
        ('"' | '\'' | '\n' | '\r', _) => c,
        (_, 1) => '*',
        (_, 2) => '·',
        (_, 3) => '•',
        _ => '🔒',
    }
}

/// For a file that is not YAML: whatever follows such a key on its line is masked.
fn mask_lines(source: &str) -> Cow<'_, str> {
    static SECRET: LazyLock<Option<regex::Regex>> = LazyLock::new(|| {
        regex::Regex::new(r#"(?im)^.*?(?:secret|passw|token|credential|private_key)[\w-]*["']?\s*:\s*(.*)$"#)
            .ok()
    });
    let Some(secret) = &*SECRET else { return Cow::Borrowed("") };
    secret.replace_all(source, |found: &regex::Captures<'_>| {
        let line = &found[0];
        let value = &found[1];
        format!("{}{}", &line[..line.len() - value.len()], hide(value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::diagnostics::Problems;
    use crate::config::tree;

    fn check(source: &str, expected: &str) {
        let root = tree::parse(source, &|_| Some("value".into()), &mut Problems::default());
        let masked = mask(source, root.as_deref());
        assert_eq!(masked, expected);
        assert_eq!(masked.len(), source.len());
    }

    #[test]
    fn literal_secrets_are_masked_and_variables_stay() {
        check("secret: abc\nname: abc\n", "secret: ***\nname: abc\n");
        check("secret: [\"${A}\", 'x y']\n", "secret: [\"${A}\", '***']\n");
        check("secret: ${A:-hunter2}\n", "secret: ${A:-*******}\n");
        check("secret: a${A}é\n", "secret: *${A}·\n");
        check("secret: a$${A}\n", "secret: ******\n");
        check("tokens: [{name: a, secret: b}]\n", "tokens: [{name: a, secret: *}]\n");
        check("a: &x hunter2\nsecret: *x\n", "a: &x *******\nsecret: *x\n");
    }

    #[test]
    fn a_mistyped_key_gives_nothing_away() {
        check("scret: abc\n", "scret: ***\n");
        check("api-token: abc\n", "api-token: ***\n");
    }

    #[test]
    fn what_is_not_yaml_gives_nothing_away() {
        check("secret: \"abc\n", "secret: \"***\n");
        check("a: [{name: b, secret: c}\n", "a: [{name: b, secret: **\n");
    }
}
