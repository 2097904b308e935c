//! Scenarios on a real httpd.

use std::fs;
use std::path::{Path, PathBuf};

use crate::command_line::harness;

/// A wsgi module to run with: the built one, else the C module.
pub(crate) fn module() -> PathBuf {
    let target = Path::new(env!("CARGO_BIN_EXE_harness")).ancestors().nth(2).unwrap();
    let found =
        [target.join("dist/mod_wsgi_rs.so"), target.join("peer/mod_wsgi.so")].into_iter().find(|path| path.exists());
    found.unwrap_or_else(|| {
        panic!("there is no wsgi module below {}: run `make build` or `make peer` first", target.display())
    })
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
    let output = harness()
        .arg("run")
        .arg(scenario(folder.path(), "hello "))
        .arg("--json")
        .arg(&json)
        .arg("--junit")
        .arg(&junit)
        .output()
        .unwrap();
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

/// Runs the harness with a standard output whose reader has gone.
fn with_closed_output(arguments: &[&std::ffi::OsStr]) -> Option<i32> {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    #[expect(clippy::disallowed_methods, reason = "the program under test gets an output that nobody reads")]
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_harness"));
    command.args(arguments).env("HOME", "/nonexistent").stdout(writer).stderr(std::process::Stdio::null());
    command.status().unwrap().code()
}

#[test]
fn an_output_that_nobody_reads_changes_neither_the_exit_status_nor_the_reports() {
    let folder = tempfile::tempdir().unwrap();
    for (body, status, verdict) in [("good bye ", 1, "UNEXPECTED"), ("hello ", 0, "HEALTHY")] {
        let file = scenario(folder.path(), body);
        let json = folder.path().join(format!("{status}.json"));
        let code = with_closed_output(&["run".as_ref(), file.as_ref(), "--json".as_ref(), json.as_ref()]);
        assert_eq!(code, Some(status));
        let report: serde_json::Value = serde_json::from_slice(&fs::read(json).unwrap()).unwrap();
        let verdicts: Vec<_> = report["cells"].as_array().unwrap().iter().map(|cell| &cell["verdict"]).collect();
        assert_eq!(verdicts, [verdict, verdict], "every cell is run to its end");
    }
    let wrong = folder.path().join("wrong.yaml");
    fs::write(&wrong, "schema: harness/1\nid: x\ntitel: x\n").unwrap();
    assert_eq!(with_closed_output(&["lint".as_ref(), wrong.as_ref()]), Some(2));
}

/// A scenario of one step, in several variants.
fn with_step(folder: &Path, step: &str) -> PathBuf {
    let module = module().canonicalize().unwrap();
    let text = format!(
        r#"schema: harness/1
id: one-step
title: One step
files: {{www/a.txt: hello}}
server:
  runtime: {{module: {module:?}}}
  sites: {{main: {{static: {{/: {{dir: "${{dir}}/www"}}}}}}}}
variants: {{one: {{expect: healthy}}, two: {{expect: healthy}}}}
steps:
  - {step}
"#
    );
    let file = folder.join("step.yaml");
    fs::write(&file, text).unwrap();
    file
}

#[test]
fn an_interrupt_ends_the_run_in_order() {
    let folder = tempfile::tempdir().unwrap();
    // The step's program is a child of the harness, so it knows whom to interrupt, and when.
    let file = with_step(folder.path(), r#"exec: {command: [sh, -c, "kill -INT $PPID; sleep 60"]}"#);
    let output = harness().arg("run").arg(file).args(["--jobs", "1"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(130), "{text}");
    assert!(text.contains("not run: the run was interrupted"), "{text}");
    assert!(text.ends_with("0 skipped\n"), "{text}");
}

#[test]
fn fail_fast_ends_with_the_first_failure() {
    let folder = tempfile::tempdir().unwrap();
    let file = with_step(folder.path(), "{http: {get: /a.txt}, check: {status: 404}}");
    let output = harness()
        .arg("run")
        .arg(&file)
        .args(["--jobs", "1", "--fail-fast"])
        .arg("--artifacts")
        .arg(folder.path().join("out"))
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("1 cells were not run") && text.ends_with("0 passed, 1 failed, 0 skipped\n"), "{text}");
    let bundle = fs::read_dir(folder.path().join("out")).unwrap().count();
    assert_eq!(bundle, 1, "{text}");
}

#[test]
fn a_server_is_kept_up() {
    use std::io::{BufRead, BufReader, Read, Write};

    let folder = tempfile::tempdir().unwrap();
    let file = with_step(folder.path(), "http: {get: /}");
    #[expect(clippy::disallowed_methods, reason = "the program under test is read from while it runs")]
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_harness"))
        .args(["up", "--variant", "one"])
        .arg(file)
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    lines.read_line(&mut line).unwrap();
    let address =
        line.split("http://").nth(1).and_then(|rest| rest.split('/').next()).unwrap_or_else(|| panic!("{line}"));
    let mut connection = std::net::TcpStream::connect(address).unwrap();
    connection.write_all(b"GET /a.txt HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("\r\n\r\nhello"), "{answer}");
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(std::net::TcpStream::connect(address).is_err(), "the server is gone");
}

/// The names of the attributes of an element's first occurrence.
fn attributes<'x>(xml: &'x str, element: &str) -> Vec<&'x str> {
    let start = xml.find(&format!("<{element} ")).unwrap_or_else(|| panic!("no {element} in {xml}"));
    let tag = &xml[start..start + xml[start..].find('>').unwrap()];
    tag.split("=\"")
        .filter_map(|part| part.rsplit(' ').next())
        .filter(|name| tag.contains(&format!(" {name}=\"")))
        .collect()
}

#[test]
fn reports_say_with_what_a_run_was_done() {
    let folder = tempfile::tempdir().unwrap();
    let (json, junit) = (folder.path().join("r.json"), folder.path().join("r.xml"));
    let file = scenario(folder.path(), "good bye ");
    let mut command = harness();
    command.arg("run").arg(&file).arg("--json").arg(&json).arg("--junit").arg(&junit);
    assert_eq!(command.output().unwrap().status.code(), Some(1));
    let report: serde_json::Value = serde_json::from_slice(&fs::read(json).unwrap()).unwrap();
    let machine = &report["machine"];
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    assert_eq!(machine["kernel"], kernel.trim());
    assert!(machine["httpd"].as_str().unwrap().starts_with("2.4."), "{machine}");
    assert!(machine["packages"].is_object() && machine["started"].as_str().unwrap().starts_with("20"), "{machine}");
    assert_eq!(report["cells"][0]["failures"][0]["line"], 10);
    let xml = fs::read_to_string(junit).unwrap();
    // What the schema of Jenkins allows, and the order in which it is written here.
    assert_eq!(attributes(&xml, "testsuites"), ["name", "tests", "failures", "errors", "time"]);
    assert_eq!(
        attributes(&xml, "testsuite"),
        ["name", "tests", "errors", "failures", "time", "skipped", "timestamp", "hostname", "file"]
    );
    assert_eq!(attributes(&xml, "testcase"), ["name", "classname", "time"]);
    assert!(xml.contains(&format!("<property name=\"kernel\" value=\"{}\"/>", kernel.trim())), "{xml}");
    assert!(xml.contains(&format!("message=\"UNEXPECTED: {}:10: ", file.display())), "{xml}");
}

#[test]
fn the_bundle_of_a_refused_start_has_what_was_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = scenario(folder.path(), "hello ");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(
        &file,
        text.replace("  sites:", "  raw: [{at: server.end, text: \"LoadModule no_module /nonexistent.so\"}]\n  sites:"),
    )
    .unwrap();
    let artifacts = folder.path().join("artifacts");
    let mut command = harness();
    command.arg("run").arg(&file).args(["--cell", "mpm=event"]).arg("--artifacts").arg(&artifacts);
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    let bundle = artifacts.join("static-file_default_mpm=event");
    let config = fs::read_to_string(bundle.join("httpd.conf")).unwrap();
    let line = config.lines().position(|line| line.contains("no_module")).unwrap() + 1;
    assert!(text.contains(&format!("line {line} of httpd.conf: LoadModule no_module /nonexistent.so")), "{text}");
    // The folder of the cell is gone.
    assert!(!text.contains("/cg-"), "{text}");
    let versions: serde_json::Value = serde_json::from_slice(&fs::read(bundle.join("versions.json")).unwrap()).unwrap();
    assert!(versions["httpd"].as_str().unwrap().starts_with("2.4."), "{versions}");
    let environment = fs::read_to_string(bundle.join("environment.json")).unwrap();
    assert!(environment.contains("PATH"), "{environment}");
    assert!(bundle.join("logs").is_dir());
}
