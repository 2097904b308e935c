#!/bin/sh
# Prints the folder that built Pythons are kept in. As root it is one that Apache's user can read.
set -eu

if [ -n "${PYTHON_CACHE:-}" ]; then
    echo "$PYTHON_CACHE"
elif [ "$(id -u)" = 0 ]; then
    echo /var/cache/mod_wsgi_rs
else
    echo "${XDG_CACHE_HOME:-$HOME/.cache}/mod_wsgi_rs"
fi
