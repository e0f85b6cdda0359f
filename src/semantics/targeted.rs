//! Targeted cache control: RFC 9213. Which field speaks to this cache, and what it says.
//!
//! A field that is aimed at caches such as this one takes the place of `Cache-Control` and `Expires`. It is a
//! Structured Field (RFC 9651): one that is malformed says nothing, and the next is asked. `Surrogate-Control` (W3C Edge
//! Architecture, 2001) is older and has a grammar of its own.

use super::cache_control::{ResponseDirectives, withheld_fields};
use http::header::HeaderName;
use http::{HeaderMap, HeaderValue};
use sfv::{BareItem, Dictionary, ListEntry, Parser};
use std::borrow::Cow;

/// Ours, by name: it is for nobody after us (§2.2: "MAY be removed").
pub const STALEPROOF_CACHE_CONTROL: HeaderName = HeaderName::from_static("staleproof-cache-control");
/// For all caches that act for the origin (§3.1): passed on.
pub const CDN_CACHE_CONTROL: HeaderName = HeaderName::from_static("cdn-cache-control");
/// For the first surrogate that understands it, which removes it.
pub const SURROGATE_CONTROL: HeaderName = HeaderName::from_static("surrogate-control");

/// What a response says to this cache, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// What it says.
    pub directives: ResponseDirectives,
    /// The fields that are not stored with the rest: those that a qualified `private` or `no-cache` names.
    pub withheld: Vec<HeaderName>,
    /// The targeted field that says it; `None`: `Cache-Control` does, and `Expires` counts.
    pub targeted: Option<HeaderName>,
}

impl Statement {
    /// "the cache MUST select the first field in the target list with a valid, non-empty value and use its value to
    /// determine the caching policy for the response, and it MUST ignore the Cache-Control and Expires header
    /// fields in that response, unless no valid, non-empty value is available" (§2.2).
    pub fn of(response: &HeaderMap, targets: &[HeaderName]) -> Self {
        for name in targets.iter().filter(|name| response.contains_key(*name)) {
            let read = if *name == SURROGATE_CONTROL { surrogate } else { dictionary };
            if let Some(statement) = read(response, name) {
                return statement;
            }
        }
        Self {
            directives: ResponseDirectives::of(response),
            withheld: withheld_fields(response),
            targeted: None,
        }
    }
}

/// The fields of `targets` that nobody after us is to see.
pub fn ends_here(name: &HeaderName, targets: &[HeaderName]) -> bool {
    *name == STALEPROOF_CACHE_CONTROL || (*name == SURROGATE_CONTROL && targets.contains(name))
}

/// A Dictionary whose members are directives; `None` if it is malformed or empty. Parameters mean nothing.
fn dictionary(response: &HeaderMap, name: &HeaderName) -> Option<Statement> {
    let lines: Vec<_> = response.get_all(name).iter().map(HeaderValue::as_bytes).collect();
    let members = Parser::new(&lines.join(&b", "[..])).parse::<Dictionary>().ok()?;
    let mut statement = Said::default();
    for (key, member) in &members {
        let argument = match member {
            ListEntry::Item(item) => match argument(key.as_str(), &item.bare_item) {
                Argument::Not => continue,
                Argument::None => None,
                Argument::Some(text) => Some(text),
            },
            ListEntry::InnerList(list) => {
                let names = list.items.iter().filter_map(|item| match argument("", &item.bare_item) {
                    Argument::Some(text) => Some(text),
                    Argument::None | Argument::Not => None,
                });
                Some(names.collect::<Vec<_>>().join(",").into())
            }
        };
        statement.add(key.as_str().as_bytes(), argument.as_ref().map(|text| text.as_bytes()));
    }
    (!members.is_empty()).then(|| statement.by(name))
}

/// The directives whose argument is a number of seconds.
const SECONDS: [&str; 4] = ["max-age", "s-maxage", "stale-while-revalidate", "stale-if-error"];

/// What stands behind a directive's name.
enum Argument<'a> {
    /// `name=?0`: the directive is not there.
    Not,
    /// `name`.
    None,
    /// `name=…`; whether it is of the right type is for the directive to say.
    Some(Cow<'a, str>),
}

fn argument<'i>(directive: &str, item: &'i BareItem) -> Argument<'i> {
    match item {
        BareItem::Boolean(false) => Argument::Not,
        BareItem::Boolean(true) => Argument::None,
        BareItem::Integer(seconds) => Argument::Some(seconds.to_string().into()),
        // Seconds are an Integer and nothing else (§2.1).
        BareItem::String(_) | BareItem::Token(_) if SECONDS.contains(&directive) => {
            Argument::Some("?".into())
        }
        BareItem::String(text) => Argument::Some(text.as_str().into()),
        BareItem::Token(text) => Argument::Some(text.as_str().into()),
        // No directive has an argument of these types.
        _ => Argument::Some("?".into()),
    }
}

/// `max-age=600+300, no-store, content="ESI/1.0"`, each perhaps for one `;target` only. What is not for us, or not
/// understood, is ignored; `None` if nothing is left.
fn surrogate(response: &HeaderMap, name: &HeaderName) -> Option<Statement> {
    let mut statement = Said::default();
    let mut heard = false;
    for line in response.get_all(name) {
        for directive in line.as_bytes().split(|&byte| byte == b',') {
            let mut parts = directive.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
            let directive = parts.next().unwrap_or_default();
            if parts.next().is_some_and(|target| !target.eq_ignore_ascii_case(SURROGATE_ID.as_bytes())) {
                continue;
            }
            let (key, value) = match directive.iter().position(|&byte| byte == b'=') {
                Some(equals) => (&directive[..equals], directive.get(equals + 1..)),
                None => (directive, None),
            };
            match key.to_ascii_lowercase().as_slice() {
                b"max-age" => {
                    let value = value.unwrap_or_default();
                    let mut halves = value.splitn(2, |&byte| byte == b'+');
                    statement.add(b"max-age", halves.next());
                    if let Some(extension) = halves.next() {
                        statement.add(b"stale-while-revalidate", Some(extension));
                    }
                }
                // Of two that are told apart by how far they are from the origin, we cannot say which we are.
                b"no-store" | b"no-store-remote" => statement.add(b"no-store", None),
                _ => continue,
            }
            heard = true;
        }
    }
    heard.then(|| statement.by(name))
}

/// What `;target` calls us.
const SURROGATE_ID: &str = "staleproof";

/// What we say of ourselves to origins that may send `Surrogate-Control`.
pub const SURROGATE_CAPABILITY: &str = "staleproof=\"Surrogate/1.0\"";

#[derive(Default)]
struct Said {
    directives: ResponseDirectives,
    withheld: Vec<HeaderName>,
}

impl Said {
    fn add(&mut self, name: &[u8], argument: Option<&[u8]>) {
        self.withheld.extend(self.directives.add_directive(name, argument));
    }

    fn by(self, name: &HeaderName) -> Statement {
        let Self { directives, withheld } = self;
        Statement { directives, withheld, targeted: Some(name.clone()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::semantics::samples::fields;
    use proptest::prelude::*;

    const DEFAULT: [HeaderName; 2] = [STALEPROOF_CACHE_CONTROL, CDN_CACHE_CONTROL];

    /// The lifetime and the field that decides, of a response that also says `Cache-Control: max-age=1`.
    fn check(targeted: &[(&str, &str)], max_age: Option<u32>, by: Option<&str>) {
        let lines: Vec<_> =
            [("cache-control", "max-age=1")].into_iter().chain(targeted.iter().copied()).collect();
        let statement = Statement::of(&fields(&lines), &DEFAULT);
        let said = (statement.directives.max_age, statement.targeted.as_ref().map(HeaderName::as_str));
        assert_eq!(said, (max_age, by), "{targeted:?}");
    }

    #[test]
    fn the_first_valid_target_decides() {
        let (own, cdn) = ("staleproof-cache-control", "cdn-cache-control");
        check(&[], Some(1), None);
        check(&[(cdn, "max-age=5")], Some(5), Some(cdn));
        check(&[(cdn, "max-age=5"), (own, "max-age=9")], Some(9), Some(own));
        check(&[(cdn, "max-age=5"), (own, "max-age")], Some(0), Some(own));
        check(&[(cdn, "max-age=5"), (own, "max-age=")], Some(5), Some(cdn));
        check(&[(cdn, "public"), (own, "")], None, Some(cdn));
        check(&[("other-cache-control", "max-age=5")], Some(1), None);
    }

    #[test]
    fn a_malformed_target_says_nothing() {
        for malformed in
            ["", " ", "max-age = 5", "max-age =5", "Max-Age=5", "max-age=5,", "max-age=5; ;", "=5", "\u{fc}"]
        {
            check(&[("cdn-cache-control", malformed)], Some(1), None);
        }
    }

    #[test]
    fn members_are_directives_and_their_parameters_are_nothing() {
        let cdn = "cdn-cache-control";
        check(&[(cdn, "max-age=5;foo=bar, ext=(a b), other=\"x\"")], Some(5), Some(cdn));
        check(&[(cdn, "max-age=1, max-age=5")], Some(5), Some(cdn));
        check(&[(cdn, "public"), (cdn, "max-age=5")], Some(5), Some(cdn));
        check(&[(cdn, "max-age=99999999999")], Some(1 << 31), Some(cdn));
        for wrong in [
            "max-age=\"5\"",
            "max-age=five",
            "max-age=5.0",
            "max-age=-5",
            "max-age=?1",
            "max-age=:YQ==:",
            "max-age=(5)x",
        ] {
            let said = if wrong.ends_with('x') { (Some(1), None) } else { (Some(0), Some(cdn)) };
            check(&[(cdn, wrong)], said.0, said.1);
        }
    }

    #[test]
    fn restrictions_hold_and_may_be_qualified() {
        let of = |value: &str| Statement::of(&fields(&[("cdn-cache-control", value)]), &DEFAULT);
        assert!(of("no-store").directives.no_store() && of("private").directives.private());
        assert!(of("no-cache, max-age=5").directives.no_cache());
        assert!(!of("no-store=?0, max-age=5").directives.no_store());
        for qualified in ["private=\"x-user\"", "private=x-user", "private=(\"x-user\")", "private=(x-user)"]
        {
            let statement = of(qualified);
            assert!(!statement.directives.private(), "{qualified}");
            assert_eq!(statement.withheld, ["x-user"]);
        }
    }

    fn check_surrogate(value: &str, expected: Option<(Option<u32>, Option<u32>, bool)>) {
        let statement = Statement::of(&fields(&[("surrogate-control", value)]), &[SURROGATE_CONTROL]);
        let said = statement.targeted.is_some().then(|| {
            let directives = statement.directives;
            (directives.max_age, directives.stale_while_revalidate, directives.no_store())
        });
        assert_eq!(said, expected, "{value}");
    }

    #[test]
    fn surrogate_control_has_a_grammar_of_its_own() {
        check_surrogate("max-age=600", Some((Some(600), None, false)));
        check_surrogate("MAX-AGE=600+300, content=\"ESI/1.0\"", Some((Some(600), Some(300), false)));
        check_surrogate("max-age=600;staleproof", Some((Some(600), None, false)));
        check_surrogate("max-age=600;somebody-else", None);
        check_surrogate("max-age=5, max-age=600;somebody-else", Some((Some(5), None, false)));
        check_surrogate("no-store", Some((None, None, true)));
        check_surrogate("no-store-remote", Some((None, None, true)));
        check_surrogate("max-age=", Some((Some(0), None, false)));
        check_surrogate("max-age", Some((Some(0), None, false)));
        check_surrogate("content=\"ESI/1.0\"", None);
        check_surrogate("", None);
    }

    #[test]
    fn our_own_field_ends_here_and_others_go_on() {
        assert!(ends_here(&STALEPROOF_CACHE_CONTROL, &[]));
        assert!(ends_here(&SURROGATE_CONTROL, &[SURROGATE_CONTROL]));
        assert!(!ends_here(&SURROGATE_CONTROL, &DEFAULT) && !ends_here(&CDN_CACHE_CONTROL, &DEFAULT));
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_strange(line in proptest::collection::vec(any::<u8>(), 0..80)) {
            if let Ok(line) = HeaderValue::from_bytes(&line) {
                for name in [CDN_CACHE_CONTROL, SURROGATE_CONTROL] {
                    let headers = HeaderMap::from_iter([(name.clone(), line.clone())]);
                    let _ = Statement::of(&headers, &[name]);
                }
            }
        }
    }
}
