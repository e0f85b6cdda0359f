//! What benches that compare proxies have in common: starting them, ending them, reading a figure.

#[allow(dead_code, reason = "not every bench compares with hits")]
pub mod beside;

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A proxy that takes part, ended when dropped.
pub struct Peer {
    pub name: &'static str,
    pub address: SocketAddr,
    child: Child,
    directory: PathBuf,
}

impl Drop for Peer {
    fn drop(&mut self) {
        // Both masters end their workers when they are told to end, not when they are killed.
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

impl Peer {
    /// Its own memory and that of its children, at the highest, in KiB.
    pub fn peak_kib(&self) -> u64 {
        let own = self.child.id().to_string();
        let status = |pid: &str| fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let field = |status: &str, name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
            line.trim().trim_end_matches(" kB").to_owned()
        };
        let is_own = |pid: &str| *pid == own || field(&status(pid), "PPid:") == own;
        fs::read_dir("/proc")
            .unwrap()
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()) && is_own(name))
            .map(|pid| field(&status(&pid), "VmHWM:").parse::<u64>().unwrap_or(0))
            .sum()
    }
}

/// An address that nobody listens on.
pub fn free_address() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// An empty directory for a peer.
pub fn directory(name: &str) -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("collapse-{name}"));
    let _ = fs::remove_dir_all(&directory);
    fs::create_dir_all(&directory).unwrap();
    directory
}

/// Starts a peer, and waits until it listens. `None`: it is not installed.
pub fn start(
    name: &'static str,
    address: SocketAddr,
    directory: PathBuf,
    command: &mut Command,
) -> Option<Peer> {
    let log = fs::File::create(directory.join("log")).unwrap();
    let child = command.stdout(log.try_clone().unwrap()).stderr(log).stdin(Stdio::null()).spawn().ok()?;
    let peer = Peer { name, address, child, directory };
    for _ in 0..200 {
        if std::net::TcpStream::connect(address).is_ok() {
            return Some(peer);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("{name} does not listen: {}", fs::read_to_string(peer.directory.join("log")).unwrap_or_default());
}

/// A quantile of sorted figures.
pub fn quantile(sorted: &[f64], share: f64) -> f64 {
    sorted
        .get(((sorted.len() as f64 * share) as usize).min(sorted.len().saturating_sub(1)))
        .copied()
        .unwrap_or(f64::NAN)
}

/// What the command line says for `--name`.
pub fn argument(name: &str, default: usize) -> usize {
    let mut arguments = std::env::args().skip_while(|argument| argument != name).skip(1);
    arguments.next().map_or(default, |value| value.parse().expect("a number"))
}
