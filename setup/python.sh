#!/bin/sh
# Builds a CPython with a shared library for an engine of another version than the system's, and prints its program.
#
#   VERSION=3.13 [FREE_THREADED=1] setup/python.sh
#
# VERSION            X.Y
# FREE_THREADED=1    the build without a GIL (3.13t)
# PYTHON_SRC         a source tarball (file), with its checksum in PYTHON_SRC_SHA256; without it the source is that of
#                    Debian's source package, unpatched, from the mirror that apt has; apt checks Debian's signature
# DEBIAN_SUITES      where that package is looked for (default: trixie sid)
# PYTHON_CACHE       where the result is kept (default: /var/cache/mod_wsgi_rs as root, so that Apache's user can read
#                    it, else mod_wsgi_rs below the user's cache folder)
#
# What is in the cache is left alone. Only the last line on standard output is the path; the rest is on standard error.
set -eu
umask 022

here=$(cd "$(dirname "$0")" && pwd)
version=${VERSION:?setup: say which Python, as in VERSION=3.13}
case $version in
    3.[1-9][0-9]) ;;
    *)
        echo "setup: VERSION=$version: a version such as 3.13 is wanted" >&2
        exit 1
        ;;
esac
flavour=
options=
if [ "${FREE_THREADED:-}" = 1 ]; then
    if [ "${version#3.}" -lt 13 ]; then
        echo "setup: FREE_THREADED=1: Python $version has no build without a GIL; 3.13 is the first" >&2
        exit 1
    fi
    flavour=t
    options=--disable-gil
fi
cache=$("$here/python-cache.sh")
prefix=$cache/python-$version$flavour
program=$prefix/bin/python$version$flavour

if [ -f "$prefix/.complete" ]; then
    echo "$program"
    exit 0
fi

say() { echo "setup: $*" >&2; }

work=$(mktemp -d "${TMPDIR:-/tmp}/mod_wsgi_rs-python.XXXXXX")
trap 'rm -rf "$work"' EXIT
# apt downloads as a user of its own.
chmod 755 "$work"

# The mirror of Debian that this machine's packages come from.
debian_mirror() {
    apt-get indextargets --format '$(REPO_URI)' 'Origin: Debian' 'Label: Debian' 2>/dev/null | head -n 1
}

# The source package of one suite, through an apt that knows nothing but that suite.
from_debian() {
    keys=/usr/share/keyrings/debian-archive-keyring.gpg
    mkdir -p "$work/apt/lists/partial" "$work/apt/cache/archives/partial" "$work/source"
    echo "deb-src [signed-by=$keys] $mirror $1 main" >"$work/apt/sources.list"
    set -- -o "Dir::Etc::sourcelist=$work/apt/sources.list" -o Dir::Etc::sourceparts=/dev/null \
        -o "Dir::State::lists=$work/apt/lists" -o "Dir::Cache=$work/apt/cache" --quiet
    apt-get "$@" update >&2
    (cd "$work/source" && apt-get "$@" source --download-only "python$version") >&2
}

if [ -n "${PYTHON_SRC:-}" ]; then
    sum=${PYTHON_SRC_SHA256:?setup: PYTHON_SRC needs the checksum of the file in PYTHON_SRC_SHA256}
    if [ ! -f "$PYTHON_SRC" ]; then
        say "PYTHON_SRC=$PYTHON_SRC: there is no such file"
        exit 1
    fi
    found=$(sha256sum <"$PYTHON_SRC")
    found=${found%% *}
    if [ "$found" != "$(echo "$sum" | tr A-F a-f)" ]; then
        say "$PYTHON_SRC has another checksum than PYTHON_SRC_SHA256: $found"
        exit 1
    fi
    tarball=$PYTHON_SRC
elif command -v apt-get >/dev/null 2>&1 && [ -e /usr/share/keyrings/debian-archive-keyring.gpg ]; then
    mirror=$(debian_mirror)
    if [ -z "$mirror" ]; then
        say "apt knows no mirror of Debian; run apt-get update, or give a tarball in PYTHON_SRC with its PYTHON_SRC_SHA256"
        exit 1
    fi
    tarball=
    for suite in ${DEBIAN_SUITES:-trixie sid}; do
        say "looking for the source of Python $version in Debian $suite"
        if from_debian "$suite"; then
            tarball=$(find "$work/source" -name "python${version}_*.orig.tar.*" ! -name '*.asc' | head -n 1)
            break
        fi
    done
    if [ -z "$tarball" ]; then
        say "no source package of Python $version; give a tarball in PYTHON_SRC with its PYTHON_SRC_SHA256"
        exit 1
    fi
else
    say "give a source tarball of Python $version in PYTHON_SRC with its checksum in PYTHON_SRC_SHA256"
    exit 1
fi

mkdir "$work/python"
if ! tar -xf "$tarball" -C "$work/python" --strip-components=1 || [ ! -f "$work/python/Include/patchlevel.h" ]; then
    say "$tarball does not hold the source of CPython"
    exit 1
fi
level=$(sed -n 's/^#define PY_VERSION  *"\([^"]*\)".*/\1/p' "$work/python/Include/patchlevel.h")
case $level in
    "$version".* | "$version"[abr]*) ;;
    *)
        say "$tarball is Python $level, not $version"
        exit 1
        ;;
esac

say "building Python $level$flavour into $prefix (some minutes)"
jobs=${JOBS:-$(nproc 2>/dev/null || echo 2)}
mkdir -p "$cache"
# Moved into place when it is whole; the folder of an earlier try that was cut off makes way.
rm -rf "$prefix"
if ! (
    cd "$work/python"
    ./configure --quiet --prefix="$prefix" --enable-shared --without-static-libpython --disable-test-modules \
        --with-ensurepip=no $options LDFLAGS="-Wl,-rpath,$prefix/lib"
    make --silent -j "$jobs"
    make --silent install
) >"$work/log" 2>&1; then
    tail -n 40 "$work/log" >&2
    say "Python $level could not be built: the end of its output is above"
    rm -rf "$prefix"
    exit 1
fi
for module in zlib ssl ctypes sqlite3; do
    if ! "$program" -c "import $module" 2>/dev/null; then
        say "this Python has no module '$module', as its library's headers are not installed; applications that need it will miss it"
    fi
done
echo "$level" >"$prefix/.complete"
echo "$program"
