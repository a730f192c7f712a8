# The two commands of the README are `make demo` and `make test`; `make check` is for before a commit.
# Everything runs with --release: one profile, so that RocksDB and librdkafka are compiled once.

CARGO := cargo
CARGO_FLAGS := --release --workspace --locked
export TRIPLINE_CACHE ?= $(HOME)/.cache/tripline
export CARGO_TARGET_DIR ?= $(TRIPLINE_CACHE)/target
BIN := $(CARGO_TARGET_DIR)/release/tripline

.PHONY: help demo test check fmt lint doc rules bench soak build setup clean

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
	@$(MAKE) --no-print-directory rules

build: setup ## Build the program
	$(CARGO) build $(CARGO_FLAGS)

check: fmt lint doc test ## Everything that must pass before a commit

fmt:
	$(CARGO) fmt --all --check

lint: setup
	$(CARGO) clippy $(CARGO_FLAGS) --all-targets -- -D warnings

doc: setup
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc $(CARGO_FLAGS) --no-deps

rules: ## Check and test the shipped rules
	$(CARGO) build $(CARGO_FLAGS)
	$(BIN) check rules/
	$(BIN) test rules/

bench: setup ## Measure the engine
	$(CARGO) bench --workspace --locked

soak: setup ## The long form of the randomised tests (hours)
	@scripts/setup.sh kafka
	TRIPLINE_SEEDS=$${TRIPLINE_SEEDS:-2000} TRIPLINE_KILLS=$${TRIPLINE_KILLS:-500} $(CARGO) test $(CARGO_FLAGS) -- --nocapture

clean:
	$(CARGO) clean
