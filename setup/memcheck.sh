#!/bin/sh
# Serves thousands of requests in four interpreters of one process under valgrind, with the system's Python and each one
# that setup/python.sh has built. Any use of memory that valgrind calls an error fails.
#
#   setup/memcheck.sh [PYTHON...]      MEMCHECK_REQUESTS=10000
#
# Interpreters have a GIL each from 3.12 on, and none on 3.13t. What is shown is written to target/memcheck.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$here")
cargo=${CARGO:-cargo}
python=${PYTHON:-/usr/bin/python3}
requests=${MEMCHECK_REQUESTS:-10000}
results=$root/target/memcheck
test=interpreters::four_inside

if [ "$requests" -lt 8 ]; then
    echo "memcheck: MEMCHECK_REQUESTS=$requests: there are eight threads, and each is to serve something" >&2
    exit 2
fi
if ! command -v valgrind >/dev/null 2>&1; then
    echo "memcheck: valgrind is not installed; make setup-dev installs it" >&2
    exit 3
fi
mkdir -p "$results"

# checked LOG COMMAND...: 9 when the command did something wrong with memory.
checked() {
    log=$1
    shift
    valgrind --error-exitcode=9 --num-callers=40 --fair-sched=try --suppressions="$here/valgrind.supp" --gen-suppressions=all \
        --log-file="$log" "$@"
}

# A checker that sees nothing would pass everything: it has to find an error that is there.
cat >"$results/wrong.c" <<'END'
#include <stdlib.h>
int main(void) { volatile char *block = malloc(8); char past = block[8]; free((void *)block); return past & 0; }
END
cc -O0 -o "$results/wrong" "$results/wrong.c"
code=0
checked "$results/wrong.log" "$results/wrong" || code=$?
if [ "$code" != 9 ]; then
    echo "memcheck: valgrind did not see a read past the end of a block (exit status $code, see $results/wrong.log)" >&2
    exit 1
fi

# The program with the engine's tests for one Python, built when it is not up to date.
program() {
    if [ "$1" = "$python" ]; then
        cd "$root"
        PYO3_PYTHON=$1 CARGO_TARGET_DIR=$root/target "$python" -B "$here/rust_tests.py" --program it "$cargo" --package wsgi_python
    else
        VERSION= PYTHON=$1 "$here/engine.sh" --test-program it
    fi
}

if [ $# = 0 ]; then set -- "$python" $("$here/cached-pythons.sh"); fi
failed=
for chosen in "$@"; do
    version=$("$chosen" "$here/engine_version.py")
    program=$(program "$chosen")
    # The C library's allocator shows valgrind each object of Python for itself. A Python without a GIL takes no other than
    # its own, inside of which valgrind sees nothing: there only what the engine allocates is checked, and Python's own hooks
    # look at what is written past the end of an object.
    case $version in
        *t) allocator=debug ;;
        *) allocator=malloc ;;
    esac
    echo "memcheck: $requests requests in four interpreters of Python $version …"
    code=0
    (
        cd "$root/crates/runtime/python"
        export PYTHONMALLOC=$allocator ENGINE_TEST_ARGUMENT=$((requests / 4))
        checked "$results/$version.log" "$program" --exact "$test" --ignored --nocapture --test-threads=1
    ) >"$results/$version.out" 2>&1 || code=$?
    found=$(sed -n 's/^==[0-9]*== ERROR SUMMARY: //p' "$results/$version.log")
    # Without the test's own word nothing may have run at all.
    if [ "$code" = 0 ] && grep -q '^test result: ok. 1 passed' "$results/$version.out"; then
        echo "memcheck: Python $version: $found"
    else
        failed="$failed $version"
        echo "memcheck: Python $version: exit status $code, $found" >&2
        echo "memcheck: see $results/$version.log and $results/$version.out" >&2
    fi
done
if [ -n "$failed" ]; then
    echo "memcheck: not clean:$failed" >&2
    exit 1
fi
