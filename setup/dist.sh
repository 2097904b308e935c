#!/bin/sh
# Gathers what a user needs into target/dist: the module, the engine for one Python, the two tools, the scenarios.
#
#   setup/dist.sh RUNTIME_FOLDER TOOLS_FOLDER      as Cargo filled them
#   setup/dist.sh --engine RUNTIME_FOLDER          the engine alone
#
# Engines for other Python versions stay. Files are replaced by renaming, so that
# servers and tools that are running keep the file they opened.
set -eu
umask 022

here=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$here")
engine_alone=no
if [ "$1" = --engine ]; then
    engine_alone=yes
    shift
fi
runtime=$1
tools=${2:-}
dist=$root/target/dist
version=$("${PYTHON:-/usr/bin/python3}" "$here/engine_version.py")

# put SOURCE NAME MODE
put() {
    if ! cmp -s "$1" "$dist/$2"; then
        install -m "$3" "$1" "$dist/.$2.new"
        mv -f "$dist/.$2.new" "$dist/$2"
    fi
}

mkdir -p "$dist"
put "$runtime/libwsgi_python.so" "wsgi_python-$version.so" 644
put "$runtime/wsgi-daemon" "wsgi-daemon-$version" 755
if [ "$engine_alone" = yes ]; then
    exit 0
fi
put "$runtime/libmod_wsgi_rs.so" mod_wsgi_rs.so 644
put "$tools/confgen" confgen 755
put "$tools/harness" harness 755

rm -rf "$dist/.scenarios.new"
cp -R "$root/scenarios" "$dist/.scenarios.new"
find "$dist/.scenarios.new" -name __pycache__ -prune -exec rm -rf {} +
chmod -R u=rwX,go=rX "$dist/.scenarios.new"
rm -rf "$dist/scenarios"
mv "$dist/.scenarios.new" "$dist/scenarios"
