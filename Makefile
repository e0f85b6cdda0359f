# The one door to every task.

CARGO ?= cargo
# nextest where it is installed; it runs each test in a process of its own.
TESTER := $(shell command -v cargo-nextest >/dev/null 2>&1 && echo "nextest run --no-fail-fast" || echo "test --no-fail-fast")

.PHONY: test unit doctest django openapi conformance lint fmt doc deny advisories run demo bench bench-policies bench-collapse bench-purge bench-deliveries bench-peers fuzz clean

# Every test. Installs what they need under target/: Django and schemathesis, in virtual environments of their own, and the
# HTTP cache test suite, from npm.
test: unit doctest django openapi conformance

unit:
	$(CARGO) $(TESTER) --workspace --tests

doctest:
	$(CARGO) test --doc

# A real Django app behind the release binary.
django:
	$(CARGO) build --release
	tests/django/run

# The admin API against its description, docs/openapi.yaml.
openapi:
	$(CARGO) build --release
	tests/openapi/run

# The public HTTP cache test suite. SUITE=directory: a checkout of a newer one, with its dependencies installed.
conformance:
	$(CARGO) build --release
	tests/conformance/run $(if $(SUITE),--suite $(SUITE))

lint:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings

fmt:
	$(CARGO) fmt

doc:
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --no-deps --document-private-items

# Licences, duplicate versions and sources; needs cargo-deny.
deny:
	$(CARGO) deny check licenses bans sources

# Known vulnerabilities of dependencies. Not part of .ci/run: it needs the network, and its verdict on one and the same
# commit changes from day to day.
advisories:
	$(CARGO) deny check advisories

run:
	$(CARGO) run --release -- run

demo:
	$(CARGO) run --release -- demo

# What a hit costs, in instructions; fails if it is 5 % more than benches/hit_path.txt says.
bench:
	command -v valgrind >/dev/null || { apt-get update && apt-get install -y --no-install-recommends valgrind; } || true
	$(CARGO) build --release
	rustc --edition 2024 -O -o target/hit_path benches/hit_path.rs
	target/hit_path $(ARGUMENTS)

# What a full store keeps, by policy.
bench-policies:
	$(CARGO) bench --bench policies

# A crowd at a cold object, beside nginx and Varnish where they are installed.
bench-collapse:
	$(CARGO) bench --bench collapse

# Readers against purges, beside Varnish where it is installed; fails if an answer is older than an acknowledged purge. Then
# what purges cost, by how much is stored and how much they match.
bench-purge:
	$(CARGO) bench --bench purge_race
	$(CARGO) bench --bench purge_cost

# Staleproof beside nginx, HAProxy, h2o and Varnish, where they are installed: requests per CPU-second, latency, memory.
bench-peers:
	$(CARGO) build --release
	benches/peers/compare.py $(ARGUMENTS)

# Hits beside a thousand deliveries a second.
bench-deliveries:
	$(CARGO) bench --bench deliveries

# Every fuzz target for a minute; needs cargo-fuzz and a nightly toolchain. FUZZ_SECONDS=3600: for longer.
FUZZ_SECONDS ?= 60
fuzz:
	set -e; for target in $$($(CARGO) fuzz list); do \
	  $(CARGO) +nightly fuzz run --sanitizer none $$target -- -max_total_time=$(FUZZ_SECONDS) -max_len=512; \
	done

clean:
	$(CARGO) clean
