#!/bin/sh
# Writes the generated files anew, or compares them with what is checked in.
#
#   setup/generate.sh [--check]
#
# The directive tables' pages are written and compared by the module's own tests; here are the schemas that the two
# programs print, the pages of a spec's keys and of lint's rules, and docs/coverage.md, which is made from the tables and the annotations of all tests.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$here")
dist=$root/target/dist
cd "$root"

# generated FILE COMMAND...: the file is what the command prints.
generated() {
    file=$1
    shift
    "$@" >"$new"
    if cmp -s "$new" "$file"; then return; fi
    if [ "$check" = yes ]; then
        diff -u "$file" "$new" | head -n 40 || true
        echo "$file is not up to date: run \`make generate\`"
        stale=yes
    else
        mkdir -p "$(dirname "$file")"
        cp "$new" "$file"
        echo "wrote $file"
    fi
}

python=${PYTHON:-/usr/bin/python3}
check=no
if [ "${1:-}" = --check ]; then check=yes; fi
stale=no
new=$(mktemp)
trap 'rm -f "$new"' EXIT

rules() { "$dist/confgen" explain --json | "$python" -B "$here/lint_rules.py"; }
keys() { "$dist/confgen" schema | "$python" -B "$here/confgen_keys.py"; }

generated docs/confgen.schema.json "$dist/confgen" schema
generated docs/confgen-keys.md keys
generated docs/lint-rules.md rules
generated scenarios/schema.json "$dist/harness" schema
if [ "$check" = no ]; then
    UPDATE_GENERATED=1 "${CARGO:-cargo}" test --quiet --locked --package mod_wsgi_rs generated
fi

if [ "$check" = yes ]; then
    "$python" "$here/coverage.py" --check --complete || stale=yes
else
    "$python" "$here/coverage.py"
fi
[ "$stale" = no ]
