//! The spellings of one URL: in which ways may a value stand in it? PURE.
//!
//! RFC 3986 §6.2.2 makes one of `%7E` and `~`, and of `%C3%A9` and `%c3%a9`. It does not make one of `+` and `%2B`:
//! whether a reserved character is encoded is the app's choice, both are URLs of their own, and apps differ. A
//! webhook's value does not say how its app writes URLs. Purging all the ways costs nothing; purging the wrong one
//! would silently leave the page.

use std::borrow::Cow;
use std::collections::BTreeMap;

use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::routes::Template;
use crate::uri::{UriError, normalize_path};

/// Everything but the unreserved (RFC 3986 §2.3): PHP's `rawurlencode`, Python's `quote(value, safe="")`.
const ALL_RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// The same, segment by segment.
const BUT_SLASHES: &AsciiSet = &ALL_RESERVED.remove(b'/');
/// JavaScript's `encodeURIComponent`.
const COMPONENT: &AsciiSet = &ALL_RESERVED.remove(b'!').remove(b'\'').remove(b'(').remove(b')').remove(b'*');
/// What a path need not encode (RFC 3986 §3.3): Django's `reverse`, Rails' paths, and browsers.
const PATH: &AsciiSet = &COMPONENT
    .remove(b'$')
    .remove(b'&')
    .remove(b'+')
    .remove(b',')
    .remove(b';')
    .remove(b'=')
    .remove(b':')
    .remove(b'@')
    .remove(b'/');
/// What a value in a query need not encode: not what ends it, nor what forms take for a space.
const QUERY: &AsciiSet = &PATH.add(b'&').add(b'+');
/// What cannot stand in a URL at all: for a value that is a URL already.
const WRITTEN: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'<')
    .add(b'>')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// All spellings of the URL that a template makes with these values; none if one is missing.
///
/// A hole at the very beginning (`{url}`, `{base}/feed`) holds a URL that is written out already.
pub(super) fn urls(template: &Template, values: &BTreeMap<&str, &str>) -> Vec<String> {
    spellings(template, values, |spelled| spelled)
}

/// The same, of a pattern: a `*` in it stands for anything only if the template has it.
pub(super) fn patterns(template: &Template, values: &BTreeMap<&str, &str>) -> Vec<String> {
    spellings(template, values, |spelled| spelled.replace('*', "%2A"))
}

fn spellings(template: &Template, values: &BTreeMap<&str, &str>, guard: fn(String) -> String) -> Vec<String> {
    let text = template.to_string();
    if !makes_an_authority(&text, values) {
        return Vec::new();
    }
    let begins_with_hole = text.starts_with('{') && !text.starts_with("{{");
    let written = template.names().next().filter(|_| begins_with_hole);
    // Each of the two is a template: what separates them stands in no hole.
    let (before, query) = text.split_at(text.find('?').unwrap_or(text.len()));
    let (Ok(before), Ok(query)) = (Template::parse(before), Template::parse(query)) else {
        return Vec::new();
    };
    let spelled = |spell: &dyn Fn(&str) -> String, in_query: &dyn Fn(&str) -> String| {
        let fill = |template: &Template, spell: &dyn Fn(&str) -> String| {
            template.render(|name| {
                let value = values.get(name)?;
                let spelled = if written == Some(name) { encode(value, WRITTEN) } else { spell(value) };
                Some(Cow::Owned(guard(spelled)))
            })
        };
        Some(fill(&before, spell)? + &fill(&query, in_query)?)
    };
    let both = |spell: &dyn Fn(&str) -> String| spelled(spell, spell);
    // The first leaves hosts and ports as they are; who encodes those names no host.
    let spellings = [
        spelled(&|value| encode(value, PATH), &|value| encode(value, QUERY)),
        both(&|value| encode(value, BUT_SLASHES)),
        both(&|value| encode(value, COMPONENT)),
        both(&|value| encode(value, ALL_RESERVED)),
        // Forms write a space in the query so.
        both(&|value| encode(value, ALL_RESERVED).replace("%20", "+")),
    ];
    let mut urls: Vec<String> = Vec::new();
    for url in spellings.into_iter().flatten() {
        let same_origin = urls.first().is_none_or(|first| origin(first) == origin(&url));
        // A value is no step to another page.
        let stays = written.is_some() || has_dot_segments(&text) || !has_dot_segments(&url);
        if same_origin && stays && !urls.contains(&url) {
            urls.push(url);
        }
    }
    urls
}

fn encode(value: &str, set: &'static AsciiSet) -> String {
    utf8_percent_encode(value, set).to_string()
}

/// Whether what fills the holes in a template's authority can stand there: it goes no further.
fn makes_an_authority(text: &str, values: &BTreeMap<&str, &str>) -> bool {
    let Some((_, rest)) = text.split_once("://") else { return true };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let holes = authority.split('{').skip(1).filter_map(|hole| hole.split_once('}'));
    let stands = |character: char| {
        !character.is_ascii() || character.is_ascii_alphanumeric() || ".-_:[]".contains(character)
    };
    holes.filter_map(|(name, _)| values.get(name)).all(|value| value.chars().all(stands))
}

/// Whether a segment of its path leads elsewhere (RFC 3986 §3.3), also one that some would decode first.
fn has_dot_segments(url: &str) -> bool {
    let path = url[origin(url).len()..].split(['?', '#']).next().unwrap_or_default();
    let is_one = |segment: &str| {
        let plain = segment.replace("%2E", ".").replace("%2e", ".");
        plain == "." || plain == ".."
    };
    path.split('/').any(is_one) || normalize_path(path) == Err(UriError::HiddenDotSegment)
}

/// Scheme and authority.
fn origin(url: &str) -> &str {
    let authority = url.find("://").map_or(0, |colon| colon + 3);
    let end = url[authority..].find(['/', '?', '#']).map_or(url.len(), |length| authority + length);
    &url[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(template: &str, value: &str, expected: &[&str]) {
        let template = Template::parse(template).unwrap();
        assert_eq!(urls(&template, &BTreeMap::from([("v", value)])), expected, "{template} with {value}");
    }

    #[test]
    fn what_can_be_written_in_one_way_is_named_once() {
        check("http://a.test/{v}", "my-slug_1.0~", &["http://a.test/my-slug_1.0~"]);
        check("http://a.test/{v}", "é?#%", &["http://a.test/%C3%A9%3F%23%25"]);
    }

    #[test]
    fn what_apps_write_differently_is_named_in_all_ways() {
        check("http://a.test/tags/{v}", "c++", &["http://a.test/tags/c++", "http://a.test/tags/c%2B%2B"]);
        check(
            "http://a.test/{v}",
            "a/b@c",
            &["http://a.test/a/b@c", "http://a.test/a/b%40c", "http://a.test/a%2Fb%40c"],
        );
        check("http://a.test/{v}", "it's", &["http://a.test/it's", "http://a.test/it%27s"]);
        check("http://a.test/?q={v}", "a b", &["http://a.test/?q=a%20b", "http://a.test/?q=a+b"]);
    }

    #[test]
    fn a_value_that_is_a_url_stays_one() {
        check("{v}", "https://a.test/x y?a=b&c=%20é", &["https://a.test/x%20y?a=b&c=%20%C3%A9"]);
        check("{v}/feed", "https://a.test/b", &["https://a.test/b/feed"]);
    }

    #[test]
    fn a_host_is_not_encoded() {
        check("http://{v}/a", "a.test:8080", &["http://a.test:8080/a"]);
    }

    #[test]
    fn a_star_in_a_value_stands_for_itself() {
        let template = Template::parse("http://a.test/*/{v}").unwrap();
        let patterns = patterns(&template, &BTreeMap::from([("v", "a*/*")]));
        assert!(patterns.iter().all(|pattern| pattern.matches('*').count() == 1), "{patterns:?}");
        assert!(patterns.contains(&"http://a.test/*/a%2A/%2A".to_owned()), "{patterns:?}");
    }

    #[test]
    fn a_value_is_no_step_to_another_page() {
        check("http://a.test/x/{v}", "..", &[]);
        check("http://a.test/x/{v}", "../admin", &[]);
        check("http://a.test/x-{v}", "..", &["http://a.test/x-.."]);
        check("http://{v}/a", "b.test/x", &[]);
        check("http://{v}.a.test/", "b.test@c", &[]);
    }

    #[test]
    fn a_missing_value_makes_no_url() {
        assert_eq!(urls(&Template::parse("http://a.test/{other}").unwrap(), &BTreeMap::new()), [""; 0]);
    }
}
