//! Whether the wsgi module has what the rendered configuration uses: by the module's own table, which knows extensions of
//! ours (the C module has none of them) and directives that our module does not have yet.

use super::builder::Builder;
use super::origin::Finished;
use crate::diagnostic::{Code, Diagnostic};
use crate::directives::{self, Directive, Kind, Status};
use crate::document::Path;

pub(super) fn check(builder: &mut Builder<'_>, finished: &Finished) {
    let mut statement = String::new();
    let mut keys: Vec<Vec<Path>> = Vec::new();
    for (line, origins) in finished.text.lines().zip(&finished.lines) {
        let (part, continues) = match line.strip_suffix('\\') {
            Some(part) => (part, true),
            None => (line, false),
        };
        statement.push_str(part);
        keys.push(origins.clone());
        if continues {
            continue;
        }
        check_statement(builder, &statement, &keys);
        statement.clear();
        keys.clear();
    }
}

fn check_statement(builder: &mut Builder<'_>, statement: &str, keys: &[Vec<Path>]) {
    let statement = statement.trim_start().trim_start_matches('<');
    let name =
        statement.split(|character: char| character.is_whitespace() || character == '>').next().unwrap_or_default();
    if !name.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("wsgi")) {
        return;
    }
    let last = || keys.iter().flatten().next_back().cloned().unwrap_or_default();
    let Some(entry) = directives::directive(name) else {
        let known = directives::all()
            .iter()
            .filter(|entry| matches!(entry.kind, Kind::Directive | Kind::Container))
            .map(|entry| entry.name.as_str());
        let diagnostic = Diagnostic::error(Code::UnknownValue, format!("`{name}` is no directive of mod_wsgi"))
            .did_you_mean(name, known);
        builder.report(&last(), "", diagnostic);
        return;
    };
    judge(builder, entry, &last(), &format!("`{}`", entry.name));
    if entry.name != "WSGIDaemonProcess" {
        return;
    }
    for (option, key) in options(statement, keys) {
        match directives::daemon_option(&option) {
            Some(entry) => judge(builder, entry, &key, &format!("the option `{}`", entry.name)),
            None => {
                let known = directives::all()
                    .iter()
                    .filter(|entry| entry.kind == Kind::DaemonOption)
                    .map(|entry| entry.name.as_str());
                let diagnostic =
                    Diagnostic::error(Code::UnknownValue, format!("`{option}` is no option of WSGIDaemonProcess"));
                builder.report(&key, "", diagnostic.did_you_mean(&option, known));
            }
        }
    }
}

/// Names of `name=value` options outside quotes, each with the key of the line that it stands on. Rendered options stand
/// one to a line; those of a raw text share one.
fn options(statement: &str, keys: &[Vec<Path>]) -> Vec<(String, Path)> {
    let mut names = Vec::new();
    let mut word = String::new();
    let mut quoted = false;
    let mut escaped = false;
    for character in statement.chars().chain([' ']) {
        if quoted {
            quoted = escaped || character != '"';
            escaped = !escaped && character == '\\';
            continue;
        }
        match character {
            '"' => quoted = true,
            '=' if !word.is_empty() && !word.contains('=') => {
                names.push(word.clone());
                word.push('=');
            }
            character if character.is_whitespace() => word.clear(),
            character => word.push(character),
        }
    }
    let single_lines = keys.len() == names.len() + 1;
    let all = keys.iter().flatten().next_back().cloned().unwrap_or_default();
    names
        .into_iter()
        .enumerate()
        .map(|(index, name)| {
            let key = if single_lines { keys[index + 1].last().cloned() } else { None };
            (name, key.unwrap_or_else(|| all.clone()))
        })
        .collect()
}

fn judge(builder: &mut Builder<'_>, entry: &Directive, key: &Path, what: &str) {
    if builder.c_module() {
        if entry.extension {
            let diagnostic = Diagnostic::error(
                Code::Extension,
                format!("{what} is an extension of ours; the C module does not have it"),
            );
            builder.report(key, "", diagnostic.help("leave it out, or use `runtime.module: auto`"));
        }
    } else if entry.status == Status::Known {
        let diagnostic = Diagnostic::error(Code::NotSupported, format!("{what} is known, not supported yet"));
        let diagnostic = if entry.extension {
            diagnostic
        } else {
            diagnostic.note("with `runtime.module: mod_wsgi` the C module does it")
        };
        builder.report(key, "", diagnostic);
    }
}
