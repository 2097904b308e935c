#!/bin/sh
# Runs every scenario with what `make build` left in target/dist.
#
#   setup/scenarios.sh [--as USER] [harness arguments...]
#
# Servers that root starts serve as another user, who has to reach the module, the engine and the applications. When
# the checkout lies in a folder that others cannot search (a private home), the run uses a readable copy.
set -eu
umask 022

here=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$here")
dist=$root/target/dist
venv=$root/target/venv
peer=$root/target/peer/mod_wsgi.so

user=
if [ "${1:-}" = --as ]; then
    user=$2
    shift 2
fi

# Prints the first folder on the way to $1 that other users cannot search.
closed_folder() {
    folder=$1
    closed=
    while [ "$folder" != / ]; do
        if [ -z "$(find "$folder" -maxdepth 0 -perm -005)" ]; then closed=$folder; fi
        folder=$(dirname "$folder")
    done
    echo "$closed"
}

copy=
finish() {
    if [ -n "$copy" ]; then rm -rf "$copy"; fi
}
trap finish EXIT
trap 'exit 130' INT TERM

if [ "$(id -u)" = 0 ]; then
    closed=$(closed_folder "$dist")
    if [ -n "$closed" ]; then
        copy=$(mktemp -d "${TMPDIR:-/tmp}/scenarios.XXXXXX")
        chmod 755 "$copy"
        echo "scenarios: $closed is closed to other users: running from a copy in $copy"
        cp -R "$dist" "$copy/dist"
        cp -R "$venv" "$copy/venv"
        dist=$copy/dist
        venv=$copy/venv
        if [ -e "$peer" ]; then
            cp "$peer" "$copy/mod_wsgi.so"
            peer=$copy/mod_wsgi.so
        fi
    fi
fi

HARNESS_VENV=$venv
export HARNESS_VENV
if [ -e "$peer" ]; then
    HARNESS_PEER=$peer
    export HARNESS_PEER
fi

cd "$dist"
if [ -z "$user" ]; then
    ./harness run "$@"
else
    # Nothing of root's environment may be what makes it work.
    home=$(mktemp -d "${TMPDIR:-/tmp}/scenarios-home.XXXXXX")
    chown "$user" "$home"
    trap 'rm -rf "$home"; finish' EXIT
    setpriv --reuid "$user" --regid "$(id -g "$user")" --clear-groups --inh-caps=-all \
        env -i HOME="$home" LANG=C.UTF-8 PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin \
        HARNESS_VENV="$HARNESS_VENV" ${HARNESS_PEER:+HARNESS_PEER="$HARNESS_PEER"} \
        ./harness run "$@"
fi
