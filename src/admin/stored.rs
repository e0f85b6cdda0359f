//! `/v1/entries`, `/v1/tags`, `/v1/log`: what is stored, under which tags, and what was purged.

use std::collections::HashSet;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde_json::{Map, Value, json};

use super::AdminState;
use super::api::{answered, blocking};
use super::problem::Problem;
use super::query::{Pairs, invalid, once, pairs};
use super::token::authorize;
use crate::clock::Timestamp;
use crate::config::Scope;
use crate::invalidation::{Standing, Strength, Target};
use crate::store::Stored;

/// How many are listed at once, unless told.
const LIMIT: usize = 100;

/// How many may be.
const MAX_LIMIT: usize = 1000;

/// Where a list begins and how long it is; what else was said.
struct Page {
    limit: usize,
    after: Option<String>,
    others: Vec<(String, String)>,
}

impl Page {
    fn of(query: Pairs) -> Result<Self, Problem> {
        let (mut limit, mut after, mut others) = (None, None, Vec::new());
        for (name, value) in pairs(query)? {
            match &*name {
                "limit" => {
                    let number = value.parse().ok().filter(|number| (1..=MAX_LIMIT).contains(number));
                    let wrong = || invalid(format!("a limit is from 1 to {MAX_LIMIT}"));
                    once(&mut limit, &name, number.ok_or_else(wrong)?)?;
                }
                "after" => once(&mut after, &name, value)?,
                _ => others.push((name, value)),
            }
        }
        Ok(Self { limit: limit.unwrap_or(LIMIT), after, others })
    }

    /// Those of a sorted list that belong on this page, and where the next one begins after.
    fn cut<T>(&self, sorted: Vec<T>, mark: impl Fn(&T) -> &str) -> (Vec<T>, Option<String>) {
        let is_after = |item: &T| self.after.as_deref().is_none_or(|after| mark(item) > after);
        let mut rest = sorted.into_iter().filter(is_after);
        let mut items: Vec<_> = rest.by_ref().take(self.limit).collect();
        let Some(mut over) = rest.next() else { return (items, None) };
        // What has one mark goes on one page.
        while items.last().is_some_and(|last| mark(last) == mark(&over)) {
            items.push(over);
            match rest.next() {
                Some(next) => over = next,
                None => return (items, None),
            }
        }
        let next = items.last().map(|last| mark(last).to_owned());
        (items, next)
    }
}

/// `GET /v1/entries?tag=…`: what is stored and named by a target, of which each member is a parameter (`url`, `tag`, `host`,
/// `route`, `key`, `namespace`, `prefix`, `glob`; `partition=field=value`, repeated); without one, all of it. In the order of their
/// keys; `limit` and `after` lead through it.
pub(super) async fn entries(
    State(state): State<AdminState>,
    headers: HeaderMap,
    query: Pairs,
) -> Result<Response, Problem> {
    authorize(&state.0.tokens, &headers, Scope::Read)?;
    let page = Page::of(query)?;
    let target = target(&page.others)?;
    let (invalidator, now) = (state.0.rooms.invalidator.clone(), state.0.clock.now());
    let answer = blocking(move || {
        let mut stored = invalidator.list(&target)?;
        stored.sort_by(|a, b| a.key.cmp(&b.key));
        let matched = stored.len();
        let (stored, next) = page.cut(stored, |stored| &stored.key);
        let entries: Vec<_> =
            stored.iter().map(|stored| line(stored, stored.standing() == Standing::Softened, now)).collect();
        Ok::<_, Problem>(json!({ "matched": matched, "entries": entries, "next": next }))
    })
    .await??;
    Ok(answered(&answer))
}

fn target(pairs: &[(String, String)]) -> Result<Target, Problem> {
    let mut members = Map::new();
    let mut partition = Map::new();
    for (name, value) in pairs {
        let repeated = if name == "partition" {
            let (field, value) = value
                .split_once('=')
                .ok_or_else(|| invalid(format!("\"partition\" is field=value, not {value:?}")))?;
            partition.insert(field.to_owned(), json!(value)).is_some()
        } else {
            members.insert(name.clone(), json!(value)).is_some()
        };
        if repeated {
            return Err(invalid(format!("{name:?} is given twice")));
        }
    }
    if !partition.is_empty() {
        members.insert("partition".to_owned(), Value::Object(partition));
    }
    if members.is_empty() {
        return Ok(Target::Everything);
    }
    serde_json::from_value(Value::Object(members)).map_err(|error| invalid(error.to_string()))
}

fn line(stored: &Stored, softened: bool, now: Timestamp) -> Value {
    let Stored { key, response, body, asked, weight, carried, .. } = stored;
    json!({
        "url": asked.to_string(),
        "key": &**key,
        "status": response.status.as_u16(),
        "bytes": body.len(),
        "weight_bytes": weight,
        "age_secs": response.terms.current_age(now).as_secs(),
        "ttl_secs": response.terms.ttl_secs(now),
        "softened": softened,
        "vary": response.selecting.names().map(ToString::to_string).collect::<Vec<_>>(),
        "tags": carried.tags().len(),
        "popularity": stored.popularity(),
        "refreshable": asked.again.is_some(),
    })
}

/// `GET /v1/tags?prefix=…`: the application's tags that something stored carries, with the number of its keys, in order.
pub(super) async fn tags(
    State(state): State<AdminState>,
    headers: HeaderMap,
    query: Pairs,
) -> Result<Response, Problem> {
    authorize(&state.0.tokens, &headers, Scope::Read)?;
    let page = Page::of(query)?;
    let mut prefix = None;
    for (name, value) in &page.others {
        match &**name {
            "prefix" => once(&mut prefix, name, value.clone())?,
            _ => return Err(invalid(format!("there is no {name:?}: there are prefix, limit and after"))),
        }
    }
    let (log, prefix) = (state.0.rooms.log.clone(), prefix.unwrap_or_default());
    let answer = blocking(move || {
        let mut tags = log.application_tags(&prefix);
        tags.sort();
        let (tags, next) = page.cut(tags, |(tag, _)| tag);
        let keys = |id| log.keys(id).into_iter().collect::<HashSet<_>>().len();
        let tags: Vec<_> = tags.iter().map(|(tag, id)| json!({ "tag": tag, "keys": keys(*id) })).collect();
        json!({ "tags": tags, "next": next })
    })
    .await?;
    Ok(answered(&answer))
}

/// `GET /v1/log?limit=…`: the last purges, the newest first.
pub(super) async fn log(
    State(state): State<AdminState>,
    headers: HeaderMap,
    query: Pairs,
) -> Result<Response, Problem> {
    authorize(&state.0.tokens, &headers, Scope::Read)?;
    let page = Page::of(query)?;
    let other = page.others.first().map(|(name, _)| &**name);
    if let Some(name) = other.or(page.after.as_ref().map(|_| "after")) {
        return Err(invalid(format!("there is no {name:?}: there is limit")));
    }
    let last = state.0.rooms.invalidator.history().last(page.limit);
    let purges: Vec<_> = last
        .iter()
        .map(|entry| {
            json!({
                "position": entry.purged.position.0,
                "at": entry.at.iso8601().to_string(),
                "by": entry.by,
                "targets": entry.targets,
                "soft": entry.strength == Strength::Soft,
                "matched": entry.purged.matched,
                "bytes": entry.purged.bytes,
                "took_ms": entry.purged.took.as_secs_f64() * 1000.0,
            })
        })
        .collect();
    Ok(answered(&json!({ "head": state.0.rooms.log.head().0, "purges": purges })))
}

#[cfg(test)]
mod tests {
    use axum::http::Method;

    use crate::admin::testing::Admin;

    async fn get(admin: &Admin, path: &str) -> serde_json::Value {
        admin.request(Method::GET, path, "deploy's secret", "").await.json()
    }

    #[tokio::test]
    async fn what_is_stored_is_listed_page_by_page() {
        let admin = Admin::new();
        let all = get(&admin, "/v1/entries").await;
        assert_eq!((&all["matched"], all["entries"].as_array().unwrap().len()), (&3.into(), 3), "{all}");
        let first = get(&admin, "/v1/entries?limit=2").await;
        assert_eq!((&first["matched"], first["entries"].as_array().unwrap().len()), (&3.into(), 2));
        let after =
            first["next"].as_str().unwrap().replace('|', "%7C").replace('&', "%26").replace(' ', "%20");
        let second = get(&admin, &format!("/v1/entries?limit=2&after={after}")).await;
        assert_eq!((second["entries"].as_array().unwrap().len(), second["next"].is_null()), (1, true));
        let tagged = get(&admin, "/v1/entries?tag=article:a").await;
        assert_eq!(tagged["entries"][0]["url"], "http://a.test/articles/a");
        let partition = get(&admin, "/v1/entries?route=article&partition=slug=a").await;
        assert_eq!(partition["matched"], 1, "{partition}");
    }

    #[tokio::test]
    async fn tags_are_listed_with_what_carries_them() {
        let admin = Admin::new();
        let tags = get(&admin, "/v1/tags?prefix=article:").await;
        assert_eq!(tags["tags"][0], serde_json::json!({"tag": "article:a", "keys": 1}), "{tags}");
        assert_eq!(get(&admin, "/v1/tags?prefix=none").await["tags"], serde_json::json!([]));
    }

    #[tokio::test]
    async fn every_purge_is_in_the_log() {
        let admin = Admin::new();
        admin.purge(r#"{"tag": "article:a"}"#).await;
        admin.purge(r#"{"everything": true, "soft": true}"#).await;
        let log = get(&admin, "/v1/log").await;
        let purges = log["purges"].as_array().unwrap();
        assert_eq!((&purges[1]["targets"], &purges[1]["matched"]), (&"tag \"article:a\"".into(), &1.into()));
        assert_eq!((&purges[0]["soft"], &purges[0]["matched"]), (&true.into(), &2.into()));
        assert!(purges[0]["by"].as_str().unwrap().starts_with("token "), "{log}");
        assert_eq!(log["head"], purges[0]["position"]);
    }

    #[tokio::test]
    async fn what_is_not_understood_is_told() {
        let admin = Admin::new();
        for (path, detail) in [
            ("/v1/entries?tags=a", "unknown field"),
            ("/v1/entries?tag=a&tag=b", "given twice"),
            ("/v1/entries?limit=0", "from 1 to 1000"),
            ("/v1/entries?route=article&partition=slug", "field=value"),
            ("/v1/entries?limit=1&limit=2", "given twice"),
            ("/v1/tags?after=a&after=b", "given twice"),
            ("/v1/tags?prefix=a&prefix=b", "given twice"),
            ("/v1/tags?tag=a", "there is no \"tag\""),
            ("/v1/log?prefix=a", "there is no \"prefix\""),
            ("/v1/log?after=1", "there is no \"after\""),
        ] {
            let told = admin.request(Method::GET, path, "deploy's secret", "").await.problem(400);
            assert!(told.contains(detail), "{path}: {told}");
        }
        admin.request(Method::GET, "/v1/entries?route=none", "deploy's secret", "").await.problem(404);
        admin.request(Method::GET, "/v1/entries", "", "").await.problem(401);
    }
}
