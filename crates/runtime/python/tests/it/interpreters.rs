//! Sub-interpreters, threads, signals.

use crate::server::{Client, check, engine, file, journal, request, serve, with_worker};
use wsgi_protocol::abi::Level;
use wsgi_protocol::launch::{Python, Scope};
use wsgi_python::engine::Stacks;
use wsgi_python::gateway::Outcome;

// Covers: rule:logs/loading-lines
#[test]
fn application_groups_are_separate_interpreters() {
    let script = file(
        "separate.wsgi",
        b"import builtins\nbuiltins.count = getattr(builtins, 'count', 0) + 1\ndef application(e, s):\n    s('200 OK', [])\n    \
          return [('%s %d' % (e['mod_wsgi.application_group'], builtins.count)).encode()]\n",
    );
    for group in ["first", "second", "first"] {
        assert_eq!(request(&script, Client::group(group)).text(), format!("{group} 1"));
    }
    assert_eq!(journal("Creating sub-interpreter 'first' in embedded mode.").len(), 1);
}

// Covers: rule:adapter/thread-identity
#[test]
fn the_gilstate_api_works_in_every_interpreter_of_a_thread() {
    // A callback that C code makes takes the GIL through the GILState API; with the state of another interpreter
    // remembered for the thread it would wait for ever (3.11) or run in the wrong interpreter.
    let script = file(
        "gilstate.wsgi",
        b"import ctypes\ntry: import _xxsubinterpreters as subs\nexcept ImportError: import _interpreters as subs\nHERE = str(subs.get_current())\ndef application(e, s):\n    seen = []\n    \
          kind = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_int), ctypes.POINTER(ctypes.c_int))\n    \
          def compare(a, b):\n        seen.append(str(subs.get_current()))\n        return a[0] - b[0]\n    values = (ctypes.c_int * 3)(3, 1, 2)\n    \
          for library in (ctypes.CDLL(None), ctypes.PyDLL(None)):\n        library.qsort(values, 3, ctypes.sizeof(ctypes.c_int), kind(compare))\n    \
          s('200 OK', [])\n    return [b'%s' % repr((list(values), set(seen) == {HERE})).encode()]\n",
    );
    for group in ["gil-a", "", "gil-b", "gil-a", ""] {
        assert_eq!(request(&script, Client::group(group)).text(), "([1, 2, 3], True)", "group {group:?}");
    }
}

// Covers: rule:config/per-interpreter-gil, code:WSGI0198
#[test]
fn an_interpreter_may_have_a_gil_of_its_own_where_python_can_do_that() {
    let script = file(
        "own.wsgi",
        b"def application(e, s):\n    s('200 OK', [])\n    print('here', file=e['wsgi.errors'])\n    yield e['wsgi.input'].read()\n",
    );
    for _ in 0..3 {
        let mut client = Client::post(&[b"body"]);
        client.group = "own-gil";
        let reply = request(&script, client);
        assert_eq!((reply.text().as_str(), reply.log.len()), ("body", 1), "{:#?}", reply.log);
    }
}

// Covers: rule:adapter/thread-identity
#[test]
fn thread_locals_and_identity_survive_across_requests() {
    let script = file(
        "locals.wsgi",
        b"import threading\nlocal = threading.local()\ndef application(e, s):\n    local.count = getattr(local, 'count', 0) + 1\n    \
          s('200 OK', [])\n    return [b'%d %d' % (threading.get_ident(), local.count)]\n",
    );
    let reply = |script: &std::path::Path| request(script, Client::group("locals")).text();
    let first = reply(&script);
    serve("def application(e, s):\n    s('200 OK', [])\n    return []\n", Client::group("elsewhere"));
    let second = reply(&script);
    let (ident, count) = first.split_once(' ').expect("two words");
    assert_eq!((count, second), ("1", format!("{ident} 2")));
    let other = std::thread::spawn(move || reply(&script)).join().expect("serves");
    assert!(other.ends_with(" 1") && !other.starts_with(ident), "{other}");
}

// Covers: rule:adapter/signals-restricted, rule:logs/signal-ignored-line
#[test]
fn signal_handlers_are_ignored_and_logged_unless_allowed() {
    check(
        "import signal\ndef handler(*args): pass\n",
        Client::group("restricted"),
        &[
            ("signal.signal(15, handler) is handler", "True"),
            ("signal.getsignal(15) is handler", "False"),
            ("signal.signal(1)", "TypeError: signal() missing 1 required positional argument: 'handler'"),
        ],
    );
    let text = "Ignoring Python signal handler registration for signal 15 in WSGI process; mod_wsgi manages signals.";
    assert!(!journal(text).is_empty());
    assert!(!journal("in application").is_empty(), "the stack follows");
    // Allowed: Python's own rule applies, which wants its main thread and main interpreter.
    check(
        "import signal\ndef handler(*args): pass\n",
        Client::group("signals"),
        &[("signal.signal(15, handler)", "ValueError: signal only works in main thread of the main interpreter")],
    );
}

// Covers: rule:adapter/request-timeout-504, rule:logs/timeout-lines, api:mod_wsgi.RequestTimeout
#[test]
fn an_interrupted_request_is_504_and_the_thread_goes_on() {
    let script = file(
        "loop.wsgi",
        b"import time\ndef application(e, s):\n    if e['QUERY_STRING'] == 'stuck':\n        while True:\n            time.sleep(0.01)\n    \
          s('200 OK', [])\n    return [b'fine']\n",
    );
    let (sender, receiver) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || {
        sender.send(with_worker(|worker| worker.number())).expect("the test listens");
        let entries = vec![("QUERY_STRING".to_owned(), Some(b"stuck".to_vec()))];
        let stuck = request(&script, Client { entries, group: "stuck", ..Client::default() });
        (stuck, request(&script, Client::group("stuck")))
    });
    let number = receiver.recv().expect("the worker's number");
    while !engine().interrupt(number, || true) {
        std::thread::yield_now();
    }
    engine().dump_stacks(Stacks::Worker(number), Level::Info);
    let (stuck, after) = thread.join().expect("serves");
    assert_eq!(stuck.outcome, Outcome::Status(504), "{:#?}", stuck.log);
    assert!(stuck.logged("Request interrupted by RequestTimeout; thread recovered."), "{:#?}", stuck.log);
    assert_eq!(after.text(), "fine");
}

// Covers: rule:daemon/shutdown-stacks
#[test]
fn stacks_of_a_stuck_request_are_shown() {
    let script = file(
        "blocked.wsgi",
        b"import threading, builtins\nbuiltins.release = threading.Event()\nbuiltins.entered = threading.Event()\ndef stuck_here():\n    \
          builtins.entered.set()\n    builtins.release.wait()\ndef application(e, s):\n    stuck_here()\n    s('200 OK', [])\n    return []\n",
    );
    let thread = std::thread::spawn(move || request(&script, Client::group("blocked")));
    let wait = "import builtins, time\ndef application(e, s):\n    while not hasattr(builtins, 'entered'): time.sleep(0.01)\n    \
                builtins.entered.wait(10)\n    s('200 OK', [])\n    return []\n";
    serve(wait, Client::group("blocked"));
    engine().dump_stacks(Stacks::All, Level::Info);
    assert!(!journal(", in stuck_here").is_empty(), "the frame is in the dump");
    assert!(
        journal("Thread ").iter().any(|line| line.text.contains(" executing file \"")),
        "its first line names the thread"
    );
    serve(
        "import builtins\nbuiltins.release.set()\ndef application(e, s):\n    s('200 OK', [])\n    return []\n",
        Client::group("blocked"),
    );
    assert_eq!(thread.join().expect("serves").outcome, Outcome::Complete);
}

#[test]
fn the_gil_can_be_probed() {
    engine().probe_gil();
}

// Covers: rule:adapter/requests-isolated
#[test]
fn requests_of_many_threads_do_not_mix() {
    let script = file(
        "mix.wsgi",
        b"import time\ndef application(e, s):\n    mark = e['HTTP_X_MARK']\n    print(mark, file=e['wsgi.errors'])\n    time.sleep(0)\n    \
          s('200 OK', [('X-Mark', mark), ('Content-Type', mark)])\n    data = e['wsgi.input'].read()\n    yield mark.encode() + b':'\n    yield data\n",
    );
    let threads: Vec<_> = (0..8)
        .map(|thread| {
            let script = script.clone();
            std::thread::spawn(move || {
                for round in 0..60 {
                    let mark = format!("{thread}-{round}");
                    let mut client = Client::post(&[mark.as_bytes()]);
                    client.entries.push(("HTTP_X_MARK".to_owned(), Some(mark.clone().into_bytes())));
                    client.group = if round % 2 == 0 { "mix-a" } else { "" };
                    let reply = request(&script, client);
                    assert_eq!(reply.text(), format!("{mark}:{mark}"));
                    assert_eq!((reply.field("X-Mark"), reply.field("Content-Type")), (Some(&*mark), Some(&*mark)));
                    assert_eq!(reply.log.len(), 1);
                    assert!(reply.log[0].text.ends_with(&format!("] {mark}")));
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().expect("serves");
    }
}

// Covers: directive:WSGIPerInterpreterGIL, directive:WSGIFreeThreading, rule:config/per-interpreter-gil
#[test]
fn four_interpreters_serve_side_by_side() {
    crate::process::passed("interpreters::four_inside", "60");
}

/// Also for valgrind, with more requests: `setup/memcheck.sh`.
#[test]
#[ignore = "runs in a process of its own"]
fn four_inside() {
    // Locks of their own where this Python has them, none at all where it was built without.
    let config = Python {
        scopes: vec![Scope { own_gil: Some(true), ..Scope::default() }],
        free_threading: true,
        destroy_interpreter: true,
        ..crate::server::configuration()
    };
    let engine = crate::server::start(config).expect("starts");
    let script = file(
        "four.wsgi",
        b"import threading\nlock = threading.Lock()\nserved = 0\ndef application(e, s):\n    global served\n    with lock: served += 1\n    \
          body = e['wsgi.input'].read()\n    s('200 OK', [('X-Group', e['mod_wsgi.application_group'])])\n    \
          print('x' * 100, file=e['wsgi.errors'])\n    if len(body) % 3 == 0: return [body]\n    \
          if len(body) % 3 == 1: raise ValueError('on purpose')\n    return iter([body[:5], body[5:]])\n",
    );
    let count: usize = crate::process::argument().parse().expect("a number");
    std::thread::scope(|scope| {
        for (number, group) in ["a", "b", "c", "d"].into_iter().cycle().take(8).enumerate() {
            let script = &script;
            scope.spawn(move || {
                for request_number in 0..count / 2 {
                    let body = vec![b'0' + u8::try_from(number).expect("few"); request_number % 50];
                    let mut client = Client::post(&[&body]);
                    client.group = group;
                    let reply = request(script, client);
                    if body.len() % 3 == 1 {
                        assert_eq!(reply.outcome, Outcome::Status(500));
                    } else {
                        assert_eq!(reply.field("X-Group"), Some(group));
                        assert_eq!(reply.text().as_bytes(), body);
                    }
                }
            });
        }
    });
    engine.stop("done");
}

#[test]
fn subscribers_may_come_and_go_on_other_threads() {
    crate::process::passed("interpreters::churn_inside", "");
}

#[test]
#[ignore = "runs in a process of its own"]
fn churn_inside() {
    let config = Python { free_threading: true, ..crate::server::configuration() };
    crate::server::start(config).expect("starts");
    let script = file(
        "churn.wsgi",
        b"import threading, mod_wsgi\nrunning = True\ndef churn():\n    while running:\n        def listener(name, **event): pass\n        \
          mod_wsgi.event_callbacks.append(listener)\n        mod_wsgi.event_callbacks.remove(listener)\n\
          thread = threading.Thread(target=churn)\nthread.start()\n\
          def application(environ, start_response):\n    start_response('200 OK', [])\n    return [b'served']\n\
          def end(environ, start_response):\n    global running\n    running = False\n    thread.join()\n    \
          return application(environ, start_response)\n",
    );
    // With a GIL each request has to wait for it.
    let requests = if cfg!(Py_GIL_DISABLED) { 1000 } else { 10 };
    let failed = (0..requests).filter(|_| request(&script, Client::default()).text() != "served").count();
    let end = Client { callable: "end", ..Client::default() };
    assert_eq!((request(&script, end).text().as_str(), failed), ("served", 0));
}

// Covers: rule:adapter/signals-forked-children
#[test]
fn a_process_that_the_application_forks_may_set_signal_handlers() {
    crate::process::passed("interpreters::forking_inside", "");
}

/// A fork beside other tests' threads would inherit locks that nobody gives back.
#[test]
#[ignore = "runs in a process of its own"]
fn forking_inside() {
    let source = "import os, signal\ndef handler(*a): pass\ndef application(e, s):\n    signal.signal(signal.SIGUSR2, handler)\n    \
                  here = signal.getsignal(signal.SIGUSR2) is handler\n    pid = os.fork()\n    if pid == 0:\n        try:\n            \
                  signal.signal(signal.SIGUSR2, handler)\n            os._exit(7 if signal.getsignal(signal.SIGUSR2) is handler else 8)\n        \
                  finally:\n            os._exit(9)\n    _, status = os.waitpid(pid, 0)\n    s('200 OK', [])\n    \
                  return [repr((here, os.waitstatus_to_exitcode(status))).encode()]\n";
    assert_eq!(serve(source, Client::default()).text(), "(False, 7)");
}
