//! What is logged when Python, its environment or an application is not as it should be: in processes of their own.

use std::io::Write as _;

use crate::process::{argument, passed};
use crate::server::{Client, configuration, file, folder, journal, request, start};
use wsgi_protocol::abi::Level;
use wsgi_protocol::launch::{Import, Python};
use wsgi_python::engine::Stacks;
use wsgi_python::gateway::Outcome;

/// A virtual environment that runs these lines in every interpreter, when its module `site` is done. In them, `main` says whether it is
/// the process's first one, and `refuse` makes the import of a module fail.
pub(crate) fn environment(name: &str, lines: &str) -> String {
    let home = folder().join(name);
    let version = env!("ENGINE_TEST_PYTHON");
    let packages = home.join(format!("lib/python{version}/site-packages"));
    std::fs::create_dir_all(&packages).expect("creates");
    std::fs::create_dir_all(home.join("bin")).expect("creates");
    let python = std::fs::canonicalize("/usr/bin/python3").expect("the system's Python");
    let bin = python.parent().expect("folder").display().to_string();
    std::os::unix::fs::symlink(&python, home.join("bin/python")).expect("links");
    std::fs::write(home.join("pyvenv.cfg"), format!("home = {bin}\nversion = {version}\n")).expect("writes");
    // Distributions have a `sitecustomize` of their own, which would hide another one.
    let indented: String = lines.lines().map(|line| format!("    {line}\n")).collect();
    let customize = format!(
        "import os, site, sys\nmark = os.path.join(os.path.dirname(__file__), str(os.getpid()))\n\
         main = not os.path.exists(mark)\nopen(mark, 'w').close()\n\
         class Refusing:\n    def __init__(self, name, error): self.name, self.error = name, error\n    \
         def find_spec(self, name, *rest):\n        if name == self.name: raise self.error\n\
         def refuse(name, error):\n    sys.modules.pop(name, None)\n    sys.meta_path.insert(0, Refusing(name, error))\n\
         def customize():\n{indented}site.execsitecustomize = customize\n"
    );
    std::fs::write(packages.join("engine_test_site.py"), customize).expect("writes");
    std::fs::write(packages.join("engine_test.pth"), "import engine_test_site\n").expect("writes");
    home.display().to_string()
}

/// What an engine logs that loads, serves and ends in an environment with these lines.
fn log_with(name: &str, lines: &str) -> String {
    passed("faults::environment_inside", &environment(name, lines))
}

#[test]
#[ignore = "runs in a process of its own"]
fn environment_inside() {
    let script = file("app.wsgi", b"def application(e, s):\n    s('200 OK', [])\n    return [b'fine']\n");
    let path = script.clone().into_os_string().into_encoded_bytes();
    let config = Python {
        home: Some(argument().into_bytes()),
        path: vec![b"/nonexistent".to_vec()],
        imports: vec![Import { script: path, application_group: b"sub".to_vec() }],
        ..configuration()
    };
    if let Some(engine) = start(config) {
        engine.run_imports();
        let reply = request(&script, Client::group("late"));
        tell(&format!("outcome {:?}", reply.outcome));
        reply.log.iter().for_each(|line| tell(&line.text));
        engine.dump_stacks(Stacks::All, Level::Info);
        engine.stop("");
    }
    journal("").iter().for_each(|line| tell(&line.text));
}

/// Tells the test that started this process.
fn tell(line: &str) {
    writeln!(std::io::stdout(), "{line}").expect("the test listens");
}

fn contains_all(text: &str, wanted: &[&str]) {
    for part in wanted {
        assert!(text.contains(part), "{part} is not in:\n{text}");
    }
}

// Covers: code:WSGI0091, code:WSGI0094, code:WSGI0095
#[test]
fn a_module_site_that_is_not_python_s_does_not_stop_anything() {
    let log = log_with("fails", "def fail(*a): raise ValueError('not here')\nsite.addsitedir = fail");
    contains_all(&log, &["WSGI0091: Call to 'site.addsitedir()' failed for '/nonexistent'.", "not here", "Complete"]);
    let log = log_with("lacks", "del site.addsitedir");
    contains_all(&log, &["WSGI0094: Unable to locate 'site.addsitedir'", "Complete"]);
    let log = log_with("gone", "sys.modules['site'] = None");
    contains_all(&log, &["WSGI0095: Unable to import Python module 'site'", "Complete"]);
}

// Covers: code:WSGI0183
#[test]
fn without_the_module_signal_handlers_are_not_intercepted() {
    let log = log_with("no-signal", "refuse('_signal', ImportError('none of that'))");
    contains_all(&log, &["WSGI0183: Unable to intercept 'signal.signal'. ImportError: none of that", "Complete"]);
}

// Covers: code:WSGI0188, code:WSGI0189, code:WSGI0040, code:WSGI0087
#[test]
fn an_interpreter_that_cannot_be_set_up_fails_its_requests_only() {
    let log = log_with("broken", "if not main: refuse('threading', ValueError('broken'))");
    let expected = [
        "WSGI0188: ValueError exception raised while setting up the sub-interpreter 'sub'",
        "WSGI0040: The interpreter 'sub' for the script",
        "WSGI0087: The interpreter 'late' is not available for the request.",
        "outcome Status(500)",
    ];
    contains_all(&log, &expected);
    let log = log_with("leaving", "if not main: refuse('threading', SystemExit(3))");
    contains_all(&log, &["WSGI0189: SystemExit exception raised while setting up the sub-interpreter 'sub'"]);
}

// Covers: code:WSGI0002
#[test]
fn a_process_whose_main_interpreter_cannot_be_set_up_says_so() {
    let log = log_with("unusable", "refuse('threading', ValueError('broken'))");
    contains_all(&log, &["WSGI0188: ", "WSGI0002: Python was started but could not be set up in embedded mode."]);
    assert!(!log.contains("outcome"), "{log}");
}

// Covers: code:WSGI0067
#[test]
fn stacks_that_cannot_be_had_are_reported() {
    let log = log_with("no-frames", "del sys._current_frames");
    contains_all(&log, &["WSGI0067: The current Python frames are not available.", "Complete"]);
}

// Covers: code:WSGI0106, code:WSGI0108, code:WSGI0110, rule:mapping/import-failure
#[test]
fn scripts_that_cannot_be_imported_are_logged_and_the_others_are_loaded() {
    passed("faults::imports_inside", "");
}

#[test]
#[ignore = "runs in a process of its own"]
fn imports_inside() {
    let sources: [&[u8]; 4] =
        [b"def (\n", b"import sys\nsys.exit(3)\n", b"raise KeyError('gone')\n", b"print('loaded')\n"];
    let imports = sources
        .iter()
        .map(|source| Import {
            script: file("import.py", source).into_os_string().into_encoded_bytes(),
            application_group: Vec::new(),
        })
        .collect();
    start(Python { imports, ..configuration() }).expect("starts").run_imports();
    for (text, count) in [
        ("WSGI0106: Could not read or compile WSGI script '", 1),
        ("WSGI0108: SystemExit exception raised when doing exec of Python script file '", 1),
        ("WSGI0110: Unable to execute Python script file '", 1),
        ("KeyError: 'gone'", 1),
        ("loaded", 1),
    ] {
        assert_eq!(journal(text).len(), count, "{text}: {:#?}", journal(""));
    }
}

// Covers: code:WSGI0097, code:WSGI0098
#[test]
fn what_fails_at_the_end_is_logged() {
    passed("faults::ends_inside", "");
}

#[test]
#[ignore = "runs in a process of its own"]
fn ends_inside() {
    let import = |group: &[u8], source: &[u8]| Import {
        script: file("end.py", source).into_os_string().into_encoded_bytes(),
        application_group: group.to_vec(),
    };
    let imports = vec![
        import(b"one", b"import threading\ndef fail(): raise ValueError('at the end')\nthreading._shutdown = fail\n"),
        import(b"two", b"import threading\ndef fail(): raise SystemExit(3)\nthreading._shutdown = fail\n"),
    ];
    let engine = start(Python { imports, ..configuration() }).expect("starts");
    engine.run_imports();
    engine.stop("");
    assert_eq!(journal("WSGI0098: ").len(), 1, "{:#?}", journal(""));
    assert!(journal("WSGI0098: ")[0].text.ends_with("ValueError: at the end"), "{:#?}", journal("WSGI009"));
    assert_eq!(journal("WSGI0097: ").len(), 1, "{:#?}", journal(""));
}

// Covers: code:WSGI0114, code:WSGI0190
#[test]
fn subscribers_that_are_none_disturb_no_request() {
    let script = file(
        "subscribers.wsgi",
        b"import mod_wsgi, sys\nmod_wsgi.subscribe_events(lambda name, **event: sys.exit(3))\ndef application(e, s):\n    \
          if e['QUERY_STRING'] == 'break': del mod_wsgi.event_callbacks\n    s('200 OK', [])\n    return [b'fine']\n",
    );
    let first = request(&script, Client::group("subscribers"));
    assert_eq!(first.text(), "fine");
    let text = "WSGI0190: SystemExit exception raised by event callback for 'request_started'; ignored.";
    assert!(first.logged(text), "{:#?}", first.log);
    let entries = vec![("QUERY_STRING".to_owned(), Some(b"break".to_vec()))];
    let second = request(&script, Client { entries, group: "subscribers", ..Client::default() });
    assert_eq!(second.text(), "fine");
    let text = "WSGI0114: Unable to find event subscribers (mod_wsgi.event_callbacks).";
    assert!(second.logged(text), "{:#?}", second.log);
}

// Covers: code:WSGI0101
#[test]
fn a_home_that_is_a_file_is_named() {
    passed("faults::home_inside", "");
}

#[test]
#[ignore = "runs in a process of its own"]
fn home_inside() {
    let home = file("home", b"").into_os_string().into_encoded_bytes();
    let shown = String::from_utf8_lossy(&home).into_owned();
    assert!(start(Python { home: Some(home), ..configuration() }).is_none());
    assert_eq!(journal(&format!("WSGI0101: Python home '{shown}' is not a directory.")).len(), 1, "{:#?}", journal(""));
}

// Covers: code:WSGI0102
#[test]
fn a_home_that_cannot_be_entered_is_named() {
    // SAFETY: cannot fail.
    if unsafe { libc::geteuid() } == 0 {
        // Root may enter everything: the process gives its rights up first.
        passed("faults::closed_home_inside", "drop");
    } else {
        passed("faults::closed_home_inside", "");
    }
}

#[test]
#[ignore = "runs in a process of its own"]
fn closed_home_inside() {
    use std::os::unix::fs::PermissionsExt;
    let folder = file("inside", b"").parent().expect("a folder").to_owned();
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o000)).expect("own folder");
    if argument() == "drop" {
        // SAFETY: numbers of an account without rights; nothing of this process needs more from here on.
        assert_eq!(unsafe { libc::setuid(65_534) }, 0);
    }
    let home = folder.clone().into_os_string().into_encoded_bytes();
    let _ = start(Python { home: Some(home), ..configuration() });
    let text = format!("WSGI0102: Python home '{}' is not accessible", folder.display());
    assert_eq!(journal(&text).len(), 1, "{:#?}", journal(""));
}

// Covers: code:WSGI0090
#[test]
fn a_service_without_the_module_signal_says_so() {
    let home = environment("service", "refuse('_signal', ImportError('none of that'))");
    passed("faults::service_inside", &home);
}

#[test]
#[ignore = "runs in a process of its own"]
fn service_inside() {
    let config =
        Python { home: Some(argument().into_bytes()), process_group: b"service".to_vec(), ..Python::default() };
    assert!(start(config).is_some(), "{:#?}", journal(""));
    assert_eq!(journal("WSGI0090: Unable to register the handler of SIGTERM.").len(), 1, "{:#?}", journal(""));
}

#[test]
fn a_request_whose_objects_cannot_be_made_says_so_in_its_own_log() {
    passed("faults::without_objects_inside", "");
}

/// Nothing is served any more in a process without codecs.
#[test]
#[ignore = "runs in a process of its own"]
fn without_objects_inside() {
    start(configuration()).expect("starts");
    let script = file(
        "codecs.wsgi",
        b"import codecs, encodings\nkept = []\ndef application(e, s):\n    kept.append(e['wsgi.errors'])\n    \
          codecs.unregister(encodings.search_function)\n    s('200 OK', [])\n    return [b'fine']\n",
    );
    // Who keeps a request's objects takes them from the next request, which has to make its own.
    assert_eq!(request(&script, Client::default()).text(), "fine");
    let reply = request(&script, Client::default());
    assert_eq!(reply.outcome, Outcome::Status(500), "{:#?}", reply.log);
    assert!(reply.logged("WSGI0174: [script "), "{:#?}", reply.log);
    assert!(reply.logged("LookupError exception raised processing WSGI script '"), "{:#?}", reply.log);
}
