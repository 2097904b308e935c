#!/bin/sh
# Resolves setup/requirements/*.in anew into hash-pinned *.txt files that hold for every platform.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
tools=$(dirname "$here")/target/pins

if [ ! -x "$tools/bin/pip-compile" ]; then
    "${PYTHON:-/usr/bin/python3}" -m venv "$tools"
    "$tools/bin/python" -m pip install --quiet --disable-pip-version-check pip-tools
fi

cd "$here/requirements"
# Local folders of packages would hide the hashes of the published files.
unset PIP_FIND_LINKS
for name in build peer scenarios; do
    "$tools/bin/pip-compile" --quiet --upgrade --generate-hashes --allow-unsafe --strip-extras --no-header \
        --no-emit-index-url --no-emit-trusted-host --no-emit-find-links --output-file "$name.txt" "$name.in"
    echo "setup: $name.txt"
done
