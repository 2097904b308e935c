#!/bin/sh
# Breaks what `make build` made, under load, in every way we know of.
#
#   setup/faults.sh [kill] [crash] [memory] [starved] [touch] [rolling] [graceful] [sockets] [page] [frames] [strangers] [disk]
#                   [descriptors] [child-descriptors] [parent-descriptors]
#                   [keys] [hop-by-hop] [groups] [bodies] [silent]      FAULT_SECONDS=20
#
# The last five are attacks: fifty thousand hostile requests each, or as many as can be sent in 90 seconds.
# Root fills a disk by mounting a small one, where only this program and what it starts see it. The logs of servers that were not
# as they should be are kept in target/faults.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
cd "$(dirname "$here")"
exec "${CARGO:-cargo}" bench --quiet --locked --profile tools --package harness --bench faults -- "$@"
