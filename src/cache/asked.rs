//! What is kept of a request, so that it can be made again.

use http::header::{AUTHORIZATION, COOKIE};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method};

use super::fetch::{leave_out_what_the_key_does, stored_method};
use crate::exchange::Routed;
use crate::keys::{Source, cookies};
use crate::routes::CacheRule;
use crate::semantics::Lines;
use crate::semantics::vary::Selecting;
use crate::store::{Again, Asked};

/// What a response with these selecting fields was asked for.
pub(super) fn asked(routed: &Routed, rule: &CacheRule, selecting: &Selecting) -> Asked {
    let request = &routed.request;
    let mut uri = request.head.uri.clone();
    leave_out_what_the_key_does(rule, &mut uri);
    Asked {
        scheme: request.scheme,
        host: request.host.clone(),
        target: uri.path_and_query().map_or("/", PathAndQuery::as_str).into(),
        again: again(routed, rule, selecting),
    }
}

/// `None`: it cannot be made again without what only its client has, such as a token. Credentials are not kept.
fn again(routed: &Routed, rule: &CacheRule, selecting: &Selecting) -> Option<Again> {
    let request = &routed.request;
    let is_query = *stored_method(routed) == Method::QUERY;
    let sources = || rule.key.fields.iter().map(|field| &field.source);
    // A part of a response is asked for with its whole.
    if routed.slice.is_some() || sources().any(|source| matches!(source, Source::Jwt(_))) {
        return None;
    }
    let keyed =
        sources().filter_map(|source| if let Source::Header(name) = source { Some(name) } else { None });
    let matched = routed.route.matching.headers.iter().map(|(name, _)| name);
    let of_content =
        request.head.headers.keys().filter(|name| is_query && name.as_str().starts_with("content-"));
    let mut fields = HeaderMap::new();
    for name in keyed.chain(matched).chain(selecting.names()).chain(of_content) {
        if *name == AUTHORIZATION {
            return None;
        }
        keep(name, &request.head.headers, &mut fields);
    }
    if !fields.contains_key(COOKIE) {
        let named =
            sources().filter_map(|source| if let Source::Cookie(name) = source { Some(name) } else { None });
        let pairs: Vec<_> = named
            .flat_map(|name| cookies(name, &request.head.headers).map(move |value| (name, value)))
            .collect();
        let line = pairs
            .iter()
            .map(|(name, value)| [name.as_bytes(), b"=", value].concat())
            .collect::<Vec<_>>()
            .join(&b"; "[..]);
        if let Some(line) = HeaderValue::from_bytes(&line).ok().filter(|line| !line.is_empty()) {
            fields.insert(COOKIE, line);
        }
    }
    let is_by_client = sources().any(|source| matches!(source, Source::ClientPrefix { .. }));
    Some(Again {
        fields: Lines::of(&fields),
        content: routed.keyed_content().map(Box::new),
        client: is_by_client.then(|| Box::new(request.client)),
    })
}

fn keep(name: &HeaderName, headers: &HeaderMap, kept: &mut HeaderMap) {
    if !kept.contains_key(name) {
        kept.extend(headers.get_all(name).iter().map(|value| (name.clone(), value.clone())));
    }
}
