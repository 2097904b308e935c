#!/bin/sh
# Breaks what `make build` made, under load, in every way we know of.
#
#   setup/faults.sh [kill] [crash] [rolling] [sockets] [page] [frames] [strangers] [disk] [descriptors]      FAULT_SECONDS=20
set -eu

here=$(cd "$(dirname "$0")" && pwd)
cd "$(dirname "$here")"
exec "${CARGO:-cargo}" bench --quiet --locked --profile tools --package harness --bench faults -- "$@"
