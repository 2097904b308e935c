#!/bin/sh
# Everything that CI checks. Every stage runs even when an earlier one failed, so that one run tells all.
#
# The last line counts single tests: unit and integration tests, set-up tests and scenario cells, and each stage
# that has no tests of its own (format, lints, build, generated files) as one.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$here")
results=$root/target/test
python=${PYTHON:-/usr/bin/python3}
cargo=${CARGO:-cargo}

cd "$root"
rm -rf "$results"
mkdir -p "$results"

passed=0
failed=0
skipped=0
: >"$results/summary"

# stage NAME COUNTER COMMAND...: runs the command, shows and keeps its output, and lets COUNTER read the numbers.
stage() {
    name=$1
    counter=$2
    shift 2
    printf '\n== %s\n' "$name"
    log=$results/$(echo "$name" | tr ' ' '-').log
    began=$(date +%s)
    { "$@" 2>&1 && echo 0 >"$results/status" || echo $? >"$results/status"; } | tee "$log"
    status=$(cat "$results/status")
    took=$(($(date +%s) - began))

    counts=$("$counter" "$log" "$status")
    # A stage that failed without a failed test (it did not compile, it was killed) counts as one failure.
    set -- $counts
    if [ "$status" != 0 ] && [ "$2" = 0 ]; then set -- "$1" 1 "$3"; fi
    passed=$((passed + $1))
    failed=$((failed + $2))
    skipped=$((skipped + $3))
    verdict=ok
    if [ "$status" != 0 ]; then verdict=FAILED; fi
    printf '%-28s %-7s %5d passed %3d failed %3d skipped  %4d s\n' "$name" "$verdict" "$1" "$2" "$3" "$took" \
        >>"$results/summary"
}

as_one() {
    if [ "$2" = 0 ]; then echo "1 0 0"; else echo "0 1 0"; fi
}

# The summary lines of nextest and of cargo's own test runner.
count_rust() {
    sed 's/\x1b\[[0-9;]*m//g' "$1" | awk '
        /^ *Summary \[/ {
            for (i = 2; i <= NF; i++) {
                if ($i ~ /^passed/) passed += $(i - 1)
                if ($i ~ /^(failed|timed)/) failed += $(i - 1)
                if ($i ~ /^skipped/) skipped += $(i - 1)
            }
        }
        /^test result:/ { passed += $4; failed += $6; skipped += $8 }
        END { printf "%d %d %d\n", passed, failed, skipped }'
}

count_python() {
    awk '
        /^Ran [0-9]+ tests?/ { ran = $2 }
        /^(OK|FAILED)/ {
            if (match($0, /failures=[0-9]+/)) bad += substr($0, RSTART + 9, RLENGTH - 9)
            if (match($0, /errors=[0-9]+/)) bad += substr($0, RSTART + 7, RLENGTH - 7)
            if (match($0, /skipped=[0-9]+/)) skipped += substr($0, RSTART + 8, RLENGTH - 8)
        }
        END { printf "%d %d %d\n", ran - bad - skipped, bad, skipped }' "$1"
}

# The report that the harness left beside the log of its stage.
count_cells() {
    "$python" "$here/cells.py" "${1%.log}.json"
}

# The Pythons that setup/python.sh has built, by their programs.
cached_pythons() {
    for complete in "$("$here/python-cache.sh")"/python-*/.complete; do
        if [ -f "$complete" ]; then
            prefix=${complete%/.complete}
            echo "$prefix/bin/python${prefix##*/python-}"
        fi
    done
}

rust_tests() {
    if $cargo nextest --version >/dev/null 2>&1; then
        $cargo nextest run --locked --workspace --no-fail-fast --status-level fail
    else
        $cargo test --locked --workspace --no-fail-fast
    fi
}

# scenarios LABEL [--as USER]: the reports go where that user may write, then to the results.
scenarios() {
    label=$1
    shift
    reports=$(mktemp -d "${TMPDIR:-/tmp}/reports.XXXXXX")
    if [ "${1:-}" = --as ]; then chown "$2" "$reports"; fi
    code=0
    "$here/scenarios.sh" "$@" --json "$reports/report.json" --junit "$reports/report.xml" \
        --artifacts "$reports/artifacts" || code=$?
    for kind in json xml; do
        if [ -f "$reports/report.$kind" ]; then cp "$reports/report.$kind" "$results/$label.$kind"; fi
    done
    if [ -d "$reports/artifacts" ]; then cp -R "$reports/artifacts" "$results/$label.artifacts"; fi
    rm -rf "$reports"
    return $code
}

stage "format" as_one $cargo fmt --all --check
stage "build" as_one "$here/build.sh"
for cached in $(cached_pythons); do
    stage "engine for ${cached##*/}" as_one env VERSION= PYTHON="$cached" "$here/engine.sh"
done
stage "lints" as_one $cargo clippy --locked --workspace --all-targets -- -D warnings
stage "rust tests" count_rust rust_tests
for cached in $(cached_pythons); do
    stage "rust tests on ${cached##*/}" count_rust env VERSION= PYTHON="$cached" "$here/engine.sh" --test
done
stage "generated files" as_one "$here/generate.sh" --check
stage "set-up tests" count_python "$python" -B -m unittest discover --start-directory setup/tests
if [ "$(id -u)" = 0 ]; then
    stage "scenarios as root" count_cells scenarios scenarios-as-root
    # The C module has had its turn; what it does for an ordinary user is not ours to test but where root cannot show it.
    stage "scenarios as a user" count_cells scenarios scenarios-as-a-user --as nobody \
        --filter 'module(ours) | tag(ordinary-user)'
else
    stage "scenarios as a user" count_cells scenarios scenarios-as-a-user
    echo "scenarios as root            not run: only root can start servers that change their user" >>"$results/summary"
fi

printf '\n'
cat "$results/summary"
if [ "$skipped" = 0 ]; then
    printf '\n%d passed, %d failed\n' "$passed" "$failed"
else
    printf '\n%d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
fi
[ "$failed" = 0 ]
