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
