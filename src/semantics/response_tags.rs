//! The tags that an origin names in a response: `Surrogate-Key`, `xkey`, `Cache-Tag` and the like. No RFC says what they
//! are.
//!
//! A tag that is lost is a purge that does not happen, silently; one too many costs nothing. So whatever can be read
//! in two ways is taken both ways: apps mix up the separators of these fields, and the octets of a field have no
//! character set.

use http::{HeaderMap, HeaderName};

/// Lists with white space.
const SPACED: [HeaderName; 2] = [HeaderName::from_static("surrogate-key"), HeaderName::from_static("xkey")];
/// Lists with commas: those of CDNs, of FOSHttpCache, of Magento, of Drupal and of TYPO3.
const COMMAED: [HeaderName; 8] = [
    HeaderName::from_static("cache-tag"),
    HeaderName::from_static("cache-tags"),
    HeaderName::from_static("edge-cache-tag"),
    HeaderName::from_static("x-cache-tags"),
    HeaderName::from_static("x-magento-tags"),
    HeaderName::from_static("purge-cache-tags"),
    HeaderName::from_static("x-acquia-purge-tags"),
    HeaderName::from_static("x-tags"),
];

/// Whether tags are named in such a field.
pub fn is_one(name: &HeaderName) -> bool {
    SPACED.contains(name) || COMMAED.contains(name)
}

/// All tags that a response names, each perhaps in several readings.
pub fn of(response: &HeaderMap) -> Vec<String> {
    let mut tags = Vec::new();
    for name in &SPACED {
        push(response, name, is_space, is_between, &mut tags);
    }
    for name in &COMMAED {
        push(response, name, |&byte| byte == b',', is_between, &mut tags);
    }
    tags
}

/// The tags that purges name in these fields, in whichever way they are separated: what a response names is known by each part.
pub fn listed(request: &HeaderMap, names: &[&str]) -> Vec<String> {
    let lines = names.iter().flat_map(|name| request.get_all(*name)).map(|line| line.as_bytes());
    let members = lines.flat_map(|line| line.split(is_between));
    let mut tags = Vec::new();
    for tag in members.filter(|member| !member.is_empty()).flat_map(readings) {
        if !tags.contains(&tag) {
            tags.push(tag);
        }
    }
    tags
}

fn is_space(byte: &u8) -> bool {
    byte.is_ascii_whitespace()
}

fn is_between(byte: &u8) -> bool {
    is_space(byte) || matches!(byte, b',' | b';')
}

/// The members of a list, and the parts of each that has the separator of other lists in it.
fn push(
    response: &HeaderMap,
    name: &HeaderName,
    separates: fn(&u8) -> bool,
    may_separate: fn(&u8) -> bool,
    tags: &mut Vec<String>,
) {
    let lines = response.get_all(name).iter().map(|line| line.as_bytes());
    for member in lines.flat_map(|line| line.split(separates)).map(<[u8]>::trim_ascii) {
        let parts = member.split(may_separate).filter(|part| part.len() < member.len());
        for tag in std::iter::once(member).chain(parts).filter(|tag| !tag.is_empty()) {
            tags.extend(readings(tag));
        }
    }
}

/// Octets as UTF-8, which apps mean, and as ISO-8859-1, which some frameworks send and all of RFC 9110 §5.5 once was.
fn readings(tag: &[u8]) -> impl Iterator<Item = String> {
    let utf8 = std::str::from_utf8(tag).ok().map(str::to_owned);
    let latin1 = || tag.iter().copied().map(char::from).collect();
    let other = (!tag.is_ascii()).then(latin1);
    utf8.into_iter().chain(other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn check(name: &'static str, lines: &[&[u8]], expected: &[&str]) {
        let field = |line: &&[u8]| (HeaderName::from_static(name), HeaderValue::from_bytes(line).unwrap());
        let response: HeaderMap = lines.iter().map(field).collect();
        assert_eq!(of(&response), expected, "{name} {lines:?}");
    }

    #[test]
    fn each_field_is_a_list_of_its_own_kind() {
        for name in ["surrogate-key", "xkey"] {
            check(name, &[b"a b", b"  c\td  "], &["a", "b", "c", "d"]);
        }
        for name in ["cache-tag", "cache-tags", "edge-cache-tag", "x-cache-tags", "x-magento-tags"] {
            check(name, &[b"a, b,,c\t", b",d"], &["a", "b", "c", "d"]);
        }
        check("x-other", &[b"a"], &[]);
        check("cache-tag", &[b" ", b""], &[]);
    }

    #[test]
    fn the_separator_of_another_list_may_have_been_meant() {
        check("surrogate-key", &[b"a, b c,d"], &["a,", "a", "b", "c,d", "c", "d"]);
        check("cache-tag", &[b"a b, c"], &["a b", "a", "b", "c"]);
        check("x-cache-tags", &[b";a;b;"], &[";a;b;", "a", "b"]);
    }

    #[test]
    fn no_octet_takes_a_tag_with_it() {
        check("surrogate-key", &["a caf\u{e9}".as_bytes()], &["a", "caf\u{e9}", "caf\u{c3}\u{a9}"]);
        check("cache-tag", &[b"a, caf\xe9, b"], &["a", "caf\u{e9}", "b"]);
        check("xkey", &[b"\xff\xfe a"], &["\u{ff}\u{fe}", "a"]);
    }
}
