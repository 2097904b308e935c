//! What stands in a script in place of the application that was asked for, read without running anything.

use std::path::Path;

use crate::diagnostic::closest;

/// Names that applications usually have, most usual first.
const USUAL: &[&str] = &["application", "app", "wsgi_app", "wsgi", "handler"];

/// The name in a script that was probably meant by `wanted`.
pub(super) fn meant(script: &Path, wanted: &str) -> Option<String> {
    let text = std::fs::read_to_string(script).ok()?;
    let names = names(&text);
    let usual = USUAL.iter().find(|usual| names.iter().any(|name| name == *usual)).map(|usual| (*usual).to_owned());
    usual.filter(|usual| usual != wanted).or_else(|| {
        let others = names.iter().map(String::as_str).filter(|name| *name != wanted);
        closest(wanted, others).map(str::to_owned)
    })
}

/// The names that the lines without an indentation define.
fn names(text: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut add = |name: &str| {
        let name = name.trim();
        let is_name = !name.is_empty() && name.chars().all(|letter| letter.is_alphanumeric() || letter == '_');
        if is_name && !name.starts_with(|letter: char| letter.is_ascii_digit()) {
            names.push(name.to_owned());
        }
    };
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default();
        if let Some(rest) = ["def ", "class ", "async def "].iter().find_map(|word| line.strip_prefix(word)) {
            add(rest.split(['(', ':']).next().unwrap_or_default());
        } else if let Some((_, imported)) =
            line.strip_prefix("from ").or(line.strip_prefix("import ")).and_then(|rest| rest.split_once("import "))
        {
            for name in imported.trim_matches(['(', ')', ' ']).split(',') {
                add(name.rsplit(" as ").next().unwrap_or_default());
            }
        } else if let Some((target, value)) = line.split_once('=').filter(|(_, value)| !value.starts_with('=')) {
            let called = value.trim();
            // A number or a text is no application.
            if !called.starts_with(['"', '\'', '[', '{']) && called.parse::<f64>().is_err() {
                add(target.split(':').next().unwrap_or_default());
            }
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str, wanted: &str) -> Option<String> {
        let folder = tempfile::tempdir().unwrap();
        let script = folder.path().join("x.py");
        std::fs::write(&script, text).unwrap();
        meant(&script, wanted)
    }

    #[test]
    fn the_application_that_is_there_is_found() {
        assert_eq!(of("from flask import Flask\napp = Flask(__name__)\n", "application").as_deref(), Some("app"));
        assert_eq!(
            of("def aplication(environ, start_response):\n    pass\n", "application").as_deref(),
            Some("aplication")
        );
        assert_eq!(of("from shop import create as app\n", "application").as_deref(), Some("app"));
        assert_eq!(of("application = 5\n", "application"), None);
        assert_eq!(of("def inner():\n    app = 1\nif x == app: pass\n", "application"), None);
    }
}
