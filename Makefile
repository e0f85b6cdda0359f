# The one door to every task.

CARGO ?= cargo
# nextest where it is installed; it runs each test in a process of its own.
TESTER := $(shell command -v cargo-nextest >/dev/null 2>&1 && echo "nextest run --no-fail-fast" || echo "test --no-fail-fast")

.PHONY: test unit doctest django lint fmt doc deny run demo bench clean

# Every test. Installs what they need: Django, in a virtual environment of its own under target/.
test: unit doctest django

unit:
	$(CARGO) $(TESTER) --lib --bins --tests

doctest:
	$(CARGO) test --doc

# A real Django app behind the release binary.
django:
	$(CARGO) build --release
	tests/django/run

lint:
	$(CARGO) fmt --check
	$(CARGO) clippy --all-targets -- -D warnings

fmt:
	$(CARGO) fmt

doc:
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --no-deps --document-private-items

# Licences, advisories and duplicate versions; needs cargo-deny.
deny:
	$(CARGO) deny check

run:
	$(CARGO) run --release -- run

demo:
	$(CARGO) run --release -- demo

bench:
	$(CARGO) bench

clean:
	$(CARGO) clean
