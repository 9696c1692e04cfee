#!/bin/sh
# Runs every fuzz target for a number of seconds (60 unless told) and prints executions and finds.
# Needs a nightly toolchain and `cargo install cargo-fuzz`; without them it says so and does nothing.
# A find stays in fuzz/artifacts/; once understood, it belongs into tests/corpus/fuzz/, where a test replays it.
set -u
seconds=${1:-60}
cd "$(dirname "$0")/.." || exit 2
if ! cargo +nightly fuzz --version >/dev/null 2>&1; then
    echo "fuzzing is left out: a nightly toolchain or cargo-fuzz is missing"
    exit 0
fi
status=0
for target in svid record path yaml bundle archive http http2 scan quick parquet; do
    mkdir -p "fuzz/corpus/$target" "fuzz/artifacts/$target"
    log="fuzz/artifacts/$target.log"
    cargo +nightly fuzz run --sanitizer none "$target" "fuzz/corpus/$target" "fuzz/seeds/$target" -- \
        -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -max_len=8192 -print_final_stats=1 >"$log" 2>&1
    result=$?
    executions=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log" | tail -1)
    finds=$(find "fuzz/artifacts/$target" -type f | wc -l)
    printf '%-8s %10s executions %4s finds\n' "$target" "${executions:-0}" "$finds"
    if [ "$result" -ne 0 ] || [ "$finds" -ne 0 ]; then
        status=1
        grep -E 'panicked|ERROR|error' "$log" | head -3
    fi
done
exit $status
