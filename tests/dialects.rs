//! What other systems send to purge caches, and what it means here: one file for each sender in `tests/dialects/`.
//!
//! `>` the request, `=` what it means: what would be sent to `/v1/purge` for the same; `refresh` and what; `refused`; or `like others`,
//! which needs no meaning of its own. `#` says
//! where the request is known from.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on says so by panicking"
)]

use std::fs;
use std::path::Path;

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde_json::Value;
use staleproof::dialects::{self, Deed, Misread, Order, Sent};
use staleproof::invalidation::{Strength, Target};

/// A request and what it means.
struct Exchange {
    request: Vec<String>,
    meaning: String,
}

fn exchanges(text: &str) -> Vec<Exchange> {
    let mut exchanges = vec![];
    let mut request = vec![];
    for line in text.lines() {
        if let Some(sent) = line.strip_prefix('>') {
            request.push(sent.strip_prefix(' ').unwrap_or(sent).to_owned());
        } else if let Some(meaning) = line.strip_prefix("= ") {
            exchanges
                .push(Exchange { request: std::mem::take(&mut request), meaning: meaning.trim().to_owned() });
        } else {
            assert!(line.is_empty() || line.starts_with('#'), "what is {line:?}?");
        }
    }
    assert!(request.is_empty(), "a request without a meaning");
    exchanges
}

/// What the request means here. `None`: it is one like others.
fn read(request: &[String]) -> Option<Result<Order, Misread>> {
    let mut first = request[0].split(' ');
    let (method, target) = (first.next().unwrap(), first.next().unwrap());
    let method: Method = method.parse().unwrap();
    let end = request.iter().position(String::is_empty).unwrap_or(request.len());
    let mut headers = HeaderMap::new();
    for field in &request[1..end] {
        let (name, value) = field.split_once(':').unwrap();
        headers.append(
            HeaderName::try_from(name).unwrap(),
            HeaderValue::from_bytes(value.trim().as_bytes()).unwrap(),
        );
    }
    let body = request.get(end + 1..).unwrap_or_default().join("\n");
    let host = headers.get("host").unwrap().to_str().unwrap().to_owned();
    let sent = Sent { method: &method, scheme: "http", host: &host, target, headers: &headers };
    dialects::by_api(&sent, body.as_bytes())
        .or_else(|| dialects::is_by_method(&sent).then(|| dialects::by_method(&sent)))
}

fn targets(mut json: Value) -> (Vec<Target>, bool) {
    let members = json.as_object_mut().unwrap();
    let soft = members.remove("soft").is_some_and(|soft| soft == true);
    let targets = match members.remove("targets") {
        Some(targets) => serde_json::from_value(targets).unwrap(),
        None => vec![serde_json::from_value(json).unwrap()],
    };
    (targets, soft)
}

fn check(Exchange { request, meaning }: &Exchange) -> Result<(), String> {
    let Some(read) = read(request) else {
        return if meaning == "like others" { Ok(()) } else { Err("it is not understood".to_owned()) };
    };
    if meaning.starts_with("refused") {
        return if read.is_err() { Ok(()) } else { Err(format!("it is not refused, but {read:?}")) };
    }
    let order = read.map_err(|misread| misread.to_string())?;
    let (is_refresh, json) = match meaning.strip_prefix("refresh ") {
        Some(json) => (true, json),
        None => (false, meaning.as_str()),
    };
    let (expected, soft) = targets(serde_json::from_str(json).map_err(|error| error.to_string())?);
    let deed = match (is_refresh, soft) {
        (true, _) => Deed::Refresh,
        (false, true) => Deed::Purge(Strength::Soft),
        (false, false) => Deed::Purge(Strength::Hard),
    };
    if order.deed != deed || order.targets != expected {
        return Err(format!("it is {:?} of {:?}", order.deed, order.targets));
    }
    Ok(())
}

#[test]
fn every_request_of_every_sender_means_what_it_was_sent_for() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dialects");
    let (mut wrong, mut checked) = (Vec::new(), 0);
    for file in fs::read_dir(directory).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let exchanges = exchanges(&fs::read_to_string(&path).unwrap());
        assert!(!exchanges.is_empty(), "{name} has nothing in it");
        for exchange in &exchanges {
            checked += 1;
            if let Err(why) = check(exchange) {
                let request = exchange.request.join("\n    ");
                wrong.push(format!("{name}\n    {request}\n  expected {}\n  {why}", exchange.meaning));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {checked} are not:\n{}", wrong.len(), wrong.join("\n"));
}
