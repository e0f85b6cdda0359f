#!/usr/bin/env python3
"""Staleproof beside its peers on this machine: requests per CPU-second of the proxy, latency, memory.

    compare.py [--seconds 3] [--rounds 5] [--only hit-1k,...] [--peers nginx,varnish,...] [--binary target/release/staleproof]

Whatever of h2o, nginx, HAProxy and Varnish is installed takes part, with the configurations in configurations/. nginx is the origin as well, and
wrk asks. The proxy has the first core for itself, all else has the others. Rounds are interleaved: each scenario is run once by each
proxy, then again. Only what is measured in one run can be compared: machines differ, and so do hours.
"""

import argparse
import os
import pathlib
import re
import shutil
import signal
import socket
import statistics
import string
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).parent
TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
KIB = 1024

# name: path, objects, connections
SCENARIOS = {
    "hit 1 KiB": ("/objects/1024/", 1, 64),
    "hit 16 KiB": ("/objects/16384/", 1, 64),
    "hit 128 KiB": ("/objects/131072/", 1, 64),
    "hit 1 MiB": ("/objects/1048576/", 1, 16),
    "100,000 objects of 1 KiB": ("/objects/1024/", 100_000, 64),
    "uncached 1 KiB": ("/uncached/1024/", 1, 64),
}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


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
    """What is theirs alone, and their shares of what is shared."""
    total = 0
    for each in family(pid):
        rollup = pathlib.Path(f"/proc/{each}/smaps_rollup").read_text()
        total += int(re.search(r"^Pss:\s+(\d+)", rollup, re.M)[1]) * KIB
    return total


class Process:
    def __init__(self, name, port, command, core, directory, **environment):
        self.name, self.port = name, port
        with open(directory / f"{name}.log", "wb") as log:
            self.process = subprocess.Popen(
                ["taskset", "-c", core, *map(str, command)],
                stdout=log, stderr=log, stdin=subprocess.DEVNULL, env={**os.environ, **environment},
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

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()


def peers(wanted, binary, directory, origin):
    """What is installed of them, started."""
    first = "0"
    for name in wanted:
        port, own = free_port(), directory / name.replace(" ", "-")
        own.mkdir()
        values = {"PORT": port, "ORIGIN_PORT": origin}
        if name == "staleproof":
            if not binary.exists():
                sys.exit(f"{binary} is not there: cargo build --release")
            file = filled("staleproof.yaml", own, ADMIN_PORT=free_port(), **values)
            command = [binary, "run", "--log", "warn", "--config", file]
        elif name.startswith("nginx") and shutil.which("nginx"):
            sendfile = "on" if "sendfile" in name else "off"
            command = ["nginx", "-p", own, "-c", filled("nginx.conf", own, SENDFILE=sendfile, **values)]
        elif name == "haproxy" and shutil.which("haproxy"):
            command = ["haproxy", "-db", "-f", filled("haproxy.cfg", own, **values)]
        elif name == "h2o" and shutil.which("h2o"):
            command = ["h2o", "-c", filled("h2o.conf", own, **values)]
        elif name == "varnish" and shutil.which("varnishd"):
            vcl = filled("varnish.vcl", own, **values)
            command = ["varnishd", "-F", "-n", own / "work", "-a", f"127.0.0.1:{port}", "-f", vcl, "-s", "malloc,2g",
                       "-p", "thread_pools=1", "-p", "thread_pool_min=80"]
        else:
            print(f"{name} is not installed, and does not take part", file=sys.stderr)
            continue
        yield Process(name, port, command, first, own)


def load(proxy, path, objects, connections, seconds, cores):
    """Requests, failures, and latencies in microseconds."""
    command = ["taskset", "-c", cores, "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", str(HERE / "objects.lua"),
               f"http://127.0.0.1:{proxy.port}/", "--", path, str(objects)]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.search(r"RESULT (\d+) (\d+) (\d+) (\d+) (\d+)", told)
    return [int(number) for number in found.groups()]


def fill(proxy, path, objects):
    """Asks once for each object, over a few connections."""
    import concurrent.futures
    import http.client

    def some(numbers):
        connection = http.client.HTTPConnection("127.0.0.1", proxy.port)
        for number in numbers:
            connection.request("GET", f"{path}{number}", headers={"Host": f"127.0.0.1:{proxy.port}"})
            answer = connection.getresponse()
            answer.read()
            assert answer.status == 200, f"{proxy.name}: {answer.status}"

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        list(pool.map(some, [range(part + 1, objects + 1, 4) for part in range(4)]))


def make_links(directory, site):
    """The same objects as files, for who has no cache of what it is a proxy of."""
    for size, objects in ((1024, 100_000), (16384, 1), (131072, 1), (1048576, 1)):
        links = directory / "links" / str(size)
        links.mkdir(parents=True)
        for number in range(1, objects + 1):
            (links / str(number)).symlink_to(site / str(size))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="", help="scenarios whose names have one of these words, with commas between")
    parser.add_argument("--peers", default="staleproof,h2o,nginx,nginx sendfile,haproxy,varnish")
    parser.add_argument("--binary", type=pathlib.Path, default=HERE.parent.parent / "target/release/staleproof")
    asked = parser.parse_args()
    for program in ("nginx", "wrk", "taskset"):
        if not shutil.which(program):
            sys.exit(f"{program} is needed: apt-get install nginx-light wrk util-linux")
    cores = f"1-{os.cpu_count() - 1}" if os.cpu_count() > 1 else "0"
    words = [word for word in asked.only.split(",") if word]
    wanted = {name: what for name, what in SCENARIOS.items() if not words or any(word in name for word in words)}
    with tempfile.TemporaryDirectory() as scratch:
        directory = pathlib.Path(scratch)
        # The peers may run as somebody else.
        directory.chmod(0o755)
        site = directory / "site"
        site.mkdir()
        for size in (1024, 16384, 131072, 1048576):
            (site / str(size)).write_bytes(os.urandom(size // 2).hex().encode())
        make_links(directory, site)
        origin_port = free_port()
        file = filled("origin.conf", directory, ORIGIN_PORT=origin_port)
        origin = Process("origin", origin_port, ["nginx", "-p", directory, "-c", file], cores, directory)
        running = []
        try:
            for proxy in peers(asked.peers.split(","), asked.binary.resolve(), directory, origin_port):
                running.append(proxy)
            for name, (path, objects, connections) in wanted.items():
                compare(name, running, path, objects, connections, asked, cores)
        finally:
            for process in [*running, origin]:
                process.stop()


def compare(name, running, path, objects, connections, asked, cores):
    before = {proxy.name: resident_bytes(proxy.process.pid) for proxy in running}
    for proxy in running:
        fill(proxy, path, objects)
    figures = {proxy.name: [] for proxy in running}
    for _ in range(asked.rounds):
        for proxy in running:
            began, used = time.monotonic(), cpu_seconds(proxy.process.pid)
            requests, failed, *latencies = load(proxy, path, objects, connections, asked.seconds, cores)
            used, took = cpu_seconds(proxy.process.pid) - used, time.monotonic() - began
            if failed:
                print(f"{proxy.name}: {failed} of {requests} failed", file=sys.stderr)
            figures[proxy.name].append((requests / max(used, 0.01) / 1000, requests / took / 1000, *latencies))
    print(f"\n{name}, {connections} connections, {asked.rounds} rounds of {asked.seconds} s")
    print(f"{'':<16} {'k/CPU-s':>8} {'min':>7} {'max':>7} {'ratio':>6} {'k/s':>7} {'p50 µs':>7} {'p99 µs':>7} {'p99.9':>7} {'MiB':>7}")
    ours = statistics.median(row[0] for row in figures[running[0].name])
    for proxy in running:
        rows = figures[proxy.name]
        median = [statistics.median(column) for column in zip(*rows)]
        grown = resident_bytes(proxy.process.pid) - before[proxy.name]
        per_cpu = [row[0] for row in rows]
        print(f"{proxy.name:<16} {median[0]:>8.1f} {min(per_cpu):>7.1f} {max(per_cpu):>7.1f} {ours / median[0]:>6.2f} {median[1]:>7.1f}"
              f" {median[2]:>7.0f} {median[3]:>7.0f} {median[4]:>7.0f} {grown / KIB / KIB:>7.1f}", flush=True)


if __name__ == "__main__":
    main()
