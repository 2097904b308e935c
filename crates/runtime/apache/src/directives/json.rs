//! What is generated from the tables: `directives.json` (from which confgen knows names, contexts and defaults) and the
//! reference pages. `UPDATE_GENERATED=1 cargo test -p mod_wsgi_rs` writes them anew; without it the tests compare.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::directives::daemon_options::{self, OPTIONS};
use crate::directives::mapping::ALIAS_OPTIONS;
use crate::directives::pages;
use crate::directives::spec::{Directive, Fallback, Support};
use crate::directives::table::DIRECTIVES;

/// A fallback as users read it.
pub(crate) fn default(fallback: Fallback) -> Option<String> {
    match fallback {
        Fallback::None => None,
        Fallback::Flag(true) => Some("On".to_owned()),
        Fallback::Flag(false) => Some("Off".to_owned()),
        Fallback::Number(number) => Some(number.to_string()),
        Fallback::Text(text) => Some(text.to_owned()),
    }
}

fn status(support: Support) -> &'static str {
    match support {
        Support::Supported => "supported",
        Support::Known => "known",
    }
}

fn directive(directive: &Directive) -> Value {
    let container = directive.name.to_bytes().starts_with(b"<");
    json!({
        "name": directive.plain_name(),
        "kind": if container { "container" } else { "directive" },
        "arity": directive.arity.name(),
        "contexts": directive.place.names(),
        "syntax": directive.syntax,
        "default": default(directive.fallback),
        "options": directive.options,
        "extension": directive.extension,
        "status": status(directive.support()),
        "help": directive.help.to_str().expect("help is text"),
    })
}

fn everything() -> Value {
    let mut rows: Vec<Value> = DIRECTIVES.iter().map(|row| directive(row)).collect();
    rows.extend(OPTIONS.iter().map(|option| {
        json!({
            "name": option.name,
            "kind": "daemon-option",
            "of": "WSGIDaemonProcess",
            "arity": "value",
            "contexts": [],
            "syntax": format!("{}={}", option.name, option.syntax),
            "default": (!option.default.is_empty()).then_some(option.default),
            "options": [],
            "extension": option.extension,
            "status": "supported",
            "help": option.help,
        })
    }));
    rows.extend(ALIAS_OPTIONS.iter().map(|(name, syntax, help)| {
        json!({
            "name": name,
            "kind": "alias-option",
            "of": "WSGIScriptAlias",
            "arity": "value",
            "contexts": [],
            "syntax": format!("{name}={syntax}"),
            "default": null,
            "options": [],
            "extension": false,
            "status": "supported",
            "help": help,
        })
    }));
    Value::Array(rows)
}

/// The folder of this package.
pub(crate) fn own_folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

#[expect(clippy::disallowed_methods, reason = "the switch of `make generate`")]
fn updating() -> bool {
    std::env::var_os("UPDATE_GENERATED").is_some_and(|value| value == "1")
}

fn compare(path: &Path, wanted: &str) {
    if updating() {
        std::fs::create_dir_all(path.parent().expect("a file lies in a folder")).expect("the source tree is writable");
        std::fs::write(path, wanted).expect("the source tree is writable");
        return;
    }
    let present = std::fs::read_to_string(path).unwrap_or_default();
    assert!(present == wanted, "{} is out of date: run `make generate`", path.display());
}

#[test]
fn generated_files_are_current() {
    let own = own_folder();
    let docs = own.join("../../../docs");
    let text = serde_json::to_string_pretty(&everything()).expect("plain values");
    compare(&own.join("directives.json"), &format!("{text}\n"));
    let pages = pages::pages(&own.join("reference"));
    for (name, text) in &pages {
        compare(&docs.join(name), text);
    }
    for entry in std::fs::read_dir(docs.join("directives")).expect("the folder of the pages").flatten() {
        let name = format!("directives/{}", entry.file_name().to_string_lossy());
        assert!(pages.contains_key(&name), "docs/{name} is of a directive that does not exist: remove it");
    }
    compare(&docs.join("errors.md"), &crate::codes::page());
    compare(&docs.join("metrics.md"), &crate::observe::page());
}

// Covers: rule:config/directives-all
#[test]
fn all_of_mod_wsgi_is_known() {
    let theirs = DIRECTIVES.iter().filter(|row| !row.extension).count();
    assert_eq!(theirs, 49, "48 directives and one container");
    assert_eq!(OPTIONS.iter().filter(|option| !option.extension).count(), 44);
}

#[test]
fn names_are_unique_and_options_stand_in_their_tables() {
    let mut names: Vec<&str> = DIRECTIVES.iter().map(|row| row.plain_name()).collect();
    names.sort_unstable();
    let count = names.len();
    names.dedup();
    assert_eq!(names.len(), count, "a directive stands twice");
    assert_eq!(daemon_options::NAMES.len(), OPTIONS.len());
    let aliases: Vec<&str> = ALIAS_OPTIONS.iter().map(|(name, ..)| *name).collect();
    let row = DIRECTIVES.iter().find(|row| row.plain_name() == "WSGIScriptAlias").expect("it is there");
    assert_eq!(row.options, aliases);
    for row in DIRECTIVES {
        assert!(row.help.to_bytes().ends_with(b"."), "{}", row.plain_name());
        assert!(!row.syntax.is_empty() && row.syntax != "value", "{} has no syntax", row.plain_name());
    }
}

#[test]
fn the_options_of_the_table_have_the_defaults_of_a_new_group() {
    use crate::directives::daemon_group::DaemonGroup;
    use crate::directives::daemon_reading::Value;
    let mut group = DaemonGroup::for_tests();
    for option in OPTIONS {
        let (shown, scale) = match option.value {
            Value::Seconds(slot) => (*slot(&mut group), 1000),
            Value::Size(slot) => (*slot(&mut group), 1),
            Value::Text(_) | Value::Own(_) => continue,
        };
        let documented = option.default.parse().unwrap_or(0u64);
        assert_eq!(shown, documented * scale, "{}", option.name);
    }
}
