//! Relative paths in a spec: they begin at the folder of the file that they are written in.

use std::path::{Component, Path as FsPath, PathBuf};

use serde_json::Value as Json;

use super::{MODEL_SCHEMA, Model};
use crate::document::{Node, Path, Segment, Value, schema};

/// What the schema calls a value that has to be an absolute path. [`super::scalar::FilePath`] says so.
const EXPECTED: &str = "an absolute path";

/// Makes the relative paths of a tree absolute. `folder` says for the name of a source where its relative paths begin; without
/// a folder they stay as they are, and are refused later.
#[must_use]
pub fn resolved(mut root: Node, folder: impl Fn(&str) -> Option<PathBuf>) -> Node {
    for (path, diagnostic) in schema::find(&MODEL_SCHEMA, &root) {
        let texts = diagnostic.labels.iter().map(|label| &label.text).chain(&diagnostic.notes).chain(&diagnostic.help);
        if !texts.chain([&diagnostic.message]).any(|text| text.contains(EXPECTED)) {
            continue;
        }
        let Some(node) = find_mut(&mut root, path.segments()) else { continue };
        let Some(text) = node.as_str().filter(|text| is_relative(text, &path)) else { continue };
        if let Some(folder) = folder(&node.span.source.name) {
            node.value = Value::String(joined(&folder, text));
        }
    }
    root
}

/// Whether a text that is no absolute path is meant to be a path. Where a word may stand too, it has to have a slash.
fn is_relative(text: &str, path: &Path) -> bool {
    let word_fits = path.last_key() == Some("module");
    !text.is_empty()
        && !text.starts_with(['~', '$', '|'])
        && !text.contains(char::is_control)
        && (!word_fits || text.contains('/'))
}

/// The path without `.` and `..`: httpd compares paths by their text. A slash at the end stays, as it tells a folder of scripts.
fn joined(folder: &FsPath, text: &str) -> String {
    let mut path = PathBuf::new();
    for component in folder.join(text).components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                path.pop();
            }
            other => path.push(other),
        }
    }
    let slash = if text.ends_with('/') { "/" } else { "" };
    format!("{}{slash}", path.display())
}

fn find_mut<'a>(root: &'a mut Node, path: &[Segment]) -> Option<&'a mut Node> {
    path.iter().try_fold(root, |node, segment| match (segment, &mut node.value) {
        (Segment::Key(key), Value::Map(map)) => map.get_mut(key),
        (Segment::Index(index), Value::Seq(items)) => items.get_mut(*index),
        _ => None,
    })
}

/// The JSON Schema of specs as files: it takes relative paths too.
pub fn published_schema() -> Json {
    let mut schema = schema::of::<Model>();
    relax(&mut schema);
    schema
}

fn relax(schema: &mut Json) {
    match schema {
        Json::Object(map) => {
            let expected = map.get("x-expected").and_then(Json::as_str).unwrap_or_default().to_owned();
            if expected.contains(EXPECTED) {
                map.insert("x-expected".to_owned(), expected.replace(EXPECTED, "a path").into());
                let pattern = map.get("pattern").and_then(Json::as_str).unwrap_or_default();
                let words = pattern.strip_suffix("|/.*)$").map(|words| format!("{words}|.*/.*)$"));
                map.insert("pattern".to_owned(), words.unwrap_or_else(|| "^[^~$|]".to_owned()).into());
            }
            if expected == EXPECTED {
                let meaning = "A path of the file system. A relative one begins at the folder of the spec.";
                map.insert("description".to_owned(), meaning.into());
            }
            map.values_mut().for_each(relax);
        }
        Json::Array(items) => items.iter_mut().for_each(relax),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::{Document, Format};
    use crate::spec::Spec;

    fn read(text: &str) -> Result<Spec, String> {
        let root = Document::parse("spec.yaml", text, Format::Yaml).unwrap().root;
        let root = resolved(root, |name| (name == "spec.yaml").then(|| PathBuf::from("/srv/project")));
        Spec::from_node(root).map_err(|errors| crate::diagnostic::render_all(&errors, crate::diagnostic::Style::Plain))
    }

    #[test]
    fn paths_begin_at_the_folder_of_the_spec() {
        let spec = read(
            "runtime: {module: ./m.so, python: {venv: ../venv}}\ndaemons: {d: {python-path: [src, /abs], env: {A: {secret: {file: key}}}}}\n\
             sites: {s: {apps: {/: {script: ./app.wsgi, access: doors/a.py}, /x/: {script: scripts/}}}}\n",
        )
        .unwrap();
        let text = spec.root.to_json().to_string();
        for path in [
            "/srv/project/m.so",
            "\"/srv/venv\"",
            "[\"/srv/project/src\",\"/abs\"]",
            "\"/srv/project/key\"",
            "\"/srv/project/app.wsgi\"",
            "\"/srv/project/doors/a.py\"",
            "\"/srv/project/scripts/\"",
        ] {
            assert!(text.contains(path), "{path}: {text}");
        }
    }

    #[test]
    fn what_is_no_path_stays_wrong() {
        for (text, expected) in [
            ("runtime: {module: mod_wgsi}", "expected `auto`"),
            ("sites: {s: {health: {path: healthz}}}", "expected a path that begins with `/`"),
            ("server: {log: {to: fiels}}", "fiels"),
            ("sites: {s: {apps: {/: {script: ''}}}}", "an absolute path"),
        ] {
            let errors = read(text).unwrap_err();
            assert!(errors.contains(expected), "{text}: {errors}");
        }
        let root = Document::parse("<stdin>", "daemons: {d: {home: x}}", Format::Yaml).unwrap().root;
        assert!(Spec::from_node(resolved(root, |_| None)).is_err(), "standard input has no folder");
    }

    #[test]
    fn the_published_schema_takes_relative_paths() {
        let schema = published_schema();
        let node =
            Document::parse("s", "daemons: {d: {home: x}}\nruntime: {module: ./m.so}", Format::Yaml).unwrap().root;
        assert!(schema::check(&schema, &node).is_empty());
        let node = Document::parse("s", "runtime: {module: mod_wgsi}", Format::Yaml).unwrap().root;
        assert_eq!(schema::check(&schema, &node).len(), 1);
    }
}
