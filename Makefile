# Everything a contributor runs. Builds share one target folder; see CONTRIBUTING.md.
.PHONY: demo test check crash-test soak simulate slt-accept dashboard bench ci

# The demo: generator -> indicators, bars, alerts -> Parquet, then its own replay.
demo:
	cargo run --bin millstream -- demo $(DEMO)

# Every test; starts a real Kafka, which needs Java and Maven, a browser (node, Chromium), and
# schemathesis (Python) against the API.
test:
	SEEDS=$${SEEDS:-300} cargo test --workspace

# Formatting, lints, and who may depend on whom.
check:
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	cargo test --workspace --test main -- floors

# Kills at every point of a commit and at random times, against a real Kafka; takes an hour or so.
crash-test:
	CRASH_ROUNDS=20 CRASH_KILLS=200 cargo test --workspace --test main -- crash

# Half an hour of 20,000 events/s with a kill every minute, against a real Kafka; SOAK_MINUTES for more.
soak:
	SOAK_SECONDS=$$(($${SOAK_MINUTES:-30} * 60)) SOAK_KILL_SECONDS=60 SOAK_RATE=20000 \
	cargo test --workspace --test main -- --nocapture crash::soak

# Thousands of lives of a job in a simulated world; SEED=17 repeats one and tells what happens.
simulate:
	SEEDS=$${SEEDS:-5000} cargo test --workspace --lib -- --nocapture simulation

# Rewrites the expectations of the golden SQL files.
slt-accept:
	SLT_ACCEPT=1 cargo test --workspace --test main -- slt

# The live page, from its sources into server/dashboard/dist, which is committed.
dashboard:
	cd server/dashboard && npm ci && npm run build

# Benchmarks into benches/results.md: all, or those named by BENCH="over json"; the first build
# takes about 20 minutes on two cores. Built in one go, so that nothing is built twice.
bench:
	cargo build --release --package benches --package server --bins
	$${CARGO_TARGET_DIR:-target}/release/benches --out benches/results.md $(BENCH)

ci: test check
