//! The Cache-Control field: RFC 9111 §5.2.
//!
//! One parser for requests and responses. It is lenient about form (case, quoted arguments, whitespace around
//! `=`, a missing comma) wherever that lets it see *more* restrictions, and takes the most restrictive
//! reading of everything in doubt: duplicates, arguments that are no numbers, quotes out of place.
//! Knows what the directives say, not what follows from them.

use http::header::{AGE, CACHE_CONTROL, DATE, ETAG, EXPIRES, LAST_MODIFIED, LOCATION, PRAGMA, VARY};
use http::{HeaderMap, HeaderName};

/// What `delta-seconds` too large to represent become: "2147483648 (2^31)" (§1.2.2).
pub const DELTA_SECONDS_MAX: u32 = 1 << 31;

/// What a response's Cache-Control says (§5.2.2). Seconds are `delta-seconds`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ResponseDirectives {
    bits: u16,
    /// `max-age`; 0 if it was given without a valid number.
    pub max_age: Option<u32>,
    /// `s-maxage`; 0 if it was given without a valid number.
    pub s_maxage: Option<u32>,
    /// `stale-while-revalidate` (RFC 5861 §3); 0 if it was given without a valid number.
    pub stale_while_revalidate: Option<u32>,
    /// `stale-if-error` (RFC 5861 §4); 0 if it was given without a valid number.
    pub stale_if_error: Option<u32>,
}

const NO_STORE: u16 = 1 << 0;
const NO_CACHE: u16 = 1 << 1;
const PRIVATE: u16 = 1 << 3;
const PUBLIC: u16 = 1 << 4;
const MUST_REVALIDATE: u16 = 1 << 5;
const PROXY_REVALIDATE: u16 = 1 << 6;
const MUST_UNDERSTAND: u16 = 1 << 7;
const NO_TRANSFORM: u16 = 1 << 8;
const IMMUTABLE: u16 = 1 << 9;
const ONLY_IF_CACHED: u16 = 1 << 10;
const INVALID_S_MAXAGE: u16 = 1 << 11;

impl ResponseDirectives {
    /// The directives of all Cache-Control lines together. What fields aimed at caches such as this one say instead is
    /// for [`Statement`](super::targeted::Statement) to find.
    pub fn of(response: &HeaderMap) -> Self {
        let mut directives = Self::default();
        for line in response.get_all(CACHE_CONTROL) {
            read(line.as_bytes(), |directive| directives.add(directive));
        }
        directives
    }

    /// Adds one directive; the fields that it names, if it is a qualified form.
    pub(super) fn add_directive(&mut self, name: &[u8], argument: Option<&[u8]>) -> Vec<HeaderName> {
        self.add(Some(Directive { name, argument }));
        Directive { name, argument }.withholds()
    }

    fn add(&mut self, directive: Option<Directive<'_>>) {
        // What cannot be read may have said `no-store`.
        let Some(Directive { name, argument }) = directive else { return self.bits |= NO_STORE };
        self.bits |= match lowercase(name, &mut [0; LONGEST_NAME]) {
            b"no-store" => NO_STORE,
            // The qualified forms speak of the fields they name, and of nothing else (§5.2.2.4, §5.2.2.7).
            b"no-cache" | b"private" if argument.and_then(withheld).is_some() => 0,
            b"no-cache" => NO_CACHE,
            b"private" => PRIVATE,
            b"must-revalidate" => MUST_REVALIDATE,
            b"proxy-revalidate" => PROXY_REVALIDATE,
            b"no-transform" => NO_TRANSFORM,
            // These three permit; with an argument they are not what the RFCs define.
            b"public" if argument.is_none() => PUBLIC,
            b"must-understand" if argument.is_none() => MUST_UNDERSTAND,
            b"immutable" if argument.is_none() => IMMUTABLE,
            b"max-age" => shorten(&mut self.max_age, argument),
            b"s-maxage" => {
                shorten(&mut self.s_maxage, argument);
                if argument.and_then(delta_seconds).is_none() { INVALID_S_MAXAGE } else { 0 }
            }
            b"stale-while-revalidate" => shorten(&mut self.stale_while_revalidate, argument),
            b"stale-if-error" => shorten(&mut self.stale_if_error, argument),
            // "A cache MUST ignore unrecognized cache directives" (§5.2.3)
            _ => 0,
        };
    }

    /// May not be stored (§5.2.2.5).
    pub const fn no_store(&self) -> bool {
        self.bits & NO_STORE != 0
    }
    /// May not be reused without validation (§5.2.2.4).
    pub const fn no_cache(&self) -> bool {
        self.bits & NO_CACHE != 0
    }
    /// Is for a single user (§5.2.2.7).
    pub const fn private(&self) -> bool {
        self.bits & PRIVATE != 0
    }
    /// May be stored though it would otherwise be prohibited (§5.2.2.9).
    pub const fn public(&self) -> bool {
        self.bits & PUBLIC != 0
    }
    /// May not be reused once stale (§5.2.2.2).
    pub const fn must_revalidate(&self) -> bool {
        self.bits & MUST_REVALIDATE != 0
    }
    /// May not be reused by a shared cache once stale (§5.2.2.8).
    pub const fn proxy_revalidate(&self) -> bool {
        self.bits & PROXY_REVALIDATE != 0
    }
    /// May only be stored by a cache that understands the status code (§5.2.2.3).
    pub const fn must_understand(&self) -> bool {
        self.bits & MUST_UNDERSTAND != 0
    }
    /// The content may not be transformed (§5.2.2.6).
    pub const fn no_transform(&self) -> bool {
        self.bits & NO_TRANSFORM != 0
    }
    /// Does not change while it is fresh (RFC 8246).
    pub const fn immutable(&self) -> bool {
        self.bits & IMMUTABLE != 0
    }
    /// `s-maxage` is present with a valid number, so that it may permit as well as restrict (§3.5).
    pub const fn has_valid_s_maxage(&self) -> bool {
        self.s_maxage.is_some() && self.bits & INVALID_S_MAXAGE == 0
    }
}

/// The fields a shared cache does not store, though it stores the rest: those named by a qualified `private`
/// (§5.2.2.7) or `no-cache` (§5.2.2.4: they could be reused after a validation, which then has to provide them).
pub(super) fn withheld_fields(response: &HeaderMap) -> Vec<HeaderName> {
    let mut names = Vec::new();
    for line in response.get_all(CACHE_CONTROL) {
        read(line.as_bytes(), |directive| {
            names.extend(directive.map(|directive| directive.withholds()).unwrap_or_default());
        });
    }
    names
}

/// The fields of `#field-name`; `None` if it is no such list, or if it names one without which the rest would mean
/// something else: then the qualified form is read as the unqualified one, which forbids more.
fn withheld(list: &[u8]) -> Option<Vec<HeaderName>> {
    const NEEDED: [HeaderName; 8] = [VARY, CACHE_CONTROL, ETAG, LAST_MODIFIED, DATE, EXPIRES, LOCATION, AGE];
    let members = list.split(|&byte| byte == b',').map(<[u8]>::trim_ascii).filter(|name| !name.is_empty());
    let names = members.map(|name| {
        let name = HeaderName::from_bytes(name).ok()?;
        (!NEEDED.contains(&name) && !name.as_str().starts_with("content-")).then_some(name)
    });
    names.collect::<Option<Vec<_>>>().filter(|names| !names.is_empty())
}

/// What a request's Cache-Control says (§5.2.1), or its Pragma where there is none (§5.4).
/// Seconds are `delta-seconds`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestDirectives {
    bits: u16,
    /// `max-age`: no response older than this; 0 if it was given without a valid number.
    pub max_age: Option<u32>,
    /// `max-stale`: a response stale by at most this; [`DELTA_SECONDS_MAX`] without argument, 0 with an invalid one.
    pub max_stale: Option<u32>,
    /// `min-fresh`: fresh for at least this; [`DELTA_SECONDS_MAX`] if it was given without a valid number.
    pub min_fresh: Option<u32>,
}

impl RequestDirectives {
    /// The directives of all Cache-Control lines together. Costs two lookups when there is nothing to read.
    pub fn of(request: &HeaderMap) -> Self {
        let mut directives = Self::default();
        if request.contains_key(CACHE_CONTROL) {
            for line in request.get_all(CACHE_CONTROL) {
                read(line.as_bytes(), |directive| directives.add(directive));
            }
        } else {
            for line in request.get_all(PRAGMA) {
                read(line.as_bytes(), |directive| {
                    if directive.is_some_and(|directive| directive.name.eq_ignore_ascii_case(b"no-cache")) {
                        directives.bits |= NO_CACHE;
                    }
                });
            }
        }
        directives
    }

    fn add(&mut self, directive: Option<Directive<'_>>) {
        let Some(Directive { name, argument }) = directive else { return self.bits |= NO_STORE };
        self.bits |= match lowercase(name, &mut [0; LONGEST_NAME]) {
            b"no-store" => NO_STORE,
            b"no-cache" => NO_CACHE,
            b"only-if-cached" => ONLY_IF_CACHED,
            b"no-transform" => NO_TRANSFORM,
            b"max-age" => shorten(&mut self.max_age, argument),
            // "If no value is assigned to max-stale, then the client will accept a stale response of any
            // age" (§5.2.1.2)
            b"max-stale" if argument.is_none() => {
                self.max_stale = self.max_stale.or(Some(DELTA_SECONDS_MAX));
                0
            }
            b"max-stale" => shorten(&mut self.max_stale, argument),
            b"min-fresh" => {
                let seconds = argument.and_then(delta_seconds).unwrap_or(DELTA_SECONDS_MAX);
                self.min_fresh = self.min_fresh.max(Some(seconds));
                0
            }
            _ => 0,
        };
    }

    /// The response may not be stored (§5.2.1.5).
    pub const fn no_store(&self) -> bool {
        self.bits & NO_STORE != 0
    }
    /// No stored response without validation (§5.2.1.4).
    pub const fn no_cache(&self) -> bool {
        self.bits & NO_CACHE != 0
    }
    /// A stored response or none (§5.2.1.7).
    pub const fn only_if_cached(&self) -> bool {
        self.bits & ONLY_IF_CACHED != 0
    }
    /// The content may not be transformed (§5.2.1.6).
    pub const fn no_transform(&self) -> bool {
        self.bits & NO_TRANSFORM != 0
    }
}

/// The shorter of what is there and what `argument` says, which is nothing at all if it is no number:
/// "Caches are encouraged to consider responses that have invalid freshness information … to be stale" (§4.2.1).
fn shorten(lifetime: &mut Option<u32>, argument: Option<&[u8]>) -> u16 {
    let seconds = argument.and_then(delta_seconds).unwrap_or(0);
    *lifetime = Some(lifetime.map_or(seconds, |shorter| shorter.min(seconds)));
    0
}

/// `delta-seconds` (§1.2.2): digits and nothing else, capped at [`DELTA_SECONDS_MAX`].
pub(super) fn delta_seconds(digits: &[u8]) -> Option<u32> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u32, |seconds, digit| {
        let digit = digit.is_ascii_digit().then(|| u32::from(digit - b'0'))?;
        Some(seconds.saturating_mul(10).saturating_add(digit).min(DELTA_SECONDS_MAX))
    })
}

/// One directive; the argument without its quotes.
#[derive(Clone, Copy)]
struct Directive<'a> {
    name: &'a [u8],
    argument: Option<&'a [u8]>,
}

impl Directive<'_> {
    /// The fields that a qualified `private` or `no-cache` names.
    fn withholds(&self) -> Vec<HeaderName> {
        let qualifies =
            self.name.eq_ignore_ascii_case(b"private") || self.name.eq_ignore_ascii_case(b"no-cache");
        self.argument.filter(|_| qualifies).and_then(withheld).unwrap_or_default()
    }
}

/// Tells `say` each directive of one field line, in order; `None` once if the rest cannot be read because a
/// quote stands where none belongs or is never closed.
fn read<'a>(line: &'a [u8], mut say: impl FnMut(Option<Directive<'a>>)) {
    let mut rest = line;
    loop {
        // Whatever is not part of a token separates: the comma, and what is written in its place.
        rest = skip(rest, |byte| !is_token(byte) && byte != b'"');
        let (name, after_name) = split(rest, is_token);
        if name.is_empty() {
            // Either nothing is left or a quote stands where a name should.
            if !rest.is_empty() {
                say(None);
            }
            return;
        }
        rest = after_name;
        let Some(after_equals) = skip(rest, is_space).strip_prefix(b"=") else {
            if rest.starts_with(b"\"") {
                return say(None);
            }
            say(Some(Directive { name, argument: None }));
            continue;
        };
        let argument_starts = skip(after_equals, is_space);
        let argument;
        if let Some(quoted) = argument_starts.strip_prefix(b"\"") {
            let Some(length) = closing_quote(quoted) else { return say(None) };
            argument = &quoted[..length];
            rest = &quoted[length + 1..];
            if rest.first().is_some_and(|&byte| is_token(byte) || byte == b'"') {
                return say(None);
            }
        } else {
            (argument, rest) =
                split(argument_starts, |byte| !matches!(byte, b',' | b';' | b'"') && !is_space(byte));
            if rest.starts_with(b"\"") {
                return say(None);
            }
        }
        say(Some(Directive { name, argument: Some(argument) }));
    }
}

fn closing_quote(quoted: &[u8]) -> Option<usize> {
    let mut escaped = false;
    quoted.iter().position(|&byte| {
        let closes = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        closes
    })
}

fn skip(bytes: &[u8], skipped: impl Fn(u8) -> bool) -> &[u8] {
    split(bytes, skipped).1
}

fn split(bytes: &[u8], taken: impl Fn(u8) -> bool) -> (&[u8], &[u8]) {
    let length = bytes.iter().position(|&byte| !taken(byte)).unwrap_or(bytes.len());
    bytes.split_at(length)
}

const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// `tchar` (RFC 9110 §5.6.2).
const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        )
}

/// As long as `stale-while-revalidate`.
const LONGEST_NAME: usize = 22;

/// `name` in lower case; empty, and so unrecognized, if it is longer than any known one.
fn lowercase<'b>(name: &[u8], buffer: &'b mut [u8; LONGEST_NAME]) -> &'b [u8] {
    let Some(lower) = buffer.get_mut(..name.len()) else { return &[] };
    lower.copy_from_slice(name);
    lower.make_ascii_lowercase();
    lower
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use proptest::prelude::*;

    fn response(lines: &[&str]) -> ResponseDirectives {
        ResponseDirectives::of(&lines.iter().map(|line| (CACHE_CONTROL, line.parse().unwrap())).collect())
    }

    fn request(fields: &[(&'static str, &str)]) -> RequestDirectives {
        let fields = fields.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        RequestDirectives::of(&fields.collect())
    }

    fn check_max_age(line: &str, expected: Option<u32>) {
        assert_eq!(response(&[line]).max_age, expected, "{line}");
    }

    #[test]
    fn max_age_is_read_however_it_is_written() {
        check_max_age("max-age=3600", Some(3600));
        check_max_age("MAX-age=3600", Some(3600));
        check_max_age("max-age=\"3600\"", Some(3600));
        check_max_age("max-age =3600", Some(3600));
        check_max_age("max-age=\t3600", Some(3600));
        check_max_age("max-age=003600", Some(3600));
        check_max_age(",, public ,max-age=3600,", Some(3600));
        check_max_age("public max-age=3600", Some(3600));
        check_max_age("public; max-age=3600; foo", Some(3600));
        check_max_age("public", None);
    }

    #[test]
    fn a_max_age_that_is_no_number_is_zero() {
        for line in [
            "max-age",
            "max-age=",
            "max-age=\"\"",
            "max-age=a3600",
            "max-age=3600a",
            "max-age=-3600",
            "max-age=+1",
            "max-age=3600.0",
            "max-age='3600'",
            "max-age: 3600",
            "max-age=\"36\\00\"",
            "max-age=, s-maxage=5",
        ] {
            check_max_age(line, Some(0));
        }
    }

    #[test]
    fn too_many_seconds_become_two_to_the_31() {
        check_max_age("max-age=2147483647", Some(2_147_483_647));
        check_max_age("max-age=2147483648", Some(DELTA_SECONDS_MAX));
        check_max_age("max-age=2147483649", Some(DELTA_SECONDS_MAX));
        check_max_age("max-age=99999999999999999999", Some(DELTA_SECONDS_MAX));
    }

    #[test]
    fn the_shortest_of_several_lifetimes_counts() {
        check_max_age("max-age=1800, max-age=1", Some(1));
        check_max_age("max-age=1, max-age=1800", Some(1));
        check_max_age("max-age=1800, max-age=x", Some(0));
        assert_eq!(response(&["max-age=1800", "max-age=1"]).max_age, Some(1));
    }

    #[test]
    fn what_stands_in_a_quoted_string_is_no_directive() {
        check_max_age("extension=\"max-age=3600\", max-age=1", Some(1));
        check_max_age("extension=\"a\\\", max-age=3600, b\"", None);
        assert!(!response(&["extension=\"no-store, private\""]).no_store());
    }

    #[test]
    fn an_unreadable_field_is_read_as_no_store() {
        for line in [
            "max-age=60, extension=\"no-store",
            "\"max-age=60\"",
            "max-age=60\"",
            "max-age=\"60\"0",
            "max-age=\"60\\\"",
            "private\"\"",
            "no-cache=\"a",
        ] {
            assert!(response(&[line]).no_store(), "{line}");
        }
        assert!(!response(&["max-age=60, extension=\"no-store\""]).no_store());
    }

    #[test]
    fn every_directive_is_recognized_in_any_case_and_on_any_line() {
        let all = response(&[
            "No-Store, NO-CACHE, Private, Public, Must-Revalidate",
            "proxy-revalidate, must-understand, no-transform, Immutable, foo=bar",
            "S-MaxAge=1, stale-While-revalidate=2, stale-if-error=3",
        ]);
        assert!(all.no_store() && all.no_cache() && all.private() && all.public() && all.must_revalidate());
        assert!(all.proxy_revalidate() && all.must_understand() && all.no_transform() && all.immutable());
        assert_eq!(
            (all.s_maxage, all.stale_while_revalidate, all.stale_if_error),
            (Some(1), Some(2), Some(3))
        );
        assert_eq!(
            response(&["foo, bar=1, a-name-that-is-longer-than-any-known"]),
            ResponseDirectives::default()
        );
    }

    #[test]
    fn a_missing_comma_hides_no_restriction() {
        assert!(response(&["private max-age=60"]).private());
        assert!(response(&["max-age=60 no-store"]).no_store());
        assert!(response(&["max-age=60; private"]).private());
    }

    #[test]
    fn qualified_forms_restrict_the_fields_they_name() {
        let check = |line: &str, no_cache, private, withheld: &[&str]| {
            let directives = response(&[line]);
            assert_eq!((directives.no_cache(), directives.private()), (no_cache, private), "{line}");
            let line = HeaderMap::from_iter([(CACHE_CONTROL, line.parse().unwrap())]);
            assert_eq!(withheld_fields(&line), withheld, "{line:?}");
        };
        check("no-cache=\"A, b\", private=\"c\", max-age=3600", false, false, &["a", "b", "c"]);
        check("private=set-cookie", false, false, &["set-cookie"]);
        check("no-cache=\"a\", no-cache", true, false, &["a"]);
        // what is no list of fields, or names what the rest depends on
        check("private=\"\"", false, true, &[]);
        check("private=\" , \"", false, true, &[]);
        check("no-cache=\"a, (b)\"", true, false, &[]);
        check("no-cache=\"a, vary\", private=\"content-type\"", true, true, &[]);
    }

    #[test]
    fn an_argument_takes_the_permission_from_a_permitting_directive() {
        let directives = response(&["public=1, must-understand=\"x\", immutable=y"]);
        assert!(!directives.public() && !directives.must_understand() && !directives.immutable());
        assert!(response(&["no-store=1"]).no_store());
    }

    #[test]
    fn an_invalid_s_maxage_restricts_but_does_not_permit() {
        assert!(response(&["s-maxage=5"]).has_valid_s_maxage());
        assert!(!response(&["s-maxage=5, s-maxage=x"]).has_valid_s_maxage());
        assert!(!response(&["max-age=5"]).has_valid_s_maxage());
        assert_eq!(response(&["s-maxage=x"]).s_maxage, Some(0));
    }

    #[test]
    fn request_directives_in_doubt_ask_for_more() {
        let check = |line: &str, expected: (Option<u32>, Option<u32>, Option<u32>)| {
            let read = request(&[("cache-control", line)]);
            assert_eq!((read.max_age, read.min_fresh, read.max_stale), expected, "{line}");
        };
        check("max-age=0", (Some(0), None, None));
        check("max-age=x", (Some(0), None, None));
        check("min-fresh=5, min-fresh=9", (None, Some(9), None));
        check("min-fresh=x", (None, Some(DELTA_SECONDS_MAX), None));
        check("max-stale", (None, None, Some(DELTA_SECONDS_MAX)));
        check("max-stale, max-stale=3", (None, None, Some(3)));
        check("max-stale=3, max-stale", (None, None, Some(3)));
        check("max-stale=x", (None, None, Some(0)));
        let all = request(&[("cache-control", "no-cache, No-Store, only-if-cached, no-transform")]);
        assert!(all.no_cache() && all.no_store() && all.only_if_cached() && all.no_transform());
    }

    #[test]
    fn pragma_counts_only_without_cache_control() {
        assert!(request(&[("pragma", "foo, No-Cache")]).no_cache());
        assert!(!request(&[("pragma", "foo")]).no_cache());
        assert!(!request(&[("pragma", "no-cache"), ("cache-control", "max-age=60")]).no_cache());
        assert_eq!(request(&[]), RequestDirectives::default());
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_strange(line in proptest::collection::vec(any::<u8>(), 0..80)) {
            if let Ok(line) = HeaderValue::from_bytes(&line) {
                let fields = HeaderMap::from_iter([(CACHE_CONTROL, line)]);
                let _ = (ResponseDirectives::of(&fields), RequestDirectives::of(&fields));
            }
        }

        #[test]
        fn no_store_is_seen_wherever_it_stands(before in "[ -~]{0,20}", after in "[ -~]{0,20}") {
            // Inside a quoted string it is text, and after `=` an argument.
            prop_assume!(!before.contains(['"', '=']));
            let line = format!("{before},no-store,{after}");
            prop_assert!(response(&[&line]).no_store(), "{}", line);
        }
    }
}
