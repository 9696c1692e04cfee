#!/usr/bin/env bash
# Real OPA beside this engine, on the same thousand grants, in one interleaved run.
#
# Needs `opa` on the PATH (go install github.com/open-policy-agent/opa@latest). One processor for each contestant in turn; what is
# printed is nanoseconds for one decision, a column for each round. OPA's figure is its own benchmark's (a prepared query in the
# process itself); `baseline` is what OPA takes for a policy that says yes.
set -euo pipefail
cd "$(dirname "$0")/../.."
if ! command -v opa >/dev/null; then
    echo "opa is not installed; nothing is measured"
    exit 0
fi
rounds=${ROUNDS:-5}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cargo bench --quiet --no-run -p portreeve-engine --bench paired
PEERS=$dir cargo bench --quiet -p portreeve-engine --bench paired
printf 'package mesh\nallow := true\n' >"$dir/baseline.rego"

opa_ns() { # policy file, further arguments
    GOMAXPROCS=1 taskset -c 0 opa bench --format gobench --benchmem=false --count 1 --fail -i "$dir/input.json" "$@" 'data.mesh.allow' |
        awk '$3 > 0 && $4 == "ns/op" { printf "%.0f\n", $3 }'
}
ours() {
    ONLY='unconditional, 1,000' ROUNDS=3 taskset -c 0 cargo bench --quiet -p portreeve-engine --bench paired |
        awk '/^unconditional, 1,000 / { print $4 }'
}

for policy in baseline indexed equalities sets computed; do
    # Whoever lacks its data answers "no" quickly.
    opa eval --format raw -d "$dir/data.json" -d "$dir/$policy.rego" -i "$dir/input.json" 'data.mesh.allow' | grep -qx true
done
opa version | head -1
declare -A seen
for ((round = 0; round < rounds; round++)); do
    seen[ours]+=" $(ours)"
    seen[baseline]+=" $(opa_ns -d "$dir/baseline.rego")"
    seen[indexed]+=" $(opa_ns -d "$dir/indexed.rego" -d "$dir/data.json")"
    seen[equalities]+=" $(opa_ns -d "$dir/equalities.rego")"
    seen[sets]+=" $(opa_ns -d "$dir/sets.rego")"
    seen[computed]+=" $(opa_ns -d "$dir/computed.rego")"
done
printf 'this engine, from the path on            %s\n' "${seen[ours]}"
printf 'OPA, a policy that says yes              %s\n' "${seen[baseline]}"
printf 'OPA, one look-up in indexed data         %s\n' "${seen[indexed]}"
printf 'OPA, 1,000 definitions, equalities only  %s\n' "${seen[equalities]}"
printf 'OPA, 1,000 definitions with a set each   %s\n' "${seen[sets]}"
printf 'OPA, 1,000 definitions on computed values %s\n' "${seen[computed]}"
