//! The modules `mod_wsgi` and `apache`, and events.

use crate::server::{Client, check, file, get, request};
use wsgi_python::gateway::Outcome;

// Covers: rule:api/module-in-sys-modules, rule:api/version-compat, rule:api/groups, rule:api/sizes,
// rule:api/request-timeout-class, rule:api/lists-mutable, rule:api/active-requests, rule:api/request-data,
// rule:api/apache-attributes, rule:api/subscribe-signals-embedded, rule:api/recording-needed, rule:adapter/sys-argv,
// rule:extensions/own-version, api:mod_wsgi.version, api:mod_wsgi.process_group, api:mod_wsgi.application_group,
// api:mod_wsgi.maximum_processes, api:mod_wsgi.threads_per_process, api:mod_wsgi.FileWrapper,
// api:mod_wsgi.RequestTimeout, api:mod_wsgi.event_callbacks, api:mod_wsgi.shutdown_callbacks,
// api:mod_wsgi.signal_callbacks, api:mod_wsgi.request_data, api:mod_wsgi.active_requests, api:apache.version,
// api:apache.description, api:apache.build_date, api:apache.mpm_name, api:apache.maximum_processes,
// api:apache.threads_per_process, api:mod_wsgi_rs.version
#[test]
fn the_modules_have_the_references_attributes() {
    check(
        "import mod_wsgi, apache, mod_wsgi_rs\n",
        Client::group("attributes"),
        &[
            ("'signal' in sys.modules or 'logging' in sys.modules or 'traceback' in sys.modules", "False"),
            ("mod_wsgi.version", "(6, 1, 1)"),
            ("mod_wsgi.process_group, mod_wsgi.application_group", "('', 'attributes')"),
            ("mod_wsgi.maximum_processes, mod_wsgi.threads_per_process", "(3, 25)"),
            ("mod_wsgi.FileWrapper", "<class 'mod_wsgi.FileWrapper'>"),
            ("mod_wsgi.RequestTimeout.__mro__[1:]", "(<class 'BaseException'>, <class 'object'>)"),
            ("mod_wsgi.event_callbacks, mod_wsgi.shutdown_callbacks, mod_wsgi.signal_callbacks", "([], [], [])"),
            ("mod_wsgi.subscribe_signals(3), mod_wsgi.signal_callbacks", "(3, [])"),
            ("mod_wsgi.request_data()", "{}"),
            ("mod_wsgi.request_data() is mod_wsgi.request_data()", "True"),
            ("mod_wsgi.active_requests", "{'request-id': {}}"),
            ("mod_wsgi.process_metrics(), mod_wsgi.request_metrics(), mod_wsgi.server_metrics()", "(None, None, None)"),
            (
                "[name for name in dir(mod_wsgi) if not name.startswith('__')]",
                "['FileWrapper', 'LogHandler', 'RequestTimeout', 'active_requests', 'application_group', \
                 'event_callbacks', 'maximum_processes', 'process_group', 'process_metrics', 'request_data', \
                 'request_metrics', 'server_metrics', 'shutdown_callbacks', 'signal_callbacks', \
                 'start_recording_metrics', 'subscribe_events', 'subscribe_shutdown', 'subscribe_signals', \
                 'threads_per_process', 'version']",
            ),
            ("mod_wsgi.nothing", "AttributeError: module 'mod_wsgi' has no attribute 'nothing'"),
            ("apache.version, apache.mpm_name", "((2, 4, 71), 'event')"),
            ("apache.description, apache.build_date", "('Apache/2.4.71 (Test)', '2026-01-01T00:00:00')"),
            ("apache.maximum_processes, apache.threads_per_process", "(3, 25)"),
            ("mod_wsgi_rs.version", "'0.1.0'"),
            ("sys.argv", "['mod_wsgi']"),
        ],
    );
}

// Covers: rule:api/request-data
#[test]
fn request_data_outside_of_a_request_refuses() {
    let reply = get(
        "import mod_wsgi, threading\ndef application(e, s):\n    out = []\n    def run():\n        try:\n            mod_wsgi.request_data()\n        \
         except RuntimeError as error:\n            out.append(str(error).encode())\n    t = threading.Thread(target=run)\n    t.start(); t.join()\n    \
         s('200 OK', [])\n    return out\n",
    );
    assert_eq!(reply.text(), "no active request for thread");
}

// Covers: rule:api/callback-merge
#[test]
fn a_callback_sees_what_the_ones_before_it_have_merged() {
    let script = file(
        "merged.wsgi",
        b"import functools, mod_wsgi\nseen = []\nclass Callable:\n    def __call__(self, name, **event):\n        \
          seen.append((name, list(event), event.get('extra'), event['request_id']))\n        event.clear()\n        \
          return {}\nmod_wsgi.subscribe_events(Callable())\n@mod_wsgi.subscribe_events\ndef merging(name, **event):\n    \
          event['lost'] = 1\n    return {'extra': name, 'request_id': 'mine'} if name != 'request_started' else None\n\
          mod_wsgi.subscribe_events(functools.partial(Callable().__call__))\n\
          def application(e, s):\n    past = list(seen)\n    seen.clear()\n    s('201 OK', [])\n    \
          return ['\\n'.join(map(repr, past)).encode()]\n",
    );
    request(&script, Client::group("merged"));
    let text = request(&script, Client::group("merged")).text();
    let lines: Vec<&str> = text.lines().collect();
    let [first, merged, finished, with_extra, started, again] = lines[..] else { panic!("{text}") };
    let keys = "['request_id', 'response_status', 'response_headers', 'exception_info', 'request_data'";
    assert!(first.starts_with(&format!("('response_started', {keys}], None, '")) && !first.contains("mine"), "{text}");
    assert_eq!(merged, format!("('response_started', {keys}, 'extra'], 'response_started', 'mine')"));
    assert!(finished.contains("'request_data'], None, '") && !finished.contains("mine"), "{text}");
    assert!(with_extra.ends_with("'request_data', 'extra'], 'request_finished', 'mine')"), "{text}");
    assert_eq!(started, again, "nothing was merged");
}

// Covers: rule:api/subscribe-returns, rule:api/callback-exception, rule:api/request-started,
// rule:api/application-replaced, rule:api/response-started, rule:api/request-exception, rule:api/request-finished,
// event:request_started, event:response_started, event:request_exception, event:request_finished,
// api:mod_wsgi.subscribe_events, code:WSGI0112
#[test]
fn events_of_a_request_reach_their_subscribers() {
    let script = file(
        "events.wsgi",
        b"import mod_wsgi\nseen = []\n@mod_wsgi.subscribe_events\ndef on(name, **event):\n    event['request_data'][name] = 1\n    \
          seen.append((name, sorted(event)))\n    if name == 'request_started':\n        inner = event['application_object']\n        \
          def wrapped(e, s):\n            e['wrapped'] = True\n            return inner(e, s)\n        return {'application_object': wrapped}\n\
          @mod_wsgi.subscribe_events\ndef bad(name, **event):\n    if name == 'response_started': raise KeyError(name)\n\
          def application(e, s):\n    if e['QUERY_STRING'] == 'raise': raise ValueError('x')\n    past = list(seen)\n    s('201 OK', [])\n    \
          return [repr((e.get('wrapped'), sorted(mod_wsgi.request_data()), past)).encode()]\n",
    );
    let first = request(&script, Client::group("events"));
    let text = first.text();
    assert!(text.starts_with("(True, ['request_started', 'response_started'], [('request_started', ["), "{text}");
    assert!(
        first.logged("WSGI0112: KeyError exception raised by event callback for 'response_started'."),
        "{:#?}",
        first.log
    );
    let entries = vec![("QUERY_STRING".to_owned(), Some(b"raise".to_vec()))];
    let failed = request(&script, Client { entries, group: "events", ..Client::default() });
    assert_eq!(failed.outcome, Outcome::Status(500));
    let text = request(&script, Client::group("events")).text();
    for name in [
        "'response_started', ['exception_info', 'request_data', 'request_id', 'response_headers', 'response_status'",
        "'request_exception', ['exception_info', 'request_data', 'request_id'",
        "'request_finished', ['application_finish'",
    ] {
        assert!(text.contains(name), "{name} in {text}");
    }
}
