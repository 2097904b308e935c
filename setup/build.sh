#!/bin/sh
# Builds everything and gathers it in target/dist.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$here")
cargo=${CARGO:-cargo}
# Both are what the scripts after this one expect, whatever the user's own settings say.
CARGO_TARGET_DIR=$root/target
PYO3_PYTHON=${PYTHON:-/usr/bin/python3}
export CARGO_TARGET_DIR PYO3_PYTHON

cd "$root"
$cargo build --locked --release --package mod_wsgi_rs --package wsgi_python
$cargo build --locked --profile tools --package confgen --package harness
"$here/dist.sh" target/release target/tools

# The other engines speak with this module too: those that were added are built anew, what cannot be is taken away.
own=$("$PYO3_PYTHON" "$here/engine_version.py")
for engine in target/dist/wsgi_python-*.so; do
    version=${engine#target/dist/wsgi_python-}
    version=${version%.so}
    if [ "$version" = "$own" ]; then continue; fi
    python=$(cat "target/engines/$version/python" 2>/dev/null || true)
    if [ -n "$python" ] && [ -x "$python" ]; then
        VERSION= PYTHON=$python "$here/engine.sh"
    else
        echo "setup: removing the engine for Python $version: the Python it was made with is not known any more" >&2
        rm -f "$engine" "target/dist/wsgi-daemon-$version"
    fi
done
