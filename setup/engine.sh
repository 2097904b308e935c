#!/bin/sh
# Builds the engine for one more Python and puts it beside the others in target/dist; with --test, runs its tests instead,
# and with --test-program NAME prints the program that holds those tests.
#
#   PYTHON=/path/to/python3.13 setup/engine.sh [--test | --test-program NAME]
#   VERSION=3.13 [FREE_THREADED=1] setup/engine.sh …    builds that Python first (setup/python.sh) when it is not cached
#
# PROFILE   Cargo's profile (default release)
set -eu
umask 022

here=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$here")
cargo=${CARGO:-cargo}
profile=${PROFILE:-release}

if [ -n "${VERSION:-}" ]; then
    python=$("$here/python.sh")
else
    python=${PYTHON:?setup: say which Python, as in PYTHON=/path/to/python3.13 or VERSION=3.13}
fi
missing=$("$python" "$here/python_facts.py") || exit $?
if echo "$missing" | grep -q python-headers; then
    echo "setup: $python has no headers or no shared library to build with" >&2
    exit 1
fi
version=$("$python" "$here/engine_version.py")

# PyO3 supports builds without a GIL from 3.14 on and refuses 3.13t. Of its structures for 3.13t, which it has, the engine
# uses few; the engine's own tests run on it (docs/pythons.md).
if [ "$version" = 3.13t ]; then
    UNSAFE_PYO3_SKIP_VERSION_CHECK=1
    export UNSAFE_PYO3_SKIP_VERSION_CHECK
fi

# A folder of its own: the settings of another Python would make Cargo build everything anew.
target=$root/target/engines/$version
cd "$root"
if [ $# != 0 ]; then
    export PYO3_PYTHON="$python"
    case $1 in
        --test) set -- ;;
        --test-program) set -- --program "$2" ;;
    esac
    exec "$python" -B "$here/rust_tests.py" "$@" "$cargo" --package wsgi_python --target-dir "$target"
fi
PYO3_PYTHON=$python $cargo build --locked --profile "$profile" --package wsgi_python --target-dir "$target"
case $profile in
    dev) built=$target/debug ;;
    *) built=$target/$profile ;;
esac
PYTHON=$python "$here/dist.sh" --engine "$built"
# Later builds make it anew, so that it never meets a module of another version.
echo "$python" >"$target/python"
echo "setup: the engine for Python $version is in target/dist" >&2
