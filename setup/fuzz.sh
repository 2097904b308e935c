#!/bin/sh
# Fuzzes every decoder for some seconds each, beginning with the corpus that is checked in.
#
#   setup/fuzz.sh [TARGET...]      FUZZ_SECONDS=60 for each
#
# What is found stays in crates/runtime/protocol/fuzz/artifacts; put it into the corpus with the fix.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$here")
cd "$root/crates/runtime/protocol"
RUSTUP_TOOLCHAIN=nightly
CARGO_TARGET_DIR=$root/target/fuzz
export RUSTUP_TOOLCHAIN CARGO_TARGET_DIR

if [ $# = 0 ]; then set -- $(cargo fuzz list); fi
for target in "$@"; do
    echo "== $target"
    # New inputs go beside the corpus: it grows by what a failure taught, not by every run.
    found=$CARGO_TARGET_DIR/found/$target
    mkdir -p "$found"
    cargo fuzz run "$target" "$found" "fuzz/corpus/$target" -- -max_total_time="${FUZZ_SECONDS:-60}" -max_len=65536 -verbosity=0 \
        -print_final_stats=1
done
