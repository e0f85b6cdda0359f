//! A delivery: no bytes panic whoever verifies, reads and understands it, and what a rule names stays where its template puts it.
#![no_main]

use std::net::Ipv4Addr;
use std::sync::LazyLock;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use libfuzzer_sys::fuzz_target;
use staleproof::clock::Timestamp;
use staleproof::config::{self, Plan};
use staleproof::invalidation::Target;
use staleproof::invalidation::event::Event;
use staleproof::webhooks::{PRESETS, Raw};

/// A webhook for each preset, and a rule of each kind for it.
static PLAN: LazyLock<Plan> = LazyLock::new(|| {
    let presets = PRESETS.lines().filter_map(|line| line.strip_suffix(':')).filter(|line| !line.starts_with(' '));
    let (mut webhooks, mut rules) = (String::new(), String::new());
    for preset in presets.filter(|preset| *preset != "aws-sns") {
        webhooks += &format!(
            "  {preset}: {{ path: /{preset}, preset: {preset}, secret: abcd, verify: {{ allow_weak: true }} }}\n"
        );
        rules += &format!(
            "  - name: of {preset}\n    on: {{ webhook: {preset} }}\n    on_create: true\n    require: none\n\
             \x20   when: {{ \"!$.draft\": true, cel: \"kind != 'x' || has(body.a)\" }}\n    watch: [$.slug]\n\
             \x20   fields: {{ slug: [$..slug, $.type], id: \"$.id\" }}\n\
             \x20   do: [{{ purge: {{ url: \"http://a.test/x/{{slug}}?q={{id}}\" }} }}, {{ purge: {{ glob: \"/*/{{slug}}\" }} }},\
             {{ purge: {{ tag: \"{{id}}\" }} }}]\n"
        );
    }
    let yaml = format!(
        "upstreams: {{ app: {{ servers: 'http://127.0.0.1:1' }} }}\n\
         routes: [{{ name: a, match: {{ path: '/{{*rest}}' }}, upstream: app }}]\nwebhooks:\n{webhooks}invalidation:\n{rules}"
    );
    config::compile_text("fuzz.yaml", &yaml, &|_| None).unwrap_or_else(|problems| panic!("{problems}"))
});

fuzz_target!(|input: &[u8]| {
    // Which webhook, lines of fields, an empty line, the body.
    let Some((which, rest)) = input.split_first() else { return };
    let end = rest.windows(2).position(|two| two == b"\n\n").unwrap_or(0);
    let mut headers = HeaderMap::new();
    for line in rest[..end].split(|byte| *byte == b'\n') {
        let colon = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
        let value = line.get(colon + 1..).unwrap_or_default();
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(&line[..colon]), HeaderValue::from_bytes(value)) {
            headers.append(name, value);
        }
    }
    let body = Bytes::copy_from_slice(rest.get(end + 2..).unwrap_or_default());
    let hook = &PLAN.webhooks[usize::from(*which) % PLAN.webhooks.len()];
    let raw = Raw::new(&Method::POST, "/hook?a=b", &headers, &body);
    let now = Timestamp::from_secs(1_700_000_000);
    let _ = hook.verify.check(&raw, &hook.secrets, Ipv4Addr::LOCALHOST.into(), now);
    let _ = hook.delivery_id(&raw);
    let Ok(json) = raw.json() else { return };
    for event in Event::all(&hook.name, "1", &hook.event, &raw, json) {
        for rule in PLAN.rules.iter().filter(|rule| rule.listens_to(&event)) {
            for target in rule.named(&event).map(|named| named.targets).unwrap_or_default() {
                match target {
                    Target::Url(url) => assert!(url.starts_with("http://a.test/x/"), "{url}"),
                    Target::Glob(glob) => assert_eq!(glob.matches('*').count(), 1, "{glob}"),
                    Target::Tag(_) | Target::Host(_) | Target::Everything => {}
                    other => panic!("{other}"),
                }
            }
        }
    }
});
