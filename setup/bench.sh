#!/bin/sh
# Measures what `make build` and `make peer` made; the results go to target/bench.
#
#   setup/bench.sh [embedded] [daemon] [subscribed] [transfers] [latency] [start] [restarts] [pythons] [memory] [render] [cell] [catalogue]
set -eu

here=$(cd "$(dirname "$0")" && pwd)
cd "$(dirname "$here")"
exec "${CARGO:-cargo}" bench --quiet --locked --profile tools --package harness --bench numbers -- "$@"
