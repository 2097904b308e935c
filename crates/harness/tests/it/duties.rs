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
# A child of the event MPM may crash by itself when it is stopped just after a request.
server:
  server: {{mpm: prefork}}
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
    assert!(report["cells"][0]["failures"][0]["native"].to_string().contains("system call"));
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
    // As a last step, too: nothing that follows stumbles over it.
    for (signal, after) in [("KILL", "\n  - {http: {get: /a.txt}}"), ("KILL", ""), ("SEGV", ""), ("TERM", "")] {
        let (code, text, failures, _) =
            run("", &format!("  - exec: {{command: \"kill -{signal} ${{{{ parent }}}}\"}}{after}"));
        assert_eq!(code, Some(1), "{signal}: {text}");
        assert!(failures[0].starts_with("death: the server "), "{signal}: {failures:?}");
        assert_eq!(failures.iter().filter(|failure| failure.starts_with("death")).count(), 1, "{signal}: {failures:?}");
        assert!(text.contains("no step asked for the end of the server"), "{text}");
    }
    let steps = "  - signal: {send: TERM, to: parent}\n  - {id: gone, process: {role: all, count: 0, within: 10s}}";
    let (code, text, failures, _) = run("healthy: [gone.ok]", steps);
    assert_eq!((code, failures), (Some(0), Vec::new()), "{text}");
    // Another process that is asked to end does not excuse the parent.
    let steps = "  - {id: children, process: {role: children, count: \">= 1\"}, capture: {child: \"pids[0]\"}}\n  \
                 - {signal: {send: KILL, to: \"pid ${{ child }}\"}}\n  - exec: {command: \"kill -KILL ${{ parent }}\"}";
    let (code, text, failures, _) = run("", steps);
    assert!(code == Some(1) && failures[0].starts_with("death: the server died"), "{text}");
}

#[test]
fn a_process_that_a_signal_ends_fails_the_cell_unless_the_scenario_names_it() {
    let steps = |kill: &str| {
        format!(
            "  - {{id: children, process: {{role: children, count: \">= 1\"}}, capture: {{child: \"pids[0]\"}}}}\n  - {kill}\n  \
             - {{wait: {{for: {{exec: {{command: \"! kill -0 ${{{{ child }}}}\"}}}}, within: 20s}}}}\n"
        )
    };
    let unnamed = steps("{exec: {command: \"kill -SEGV ${{ child }}\"}}");
    let (code, text, failures, _) = run("", &unnamed);
    assert_eq!(code, Some(1), "{text}");
    assert!(failures.len() == 1 && failures[0].starts_with("death: process "), "{failures:?}");
    assert!(failures[0].ends_with("died of SIGSEGV") && text.contains("allow-death: [SEGV]"), "{text}");
    for keys in ["allow-death: [SEGV]", "allow-log: [AH00051, AH00052]"] {
        let (code, text, ..) = run(keys, &unnamed);
        assert_eq!(code, Some(0), "{keys}: {text}");
    }
    assert_eq!(run("allow-death: [KILL]", &unnamed).0, Some(1));
    let (code, text, ..) = run("", &steps("{signal: {send: SEGV, to: \"pid ${{ child }}\"}}"));
    assert_eq!(code, Some(0), "a signal step names it: {text}");
}

#[test]
fn a_crash_while_the_server_stops_fails_the_cell() {
    let module = module().canonicalize().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("crash.yaml");
    // Nobody logs a line of the death of a child that was asked to end.
    let text = format!(
        r#"schema: harness/1
id: crash
title: Crashes at the end
matrix: {{mode: [embedded, daemon]}}
files:
  app.wsgi: |
    import atexit, ctypes
    atexit.register(lambda: ctypes.string_at(0))
    def application(environ, start_response):
        start_response("200 OK", [])
        return [b"hello"]
server:
  runtime: {{module: {module:?}}}
  daemons: {{d: {{processes: 1, threads: 1}}}}
  sites: {{main: {{apps: {{/: {{script: "${{dir}}/app.wsgi", daemon: d}}}}}}}}
steps:
  - {{http: {{get: /}}, check: {{status: 200}}}}
"#
    );
    fs::write(&file, text).unwrap();
    let json = folder.path().join("r.json");
    let output = harness().arg("run").arg(&file).arg("--json").arg(&json).output().unwrap();
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    let report: serde_json::Value = serde_json::from_slice(&fs::read(json).unwrap()).unwrap();
    for cell in report["cells"].as_array().unwrap() {
        let deaths: Vec<&str> = cell["failures"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|failure| failure["kind"] == "death")
            .filter_map(|failure| failure["message"].as_str())
            .collect();
        assert!(deaths.len() == 1 && deaths[0].ends_with("died of SIGSEGV"), "{}: {text}", cell["id"]);
    }
}

#[test]
fn every_error_log_that_the_configuration_names_is_looked_at() {
    let keys = r#"variants:
  raw: {expect: healthy, server: {raw: [{at: server.end, text: "<VirtualHost 127.0.0.1:1>\nServerName x\nErrorLog logs/other.log\n</VirtualHost>"}]}}
  included: {expect: healthy, files: {more.conf: "ErrorLog logs/other.log\n"}, server: {raw: [{at: server.end, text: "<VirtualHost 127.0.0.1:1>\nInclude ${dir}/more.conf\n</VirtualHost>"}]}}
  elsewhere: {expect: healthy}"#;
    let line = "[Sat Nov 21 02:29:50.1 2026] [wsgi:error] [pid 1:tid 1] Traceback (most recent call last):";
    // Without a line end: whoever wrote it died.
    let steps = format!("  - {{exec: {{command: \"printf %s '{line}' >> ../logs/other.log\"}}}}");
    let (code, text, _, report) = run(keys, &steps);
    assert_eq!(code, Some(1), "{text}");
    let verdicts: Vec<_> = report["cells"].as_array().unwrap().iter().map(|cell| &cell["verdict"]).collect();
    assert_eq!(verdicts, ["UNEXPECTED", "UNEXPECTED", "HEALTHY"], "{text}");
    assert!(text.contains("unexpected error: [wsgi] Traceback") && text.contains("logs/other.log"), "{text}");
    assert_eq!(run(&format!("allow-log: [{{match: Traceback}}]\n{keys}"), &steps).0, Some(0));
}

#[test]
fn a_program_that_outlives_its_step_is_found_and_killed() {
    let command = "sleep 300 & echo $! > first; setsid sleep 301 >/dev/null 2>&1 & true";
    let steps = format!("  - {{exec: {{command: \"{command}\"}}}}\n  - {{id: pid, exec: {{command: cat first}}}}");
    let (code, text, failures, _) = run("", &steps);
    assert_eq!(code, Some(1), "{text}");
    assert_eq!(failures.len(), 2, "{failures:?}");
    for program in ["sleep 300", "sleep 301"] {
        let message = format!("({program}), which a step has started, was still there");
        let found =
            failures.iter().find(|failure| failure.starts_with("leak: process ") && failure.ends_with(&message));
        let pid: u32 = found.unwrap_or_else(|| panic!("{failures:?}")).split(' ').nth(2).unwrap().parse().unwrap();
        assert!(!Path::new(&format!("/proc/{pid}")).exists(), "{program} is gone");
    }
    let (code, text, ..) = run("", "  - {exec: {command: \"sleep 300 & kill $!\"}}");
    assert_eq!(code, Some(0), "{text}");
    // One that waits for the end of the server leaves by itself.
    let waits = "while kill -0 ${{ parent }}; do sleep 0.02; done 2>/dev/null &";
    let (code, text, ..) = run("", &format!("  - {{exec: {{command: \"{waits}\"}}}}"));
    assert_eq!(code, Some(0), "{text}");
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
    let listening = r#"{mpm: prefork, listen: {http: ["127.0.0.1:${port}", "127.0.0.1:${{ ports.second }}"]}}"#;
    fs::write(&file, text.replace("{mpm: prefork}", listening)).unwrap();
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

/// Waits until nothing of a folder's cells is left: neither their folders nor their processes.
fn wait_until_gone(work: &Path) {
    let left = || {
        let folders = fs::read_dir(work).unwrap().count();
        let name = work.as_os_str().as_encoded_bytes().to_vec();
        let processes = confgen::httpd::process::all().into_iter().filter(|stat| {
            let environment = fs::read(format!("/proc/{}/environ", stat.pid)).unwrap_or_default();
            !stat.is_zombie() && environment.windows(name.len()).any(|window| window == name)
        });
        (folders, processes.map(|stat| stat.name).collect::<Vec<_>>())
    };
    let end = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while left() != (0, Vec::new()) {
        assert!(std::time::Instant::now() < end, "{:?}", left());
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

#[test]
fn nothing_is_left_of_a_harness_that_was_killed() {
    // The program of the step is a child of the harness, so it knows whom to kill, and when.
    for (kill, code) in
        [("kill -KILL $PPID; sleep 300", None), ("while kill -INT $PPID; do sleep 0.02; done; sleep 300", Some(130))]
    {
        let folder = tempfile::tempdir().unwrap();
        let file = scenario(folder.path(), "", &format!("  - {{exec: {{command: [sh, -c, {kill:?}]}}}}"));
        let work = tempfile::tempdir().unwrap();
        // The user that serves has to reach it.
        fs::set_permissions(work.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let status = harness().arg("run").arg(file).arg("--work").arg(work.path()).output().unwrap().status;
        // The first signal may already end the run in order, before the second one comes.
        assert_eq!(status.code(), code, "{kill}");
        wait_until_gone(work.path());
    }
}

#[test]
fn a_full_disk_is_no_verdict_on_a_scenario() {
    let folder = tempfile::tempdir().unwrap();
    let work = folder.path().join("work");
    fs::create_dir(&work).unwrap();
    let system = |program: &str, arguments: &[&str]| {
        assert_cmd::Command::new(program).args(arguments).arg(&work).output().unwrap().status.success()
    };
    if !system("mount", &["-t", "tmpfs", "-o", "size=4m,mode=755", "tmpfs"]) {
        assert!(!nix::unistd::Uid::effective().is_root(), "root can mount a file system");
        return;
    }
    let keys = "variants: {one: {expect: healthy}, two: {expect: healthy}, three: {expect: healthy}}";
    let fill = "  - {exec: {command: \"head -c 8M /dev/zero > filler; true\"}}";
    let file = scenario(folder.path(), keys, fill);
    let output = harness().arg("run").arg(file).arg("--work").arg(&work).output().unwrap();
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(system("umount", &[]));
    assert_eq!(output.status.code(), Some(5), "{text}");
    assert_eq!(text.matches("is full (").count(), 2, "once with its cell, once in the summary: {text}");
    assert!(text.contains("1 BROKEN") && !text.contains("UNEXPECTED"), "{text}");
}

#[test]
fn an_application_that_does_not_load_is_named_at_once() {
    let module = module().canonicalize().unwrap();
    let started = std::time::Instant::now();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("broken.yaml");
    let text = format!(
        r#"schema: harness/1
id: broken
title: A broken application
matrix: {{mode: [embedded, daemon]}}
files: {{app.wsgi: "import no_such_module\n"}}
server:
  runtime: {{module: {module:?}}}
  daemons: {{d: {{processes: 1, threads: 1}}}}
  sites: {{main: {{apps: {{/: {{script: "${{dir}}/app.wsgi", daemon: d}}}}}}}}
steps:
  - {{http: {{get: /}}}}
  - {{log: {{contains: served at last}}}}
variants:
  log: {{expect: healthy}}
  wait: {{expect: healthy, steps: [{{wait: {{for: {{http: {{get: /}}, check: {{status: 200}}}}, within: 30s}}}}]}}
  check: {{expect: healthy, steps: [{{http: {{get: /}}, check: {{status: 200}}}}]}}
"#
    );
    fs::write(&file, text).unwrap();
    let json = folder.path().join("r.json");
    harness().arg("run").arg(&file).arg("--json").arg(&json).output().unwrap();
    let report: serde_json::Value = serde_json::from_slice(&fs::read(json).unwrap()).unwrap();
    for cell in report["cells"].as_array().unwrap() {
        let message = cell["failures"][0]["message"].as_str().unwrap();
        assert!(
            message.ends_with("← ModuleNotFoundError: No module named 'no_such_module'"),
            "{}: {message}",
            cell["id"]
        );
        assert_eq!(cell["verdict"], "UNEXPECTED");
    }
    assert!(started.elapsed() < std::time::Duration::from_secs(20), "nothing was waited for in vain");
}

#[test]
fn a_large_body_takes_no_memory() {
    let part = "multipart: {file: {file: large.bin, bytes: 256MiB}}";
    let steps = format!(
        "  - {{id: a, http: {{post: /a.txt, {part}}}, soft: true}}\n  - {{id: b, http: {{post: /a.txt, bytes: 256MiB}}, soft: true}}"
    );
    let steps = steps
        + "\n  - id: c\n    soft: true\n    raw:\n      exchange:\n        - send: {text: \"POST /a.txt HTTP/1.1\\r\\nHost: x\\r\\nContent-Length: 268435456\\r\\n\\r\\n\"}\n        \
           - send: {text: 0123456789abcdef, times: 16777216}\n        - read: response";
    let (code, text, failures, _) = run("healthy: [a.status == 200, b.status == 200, c.status == 200]", &steps);
    assert_eq!((code, failures), (Some(0), Vec::new()), "{text}");
    let most = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_CHILDREN).unwrap().max_rss();
    assert!(most < 150 << 10, "{most} KiB");
}

#[test]
fn a_body_that_was_not_read_before_the_answer_does_not_disturb_the_next_request() {
    let folder = tempfile::tempdir().unwrap();
    let module = module().canonicalize().unwrap();
    let text = format!(
        r#"schema: harness/1
id: early
title: An application that answers before it reads
files:
  app.wsgi: |
    def application(environ, start_response):
        start_response("200 OK", [("Content-Length", "2")])
        yield b"ok"
server:
  server: {{mpm: prefork}}
  runtime: {{module: {module:?}}}
  sites: {{main: {{apps: {{/: {{script: "${{dir}}/app.wsgi"}}}}}}}}
steps:
  - {{id: a, http: {{post: /, bytes: 16MiB, connection: one}}, check: {{status: 200, body: ok}}}}
  - {{id: b, http: {{get: /, connection: one}}, check: {{status: 200, body: ok, retried: 0}}}}
healthy: [a.ok, b.ok]
"#
    );
    let file = folder.path().join("early.yaml");
    fs::write(&file, text).unwrap();
    let output = harness().arg("run").arg(file).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}");
}

#[test]
fn failures_that_are_alike_take_one_place() {
    let request = "{http: {get: /none.txt}, check: {status: 200, body: hello}}";
    let steps = format!("  - {{id: a, concurrent: {{n: 4, times: 50, each: {request}}}}}");
    let (code, text, failures, report) = run("healthy: [a.ok]", &steps);
    assert_eq!(code, Some(1), "{text}");
    assert_eq!(failures.len(), 400, "the report has all of them: {text}");
    assert!(report["cells"][0]["failures"][399]["notes"].to_string().contains("client 3"));
    let (cell, _) = text.split_once("\n1 cells in").unwrap();
    assert!(cell.trim_end().lines().count() <= 24, "{} lines:\n{cell}", cell.lines().count());
    assert!(cell.contains("199 more failures are like this one"), "{text}");
    assert!(cell.contains("error log") && cell.contains("repeat:"), "{text}");
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "the output of a program that goes on is read, which assert_cmd does not do"
)]
fn a_server_that_is_kept_after_a_failure_says_why_and_holds_up_nothing() {
    use std::io::{BufRead, BufReader};
    let folder = tempfile::tempdir().unwrap();
    let work = folder.path().join("work");
    fs::create_dir(&work).unwrap();
    let file = scenario(
        folder.path(),
        "matrix: {mode: [daemon, embedded]}\nhealthy: [a.status == 201]",
        "  - {id: a, http: {get: /a.txt}}",
    );
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_harness"));
    command
        .args(["run", "--hold-on-failure", "--jobs", "1", "--work"])
        .arg(&work)
        .arg(&file)
        .env("HOME", "/nonexistent");
    command.env_remove("HARNESS_VENV").env_remove("HARNESS_PEER").stdout(std::process::Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let mut text = String::new();
    let mut until = |end: &str, text: &mut String| {
        let last = lines.by_ref().inspect(|line| *text = format!("{text}{line}\n")).find(|line| line.contains(end));
        last.unwrap_or_else(|| panic!("no {end} in {text}"))
    };
    // One slot, and two servers that are kept.
    let ends = ["daemon", "embedded"].map(|mode| {
        let end = until("  end:   kill ", &mut text);
        assert!(text.contains(&format!("duties/default[mode={mode}] is kept at http://127.0.0.1:")), "{text}");
        end
    });
    let order =
        ["`a.status == 201` does not hold", "is kept at", "  look:  curl -i http://", "/logs/error.log", "  files: "];
    let places = order.map(|part| text.find(part).unwrap_or_else(|| panic!("no {part} in {text}")));
    assert!(places.is_sorted(), "{text}");
    assert!(fs::read_dir(&work).unwrap().count() >= 2);
    // One is ended by the command that is shown; that is no failure.
    let server = ends[0].split_whitespace().nth(2).unwrap().parse().unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(server), nix::sys::signal::Signal::SIGTERM).unwrap();
    until("UNEXPECTED  duties/default[mode=daemon]", &mut text);
    let pid = nix::unistd::Pid::from_raw(child.id().try_into().unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
    text.extend(lines.map(|line| line + "\n"));
    // All cells have been run: what they showed counts.
    assert_eq!(child.wait().unwrap().code(), Some(1), "{text}");
    assert!(text.contains("0 passed, 2 failed, 0 skipped"), "{text}");
    assert!(!text.contains("no step asked for the end"), "{text}");
    assert_eq!(fs::read_dir(&work).unwrap().count(), 0, "nothing is left");
}

#[test]
fn a_server_that_does_not_come_up_delays_no_end_of_the_run() {
    let folder = tempfile::tempdir().unwrap();
    // What says that the second server is ready is lost.
    let server = "{raw: [{at: server.end, text: ErrorLog /dev/null}]}";
    let variants = format!("variants: {{one: {{expect: healthy}}, two: {{expect: healthy, server: {server}}}}}");
    let keys = format!("timeout: 50s\n{variants}\nhealthy: [a.status == 201]");
    let file = scenario(folder.path(), &keys, "  - {id: a, http: {get: /a.txt}}");
    let started = std::time::Instant::now();
    let output = harness().args(["run", "--fail-fast", "--jobs", "2"]).arg(file).output().unwrap();
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("UNEXPECTED  duties/one") && text.contains("1 cells were not run"), "{text}");
    assert!(started.elapsed() < std::time::Duration::from_secs(40), "{text}");
}

#[test]
fn the_limits_of_a_run_hold_for_servers_that_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let keys = "variants: {one: {expect: healthy}, two: {expect: healthy}}\nhealthy: [a.status == 201]";
    let file = scenario(folder.path(), keys, "  - {id: a, http: {get: /a.txt}}");
    let json = folder.path().join("r.json");
    let mut command = harness();
    command.args(["run", "--hold-on-failure", "--fail-fast", "--timeout", "4s", "--jobs", "1", "--json"]);
    let output = command.arg(&json).arg(&file).timeout(std::time::Duration::from_secs(60)).output().unwrap();
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert_eq!(text.matches("is kept at").count(), 1, "the first failure ends the run: {text}");
    assert!(text.contains("1 cells were not run"), "{text}");
    let report: serde_json::Value = serde_json::from_slice(&fs::read(json).unwrap()).unwrap();
    let (run, cell) = (report["summary"]["seconds"].as_f64().unwrap(), report["cells"][0]["elapsed"].as_f64().unwrap());
    assert!(run >= 4.0 && cell < run - 1.0, "the cell took {cell} of {run} seconds, without the time it was kept");
}

#[test]
fn the_folder_of_a_failed_cell_stays_if_that_is_wanted() {
    let folder = tempfile::tempdir().unwrap();
    let work = folder.path().join("work");
    fs::create_dir(&work).unwrap();
    let steps = "  - {id: a, http: {get: /a.txt}}\n  - {stop: {}}";
    let variants =
        "variants: {good: {expect: healthy, set: {}}, bad: {expect: healthy, set: {}, healthy: [a.status == 201]}}";
    let file =
        scenario(folder.path(), &format!("healthy: [a.status == 200]\n{variants}").replace(", set: {}", ""), steps);
    let mut command = harness();
    // There is no server to hold any more, which is no reason to wait.
    command.args(["run", "--keep", "--hold-on-failure", "--work"]).arg(&work).arg(&file);
    let output = command.output().unwrap();
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(!text.contains("is kept at"), "{text}");
    let kept: Vec<_> = fs::read_dir(&work).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(kept.len(), 1, "{kept:?}: {text}");
    assert!(kept[0].join("logs/error.log").exists(), "{kept:?}");
    assert!(text.contains(&format!("  files: {}\n", kept[0].display())), "{text}");
}

#[test]
fn what_an_application_does_that_takes_too_long_comes_first() {
    let folder = tempfile::tempdir().unwrap();
    let module = module().canonicalize().unwrap();
    let text = format!(
        r#"schema: harness/1
id: sleeper
title: An application that sleeps
timeout: 2s
matrix: {{mode: [daemon, embedded]}}
files:
  app.wsgi: |
    import time

    def fall_asleep():
        while True: time.sleep(0.05)

    def application(environ, start_response):
        fall_asleep()
server:
  server: {{mpm: prefork}}
  runtime: {{module: {module:?}}}
  daemons: {{d: {{processes: 1, threads: 2, timeouts: {{shutdown: 1s}}}}}}
  sites: {{main: {{apps: {{/: {{script: "${{dir}}/app.wsgi", daemon: d}}}}}}}}
steps:
  - {{id: a, http: {{get: /bed}}}}
healthy: [a.ok]
"#
    );
    let file = folder.path().join("sleeper.yaml");
    fs::write(&file, text).unwrap();
    let artifacts = folder.path().join("artifacts");
    let output = harness().arg("run").arg(file).arg("--artifacts").arg(&artifacts).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    let (cells, _) = text.split_once("\n2 cells in").unwrap();
    let (_, cells) = cells.split_once("UNEXPECTED  ").unwrap();
    let mut modes = Vec::new();
    for cell in cells.split("UNEXPECTED  ") {
        assert!(cell.trim_end().lines().count() <= 24, "{} lines:\n{cell}", cell.lines().count());
        let at = |part: &str| cell.find(part).unwrap_or_else(|| panic!("no {part} in {cell}"));
        assert!(at("error: the cell took longer than 2s") < at("Python code of process"), "{cell}");
        if cell.starts_with("sleeper/default[mode=daemon]") {
            modes.push("daemon");
            let request = at("of daemon process 'd' has been serving GET /bed for");
            let sleeps = at("line 4, in fall_asleep");
            assert!(request < sleeps && sleeps < at("line 7, in application"), "{cell}");
        } else {
            modes.push("embedded");
            assert!(at("fall_asleep (") < at("application ("), "{cell}");
            assert!(cell.contains("app.wsgi:4)") && cell.contains("app.wsgi:7)"), "{cell}");
        }
    }
    modes.sort_unstable();
    assert_eq!(modes, ["daemon", "embedded"], "{text}");
    for native in ["clone3", "system call", "[<0>]"] {
        assert!(!text.contains(native), "native stacks are for the bundle: {text}");
    }
    let stacks = fs::read_to_string(artifacts.join("sleeper_default_mode=embedded/native-stacks.txt")).unwrap();
    assert!(stacks.contains("system call"), "{stacks}");
}
