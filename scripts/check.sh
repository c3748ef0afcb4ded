#!/usr/bin/env bash
# What a change has to pass before it is sent: the Rust half of .ci/run.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."

section() { printf '\n=== %s\n' "$*"; }

section "format"
cargo fmt --check

section "clippy"
cargo clippy --all-targets -- -D warnings

section "documentation"
RUSTDOCFLAGS="-D warnings" cargo doc --no-deps

section "tests"
cargo test

section "the job on the repository's own digits"
cargo run --release -- run configs/digits.toml --fresh
