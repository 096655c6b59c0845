# The only place that knows in which order things are built: the component first, then `kai`, which embeds it.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help component build release package demo test browser lint packaging cargo-deny dependencies audit openapi format goldens fuzz simulate soak bench bench-peers clean

CARGO ?= cargo
TARGET_DIR := $(abspath $(or $(CARGO_TARGET_DIR),target))
COMPONENT := $(TARGET_DIR)/wasm32-wasip2/component/confluence_connector.wasm

# Read by the build script of `kai` and by the tests that load the real artifact.
export KAI_COMPONENT := $(COMPONENT)

help: ## Print the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# rustup reads the target from rust-toolchain.toml only when it installs the toolchain, not when that is there already.
component: ## Build the WebAssembly component
	@! command -v rustup >/dev/null || rustup --quiet target add wasm32-wasip2
	$(CARGO) build --locked --quiet --profile component --target wasm32-wasip2 -p confluence-connector

# With the examples come the features that tests ask of dependencies, so that `make test` compiles none of them anew.
build: component ## Build kai with the component inside (target/debug/kai)
	$(CARGO) build --locked --workspace --lib --bins --examples

release: component ## Build kai with all optimisations (target/release/kai)
	$(CARGO) build --locked --release -p kai

# The smoke test needs no rights and installs nothing; with them it uses what was unpacked as nobody.
package: release ## Make a Debian package of kai and try it (target/debian); needs cargo-deb and Debian's dpkg-dev
	@$(CARGO) deb --version >/dev/null 2>&1 || { echo "cargo-deb is missing: cargo install --locked cargo-deb" >&2; exit 1; }
	rm -f $(TARGET_DIR)/debian/kai_*.deb
	$(CARGO) deb --no-build --strip --package kai --output $(TARGET_DIR)/debian/
	packaging/smoke-test.sh $(TARGET_DIR)/debian/kai_*.deb

demo: build ## Sync a simulated Confluence site end to end and show the result
	$(TARGET_DIR)/debug/kai demo

test: component ## Run every test that needs no network
	$(CARGO) test --locked --workspace

# Chromium is Debian's package, or what CHROMIUM names.
export CHROMIUM ?= $(or $(shell command -v chromium),/usr/bin/chromium)
browser: build ## Use the pages of the service in a real browser; needs node 20, npm and chromium
	@for tool in node npm "$(CHROMIUM)"; do command -v "$$tool" >/dev/null || \
		{ echo "$$tool is missing: on Debian, apt-get install nodejs npm chromium" >&2; exit 1; }; done
	@node --eval 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)' || { echo "node $$(node --version) is too old: 20 is needed" >&2; exit 1; }
	cd tests/browser && npm ci --silent --no-audit --no-fund --prefer-offline && npm test --silent

# Needs the network when it installs its tools, in versions that tests/openapi/ names.
openapi: build ## Check the API and its description by a linter and by generated requests; needs python3-venv
	tests/openapi/check.sh $(TARGET_DIR)/debug $(TARGET_DIR)/openapi

lint: component dependencies packaging ## Check format, lints, documentation, dependencies and packaging; warnings are errors
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	$(CARGO) clippy --locked -p confluence-connector --target wasm32-wasip2 -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --workspace --no-deps --document-private-items

packaging: ## Check Dockerfile, systemd unit, manual page and scripts, by tools that are installed
	@packaging/check.sh

# Not a part of the build, so nobody needs it who only builds.
cargo-deny:
	@$(CARGO) deny --version >/dev/null 2>&1 || { echo "cargo-deny is missing: cargo install --locked cargo-deny" >&2; exit 1; }

# `deny.toml` says what may be depended on.
dependencies: cargo-deny ## Check licences, sources and duplicate versions of all dependencies; needs cargo-deny
	$(CARGO) deny --locked --workspace check --hide-inclusion-graph licenses bans sources

# Needs the network: the database of advisories lies elsewhere.
audit: cargo-deny ## Check all dependencies for known vulnerabilities; needs cargo-deny and the network
	@log=$$(mktemp); trap 'rm -f '"$$log" EXIT; \
	if $(CARGO) deny --locked --workspace check advisories >"$$log" 2>&1; then cat "$$log"; \
	elif grep -q "failed to fetch advisory database" "$$log"; then \
		echo "NOT AUDITED: the database of advisories cannot be reached:" >&2; grep -m 1 "failed to fetch" "$$log" >&2; exit 2; \
	else cat "$$log" >&2; exit 1; fi

format: ## Format the code
	$(CARGO) fmt --all

goldens: ## Write the expected Markdown of every golden case anew; read the diff before you commit it
	UPDATE_GOLDENS=1 $(CARGO) test --locked -p confluence-connector --test golden

# The goldens are where it begins. Leaving one core to others: FUZZ_JOBS=1.
FUZZ_MINUTES ?= 30
FUZZ_JOBS ?= $(shell nproc)
fuzz: ## Fuzz the converter for FUZZ_MINUTES (30) on FUZZ_JOBS (all) cores; needs rustup's nightly and cargo-fuzz
	mkdir -p fuzz/corpus/convert
	$(CARGO) +nightly fuzz run convert --sanitizer none fuzz/corpus/convert tests/golden -- -dict=fuzz/storage-format.dict \
		-max_len=8192 -timeout=30 -max_total_time=$$(($(FUZZ_MINUTES) * 60)) -fork=$(FUZZ_JOBS)

# A seed that found something is printed; tests/simulation/examples/simulate.rs says how to play it again.
export SIMULATION_MINUTES ?= 10
simulate: ## Play random histories of a changing, failing site and dying processes for SIMULATION_MINUTES (10)
	$(CARGO) run --locked --quiet -p simulation --example simulate

# Also read: SOAK_TENANTS (200) and SOAK_SEED (printed at the start).
export SOAK_MINUTES ?= 10
soak: build ## Let 200 tenants sync from failing sites for SOAK_MINUTES (10), then check stores, gates, memory and sockets
	$(TARGET_DIR)/debug/examples/soak

# No other work meanwhile: what it compares it measures by turns, but a busy core is half a core. BENCH_SHORT=1 shows in
# minutes that it works, and leaves the plot of the scale as it is.
export BENCH_SHORT ?=
bench: measured ## Measure syncs, scale, conversion, instances and the start, then the parts; BENCH_SHORT=1 for a short look
	$(TARGET_DIR)/release/benchmark $(if $(BENCH_SHORT),,--plot docs/scale.svg)
	$(CARGO) bench --locked --quiet --workspace --bench '*' -- --noplot $(if $(BENCH_SHORT),--quick)

# A workspace of its own, and so is what it builds.
bench-peers: measured ## Measure the converter beside others that are Rust crates, and how much of the text each keeps
	PEERS_BENCHMARK=$(TARGET_DIR)/release/benchmark $(CARGO) run --locked --quiet --release \
		--manifest-path peers/Cargo.toml --target-dir $(TARGET_DIR)/peers

# All at once: other choices of packages would compile their dependencies with other features, each time anew.
.PHONY: measured
measured: component
	$(CARGO) build --locked --quiet --profile component --target wasm32-wasip2 -p bare-component
	$(CARGO) build --locked --quiet --release -p kai -p confluence-site -p benchmark

clean: ## Remove everything that was built
	$(CARGO) clean
