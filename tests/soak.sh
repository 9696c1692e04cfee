#!/usr/bin/env bash
# Everything at once against one sidecar, for minutes: callers, reloads, rotations, revocations, failures of the service, floods.
#
#   tests/soak.sh [SECONDS]        600 by default
#
# What it watches, and what it holds against what, stands in enforcer/tests/adversarial/soak.rs. Afterwards the decision log is
# verified and replayed under the bundles that were in force: not one decision may come out differently.
set -euo pipefail
cd "$(dirname "$0")/.."
export PORTREEVE_SOAK_SECONDS=${1:-600}
kept=$(mktemp -d)
trap 'rm -rf "$kept"' EXIT
export PORTREEVE_SOAK_KEEP=$kept/world

cargo build --release --locked --quiet --bin portreeve
cargo test --release --locked --quiet -p portreeve-enforcer --test adversarial -- --ignored --exact --nocapture soak::a_long_soak
portreeve=${CARGO_TARGET_DIR:-target}/release/portreeve
"$portreeve" verify "$kept"/world/log/*.ndjson
# The broken bundles lie among the good ones; two of each kind are enough, since equal files have equal revisions.
bundles=()
for dir in "$kept"/world/policies-*; do
    grep -q Nonsense "$dir"/*.yaml || bundles+=(--bundle "$dir")
    [ "${#bundles[@]}" -ge 8 ] && break
done
"$portreeve" replay "${bundles[@]}" "$kept"/world/log/*.ndjson
