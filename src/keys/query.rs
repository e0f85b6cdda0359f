//! The query: which of its parameters take part in a key, and so reach the origin.
//!
//! Parameters are read as forms write them (WHATWG URL §5.1): `name=value` with `&` between them. They stay as they
//! were sent; decoded names are for comparing only. Nothing is lost: two queries have the same parameters only if
//! they are the same text.

use super::{Constructor, Source};
use percent_encoding::{NON_ALPHANUMERIC, percent_decode, percent_encode};
use smallvec::SmallVec;
use std::borrow::Cow;
use std::sync::Arc;

/// Parameters that say where a visitor came from and never what a page shows. A trailing `*` stands for any ending.
pub const TRACKING: &[&str] = &[
    // Urchin, Google Analytics and Matomo campaigns
    "utm_*",
    "mtm_*",
    "pk_campaign",
    "pk_kwd",
    "pk_keyword",
    "pk_source",
    "pk_medium",
    "pk_content",
    "_ga",
    "_gl",
    // Google Ads and Merchant Center
    "gclid",
    "gclsrc",
    "dclid",
    "gbraid",
    "wbraid",
    "gad_source",
    "gad_campaignid",
    "srsltid",
    // Other advertisers
    "fbclid",
    "igshid",
    "igsh",
    "msclkid",
    "ttclid",
    "twclid",
    "li_fat_id",
    "yclid",
    "_openstat",
    "epik",
    "rdt_cid",
    "ScCid",
    // Mail
    "mc_cid",
    "mc_eid",
    "_hsenc",
    "_hsmi",
    "__hssc",
    "__hstc",
    "__hsfp",
    "hsCtaTracking",
    "mkt_tok",
    "_kx",
    "vero_id",
];

/// Which parameters take part in the key.
#[derive(Clone, Debug, Default)]
pub struct QuerySelection {
    /// `None`: every parameter (`"*"`).
    pub only: Option<Vec<Arc<str>>>,
    /// Names to leave out; a trailing `*` stands for any ending.
    pub exclude: Vec<Arc<str>>,
    /// Leave out utm_*, gclid, fbclid and their kin: [`TRACKING`].
    pub drop_tracking: bool,
    /// Sorted by name (values of one name keep their order), or in the order of the request.
    pub sorted: bool,
}

impl QuerySelection {
    /// Whether a parameter of this (decoded) name takes part.
    pub(super) fn takes(&self, name: &[u8]) -> bool {
        self.only.as_ref().is_none_or(|only| only.iter().any(|wanted| wanted.as_bytes() == name))
            && !self.exclude.iter().any(|pattern| names(pattern, name))
            && !(self.drop_tracking && TRACKING.iter().any(|pattern| names(pattern, name)))
    }
}

impl Constructor {
    /// The parameters that take part in the key, as they were sent and in their order; `None` if none does.
    ///
    /// Nothing else of a query may reach the origin: what it makes of the rest would be stored for all who send another
    /// rest, or none.
    pub fn keyed_query(&self, query: &str) -> Option<String> {
        let is_taken = |name: &[u8]| {
            self.fields.iter().any(|field| match &field.source {
                Source::Query(selection) => selection.takes(name),
                _ => false,
            })
        };
        let kept: Vec<_> = query.split('&').filter(|param| is_taken(&parse_one(param).name)).collect();
        (!kept.is_empty()).then(|| kept.join("&"))
    }

    /// Whether two requests with one key have the same values for this parameter.
    pub fn tells_parameter(&self, name: &str) -> bool {
        self.fields.iter().filter(|field| field.normalize.is_empty()).any(|field| match &field.source {
            Source::Query(selection) => selection.takes(name.as_bytes()),
            _ => false,
        })
    }

    /// Whether every parameter takes part in the key.
    pub fn has_all_of(&self, query: &str) -> bool {
        self.keyed_query(query).as_deref() == Some(query)
    }
}

/// One parameter as it was sent.
#[derive(Debug, PartialEq)]
pub(super) struct Param<'q> {
    pub(super) raw_name: &'q str,
    pub(super) name: Cow<'q, [u8]>,
    /// `None` without an equals sign.
    pub(super) raw_value: Option<&'q str>,
}

/// All parameters in the order of the request.
pub(super) type Params<'q> = SmallVec<[Param<'q>; 8]>;

pub(super) fn parse(query: Option<&str>) -> Params<'_> {
    query.map(|query| query.split('&').map(parse_one).collect()).unwrap_or_default()
}

fn parse_one(param: &str) -> Param<'_> {
    let (raw_name, raw_value) = match param.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (param, None),
    };
    Param { raw_name, name: decode_form(raw_name), raw_value }
}

/// Percent-encoding and `+` for a space undone.
pub(super) fn decode_form(raw: &str) -> Cow<'_, [u8]> {
    if raw.contains('+') {
        let spaced = raw.replace('+', " ");
        Cow::Owned(percent_decode(spaced.as_bytes()).collect())
    } else {
        percent_decode(raw.as_bytes()).into()
    }
}

/// The query in which names and values that [decode](decode_form) to the same are spelled in one way, and which has no
/// parameters without name and value; `None` if nothing is left.
pub(super) fn as_read(query: &str) -> Option<String> {
    let spell = |raw: &str| percent_encode(&decode_form(raw), NON_ALPHANUMERIC).to_string();
    let param = |param: &str| match param.split_once('=') {
        Some((name, value)) => format!("{}={}", spell(name), spell(value)),
        None => spell(param),
    };
    let params: Vec<_> = query.split('&').filter(|param| !param.is_empty()).map(param).collect();
    (!params.is_empty()).then(|| params.join("&"))
}

fn names(pattern: &str, name: &[u8]) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => name.starts_with(start.as_bytes()),
        None => pattern.as_bytes() == name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::testing::{constructor, field};

    fn check(selection: &QuerySelection, query: &str, expected: &[&str]) {
        let params = parse(Some(query));
        let taken: Vec<_> = params.iter().filter(|p| selection.takes(&p.name)).map(|p| p.raw_name).collect();
        assert_eq!(taken, expected, "{query}");
    }

    fn list(names: &[&str]) -> Vec<Arc<str>> {
        names.iter().map(|&name| name.into()).collect()
    }

    #[test]
    fn nothing_of_a_query_is_lost() {
        let read = |query| {
            parse(Some(query))
                .iter()
                .map(|p| (p.raw_name.to_owned(), p.raw_value.map(str::to_owned)))
                .collect()
        };
        let param = |name: &str, value: Option<&str>| (name.to_owned(), value.map(str::to_owned));
        let check = |query, expected: &[(String, Option<String>)]| {
            let params: Vec<_> = read(query);
            assert_eq!(params, expected, "{query}");
        };
        check("a=1&b=2", &[param("a", Some("1")), param("b", Some("2"))]);
        check("a&a=&a==", &[param("a", None), param("a", Some("")), param("a", Some("="))]);
        check("", &[param("", None)]);
        check("&", &[param("", None), param("", None)]);
        check("%61=+&a;b", &[param("%61", Some("+")), param("a;b", None)]);
        assert!(parse(None).is_empty());
    }

    #[test]
    fn names_are_compared_decoded() {
        let selection = QuerySelection { only: Some(list(&["a b", "é"])), ..QuerySelection::default() };
        check(
            &selection,
            "a+b=1&a%20b=2&%61%20b&%C3%A9=3&a%2Bb=4&A+b=5",
            &["a+b", "a%20b", "%61%20b", "%C3%A9"],
        );
    }

    #[test]
    fn exclusions_may_end_in_a_star() {
        let exclude = list(&["debug", "x_*"]);
        let selection = QuerySelection { exclude, ..QuerySelection::default() };
        check(&selection, "debug=1&debugger=1&x_=1&x_a&x=1&%78_b", &["debugger", "x"]);
        let selection = QuerySelection { only: Some(list(&["x_a", "y"])), ..selection };
        check(&selection, "y&x_a", &["y"]);
    }

    #[test]
    fn the_origin_is_told_what_the_key_has() {
        let check = |key: &Constructor, query, expected: Option<&str>| {
            assert_eq!(key.keyed_query(query).as_deref(), expected, "{query}");
        };
        let everything = Constructor::safe_default("", false);
        for query in ["", "&", "b=2&a=1&%61&", "a;b=1", "utm_source=x"] {
            check(&everything, query, Some(query));
        }
        let default = Constructor::safe_default("", true);
        check(&default, "b=2&utm_content=x;callback=evil&a=1&%75tm_x", Some("b=2&a=1"));
        check(&default, "utm_x=1&", Some(""));
        check(&default, "utm_x=1", None);
        let only =
            |name: &str| Source::Query(QuerySelection { only: Some(list(&[name])), ..Default::default() });
        let narrow = constructor(vec![field("page", only("page")), field("size", only("size"))]);
        check(&narrow, "evil&size=2&page=1&page=2", Some("size=2&page=1&page=2"));
        let none = constructor(vec![field("path", Source::WholePath)]);
        check(&none, "a=1", None);
    }

    #[test]
    fn tracking_parameters_are_dropped_when_asked() {
        let drop = QuerySelection { drop_tracking: true, ..QuerySelection::default() };
        let query =
            "utm_source=x&utm_=1&gclid=1&fbclid&mc_eid=2&_ga=3&%67clid=4&srsltid=5&page=1&utm=2&gclid2=1";
        check(&drop, query, &["page", "utm", "gclid2"]);
        let keep = QuerySelection::default();
        check(&keep, "utm_source=x&page=1", &["utm_source", "page"]);
    }
}
