#!/bin/sh
# Installs what only developers need, beyond `make setup`: gdb and valgrind, the load generator, the fuzzers' compiler and
# driver.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
"$here/setup.sh" --for-development

have() { command -v "$1" >/dev/null 2>&1; }

if ! have rustup; then
    echo "setup-dev: fuzzing needs rustup for its nightly compiler; see https://rustup.rs" >&2
    exit 3
fi
if ! rustup toolchain list | grep -q '^nightly'; then rustup toolchain install nightly --profile minimal; fi
if ! have cargo-fuzz; then cargo install cargo-fuzz --locked; fi
