//! Starting and ending: in processes of their own, because Python starts once per process.

use std::process::{Command, Output};

use crate::server::{Client, JOURNAL, file, folder, journal, request};
use wsgi_protocol::launch::{Import, Python, Restrict};
use wsgi_python::engine::Engine;

/// Runs one of the tests below alone in a process of its own.
fn alone(test: &str, argument: &str) -> Output {
    #[expect(clippy::disallowed_methods, reason = "a test process starts itself again")]
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    let name = if test.contains("::") { test.to_owned() } else { format!("process::{test}") };
    command.args(["--exact", &name, "--ignored", "--nocapture", "--test-threads=1"]);
    command.env("ENGINE_TEST_ARGUMENT", argument).output().expect("starts")
}

/// Runs a test alone, which has to pass; gives what it wrote.
pub(crate) fn passed(test: &str, argument: &str) -> String {
    let output = alone(test, argument);
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{text}");
    text
}

/// What the test that started this process wants of it.
pub(crate) fn argument() -> String {
    #[expect(clippy::disallowed_methods, reason = "how the test above speaks to its process")]
    std::env::var("ENGINE_TEST_ARGUMENT").unwrap_or_default()
}

fn quoted(path: &std::path::Path) -> String {
    format!("{path:?}")
}

// Covers: rule:adapter/atexit-per-interpreter, rule:api/process-stopping, event:process_stopping,
// api:mod_wsgi.subscribe_shutdown, rule:logs/loading-lines, rule:api/per-interpreter, rule:logs/python-lines
#[test]
fn ends_run_in_every_interpreter() {
    passed("ends_inside", "");
}

#[test]
#[ignore = "runs in a process of its own"]
fn ends_inside() {
    let record = folder().join("record");
    let source = format!(
        "import atexit, threading, time, mod_wsgi\ndef note(text):\n    with open({}, 'a') as f: f.write(text + ' ' + \
         mod_wsgi.application_group + '\\n')\nmod_wsgi.subscribe_shutdown(lambda name, **e: note(name + ' ' + repr(e)))\n\
         atexit.register(note, 'atexit')\ndef late():\n    time.sleep(0.2)\n    note('thread')\nthreading.Thread(target=late, daemon=False).start()\n",
        quoted(&record)
    );
    let script = file("ends.wsgi", source.as_bytes()).into_os_string().into_encoded_bytes();
    let import = |group: &[u8]| Import { script: script.clone(), application_group: group.to_vec() };
    let config = Python { imports: vec![import(b""), import(b"sub")], destroy_interpreter: true, ..Python::default() };
    let engine = Engine::start(config, &JOURNAL).expect("starts");
    engine.run_imports();
    engine.stop("test_reason");
    let text = std::fs::read_to_string(&record).expect("was written");
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    let stopping = "process_stopping {'shutdown_reason': 'test_reason'} ";
    let expected = [
        "atexit ".to_owned(),
        "atexit sub".to_owned(),
        stopping.to_owned(),
        format!("{stopping}sub"),
        "thread ".to_owned(),
        "thread sub".to_owned(),
    ];
    assert_eq!(lines, expected, "{:#?}", journal(""));
    assert_eq!(journal("Destroying sub-interpreter 'sub' in embedded mode.").len(), 1);
    assert_eq!(journal("Initializing Python runtime in embedded mode.").len(), 1);
    assert_eq!(journal("Terminating Python runtime in embedded mode.").len(), 1);
    assert_eq!(journal("Python runtime has shut down in embedded mode.").len(), 1);
}

#[test]
fn leftover_daemon_threads_do_not_crash_the_end() {
    passed("leftovers_inside", "");
}

#[test]
#[ignore = "runs in a process of its own"]
fn leftovers_inside() {
    let source = "import threading, time\ndef forever():\n    while True: time.sleep(0.001)\nfor _ in range(3): threading.Thread(target=forever, daemon=True).start()\n";
    let script = file("leftover.wsgi", source.as_bytes()).into_os_string().into_encoded_bytes();
    let import = |group: &[u8]| Import { script: script.clone(), application_group: group.to_vec() };
    let config = Python { imports: vec![import(b""), import(b"sub")], destroy_interpreter: true, ..Python::default() };
    let engine = Engine::start(config, &JOURNAL).expect("starts");
    engine.run_imports();
    engine.stop("");
    assert_eq!(journal("is left as it is").len(), 1);
}

// Covers: rule:config/destroy-interpreter
#[test]
fn destroying_can_be_off() {
    passed("no_destroying_inside", "");
}

#[test]
#[ignore = "runs in a process of its own"]
fn no_destroying_inside() {
    let record = folder().join("record");
    let source = format!("import atexit\natexit.register(lambda: open({}, 'w'))\n", quoted(&record));
    let script = file("kept.wsgi", source.as_bytes()).into_os_string().into_encoded_bytes();
    let imports = vec![Import { script, application_group: Vec::new() }];
    let engine = Engine::start(Python { imports, ..Python::default() }, &JOURNAL).expect("starts");
    engine.run_imports();
    engine.stop("");
    assert!(!record.exists(), "no atexit callbacks");
}

// Covers: rule:config/python-optimize, rule:config/dont-write-bytecode, rule:config/python-warnings,
// rule:config/python-path-order, rule:config/python-eggs, rule:config/python-hash-seed, rule:config/switch-interval,
// rule:daemon/home, rule:adapter/sys-argv
#[test]
fn the_configuration_reaches_python() {
    passed("configured_inside", "");
}

#[test]
#[ignore = "runs in a process of its own"]
fn configured_inside() {
    let first = file("one.py", b"");
    let second = file("two.py", b"");
    let extra = file("three.py", b"");
    let (first, second, extra) = (first.parent(), second.parent(), extra.parent());
    let (first, second, extra) = (first.expect("folder"), second.expect("folder"), extra.expect("folder"));
    std::fs::write(second.join("more.pth"), format!("{}\n", extra.display())).expect("writes");
    let result = folder().join("result");
    let source = format!(
        "import sys, os\nopen({}, 'w').write(repr((sys.flags.optimize, sys.dont_write_bytecode, sys.warnoptions, sys.path[:4], \
         os.environ['PYTHON_EGG_CACHE'], sys.flags.hash_randomization, sys.argv, sys.getswitchinterval())))\n",
        quoted(&result)
    );
    let script = file("show.wsgi", source.as_bytes()).into_os_string().into_encoded_bytes();
    let bytes = |path: &std::path::Path| path.as_os_str().as_encoded_bytes().to_vec();
    let config = Python {
        optimize: 2,
        dont_write_bytecode: true,
        warnings: vec![b"ignore::UserWarning".to_vec()],
        path: vec![bytes(first), bytes(second)],
        working_directory: Some(b"/tmp".to_vec()),
        eggs: Some(b"/tmp/eggs".to_vec()),
        hash_seed: Some(0),
        switch_interval: Some(0.25),
        imports: vec![Import { script, application_group: Vec::new() }],
        ..Python::default()
    };
    let engine = Engine::start(config, &JOURNAL).expect("starts");
    engine.run_imports();
    let expected = format!(
        "(2, True, ['ignore::UserWarning'], ['/tmp', '{}', '{}', '{}'], '/tmp/eggs', 0, ['mod_wsgi'], 0.25)",
        first.display(),
        second.display(),
        extra.display()
    );
    assert_eq!(std::fs::read_to_string(result).expect("was written"), expected);
}

// Covers: rule:config/python-home-checked, code:WSGI0001, code:WSGI0100
#[test]
fn a_wrong_home_is_a_failure_with_its_code() {
    passed("wrong_home_inside", "");
}

#[test]
#[ignore = "runs in a process of its own"]
fn wrong_home_inside() {
    let home = folder().join("no-such-home").display().to_string();
    let config = Python { home: Some(home.clone().into_bytes()), ..Python::default() };
    let failure = Engine::start(config, &JOURNAL).err().expect("cannot start").to_string();
    assert!(failure.starts_with("WSGI0001: Python initialisation failed in embedded mode: "), "{failure}");
    assert_eq!(journal(&format!("WSGI0100: Unable to stat Python home '{home}'")).len(), 1);
    assert_eq!(journal("WSGI0001: ").len(), 1);
}

// Covers: rule:config/python-home-venv
#[test]
fn a_virtual_environment_is_used_as_itself() {
    let home = folder().join("venv");
    std::fs::create_dir_all(home.join("bin")).expect("creates");
    let python = std::fs::canonicalize("/usr/bin/python3").expect("the system's Python");
    let bin = python.parent().expect("folder");
    std::os::unix::fs::symlink(&python, home.join("bin/python")).expect("links");
    let version = env!("ENGINE_TEST_PYTHON");
    std::fs::write(home.join("pyvenv.cfg"), format!("home = {}\nversion = {version}\n", bin.display()))
        .expect("writes");
    std::fs::create_dir_all(home.join(format!("lib/python{version}/site-packages"))).expect("creates");
    passed("environment_inside", &home.display().to_string());
}

#[test]
#[ignore = "runs in a process of its own"]
fn environment_inside() {
    let home = argument();
    let result = folder().join("result");
    let source = format!(
        "import sys\nopen({}, 'w').write(repr((sys.prefix, sys.executable, sys.base_prefix != sys.prefix, \
         any(p.startswith(sys.prefix) and p.endswith('site-packages') for p in sys.path))))\n",
        quoted(&result)
    );
    let script = file("show.wsgi", source.as_bytes()).into_os_string().into_encoded_bytes();
    let imports = vec![Import { script, application_group: Vec::new() }];
    let config = Python { home: Some(home.clone().into_bytes()), imports, ..Python::default() };
    Engine::start(config, &JOURNAL).expect("starts").run_imports();
    let expected = format!("('{home}', '{home}/bin/python', True, True)");
    assert_eq!(std::fs::read_to_string(result).expect("was written"), expected);
}

// Covers: rule:daemon/threads-zero-service
#[test]
fn a_service_ends_by_sigterm_without_a_word() {
    passed("service_inside", "");
}

#[test]
#[ignore = "runs in a process of its own"]
fn service_inside() {
    let source = "import os, signal, time\nsignal.signal(signal.SIGUSR1, lambda *a: None)\nassert callable(signal.getsignal(15))\n\
                  os.kill(os.getpid(), signal.SIGTERM)\nwhile True: time.sleep(1)\n";
    let script = file("service.wsgi", source.as_bytes()).into_os_string().into_encoded_bytes();
    let imports = vec![Import { script, application_group: Vec::new() }];
    let config = Python { imports, process_group: b"service".to_vec(), ..Python::default() };
    Engine::start(config, &JOURNAL).expect("starts").run_imports();
    assert_eq!(journal("").iter().filter(|line| line.level <= 4).count(), 0, "{:#?}", journal(""));
    let loading = "' into main interpreter of daemon process 'service'.";
    assert_eq!(journal(loading).len(), 1, "{:#?}", journal(""));
}

// Covers: rule:logs/restricted-end-silent
#[test]
fn the_end_with_a_restricted_stdout_is_silent() {
    let text = passed("restricted_end_inside", "");
    assert!(!text.contains("Exception ignored"), "{text}");
}

#[test]
#[ignore = "runs in a process of its own"]
fn restricted_end_inside() {
    let script = file("quiet.wsgi", b"x = 1\n").into_os_string().into_encoded_bytes();
    let import = |group: &[u8]| Import { script: script.clone(), application_group: group.to_vec() };
    let restrict = Restrict { stdout: true, stdin: true, signal: true };
    let imports = vec![import(b""), import(b"sub")];
    let config = Python { imports, restrict, destroy_interpreter: true, ..Python::default() };
    let engine = Engine::start(config, &JOURNAL).expect("starts");
    engine.run_imports();
    engine.stop("");
    assert_eq!(journal("").iter().filter(|line| line.level <= 4).count(), 0, "{:#?}", journal(""));
    assert_eq!(journal("Python runtime has shut down in embedded mode.").len(), 1);
}

// Covers: rule:adapter/no-leaks
#[test]
fn requests_leave_nothing_behind() {
    passed("leak_inside", "");
}

#[test]
#[ignore = "runs in a process of its own"]
fn leak_inside() {
    let source = b"import sys, gc, io, mod_wsgi\nkept = []\ndef application(e, s):\n    kind = e['QUERY_STRING']\n    if kind == 'blocks':\n        \
                   gc.collect()\n        s('200 OK', [])\n        return [b'%d' % sys.getallocatedblocks()]\n    if kind == 'keep':\n        \
                   kept[:] = [e, s, e['wsgi.input'], e['wsgi.errors']]\n        mod_wsgi.request_data()['x'] = 1\n    if kind == 'raise': raise ValueError('x')\n    \
                   if kind == 'cycle': e['self'] = e\n    if kind == 'file':\n        s('200 OK', [])\n        return e['wsgi.file_wrapper'](open(__file__, 'rb'))\n    \
                   if kind == 'refused':\n        try: s('200 OK', [('a b', 'c')])\n        except ValueError: pass\n    write = s('200 OK', [('A', 'b')])\n    \
                   if kind == 'write': write(b'x')\n    e['wsgi.input'].read(1); e['wsgi.input'].readline(); print('line', file=e['wsgi.errors'])\n    \
                   return iter([b'a', b'b']) if kind == 'generator' else [b'a']\n";
    let script = file("leak.wsgi", source);
    let serve = |kind: &str| {
        let mut client = Client::post(&[b"some\n", b"body"]);
        client.entries.push(("QUERY_STRING".to_owned(), Some(kind.as_bytes().to_vec())));
        request(&script, client)
    };
    for kind in ["list", "generator", "keep", "raise", "cycle", "file", "refused", "write"] {
        // 3.13t counts a block more for each dict that it frees as part of a cycle, in a plain script too.
        if kind == "cycle" && cfg!(Py_GIL_DISABLED) {
            continue;
        }
        let round = |count| (0..count).for_each(|_| drop(serve(kind)));
        let blocks = || serve("blocks").text().parse::<i64>().expect("a number");
        // The first rounds fill caches and free lists; then ten times as many requests must not take more.
        round(100);
        let growth = || {
            let before = blocks();
            round(1000);
            blocks() - before
        };
        // Some caches of newer Pythons fill later than that, and once: what leaks, leaks in the next thousand too.
        let grown = Some(growth()).filter(|grown| *grown < 300).unwrap_or_else(growth);
        assert!(grown < 300, "{kind}: {grown} blocks more after 1000 requests");
    }
}

// Covers: rule:api/package-augmented, rule:api/apache-user-module
#[test]
fn modules_of_the_same_names_are_kept_below_ours() {
    passed("process::packages_inside", "");
}

#[test]
#[ignore = "runs in a process of its own"]
fn packages_inside() {
    let path = folder().join("packages");
    std::fs::create_dir_all(path.join("mod_wsgi")).expect("creates");
    std::fs::write(path.join("mod_wsgi/__init__.py"), "").expect("writes");
    std::fs::write(path.join("mod_wsgi/server.py"), "NAME = 'of the package'\n").expect("writes");
    std::fs::write(path.join("apache.py"), "MINE = 'of the user'\n").expect("writes");
    let config = Python { path: vec![path.into_os_string().into_encoded_bytes()], ..crate::server::configuration() };
    crate::server::start(config).expect("starts");
    crate::server::check(
        "import apache, mod_wsgi, mod_wsgi.server",
        Client::default(),
        &[
            ("mod_wsgi.server.NAME, mod_wsgi.version", "('of the package', (6, 1, 1))"),
            ("apache.MINE, apache.mpm_name", "('of the user', 'event')"),
        ],
    );
}

// Covers: rule:api/not-in-service
#[test]
fn a_service_hears_that_it_ends() {
    passed("process::ending_service_inside", "");
}

#[test]
#[ignore = "runs in a process of its own"]
fn ending_service_inside() {
    let record = folder().join("record");
    let source = format!(
        "import mod_wsgi\ndef note(name, **event):\n    with open({}, 'a') as f: f.write(name + ' ' + repr(event) + '\\n')\n\
         mod_wsgi.subscribe_events(note)\n",
        quoted(&record)
    );
    let script = file("service.py", source.as_bytes()).into_os_string().into_encoded_bytes();
    let imports = vec![Import { script, application_group: Vec::new() }];
    let config = Python { imports, process_group: b"service".to_vec(), destroy_interpreter: true, ..Python::default() };
    let engine = Engine::start(config, &JOURNAL).expect("starts");
    engine.run_imports();
    engine.stop("shutdown_signal");
    let text = std::fs::read_to_string(&record).expect("was written");
    assert_eq!(text, "process_stopping {'shutdown_reason': 'shutdown_signal'}\n");
}
