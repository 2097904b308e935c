//! The text of a new spec, with a comment for each key.

use std::fmt::Write;

use crate::project::{Candidate, Project, Serve, Venv};

/// What a spec is written for.
pub(super) struct Wanted<'a> {
    /// The name of the server.
    pub(super) name: &'a str,
    /// The user that serves when root starts it.
    pub(super) user: Option<String>,
    pub(super) found: &'a Project,
    pub(super) best: &'a Candidate,
}

pub(super) fn spec(wanted: &Wanted<'_>) -> String {
    let Wanted { name, user, found, best } = wanted;
    let mut text = format!(
        r#"# A spec of confgen for {title}.
#
#   confgen start {SPEC}   serves the application in the foreground
#   confgen check {SPEC}   reports every mistake, and lets httpd check what would be rendered
#   confgen render {SPEC} -o DIR   writes the configuration of a server into a folder
#
# Relative paths begin at the folder of this file. `confgen schema` prints every key with its meaning.

# The version of this format.
schema: confgen/1

# Apache's httpd.
server:
  # The name under which `confgen status`, `confgen stop` and `confgen graceful` know the server.
  name: {name}
  # Where it listens. 127.0.0.1 is reached from this machine only; `http: 8000` listens on every address.
  listen: {{http: "127.0.0.1:8000"}}
"#,
        title = one_line(&best.title()),
        SPEC = super::SPEC,
        name = quoted(name),
    );
    if let Some(user) = user {
        let _ =
            write!(text, "  # The user that serves requests. It needs a start as root.\n  user: {}\n", quoted(user));
    }
    text += match &found.venv {
        Some(_) => {
            "\n# Python.\nruntime:\n  python:\n    # The virtual environment that has the packages of the application.\n"
        }
        None => {
            "\n# Python is the system's own. A virtual environment that has the packages of the application is named like this:\n# runtime: {python: {venv: .venv}}\n"
        }
    };
    if let Some(Venv::Inside(path) | Venv::Activated(path)) = &found.venv {
        let _ = writeln!(text, "    venv: {}", quoted(path));
    }
    text += &daemon(best);
    text += &site(wanted);
    text
}

fn daemon(best: &Candidate) -> String {
    let mut text = String::from(
        r"
# Groups of processes that run applications, by names of your own.
daemons:
  app:
    # The number of processes, and of the requests that each of them serves at the same time.
    processes: 1
    threads: 15
    # The working directory. Python imports modules from it too.
",
    );
    let _ = writeln!(text, "    home: {}", quoted(if best.home.is_empty() { "." } else { &best.home }));
    if let Some(folder) = &best.import_from {
        let _ = write!(
            text,
            "    # Further folders that Python imports modules from.\n    python-path: [{}]\n",
            quoted(folder)
        );
    }
    text + r"    # When changed code is loaded: `on-touch`, when the script is touched or the server restarts gracefully; `on-change`, when any
    # module of the application changes, which is meant for development.
    reload: on-touch
    # Environment variables of the application. A secret is read from a file, and is never shown.
    # env: {LOG_LEVEL: info, DATABASE_URL: {secret: {file: /run/secrets/database_url}}}
"
}

fn site(wanted: &Wanted<'_>) -> String {
    let best = wanted.best;
    let app = match &best.serve {
        Serve::Module(reference) => format!("module: {}", quoted(reference)),
        Serve::Script { path, callable } if callable == "application" => format!("script: {}", quoted(path)),
        Serve::Script { path, callable } => format!("script: {}, callable: {}", quoted(path), quoted(callable)),
        Serve::Made(_) => format!("script: {}", super::SCRIPT),
    };
    let mut text = format!(
        r"
# Virtual hosts, by names of your own.
sites:
  main:
    # The host names that the site answers for. Without this key it answers for every name.
    # hosts: [www.example.com]
    # URL paths, and the application at each of them.
    apps:
      /: {{{app}, daemon: app}}
"
    );
    let statics = &wanted.found.statics;
    if let [_, ..] = statics.as_slice() {
        text += "    # URL paths of folders whose files httpd sends itself, and how long clients keep them.\n";
    }
    if statics.iter().any(|folder| !folder.certain) {
        text += "    # This folder was found; remove the `#` if everybody may see all of its files.\n";
    }
    let all_certain = statics.iter().all(|folder| folder.certain);
    for (number, folder) in statics.iter().enumerate() {
        let mark = if all_certain { "" } else { "# " };
        if number == 0 {
            let _ = writeln!(text, "    {mark}static:");
        }
        let _ = writeln!(text, "    {mark}  {}: {{dir: {}, cache: 1h}}", folder.url, quoted(&folder.folder));
    }
    text
}

/// The spec with the script that it needs, which stands beside it, as a comment.
pub(super) fn with_script(spec: &str, script: Option<&str>) -> String {
    let Some(script) = script else { return spec.to_owned() };
    let mut text = format!("{spec}\n# The script {}, which belongs beside this file:\n#\n", super::SCRIPT);
    for line in script.lines() {
        let _ = writeln!(text, "{}", format!("#     {line}").trim_end());
    }
    text
}

/// A value of YAML. Words that are nothing else than text stand as they are.
fn quoted(value: &str) -> String {
    let starts = value.starts_with(|first: char| first.is_ascii_alphabetic() || matches!(first, '.' | '/' | '_'));
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_./".contains(letter);
    let word = matches!(
        value.to_ascii_lowercase().as_str(),
        "true" | "false" | "null" | "yes" | "no" | "on" | "off" | "y" | "n"
    );
    let number = value.starts_with('.')
        && value[1..].starts_with(|next: char| next.is_ascii_digit() || matches!(next, 'i' | 'I' | 'n' | 'N'));
    if starts && !word && !number && value.chars().all(plain) {
        return value.to_owned();
    }
    serde_json::to_string(value).unwrap_or_default()
}

/// A text that stays in its comment.
fn one_line(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::{Document, Format};

    #[test]
    fn values_stay_text() {
        assert_eq!(quoted("shop/static"), "shop/static");
        assert_eq!(quoted("shop:app"), "\"shop:app\"");
        for value in ["null", "No", "1e3", ".5", ".inf", "a b", "#x", "a: b", "", "ü\"'\\"] {
            let read = Document::parse("x", quoted(value), Format::Yaml).unwrap().root;
            assert_eq!(read.as_str(), Some(value), "{}", quoted(value));
        }
    }
}
