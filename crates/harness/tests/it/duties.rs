//! What the runner owes every cell: limits, a clean log, nothing left behind.

use std::fs;
use std::path::{Path, PathBuf};

use crate::command_line::harness;
use crate::real::module;

/// A scenario with these top-level keys and steps, and a server that serves a file.
fn scenario(folder: &Path, keys: &str, steps: &str) -> PathBuf {
    let module = module().canonicalize().unwrap();
    let text = format!(
        r#"schema: harness/1
id: duties
title: Duties of the runner
{keys}
files: {{www/a.txt: hello}}
server:
  runtime: {{module: {module:?}}}
  sites: {{main: {{static: {{/: {{dir: "${{dir}}/www"}}}}}}}}
steps:
{steps}
"#
    );
    let file = folder.join("duties.yaml");
    fs::write(&file, text).unwrap();
    file
}

/// Runs it, and gives the exit code, what was printed, and the cell's failures as `kind: message`.
fn run(keys: &str, steps: &str) -> (Option<i32>, String, Vec<String>, serde_json::Value) {
    let folder = tempfile::tempdir().unwrap();
    let file = scenario(folder.path(), keys, steps);
    let json = folder.path().join("r.json");
    let output = harness().arg("run").arg(file).arg("--json").arg(&json).output().unwrap();
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    let report =
        fs::read(&json).map(|bytes| serde_json::from_slice(&bytes).unwrap()).unwrap_or(serde_json::Value::Null);
    let failures = report["cells"][0]["failures"].as_array().cloned().unwrap_or_default();
    let failures = failures
        .iter()
        .map(|failure| format!("{}: {}", failure["kind"].as_str().unwrap(), failure["message"].as_str().unwrap()))
        .collect();
    (output.status.code(), text, failures, report)
}

#[test]
fn a_cell_that_takes_too_long_is_ended_and_shows_what_its_processes_did() {
    let started = std::time::Instant::now();
    let (code, text, failures, report) = run("timeout: 1500ms", "  - exec: {command: [sleep, \"60\"]}");
    assert!(started.elapsed() < std::time::Duration::from_secs(40));
    assert_eq!(code, Some(1), "{text}");
    assert!(failures.iter().any(|failure| failure == "timeout: the cell took longer than 1.5s"), "{failures:?}");
    let notes = report["cells"][0]["failures"].to_string();
    assert!(notes.contains("threads") && notes.contains("system call"), "{notes}");
    assert!(notes.contains("stacks"), "it says whether there are native and Python stacks: {notes}");
}

#[test]
fn a_step_that_takes_too_long_fails_with_stacks_of_its_own() {
    let (_, _, failures, report) = run("timeout: 60s", "  - {exec: {command: [sleep, \"60\"]}, timeout: 300ms}");
    assert_eq!(failures, ["timeout: the program timed out and was killed"]);
    assert!(report["cells"][0]["failures"][0]["notes"].to_string().contains("system call"));
}

#[test]
fn a_request_that_waits_no_longer_is_a_result_and_dumps_nothing() {
    // A server that is frozen accepts connections and does not answer.
    let steps = "  - signal: {send: STOP, to: children}\n  - {id: a, http: {get: /a.txt, timeout: 200ms}, soft: true}\n  \
                 - signal: {send: CONT, to: children}\n  - {http: {get: /a.txt}, check: {status: 200}}";
    let (code, text, failures, _) =
        run("healthy: [not a.ok, a.error contains \"timed out\", a.duration >= 200ms]", steps);
    assert_eq!((code, failures), (Some(0), Vec::new()), "{text}");
}

#[test]
fn an_unexpected_line_of_the_log_fails_the_cell_unless_it_is_allowed() {
    let steps = "  - exec: 'echo \"[Sat Nov 21 02:29:50.1 2026] [core:error] [pid 1:tid 1] AH09999: odd\" >> \"${dir}/../logs/error.log\"'";
    let steps = steps.replace("exec: '", "exec: {command: '") + "}";
    let (code, text, failures, _) = run("", &steps);
    assert_eq!(code, Some(1), "{text}");
    assert_eq!(failures, ["log: the log has an unexpected error: [core] AH09999: odd"]);
    for allowed in ["allow-log: [AH09999]", "allow-log: [{match: \"odd$\"}]"] {
        let (code, text, ..) = run(allowed, &steps);
        assert_eq!(code, Some(0), "{text}");
    }
}

#[test]
fn a_server_that_dies_and_one_that_is_asked_to() {
    let (code, _, failures, _) =
        run("", "  - exec: {command: \"kill -KILL ${{ parent }}\"}\n  - {http: {get: /a.txt}}");
    assert_eq!(code, Some(1));
    assert!(failures[0].starts_with("leak: the server died during this step"), "{failures:?}");
    let steps = "  - signal: {send: TERM, to: parent}\n  - {id: gone, process: {role: all, count: 0, within: 10s}}";
    let (code, text, failures, _) = run("healthy: [gone.ok]", steps);
    assert_eq!((code, failures), (Some(0), Vec::new()), "{text}");
}

#[test]
fn a_socket_that_is_left_behind_fails_the_cell() {
    let python = "import socket, sys; socket.socket(socket.AF_UNIX).bind(sys.argv[1])";
    let steps = format!("  - exec: {{command: [/usr/bin/python3, -c, {python:?}, \"${{dir}}/../run/left.sock\"]}}");
    let (code, _, failures, _) = run("", &steps);
    assert_eq!(code, Some(1));
    assert!(failures.len() == 1 && failures[0].ends_with("run/left.sock was left behind"), "{failures:?}");
}

#[test]
fn a_server_that_refuses_to_start_is_judged_where_the_scenario_says_so() {
    let keys = |start: &str, healthy: &str| {
        format!(
            "{start}\nserver: {{raw: [{{at: server.end, text: NoSuchDirective}}], runtime: {{module: {:?}}}, sites: {{main: {{}}}}}}\nhealthy: [{healthy}]",
            module().canonicalize().unwrap()
        )
    };
    let only = |keys: String| {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("x.yaml");
        let text = format!(
            "schema: harness/1\nid: x\ntitle: t\n{keys}\nsteps: [{{id: a, http: {{get: /}}, capture: {{b: json.b}}}}]\n"
        );
        fs::write(&file, text).unwrap();
        let output = harness().arg("run").arg(file).output().unwrap();
        (output.status.code(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
    };
    let refused = r#"not start.ok, start.error contains "NoSuchDirective", start.code == "AH00526", start.line > 1, 'start.file matches "httpd.conf$"', a.skipped, b == null"#;
    let (code, text) = only(keys("start: may-fail", refused));
    assert_eq!(code, Some(0), "{text}");
    let (code, text) = only(keys("start: may-fail", "start.ok"));
    assert!(code == Some(1) && text.contains("`start.ok` does not hold"), "{text}");
    let (code, text) = only(keys("", refused));
    assert!(code == Some(1) && text.contains("httpd ended before it was ready"), "{text}");
}

#[test]
fn a_load_counts_what_failed_and_goes_on_while_other_steps_are_done() {
    let steps = r#"  - {id: steady, load: {requests: [{get: /a.txt}, {head: /a.txt}], clients: 4, total: 40}, check: {failed: 0, requests: 40}}
  - id: gap
    load:
      requests: {get: /a.txt}
      clients: 3
      matches: "^hello$"
      during:
        - {file: {write: www/a.txt, text: "changed"}}
        - {id: seen, wait: {for: {http: {get: /a.txt}, check: {body: changed}}, within: 10s}, capture: {now: body}}
        - {file: {remove: www/a.txt}}
        - {wait: {for: {http: {get: /a.txt}, check: {status: 404}}, within: 10s}}
      for: 300ms
    check: {failed: "> 0"}"#;
    let healthy = r#"healthy: [steady.served == 40, 'steady.statuses["200"] == 40', steady.latency.p99 <= steady.latency.max, 'gap.statuses["404"] > 0', 'gap.errors.error contains "GET /a.txt: status 404"', seen.ok, now == "changed", gap.elapsed >= 300ms]"#;
    let (code, text, failures, _) = run(healthy, steps);
    assert_eq!((code, failures), (Some(0), Vec::new()), "{text}");
    let (code, _, failures, _) = run("", "  - {load: {requests: {get: /b.txt}, clients: 1, total: 2}}");
    assert_eq!((code, failures), (Some(1), vec!["step: 2 of 2 requests failed".to_owned()]));
}

#[test]
fn ports_and_steps_before_the_start() {
    let keys = r#"ports: [second]
before:
  - {id: made, exec: {command: "echo first > www/b.txt"}}
  - {file: {write: www/c.txt, text: "exit ${{ made.exit }}"}}
"#;
    let steps = r#"  - {id: a, http: {get: /b.txt, port: "${{ ports.second }}"}, check: {status: 200, regex: "^first"}}
  - {id: c, raw: {port: "${{ ports.second }}", send: "GET /c.txt HTTP/1.0\r\n\r\n"}, check: {body: "exit 0"}}"#;
    let folder = tempfile::tempdir().unwrap();
    let file = scenario(folder.path(), keys, steps);
    let text = fs::read_to_string(&file).unwrap();
    let listening = r#"server:
  server: {listen: {http: ["127.0.0.1:${port}", "127.0.0.1:${{ ports.second }}"]}}
"#;
    fs::write(&file, text.replace("server:\n", listening)).unwrap();
    let output = harness().arg("run").arg(file).output().unwrap();
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}");
}

#[test]
fn steps_of_all_kinds_on_one_server() {
    let steps = r#"  - {id: storm, concurrent: {n: 6, barrier: true, each: {http: {get: "/a.txt?${{ client }}"}}}, check: {all: {status: 200, body: hello}}}
  - {id: kept, repeat: 3, http: {get: /a.txt, connection: mine}, check: {all: {status: 200}}}
  - {id: raw, raw: {send: ["GET /a.txt HTTP/1.1", "Host: x", "Connection: close", ""]}, check: {status: 200, body: hello, closed: true}}
  - {id: slow, raw: {exchange: [{send: {text: "GET /a.txt HTTP/1.0\r\n\r\n", drip: 1ms}}, {expect: "hello$"}, {end: reset}]}}
  - {file: {write: www/b.txt, text: one}}
  - {http: {get: /b.txt}, check: {body: one, header: {Content-Length: "3"}}}
  - {id: edited, file: {replace: www/b.txt, match: o(ne), text: "$1"}, check: {replaced: 1}}
  - {http: {get: /b.txt}, check: {body: ne}}
  - {file: {chmod: www/b.txt, mode: "0600"}}
  - {file: {remove: www/b.txt}, check: {exists: false}}
  - {id: missing, http: {get: /b.txt}, check: {status: 404}}
  - {id: run, exec: {command: "cat; exit 3", stdin: "{\"a\": 1}"}, check: {exit: 3, json.a: 1}}
  - {id: processes, process: {role: children, count: ">= 1", zombies: 0, memory: "> 1K"}}
  - {id: again, signal: {send: USR1, to: parent}}
  - {log: {since: again, contains: "resuming normal operations", within: 10s}}
  - {wait: {for: {http: {get: /a.txt}, check: {status: 200}}, within: 10s, every: 10ms}}
  - {log: {file: access, matches: "GET /a.txt", within: 5s}}
  - {if: "false", http: {get: /never}}
  - {id: stop, stop: {within: 10s}, check: {exit: 0, killed: []}}"#;
    let keys =
        "healthy: [storm.elapsed > 0s, storm.duration.max > 0s, kept.retried.max == 0, stop.duration < 10s, edited.ok]";
    let (code, text, failures, _) = run(keys, steps);
    assert_eq!((code, failures), (Some(0), Vec::new()), "{text}");
}
