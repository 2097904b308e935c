#!/bin/sh
# Installs what building and running needs and is not there yet; does nothing, quickly, when nothing is missing.
#
#   setup/setup.sh [--with-benchmark | --for-development]
#
# PYTHON   the Python to build the engine for (default /usr/bin/python3; 3.11 or newer, with a shared libpython)
# HTTPD, APXS, LIBCLANG_PATH   where to find these, when they are not in the usual places
# SETUP=auto   do not ask before using sudo
#
# As root, Debian packages are installed at once; otherwise sudo is used after asking. Where neither is possible the
# commands to give are printed and nothing is changed.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$here")
python=${PYTHON:-/usr/bin/python3}

# An ordinary user's PATH on Debian lacks the folders that httpd lives in.
PATH=$PATH:/usr/sbin:/sbin
export PATH

# Programs that this run is to install although nothing is built, run or tested with them.
case ${1:-} in
    '') more= ;;
    --with-benchmark) more=wrk ;;
    --for-development) more="wrk gdb valgrind" ;;
    *)
        echo "setup: $1: only --with-benchmark and --for-development are known" >&2
        exit 2
        ;;
esac

have() { command -v "$1" >/dev/null 2>&1; }

have_httpd() {
    if [ -n "${HTTPD:-}" ]; then have "$HTTPD"; else have apache2 || have httpd; fi
}

have_apxs() {
    if [ -n "${APXS:-}" ]; then have "$APXS"; else have apxs || have apxs2; fi
}

# bindgen loads libclang itself and needs the compiler's own headers (stddef.h and the like) beside it.
have_libclang() {
    if [ -n "${LIBCLANG_PATH:-}" ]; then
        any_file "$LIBCLANG_PATH"/libclang.so* "$LIBCLANG_PATH"/libclang-*.so*
    else
        any_file /usr/lib/llvm*/lib/libclang.so* /usr/lib/llvm*/lib/libclang-*.so* /usr/lib64/libclang.so* \
            /usr/lib/libclang.so* /usr/lib/*-linux-gnu/libclang-*.so* /usr/local/lib/libclang.so* &&
            any_file /usr/lib/llvm*/lib/clang/*/include/stddef.h /usr/lib/clang/*/include/stddef.h \
                /usr/lib64/clang/*/include/stddef.h /usr/local/lib/clang/*/include/stddef.h
    fi
}

any_file() {
    for file in "$@"; do
        if [ -e "$file" ]; then return 0; fi
    done
    return 1
}

# Prints the missing parts, one word each; fails when the chosen Python cannot be used at all.
missing_parts() {
    if ! have cc; then echo compiler; fi
    if ! have_httpd; then echo httpd; fi
    if ! have_apxs; then echo apxs; fi
    if ! have_libclang; then echo libclang; fi
    # The scenarios on time zones need the database of them, which minimal images leave out.
    if ! any_file "${ZONEINFO:-/usr/share/zoneinfo}"/Asia/Tokyo; then echo zoneinfo; fi
    # What scenarios and `make faults` call; a scenario whose program is not there would be skipped.
    for program in curl pgrep prlimit $more; do
        if ! have "$program"; then echo "$program"; fi
    done
    if have "$python"; then
        "$python" "$here/python_facts.py"
    elif [ "$python" = /usr/bin/python3 ]; then
        printf 'python\npython-headers\nvenv\n'
    else
        echo "setup: PYTHON=$python: no such program" >&2
        return 3
    fi
}

# packages DISTRIBUTION PART...: the packages that bring these parts, in one line.
packages() {
    distribution=$1
    shift
    # A Python beside the distribution's default one has packages of its own name.
    name=python3
    case $python in
        /usr/bin/python3.[0-9]*) name=${python#/usr/bin/} ;;
    esac
    line=
    for part in "$@"; do
        case $distribution:$part in
            debian:compiler) add="gcc libc6-dev" ;;
            # Never `apache2`: it starts a service on port 80.
            debian:httpd) add=apache2-bin ;;
            debian:apxs) add=apache2-dev ;;
            debian:libclang) add=libclang-dev ;;
            debian:python) add=python3 ;;
            debian:python-headers) add=$name-dev ;;
            debian:venv) add=$name-venv ;;
            fedora:compiler) add=gcc ;;
            fedora:httpd) add="httpd-core mod_ssl" ;;
            fedora:apxs) add="httpd-devel redhat-rpm-config" ;;
            fedora:libclang) add=clang-devel ;;
            fedora:python | fedora:venv) add=$name ;;
            fedora:python-headers) add=$name-devel ;;
            alpine:compiler) add=build-base ;;
            alpine:httpd) add="apache2 apache2-ssl apache2-proxy" ;;
            alpine:apxs) add=apache2-dev ;;
            alpine:libclang) add=clang-dev ;;
            alpine:python | alpine:venv) add=python3 ;;
            alpine:python-headers) add=python3-dev ;;
            *:zoneinfo) add=tzdata ;;
            fedora:pgrep) add=procps-ng ;;
            *:pgrep) add=procps ;;
            *:prlimit) add=util-linux ;;
            *:curl | *:wrk | *:gdb | *:valgrind) add=$part ;;
        esac
        line="$line $add"
    done
    echo "${line# }"
}

print_commands() {
    cat >&2 <<END
setup: missing: $(echo "$missing" | tr '\n' ' ')
setup: give the one of these commands that fits this system, as root, and start again:

  Debian, Ubuntu:  apt-get update && apt-get install --no-install-recommends $(packages debian $missing)
  Fedora:          dnf install $(packages fedora $missing)
  Alpine:          apk add $(packages alpine $missing)

END
}

# Package lists that are missing or old lead to files that the mirrors no longer have.
lists_are_fresh() {
    [ -n "$(find "${APT_LISTS:-/var/lib/apt/lists}" -name '*_Packages*' -mtime -1 2>/dev/null | head -n 1)" ]
}

install_debian() {
    echo "setup: installing $(packages debian $missing)"
    if ! lists_are_fresh; then
        $1 apt-get update --quiet
    fi
    $1 env DEBIAN_FRONTEND=noninteractive apt-get install --quiet --yes --no-install-recommends \
        $(packages debian $missing)
}

missing=$(missing_parts) || exit $?
if [ -n "$missing" ]; then
    if ! have apt-get; then
        print_commands
        exit 1
    elif [ "$(id -u)" = 0 ]; then
        install_debian ""
    elif ! have sudo; then
        print_commands
        exit 1
    elif [ "${SETUP:-}" = auto ]; then
        install_debian sudo
    elif [ -t 0 ] && [ -t 2 ]; then
        printf 'setup: install %s with sudo? [y/N] ' "$(packages debian $missing)" >&2
        read -r answer || answer=
        case $answer in
            y | Y | yes) install_debian sudo ;;
            *)
                print_commands
                exit 1
                ;;
        esac
    else
        print_commands
        echo "setup: or start again with SETUP=auto, which uses sudo without asking" >&2
        exit 1
    fi
    missing=$(missing_parts) || exit $?
    if [ -n "$missing" ]; then
        echo "setup: still missing after the installation: $(echo "$missing" | tr '\n' ' ')" >&2
        exit 1
    fi
fi

if ! have cargo; then
    echo "setup: cargo is not in PATH: install Rust $(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$root/Cargo.toml") or newer" >&2
    exit 1
fi

"$here/environment.sh" "${ENVIRONMENT:-$root/target/venv}" "$here/requirements/scenarios.txt"
