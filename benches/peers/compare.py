#!/usr/bin/env python3
"""Staleproof beside its peers on this machine: requests per CPU-second of the proxy, latency, memory.

    compare.py [--seconds 3] [--rounds 5] [--only "hit 1 KiB;memory"] [--peers nginx,varnish,...] [--binary target/release/staleproof]
               [--install]

Whatever of h2o, nginx, HAProxy, Varnish and Traffic Server is installed takes part (--install: they are installed, by apt), with the
configurations in configurations/; and of Pingora, which is a library, what is made of it in pingora/, if it is built (--install: it is,
for which cmake is needed), where nothing is to be stored. nginx is the origin as well, wrk and h2load ask. The proxy has the first core for itself, all else has
the others. Rounds are interleaved: each scenario is run once by each proxy, then again. Only what is measured in one run can be compared:
machines differ, and so do hours. Ratios are medians of those of each round: how many times each peer's figure is ours. The last table is the
summary.
"""

import argparse
import contextlib
import http.client
import json
import os
import pathlib
import re
import resource
import shutil
import signal
import socket
import statistics
import string
import subprocess
import sys
import tempfile
import threading
import time

HERE = pathlib.Path(__file__).parent
TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
KIB = 1024

PACKAGES = "nginx-light haproxy h2o varnish trafficserver wrk nghttp2-client util-linux cmake"

PINGORA = HERE / "pingora" / "Cargo.toml"
PINGORA_TARGET = HERE.parent.parent / "target" / "pingora"

UNCACHED = "uncached 1 KiB"

# name: path, objects, connections
THROUGHPUT = {
    "hit 1 KiB": ("/objects/1024/", 1, 64),
    "hit 16 KiB": ("/objects/16384/", 1, 64),
    "hit 128 KiB": ("/objects/131072/", 1, 64),
    "hit 1 MiB": ("/objects/1048576/", 1, 16),
    "100,000 objects of 1 KiB": ("/objects/1024/", 100_000, 64),
    UNCACHED: ("/uncached/1024/", 1, 64),
}
HTTP2 = "HTTP/2 hit 1 KiB"
STEADY = "latency at 70 % of nginx"
MEMORY = "memory of 200,000 objects of 1 KiB"
IDLE = "memory of 10,000 idle connections"
CHURN = "memory while what is stored is replaced"
PURGES = "hits during 1,000 purges a second"
STORED = 200_000
CAPACITY = 2048  # MiB
SMALL_CAPACITY = 256
CONNECTIONS = 10_000


def free_ports(count):
    """Ports nobody listens on. All are held until the last is known: asked for one by one, two can be the same."""
    with contextlib.ExitStack() as held:
        probes = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [probe.getsockname()[1] for probe in probes]


def filled(name, directory, **values):
    """A configuration, in the directory."""
    text = string.Template((HERE / "configurations" / name).read_text())
    path = directory / name
    # nginx has variables of its own.
    path.write_text(text.safe_substitute(DIR=directory, **values))
    return path


def family(pid):
    """A process and its descendants."""
    known = [pid]
    for each in known:
        for tasks in pathlib.Path(f"/proc/{each}/task").glob("*/children"):
            known += [int(child) for child in tasks.read_text().split()]
    return known


def cpu_seconds(pid):
    total = 0
    for each in family(pid):
        fields = pathlib.Path(f"/proc/{each}/stat").read_text().rsplit(")", 1)[1].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICKS


def resident_bytes(pid):
    """What is theirs alone, and their shares of what is shared; of files that are nowhere but in memory all of it, touched or not."""
    total = 0
    for each in family(pid):
        rollup = pathlib.Path(f"/proc/{each}/smaps_rollup").read_text()
        in_files = sum(memory_file_bytes(file) for file in pathlib.Path(f"/proc/{each}/fd").iterdir())
        kib = {name: int(re.search(rf"^{name}:\s+(\d+)", rollup, re.M)[1]) for name in ("Pss", "Pss_Shmem")}
        total += (kib["Pss"] - (kib["Pss_Shmem"] if in_files else 0)) * KIB + in_files
    return total


def memory_file_bytes(file):
    with contextlib.suppress(OSError):
        if os.readlink(file).startswith("/memfd:"):
            return os.stat(file).st_blocks * 512
    return 0


class Process:
    """A program on a core, which is awaited and ended."""

    def __init__(self, name, port, command, core, directory, h2_port=None, admin_port=None):
        self.name, self.port, self.h2_port, self.admin_port = name, port, h2_port or port, admin_port
        with open(directory / f"{name}.log", "wb") as log:
            self.process = subprocess.Popen(
                ["taskset", "-c", core, *map(str, command)], stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )
        deadline = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                return
            except OSError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    sys.exit(f"{name} does not listen:\n{(directory / f'{name}.log').read_text()[-2000:]}")
                time.sleep(0.05)

    def url(self, path):
        return f"http://127.0.0.1:{self.port}{path}"

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def start(name, binary, directory, origin, capacity=CAPACITY):
    """One of them, if it is installed."""
    own = directory / f"{name.replace(' ', '-')}-{time.monotonic_ns()}"
    own.mkdir()
    own.chmod(0o777)
    port, h2_port, admin_port = free_ports(3)
    values = {"PORT": port, "ORIGIN_PORT": origin, "H2_PORT": h2_port, "ADMIN_PORT": admin_port, "CAPACITY": capacity}
    if name == "staleproof":
        if not binary.exists():
            sys.exit(f"{binary} is not there: cargo build --release")
        file = filled("staleproof.yaml", own, **values)
        command = [binary, "run", "--log", "warn", "--config", file]
        return Process(name, port, command, "0", own, admin_port=admin_port)
    if name.startswith("nginx") and shutil.which("nginx"):
        sendfile = "on" if "sendfile" in name else "off"
        command = ["nginx", "-p", own, "-c", filled("nginx.conf", own, SENDFILE=sendfile, **values)]
        return Process(name, port, command, "0", own, h2_port)
    if name == "haproxy" and shutil.which("haproxy"):
        return Process(name, port, ["haproxy", "-db", "-f", filled("haproxy.cfg", own, **values)], "0", own, h2_port)
    if name == "h2o" and shutil.which("h2o"):
        return Process(name, port, ["h2o", "-c", filled("h2o.conf", own, **values)], "0", own)
    if name == "varnish" and shutil.which("varnishd"):
        command = ["varnishd", "-F", "-n", own / "work", "-a", f"127.0.0.1:{port}", "-f", filled("varnish.vcl", own, **values),
                   "-s", f"malloc,{capacity}m", "-p", "thread_pools=1", "-p", "thread_pool_min=80", "-p", "feature=+http2"]
        return Process(name, port, command, "0", own)
    if name == "trafficserver" and shutil.which("traffic_server"):
        for part in ("etc", "cache", "run", "log"):
            (own / part).mkdir()
            (own / part).chmod(0o777)
        for file in ("records.config", "remap.config", "storage.config"):
            filled(file, own / "etc", ROOT=own, **values)
        for file in ("ip_allow.yaml", "plugin.config", "logging.yaml", "sni.yaml"):
            source = pathlib.Path("/etc/trafficserver") / file
            (own / "etc" / file).write_text(source.read_text() if source.exists() and file == "ip_allow.yaml" else "")
        root = filled("runroot.yaml", own, ROOT=own, **values)
        return Process(name, port, ["traffic_server", f"--run-root={root}"], "0", own)
    if name == "pingora" and (peer := PINGORA_TARGET / "release" / "pingora-peer").exists():
        return Process(name, port, [peer, f"127.0.0.1:{port}", f"127.0.0.1:{origin}"], "0", own)
    print(f"{name} is not installed, and does not take part", file=sys.stderr)
    return None


def asking(command, cores):
    return subprocess.run(["taskset", "-c", cores, *map(str, command)], capture_output=True, text=True, check=True).stdout


def load(proxy, path, objects, connections, seconds, cores):
    """Requests, failures, and latencies in microseconds."""
    told = asking(["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", HERE / "objects.lua", proxy.url("/"), "--", path, objects], cores)
    found = re.search(r"RESULT (\d+) (\d+) (\d+) (\d+) (\d+)", told)
    return [int(number) for number in found.groups()]


def fill(proxy, path, objects, cores, directory):
    """Asks once for each object."""
    asked = []
    # Each client begins with the first of its addresses.
    for part in range(min(objects, 8)):
        addresses = directory / f"{proxy.port}-{objects}-{part}.txt"
        numbers = range(part + 1, objects + 1, 8)
        addresses.write_text("".join(f"{proxy.url(path)}{number}\n" for number in numbers))
        command = ["taskset", "-c", cores, "h2load", "--h1", "-n", str(len(numbers)), "-c", "1", "-i", addresses]
        asked.append((len(numbers), subprocess.Popen(command, stdout=subprocess.PIPE, text=True)))
    for wanted, process in asked:
        told = process.communicate()[0]
        assert f"status codes: {wanted} 2xx" in told, f"{proxy.name}: {told}"


def make_links(directory, site):
    """The same objects as files, for who has no cache of what it is a proxy of."""
    for size, objects in ((1024, 100_000), (16384, 1), (131072, 1), (1048576, 1)):
        links = directory / "links" / str(size)
        links.mkdir(parents=True)
        for number in range(1, objects + 1):
            (links / str(number)).symlink_to(site / str(size))


def storing(running):
    """Those that have a cache."""
    return [proxy for proxy in running if proxy.name != "pingora"]


class Comparison:
    def __init__(self, asked, cores, directory, origin):
        self.asked, self.cores, self.directory, self.origin = asked, cores, directory, origin
        self.names = asked.peers.split(",")
        self.summary = {}

    def fresh(self):
        """All of them, just started."""
        started = [start(name, self.asked.binary.resolve(), self.directory, self.origin) for name in self.names]
        return [proxy for proxy in started if proxy]

    def interleaved(self, running, measure):
        """What each of them did in each round, per CPU-second of its own and per second of the clock."""
        figures = {proxy.name: [] for proxy in running}
        for _ in range(self.asked.rounds):
            for proxy in running:
                began, used = time.monotonic(), cpu_seconds(proxy.process.pid)
                requests, failed, *latencies = measure(proxy)
                used, took = cpu_seconds(proxy.process.pid) - used, time.monotonic() - began
                if failed:
                    print(f"{proxy.name}: {failed} of {requests} failed", file=sys.stderr)
                figures[proxy.name].append((requests / max(used, 0.01) / 1000, requests / took / 1000, *latencies))
        return figures

    def tell(self, title, figures):
        print(f"\n{title}; {self.asked.rounds} rounds of {self.asked.seconds} s")
        print(f"{'':<16} {'k/CPU-s':>8} {'min':>7} {'max':>7} {'ratio':>6} {'k/s':>7} {'p50 µs':>7} {'p99 µs':>7} {'p99.9':>7}")
        ours = next(iter(figures.values()))
        for name, rows in figures.items():
            # Of each round by itself: from one to the next the machine may be another.
            ratio = statistics.median(own[0] / max(row[0], 0.001) for own, row in zip(ours, rows))
            median = [statistics.median(column) for column in zip(*rows)]
            per_cpu = [row[0] for row in rows]
            latencies = "".join(f" {latency:>7.0f}" for latency in median[2:])
            print(f"{name:<16} {median[0]:>8.1f} {min(per_cpu):>7.1f} {max(per_cpu):>7.1f} {ratio:>6.2f} {median[1]:>7.1f}{latencies}",
                  flush=True)
            self.summary.setdefault(title, {})[name] = ratio

    def throughput(self, running, name):
        path, objects, connections = THROUGHPUT[name]
        running = running if name == UNCACHED else storing(running)
        for proxy in running:
            fill(proxy, path, objects, self.cores, self.directory)
        measure = lambda proxy: load(proxy, path, objects, connections, self.asked.seconds, self.cores)
        self.tell(name, self.interleaved(running, measure))

    def http2(self, running):
        """Eight connections of 32 streams each, with prior knowledge."""
        able = [proxy for proxy in storing(running) if proxy.name not in ("trafficserver", "nginx sendfile")]

        def measure(proxy):
            told = asking(["h2load", "-D", self.asked.seconds, "-c", 8, "-m", 32, f"http://127.0.0.1:{proxy.h2_port}/objects/1024/1"], self.cores)
            succeeded = int(re.search(r"status codes: (\d+) 2xx", told)[1])
            return [succeeded, int(re.search(r"(\d+) failed", told)[1])]

        for proxy in able:
            fill(proxy, "/objects/1024/", 1, self.cores, self.directory)
        self.tell(HTTP2, self.interleaved(able, measure))

    def steady(self, running):
        """The same rate for all, whether they have answered or not."""
        reference = [proxy for proxy in running if proxy.name == "nginx"] or running[:1]
        for proxy in running:
            fill(proxy, "/objects/1024/", 1, self.cores, self.directory)
        requests, *_ = load(reference[0], "/objects/1024/", 1, 64, self.asked.seconds, self.cores)
        each = max(1, int(requests / self.asked.seconds * 0.7 / 64))

        def measure(proxy):
            log = self.directory / "steady.log"
            log.unlink(missing_ok=True)
            asking(["h2load", "--h1", "-D", self.asked.seconds, "-c", 64, f"--rps={each}", f"--log-file={log}", proxy.url("/objects/1024/1")],
                   self.cores)
            rows = [line.split() for line in log.read_text().splitlines()]
            took = sorted(int(row[2]) for row in rows)
            failed = sum(row[1] != "200" for row in rows)
            return [len(took), failed, *(took[int(len(took) * share)] for share in (0.5, 0.99, 0.999))]

        self.tell(f"{STEADY}, {each * 64} a second", self.interleaved(running, measure))

    def each_alone(self, title, unit, measure, without=(), capacity=CAPACITY):
        """A figure of each, in a process of its own."""
        print(f"\n{title}")
        figures = {}
        for name in (name for name in self.names if name not in ("pingora", *without)):
            if (proxy := start(name, self.asked.binary.resolve(), self.directory, self.origin, capacity)) is None:
                continue
            try:
                figures[name] = measure(proxy)
            finally:
                proxy.stop()
            print(f"{name:<16} {figures[name]:>8.0f} {unit}", flush=True)
        ours = next(iter(figures.values()))
        self.summary[title] = {name: figure / max(ours, 1) for name, figure in figures.items()}

    def memory(self):
        def measure(proxy):
            fill(proxy, "/objects/1024/", 1, self.cores, self.directory)
            before = resident_bytes(proxy.process.pid)
            fill(proxy, "/objects/1024/", STORED, self.cores, self.directory)
            return (resident_bytes(proxy.process.pid) - before) / STORED

        # What h2o serves here are files.
        self.each_alone(MEMORY, "bytes for each, its 1024 included", measure, ["h2o", "nginx sendfile"])

    def idle(self):
        def measure(proxy):
            fill(proxy, "/objects/1024/", 1, self.cores, self.directory)
            request = f"GET /objects/1024/1 HTTP/1.1\r\nHost: 127.0.0.1:{proxy.port}\r\n\r\n".encode()
            before, kept = resident_bytes(proxy.process.pid), []
            for _ in range(CONNECTIONS):
                connection = socket.create_connection(("127.0.0.1", proxy.port))
                connection.sendall(request)
                received = connection.recv(65536)
                while len(received) < 1024:
                    received += connection.recv(65536)
                kept.append(connection)
            # Long enough for whoever tidies up, and not for who closes what is idle.
            time.sleep(3)
            after = resident_bytes(proxy.process.pid)
            for connection in kept:
                connection.close()
            return (after - before) / CONNECTIONS

        self.each_alone(IDLE, "bytes for each", measure)

    def churn(self):
        """Many times what fits, in sizes that do not fit into each other's places."""

        def measure(proxy):
            received, largest = 0, 0
            for _ in range(10 * self.asked.rounds):
                told = asking(["wrk", "-t1", "-c32", f"-d{self.asked.seconds}s", "-s", HERE / "churn.lua", proxy.url("/")], self.cores)
                found = re.search(r"RESULT (\d+) (\d+) (\d+)", told)
                received += int(found[3])
                largest = max(largest, resident_bytes(proxy.process.pid))
            print(f"{proxy.name}: {received / SMALL_CAPACITY / KIB / KIB:.0f} times the capacity; {largest / KIB / KIB:.0f} MiB at most")
            return resident_bytes(proxy.process.pid) / SMALL_CAPACITY / KIB / KIB * 100

        unbounded = [name for name in self.names if name not in ("staleproof", "varnish")]
        self.each_alone(CHURN, f"% of a capacity of {SMALL_CAPACITY} MiB", measure, unbounded, SMALL_CAPACITY)

    def purges(self, running):
        """Of those that can be purged."""
        able = [proxy for proxy in storing(running) if proxy.name in ("staleproof", "varnish")]
        for proxy in able:
            fill(proxy, "/objects/1024/", 1, self.cores, self.directory)

        def measure(proxy):
            with Purger(proxy) as purger:
                return load(proxy, "/objects/1024/", 1, 64, self.asked.seconds, self.cores) if purger else []

        quiet = self.interleaved(able, lambda proxy: load(proxy, "/objects/1024/", 1, 64, self.asked.seconds, self.cores))
        purged = self.interleaved(able, measure)
        self.tell(PURGES, purged)
        for proxy in able:
            rate = statistics.median(row[1] for row in purged[proxy.name]) / statistics.median(row[1] for row in quiet[proxy.name])
            print(f"{proxy.name}: {rate:.2f} of the rate without")


class Purger:
    """Purges a thousand times a second what nobody asks for."""

    def __init__(self, proxy):
        self.proxy, self.over = proxy, threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()

    def run(self):
        port = self.proxy.admin_port or self.proxy.port
        connection, number = http.client.HTTPConnection("127.0.0.1", port), 0
        due = time.monotonic()
        while not self.over.is_set():
            number += 1
            path = f"/objects/1024/none-{number}"
            if self.proxy.admin_port:
                fields = {"Authorization": "Bearer compare", "Content-Type": "application/json"}
                connection.request("POST", "/v1/purge", body=json.dumps({"url": self.proxy.url(path)}), headers=fields)
            else:
                connection.request("PURGE", path)
            answer = connection.getresponse()
            answer.read()
            assert answer.status == 200, answer.status
            due += 0.001
            time.sleep(max(0, due - time.monotonic()))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="", help="scenarios whose names have one of these words, with semicolons between")
    parser.add_argument("--peers", default="staleproof,h2o,nginx,nginx sendfile,haproxy,varnish,trafficserver,pingora")
    parser.add_argument("--binary", type=pathlib.Path, default=HERE.parent.parent / "target/release/staleproof")
    parser.add_argument("--install", action="store_true", help="install the peers, by apt and cargo")
    asked = parser.parse_args()
    if asked.install:
        subprocess.run(["apt-get", "install", "-y", "--no-install-recommends", *PACKAGES.split()], check=True)
        command = ["cargo", "build", "--release", "--locked", "--manifest-path", PINGORA, "--target-dir", PINGORA_TARGET]
        subprocess.run(command, check=True)
    for program in ("nginx", "wrk", "h2load", "taskset"):
        if not shutil.which(program):
            sys.exit(f"{program} is needed: apt-get install {PACKAGES}, or --install")
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    cores = f"1-{os.cpu_count() - 1}" if os.cpu_count() > 1 else "0"
    words = [word for word in asked.only.split(";") if word]
    wanted = [name for name in [*THROUGHPUT, HTTP2, STEADY, PURGES, MEMORY, IDLE, CHURN] if not words or any(word in name for word in words)]
    with tempfile.TemporaryDirectory() as scratch:
        directory = pathlib.Path(scratch)
        # The peers may run as somebody else.
        directory.chmod(0o755)
        site = directory / "site"
        site.mkdir()
        for size in (1024, 16384, 131072, 1048576):
            (site / str(size)).write_bytes(os.urandom(size // 2).hex().encode())
        make_links(directory, site)
        [origin_port] = free_ports(1)
        file = filled("origin.conf", directory, ORIGIN_PORT=origin_port)
        origin = Process("origin", origin_port, ["nginx", "-p", directory, "-c", file], cores, directory)
        comparison, running = Comparison(asked, cores, directory, origin_port), []
        try:
            if any(name not in (MEMORY, IDLE, CHURN) for name in wanted):
                running = comparison.fresh()
            for name in wanted:
                match name:
                    case n if n in THROUGHPUT:
                        comparison.throughput(running, name)
                    case n if n == HTTP2:
                        comparison.http2(running)
                    case n if n == STEADY:
                        comparison.steady(storing(running))
                    case n if n == PURGES:
                        comparison.purges(storing(running))
            for process in running:
                process.stop()
            running = []
            if MEMORY in wanted:
                comparison.memory()
            if IDLE in wanted:
                comparison.idle()
            if CHURN in wanted:
                comparison.churn()
        finally:
            for process in [*running, origin]:
                process.stop()
    names = comparison.names
    print("\n| ours beside theirs |" + "".join(f" {name} |" for name in names[1:]) + "\n|---|" + "---|" * len(names[1:]))
    for title, ratios in comparison.summary.items():
        print(f"| {title} |" + "".join(f" {ratios[name]:.2f} |" if name in ratios else " |" for name in names[1:]))


if __name__ == "__main__":
    main()
