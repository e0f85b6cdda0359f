//! Which of a few offers a request prefers: RFC 9110 §12.5.3, §12.5.4 and RFC 4647.
//!
//! Knows nothing of responses: the answer is a value for the key, so that requests that would be given the same
//! representation share it.

use std::sync::Arc;

/// The best of these languages by the request's q-values; the first if none fits.
///
/// A range covers a language that equals it or goes on after a hyphen (RFC 4647 §3.3.1), `*` covers those that
/// nothing else does, and a language also serves a range that is more precise than it (§3.4: `en` for `en-GB`).
/// Between equal q-values the request's order decides.
pub(super) fn language<'o>(offers: &'o [Arc<str>], accept_language: &str) -> Option<&'o str> {
    let ranges = || weighted(accept_language).enumerate();
    let preference = |offer: &str| {
        let covering = ranges()
            .filter(|(_, (range, _))| *range == "*" || starts_with_tag(offer, range))
            .max_by_key(|(position, (range, _))| (*range != "*", range.len(), std::cmp::Reverse(*position)));
        let refused = matches!(covering, Some((_, (_, Weight(0)))));
        let refining = ranges().filter(|(_, (range, _))| starts_with_tag(range, offer));
        refining
            .chain(covering)
            .filter(|(_, (_, weight))| !refused && *weight > Weight(0))
            .map(|(position, (_, weight))| (weight, std::cmp::Reverse(position)))
            .max()
    };
    let mut best: Option<(&Arc<str>, _)> = None;
    for offer in offers {
        if let Some(preference) = preference(offer)
            && best.as_ref().is_none_or(|(_, known)| preference > *known)
        {
            best = Some((offer, preference));
        }
    }
    best.map(|(offer, _)| offer).or(offers.first()).map(|offer| &**offer)
}

/// The first of these content codings that the request accepts; `identity` if there is none.
pub(super) fn encoding<'o>(offers: &'o [Arc<str>], accept_encoding: &str) -> &'o str {
    let accepts = |offer: &&Arc<str>| {
        let named = weighted(accept_encoding).find(|(coding, _)| same_coding(coding, offer));
        let weight = named.or_else(|| weighted(accept_encoding).find(|(coding, _)| *coding == "*"));
        weight.is_some_and(|(_, weight)| weight > Weight(0))
    };
    offers.iter().find(accepts).map_or("identity", |offer| offer)
}

/// In thousandths (RFC 9110 §12.4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Weight(u16);

/// The members of a list with their weights; members with a malformed weight are left out.
fn weighted(list: &str) -> impl Iterator<Item = (&str, Weight)> {
    list.split(',').filter_map(|member| {
        let (what, parameters) = member.split_once(';').unwrap_or((member, ""));
        let weight = match parameters.split(';').map(str::trim).find(|p| p.starts_with(['q', 'Q'])) {
            None => Weight(1000),
            Some(parameter) => {
                let q: f32 = parameter[1..].trim_start().strip_prefix('=')?.trim_start().parse().ok()?;
                Weight((0.0..=1.0).contains(&q).then_some((q * 1000.0).round() as u16)?)
            }
        };
        let what = what.trim();
        (!what.is_empty()).then_some((what, weight))
    })
}

/// Whether `tag` is `start` or goes on after it with a hyphen, in either case.
fn starts_with_tag(tag: &str, start: &str) -> bool {
    let (tag, start) = (tag.as_bytes(), start.as_bytes());
    tag.get(..start.len()).is_some_and(|head| head.eq_ignore_ascii_case(start))
        && matches!(tag.get(start.len()), None | Some(b'-'))
}

/// RFC 9110 §8.4.1: names are case-insensitive, and `x-gzip` and `x-compress` are old names.
fn same_coding(a: &str, b: &str) -> bool {
    let plain = |name: &str| match name.to_ascii_lowercase().as_str() {
        "x-gzip" => "gzip".to_owned(),
        "x-compress" => "compress".to_owned(),
        name => name.to_owned(),
    };
    a.eq_ignore_ascii_case(b) || plain(a) == plain(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offers(list: &str) -> Vec<Arc<str>> {
        list.split(' ').map(Arc::from).collect()
    }

    #[test]
    fn the_language_with_the_highest_weight_wins() {
        for (offered, accepted, chosen) in [
            ("en fr", "fr", "fr"),
            ("en fr", "FR-ch", "fr"),
            ("en fr", "de, fr;q=0.5", "fr"),
            ("en fr", "en;q=0.5, fr;q=0.6", "fr"),
            ("en fr", "fr, en", "fr"),
            ("en fr", "en-GB;q=0.9, fr;q=0.8, en;q=0.1", "en"),
            ("en-GB en-US fr", "en-US", "en-US"),
            ("en-GB fr", "en", "en-GB"),
            ("en fr", "eng", "en"),
            ("de fr", "eng, fr;q=0.1", "fr"),
            ("en fr", "de", "en"),
            ("en fr", "", "en"),
            ("en fr", "*", "en"),
            ("en fr de", "en;q=0.2, *;q=0.5", "fr"),
            ("en fr", "en;q=0, *", "fr"),
            ("en fr", "en;q=0", "en"),
            ("en fr", "en-GB;q=0, en;q=0.5, fr;q=0.4", "en"),
            ("en fr", "fr;q=2, en;q=0.1", "en"),
            ("en fr", "fr;q=x", "en"),
            ("en fr", "fr; Q = 0.9 , en;q=0.8", "fr"),
            ("en fr", ",,;q=1,fr", "fr"),
            ("zh-Hant zh-Hans", "zh-hans-CN, zh-Hant;q=0.5", "zh-Hans"),
        ] {
            assert_eq!(language(&offers(offered), accepted), Some(chosen), "{accepted}");
        }
        assert_eq!(language(&[], "en"), None);
    }

    #[test]
    fn the_first_offered_coding_that_is_accepted_wins() {
        for (offered, accepted, chosen) in [
            ("br gzip", "gzip, br", "br"),
            ("br gzip", "gzip", "gzip"),
            ("br gzip", "X-GZIP", "gzip"),
            ("br gzip", "br;q=0, gzip;q=0.1", "gzip"),
            ("br gzip", "*", "br"),
            ("br gzip", "br;q=0, *;q=0.5", "gzip"),
            ("br gzip", "*;q=0", "identity"),
            ("br gzip", "deflate", "identity"),
            ("br gzip", "", "identity"),
        ] {
            assert_eq!(encoding(&offers(offered), accepted), chosen, "{accepted}");
        }
    }
}
