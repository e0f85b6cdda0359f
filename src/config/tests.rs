//! What the configuration as a whole promises, tested on whole files.

#[cfg(test)]
mod mistakes {
    use crate::config::compile_text;
    use std::path::Path;
    use std::{env, fs};

    fn environment(name: &str) -> Option<String> {
        match name {
            "SECRET" => Some("environment-hunter2".into()),
            "TAG" => Some("{environment-hunter2}".into()),
            _ => None,
        }
    }

    fn told(name: &str) -> String {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config_errors");
        let text = fs::read_to_string(directory.join(name)).unwrap();
        compile_text(name, &text, &environment).expect_err(name).to_string()
    }

    /// The errors of `tests/config_errors/name.yaml` are those of `name.txt`, to the letter. After a change that is
    /// meant: `ACCEPT=1 cargo test config::tests`, and read what has changed.
    fn check(name: &str) {
        let told = told(&format!("{name}.yaml"));
        let expected = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/config_errors/{name}.txt"));
        if env::var_os("ACCEPT").is_some() {
            fs::write(&expected, format!("{told}\n")).unwrap();
        }
        let expected = fs::read_to_string(expected).unwrap_or_default();
        assert_eq!(told, expected.trim_end(), "{name}");
    }

    #[test]
    fn a_dozen_mistakes_are_told_at_once() {
        check("a_dozen_mistakes");
    }

    #[test]
    fn keys_and_types_are_told() {
        check("structure");
        check("empty");
    }

    #[test]
    fn listeners_and_limits_are_told() {
        check("listeners");
    }

    #[test]
    fn keys_are_told() {
        check("keys");
    }

    #[test]
    fn routes_are_told() {
        check("routes");
    }

    #[test]
    fn webhooks_and_rules_are_told() {
        check("rules");
    }

    #[test]
    fn dispatchers_are_told() {
        check("dispatchers");
    }

    #[test]
    fn whatever_is_in_the_file_it_is_told() {
        // Cut off, with something missing, with something too much: never a panic.
        let shipped = include_str!("../../proxy.yaml");
        let pieces = [
            "{", "[", "\n", "\t", "\"", ": ", "- ", "&a ", "*a", "<<: *a\n", "|", "é", "${", "~", "!", "#",
            "\r",
        ];
        for (i, (at, _)) in shipped.char_indices().enumerate().step_by(97) {
            let (before, after) = shipped.split_at(at);
            let piece = pieces[i % pieces.len()];
            let short: String = after.chars().skip(1).collect();
            for text in [before.to_owned(), format!("{before}{short}"), format!("{before}{piece}{after}")] {
                if let Err(problems) = compile_text("proxy.yaml", &text, &environment) {
                    assert!(!problems.to_string().contains("demo-secret"));
                    assert!(problems.len() > 0);
                }
            }
        }
    }

    #[test]
    fn a_syntax_error_is_told_alone() {
        check("syntax");
    }

    #[test]
    fn no_secret_is_told() {
        check("secrets");
        for name in ["secrets.yaml", "syntax.yaml"] {
            let told = told(name);
            assert!(!told.contains("hunter2"), "{told}");
        }
    }
}

#[cfg(test)]
mod shipped_file {
    use crate::config::{Plan, compile_text, schema};
    use crate::invalidation::Target;
    use crate::invalidation::event::Event;
    use serde_json::{Value, json};
    use std::collections::BTreeMap;

    const SHIPPED: &str = include_str!("../../proxy.yaml");

    fn compile(text: &str) -> Plan {
        compile_text("proxy.yaml", text, &|_| None).unwrap()
    }

    /// What can be compared of a plan, as text. (Its tables are built on hash maps, in no order.)
    fn describe(plan: &Plan) -> String {
        let (routes, keys) = (plan.routes.routes(), &plan.keys);
        let Plan { server, admin, upstreams, memory, webhooks, rules, dispatchers, .. } = plan;
        format!(
            "{server:#?}{admin:#?}{upstreams:#?}{memory:#?}{webhooks:#?}{rules:#?}{routes:#?}{keys:#?}{dispatchers:#?}"
        )
    }

    #[test]
    fn it_loads_without_an_environment() {
        let plan = compile(SHIPPED);
        assert_eq!(plan.upstreams[0].servers[0].as_str(), "127.0.0.1:8000");
        assert_eq!(plan.webhooks[0].path, "/hooks/app");
        assert_eq!(plan.webhooks[0].secrets[0].reveal(), "whsec_c3RhbGVwcm9vZi1kZW1vLXNlY3JldC0wMDE=");
        assert_eq!(plan.admin.tokens[0].secret.reveal(), "demo-token");
    }

    #[test]
    fn every_default_it_states_is_the_default() {
        let mut stated = 0;
        let mut uncommented = String::new();
        for line in SHIPPED.lines() {
            let bare = line.trim_start();
            match bare.strip_prefix('#').filter(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase())) {
                Some(default) => {
                    stated += 1;
                    let indent = &line[..line.len() - bare.len()];
                    uncommented.push_str(&format!("{indent}{default}\n"));
                }
                None => uncommented.push_str(&format!("{line}\n")),
            }
        }
        assert!(stated > 30, "{stated}");
        assert_eq!(describe(&compile(&uncommented)), describe(&compile(SHIPPED)));
    }

    #[test]
    fn its_addresses_are_the_defaults() {
        let shipped = compile(SHIPPED);
        let least = compile(
            "upstreams: { app: { servers: 'http://127.0.0.1:8000' } }\n\
             routes: [{ name: all, match: { path: '/{*rest}' }, upstream: app }]\n",
        );
        assert_eq!(format!("{:?}", shipped.server), format!("{:?}", least.server));
        assert_eq!(format!("{:?}", shipped.upstreams), format!("{:?}", least.upstreams));
        assert_eq!(shipped.admin.listen, least.admin.listen);
        assert_eq!(shipped.memory, least.memory);
    }

    /// All sections of the schema with the names of their keys.
    fn sections() -> BTreeMap<String, Vec<String>> {
        let schema = schema();
        let keys = |section: &Value| -> Vec<String> {
            section["properties"].as_object().unwrap().keys().cloned().collect()
        };
        let definitions = schema["$defs"].as_object().unwrap().iter();
        definitions
            .filter(|(_, section)| section.get("properties").is_some())
            .map(|(name, section)| (name.clone(), keys(section)))
            .chain([("File".to_owned(), keys(&schema))])
            .collect()
    }

    #[test]
    fn it_shows_every_option() {
        let sections = sections();
        assert!(sections.len() > 25, "{sections:?}");
        let shown = |key: &str| {
            SHIPPED.match_indices(&format!("{key}:")).any(|(at, _)| {
                !SHIPPED[..at].ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-')
            })
        };
        let missing: Vec<_> = sections
            .iter()
            .flat_map(|(section, keys)| keys.iter().map(move |key| format!("{section}.{key}")))
            .filter(|path| !shown(path.rsplit('.').next().unwrap()))
            .collect();
        assert!(missing.is_empty(), "not in proxy.yaml: {missing:?}");
    }

    #[test]
    fn an_edit_wipes_two_pages_and_an_object_of_the_api() {
        let plan = compile(SHIPPED);
        let hook = &plan.webhooks[0];
        let record = |slug: &str, title: &str| json!({ "slug": slug, "title": title });
        let targets = |name: &str, data: Value| -> Vec<Target> {
            let json = json!({ "type": name, "data": data });
            let (headers, body) = (http::HeaderMap::new(), bytes::Bytes::from(json.to_string()));
            let raw = crate::webhooks::Raw::new(&http::Method::POST, &hook.path, &headers, &body);
            let event = Event::all(&hook.name, "msg_1", &hook.event, &raw, &json).remove(0);
            let rules = plan.rules.iter().filter(|rule| rule.listens_to(&event));
            rules.flat_map(|rule| rule.named(&event).unwrap().targets).collect()
        };
        let part = |route: &str, field: &str, value: &str| Target::RoutePartition {
            route: route.into(),
            values: BTreeMap::from([(field.to_owned(), value.to_owned())]),
        };
        let edited = json!({ "id": 7, "before": record("tea", "Tea"), "after": record("tea", "More tea") });
        assert_eq!(
            targets("article.updated", edited),
            [
                part("article", "slug", "tea"),
                Target::Route("home".into()),
                part("article_api", "article", "7")
            ]
        );
        let renamed = json!({ "id": 7, "before": record("tea", "Tea"), "after": record("chai", "Tea") });
        assert!(targets("article.updated", renamed.clone()).contains(&part("article", "slug", "tea")));
        assert!(targets("article.updated", renamed).contains(&part("article", "slug", "chai")));

        let user = |before: &str, after: &str| {
            let record = |name: &str| json!({ "name": name, "visits": 3 });
            json!({ "model": "user", "id": 42, "before": record(before), "after": record(after) })
        };
        let wiped = Target::KeyPartition {
            key: "user_payload".into(),
            values: BTreeMap::from([("user".to_owned(), "42".to_owned())]),
        };
        assert_eq!(targets("user.updated", user("Ann", "Anna")), [wiped]);
    }

    #[test]
    fn the_schema_describes_every_key() {
        let schema = schema();
        let definitions = schema["$defs"].as_object().unwrap().values();
        for section in definitions.chain([&schema]).filter(|section| section.get("properties").is_some()) {
            assert_eq!(section["additionalProperties"], json!(false), "{section:#}");
            for (key, property) in section["properties"].as_object().unwrap() {
                let description = property["description"].as_str().unwrap_or_default();
                assert!(description.ends_with(['.', '>']), "{key}: {description:?}");
            }
        }
        assert_eq!(schema["required"], json!(["upstreams", "routes"]));
        assert_eq!(schema["$defs"]["Route"]["required"], json!(["name", "match", "upstream"]));
    }
}

#[cfg(test)]
mod meaning {
    use crate::config::{HostRewrite, Plan, compile_text};
    use crate::keys::{Constructor, Source};
    use crate::routes::StatusFieldsAudience;
    use std::sync::Arc;
    use std::time::Duration;

    const UPSTREAMS: &str = "upstreams: { app: { servers: 'http://127.0.0.1:8000' } }\n";

    fn compile(text: &str) -> Plan {
        let env = |name: &str| match name {
            "PORT" => Some("8080".to_owned()),
            "FLAG" => Some("false".to_owned()),
            _ => None,
        };
        match compile_text("test.yaml", &format!("{UPSTREAMS}{text}"), &env) {
            Ok(plan) => plan,
            Err(problems) => panic!("{problems}"),
        }
    }

    /// With one route, to `/users/{user_id}`.
    fn with_route(cache: &str, rest: &str) -> Plan {
        compile(&format!(
            "{rest}routes: [{{ name: one, match: {{ path: '/users/{{user_id}}' }}, upstream: app, cache: {cache} }}]\n"
        ))
    }

    fn key(plan: &Plan, route: usize) -> &Arc<Constructor> {
        &plan.routes.routes()[route].cache.as_ref().unwrap().key
    }

    fn fields(key: &Constructor) -> Vec<&str> {
        key.fields.iter().map(|field| &*field.name).collect()
    }

    #[test]
    fn variables_stand_for_any_type() {
        let plan = compile(
            "server: { listen: '127.0.0.1:${PORT}', max_in_flight: '${PORT}' }\n\
             status_fields:\n  x_cache: ${FLAG}\n\
             routes: [{ name: all, match: { path: '/' }, upstream: '${UP:-app}' }]\n",
        );
        assert_eq!(plan.server.listen[0].port(), 8080);
        assert_eq!(plan.server.max_in_flight, 8080);
        assert!(!plan.routes.routes()[0].status_fields.x_cache);
    }

    #[test]
    fn a_plain_ttl_is_the_default_one() {
        let plan = with_route("{ ttl: 5m }", "");
        let ttl = &plan.routes.routes()[0].cache.as_ref().unwrap().policy.ttl;
        assert_eq!((ttl.default, ttl.min, ttl.overriding), (Some(Duration::from_secs(300)), None, None));
        let plan = with_route("{ ttl: { override: 0s } }", "");
        let ttl = &plan.routes.routes()[0].cache.as_ref().unwrap().policy.ttl;
        assert_eq!((ttl.default, ttl.overriding), (None, Some(Duration::ZERO)));
    }

    #[test]
    fn a_route_without_cache_has_the_safe_default_key() {
        let plan = compile("routes: [{ name: one, match: { path: / }, upstream: app }]\n");
        assert_eq!(&*key(&plan, 0).name, "default");
        assert!(with_route("off", "").routes.routes()[0].cache.is_none());
        assert_eq!(&*key(&with_route("{ key: default }", ""), 0).name, "default");
    }

    #[test]
    fn every_key_has_host_and_scheme_unless_told_otherwise() {
        let shared = |part: &str| {
            format!("{{ key: {{ shared_across: {part}, fields: {{ u: {{ path: user_id }} }} }} }}")
        };
        let of = |cache: &str| fields(key(&with_route(cache, ""), 0)).join(" ");
        assert_eq!(of(&shared("[]")), "u host scheme");
        assert_eq!(of(&shared("host")), "u scheme");
        assert_eq!(of(&shared("[host, scheme]")), "u");
        assert_eq!(of("{ key: { fields: { h: { host: true }, host: { header: a } } } }"), "h host scheme");
        assert_eq!(
            of("{ key: { fields: { host: { header: a }, scheme: { scheme: true } } } }"),
            "host scheme _host"
        );
    }

    #[test]
    fn routes_do_not_share_entries_unless_told_to() {
        let keys = "keys:\n  own: { fields: { u: { path: id } } }\n  same: { id: both, extends: own }\n";
        let route = |name: &str, key: &str| {
            format!(
                "  - {{ name: {name}, match: {{ path: '/{name}/{{id}}' }}, upstream: app, cache: {{ key: {key} }} }}\n"
            )
        };
        let routes = [route("a", "own"), route("b", "own"), route("c", "same"), route("d", "same")].concat();
        let plan = compile(&format!("{keys}routes:\n{routes}"));
        let ids: Vec<_> = (0..4).map(|route| &*key(&plan, route).id).collect();
        assert_eq!(ids, ["a", "b", "both", "both"]);
        let names: Vec<_> = (0..4).map(|route| &*key(&plan, route).name).collect();
        assert_eq!(names, ["own", "own", "same", "same"]);
        let all: Vec<_> = plan.keys.iter().map(|key| &*key.name).collect();
        assert_eq!(all, ["default", "own", "same"]);
    }

    #[test]
    fn a_long_chain_of_keys_is_told_once_and_soon() {
        let chain = |length: usize| {
            let keys = (1..length).map(|n| format!("  k{n}: {{ extends: k{} }}\n", n - 1));
            let keys: String = keys.collect();
            let last = length - 1;
            format!(
                "upstreams: {{ app: {{ servers: 'http://127.0.0.1:1' }} }}\n\
                 keys:\n  k0: {{ fields: {{ a: {{ header: a }} }} }}\n{keys}\
                 routes: [{{ name: one, match: {{ path: / }}, upstream: app, cache: {{ key: k{last} }} }}]\n"
            )
        };
        let problems = |length| match compile_text("keys.yaml", &chain(length), &|_| None) {
            Ok(_) => String::new(),
            Err(problems) => problems.to_string(),
        };
        assert_eq!(problems(32), "");
        assert!(problems(33).contains("`k32` extends more than 31 keys"), "{}", problems(33));
        let told = problems(5000);
        assert_eq!(told.matches("extends more than").count(), 1, "{told}");
    }

    #[test]
    fn extends_takes_over_what_is_not_said_anew() {
        let keys = "keys:\n\
            \x20 base: { namespace: n, version: 2, max_suffix_length: 9, on_overflow: reject, id: b, \
                        fields: { a: { path: user_id, partition: true }, b: { header: b } } }\n\
            \x20 own: { extends: base, version: 3, fields: { b: { cookie: b }, c: { query: '*' } } }\n";
        let plan = with_route("{ key: own }", keys);
        let key = key(&plan, 0);
        assert_eq!(fields(key), ["a", "b", "c", "host", "scheme"]);
        assert!(key.fields[0].partition);
        assert!(matches!(key.fields[1].source, Source::Cookie(_)));
        assert_eq!((&*key.namespace, key.version, key.max_suffix_length), ("n", 3, 9));
        // Other fields, so not the same entries.
        assert_eq!(&*key.id, "one");
    }

    #[test]
    fn a_key_written_in_a_route_is_called_after_it() {
        let plan = with_route("{ key: { fields: { u: { path: '*' } } } }", "");
        assert_eq!(&*key(&plan, 0).name, "route:one");
        assert!(plan.keys.iter().any(|key| &*key.name == "route:one"));
    }

    #[test]
    fn a_route_says_only_how_its_status_fields_differ() {
        let plan = compile(
            "status_fields: { x_cache: false, show_to: nobody }\n\
             routes:\n  - { name: a, match: { path: /a }, upstream: app, status_fields: { show_to: token_holders } }\n  \
             - { name: b, match: { path: /b }, upstream: app }\n",
        );
        let [a, b] = plan.routes.routes() else { panic!("two routes") };
        assert_eq!(a.status_fields.audience, StatusFieldsAudience::TokenHolders);
        assert_eq!(b.status_fields.audience, StatusFieldsAudience::Nobody);
        assert!(!a.status_fields.x_cache && a.status_fields.cached_at);
    }

    #[test]
    fn upstreams_see_the_host_they_are_to_see() {
        let host = |host: &str| {
            let text = format!(
                "upstreams: {{ a: {{ servers: 'http://a', host: {host} }} }}\nroutes: [{{ name: a, match: {{ path: / }}, upstream: a }}]\n"
            );
            compile_text("test.yaml", &text, &|_| None).unwrap().upstreams.remove(0).host
        };
        assert_eq!(host("preserve"), HostRewrite::Preserve);
        assert_eq!(host("server"), HostRewrite::Server);
        assert_eq!(
            host("{ fixed: 'shop.example:81' }"),
            HostRewrite::Fixed("shop.example:81".parse().unwrap())
        );
    }

    #[test]
    fn capacity_is_a_size_or_a_part_of_the_memory() {
        let memory = |memory: &str| with_route("off", &format!("store: {{ memory: {memory} }}\n")).memory;
        let whole = memory("{ capacity: 100% }").capacity_bytes;
        let half = memory("{ capacity: 50% }").capacity_bytes;
        assert!(half > 0 && half == whole / 100 * 50, "{half} of {whole}");
        let small = memory("{ capacity: 10MiB }");
        assert_eq!((small.capacity_bytes, small.max_object_bytes), (10 << 20, 10 << 20));
    }

    #[test]
    fn bodies_are_sealed_from_some_size_on_or_never() {
        let from = |memory: &str| {
            with_route("off", &format!("store: {{ memory: {memory} }}\n")).memory.sendfile_from_bytes
        };
        assert_eq!(from("{ sendfile_from: off }"), None);
        assert_eq!(from("{ sendfile_from: 1MiB }"), Some(1 << 20));
        assert_eq!(from("{}"), Some(64 << 10));
    }

    #[test]
    fn status_classes_are_all_their_codes() {
        let plan = with_route("{ store_unless: { status: [404, 5xx], content_type: text/html } }", "");
        let unless = plan.routes.routes()[0].cache.as_ref().unwrap().store_unless.as_ref().unwrap();
        assert_eq!(unless.status.len(), 101);
        assert!(unless.status.contains(&404) && unless.status.contains(&599));
    }

    #[test]
    fn anchors_can_be_kept_at_the_top() {
        let plan = compile(
            "x-limits: &limits { ttl: 1h }\n\
             routes: [{ name: one, match: { path: / }, upstream: app, cache: { <<: *limits, tags: a } }]\n",
        );
        let rule = plan.routes.routes()[0].cache.as_ref().unwrap();
        assert_eq!(rule.policy.ttl.default, Some(Duration::from_secs(3600)));
        assert_eq!(rule.tags.len(), 1);
    }

    #[test]
    fn a_file_that_cannot_be_read_is_told() {
        let told = crate::config::load(std::path::Path::new("/there/is/none.yaml")).unwrap_err().to_string();
        assert!(told.contains("cannot read /there/is/none.yaml: No such file"), "{told}");
    }
}
