//! `wsgi.input`.

use crate::server::{Client, check, file, request, serve};
use wsgi_python::gateway::Outcome;

// Covers: rule:adapter/input-positional, rule:adapter/input-not-seekable, rule:adapter/input-close
#[test]
fn its_methods_have_the_references_signatures() {
    check(
        "",
        Client::default(),
        &[
            ("[name for name in dir(body) if not name.startswith('_')]", "['close', 'read', 'readline', 'readlines']"),
            ("body.read(None)", "TypeError: 'NoneType' object cannot be interpreted as an integer"),
            ("body.read('a')", "TypeError: 'str' object cannot be interpreted as an integer"),
            ("body.read(size=1)", "TypeError: Input.read() takes no keyword arguments"),
            ("body.read(1, 2)", "TypeError: read() takes at most 1 argument (2 given)"),
            ("body.readline(1, 2)", "TypeError: readline() takes at most 1 argument (2 given)"),
            ("body.readlines(1, 2)", "TypeError: readlines() takes at most 1 argument (2 given)"),
            ("body.close(1)", "TypeError: Input.close() takes no arguments (1 given)"),
            ("body.close()", "None"),
            ("iter(body) is body", "True"),
            ("body.read(), body.readline(), body.readlines(), list(body)", "(b'', b'', [], [])"),
        ],
    );
}

// Covers: rule:adapter/input-read, rule:adapter/input-readline, rule:adapter/input-readlines,
// rule:adapter/input-iteration, rule:adapter/input-to-end
#[test]
fn reads_in_all_ways() {
    let pieces: &[&[u8]] = &[b"on", b"e\ntwo\n", b"three\nfo", b"ur"];
    let table = [
        ("body.read()", "b'one\\ntwo\\nthree\\nfour'"),
        ("body.read(-1)", "b'one\\ntwo\\nthree\\nfour'"),
        ("body.read(100)", "b'one\\ntwo\\nthree\\nfour'"),
        ("body.read(5), body.read(3), body.read()", "(b'one\\nt', b'wo\\n', b'three\\nfour')"),
        ("body.readline(), body.read(2), body.readline(), body.read()", "(b'one\\n', b'tw', b'o\\n', b'three\\nfour')"),
        ("body.readline(2), body.readline(2), body.readline(9)", "(b'on', b'e\\n', b'two\\n')"),
        ("body.readline(0)", "b''"),
        ("body.readlines()", "[b'one\\n', b'two\\n', b'three\\n', b'four']"),
        (
            "body.readlines(4), body.readlines(5), body.readlines()",
            "([b'one\\n'], [b'two\\n', b'three\\n'], [b'four'])",
        ),
        ("list(body)", "[b'one\\n', b'two\\n', b'three\\n', b'four']"),
        ("next(body), body.read(4), list(body)", "(b'one\\n', b'two\\n', [b'three\\n', b'four'])"),
        ("body.read(0), body.read(3)", "(b'', b'one')"),
    ];
    for (expression, expected) in table {
        for length in [None, Some(-1)] {
            let mut client = Client::post(pieces);
            client.length = length.unwrap_or(client.length);
            check("", client, &[(expression, expected), ("(body.read() and None) or body.read()", "b''")]);
        }
    }
}

// Covers: rule:adapter/input-read
#[test]
fn a_large_body_arrives_whole() {
    let piece = vec![b'x'; 70_000];
    let client = Client::post(&[piece.as_slice(); 40]);
    check("", client, &[("len(body.read())", "2800000")]);
    let mut client = Client::post(&[piece.as_slice(); 40]);
    client.length = -1;
    check("", client, &[("len(body.read(100000)), len(body.read())", "(100000, 2700000)")]);
}

// Covers: rule:adapter/continue-on-read
#[test]
fn read_0_asks_the_gateway_so_that_the_client_goes_on() {
    let mut client = Client::post(&[b"x"]);
    client.length = -1;
    let reply = serve(&crate::server::evaluating("", &["body.read(0)"]), client);
    assert_eq!(reply.reads, 1);
    let reply = serve(&crate::server::evaluating("", &["1"]), Client::post(&[b"x"]));
    assert_eq!(reply.reads, 0, "an application that does not read does not make the client send");
}

// Covers: rule:adapter/client-abort-read, rule:adapter/input-error-sticky
#[test]
fn a_failed_read_is_an_os_error_and_stays_one() {
    let mut client = Client::post(&[b"part"]);
    client.length = 100;
    client.read_failure = Some("Connection was terminated");
    check(
        "",
        client.clone(),
        &[
            ("body.read()", "OSError: mod_wsgi request data read error: Connection was terminated"),
            ("body.read()", "OSError: mod_wsgi request data read error: input is already in error state"),
            ("body.readline()", "OSError: mod_wsgi request data read error: input is already in error state"),
            ("next(body)", "OSError: mod_wsgi request data read error: input is already in error state"),
        ],
    );
    let reply = serve("def application(e, s):\n    e['wsgi.input'].read()\n", client);
    assert_eq!(reply.outcome, Outcome::Status(500));
}

// Covers: rule:adapter/input-after-request
#[test]
fn after_the_request_everything_refuses() {
    let script = file(
        "kept.wsgi",
        b"kept = []\ndef application(environ, start_response):\n    lines = []\n    for body in kept:\n        \
          for f in (body.read, body.readline, body.readlines, body.close, lambda: iter(body), lambda: next(body)):\n            \
          try:\n                f()\n            except RuntimeError as error:\n                lines.append(str(error))\n    \
          kept[:] = [environ['wsgi.input']]\n    start_response('200 OK', [])\n    return ['\\n'.join(lines).encode()]\n",
    );
    request(&script, Client::post(&[b"x"]));
    let reply = request(&script, Client::post(&[b"x"]));
    assert_eq!(
        reply.text(),
        "read() called on wsgi.input after request completed\nreadline() called on wsgi.input after request completed\n\
         readlines() called on wsgi.input after request completed\nclose() called on wsgi.input after request completed\n\
         iteration of wsgi.input attempted after request completed\niteration of wsgi.input attempted after request completed"
    );
}

// Covers: rule:adapter/input-other-threads
#[test]
fn a_thread_of_the_application_may_read() {
    let reply = serve(
        "import threading\ndef application(environ, start_response):\n    out = []\n    t = threading.Thread(target=lambda: \
         out.append(environ['wsgi.input'].read()))\n    t.start(); t.join()\n    start_response('200 OK', [])\n    return out\n",
        Client::post(&[b"body"]),
    );
    assert_eq!(reply.text(), "body");
}
