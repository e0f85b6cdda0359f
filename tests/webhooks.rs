//! Deliveries as each sender's own library signs them, or its documentation shows them: one file for each preset in
//! `tests/webhooks/vectors/`. Each is believed and understood, and nothing that differs from it is.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on says so by panicking"
)]

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde::Deserialize;
use serde_json::Value;
use staleproof::clock::{Clock, Timestamp};
use staleproof::config::{self, Plan};
use staleproof::dispatch::{Dispatchers, Means};
use staleproof::invalidation::event::{Event, Kind};
use staleproof::server::{self, Assembled};
use staleproof::warm::Warmer;
use staleproof::webhooks::{Hook, Intake, Raw, Scheme, SignedAt, Source, TimeSource, Unbelieved};

#[derive(Deserialize)]
struct File {
    made_by: String,
    vectors: Vec<Vector>,
}

#[derive(Clone, Deserialize)]
struct Vector {
    name: String,
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: String,
    secrets: Vec<String>,
    now_ms: u64,
    delivery: Option<String>,
    event: String,
    before: Option<Value>,
    after: Option<Value>,
    changed: Option<Vec<String>>,
    kind: Option<String>,
    each: Option<String>,
}

/// Whose deliveries by SNS are believed.
const TOPIC: &str = "arn:aws:sns:eu-central-1:123456789012:products";

/// Far beyond what any preset tolerates.
const LATE: Duration = Duration::from_secs(2 * 3600);

impl Vector {
    fn hook(&self, preset: &str) -> Hook {
        self.plan(preset).webhooks.remove(0)
    }

    fn plan(&self, preset: &str) -> Plan {
        let secrets = serde_json::to_string(&self.secrets).unwrap();
        let topic =
            if preset == "aws-sns" { format!(", must: {{ $.TopicArn: {TOPIC:?} }}") } else { String::new() };
        let yaml = format!(
            "server: {{ access_log: off }}\nupstreams: {{ app: {{ servers: 'http://127.0.0.1:1' }} }}\n\
             routes: [{{ name: a, match: {{ path: '/{{*rest}}' }}, upstream: app }}]\n\
             webhooks: {{ hook: {{ path: /hook, preset: {preset}, secret: {secrets}, verify: {{ allow_weak: true{topic} }} }} }}\n"
        );
        config::compile_text("test.yaml", &yaml, &|_| None).unwrap_or_else(|problems| panic!("{problems}"))
    }

    fn headers(&self) -> HeaderMap {
        let field = |(name, value): &(String, String)| {
            (HeaderName::try_from(name).unwrap(), HeaderValue::from_bytes(value.as_bytes()).unwrap())
        };
        self.headers.iter().map(field).collect()
    }

    /// What is made of it at this moment.
    fn read<T>(&self, hook: &Hook, with: impl FnOnce(&Hook, &Raw<'_>) -> T) -> T {
        let method: Method = self.method.parse().unwrap();
        let (headers, body) = (self.headers(), Bytes::from(self.body.clone()));
        with(hook, &Raw::new(&method, &self.target, &headers, &body))
    }

    fn check(&self, hook: &Hook, at: Timestamp) -> Result<(), Unbelieved> {
        self.read(hook, |hook, raw| hook.verify.check(raw, &hook.secrets, Ipv4Addr::LOCALHOST.into(), at))
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.now_ms)
    }
}

fn files() -> Vec<(String, File)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/webhooks/vectors");
    let mut paths: Vec<PathBuf> =
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let read = |path: &PathBuf| {
        let preset = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let file = serde_json::from_slice(&fs::read(path).unwrap());
        (preset, file.unwrap_or_else(|error| panic!("{}: {error}", path.display())))
    };
    paths.iter().map(read).collect()
}

#[test]
fn every_sender_is_believed_and_understood() {
    let mut wrong = Vec::new();
    for (preset, file) in files() {
        assert!(!file.made_by.is_empty() && !file.vectors.is_empty(), "{preset}");
        for vector in &file.vectors {
            let hook = vector.hook(&preset);
            let mut tell = |what: String| wrong.push(format!("{preset}, {}: {what}", vector.name));
            if let Err(why) = vector.check(&hook, vector.now()) {
                tell(format!("not believed: {why}"));
            }
            let delivery = vector.read(&hook, |hook, raw| hook.delivery_id(raw)).text;
            match &vector.delivery {
                Some(expected) if *expected != delivery => {
                    tell(format!("known by {delivery:?}, not {expected:?}"));
                }
                None if !delivery.starts_with("body:") => {
                    tell(format!("known by {delivery:?}, not by its body"));
                }
                _ => {}
            }
            let events = vector
                .read(&hook, |hook, raw| Event::all(&hook.name, "1", &hook.event, raw, raw.json().unwrap()));
            let Some(event) = events.first() else {
                tell("no event".to_owned());
                continue;
            };
            if event.name != vector.event {
                tell(format!("its event is {:?}, not {:?}", event.name, vector.event));
            }
            if vector.each.is_some() && events.len() < 2 {
                tell("its events are not told apart".to_owned());
            }
            let kind = event.kind.map(|kind| match kind {
                Kind::Create => "create",
                Kind::Update => "update",
                Kind::Delete => "delete",
            });
            if vector.kind.is_some() && kind != vector.kind.as_deref() {
                tell(format!("it is a {kind:?}, not a {:?}", vector.kind));
            }
            let changed: Option<Vec<_>> = event.changed.as_ref().map(|names| names.iter().cloned().collect());
            let mut expected = vector.changed.clone();
            if let Some(names) = &mut expected {
                names.sort();
                if changed != expected {
                    tell(format!("changed is {changed:?}, not {expected:?}"));
                }
            }
            for (which, is, expected) in
                [("before", &event.before, &vector.before), ("after", &event.after, &vector.after)]
            {
                if expected.is_some() && is != expected {
                    tell(format!("{which} is {is:?}, not {expected:?}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// One character is another: the first letter or digit after `from`.
fn altered(text: &str, from: usize) -> String {
    let is_one = |(at, character): &(usize, char)| *at >= from && character.is_ascii_alphanumeric();
    let (at, character) = text.char_indices().find(is_one).expect("a letter or digit");
    let other = if character == '1' { '2' } else { '1' };
    format!("{}{other}{}", &text[..at], &text[at + 1..])
}

#[test]
fn nothing_that_was_altered_is_believed() {
    for (preset, file) in files() {
        for vector in &file.vectors {
            let hook = vector.hook(&preset);
            let refused = |vector: &Vector, what: &str| {
                let checked = vector.check(&hook, vector.now());
                assert!(checked.is_err(), "{preset}, {}: {what} is believed", vector.name);
            };
            let is_signed = matches!(
                hook.verify.scheme,
                Scheme::Hmac { .. } | Scheme::Ed25519 { .. } | Scheme::Rsa { .. }
            );
            // What SNS signs is not the body, but what it says.
            let said = vector.body.find("\"Message\": \"").map(|at| at + 12);
            if is_signed {
                let middle = said.unwrap_or(vector.body.len() / 2);
                refused(&Vector { body: altered(&vector.body, middle), ..vector.clone() }, "another body");
            }
            if is_signed && said.is_none() {
                refused(&Vector { body: format!("{} ", vector.body), ..vector.clone() }, "a longer body");
            }
            let mut other = vector.clone();
            let secret = match hook.verify.scheme {
                Scheme::Rsa { .. } => include_str!("webhooks/another_key.pem"),
                _ => "whsec_QW5vdGhlciBzZWNyZXQgdGhhdCBub2JvZHkga25vd3M=",
            };
            other.secrets = vec![secret.to_owned()];
            let checked = other.check(&other.hook(&preset), vector.now());
            assert!(checked.is_err(), "{preset}, {}: any secret will do", vector.name);
            refused(
                &Vector { headers: Vec::new(), body: "{}".to_owned(), ..vector.clone() },
                "no proof at all",
            );
            if hook.verify.timestamp.is_some() {
                for at in [vector.now().plus(LATE), vector.now().minus(LATE)] {
                    assert!(vector.check(&hook, at).is_err(), "{preset}, {}: at another time", vector.name);
                }
            }
        }
    }
}

/// One bit of the octet is another.
fn flipped(text: &str, at: usize) -> String {
    let mut octets = text.as_bytes().to_vec();
    octets[at] ^= 1;
    String::from_utf8(octets).expect("the octet is ASCII")
}

impl Vector {
    /// The same, with something else where `source` is.
    fn with(&self, source: &Source, change: impl Fn(&str) -> String) -> Self {
        let mut other = self.clone();
        match source {
            Source::Header(name) => {
                let fields =
                    other.headers.iter_mut().filter(|(known, _)| name == known.to_ascii_lowercase().as_str());
                fields.for_each(|(_, value)| *value = change(value));
            }
            Source::Body(selector) => {
                let json: Value = serde_json::from_str(&self.body).unwrap();
                let found = selector.find(&json)[0].as_str().unwrap();
                other.body = self.body.replacen(found, &change(found), 1);
            }
            Source::Query(_) => panic!("no preset has its proof there"),
        }
        assert!(
            (&other.headers, &other.body) != (&self.headers, &self.body),
            "{}: nothing is another",
            self.name
        );
        other
    }
}

#[test]
fn a_proof_or_a_signed_time_of_which_one_bit_is_another_is_not_believed() {
    let mut times = 0;
    for (preset, file) in files() {
        for vector in &file.vectors {
            let hook = vector.hook(&preset);
            let (Scheme::Hmac { proof, .. }
            | Scheme::Ed25519 { proof, .. }
            | Scheme::Rsa { proof, .. }
            | Scheme::Jwt { proof, .. }
            | Scheme::Token { proof }) = &hook.verify.scheme
            else {
                panic!("{preset} has no proof")
            };
            // Of several any would do: all of them are others.
            let flip_proofs = |text: &str| {
                let ends: Vec<_> = if proof.prefix.is_empty() {
                    vec![0]
                } else {
                    text.match_indices(&*proof.prefix).map(|(at, prefix)| at + prefix.len()).collect()
                };
                ends.into_iter().fold(text.to_owned(), |text, at| flipped(&text, at))
            };
            let checked = vector.with(&proof.from, flip_proofs).check(&hook, vector.now());
            assert_eq!(checked, Err(Unbelieved::Mismatch), "{preset}, {}: another proof", vector.name);

            let Some(SignedAt { from, .. }) = &hook.verify.timestamp else { continue };
            times += 1;
            let flip_last = |text: &str| {
                let at = text.rfind(|character: char| character.is_ascii_digit()).unwrap();
                flipped(text, at)
            };
            let other = match from {
                TimeSource::Delivery(source) => vector.with(source, flip_last),
                TimeSource::Signature(name) => vector.with(&proof.from, |text| {
                    let members = text.split_inclusive(proof.separator.as_deref().unwrap());
                    let is_time = |member: &str| member.trim_start().starts_with(&format!("{name}="));
                    members
                        .map(|member| if is_time(member) { flip_last(member) } else { member.to_owned() })
                        .collect()
                }),
            };
            let checked = other.check(&hook, vector.now());
            assert_eq!(checked, Err(Unbelieved::Mismatch), "{preset}, {}: another time", vector.name);
        }
    }
    assert!(times > 30, "{times} have a signed time");
}

#[tokio::test]
async fn what_comes_again_is_known_again_where_anything_tells_which_it_is() {
    for (preset, file) in files() {
        for vector in &file.vectors {
            let (mut plan, clock) = (vector.plan(&preset), Clock::stopped());
            let Assembled { stack, rooms, metrics, .. } = server::assemble(&plan, &clock).unwrap();
            let warmer = Arc::new(Warmer::new(stack, &plan, clock.clone()));
            let means = Means { invalidator: Arc::clone(&rooms.invalidator), warmer, metrics };
            let dispatchers = Dispatchers::new(Arc::default(), means, &[], &clock).unwrap();
            let intake = Intake::new(plan.webhooks.remove(0));
            let take = || {
                vector.read(&intake.hook, |_, raw| {
                    intake.take(raw, Ipv4Addr::LOCALHOST.into(), &dispatchers, vector.now())
                })
            };
            let is_unique = vector.read(&intake.hook, |hook, raw| hook.delivery_id(raw)).is_unique;
            assert!(!take().unwrap().duplicate, "{preset}, {}", vector.name);
            // What nothing tells from another event with the same body is done.
            assert_eq!(take().unwrap().duplicate, is_unique, "{preset}, {}", vector.name);
            let says_which = !intake.hook.delivery.is_empty() || intake.hook.verify.timestamp.is_some();
            assert_eq!(is_unique, says_which, "{preset}, {}", vector.name);
        }
    }
}

#[test]
fn what_sns_signs_for_another_is_not_believed() {
    let (_, file) = files().into_iter().find(|(preset, _)| preset == "aws-sns").unwrap();
    for vector in &file.vectors {
        let mut hook = vector.hook("aws-sns");
        assert_eq!(vector.check(&hook, vector.now()), Ok(()), "{}", vector.name);
        for demand in &mut hook.verify.must {
            demand.values = vec![TOPIC.replace("products", "others")];
        }
        let refused = Err(Unbelieved::Demand("$.TopicArn".to_owned()));
        assert_eq!(vector.check(&hook, vector.now()), refused, "{}", vector.name);
    }
}

#[test]
fn no_bytes_panic_whoever_reads_them() {
    // Of each vector: every so many octets of the body are gone, doubled, or another; and so are fields.
    for (preset, file) in files() {
        for vector in &file.vectors {
            let hook = vector.hook(&preset);
            let body = vector.body.as_bytes();
            for at in (0..body.len()).step_by(1 + body.len() / 100) {
                for (to, with) in [(at, &b"\xff"[..]), (body.len(), b""), (at + 1, b"{\"\":["), (at, b"\0")] {
                    let altered = [&body[..at], with, &body[to..]].concat();
                    let (method, body) = (Method::POST, Bytes::from(altered));
                    let mut headers = vector.headers();
                    if let Some(name) = headers.keys().nth(at % headers.keys_len().max(1)).cloned() {
                        headers.insert(
                            name,
                            HeaderValue::from_bytes(
                                &body[..at.min(40)].escape_ascii().to_string().into_bytes(),
                            )
                            .unwrap(),
                        );
                    }
                    let raw = Raw::new(&method, &vector.target, &headers, &body);
                    let checked =
                        hook.verify.check(&raw, &hook.secrets, Ipv4Addr::LOCALHOST.into(), vector.now());
                    let _ = (checked, hook.delivery_id(&raw));
                    if let Ok(json) = raw.json() {
                        let _ = Event::all(&hook.name, "1", &hook.event, &raw, json);
                    }
                }
            }
        }
    }
}

#[test]
fn debezium_says_the_same_with_its_schema_and_without() {
    let (_, file) = files().into_iter().find(|(preset, _)| preset == "debezium").unwrap();
    for vector in &file.vectors {
        let hook = vector.hook("debezium");
        let whole: Value = serde_json::from_str(&vector.body).unwrap();
        let Some(bare) = whole.get("payload") else { continue };
        let read = |json: &Value| {
            let event =
                vector.read(&hook, |hook, raw| Event::all(&hook.name, "1", &hook.event, raw, json)).remove(0);
            (event.name, event.before, event.after, event.kind)
        };
        // Read by itself: what is not in the part is looked for in the whole.
        let (method, headers, body) = (Method::POST, HeaderMap::new(), Bytes::from(bare.to_string()));
        let raw = Raw::new(&method, "/hook", &headers, &body);
        let event = Event::all(&hook.name, "1", &hook.event, &raw, bare).remove(0);
        assert_eq!((event.name, event.before, event.after, event.kind), read(&whole), "{}", vector.name);
    }
}
