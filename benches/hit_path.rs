//! What a hit costs, in instructions: the whole program over a real connection, with routes, keys, status fields, metrics and the
//! access log, counted by callgrind. The same on every machine of one kind, whatever else it is doing.
//!
//!     make bench                      counts, and fails if a count is 5 % above the recorded one
//!     make bench ARGUMENTS=--record   writes the counts to benches/hit_path.txt
//!
//! A count is the difference between two runs, so that what begins and ends a run is in neither. It needs valgrind. The program is
//! target/release/staleproof as it is shipped, without what tests need; hence this file needs nothing but the standard library.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    unreachable_pub,
    missing_docs,
    reason = "a test that cannot go on says so by panicking"
)]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

const RECORD: &str = "benches/hit_path.txt";
const PROGRAM: &str = "target/release/staleproof";

/// How many requests the two runs make.
const FEW: usize = 1000;
const MANY: usize = 5000;

/// Of 100.
const TOLERATED: u64 = 105;

/// What is asked for: a name, the size of the body, more fields of the request.
const CASES: &[(&str, usize, &str)] = &[
    ("hit of 1 KiB", 1024, ""),
    ("hit of 1 KiB, as a browser asks", 1024, BROWSER),
    ("hit of 16 KiB", 16 * 1024, ""),
    ("304 for 1 KiB", 1024, "If-None-Match: \"0123456789abcdef\"\r\n"),
];

const BROWSER: &str = "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n\
    Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\nAccept-Language: en-US,en;q=0.5\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\nConnection: keep-alive\r\nCookie: session=0123456789abcdef0123456789abcdef\r\n\
    Upgrade-Insecure-Requests: 1\r\nSec-Fetch-Dest: document\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Site: none\r\n\
    Priority: u=0, i\r\n";

fn main() {
    let record = std::env::args().any(|argument| argument == "--record");
    if Command::new("valgrind").arg("--version").output().is_err() {
        eprintln!("nothing is counted: it needs valgrind (apt-get install valgrind)");
        return;
    }
    let known = recorded();
    let mut counts = BTreeMap::new();
    let mut grown = false;
    for &(name, size, fields) in CASES {
        let count =
            (instructions(size, fields, MANY) - instructions(size, fields, FEW)) / (MANY - FEW) as u64;
        let before = known.get(name).copied();
        let change = before.map_or_else(String::new, |before| format!(", recorded {before}"));
        println!("{name}: {count} instructions{change}");
        grown |= before.is_some_and(|before| count * 100 > before * TOLERATED);
        counts.insert(name, count);
    }
    if record {
        let text: String = counts.iter().map(|(name, count)| format!("{name}: {count}\n")).collect();
        std::fs::write(RECORD, text).expect("a file that can be written");
    } else if grown {
        eprintln!(
            "a hit costs more than 5 % more than is recorded in {RECORD}: make it cheaper, or record why"
        );
        std::process::exit(1);
    }
}

fn recorded() -> BTreeMap<String, u64> {
    let text = std::fs::read_to_string(RECORD).unwrap_or_default();
    let line = |line: &str| {
        let (name, count) = line.rsplit_once(": ")?;
        Some((name.to_owned(), count.parse().ok()?))
    };
    text.lines().filter_map(line).collect()
}

/// What the program takes from its start to its end, with so many requests in between.
fn instructions(size: usize, fields: &str, requests: usize) -> u64 {
    let origin = origin(size);
    let directory = std::env::temp_dir().join(format!("staleproof-hit-path-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("a directory");
    let [port, admin] = free_ports();
    let file = directory.join("proxy.yaml");
    let yaml = format!(
        "server: {{ listen: \"127.0.0.1:{port}\", workers: 1 }}\nadmin: {{ listen: \"127.0.0.1:{admin}\" }}\n\
         store: {{ memory: {{ capacity: 64MiB }} }}\nupstreams: {{ app: {{ servers: [\"http://127.0.0.1:{origin}\"] }} }}\n\
         routes:\n  - {{ name: article, match: {{ path: \"/articles/{{slug}}\" }}, upstream: app, cache: {{ ttl: 1d }} }}\n  \
         - {{ name: rest, match: {{ path: \"/{{*rest}}\" }}, upstream: app }}\n"
    );
    std::fs::write(&file, yaml).expect("a file");
    let mut program = counted(&file);
    let told = program.stderr.take().expect("its standard error");
    let mut connection = connect(port, &mut program);
    let request =
        format!("GET /articles/of-usual-length?page=2 HTTP/1.1\r\nHost: www.example.com\r\n{fields}\r\n");
    for number in 0..=requests {
        connection.get_mut().write_all(request.as_bytes()).expect("a request");
        let head = read_response(&mut connection);
        assert!(number == 0 || head.contains("x-cache: HIT"), "{head}");
    }
    drop(connection);
    Command::new("kill").arg(program.id().to_string()).status().expect("a signal");
    program.wait().expect("an end");
    std::fs::remove_dir_all(&directory).expect("a directory of its own");
    let mut text = String::new();
    BufReader::new(told).read_to_string(&mut text).expect("text");
    let collected = text.lines().find_map(|line| line.split_once("Collected : ")).expect(&text);
    collected.1.trim().parse().expect(&text)
}

fn counted(file: &Path) -> Child {
    Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(PROGRAM)
        .args(["run", "--log", "error", "--config"])
        .arg(file)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("valgrind")
}

#[expect(clippy::disallowed_methods, reason = "a thread of its own waits for another process")]
fn connect(port: u16, program: &mut Child) -> BufReader<TcpStream> {
    loop {
        if let Ok(stream) = TcpStream::connect(("127.0.0.1", port)) {
            stream.set_nodelay(true).expect("an option");
            return BufReader::with_capacity(64 * 1024, stream);
        }
        assert!(program.try_wait().expect("a state").is_none(), "it has ended");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

fn read_response(connection: &mut BufReader<TcpStream>) -> String {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert_ne!(connection.read_line(&mut head).expect("a line"), 0, "it has closed the connection");
    }
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    connection.read_exact(&mut body).expect("a body");
    head
}

/// All are held until the last is known: asked for one by one, two can be the same.
fn free_ports<const COUNT: usize>() -> [u16; COUNT] {
    let held = [(); COUNT].map(|()| TcpListener::bind("127.0.0.1:0").expect("a free port"));
    held.map(|listener| listener.local_addr().expect("an address").port())
}

/// Answers whatever is asked with a page of this size.
fn origin(size: usize) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    let reply = format!(
        "HTTP/1.1 200 OK\r\nDate: Mon, 30 Nov 2026 12:00:00 GMT\r\nServer: app\r\nContent-Type: text/html; charset=utf-8\r\n\
         Cache-Control: public, max-age=86400\r\nETag: \"0123456789abcdef\"\r\nVary: Accept-Encoding\r\n\
         X-Content-Type-Options: nosniff\r\nReferrer-Policy: same-origin\r\nX-Frame-Options: DENY\r\n\
         Content-Length: {size}\r\n\r\n{}",
        "x".repeat(size)
    );
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut request = [0; 16 * 1024];
            while stream.read(&mut request).is_ok_and(|read| read > 0) {
                if stream.write_all(reply.as_bytes()).is_err() {
                    break;
                }
            }
        }
    });
    port
}
