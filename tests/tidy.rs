//! The architecture's invariants, as an ordinary test: what `ARCHITECTURE.md` says is absent is absent.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    unreachable_pub,
    missing_docs,
    reason = "a test that cannot go on says so by panicking"
)]

use std::fs;
use std::path::{Path, PathBuf};

use clap::{CommandFactory, Parser};
use staleproof::cli::Cli;

/// Rooms that decide and do nothing: no runtime, no socket, no store, no clock.
const PURE: &[&str] = &[
    "src/uri.rs",
    "src/routes",
    "src/keys",
    "src/semantics",
    "src/invalidation/ban.rs",
    "src/invalidation/condition.rs",
    "src/invalidation/event.rs",
    "src/invalidation/expression.rs",
    "src/invalidation/like.rs",
    "src/invalidation/log.rs",
    "src/invalidation/members.rs",
    "src/invalidation/naming.rs",
    "src/invalidation/rule.rs",
    "src/invalidation/spelling.rs",
    "src/invalidation/standing.rs",
    "src/invalidation/tag.rs",
    "src/invalidation/target.rs",
    "src/invalidation/target_template.rs",
    "src/layers/claims.rs",
    "src/warm/sitemap.rs",
    "src/warm/urls.rs",
    "src/dialects",
    "src/selector.rs",
    "src/webhooks/proof.rs",
    "src/webhooks/raw.rs",
    "src/webhooks/sign.rs",
    "src/webhooks/signed.rs",
    "src/webhooks/verify.rs",
];

/// What no pure room mentions in its code.
const IMPURE: &[&str] =
    &["tokio", "hyper", "redis", "moka", "async ", ".await", "::now(", "std::fs", "std::net::Tcp"];

fn sources(under: &str) -> Vec<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(under);
    if path.is_file() {
        return vec![path];
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())) {
        let path = entry.unwrap().path();
        if path.is_dir() {
            let inner = path.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap().to_str().unwrap().to_owned();
            found.extend(sources(&inner));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    assert!(!found.is_empty(), "{under} has sources");
    found
}

/// Whether a whole file is tests, or made for them: its module is declared so next to it.
fn is_for_tests(path: &Path) -> bool {
    let (Some(folder), Some(name)) = (path.parent(), path.file_stem()) else { return false };
    let declaration = format!("mod {};", name.to_str().unwrap());
    let parents = [folder.join("mod.rs"), folder.with_extension("rs")];
    let declares = |parent: &PathBuf| {
        let text = fs::read_to_string(parent).unwrap_or_default();
        let mut after = text.split("#[cfg(test)]\n").skip(1).filter_map(|rest| rest.lines().next());
        after.any(|line| line.ends_with(&declaration))
    };
    parents.iter().any(declares) || folder.file_name().is_some_and(|name| name == "tests")
}

/// The lines of code outside tests and comments, numbered from 1.
fn code(path: &Path) -> Vec<(usize, String)> {
    if is_for_tests(path) {
        return Vec::new();
    }
    let text = fs::read_to_string(path).unwrap();
    // Not at the first `cfg(test)`: what follows the declaration of a file of tests is shipped.
    let shipped = text.split("\nmod tests {").next().unwrap_or_default();
    let lines = shipped.lines().enumerate().map(|(number, line)| (number + 1, line.to_owned()));
    lines.filter(|(_, line)| !line.trim_start().starts_with("//")).collect()
}

/// Every line of code under `rooms` that mentions one of `words`.
fn mentions(rooms: &[&str], words: &[&str], except: &[&str]) -> Vec<String> {
    let files = rooms.iter().flat_map(|room| sources(room));
    let files = files.filter(|path| !except.iter().any(|except| path.ends_with(except)));
    files
        .flat_map(|path| {
            let found =
                code(&path).into_iter().filter(|(_, line)| words.iter().any(|word| line.contains(word)));
            found.map(|(number, line)| format!("{}:{number}: {line}", path.display())).collect::<Vec<_>>()
        })
        .collect()
}

#[test]
fn pure_rooms_decide_and_do_nothing() {
    let found = mentions(PURE, IMPURE, &[]);
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn only_the_clock_reads_time() {
    let reads = ["SystemTime::now", "Instant::now", "Utc::now", "Local::now"];
    let found = mentions(&["src"], &reads, &["clock.rs"]);
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn only_respond_knows_which_error_becomes_which_status() {
    let statuses = [
        "BAD_GATEWAY",
        "GATEWAY_TIMEOUT",
        "LOOP_DETECTED",
        "NOT_IMPLEMENTED",
        "PAYLOAD_TOO_LARGE",
        "SERVICE_UNAVAILABLE",
    ];
    let rooms = ["src/layers", "src/cache", "src/origin", "src/server", "src/store", "src/stack.rs"];
    let found = mentions(&rooms, &statuses, &[]);
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn nothing_on_the_way_of_a_request_can_panic_by_its_own_words() {
    let words = [".unwrap()", ".expect(", "panic!(", "unreachable!(", "todo!(", "unimplemented!("];
    let found = mentions(&["src"], &words, &[]);
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn only_sealed_memory_is_unsafe() {
    let words = ["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern", "unsafe_code"];
    let found = mentions(&["src"], &words, &["src/sealed/memory.rs"]);
    assert!(found.is_empty(), "{}", found.join("\n"));
    let manifest = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml")).unwrap();
    assert!(manifest.contains("unsafe_code = \"deny\""));
    let sealed = mentions(&["src/sealed/memory.rs"], &words[..4], &[]);
    assert_eq!(sealed.len(), 1, "{}", sealed.join("\n"));
}

#[test]
fn every_module_says_what_it_is() {
    for path in sources("src") {
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("//! "), "{} begins with what it is", path.display());
    }
}

#[test]
fn the_code_map_names_every_room() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let map = fs::read_to_string(root.join("ARCHITECTURE.md")).unwrap();
    for entry in fs::read_dir(root.join("src")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let room = name.trim_end_matches(".rs");
        assert!(map.contains(&format!("`{room}")), "ARCHITECTURE.md says nothing of {name}");
    }
}

/// YAML shown to readers is YAML that works.
#[test]
fn every_configuration_in_the_docs_compiles() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut seen = 0;
    for document in ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "docs/senders/README.md"] {
        let text = fs::read_to_string(root.join(document)).unwrap();
        for block in text.split("```yaml\n").skip(1) {
            let yaml = block.split("```").next().unwrap_or_default();
            if let Err(problems) =
                staleproof::config::compile_text(document, yaml, &|_| Some("secret".into()))
            {
                panic!("{document}:\n{yaml}\n{problems}");
            }
            seen += 1;
        }
    }
    assert!(seen > 0, "the README shows a configuration");
}

/// Commands shown to readers are commands: in the documents, in `--help`, and in the shipped configuration.
#[test]
fn every_command_in_the_docs_is_one() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let documents =
        ["README.md", "CONTRIBUTING.md", "proxy.yaml", "docs/senders/README.md", "docs/senders/curl.md"]
            .map(|name| fs::read_to_string(root.join(name)).unwrap());
    let help = Cli::command();
    let help = help
        .get_subcommands()
        .chain([&help])
        .filter_map(clap::Command::get_after_help)
        .map(ToString::to_string);
    let mut seen = 0;
    for text in documents.into_iter().chain(help) {
        for line in text.lines() {
            let line = line.trim_start_matches(['#', '$', ' ']);
            if !line.starts_with("staleproof ") {
                continue;
            }
            if let Err(problem) = Cli::try_parse_from(words(line)) {
                panic!("{line}\n{problem}");
            }
            seen += 1;
        }
    }
    assert!(seen > 20, "the documents show commands: {seen}");
}

/// The words of a shell command, up to where it ends: at two spaces, a comment, a pipe or a redirection.
fn words(line: &str) -> Vec<String> {
    let command = line.split("  ").next().unwrap_or_default();
    let quotes = command.split('\'').enumerate();
    let mut words = vec![String::new()];
    for (number, part) in quotes {
        if number % 2 == 1 {
            words.last_mut().unwrap().push_str(part);
            continue;
        }
        let mut pieces = part.split(' ');
        words.last_mut().unwrap().push_str(pieces.next().unwrap_or_default());
        words.extend(pieces.map(str::to_owned));
    }
    let end = words.iter().position(|word| ["#", "|", ">", "&&"].contains(&word.as_str()));
    words.truncate(end.unwrap_or(words.len()));
    words.retain(|word| !word.is_empty());
    words
}
