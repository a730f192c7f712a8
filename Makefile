# The two commands of the README are `make demo` and `make test`; `make check` is for before a commit.
# Everything runs with --release: one profile, so that RocksDB and librdkafka are compiled once.

CARGO := cargo
CARGO_FLAGS := --release --workspace --locked
export TRIPLINE_CACHE ?= $(HOME)/.cache/tripline
export CARGO_TARGET_DIR ?= $(TRIPLINE_CACHE)/target
BIN := $(CARGO_TARGET_DIR)/release/tripline
FAULTS := --features fault-points --test points --test clock -- --test-threads 6

.PHONY: help demo test points check fmt lint doc rules bench fuzz soak deb build setup clean

help: ## Show what there is to make
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 10

setup:
	@scripts/setup.sh build

demo: setup ## Install what is missing, build, watch this machine for some seconds, show an alert
	@scripts/setup.sh demo
	$(CARGO) build $(CARGO_FLAGS)
	@scripts/demo.sh $(BIN)

test: setup ## Run all tests, a real Kafka among them
	@scripts/setup.sh kafka
	$(CARGO) test $(CARGO_FLAGS)
	@$(MAKE) --no-print-directory points
	@$(MAKE) --no-print-directory rules

# The tests' program takes the place of the one for people, so that one is linked again whatever the tests say. Should even
# that be cut off, `tripline --version` tells the two apart, and `make deb` refuses the wrong one.
points: setup ## Kill the program at each named point and set its clock, which takes a program that obeys tests
	@scripts/setup.sh kafka
	@status=0; $(CARGO) test $(CARGO_FLAGS) $(FAULTS) || status=$$?; $(CARGO) build $(CARGO_FLAGS) && exit $$status

build: setup ## Build the program
	$(CARGO) build $(CARGO_FLAGS)

check: fmt lint doc test ## Everything that must pass before a commit

fmt:
	$(CARGO) fmt --all --check

lint: setup
	$(CARGO) clippy $(CARGO_FLAGS) --all-targets -- -D warnings
	$(CARGO) clippy $(CARGO_FLAGS) --all-targets --features fault-points -- -D warnings

doc: setup
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc $(CARGO_FLAGS) --no-deps

rules: setup ## Check and test the shipped rules
	$(CARGO) build $(CARGO_FLAGS)
	$(BIN) check rules/
	$(BIN) test rules/

bench: setup ## Measure the engine
	$(CARGO) bench --workspace --locked

fuzz: setup ## An hour of mutated input for each fuzz target of the engine, one after the other (TRIPLINE_FUZZ_SECONDS)
	TRIPLINE_FUZZ_SECONDS=$${TRIPLINE_FUZZ_SECONDS:-3600} $(CARGO) test --release --locked -p tripline-engine --test fuzz -- --nocapture --test-threads 1

soak: setup ## An hour of `tripline run` under kills (TRIPLINE_SOAK_SECONDS), then the long form of the randomised tests (hours)
	@scripts/setup.sh kafka
	TRIPLINE_SOAK_SECONDS=$${TRIPLINE_SOAK_SECONDS:-3600} $(CARGO) test $(CARGO_FLAGS) --test soak -- --nocapture
	TRIPLINE_RUNS=$${TRIPLINE_RUNS:-100000} $(CARGO) test $(CARGO_FLAGS) -p tripline-collector --test leaks -- --nocapture
	TRIPLINE_KILLS=$${TRIPLINE_KILLS:-500} $(MAKE) --no-print-directory points
	TRIPLINE_SEEDS=$${TRIPLINE_SEEDS:-2000} TRIPLINE_KILLS=$${TRIPLINE_KILLS:-500} $(CARGO) test $(CARGO_FLAGS) -- --nocapture

PACKAGED := $(CARGO_TARGET_DIR)/release/packaged

deb: build ## Build a Debian package (needs cargo-deb and dpkg-dev)
	@$(CARGO) deb --version >/dev/null 2>&1 || { echo "cargo-deb is missing: cargo install cargo-deb --locked" >&2; exit 1; }
	@$(BIN) --version | grep -qv 'compiled for tests' || { echo "$(BIN) was compiled for tests: make build" >&2; exit 1; }
	$(BIN) man $(PACKAGED)/man
	$(BIN) completions bash > $(PACKAGED)/tripline.bash
	$(BIN) completions zsh > $(PACKAGED)/_tripline
	$(BIN) completions fish > $(PACKAGED)/tripline.fish
	$(CARGO) deb --no-build --locked --strip

clean:
	$(CARGO) clean
