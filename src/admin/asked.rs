//! `/v1/key`, `/v1/explain`: what would become of a request that somebody asks about.

use std::net::{IpAddr, Ipv4Addr};

use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::Response;

use super::AdminState;
use super::api::answered;
use super::problem::Problem;
use super::query::{Pairs, invalid, once, pairs};
use super::token::authorize;
use crate::config::Scope;
use crate::exchange::Routed;
use crate::inspect::{self, Asked, NoAnswer, key};

/// `GET /v1/key?url=…&method=GET&header=Name:%20value&client=127.0.0.1`: what the key of a request would be. Of all that
/// is stored, nothing is asked.
pub(super) async fn key(
    State(state): State<AdminState>,
    headers: HeaderMap,
    query: Pairs,
) -> Result<Response, Problem> {
    authorize(&state.0.tokens, &headers, Scope::Read)?;
    let routed = routed(&state, query)?;
    Ok(answered(&key::report(&routed, state.0.clock.now())))
}

/// `GET /v1/explain`, with the same parameters: what a request would get now, and why.
pub(super) async fn explain(
    State(state): State<AdminState>,
    headers: HeaderMap,
    query: Pairs,
) -> Result<Response, Problem> {
    authorize(&state.0.tokens, &headers, Scope::Read)?;
    let routed = routed(&state, query)?;
    Ok(answered(&state.0.rooms.explain(&routed)))
}

/// The request as it would come to the cache.
fn routed(state: &AdminState, query: Pairs) -> Result<Routed, Problem> {
    asked(pairs(query)?)?.routed(&state.0.rooms.routes).map_err(|error| match error {
        NoAnswer::NoRoute => Problem::new(StatusCode::NOT_FOUND, error.to_string()),
        NoAnswer::Url { .. } | NoAnswer::Field(_) => invalid(error.to_string()),
    })
}

/// The request that a query describes.
fn asked(query: Vec<(String, String)>) -> Result<Asked, Problem> {
    let (mut url, mut method, mut client, mut fields) = (None, None, None, Vec::new());
    for (name, value) in query {
        let wrong = || invalid(format!("{value:?} is not a {name}"));
        match &*name {
            "method" => once(&mut method, &name, value.parse::<Method>().map_err(|_| wrong())?)?,
            "client" => once(&mut client, &name, value.parse::<IpAddr>().map_err(|_| wrong())?)?,
            "url" => once(&mut url, &name, value)?,
            "header" => fields.push(value),
            _ => {
                return Err(invalid(format!(
                    "there is no {name:?}: there are url, method, header and client"
                )));
            }
        }
    }
    Ok(Asked {
        url: url.ok_or_else(|| invalid("say which with url=http://host/path".to_owned()))?,
        method: method.unwrap_or(Method::GET),
        headers: inspect::fields(fields).map_err(|error| invalid(error.to_string()))?,
        client: client.unwrap_or(Ipv4Addr::LOCALHOST.into()),
    })
}

#[cfg(test)]
mod tests {
    use axum::http::Method;
    use serde_json::json;

    use crate::admin::testing::{Admin, Answer};
    use crate::explain::Explanation;

    async fn ask(admin: &Admin, path: &str) -> Answer {
        admin.request(Method::GET, path, "reader's secret", "").await
    }

    #[tokio::test]
    async fn the_key_of_a_request_is_told_whatever_is_stored() {
        let admin = Admin::new();
        for path in ["/articles/a", "/articles/z"] {
            let said = ask(&admin, &format!("/v1/key?url=http://A.test{path}&client=192.0.2.1")).await.json();
            let slug = &path["/articles/".len()..];
            assert_eq!((&said["route"], &said["partition"]), (&json!("article"), &json!({"slug": slug})));
            assert!(said["key"].is_string() && said["digest"].is_string(), "{said}");
            assert_eq!(said["purged_by"][0], format!("staleproof purge --url http://a.test{path}"));
        }
        let explained = ask(&admin, "/v1/explain?url=http://a.test/articles/a").await.json();
        assert_eq!(ask(&admin, "/v1/key?url=http://a.test/articles/a").await.json()["key"], explained["key"]);
    }

    #[tokio::test]
    async fn a_request_that_is_not_cached_has_no_key_but_a_reason() {
        let said = ask(&Admin::new(), "/v1/key?url=http://a.test/articles/a&method=POST").await.json();
        assert!(said["uncached"].as_str().unwrap().contains("method"), "{said}");
        assert!(said["key"].is_null(), "{said}");
    }

    #[tokio::test]
    async fn a_request_is_explained_by_what_is_stored_and_the_rules_it_meets() {
        let admin = Admin::new();
        let explain = async |query: &str| ask(&admin, &format!("/v1/explain?{query}")).await;
        let hit: Explanation =
            serde_json::from_str(&explain("url=http://A.test/articles/a").await.text).unwrap();
        assert_eq!((&*hit.route, &*hit.verdict), ("article", "HIT"));
        assert!(hit.stored[0].selected && hit.rules.iter().all(|rule| rule.holds), "{hit:?}");
        let reload = explain("url=http://a.test/articles/a&header=Cache-Control:%20no-cache").await.json();
        assert_eq!((&reload["verdict"], &reload["why"]), (&json!("REFRESH"), &json!("request")));
        let decisive = reload["rules"].as_array().unwrap().last().unwrap();
        assert_eq!(decisive["rule"], "the request has no no-cache (§5.2.1.4)");
        admin.purge(r#"{"url": "http://a.test/articles/a"}"#).await;
        let miss = explain("url=http://a.test/articles/a").await.json();
        assert_eq!((&miss["verdict"], &miss["why"]), (&json!("MISS"), &json!("uri-miss")));
        let post = explain("url=http://a.test/articles/a&method=POST").await.json();
        assert_eq!((&post["verdict"], &post["why"]), (&json!("BYPASS"), &json!("method")));
    }

    #[tokio::test]
    async fn what_is_no_request_is_refused_with_what_to_write() {
        let admin = Admin::new();
        for path in ["/v1/key", "/v1/explain"] {
            for (query, status, hint) in [
                ("", 400, "url=http://host/path"),
                ("url=/articles/a", 400, "write http://host/path"),
                ("url=http://a.test/nowhere", 404, "no route"),
                ("url=http://a.test/articles/a&header=x", 400, "Name: value"),
                ("url=http://a.test/articles/a&method=G%20T", 400, "is not a method"),
                ("url=http://a.test/articles/a&client=a.test", 400, "is not a client"),
                ("url=http://a.test/articles/a&methd=GET", 400, "there are url"),
                ("url=http://a.test/articles/a&url=http://b.test/", 400, "given twice"),
            ] {
                let detail = ask(&admin, &format!("{path}?{query}")).await.problem(status);
                assert!(detail.contains(hint), "{detail}");
            }
            let path = format!("{path}?url=http://a.test/");
            admin.request(Method::GET, &path, "", "").await.problem(401);
        }
    }
}
