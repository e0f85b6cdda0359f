//! `/v1/openapi.json`: what the API is, in the form that tools read (OpenAPI 3.1).

use std::sync::LazyLock;

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::Value;

use super::problem::Problem;

/// As people write and read it.
const DESCRIPTION: &str = include_str!("../../docs/openapi.yaml");

/// The same in JSON, which more programs read; or why it is not.
static JSON: LazyLock<Result<String, String>> = LazyLock::new(|| {
    let description: Value = serde_yaml::from_str(DESCRIPTION).map_err(|error| error.to_string())?;
    Ok(description.to_string())
});

/// `GET /v1/openapi.json`: the description. It is the same for everybody, and so needs no token.
pub(super) async fn show() -> Response {
    match &*JSON {
        Ok(text) => ([(header::CONTENT_TYPE, "application/json")], text.as_str()).into_response(),
        Err(why) => Problem::new(StatusCode::INTERNAL_SERVER_ERROR, why).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use axum::http::Method;
    use serde_json::Value;

    use crate::admin::paths;
    use crate::admin::testing::Admin;

    async fn description() -> Value {
        let answer = Admin::new().request(Method::GET, "/v1/openapi.json", "", "").await;
        assert_eq!((answer.status, answer.field("content-type")), (200, "application/json"));
        answer.json()
    }

    /// The methods of each path, as `Allow` has them.
    fn described(description: &Value) -> BTreeMap<String, BTreeSet<String>> {
        let methods = |path: &Value| {
            let names = path.as_object().unwrap().keys().filter(|name| *name != "parameters");
            let mut methods: BTreeSet<_> = names.map(|name| name.to_ascii_uppercase()).collect();
            if methods.contains("GET") {
                methods.insert("HEAD".to_owned());
            }
            methods
        };
        let paths = description["paths"].as_object().unwrap();
        paths.iter().map(|(path, operations)| (path.clone(), methods(operations))).collect()
    }

    #[tokio::test]
    async fn every_path_and_method_is_described_and_nothing_else_is() {
        let admin = Admin::new();
        let mut there = BTreeMap::new();
        for (path, _) in paths() {
            // Nobody takes this method: `Allow` tells those that somebody takes.
            let answer = admin.request(Method::TRACE, &path.replace("{id}", "1"), "", "").await;
            answer.problem(405);
            let allowed = answer.field("allow").split(',').map(str::to_owned).collect();
            there.insert(path.to_owned(), allowed);
        }
        assert_eq!(described(&description().await), there);
    }

    #[tokio::test]
    async fn what_is_described_is_this_version() {
        let description = description().await;
        assert_eq!(description["info"]["version"], env!("CARGO_PKG_VERSION"));
        assert_eq!(description["openapi"], "3.1.0");
    }

    #[tokio::test]
    async fn every_reference_leads_somewhere() {
        fn references<'v>(value: &'v Value, found: &mut Vec<&'v str>) {
            match value {
                Value::Object(members) => {
                    found.extend(members.get("$ref").and_then(Value::as_str));
                    members.values().for_each(|member| references(member, found));
                }
                Value::Array(items) => items.iter().for_each(|item| references(item, found)),
                _ => {}
            }
        }
        let description = description().await;
        let mut found = Vec::new();
        references(&description, &mut found);
        assert!(found.len() > 50, "{found:?}");
        for reference in found {
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(description.pointer(pointer).is_some(), "{reference}");
        }
    }

    #[tokio::test]
    async fn every_member_and_parameter_says_what_it_is() {
        /// Paths of members without a description of their own or of what they refer to.
        fn silent(value: &Value, whole: &Value, at: &str, found: &mut Vec<String>) {
            let says = |member: &Value| {
                let named = member["$ref"].as_str().and_then(|reference| whole.pointer(&reference[1..]));
                member["description"].is_string()
                    || named.is_some_and(|named| named["description"].is_string())
            };
            let Value::Object(members) = value else {
                for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                    silent(item, whole, &format!("{at}/{index}"), found);
                }
                return;
            };
            for (name, member) in members {
                let at = format!("{at}/{name}");
                match name.as_str() {
                    // What only says more of members that stand elsewhere.
                    "anyOf" | "examples" => continue,
                    "properties" => {
                        let silent = member.as_object().unwrap().iter().filter(|(_, member)| !says(member));
                        found.extend(silent.map(|(name, _)| format!("{at}/{name}")));
                    }
                    "parameters" if member.is_array() => {
                        let silent = member.as_array().unwrap().iter().filter(|parameter| !says(parameter));
                        found.extend(silent.map(|parameter| format!("{at}/{}", parameter["name"])));
                    }
                    _ => {}
                }
                silent(member, whole, &at, found);
            }
        }
        let description = description().await;
        let mut found = Vec::new();
        silent(&description, &description, "", &mut found);
        assert_eq!(found, Vec::<String>::new());
    }
}
