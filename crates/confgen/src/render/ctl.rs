//! The script that starts, reloads and stops the server of a tree without confgen.

use std::path::Path as FsPath;

use super::server;
use super::tree::{CTL, Content, File};
use crate::document::Path;
use crate::facts::Facts;
use crate::spec::Spec;

/// What programs are found on; httpd itself needs nothing of the caller's environment.
const SEARCH_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

pub(super) fn file(spec: &Spec, facts: &Facts, root: &FsPath) -> File {
    let mut environment = format!("PATH={}", word(SEARCH_PATH));
    for (name, value) in server::environment(spec) {
        environment += &format!(" \\\n    {name}={}", word(&value));
    }
    let text = format!(
        r#"#!/bin/sh
# confgen made this from a spec: change the spec, not this file.
# httpd gets the environment below, and nothing of the caller's.
set -eu
root={root}
config=$root/httpd.conf
case ${{1:-}} in
start | restart | graceful | stop | graceful-stop) set -- -k "$1" ;;
foreground) set -- -DFOREGROUND ;;
configtest) set -- -t ;;
*)
    echo "usage: $0 start | restart | graceful | stop | graceful-stop | foreground | configtest" >&2
    exit 2
    ;;
esac
# httpd knows its predecessor by a number alone. One that another process has by now is forgotten.
pid=$(cat "$root/run/httpd.pid" 2>/dev/null || echo)
if [ -n "$pid" ] && [ -r /proc/self/cmdline ]; then
    tr '\\0' '\\n' <"/proc/$pid/cmdline" 2>/dev/null | grep -qxF "$config" || rm -f "$root/run/httpd.pid"
fi
exec env -i {environment} \
    {httpd} -d "$root" -f "$config" "$@"
"#,
        root = word(&root.display().to_string()),
        httpd = word(&facts.httpd.binary.display().to_string()),
    );
    let lines = text.lines().map(|_| vec![Path::of(["server", "environment"])]).collect();
    File { path: CTL.to_owned(), mode: 0o755, content: Content::Text { text, lines } }
}

/// A value as one word of the shell.
fn word(value: &str) -> String {
    format!("'{}'", value.replace('\'', r"'\''"))
}
