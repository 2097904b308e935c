//! The script that starts, reloads and stops the server of a tree without confgen.

use std::fmt::Write;
use std::path::Path as FsPath;

use super::server;
use super::tree::{CTL, Content, File, SecretLine};
use crate::document::Path;
use crate::facts::Facts;
use crate::spec::{SecretSource, SecretTime, Spec};

/// What programs are found on; httpd itself needs nothing of the caller's environment.
const SEARCH_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// How a secret is read. No value is an argument of a program, which everybody could see.
const TAKE: &str = r#"
refuse() {
    echo "ctl: the secret $1 cannot be taken: $2" >&2
    exit 4
}
newline='
'
carriage=$(printf '\r')
# secret KEY NAME FILE: prints NAME=VALUE, of which the file holds the value.
secret() {
    [ -e "$3" ] || refuse "$1" "there is no file $3"
    [ -f "$3" ] || refuse "$1" "$3 is not a file"
    [ -r "$3" ] || refuse "$1" "$3 cannot be read"
    [ "$(tr -d '\000' <"$3" | wc -c)" -eq "$(wc -c <"$3")" ] || refuse "$1" "$3 has a NUL in it; encode the value (base64)"
    # The dot keeps line ends that the shell would drop.
    value=$(cat -- "$3" && echo .) || refuse "$1" "$3 cannot be read"
    value=${value%.}
    case $value in
    *"$newline")
        value=${value%"$newline"}
        value=${value%"$carriage"}
        ;;
    esac
    case $value in
    *"$newline"* | *"$carriage"*)
        refuse "$1" "$3 has more than one line; let the application read the file itself, or encode the value (base64)"
        ;;
    [[:space:]]* | *[[:space:]]) refuse "$1" "$3 begins or ends with a blank, which files of variables do not keep" ;;
    esac
    printf '%s=%s\n' "$2" "$value" || refuse "$1" "its value cannot be written"
}
"#;

pub(super) fn file(spec: &Spec, facts: &Facts, files: &[File], root: &FsPath) -> File {
    let mut environment = format!("PATH={}", word(SEARCH_PATH));
    for (name, value) in server::environment(spec) {
        environment += &format!(" \\\n    {name}={}", word(&value));
    }
    let secrets = Secrets::of(files);
    let text = format!(
        r#"#!/bin/sh
# confgen made this from a spec: change the spec, not this file.
# httpd gets the environment below, and nothing of the caller's.
set -eu
root={root}
config=$root/httpd.conf
{functions}case ${{1:-}} in
start | restart | graceful | stop | graceful-stop) set -- -k "$1" ;;
foreground) set -- -DFOREGROUND ;;
configtest) set -- -t ;;
*)
    echo "usage: $0 start | restart | graceful | stop | graceful-stop | foreground | configtest" >&2
    exit 2
    ;;
esac
{before}# httpd knows its predecessor by a number alone. One that another process has by now is forgotten.
pid=$(cat "$root/run/httpd.pid" 2>/dev/null || echo)
if [ -n "$pid" ] && [ -r /proc/self/cmdline ]; then
    tr '\000' '\n' <"/proc/$pid/cmdline" 2>/dev/null | grep -qxF "$config" || rm -f "$root/run/httpd.pid"
fi
run() {{
    exec env -i {environment} \
        {httpd} -d "$root" -f "$config" "$@"
}}
{stop}run "$@"
"#,
        root = word(&root.display().to_string()),
        httpd = word(&facts.httpd.binary.display().to_string()),
        functions = secrets.functions(),
        before = secrets.before(),
        stop = secrets.stop(),
    );
    let lines = text.lines().map(|_| vec![Path::of(["server", "environment"])]).collect();
    File { path: CTL.to_owned(), mode: 0o755, content: Content::Text { text, lines } }
}

/// The files with secrets that the script makes.
struct Secrets<'a> {
    files: Vec<(&'a str, &'a [SecretLine])>,
}

impl<'a> Secrets<'a> {
    fn of(files: &'a [File]) -> Self {
        let made = files.iter().filter_map(|file| match &file.content {
            Content::Secrets { lines, at: SecretTime::Start } => Some((file.path.as_str(), lines.as_slice())),
            _ => None,
        });
        Self { files: made.collect() }
    }

    /// Functions that make the files: all of them, or none when a value cannot be taken.
    fn functions(&self) -> String {
        if self.files.is_empty() {
            return String::new();
        }
        let (mut values, mut takes, mut moves, mut news) = (String::new(), String::new(), String::new(), String::new());
        for (number, (path, lines)) in self.files.iter().enumerate() {
            let _ = writeln!(values, "values_{number}() {{");
            for SecretLine { name, source, key } in *lines {
                // Variables are refused before.
                let SecretSource::File(file) = source else { continue };
                let _ = writeln!(values, "    secret {} {name} {}", word(&key.to_string()), word(file.as_str()));
            }
            values += "}\n";
            let path = format!("\"$root\"/{}", word(path));
            let _ =
                writeln!(takes, "    (values_{number}) >{path}.new || {{ status=$?; rm -f $news; exit \"$status\"; }}");
            let _ = writeln!(moves, "    mv -f {path}.new {path} || exit 4");
            news += &format!(" {path}.new");
        }
        let takes = takes.replace("rm -f $news", &format!("rm -f{news}"));
        let removed = news.replace(".new", "");
        format!(
            "# The values of secrets are read when the server starts, and when it reads its configuration again. They are not shown.{TAKE}{values}\
             # Each file is made beside its place, and put there once every value was taken.\n\
             take_secrets() (\n    test_secrets || exit\n    umask 077\n    mkdir -p \"$root/secrets\" || exit 4\n    rm -f{news}\n    set -C\n{takes}{moves})\n\
             test_secrets() ({tests})\n\
             forget_secrets() {{\n    rm -f{removed}\n}}\n",
            tests = (0..self.files.len())
                .map(|number| format!(" (values_{number}) >/dev/null || exit;"))
                .collect::<String>()
        )
    }

    /// What is done before httpd is asked for anything.
    fn before(&self) -> &'static str {
        if self.files.is_empty() {
            return "";
        }
        "case $* in\n'-k stop' | '-k graceful-stop') ;;\n-t) test_secrets || exit ;;\n*) take_secrets || exit ;;\nesac\n"
    }

    /// A server that stops leaves no values behind. It reads its configuration no more once it has the signal.
    fn stop(&self) -> &'static str {
        if self.files.is_empty() {
            return "";
        }
        "case $* in\n'-k stop' | '-k graceful-stop')\n    (run \"$@\") || exit\n    forget_secrets\n    exit\n    ;;\nesac\n"
    }
}

/// A value as one word of the shell.
fn word(value: &str) -> String {
    format!("'{}'", value.replace('\'', r"'\''"))
}
