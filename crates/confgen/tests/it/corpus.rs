//! Configurations as people have them: read, printed, formatted, judged, imported.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use confgen::conf;
use confgen::configuration::{Configuration, Loaded, Texts, load, load_text};
use confgen::diagnostic::Diagnostic;
use confgen::directives::{has_code, has_directives, spelled, takes_words};
use confgen::document::{Document, Format};
use confgen::import::httpd::import;
use confgen::lint::{Scripts, lint, structure};
use confgen::route::{Request, route};
use confgen::spec::Draft;
use proptest::prelude::*;

const NAMES: conf::Names = conf::Names { spelled, takes_words, has_directives, has_code };

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/configurations")
}

/// Every file of a folder, in the order of their names.
fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for entry in entries {
        match entry.is_dir() {
            true => files(&entry, found),
            false => found.push(entry),
        }
    }
}

/// The configurations by their names: servers' folders whole, other files one by one.
fn configurations() -> Vec<(String, PathBuf)> {
    let mut all = Vec::new();
    files(&corpus(), &mut all);
    let trees = ["debian-like", "rhel-like"];
    let name = |path: &Path| path.strip_prefix(corpus()).unwrap().display().to_string();
    let mut found: Vec<(String, PathBuf)> =
        trees.iter().map(|tree| ((*tree).to_owned(), corpus().join(tree))).collect();
    for path in all {
        let name = name(&path);
        let within = trees.iter().any(|tree| name.starts_with(tree));
        if !within && (name.ends_with(".conf") || name.ends_with(".htaccess")) {
            found.push((name, path));
        }
    }
    found
}

fn loaded(path: &Path) -> Loaded {
    let mut all = load(path).unwrap();
    assert_eq!(all.len(), 1, "{}", path.display());
    all.pop().unwrap()
}

#[test]
fn every_file_is_printed_as_it_is_and_formatted_once_and_for_all() {
    let mut all = Vec::new();
    files(&corpus(), &mut all);
    let mut seen = 0;
    for path in all.iter().filter(|path| !path.ends_with("README.md") && !path.ends_with("envvars")) {
        let bytes = fs::read(path).unwrap();
        let tree = conf::parse(&bytes);
        assert_eq!(tree.print(&bytes), bytes, "{}", path.display());
        assert_eq!(tree.problems, [], "{}", path.display());
        let once = conf::format(&bytes, NAMES).unwrap();
        assert_eq!(conf::format(&once, NAMES).unwrap(), once, "{}", path.display());
        seen += 1;
    }
    assert!(seen >= 60, "{seen}");
}

/// What is in effect, without places and with names in one case.
fn effect(nodes: &[confgen::conf::reader::Node], text: &mut String) {
    for node in nodes {
        let words: Vec<String> = node.words.iter().map(|word| String::from_utf8_lossy(word).into_owned()).collect();
        writeln!(text, "{} {words:?} {}", node.name.to_lowercase(), node.open).unwrap();
        effect(node.children.as_deref().unwrap_or_default(), text);
    }
}

#[test]
fn formatting_changes_nothing_that_is_read() {
    for (name, path) in configurations().iter().filter(|(_, path)| path.is_file()) {
        let mut before = String::new();
        effect(&loaded(path).reading.nodes, &mut before);
        let folder = tempfile::tempdir().unwrap();
        let copy = folder.path().join(path.file_name().unwrap());
        fs::write(&copy, conf::format(&fs::read(path).unwrap(), NAMES).unwrap()).unwrap();
        let mut after = String::new();
        effect(&loaded(&copy).reading.nodes, &mut after);
        assert_eq!(before, after, "{name}");
    }
}

fn judged(loaded: &Loaded) -> Vec<Diagnostic> {
    let configuration = Configuration::of(&loaded.reading, loaded.partial);
    let texts = Texts::new(&loaded.reading);
    let mut found = structure(&configuration, &texts);
    found.extend(
        lint(&configuration, &texts, &Scripts::Given(std::collections::BTreeMap::new()))
            .into_iter()
            .map(|reported| reported.diagnostic),
    );
    found
}

#[test]
fn what_lint_finds_in_each() {
    let mut text = String::new();
    assert!(configurations().len() >= 45);
    for (name, path) in configurations() {
        let loaded = loaded(&path);
        assert_eq!(loaded.reading.refusal, None, "{name}");
        writeln!(text, "{name}").unwrap();
        for finding in judged(&loaded) {
            let span = finding.span().unwrap();
            let file = span.source.name.replace(&format!("{}/", corpus().display()), "");
            let file = file.strip_prefix(&name).unwrap_or(&file).trim_start_matches('/').to_owned();
            let place = if file.is_empty() { String::new() } else { format!("{file}:") };
            writeln!(text, "    {} {place}{} {}", finding.code.id(), span.line_column().0, finding.message).unwrap();
        }
    }
    insta::assert_snapshot!("lint", text);
}

#[test]
fn every_one_becomes_a_spec() {
    for (name, path) in configurations() {
        let loaded = loaded(&path);
        let configuration = Configuration::of(&loaded.reading, loaded.partial);
        let imported = import(&configuration, "imported");
        let text = serde_json::to_string(&imported.spec).unwrap();
        let document = Document::parse("spec.json", text.clone(), Format::Json).unwrap();
        let draft = Draft::new(document.root);
        let errors: Vec<String> = draft.errors.iter().map(ToString::to_string).collect();
        // A placeholder that no template replaced is no name of a user; `check` says so.
        let expected = usize::from(name == "template-leftover.conf");
        assert_eq!(errors.len(), expected, "{name}: {errors:?} {text}");
        // Every application of the configuration is in the spec, or in the text that is kept.
        for mount in &configuration.mounts {
            assert!(text.contains(&mount.script), "{name}: {}", mount.script);
        }
    }
}

/// Lines of all configurations, put together and damaged: nothing ends in a panic, and what is printed is what was read.
#[test]
fn damaged_configurations_are_read_judged_and_imported_without_a_panic() {
    let mut all = Vec::new();
    files(&corpus(), &mut all);
    let lines: Vec<Vec<u8>> = all
        .iter()
        .filter(|path| !path.ends_with("README.md"))
        .flat_map(|path| {
            fs::read(path).unwrap().split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect::<Vec<_>>()
        })
        .collect();
    proptest!(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() }, |(
        chosen in proptest::collection::vec(0..lines.len(), 1..60),
        damages in proptest::collection::vec((any::<proptest::sample::Index>(), prop_oneof![
            Just(b"\\\n".to_vec()), Just(b"\"".to_vec()), Just(b"'".to_vec()), Just(b">".to_vec()), Just(b"<".to_vec()), Just(b"${".to_vec()),
            Just(b"}".to_vec()), Just(b"\0".to_vec()), Just(b"%{".to_vec()), Just(b"=".to_vec()), Just(b"/".to_vec()), Just(b"\xff".to_vec()),
            Just(b"".to_vec()), Just(b" ".to_vec()), Just(b"\n".to_vec()), Just(b"99999999999999999999".to_vec()), Just("ä€".as_bytes().to_vec()),
        ]), 0..12),
        url in "(http|https)://[a-z.]{1,12}(:[0-9]{1,5})?/[a-zA-Z0-9%./?=\\[\\]ä]{0,24}",
    )| {
        let mut text: Vec<u8> = chosen.iter().flat_map(|line| lines[*line].clone()).collect();
        for (place, damage) in damages {
            let at = place.index(text.len() + 1);
            text.splice(at..(at + 1).min(text.len()), damage);
        }
        let tree = conf::parse(&text);
        prop_assert_eq!(tree.print(&text), text.clone());
        if let Ok(once) = conf::format(&text, NAMES) {
            prop_assert_eq!(conf::format(&once, NAMES).unwrap(), once);
        }
        let loaded = load_text(Path::new("/nonexistent/x.conf"), text);
        let _ = judged(&loaded);
        let configuration = Configuration::of(&loaded.reading, loaded.partial);
        let imported = import(&configuration, "x");
        prop_assert_eq!(&imported.spec["schema"], "confgen/1");
        if let Ok(request) = Request::parse(&url) {
            let _ = route(&configuration, &request, false);
            let _ = route(&configuration, &request, true);
        }
    });
}
