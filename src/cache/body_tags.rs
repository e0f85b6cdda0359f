//! Tags that a response names in its body: read once the whole is there, before it is stored.
//!
//! Until then nobody knows by which of them it can be purged. Who follows the fetch meanwhile must have come before any
//! invalidation; what cannot be read is not stored.

use std::collections::BTreeSet;
use std::io::Read;

use flate2::read::MultiGzDecoder;
use http::HeaderMap;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use tokio::sync::Semaphore;

use crate::routes::{self, CacheRule, NoTags};
use crate::semantics::NotStored;

/// Larger bodies are not read, nor stored, in bytes. Read, one takes some sixteen times as much for a moment.
const MAX_BODY_BYTES: usize = 2 * 1024 * 1024;

/// A body of more than this is read where it holds up nobody, in bytes.
pub(super) const LARGE_BODY_BYTES: u64 = 64 * 1024;

/// How many large ones are read at once.
pub(super) static READING: Semaphore = Semaphore::const_new(4);

/// Whether tags are read out of the body of such a response.
pub(super) fn are_read(rule: &CacheRule, fields: &HeaderMap) -> bool {
    !rule.body_tags.is_empty() && is_json(fields)
}

fn is_json(fields: &HeaderMap) -> bool {
    let content_type = fields.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || essence.ends_with("+json")
}

/// Whether they can be, as far as that is known before the body is there.
pub(super) fn fit(rule: &CacheRule, fields: &HeaderMap) -> Result<(), NotStored> {
    if !are_read(rule, fields) {
        return Ok(());
    }
    let length = fields.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    let is_too_long = length.is_some_and(|length| length > MAX_BODY_BYTES);
    if is_too_long || Coding::of(fields).is_none() { Err(NotStored::Tags) } else { Ok(()) }
}

/// Only what can be read is asked for.
pub(super) fn restrict_coding(rule: &CacheRule, request: &mut HeaderMap) {
    if rule.body_tags.is_empty() {
        return;
    }
    let accepts_gzip = request.get_all(ACCEPT_ENCODING).iter().any(|line| {
        let members = line.to_str().unwrap_or_default().split(',');
        members.map(|member| member.trim().to_ascii_lowercase()).any(|member| match member.split_once(';') {
            Some((coding, weight)) => coding.trim() == "gzip" && !is_zero(weight),
            None => member == "gzip",
        })
    });
    let coding = HeaderValue::from_static(if accepts_gzip { "gzip" } else { "identity" });
    request.insert(ACCEPT_ENCODING, coding);
}

fn is_zero(weight: &str) -> bool {
    weight.trim().strip_prefix("q=").is_some_and(|weight| weight.trim_end_matches(['0', '.']).is_empty())
}

/// The tags that the body names.
///
/// # Errors
/// Where they cannot be read.
pub(super) fn read(
    templates: &[routes::BodyTag],
    fields: &HeaderMap,
    body: &[u8],
) -> Result<BTreeSet<String>, Unread> {
    match Coding::of(fields) {
        None => Err(Unread::Coding),
        Some(Coding::Identity) if body.len() > MAX_BODY_BYTES => Err(Unread::TooLarge),
        Some(Coding::Identity) => Ok(routes::body_tags(templates, body)?),
        Some(Coding::Gzip) => {
            let mut decoded = Vec::new();
            let limit = MAX_BODY_BYTES as u64 + 1;
            let read = MultiGzDecoder::new(body).take(limit).read_to_end(&mut decoded);
            match read {
                Err(_) => Err(Unread::Coding),
                Ok(_) if decoded.len() > MAX_BODY_BYTES => Err(Unread::TooLarge),
                Ok(_) => Ok(routes::body_tags(templates, &decoded)?),
            }
        }
    }
}

/// Why the tags of a body are not known.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unread {
    #[error("its coding cannot be read")]
    Coding,
    #[error("the body is larger than {MAX_BODY_BYTES} bytes")]
    TooLarge,
    #[error(transparent)]
    Content(#[from] NoTags),
}

enum Coding {
    Identity,
    Gzip,
}

impl Coding {
    /// `None`: one that is not read, or several.
    fn of(fields: &HeaderMap) -> Option<Self> {
        let mut lines = fields.get_all(CONTENT_ENCODING).iter();
        let Some(line) = lines.next() else { return Some(Self::Identity) };
        let coding = line.to_str().ok().filter(|_| lines.next().is_none())?.trim().to_ascii_lowercase();
        match coding.as_str() {
            "" | "identity" => Some(Self::Identity),
            "gzip" | "x-gzip" => Some(Self::Gzip),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use std::io::Write;

    fn fields(given: &[(&'static str, &'static str)]) -> HeaderMap {
        given
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value)))
            .collect::<HeaderMap>()
    }

    fn gzip(body: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(body).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn a_body_is_read_in_the_codings_that_can_be() {
        let templates = [routes::BodyTag::parse("p:{$.id}").unwrap()];
        let tags = |fields: &HeaderMap, body: &[u8]| {
            read(&templates, fields, body).map(|tags| tags.into_iter().collect::<Vec<_>>().join(" "))
        };
        let json = br#"{"id": 1}"#;
        assert_eq!(tags(&fields(&[]), json).unwrap(), "p:1");
        assert_eq!(tags(&fields(&[("content-encoding", "gzip")]), &gzip(json)).unwrap(), "p:1");
        for coding in ["br", "gzip, gzip"] {
            assert!(
                matches!(tags(&fields(&[("content-encoding", coding)]), json), Err(Unread::Coding)),
                "{coding}"
            );
        }
        assert!(matches!(tags(&fields(&[("content-encoding", "gzip")]), json), Err(Unread::Coding)));
        let bomb = gzip(&vec![b' '; MAX_BODY_BYTES + 1]);
        assert!(bomb.len() < 64 * 1024);
        assert!(matches!(tags(&fields(&[("content-encoding", "gzip")]), &bomb), Err(Unread::TooLarge)));
        assert!(matches!(tags(&fields(&[]), b"<html>"), Err(Unread::Content(_))));
    }

    #[test]
    fn what_is_json_says_so() {
        for (content_type, expected) in [
            ("application/json", true),
            ("Application/LD+JSON; charset=utf-8", true),
            ("text/html", false),
            ("application/jsonp", false),
        ] {
            assert_eq!(is_json(&fields(&[("content-type", content_type)])), expected, "{content_type}");
        }
        assert!(!is_json(&HeaderMap::new()));
    }

    #[test]
    fn gzip_is_asked_for_where_the_client_takes_it() {
        assert!(is_zero("q=0") && is_zero(" q=0.000") && !is_zero("q=0.5") && !is_zero("q=1"));
    }
}
