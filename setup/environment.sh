#!/bin/sh
# Makes a Python environment from hash-pinned requirement files, or leaves it alone when it is up to date.
#
#   setup/environment.sh DIR REQUIREMENTS...
#
# PYTHON names the interpreter (default /usr/bin/python3). The files are installed in the order given, so that
# a later one may be built from source with the tools of an earlier one.
set -eu

# Servers of the scenarios run as another user than the one who builds: what is made here must be readable.
umask 022

python=${PYTHON:-/usr/bin/python3}
dir=$1
shift

# The stamp names everything the environment was made from, so a changed pin or Python makes a new one.
stamp=$dir/.made-from
made_from=$("$python" -c 'import sys; print(sys.executable, sys.version)'; cat "$@")
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$made_from" ]; then
    exit 0
fi

echo "setup: making the Python environment $dir"
rm -rf "$dir"
mkdir -p "$(dirname "$dir")"
"$python" -m venv "$dir"
for requirements in "$@"; do
    # Builds from source use the pinned tools that are already installed, never freshly fetched ones.
    "$dir/bin/python" -m pip install --quiet --disable-pip-version-check --no-input \
        --require-hashes --no-deps --no-build-isolation --requirement "$requirements"
done
printf '%s\n' "$made_from" >"$stamp"
