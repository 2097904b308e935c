#!/bin/sh
# Measures what `make build` and `make peer` made; the results go to target/bench.
#
#   setup/bench.sh [embedded] [daemon] [baseline] [subscribed] [transfers] [latency] [start] [restarts] [pythons] [memory] [shared] [render] [confgen] [cell] [catalogue]
#
# BENCH_BASELINE=DIR   another build's target/dist: `baseline` compares the rates of both builds in one run
# BENCH_STRICT=1   fails when a number falls short of its bound, or could not be measured
set -eu

here=$(cd "$(dirname "$0")" && pwd)
cd "$(dirname "$here")"
exec "${CARGO:-cargo}" bench --quiet --locked --profile tools --package harness --bench numbers -- "$@"
