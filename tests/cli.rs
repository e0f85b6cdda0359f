//! The program as people run it: what it prints, how it ends, and whether the demo keeps what it prints.

#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    reason = "a test that cannot go on says so by panicking"
)]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};

/// The program, without anything that the environment might say to it.
fn program(line: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_staleproof"));
    command.args(line.split_whitespace()).current_dir(env!("CARGO_MANIFEST_DIR"));
    for variable in ["STALEPROOF_CONFIG", "STALEPROOF_ADMIN", "STALEPROOF_TOKEN", "STALEPROOF_LOG"] {
        command.env_remove(variable);
    }
    command
}

fn run(line: &str) -> Output {
    program(line).output().expect("it runs")
}

/// What it printed when it ended well.
fn printed(line: &str) -> String {
    let output = run(line);
    assert!(output.status.success(), "{line}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// What it complained of when it ended with `status`.
fn complaint(line: &str, status: i32) -> String {
    let output = run(line);
    assert_eq!(output.status.code(), Some(status), "{line}: {output:?}");
    assert!(output.stdout.is_empty(), "{line}: {output:?}");
    String::from_utf8(output.stderr).unwrap()
}

/// A directory that is gone after the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("staleproof-cli-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn check_counts_what_is_in_a_file_that_is_fine() {
    for line in ["check", "check proxy.yaml", "check --config proxy.yaml"] {
        let summary = printed(line);
        assert!(summary.starts_with("proxy.yaml is fine: 1 upstream, "), "{summary}");
    }
}

#[test]
fn check_and_run_tell_every_mistake_and_end_with_2() {
    let scratch = Scratch::new();
    let file = scratch.write(
        "bad.yaml",
        "upstreams: { app: { servers: [\"http://127.0.0.1:1\"] } }\n\
         routes:\n  - { name: a, match: { path: /a }, upstream: ap }\n  - { name: b, mach: { path: /b }, upstream: app }\n",
    );
    for command in ["check", "run"] {
        let complaint = complaint(&format!("{command} --config {file}"), 2);
        for word in ["bad.yaml:3:", "did you mean `app`?", "bad.yaml:4:", "did you mean `match`?"] {
            assert!(complaint.contains(word), "{command}: {word} in\n{complaint}");
        }
    }
}

#[test]
fn a_file_that_is_not_there_is_a_mistake_with_a_way_out() {
    let complaint = complaint("run --config /nowhere/proxy.yaml", 2);
    assert!(complaint.contains("/nowhere/proxy.yaml") && complaint.contains("--print-config"), "{complaint}");
}

#[test]
fn the_configuration_that_the_demo_prints_is_fine() {
    let scratch = Scratch::new();
    let file = scratch.write("proxy.yaml", &printed("demo --print-config"));
    assert!(printed(&format!("check {file}")).contains("is fine"));
}

#[test]
fn a_key_in_json_says_what_the_text_says() {
    let line = "key http://a.test/articles/tea?utm_source=mail";
    let text = printed(line);
    let json: serde_json::Value = serde_json::from_str(&printed(&format!("{line} --json"))).unwrap();
    assert_eq!(json["route"], "article");
    assert_eq!(json["partition"]["slug"], "tea");
    for member in ["key", "digest", "suffix"] {
        assert!(text.contains(json[member].as_str().unwrap()), "{member} in {text}");
    }
    assert!(!json["key"].as_str().unwrap().contains("utm_source"));
    assert_eq!(json["purged_by"][2], "staleproof purge --tag article:tea");
}

#[test]
fn what_nobody_answers_ends_with_1_and_says_where_it_asked() {
    for line in [
        "purge --tag a --admin http://127.0.0.1:1",
        "warm http://a.test/ --admin http://127.0.0.1:1",
        "health --admin http://127.0.0.1:1",
    ] {
        assert!(complaint(line, 1).contains("127.0.0.1:1"), "{line}");
    }
}

#[test]
fn a_command_line_that_is_wrong_ends_with_2() {
    for line in ["", "nonsense", "purge", "purge --everything", "warm", "key /a", "run --log =,="] {
        assert_eq!(run(line).status.code(), Some(2), "{line}");
    }
}

#[test]
fn what_is_made_from_the_program_itself() {
    let schema: serde_json::Value = serde_json::from_str(&printed("schema")).unwrap();
    assert!(schema["properties"]["routes"].is_object());
    assert!(printed("completions bash").contains("staleproof"));
    let scratch = Scratch::new();
    printed(&format!("man {}", scratch.0.display()));
    for page in ["staleproof.1", "staleproof-purge.1"] {
        assert!(scratch.0.join(page).is_file(), "{page}");
    }
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let mut child = program("schema").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}

/// A running demo, and where it is.
struct Demo {
    child: Child,
    out: BufReader<std::process::ChildStdout>,
    public: String,
    admin: String,
    token: String,
}

impl Demo {
    fn start() -> Self {
        let mut child =
            program("demo --port 0 --admin-port 0 --log warn").stdout(Stdio::piped()).spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut advice = String::new();
        while !advice.contains("Ctrl-C") {
            assert_ne!(out.read_line(&mut advice).unwrap(), 0, "the demo begins with advice: {advice}");
        }
        let after = |words: &str| {
            let rest = &advice[advice.find(words).expect(words) + words.len()..];
            rest.split(['/', ' ', '\n', '\'']).next().unwrap().to_owned()
        };
        let (public, admin, token) = (after("http://"), after("--admin http://"), after("--token "));
        Self { child, out, public, admin, token }
    }

    /// What a request to `host` is answered with: the head in lower case, and the body.
    fn ask(&self, host: &str, line: &str, fields: &str, body: &str) -> (String, String) {
        let mut stream = TcpStream::connect(host).unwrap();
        let length = body.len();
        write!(
            stream,
            "{line} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {length}\r\n{fields}\r\n{body}"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").expect("a whole head");
        (head.to_ascii_lowercase(), body.to_owned())
    }

    /// The body of a page, and the word of `X-Cache`.
    fn get(&self, path: &str) -> (String, String) {
        let mut stream = TcpStream::connect(&self.public).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.public).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").expect("a whole head");
        let word = head
            .lines()
            .find_map(|line| line.to_ascii_lowercase().strip_prefix("x-cache: ").map(str::to_owned));
        (word.expect("X-Cache").to_uppercase(), body.to_owned())
    }

    fn word(&self, path: &str) -> String {
        self.get(path).0
    }

    fn admin(&self, line: &str) -> String {
        printed(&format!("{line} --admin http://{}", self.admin))
    }

    /// Ends it as Ctrl-C does.
    fn stop(mut self) -> (Option<i32>, String) {
        let interrupted = Command::new("kill").args(["-INT", &self.child.id().to_string()]).status();
        assert!(interrupted.unwrap().success());
        let mut rest = String::new();
        self.out.read_to_string(&mut rest).unwrap();
        (self.child.wait().unwrap().code(), rest)
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_demo_keeps_what_it_prints() {
    let demo = Demo::start();
    assert_eq!(demo.admin("health"), "");
    assert_eq!(demo.admin("health --ready"), "");

    // 1, 2: a miss, a hit, and a hit whatever a newsletter adds.
    assert_eq!(demo.word("/articles/tea"), "MISS");
    assert_eq!(demo.word("/articles/tea"), "HIT");
    assert_eq!(demo.word("/articles/tea?utm_source=mail"), "HIT");

    // 3: an edit wipes exactly two pages.
    for path in ["/", "/articles/bread", "/api/users/1"] {
        demo.word(path);
        assert_eq!(demo.word(path), "HIT", "{path}");
    }
    let form = "Content-Type: application/x-www-form-urlencoded\r\n";
    let (head, told) = demo.ask(&demo.public, "POST /articles/tea", form, "title=More+tea");
    assert!(head.starts_with("http/1.1 200"), "{head}");
    assert!(told.contains("wiped 2 stored responses"), "{told}");
    for path in ["/", "/articles/tea"] {
        let (word, page) = demo.get(path);
        assert_eq!(word, "MISS", "{path}");
        assert!(page.contains("More tea"), "{path}: {page}");
    }
    for path in ["/articles/bread", "/api/users/1", "/", "/articles/tea"] {
        assert_eq!(demo.word(path), "HIT", "{path}");
    }

    // The form itself is never stored.
    assert_eq!(demo.word("/articles/tea/edit"), "BYPASS");
    assert_eq!(demo.word("/articles/tea/edit"), "BYPASS");

    // 4: a purge by hand.
    let token = demo.token.clone();
    let purged = demo.admin(&format!("purge --tag article:bread --token {token}"));
    assert!(purged.starts_with("purged 1 stored response"), "{purged}");
    assert_eq!(demo.word("/articles/bread"), "MISS");
    let refused =
        complaint(&format!("purge --tag article:bread --token no --admin http://{}", demo.admin), 1);
    assert!(refused.contains("--token"), "{refused}");
    let unknown = format!("purge --route artcle --token {token} --admin http://{}", demo.admin);
    assert!(complaint(&unknown, 1).contains("article"), "a name that is nearly right is suggested");

    let (status, log) = demo.stop();
    assert_eq!(status, Some(0), "Ctrl-C is a good end");
    assert!(log.contains("\"/articles/tea\" 200"), "every exchange is logged: {log}");
}

/// The rule for users in the shipped proxy.yaml: what it watches fires, what it does not watch does not.
#[test]
fn the_shipped_rules_fire_for_what_they_watch() {
    let demo = Demo::start();
    let deliver = |id: &str, data: &str| {
        let now = Command::new("date").arg("+%s").output().unwrap().stdout;
        let now = String::from_utf8(now).unwrap().trim().to_owned();
        let body = format!(r#"{{"type":"user.updated","data":{data}}}"#);
        let secret = STANDARD.decode("c3RhbGVwcm9vZi1kZW1vLXNlY3JldC0wMDE=").unwrap();
        let mut mac = Hmac::<sha2::Sha256>::new_from_slice(&secret).unwrap();
        mac.update(format!("{id}.{now}.{body}").as_bytes());
        let signature = STANDARD.encode(mac.finalize().into_bytes());
        let fields = format!(
            "Content-Type: application/json\r\nWebhook-Id: {id}\r\nWebhook-Timestamp: {now}\r\nWebhook-Signature: v1,{signature}\r\n"
        );
        let (head, answer) = demo.ask(&demo.admin, "POST /hooks/app", &fields, &body);
        assert!(head.starts_with("http/1.1 200"), "{head} {answer}");
        serde_json::from_str::<serde_json::Value>(&answer).unwrap()["matched"].as_u64().unwrap()
    };
    for path in ["/api/users/1", "/api/users/2"] {
        demo.word(path);
    }
    let unwatched = r#"{"model":"user","id":1,"before":{"name":"a","seen":1},"after":{"name":"a","seen":2},"changed":["seen"]}"#;
    assert_eq!(deliver("1", unwatched), 0);
    assert_eq!(demo.word("/api/users/1"), "HIT");
    let watched = r#"{"model":"user","id":1,"before":{"name":"a","seen":1},"after":{"name":"b","seen":1},"changed":["name"]}"#;
    assert_eq!(deliver("2", watched), 1);
    assert_eq!(demo.word("/api/users/1"), "MISS");
    assert_eq!(demo.word("/api/users/2"), "HIT");
}

#[test]
fn a_warm_up_is_awaited_and_ends_with_1_if_anything_failed() {
    let demo = Demo::start();
    let (site, scratch) = (format!("http://{}", demo.public), Scratch::new());
    let warm = |line: &str| format!("warm {line} --admin http://{} --token {}", demo.admin, demo.token);
    let told = printed(&warm(&format!("{site}/ {site}/articles/tea {site}/articles/tea/edit")));
    assert_eq!(
        told,
        format!(
            "2 warmed, 0 already stored, 1 not stored, 0 failed\n\
             not stored: 1 by bypass, such as {site}/articles/tea/edit\n"
        )
    );
    assert_eq!((demo.word("/").as_str(), demo.word("/articles/tea").as_str()), ("HIT", "HIT"));

    let urls = format!(
        "<urlset><url><loc>{site}/articles/tea</loc></url><url><loc>{site}/none</loc></url></urlset>"
    );
    let file = scratch.write("sitemap.xml", &urls);
    let output = run(&warm(&format!("--file {file} -H Accept:text/html --concurrency 1 --json")));
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&json["state"], json["already"].as_u64(), json["failed"].as_u64()),
        (&"done".into(), Some(1), Some(1))
    );
    assert_eq!(json["failures"][0]["reason"], "the answer was 404 Not Found");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.starts_with("job 2 begins\n") && said.contains("not all of it"),
        "no terminal, plain lines: {said}"
    );

    let index = scratch.write("index.xml", "<sitemapindex/>");
    assert!(complaint(&warm(&format!("--file {index}")), 2).contains("--sitemap"));

    let id = printed(&warm(&format!("{site}/articles/bread --no-wait")));
    assert_eq!(id, "3\n");
    assert!(printed(&warm("--job 3")).starts_with("1 warmed"));
    assert!(printed(&warm("--cancel 3")).starts_with("1 warmed"), "it was over");
    assert!(complaint(&warm("--job 9"), 1).contains("no such warm-up"));
}

#[test]
fn who_waits_for_a_warm_up_may_leave_it_alone() {
    let demo = Demo::start();
    // One after the other, and the app thinks about each: 20 s.
    let urls: Vec<_> = (0..50).map(|number| format!("http://{}/articles/{number}", demo.public)).collect();
    let line = format!("--concurrency 1 --admin http://{} --token {}", demo.admin, demo.token);
    let warm = format!("warm {} {line}", urls.join(" "));
    let mut waiting = program(&warm).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(waiting.stderr.take().unwrap());
    // When it has asked how it goes, it listens for Ctrl-C.
    let mut begun = String::new();
    while !begun.contains(" of 50: ") {
        assert_ne!(said.read_line(&mut begun).unwrap(), 0, "{begun}");
    }
    assert!(Command::new("kill").args(["-INT", &waiting.id().to_string()]).status().unwrap().success());
    let mut rest = String::new();
    said.read_to_string(&mut rest).unwrap();
    assert_eq!(waiting.wait().unwrap().code(), Some(1), "{rest}");
    assert!(
        rest.contains("staleproof warm --job 1") && rest.contains("staleproof warm --cancel 1"),
        "{rest}"
    );
    let cancelled = printed(&format!("warm --cancel 1 --json {line}").replace("--concurrency 1 ", ""));
    assert!(cancelled.contains("\"state\": \"cancelled\""), "it went on: {cancelled}");
}

#[test]
fn a_port_that_is_taken_is_named_with_what_to_do() {
    let demo = Demo::start();
    let port = demo.public.rsplit(':').next().unwrap();
    let complaint = complaint(&format!("demo --port {port} --admin-port 0"), 1);
    assert!(complaint.contains(&demo.public) && complaint.contains("--port"), "{complaint}");
}

#[test]
fn explain_tells_whether_a_response_would_be_stored_and_by_which_rule_not() {
    let scratch = Scratch::new();
    let explain = |head: &str| {
        let file = scratch.0.join("response");
        fs::write(&file, head).unwrap();
        printed(&format!("explain http://127.0.0.1/articles/tea --response {}", file.display()))
    };
    let stored =
        explain("HTTP/1.1 200 OK\r\nCache-Control: max-age=60, stale-while-revalidate=30\r\n\r\nhello");
    assert!(stored.starts_with("route    article\nresponse 200 OK\nrules    yes  "), "{stored}");
    assert!(
        stored.ends_with("stored   for 60 s by max-age, stale for 30 s more while it is validated\n"),
        "{stored}"
    );
    let refused = explain("HTTP/1.1 200 OK\nCache-Control: private\n\n");
    let last: Vec<_> = refused.lines().rev().take(2).collect();
    assert_eq!(last, ["stored   no: private", "         no   the response is not private (§5.2.2.7)"]);
    let wrong = complaint("explain http://127.0.0.1/articles/tea --response /dev/null", 2);
    assert!(wrong.contains("is not a status line such as HTTP/1.1 200 OK"), "{wrong}");
    let nobody = complaint("explain http://127.0.0.1/articles/tea --admin http://127.0.0.1:1", 1);
    assert!(nobody.contains("Is the server running?"), "{nobody}");
}

#[test]
fn hooks_send_signs_and_posts_what_the_server_then_lists() {
    let demo = Demo::start();
    let scratch = Scratch::new();
    let body = scratch
        .write("body.json", r#"{"type": "article.updated", "data": {"id": 1, "before": {"slug": "tea"}}}"#);
    let config = scratch.write("proxy.yaml", &printed("demo --print-config"));
    let admin = format!("http://{}", demo.admin);
    let send = format!("hooks send {body} --config {config} --to {admin}");
    let said: serde_json::Value = serde_json::from_str(&printed(&send)).unwrap();
    assert_eq!((&said["ok"], &said["event"]), (&true.into(), &"article.updated".into()));
    let again: serde_json::Value = serde_json::from_str(&printed(&format!("{send} --id again"))).unwrap();
    assert_eq!(again["id"], "again");
    let listed = printed(&format!("hooks deliveries --admin {admin} --token demo-token"));
    assert!(listed.lines().count() == 2 && listed.contains(" app accepted article.updated: "), "{listed}");
    let number = listed.split(' ').next().unwrap();
    let refused = complaint(&format!("hooks replay {number} --admin {admin} --token demo-token"), 1);
    assert!(refused.contains("keep_bodies"), "{refused}");
    let refused = complaint(&format!("hooks dead-letters --admin {admin} --token demo-token"), 1);
    assert!(refused.contains("no durable dispatcher"), "{refused}");
    complaint(&format!("hooks dead-letters 5 --admin {admin}"), 2);
    complaint(&format!("hooks repair --config {config}"), 1);
}

#[test]
fn hooks_test_tells_what_a_delivery_would_do() {
    let scratch = Scratch::new();
    let body = scratch.write(
        "delivery.json",
        r#"{"type":"article.updated","data":{"id":7,"before":{"slug":"tea"},"after":{"slug":"green-tea"}}}"#,
    );
    let told = printed(&format!("hooks test {body}"));
    for line in [
        "signature  not checked: no fields are given (-H)",
        "event      article.updated, update",
        "rule       article changed: runs",
        "  purges   route \"article\" partition {\"slug\": \"tea\"}",
        "  purges   route \"article\" partition {\"slug\": \"green-tea\"}",
        "rule       user changed: is about other events",
    ] {
        assert!(told.lines().any(|told| told == line), "{line:?} in {told}");
    }
    let user = scratch.write("user.json", r#"{"type":"user.updated","data":{"model":"admin","id":1}}"#);
    let told = printed(&format!("hooks test {user}"));
    assert!(told.contains("$.data.model: does not hold"), "{told}");
    let json: serde_json::Value =
        serde_json::from_str(&printed(&format!("hooks test {body} --json"))).unwrap();
    assert_eq!(json["events"][0]["rules"][0]["purges"].as_array().unwrap().len(), 4);
    complaint(&format!("hooks test {body} --webhook none"), 2);
    complaint(&format!("hooks test {}", scratch.write("no.json", "{")), 1);
}
