//! What is kept of a request, so that it can be made again.

use http::header::{AUTHORIZATION, COOKIE};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method};

use super::fetch::stored_method;
use crate::exchange::Routed;
use crate::keys::Source;
use crate::routes::CacheRule;
use crate::semantics::vary::Selecting;
use crate::store::Asked;

/// `None`: it cannot be made again without what only its client has, such as a token. Credentials are not kept.
pub(super) fn asked(routed: &Routed, rule: &CacheRule, selecting: &Selecting) -> Option<Asked> {
    let request = &routed.request;
    let mut fields = HeaderMap::new();
    let mut client = None;
    let mut keep = |name: &HeaderName| {
        if fields.contains_key(name) {
            return true;
        }
        for value in request.head.headers.get_all(name) {
            fields.append(name, copied(value));
        }
        *name != AUTHORIZATION
    };
    for field in &rule.key.fields {
        match &field.source {
            Source::Header(name) if !keep(name) => return None,
            // All of them: which are for the key and which for the app to see, only the app knows.
            Source::Cookie(_) => {
                keep(&COOKIE);
            }
            Source::Jwt(_) => return None,
            Source::ClientPrefix { .. } => client = Some(request.client),
            _ => {}
        }
    }
    let selecting = selecting.names();
    let matching = routed.route.matching.headers.iter().map(|(name, _)| name);
    if !selecting.chain(matching).all(keep) {
        return None;
    }
    Some(Asked {
        method: if *stored_method(routed) == Method::QUERY { Method::QUERY } else { Method::GET },
        scheme: request.scheme.as_str(),
        host: request.host.clone(),
        target: request.head.uri.path_and_query().map_or("/", PathAndQuery::as_str).into(),
        fields,
        content: request.body.as_whole().cloned(),
        client,
    })
}

/// Without the buffer that the connection read it into.
fn copied(value: &HeaderValue) -> HeaderValue {
    HeaderValue::from_bytes(value.as_bytes()).unwrap_or_else(|_| value.clone())
}
