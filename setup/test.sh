#!/bin/sh
# Everything that CI checks. Every stage runs even when an earlier one failed, so that one run tells all.
#
# What failed is named below the table, and the last line counts single tests: unit and integration tests, set-up tests and scenario cells, and each stage
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
: >"$results/failures"

# stage NAME KIND COMMAND...: runs the command, shows and keeps its output, and lets outcome.py read what came of it.
stage() {
    name=$1
    kind=$2
    shift 2
    printf '\n== %s\n' "$name"
    log=$results/$(echo "$name" | tr ' ' '-').log
    began=$(date +%s)
    { "$@" 2>&1 && echo 0 >"$results/status" || echo $? >"$results/status"; } | tee "$log"
    status=$(cat "$results/status")
    took=$(($(date +%s) - began))

    source=$log
    if [ "$kind" = cells ]; then source=${log%.log}.json; fi
    "$python" "$here/outcome.py" "$kind" "$source" "$status" >"$results/outcome"
    set -- $(sed -n 1p "$results/outcome")
    # A stage that failed without a failed test (it did not compile, it was killed) counts as one failure.
    if [ "$status" != 0 ] && [ "$2" = 0 ]; then set -- "$1" 1 "$3"; fi
    passed=$((passed + $1))
    failed=$((failed + $2))
    skipped=$((skipped + $3))
    verdict=ok
    if [ "$status" != 0 ]; then
        verdict=FAILED
        if [ "$(wc -l <"$results/outcome")" -lt 2 ]; then echo "exit status $status, see $log" >>"$results/outcome"; fi
        sed "1d; s|^|$name: |" "$results/outcome" >>"$results/failures"
    fi
    printf '%-28s %-7s %5d passed %3d failed %3d skipped  %4d s\n' "$name" "$verdict" "$1" "$2" "$3" "$took" \
        >>"$results/summary"
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
    for format in json xml; do
        if [ -f "$reports/report.$format" ]; then cp "$reports/report.$format" "$results/$label.$format"; fi
    done
    if [ -d "$reports/artifacts" ]; then cp -R "$reports/artifacts" "$results/$label.artifacts"; fi
    rm -rf "$reports"
    return $code
}

stage "format" once $cargo fmt --all --check
stage "build" once "$here/build.sh"
for cached in $("$here/cached-pythons.sh"); do
    stage "engine for ${cached##*/}" once env VERSION= PYTHON="$cached" "$here/engine.sh"
done
stage "lints" once $cargo clippy --locked --workspace --all-targets -- -D warnings
stage "rust tests" rust "$python" -B "$here/rust_tests.py" "$cargo" --workspace
stage "models" rust "$here/models.sh"
for cached in $("$here/cached-pythons.sh"); do
    stage "rust tests on ${cached##*/}" rust env VERSION= PYTHON="$cached" "$here/engine.sh" --test
done
stage "generated files" once "$here/generate.sh" --check
stage "set-up tests" python "$python" -B -m unittest discover --start-directory setup/tests
if [ "$(id -u)" = 0 ]; then
    stage "scenarios as root" cells scenarios scenarios-as-root
    # The C module has had its turn; what it does for an ordinary user is not ours to test but where root cannot show it.
    stage "scenarios as a user" cells scenarios scenarios-as-a-user --as nobody \
        --filter 'module(ours) | tag(ordinary-user)'
else
    stage "scenarios as a user" cells scenarios scenarios-as-a-user
    echo "scenarios as root            not run: only root can start servers that change their user" >>"$results/summary"
fi

printf '\n'
cat "$results/summary"
if [ -s "$results/failures" ]; then
    printf '\nfailed:\n'
    sed -n '1,20s/^/  /p' "$results/failures"
    more=$(($(wc -l <"$results/failures") - 20))
    if [ "$more" -gt 0 ]; then echo "  and $more more: $results/failures"; fi
fi
if [ "$skipped" = 0 ]; then
    printf '\n%d passed, %d failed\n' "$passed" "$failed"
else
    printf '\n%d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
fi
[ "$failed" = 0 ]
