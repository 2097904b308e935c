//! What people type by mistake: told in words of our own, with a place and advice.

use std::collections::BTreeSet;
use std::fs;

use assert_cmd::Command;
use confgen::document::{Document, Format};
use confgen::render::{RenderOptions, render_draft};
use confgen::spec::Draft;
use serde_json::{Value, json};

use crate::fixture::{machine, rendered, shown, workspace};

/// A text and what is said of it, in one of the two outcomes of reading and rendering.
fn said(text: &str) -> String {
    match Document::parse("spec.yaml", text, Format::Yaml) {
        Err(error) => shown(&[error.into()]),
        Ok(document) => match render_draft(&Draft::new(document.root), &machine(), &RenderOptions::default()) {
            Ok(tree) => shown(&tree.warnings),
            Err(errors) => shown(&errors),
        },
    }
}

#[test]
fn mistakes_have_words_place_and_advice() {
    for (text, words, place, advice) in [
        (
            "daemons: {d: {env: {D: 010}}}",
            "`daemons.d.env.D` is a number, expected text",
            "1:24",
            "quote the value to keep its text",
        ),
        ("daemons: {d: {threads: 4.0}}", "is a number, expected an integer", "1:24", ""),
        ("sites: {s: }", "`sites.s` is null, expected a map", "1:10", ""),
        ("sites: {}\n---\nsites: {}", "there is more than one document in the file", "3:1", "keep one"),
        ("sites: &a {s: *a}", "an alias stands inside the value that it stands for", "1:15", "write the value out"),
        (
            "sites: *nope",
            "there is no anchor of this name before the alias",
            "1:8",
            "`&NAME` in front of a value makes one",
        ),
        ("sites:\n\ts: {}", "a tab cannot indent", "2:2", "use blanks"),
        ("sites: {s: {<<: 3}}", "`<<` takes a map, or a list of maps", "1:17", "<<: *NAME"),
        ("a: [1", "this is no well-formed YAML", "1:", "the reader says: "),
        (
            "sites: {s: {hosts: ['host:80']}}",
            "does not have the right form: \"host:80\"",
            "1:21",
            "ports stand in `server.listen`",
        ),
        ("sites: {s: {hosts: ['[::1]']}}", "does not have the right form: \"[::1]\"", "1:21", "leave out `hosts`"),
        (
            "sites: {s: {hosts: [\"a\u{200b}\u{ad}b\u{fdd0}.example\"]}}",
            "letters that names on the internet cannot have",
            "1:21",
            "",
        ),
        ("server: {listen: {http: null}}", "`http: null` leaves no port to listen on", "1:25", "give `http` a port"),
        (
            "sites: {s: {proxies: {trust: [0.0.0.0/0], headers: [X-Forwarded-For]}}}",
            "warning[CG151]: 0.0.0.0/0 is every address",
            "1:31",
            "name the proxies",
        ),
        (
            "sites: {s: {proxies: {trust: ['::/0'], headers: [X-Forwarded-For]}}}",
            "warning[CG151]: ::/0 is every address",
            "1:31",
            "",
        ),
        (
            "daemons: {idle: {}}",
            "warning[CG150]: nothing is sent to the daemon `idle`",
            "1:11",
            "give an application `daemon: idle`",
        ),
    ] {
        let said = said(text);
        for expected in [words, &format!("--> spec.yaml:{place}"), advice] {
            assert!(said.contains(expected), "{text}: no {expected:?} in\n{said}");
        }
    }
}

#[test]
fn a_daemon_is_used_by_whatever_names_it() {
    let with =
        |more: &str| rendered(&format!("daemons: {{d: {{}}}}\n{more}"), &machine(), &RenderOptions::default()).unwrap();
    for more in [
        "sites: {s: {apps: {/: {script: /a.wsgi, daemon: d}}}}",
        "sites: {s: {static: {/: {dir: /srv, handler: h}}, handlers: {h: {script: /h.py, daemon: d}}}}",
        "raw: [{at: server.end, text: 'WSGIScriptAlias /x /x.wsgi process-group=d'}]",
        "raw: [{at: server.end, text: 'WSGIScriptAlias /x /x.wsgi process-group=%{ENV:GROUP}'}]",
    ] {
        assert_eq!(shown(&with(more).warnings), "", "{more}");
    }
    assert!(
        shown(&with("raw: [{at: server.end, text: 'WSGIScriptAlias /x /x.wsgi process-group=dd'}]").warnings)
            .contains("CG150")
    );
}

/// Words of the libraries that read specs, which mean nothing to who writes one.
const FOREIGN: &[&str] = &[
    "untagged",
    "did not match any variant",
    "invalid type",
    "invalid value",
    "invalid length",
    "missing field",
    "unknown variant",
    "unknown field",
    "expected struct",
    " at line ",
    "EOF while",
];

/// The paths of all keys below a schema, with a name for what may have any name.
fn keys(root: &Value, schema: &Value, path: &[String], seen: &mut Vec<String>, into: &mut BTreeSet<Vec<String>>) {
    if let Some(reference) = schema["$ref"].as_str() {
        let name = reference.rsplit('/').next().unwrap().to_owned();
        if !seen.contains(&name) {
            seen.push(name.clone());
            keys(root, &root["$defs"][&name], path, seen, into);
            seen.pop();
        }
        return;
    }
    for list in ["anyOf", "oneOf", "allOf"] {
        for branch in schema[list].as_array().into_iter().flatten() {
            keys(root, branch, path, seen, into);
        }
    }
    let below = |name: &str| path.iter().cloned().chain([name.to_owned()]).collect::<Vec<_>>();
    for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
        into.insert(below(name));
        keys(root, schema, &below(name), seen, into);
    }
    let patterns = schema["patternProperties"].as_object().into_iter().flatten().map(|(_, schema)| schema);
    for schema in patterns.chain(Some(&schema["additionalProperties"]).filter(|schema| schema.is_object())) {
        // A name that fits wherever names are looked at.
        let name = match path.last().map(String::as_str) {
            Some("apps" | "static" | "upstreams") => "/p",
            Some("allow") => "CG150",
            _ => "n",
        };
        into.insert(below(name));
        keys(root, schema, &below(name), seen, into);
    }
    if schema["items"].is_object() {
        keys(root, &schema["items"], &below("[]"), seen, into);
    }
}

fn nested(path: &[String], value: Value) -> Value {
    path.iter().rev().fold(value, |value, key| if key == "[]" { json!([value]) } else { json!({ key: value }) })
}

/// The paths of all keys of a spec.
pub(crate) fn all_keys() -> BTreeSet<Vec<String>> {
    let schema = confgen::spec::relative::published_schema();
    let mut all = BTreeSet::new();
    keys(&schema, &schema, &[], &mut Vec::new(), &mut all);
    all
}

#[test]
fn no_value_of_a_wrong_type_brings_up_words_of_a_library() {
    let all = all_keys();
    assert!(all.len() > 250, "{}", all.len());
    let values = [
        json!(null),
        json!(true),
        json!(3),
        json!(1.5),
        json!(-1),
        json!("text"),
        json!([]),
        json!({}),
        json!([null]),
        json!({"n": null}),
    ];
    for path in &all {
        for value in &values {
            let text = nested(path, value.clone()).to_string();
            let said = said(&text);
            for foreign in FOREIGN {
                assert!(!said.contains(foreign), "{text}\n{said}");
            }
            assert!(
                said.is_empty() || !said.contains("error[") || said.contains("--> spec.yaml:"),
                "no place: {text}\n{said}"
            );
        }
    }
}

#[test]
fn a_pipe_with_a_name_is_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let fifo = folder.path().join("spec.yaml");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let output = Command::cargo_bin("confgen")
        .unwrap()
        .args(["render"])
        .arg(&fifo)
        .timeout(std::time::Duration::from_secs(20))
        .output()
        .unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(error.contains("is a pipe, to which nobody may ever write") && error.contains("- < "), "{error}");
    // Those that a shell makes are read.
    let script = format!("{} render <(echo 'schema: confgen/1') 2>&1", env!("CARGO_BIN_EXE_confgen"));
    let output =
        Command::new("bash").args(["-c", &script]).timeout(std::time::Duration::from_secs(20)).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("has no site"), "{text}");
}

#[test]
fn the_example_is_rendered_on_a_machine_that_is_not_its_own() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["two-sites.yaml", "two-sites.facts.json"] {
        fs::copy(workspace().join("examples").join(name), folder.path().join(name)).unwrap();
    }
    let mut command = Command::cargo_bin("confgen").unwrap();
    command
        .args(["render", "two-sites.yaml", "--facts", "two-sites.facts.json", "-o", "tree"])
        .current_dir(folder.path());
    // Nothing of this machine: no secrets in the environment, and none in files.
    command.env_clear().env("PATH", "/usr/bin:/bin");
    let output = command.output().unwrap();
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}");
    let tree = folder.path().join("tree");
    assert!(fs::read_to_string(tree.join("httpd.conf")).unwrap().contains("WSGIDaemonProcess"));
    // What only the target knows is filled in there.
    assert!(text.contains("secrets are taken when the server starts"), "{text}");
    let secrets = fs::read_dir(tree.join("secrets")).map(|entries| entries.count()).unwrap_or_default();
    assert_eq!(secrets, 0, "{text}");
}
