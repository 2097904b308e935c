#!/bin/sh
# Installs C mod_wsgi into target/peer and leaves target/peer/mod_wsgi.so as a link to its module.
#
# It is used as a black box only: by `make bench` and by the scenarios' `module` axis.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
peer=$(dirname "$here")/target/peer

if ! command -v "${APXS:-apxs}" >/dev/null 2>&1; then
    echo "setup: C mod_wsgi is built by apxs, which is not here: run \`make setup\` first" >&2
    exit 1
fi

"$here/environment.sh" "$peer" "$here/requirements/build.txt" "$here/requirements/peer.txt"

module=$(find "$peer/lib" -path '*/mod_wsgi/server/mod_wsgi*.so' | head -n 1)
if [ -z "$module" ]; then
    echo "setup: no Apache module was found below $peer/lib" >&2
    exit 1
fi
ln -sf "$module" "$peer/mod_wsgi.so"
echo "$peer/mod_wsgi.so"
