//! What the tests of rendering share: specs from text, a machine that is always the same, and this one.

use std::path::{Path, PathBuf};

use confgen::configuration::{Configuration, Texts, load_text};
use confgen::diagnostic::{Diagnostic, Severity, Style, render_all};
use confgen::document::{Document, Format};
use confgen::environment::Environment;
use confgen::facts::{Facts, ProbeOptions};
use confgen::lint::{Scripts, lint, structure};
use confgen::render::{RenderOptions, Tree, render_draft};
use confgen::spec::Draft;

/// The root of the workspace.
pub(crate) fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// A spec from YAML.
pub(crate) fn draft(text: &str) -> Draft {
    Draft::new(Document::parse("spec.yaml", text, Format::Yaml).unwrap_or_else(|error| panic!("{error}\n{text}")).root)
}

/// A machine that is the same everywhere; its files are not looked at.
pub(crate) fn machine() -> Facts {
    let path = workspace().join("examples/two-sites.facts.json");
    Facts::parse("facts.json", std::fs::read_to_string(path).unwrap()).unwrap()
}

/// This machine, with whichever wsgi module it has: ours if it was built, else the C module.
pub(crate) fn this_machine() -> Facts {
    let options = ProbeOptions::from_environment(&Environment::of_process());
    let mut facts = Facts::probe(&options).expect("apache2-bin is installed by `make setup`");
    if facts.wsgi.module.is_none() {
        facts.wsgi.module.clone_from(&facts.wsgi.mod_wsgi);
    }
    assert!(facts.wsgi.module.is_some(), "neither our module (`make build`) nor the C module (`make peer`) is there");
    facts
}

/// A rendered tree, or everything that is wrong, as text.
pub(crate) fn rendered(text: &str, facts: &Facts, options: &RenderOptions) -> Result<Tree, String> {
    let tree = render_draft(&draft(text), facts, options).map_err(|errors| shown(&errors))?;
    assert_clean(&tree, text);
    Ok(tree)
}

/// What lint finds in trees of these tests, with the reason why it is meant there.
const MEANT: &[(&str, &str)] = &[
    ("CG164", "mistakes that are made for httpd to find"),
    ("CG210", "groups without an application; confgen itself warns (CG150)"),
    ("CG213", "projects that share an interpreter; confgen itself judges them (CG155)"),
    ("CG214", "projects that share an interpreter; confgen itself judges them (CG155)"),
    ("CG229", "trees of tests stand in the temporary folder"),
    ("CG234", "every key of `restrict`, with both of its values"),
    ("CG247", "every key of an application"),
];

/// Lint finds nothing in a rendered tree that these tests do not mean.
pub(crate) fn assert_clean(tree: &Tree, spec: &str) {
    let text = tree.text("httpd.conf").unwrap_or_default().as_bytes().to_vec();
    let loaded = load_text(&tree.config(), text);
    let configuration = Configuration::of(&loaded.reading, loaded.partial);
    let texts = Texts::new(&loaded.reading);
    let mut found = structure(&configuration, &texts);
    found.extend(lint(&configuration, &texts, &Scripts::Files).into_iter().map(|reported| reported.diagnostic));
    found.retain(|finding| {
        // What a test says in httpd's own words is its own.
        let line = finding.span().map_or(0, |span| span.line_column().0);
        let raw = tree.keys_of_line("httpd.conf", line).iter().any(|key| key.to_string().starts_with("raw"));
        finding.severity > Severity::Note && !raw && !MEANT.iter().any(|(code, _)| *code == finding.code.id())
    });
    assert!(found.is_empty(), "{spec}\n{}", shown(&found));
}

/// Findings as text.
pub(crate) fn shown(diagnostics: &[Diagnostic]) -> String {
    render_all(diagnostics, Style::Plain)
}

/// The rendered `httpd.conf` for the machine that is always the same.
pub(crate) fn httpd_conf(text: &str) -> String {
    let tree = rendered(text, &machine(), &RenderOptions::default()).unwrap_or_else(|errors| panic!("{errors}"));
    tree.text("httpd.conf").unwrap().to_owned()
}
