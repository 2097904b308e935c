//! `wsgi.errors`, `sys.stderr`, `sys.stdout`, `LogHandler`.

use crate::server::{Client, Reply, check, file, get, journal, request, serve};

fn lines(reply: &Reply) -> Vec<String> {
    reply
        .log
        .iter()
        .map(|line| line.text.split_once(".wsgi] ").map_or(line.text.clone(), |(_, text)| text.to_owned()))
        .collect()
}

// Covers: rule:logs/stream-interface, rule:logs/stream-names, rule:logs/errors-str-only
#[test]
fn the_objects_have_the_references_interface() {
    for object in ["errors", "sys.stderr", "sys.stdout"] {
        let shown = match object {
            "errors" => "<wsgi.errors>",
            "sys.stderr" => "<stderr>",
            _ => "<stdout>",
        };
        let name = format!("'{shown}'");
        let number =
            if object == "sys.stderr" { "2" } else { "OSError: wsgi.errors log object has no file descriptor" };
        let mode = if object == "errors" { "None" } else { "'w'" };
        let rows = [
            ("type(X)", "<class '_io.TextIOWrapper'>"),
            ("X.name", name.as_str()),
            ("X.encoding, X.errors, X.line_buffering, X.write_through", "('utf-8', 'replace', True, True)"),
            ("X.closed, X.isatty(), X.writable(), X.readable(), X.seekable()", "(False, False, True, False, False)"),
            ("X.fileno()", number),
            ("getattr(X, 'mode', None)", mode),
            ("X.write(b'x')", "TypeError: write() argument must be str, not bytes"),
            ("X.buffer.write(3)", "TypeError: a bytes-like object is required, not 'int'"),
            ("X.buffer.writelines(1)", "TypeError: writelines() argument must be an iterable of bytes-like objects"),
            ("X.buffer.encoding, X.buffer.errors", "('utf-8', 'replace')"),
            ("X.buffer.write(memoryview(b'one line\\n'))", "9"),
            ("X.close()", "None"),
            ("X.closed", "False"),
        ];
        let rows: Vec<(String, &str)> =
            rows.iter().map(|(expression, expected)| (expression.replace('X', object), *expected)).collect();
        let rows: Vec<(&str, &str)> =
            rows.iter().map(|(expression, expected)| (expression.as_str(), *expected)).collect();
        check("", Client::default(), &rows);
    }
}

// Covers: rule:logs/stderr-descriptor
#[test]
fn faulthandler_finds_the_descriptor_of_sys_stderr() {
    check(
        "import faulthandler",
        Client::default(),
        &[("faulthandler.enable()", "None"), ("faulthandler.is_enabled()", "True"), ("faulthandler.disable()", "True")],
    );
}

// Covers: rule:logs/record-per-line, rule:logs/partial-line-at-end, rule:logs/request-prefix
#[test]
fn a_record_per_line_with_the_scripts_name() {
    let reply = get(
        "import sys\ndef application(environ, start_response):\n    e = environ['wsgi.errors']\n    e.write('par')\n    \
         e.write('tial\\n\\nnext\\nrest')\n    print('out'); print('err', file=sys.stderr)\n    e.flush()\n    \
         e.writelines(['a\\n', 'b'])\n    sys.stdout.write('begun')\n    start_response('200 OK', [])\n    return []\n",
    );
    assert_eq!(lines(&reply), ["partial", "", "next", "rest", "out", "err", "a", "b", "begun"]);
    assert!(reply.log.iter().all(|line| line.level == 3 && line.text.starts_with("[script /")), "{:#?}", reply.log);
}

// Covers: rule:logs/stream-interface
#[test]
fn text_is_utf_8_and_ends_at_a_nul() {
    let reply = get(
        "def application(environ, start_response):\n    environ['wsgi.errors'].write('caf\\xe9 \\udcff\\n1\\x002\\n')\n    \
         start_response('200 OK', [])\n    return []\n",
    );
    assert_eq!(lines(&reply), ["caf\u{e9} ?", "1"]);
}

// Covers: rule:logs/buffer-write
#[test]
fn str_written_to_the_buffer_warns_once() {
    let reply = get(
        "import warnings\ndef application(environ, start_response):\n    with warnings.catch_warnings(record=True) as seen:\n        \
         warnings.simplefilter('always')\n        environ['wsgi.errors'].buffer.write('text\\n')\n    start_response('200 OK', [])\n    \
         return [seen[0].category.__name__.encode()]\n",
    );
    assert_eq!((reply.text().as_str(), lines(&reply)), ("DeprecationWarning", vec!["text".to_owned()]));
}

// Covers: rule:logs/errors-after-request
#[test]
fn after_the_request_wsgi_errors_refuses() {
    let script = file(
        "kept.wsgi",
        b"kept = []\ndef application(environ, start_response):\n    lines = []\n    for e in kept:\n        for f in (lambda: \
          e.write('x'), lambda: e.writelines(['x']), lambda: e.buffer.writelines([b'x']), e.flush):\n            try:\n                \
          f(); lines.append('fine')\n            except RuntimeError as error:\n                lines.append(str(error))\n    \
          kept[:] = [environ['wsgi.errors']]\n    start_response('200 OK', [])\n    return ['\\n'.join(lines).encode()]\n",
    );
    request(&script, Client::default());
    let reply = request(&script, Client::default());
    assert_eq!(
        reply.text(),
        "write() called on wsgi.errors after request completed\nwrite() called on wsgi.errors after request completed\n\
         writelines() called on wsgi.errors after request completed\nfine"
    );
}

// Covers: rule:logs/errors-per-request
#[test]
fn what_a_request_changes_of_wsgi_errors_ends_with_it() {
    let script = file(
        "changes.wsgi",
        b"def application(environ, start_response):\n    e = environ['wsgi.errors']\n    if 'change' in environ:\n        \
          exec(environ['change'])\n    else:\n        shown = (e.encoding, e.errors, e.line_buffering, e.write_through, \
          hasattr(e, 'mark'))\n        e.write('caf\\xe9\\n1\\n')\n    start_response('200 OK', [])\n    \
          return [] if 'change' in environ else [repr(shown).encode()]\n",
    );
    let changes = [
        "e.reconfigure(encoding='ascii', errors='ignore')",
        "e.reconfigure(newline='|')",
        "e.reconfigure(line_buffering=False)",
        "e.reconfigure(write_through=False)",
        "e.mark = 1",
        "e.detach()",
        "pass",
    ];
    for change in changes {
        let entries = vec![("change".to_owned(), Some(change.into()))];
        request(&script, Client { entries, ..Client::default() });
        let reply = request(&script, Client::default());
        assert_eq!(reply.text(), "('utf-8', 'replace', True, True, False)", "{change}");
        assert_eq!(lines(&reply), ["caf\u{e9}", "1"], "{change}");
    }
}

// Covers: rule:logs/streams-routed
#[test]
fn streams_of_other_threads_and_of_loading_go_to_the_process() {
    let reply = get(
        "import sys, threading\nprint('while loading 4711')\ndef application(environ, start_response):\n    t = \
         threading.Thread(target=lambda: print('from a thread 4711'))\n    t.start(); t.join()\n    start_response('200 OK', [])\n    return []\n",
    );
    // Loading for a request happens on its thread, so its output is the request's.
    assert_eq!(lines(&reply), ["while loading 4711"]);
    assert_eq!(journal("from a thread 4711").len(), 1);
}

// Covers: rule:logs/log-handler-levels, rule:logs/log-handler-loglevel, rule:logs/log-handler-lines,
// rule:logs/log-handler-location, api:mod_wsgi.LogHandler
#[test]
fn a_log_handler_maps_levels_and_splits_lines() {
    let reply = get(
        "import logging, mod_wsgi\nlog = logging.getLogger('rules'); log.propagate = False\nlog.addHandler(mod_wsgi.LogHandler()); \
         log.setLevel(1)\ndef application(environ, start_response):\n    for level in (50, 45, 40, 35, 30, 25, 20, 15, 10):\n        \
         log.log(level, 'at %d', level)\n    log.error('two\\nlines')\n    start_response('200 OK', [])\n    \
         return [str(mod_wsgi.LogHandler.__mro__).encode()]\n",
    );
    let levels: Vec<(u8, String)> = reply.log.iter().map(|line| line.level).zip(lines(&reply)).collect();
    let expected = [
        (2, "at 50"),
        (3, "at 45"),
        (3, "at 40"),
        (4, "at 35"),
        (4, "at 30"),
        (6, "at 25"),
        (6, "at 20"),
        (3, "two"),
        (3, "lines"),
    ];
    assert_eq!(levels, expected.map(|(level, text)| (level, text.to_owned())), "debug is below this log's level");
    assert!(reply.log[0].file.ends_with("app.wsgi") && reply.log[0].line == 6, "{:?}", reply.log[0]);
    assert!(reply.text().starts_with("(<class 'mod_wsgi.LogHandler'>, <class 'logging.Handler'>"), "{}", reply.text());
}

// Covers: rule:logs/restrict-stdin, rule:logs/restrict-stdout
#[test]
fn restricted_streams_refuse_everything() {
    let rows = [
        ("sys.stdout.write('x')", "OSError: sys.stdout access restricted by mod_wsgi"),
        ("print('x')", "OSError: sys.stdout access restricted by mod_wsgi"),
        ("sys.stdout.isatty()", "OSError: sys.stdout access restricted by mod_wsgi"),
        ("sys.stderr.write('fine\\n')", "5"),
    ];
    check("", Client::group("no-stdout"), &rows);
    check(
        "",
        Client::group("no-stdin"),
        &[
            ("sys.stdin.read()", "OSError: sys.stdin access restricted by mod_wsgi"),
            ("sys.stdin.isatty()", "OSError: sys.stdin access restricted by mod_wsgi"),
        ],
    );
    let reply = serve("import sys\nprint('x')\n", Client::group("no-stdout"));
    assert!(reply.errors().contains(&"OSError: sys.stdout access restricted by mod_wsgi"));
    let reply = serve(
        "import sys\nsys.stdout = sys.stderr\nprint('cured')\ndef application(e, s):\n    s('200 OK', [])\n    return []\n",
        Client::group("no-stdout"),
    );
    assert_eq!(lines(&reply), ["cured"]);
}

// Covers: rule:logs/log-handler-format-failure
#[test]
fn a_record_that_cannot_be_formatted_goes_to_handle_error() {
    let reply = get("import logging, mod_wsgi\nlog = logging.getLogger('unformatted'); log.propagate = False\n\
         log.addHandler(mod_wsgi.LogHandler())\ndef application(environ, start_response):\n    log.error('%d things', 'no')\n    \
         start_response('200 OK', [])\n    return [b'fine']\n");
    assert_eq!(reply.text(), "fine");
    assert!(reply.logged("--- Logging error ---") && reply.logged("TypeError: "), "{:#?}", reply.log);
}

// Covers: rule:logs/stalled-log
#[test]
fn a_log_that_makes_a_thread_wait_lets_the_others_run() {
    let script = file(
        "stalled.wsgi",
        b"import os, threading, time\nfrom mod_wsgi import LogHandler\nimport logging\n\ndef run_while_it_waits(path):\n    \
          end = time.monotonic() + 8\n    while not os.path.exists(path + '.waiting') and time.monotonic() < end:\n        \
          time.sleep(0.002)\n    open(path, 'w').close()\n\ndef waits(write, path):\n    \
          other = threading.Thread(target=run_while_it_waits, args=(path,))\n    other.start()\n    \
          begun = time.monotonic()\n    write('log waits for ' + path + '\\n')\n    took = time.monotonic() - begun\n    \
          other.join()\n    return took\n\ndef handled(text):\n    logger = logging.Logger('x')\n    \
          logger.addHandler(LogHandler())\n    logger.error(text.strip())\n\n\
          def application(environ, start_response):\n    import sys\n    base = os.path.dirname(__file__) + '/waits-'\n    \
          took = [waits(environ['wsgi.errors'].write, base + 'errors'), waits(sys.stdout.write, base + 'stdout'),\n            \
          waits(handled, base + 'handler')]\n    \
          outside = threading.Thread(target=lambda: took.append(waits(sys.stderr.write, base + 'outside')))\n    \
          outside.start()\n    outside.join()\n    start_response('200 OK', [])\n    \
          return [' '.join('stuck' if t > 5 else 'ran' for t in took).encode()]\n",
    );
    let reply = request(&script, Client::default());
    assert_eq!(reply.text(), "ran ran ran ran", "{:#?}", reply.log);
}
