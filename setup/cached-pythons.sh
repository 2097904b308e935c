#!/bin/sh
# Prints the programs of the Pythons that setup/python.sh has built, one a line.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
for complete in "$("$here/python-cache.sh")"/python-*/.complete; do
    if [ -f "$complete" ]; then
        prefix=${complete%/.complete}
        echo "$prefix/bin/python${prefix##*/python-}"
    fi
done
