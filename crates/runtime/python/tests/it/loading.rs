//! Loading and reloading of scripts.

use std::sync::{Arc, Barrier};
use std::time::{Duration, SystemTime};

use crate::server::{Client, file, get, journal, request, serve};
use wsgi_python::gateway::Outcome;

// Covers: rule:adapter/script-module-name, rule:adapter/script-dir-not-on-path, rule:logs/loading-lines
#[test]
fn a_script_is_a_module_of_its_own_name() {
    let script = file(
        "named.wsgi",
        b"import sys\ndef application(e, s):\n    s('200 OK', [])\n    m = sys.modules[__name__]\n    return [('%s %s %s %s' % \
          (__name__, __file__, type(__mtime__).__name__, __file__.rpartition('/')[0] in sys.path)).encode()]\n",
    );
    let reply = request(&script, Client::default());
    let text = reply.text();
    assert!(text.starts_with("_mod_wsgi_") && text.ends_with(&format!(" {} int False", script.display())), "{text}");
    assert_eq!(text.split(' ').next().map(str::len), Some("_mod_wsgi_".len() + 32));
    let line = format!("Loading WSGI script '{}' into main interpreter in embedded mode.", script.display());
    assert_eq!(journal(&line).len(), 1);
}

// Covers: rule:adapter/load-failure-500, rule:logs/load-failure-codes, rule:logs/exception-old-phrase, code:WSGI0105
#[test]
fn what_cannot_be_compiled_is_500_with_the_reason() {
    let reply = get("def application(:\n");
    assert_eq!(reply.outcome, Outcome::Status(500));
    let errors = reply.errors();
    assert!(errors[0].contains("] WSGI0105: Could not read or compile WSGI script '"), "{errors:?}");
    assert!(errors[0].contains("' for main interpreter in embedded mode. (Could not read/compile source file '"));
    assert!(errors[1].starts_with("WSGI0174: [script ") && errors[1].contains("] SyntaxError exception raised"));
    assert_eq!(errors.last(), Some(&"SyntaxError: invalid syntax"));
}

// Covers: rule:adapter/load-failure-500
#[test]
fn a_file_that_is_not_there_names_the_reason() {
    let missing = crate::server::folder().join("no-such.wsgi");
    let reply = request(&missing, Client::default());
    assert_eq!(reply.outcome, Outcome::Status(500));
    let expected = format!("FileNotFoundError: [Errno 2] No such file or directory: '{}'", missing.display());
    assert_eq!(reply.errors().last(), Some(&expected.as_str()));
}

// Covers: rule:adapter/load-failure-500, rule:logs/load-failure-codes, rule:logs/exception-old-phrase, code:WSGI0109
#[test]
fn an_exception_while_loading_shows_frames_and_is_tried_again() {
    let script = file("failing.wsgi", b"import nosuchmodule\n");
    for _ in 0..2 {
        let reply = request(&script, Client::default());
        assert_eq!(reply.outcome, Outcome::Status(500));
        let errors = reply.errors();
        assert!(errors[0].contains("] WSGI0109: Unable to execute Python script file '"), "{errors:?}");
        assert!(errors[0].contains("(Failed to exec Python script file '"), "{errors:?}");
        assert!(errors[1].contains("ModuleNotFoundError exception raised processing WSGI script"), "{errors:?}");
        assert!(errors.iter().any(|line| line.ends_with("failing.wsgi\", line 1, in <module>")), "{errors:?}");
        assert_eq!(errors.last(), Some(&"ModuleNotFoundError: No module named 'nosuchmodule'"));
    }
    std::fs::write(&script, "def application(e, s):\n    s('200 OK', [])\n    return [b'repaired']\n").expect("writes");
    assert_eq!(request(&script, Client::default()).text(), "repaired");
}

// Covers: rule:logs/load-failure-codes, rule:logs/system-exit-code, code:WSGI0107, code:WSGI0175
#[test]
fn system_exit_while_loading_has_its_own_codes() {
    let reply = get("import sys\nsys.exit(2)\n");
    let errors = reply.errors();
    assert!(
        errors[0].contains("] WSGI0107: SystemExit exception raised when doing exec of Python script file '"),
        "{errors:?}"
    );
    assert!(errors[1].starts_with("WSGI0175: [script "), "{errors:?}");
    assert_eq!(reply.outcome, Outcome::Status(500));
}

// Covers: rule:adapter/no-callable, code:WSGI0089
#[test]
fn a_missing_callable_is_404() {
    let reply = get("x = 1\n");
    assert_eq!(reply.outcome, Outcome::Status(404));
    assert!(reply.errors()[0].contains("] WSGI0089: Target WSGI script '"), "{:?}", reply.errors());
    assert!(reply.errors()[0].ends_with("' does not contain WSGI application 'application'."));
    let client = Client { callable: "app", ..Client::default() };
    let reply =
        serve("def app(e, s):\n    s('200 OK', [])\n    return [e['mod_wsgi.callable_object'].encode()]\n", client);
    assert_eq!(reply.text(), "app");
}

const COUNTING: &str = "import builtins\nbuiltins.loads = getattr(builtins, 'loads', 0) + 1\nstate = []\ndef application(e, s):\n    \
                        state.append(1)\n    s('200 OK', [])\n    return [b'%d %d VERSION' % (builtins.loads, len(state))]\n";

fn touch(path: &std::path::Path, seconds: u64) {
    let time = SystemTime::now() + Duration::from_secs(seconds);
    std::fs::File::options().write(true).open(path).and_then(|file| file.set_modified(time)).expect("sets the time");
}

// Covers: rule:mapping/reload-mtime, rule:mapping/reload-off, rule:logs/loading-lines
#[test]
fn a_changed_file_is_loaded_again_when_reloading_is_on() {
    let client = |reload| Client { group: "reloading", reload, ..Client::default() };
    let script = file("reload.wsgi", COUNTING.as_bytes());
    assert_eq!(request(&script, client(true)).text(), "1 1 VERSION");
    assert_eq!(request(&script, client(true)).text(), "1 2 VERSION");
    touch(&script, 10);
    assert_eq!(request(&script, client(false)).text(), "1 3 VERSION", "off: the time is not looked at");
    assert_eq!(request(&script, client(true)).text(), "2 1 VERSION");
    let line =
        format!("Reloading WSGI script '{}' into sub-interpreter 'reloading' in embedded mode.", script.display());
    assert_eq!(journal(&line).len(), 1);
}

// Covers: rule:mapping/reload-required, api:script.reload_required
#[test]
fn reload_required_decides_too_and_its_failure_is_logged() {
    let client = || Client { group: "hooks", reload: true, ..Client::default() };
    let script =
        file("hook.wsgi", format!("{COUNTING}def reload_required(resource):\n    return len(state) >= 2\n").as_bytes());
    let texts: Vec<String> = (0..3).map(|_| request(&script, client()).text()).collect();
    assert_eq!(texts, ["1 1 VERSION", "1 2 VERSION", "2 1 VERSION"]);
    let script = file(
        "bad_hook.wsgi",
        format!("{COUNTING}def reload_required(resource):\n    raise KeyError(resource)\n").as_bytes(),
    );
    request(&script, client());
    let reply = request(&script, client());
    assert!(reply.text().ends_with(" 2 VERSION"), "{}", reply.text());
    assert!(reply.errors().last().is_some_and(|line| line.starts_with("KeyError: ")), "{:?}", reply.errors());
}

// Covers: rule:mapping/reload-identity
#[test]
fn another_file_of_the_same_time_and_size_is_loaded_again() {
    let client = || Client { group: "identity", reload: true, ..Client::default() };
    let one = file("identity_1.wsgi", COUNTING.as_bytes());
    let other = file("identity_2.wsgi", COUNTING.replace("VERSION", "another").as_bytes());
    let time = std::fs::metadata(&one).and_then(|status| status.modified()).expect("own file");
    std::fs::File::options().write(true).open(&other).and_then(|file| file.set_modified(time)).expect("sets the time");
    let link = one.with_file_name("identity_current.wsgi");
    let switch = |target: &std::path::Path| {
        let _ = std::fs::remove_file(&link);
        std::os::unix::fs::symlink(target, &link).expect("own folder");
    };
    switch(&one);
    assert!(request(&link, client()).text().ends_with(" 1 VERSION"));
    switch(&other);
    assert!(request(&link, client()).text().ends_with(" 1 another"));
    assert!(request(&link, client()).text().ends_with(" 2 another"), "it is loaded once");
}

// Covers: rule:mapping/reload-mtime-removed
#[test]
fn a_script_whose_mtime_was_removed_or_changed_is_loaded_again() {
    for change in ["globals().pop('__mtime__', None)", "globals().update(__mtime__=1)"] {
        let client = |reload| Client { group: "stamp", reload, ..Client::default() };
        let source = COUNTING.replace("state.append(1)\n", &format!("state.append(1)\n    {change}\n"));
        let script = file("stamp.wsgi", source.as_bytes());
        assert!(request(&script, client(true)).text().ends_with(" 1 VERSION"));
        assert!(request(&script, client(false)).text().ends_with(" 2 VERSION"), "{change}: reloading is off");
        assert!(request(&script, client(true)).text().ends_with(" 1 VERSION"), "{change}");
    }
}

#[test]
fn concurrent_first_requests_load_once_and_wait() {
    let script = file(
        "slow.wsgi",
        b"import builtins, time\nbuiltins.slow_loads = getattr(builtins, 'slow_loads', 0) + 1\ntime.sleep(0.2)\ndef application(e, s):\n    \
          s('200 OK', [])\n    return [b'%d' % builtins.slow_loads]\n",
    );
    let barrier = Arc::new(Barrier::new(6));
    let threads: Vec<_> = (0..6)
        .map(|_| {
            let (script, barrier) = (script.clone(), Arc::clone(&barrier));
            std::thread::spawn(move || {
                barrier.wait();
                request(&script, Client::default()).text()
            })
        })
        .collect();
    for thread in threads {
        assert_eq!(thread.join().expect("serves"), "1");
    }
}
