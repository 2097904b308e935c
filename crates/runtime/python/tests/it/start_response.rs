//! `start_response` and `write`.

use crate::server::{Client, Reply, check, get, serve};
use wsgi_python::gateway::{Outcome, SendFailure};

// Covers: rule:adapter/start-response-arguments, rule:adapter/start-response-headers-list,
// rule:adapter/start-response-exc-info-type
#[test]
fn arguments_are_checked_with_the_references_texts() {
    check(
        "",
        Client::default(),
        &[
            ("start_response()", "TypeError: start_response() takes at least 2 arguments (0 given)"),
            ("start_response(1)", "TypeError: start_response() takes at least 2 arguments (1 given)"),
            (
                "start_response('200 OK', [], None, 4)",
                "TypeError: start_response() takes at most 3 arguments (4 given)",
            ),
            ("start_response(status='200 OK', headers=[])", "TypeError: start_response() takes no keyword arguments"),
            ("start_response('200 OK', ())", "TypeError: start_response() argument 2 must be list, not tuple"),
            (
                "start_response('200 OK', [], 3)",
                "RuntimeError: start_response() argument 'exc_info' must be a 3-tuple or None",
            ),
            ("start_response('200 OK', type('L', (list,), {})([('A', 'b')])) is not None", "True"),
            ("type(start_response).__name__", "'builtin_function_or_method'"),
            ("type(start_response('200 OK', [])).__name__", "'builtin_function_or_method'"),
        ],
    );
}

// Covers: rule:adapter/informational-status, rule:adapter/status-type, rule:adapter/status-digits,
// rule:adapter/status-control
#[test]
fn the_status_line_is_checked() {
    check(
        "",
        Client::default(),
        &[
            ("start_response(200, [])", "TypeError: must be str, not int"),
            ("start_response('20', [])", "ValueError: status code must be a 3 digit integer: b'20'"),
            ("start_response('099 X', [])", "ValueError: status code must be a 3 digit integer: b'099 X'"),
            ("start_response('2000 OK', [])", "ValueError: status code must be a 3 digit integer: b'2000 OK'"),
            ("start_response('abc OK', [])", "ValueError: status code must be a 3 digit integer: b'abc OK'"),
            ("start_response('', [])", "ValueError: status code must be a 3 digit integer: b''"),
            ("start_response('200OK', [])", "ValueError: no space following status code: b'200OK'"),
            ("start_response('200 OK\\n', [])", "ValueError: control character in status reason phrase: b'200 OK\\n'"),
            (
                "start_response('\\u1234', [])",
                "UnicodeEncodeError: 'latin-1' codec can't encode character '\\u1234' in position 0: ordinal not in range(256)",
            ),
            (
                "start_response('100 Continue', [])",
                "ValueError: status code of a response must not be informational (1xx): b'100 Continue'",
            ),
            ("start_response('200', []) is not None", "True"),
            ("start_response('999 Weird', []) is not None", "True"),
        ],
    );
}

// Covers: rule:adapter/header-tuple, rule:adapter/header-name-checked, rule:adapter/header-value-checked
#[test]
fn header_fields_are_checked() {
    let table = [
        ("[1]", "TypeError: each header must be a 2-tuple, not int"),
        ("[['a', 'b']]", "TypeError: each header must be a 2-tuple, not list"),
        ("[('a',)]", "ValueError: each header must be a 2-tuple, got length 1"),
        ("[('a', 1)]", "TypeError: must be str, not int"),
        ("[(b'a', 'b')]", "TypeError: must be str, not bytes"),
        ("[('', 'a')]", "ValueError: header name is empty"),
        ("[('a b', 'a')]", "ValueError: space character in header name: b'a b'"),
        ("[('a\\n', 'a')]", "ValueError: control character in header name: b'a\\n'"),
        ("[('a\\tb', 'a')]", "ValueError: control character in header name: b'a\\tb'"),
        ("[('a\\x7fb', 'a')]", "ValueError: control character in header name: b'a\\x7fb'"),
        ("[('a', 'a\\r\\nb')]", "ValueError: carriage return/line feed character in header value: b'a\\r\\nb'"),
    ];
    let calls: Vec<String> = table.iter().map(|(headers, _)| format!("start_response('200 OK', {headers})")).collect();
    let rows: Vec<(&str, &str)> =
        calls.iter().map(String::as_str).zip(table.iter().map(|(_, expected)| *expected)).collect();
    check("", Client::default(), &rows);
}

// Covers: rule:adapter/header-latin1, rule:adapter/header-nul, rule:adapter/header-others-pass
#[test]
fn fields_pass_in_order_as_latin_1_and_end_at_a_nul() {
    let reply = get(
        "def application(environ, start_response):\n    start_response('200 caf\\xe9', [('X', 'a\\tb'), ('Y', '\\xe9'), \
         ('X', 'two'), ('Z:', 'v\\0lost')])\n    return []\n",
    );
    assert_eq!((reply.status, reply.line.as_str()), (200, "200 caf\u{e9}"));
    let expected = [("X", "a\tb"), ("Y", "\u{e9}"), ("X", "two"), ("Z:", "v")];
    assert_eq!(reply.fields, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
}

// Covers: rule:adapter/hop-by-hop-dropped, code:WSGI0950
#[test]
fn fields_of_the_connection_are_dropped_with_one_warning_each() {
    let answer = |fields: &str| {
        let source = format!(
            "def application(environ, start_response):\n    start_response('200 OK', [{fields}])\n    return [b'x']\n"
        );
        serve(&source, Client::group("hop-by-hop"))
    };
    let all = "('Transfer-Encoding', 'chunked'), ('connection', 'close'), ('Upgrade', 'h2c'), ('Trailer', 'X'), ('TE', 'gzip'), \
               ('Keep-Alive', 'timeout=9'), ('Proxy-Authenticate', 'Basic'), ('Proxy-Status', 'kept'), ('X', '1')";
    let reply = answer(all);
    let kept = [("Proxy-Status", "kept"), ("X", "1")];
    assert_eq!(reply.fields, kept.map(|(name, value)| (name.to_owned(), value.to_owned())));
    let warnings = |reply: &Reply| reply.log.iter().filter(|line| line.text.contains("WSGI0950")).count();
    assert_eq!(warnings(&reply), 7, "{:#?}", reply.log);
    assert!(reply.logged("WSGI0950: The field 'Connection' of a response was dropped"), "{:#?}", reply.log);
    let reply = answer("('Upgrade', 'h2c'), ('Proxy-Connection', 'close')");
    assert!(reply.fields.is_empty() && reply.logged("'Proxy-Connection'"), "{reply:#?}");
    assert_eq!(warnings(&reply), 1, "the application was warned of 'Upgrade' before: {:#?}", reply.log);
}

// Covers: rule:adapter/start-response-replaces
#[test]
fn a_second_call_before_the_headers_replaces_the_first() {
    let reply = get("def application(environ, start_response):\n    start_response('200 OK', [('A', '1')])\n    \
         start_response('404 Gone', [('B', '2')])\n    return [b'x']\n");
    assert_eq!((reply.status, reply.field("A"), reply.field("B")), (404, None, Some("2")));
}

// Covers: rule:adapter/start-response-refused-keeps-first
#[test]
fn a_refused_second_call_leaves_the_first() {
    let reply = get(
        "def application(environ, start_response):\n    start_response('200 OK', [('A', '1')])\n    try:\n        \
         start_response('bad', [])\n    except ValueError:\n        pass\n    return [b'x']\n",
    );
    assert_eq!((reply.status, reply.field("A")), (200, Some("1")));
}

// Covers: rule:adapter/start-response-after-headers
#[test]
fn after_the_headers_exc_info_is_raised_again_and_a_call_without_is_an_error() {
    let reply = get(
        "import sys\ndef application(environ, start_response):\n    write = start_response('200 OK', [])\n    \
         write(b'first;')\n    try:\n        raise KeyError('k')\n    except KeyError:\n        info = sys.exc_info()\n    \
         lines = []\n    for args in [('500 X', [], info), ('500 X', []), ('500 X', [], (1, 2))]:\n        try:\n            \
         start_response(*args)\n        except Exception as error:\n            lines.append(type(error).__name__ + ': ' + \
         str(error))\n    return [';'.join(lines).encode()]\n",
    );
    assert_eq!(
        reply.text(),
        "first;KeyError: 'k';RuntimeError: start_response() called more than once without exc_info;\
         TypeError: function takes exactly 3 arguments (2 given)"
    );
}

// Covers: rule:adapter/write-arguments
#[test]
fn write_checks_its_argument_and_sends_at_once() {
    check(
        "",
        Client::default(),
        &[
            ("start_response('200 OK', [])()", "TypeError: write() takes exactly 1 argument (0 given)"),
            ("start_response('200 OK', [])('x')", "TypeError: write() argument must be bytes, not str"),
            ("start_response('200 OK', [])(data=b'x')", "TypeError: write() takes no keyword arguments"),
            ("start_response('200 OK', [])(b'')", "None"),
        ],
    );
    let reply = get(
        "def application(environ, start_response):\n    write = start_response('200 OK', [])\n    write(b'one')\n    \
         write(b'')\n    return [b'two']\n",
    );
    assert_eq!(reply.writes, [(3, false), (3, false)]);
    assert_eq!(reply.text(), "onetwo");
}

// Covers: rule:adapter/write-client-gone
#[test]
fn write_tells_of_a_client_that_has_gone() {
    let source = "def application(environ, start_response):\n    write = start_response('200 OK', [])\n    try:\n        \
                  write(b'x')\n    except OSError as error:\n        environ['wsgi.errors'].write(str(error) + '\\n')\n    return []\n";
    let failing = |failure| Client { send_failure: Some((0, failure)), ..Client::default() };
    let reply = serve(source, failing(SendFailure::ClientGone));
    assert!(reply.logged("mod_wsgi client connection closed"), "{reply:#?}");
    assert_eq!(reply.outcome, Outcome::Truncated);
    let reply = serve(source, failing(SendFailure::Failed("no space".into())));
    assert!(reply.logged("mod_wsgi failed to write response data: no space"), "{reply:#?}");
}

// Covers: rule:adapter/start-response-after-end, rule:adapter/write-after-end
#[test]
fn both_refuse_after_the_end() {
    let path = crate::server::file(
        "kept.wsgi",
        b"kept = []\ndef application(environ, start_response):\n    lines = []\n    for f, a in kept:\n        try:\n            \
          f(*a)\n        except RuntimeError as error:\n            lines.append(str(error))\n    write = \
          start_response('200 OK', [])\n    kept[:] = [(start_response, ('200 OK', [])), (write, (b'x',))]\n    return \
          ['\\n'.join(lines).encode()]\n",
    );
    crate::server::request(&path, Client::default());
    let reply = crate::server::request(&path, Client::default());
    assert_eq!(reply.text(), "start_response() called after request completed\nwrite() called after request completed");
}
