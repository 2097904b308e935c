//! Scenarios on a real httpd.

use std::fs;
use std::path::{Path, PathBuf};

use crate::command_line::harness;

/// A wsgi module to run with: the built one, else the C module.
fn module() -> PathBuf {
    let target = Path::new(env!("CARGO_BIN_EXE_harness")).ancestors().nth(2).unwrap();
    let found = [target.join("dist/mod_wsgi_rs.so"), target.join("peer/mod_wsgi.so")].into_iter().find(|path| path.exists());
    found.unwrap_or_else(|| panic!("there is no wsgi module below {}: run `make build` or `make peer` first", target.display()))
}

fn scenario(folder: &Path, expected: &str) -> PathBuf {
    let module = module().canonicalize().unwrap();
    let text = format!(
        r#"schema: harness/1
id: static-file
title: httpd serves a file
matrix: {{mpm: [event, prefork]}}
files: {{www/a.txt: "hello ${{{{ mpm }}}}"}}
server:
  runtime: {{module: {module:?}}}
  sites: {{main: {{static: {{/: {{dir: "${{dir}}/www"}}}}}}}}
steps:
  - {{id: a, http: {{get: /a.txt}}, check: {{status: 200, body: "{expected}${{{{ mpm }}}}"}}}}
  - {{id: stop, stop: {{}}}}
healthy: [a.status == 200, stop.exit == 0]
"#
    );
    let file = folder.join("static.yaml");
    fs::write(&file, text).unwrap();
    file
}

#[test]
fn a_trivial_scenario_is_healthy() {
    let folder = tempfile::tempdir().unwrap();
    let (json, junit) = (folder.path().join("reports/r.json"), folder.path().join("r.xml"));
    let output = harness().arg("run").arg(scenario(folder.path(), "hello ")).arg("--json").arg(&json).arg("--junit").arg(&junit).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.contains("HEALTHY     static-file/default[mpm=prefork]"), "{text}");
    assert!(text.ends_with("\n2 passed, 0 failed, 0 skipped\n"), "{text}");
    let report: serde_json::Value = serde_json::from_slice(&fs::read(json).unwrap()).unwrap();
    assert_eq!(report["summary"]["passed"], 2);
    assert!(fs::read_to_string(junit).unwrap().contains("tests=\"2\" failures=\"0\""));
}

#[test]
fn a_failure_shows_its_line_and_how_to_repeat_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = scenario(folder.path(), "good bye ");
    let output = harness().arg("run").arg(&file).args(["--cell", "mpm=event"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    for expected in [
        "UNEXPECTED  static-file/default[mpm=event]",
        "static.yaml:10:61",
        "hello event",
        "good bye event",
        "request: curl ",
        &format!("repeat:  harness run {} --variant default --cell mpm=event", file.display()),
        "0 passed, 1 failed, 0 skipped\n",
    ] {
        assert!(text.contains(expected), "{expected} is missing in\n{text}");
    }
}
