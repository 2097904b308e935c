#!/bin/sh
# The protocol of the status page, run by loom in every order that the memory model permits.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
python=${PYTHON:-/usr/bin/python3}
cargo=${CARGO:-cargo}

cd "$(dirname "$here")"
exec "$python" -B "$here/rust_tests.py" "$cargo" --package wsgi_protocol --features model --test model
