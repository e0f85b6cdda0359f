//! From what people say of URLs and responses to the patterns that bans match. PURE.

use http::HeaderName;

use super::naming::PurgeError;
use super::sharing::{rules, sharing};
use super::target::{FieldValue, Where};
use super::{Pattern, ResponsePattern, Tag, UrlPattern};
use crate::clock::Timestamp;
use crate::routes::{CacheRule, HeaderCondition, Route, StoreCondition, Table};
use crate::uri;

/// What a response is like of which this is said. `now`: what ages are counted back from.
pub(super) fn response_pattern(like: &Where, now: Timestamp) -> Result<ResponsePattern, PurgeError> {
    let field = |(name, value): (&String, &FieldValue)| {
        let invalid = |_| PurgeError::Invalid(format!("{name:?} is no field name"));
        let condition = match value {
            FieldValue::Present(true) => HeaderCondition::Present,
            FieldValue::Present(false) => HeaderCondition::Absent,
            FieldValue::Equals(text) => HeaderCondition::Equals(text.clone()),
        };
        Ok((HeaderName::try_from(name).map_err(invalid)?, condition))
    };
    let headers = like.fields.iter().map(field).collect::<Result<_, _>>()?;
    let (status, content_type) = (like.status.clone(), like.content_type.clone());
    Ok(ResponsePattern {
        condition: StoreCondition { status, content_type, headers },
        larger_than: like.larger_than,
        received_before: like.older_than.map(|age| now.minus(age)),
    })
}

/// What was fetched for a URL like this one, and what may be served for it though it was fetched for another. `end`: what
/// follows.
pub(super) fn of_url(text: &str, end: &str, table: &Table) -> Result<Pattern<Tag>, PurgeError> {
    const EXAMPLE: &str = "write http://example.com/blog/ or, for all hosts, /blog/";
    let invalid = |why: &str| PurgeError::Invalid(format!("{text:?}: {why}; {EXAMPLE}"));
    let (host, target) = match text.split_once("://") {
        Some(("http" | "https", rest)) => {
            let at = rest.find('/').ok_or_else(|| invalid("it has no path"))?;
            let (host, target) = rest.split_at(at);
            if host.is_empty() {
                return Err(invalid("it has no host"));
            }
            (Some(host.to_ascii_lowercase()), target)
        }
        Some(_) => return Err(invalid("only http and https URLs are stored")),
        None if text.starts_with('/') => (None, text),
        None => return Err(invalid("it is neither absolute nor a path")),
    };
    // One key has the parameters of a query in any order, and perhaps not all of them: no pattern tells them apart.
    let any_query = target.contains('?');
    let (path, end) = target.split_once('?').map_or((target, end), |(path, _)| (path, ""));
    // A star is a character like others to the normal form.
    let path = uri::normalize_path(path).map_err(|why| invalid(&why.to_string()))?;
    let tells = |route: &Route, rule: &CacheRule| {
        rule.key.tells_path() || route.matching.path.captures().all(|name| rule.key.tells_capture(name))
    };
    let anywhere = rules(table)
        .filter(|(route, rule)| {
            !tells(route, rule)
                || (host.is_some() && !rule.key.has_host())
                || sharing(table, &rule.key.id).nth(1).is_some()
                // It may be served for other queries than its own.
                || rule.no_vary_search
        })
        .map(|(_, rule)| Tag::key(&rule.key.id))
        .collect();
    let host = host.map(|host| uri::without_default_port(&host).into());
    let url = Some(UrlPattern { host, target: format!("{path}{end}").into(), any_query });
    Ok(Pattern { url, anywhere, ..Pattern::default() })
}
