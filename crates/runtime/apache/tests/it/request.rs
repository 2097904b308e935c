//! The request's way in: environ, trusted proxies, bodies.

use crate::server::Server;

const CONFIGURATION: &str = "
WSGIScriptAlias /a ROOT/app.wsgi
<Location /a/pass>
  WSGIPassAuthorization On
</Location>
<Location /a/cgi>
  CGIPassAuth On
</Location>
<Location /a/set>
  SetEnv FOO bar
  SetEnv SERVER_NAME evil
  SetEnv mod_wsgi.x-secret evil
</Location>
<Location /a/any>
  WSGITrustedProxyHeaders X-Forwarded-For X-Forwarded-Proto X-Forwarded-Host X-Script-Name
</Location>
<Location /a/listed>
  WSGITrustedProxyHeaders X-Forwarded-For
  WSGITrustedProxyHeaders X-Forwarded-Proto
  WSGITrustedProxies 127.0.0.1
  WSGITrustedProxies 10.0.0.0/8
</Location>
<Location /a/others>
  WSGITrustedProxyHeaders X-Forwarded-For X-Forwarded-Proto
  WSGITrustedProxies 10.0.0.0/8
</Location>
<Location /a/chunked>
  WSGIChunkedRequest On
</Location>
<Location /a/small>
  LimitRequestBody 10
  WSGIChunkedRequest On
</Location>
<Location /a/always>
  WSGIMapHEADToGET On
</Location>
<Location /a/filtered>
  SetOutputFilter DEFLATE
</Location>
<Location /a/never>
  WSGIMapHEADToGET Off
  SetOutputFilter DEFLATE
</Location>
ErrorDocument 500 /a/document
";

fn server(name: &str) -> Server {
    Server::start(name, &["app.wsgi"], CONFIGURATION)
}

// Covers: rule:adapter/headers-become-http, rule:adapter/headers-odd-names-dropped,
// rule:adapter/headers-proxy-dropped, rule:adapter/headers-joined, rule:adapter/authorization-dropped,
// rule:adapter/authorization-passed, rule:adapter/proxy-authorization-cgipassauth,
// rule:adapter/content-headers-when-sent, rule:adapter/not-set, directive:WSGIPassAuthorization,
// environ:HTTP_AUTHORIZATION, environ:CONTENT_TYPE, environ:CONTENT_LENGTH
#[test]
fn headers_become_entries() {
    let server = server("headers");
    let fields = "X-Foo: 1\nX-Foo: 2\nX_Under: 1\nX.Dot: 1\nProxy: evil\nAuthorization: Basic eA==\n\
                  Proxy-Authorization: y\nContent-Type: a/b\nCookie: a=b\nX-Empty:";
    let answer = server.get_with("/a", fields);
    for (name, value) in [
        ("HTTP_X_FOO", Some("1, 2")),
        ("HTTP_X_UNDER", None),
        ("HTTP_X.DOT", None),
        ("HTTP_PROXY", None),
        ("HTTP_AUTHORIZATION", None),
        ("HTTP_PROXY_AUTHORIZATION", None),
        ("CONTENT_TYPE", Some("a/b")),
        ("CONTENT_LENGTH", None),
        ("HTTP_COOKIE", Some("a=b")),
        ("HTTP_X_EMPTY", Some("")),
        ("HTTP_HOST", Some("localhost:PORT")),
        ("PATH", None),
        ("GATEWAY_INTERFACE", None),
    ] {
        assert_eq!(answer.entry(name), value, "{name}");
    }
    assert_eq!(server.get_with("/a/pass", fields).entry("HTTP_AUTHORIZATION"), Some("Basic eA=="));
    assert_eq!(server.get_with("/a/pass", fields).entry("HTTP_PROXY_AUTHORIZATION"), None);
    let answer = server.get_with("/a/cgi", fields);
    assert_eq!(answer.entry("HTTP_AUTHORIZATION"), Some("Basic eA=="));
    assert_eq!(answer.entry("HTTP_PROXY_AUTHORIZATION"), Some("y"));
}

// Covers: rule:adapter/variables-passed, rule:adapter/variables-cannot-replace, rule:adapter/internal-keys-hidden,
// rule:adapter/query-string-always, rule:adapter/server-facts, rule:adapter/paths-as-cgi,
// rule:adapter/listener-in-environ, rule:adapter/server-pid-in-environ, rule:adapter/handler-in-environ,
// environ:QUERY_STRING, environ:SERVER_NAME, environ:SERVER_PORT, environ:SERVER_ADDR, environ:SERVER_PROTOCOL,
// environ:SERVER_SOFTWARE, environ:REMOTE_ADDR, environ:REMOTE_PORT, environ:REQUEST_SCHEME, environ:DOCUMENT_ROOT,
// environ:SCRIPT_FILENAME, environ:mod_wsgi.listener_host, environ:mod_wsgi.listener_port,
// environ:mod_wsgi.server_pid, environ:mod_wsgi.request_id
#[test]
fn what_the_server_knows_cannot_be_set() {
    let answer = server("variables").get("/a/set?x=1");
    assert_eq!(answer.entry("FOO"), Some("bar"));
    assert_eq!(answer.entry("SERVER_NAME"), Some("localhost"));
    assert_eq!(answer.entry("mod_wsgi.x-secret"), None);
    for (name, value) in [
        ("QUERY_STRING", "x=1"),
        ("SERVER_PORT", "PORT"),
        ("SERVER_ADDR", "127.0.0.1"),
        ("REMOTE_ADDR", "127.0.0.1"),
        ("SERVER_PROTOCOL", "HTTP/1.1"),
        ("REQUEST_SCHEME", "http"),
        ("DOCUMENT_ROOT", "ROOT"),
        ("SCRIPT_FILENAME", "ROOT/app.wsgi"),
        ("mod_wsgi.listener_host", "127.0.0.1"),
        ("mod_wsgi.listener_port", "PORT"),
        ("facts.handler", "wsgi-script"),
    ] {
        assert_eq!(answer.entry(name), Some(value), "{name}");
    }
    for name in ["mod_wsgi.request_id", "mod_wsgi.server_pid", "REMOTE_PORT", "SERVER_SOFTWARE"] {
        assert!(answer.entry(name).is_some_and(|value| !value.is_empty()), "{name}");
    }
}

// Covers: rule:proxies/nothing-unless-configured, rule:proxies/peer-trusted-by-default, rule:proxies/peer-in-list,
// rule:proxies/untrusted-removes, rule:proxies/other-headers-of-category-removed, rule:proxies/lists-append,
// rule:proxies/client, rule:proxies/host, rule:proxies/script, rule:proxies/scheme-name,
// rule:proxies/applied-header-stays, rule:proxies/originals-kept, rule:proxies/forwarded-for-first,
// rule:proxies/forwarded-for-walk, rule:proxies/forwarded-for-rewritten, rule:adapter/original-names-in-environ,
// directive:WSGITrustedProxyHeaders, directive:WSGITrustedProxies, environ:mod_wsgi.mount_point,
// environ:mod_wsgi.script_name
#[test]
fn trusted_headers_change_the_environ() {
    let server = server("proxies");
    let fields = "X-Forwarded-For: 1.1.1.1, 2.2.2.2\nX-Real-IP: 9.9.9.9\nX-Forwarded-Proto: https\nX-Scheme: http\n\
                  X-Forwarded-Host: front.example\nX-Script-Name: /mounted";
    let answer = server.get_with("/a/any", fields);
    for (name, value) in [
        ("REMOTE_ADDR", Some("1.1.1.1")),
        ("HTTP_X_FORWARDED_FOR", Some("1.1.1.1, 2.2.2.2")),
        ("HTTP_X_REAL_IP", None),
        ("HTTPS", Some("1")),
        ("HTTP_X_SCHEME", None),
        ("HTTP_HOST", Some("front.example")),
        ("SCRIPT_NAME", Some("/mounted")),
        ("mod_wsgi.mount_point", Some("/mounted")),
        ("mod_wsgi.script_name", Some("/a")),
    ] {
        assert_eq!(answer.entry(name), value, "{name}");
    }
    let answer = server.get_with("/a/listed", "X-Forwarded-For: 1.1.1.1, 2.2.2.2, 10.0.0.1, 127.0.0.1");
    assert_eq!(answer.entry("REMOTE_ADDR"), Some("2.2.2.2"));
    assert_eq!(answer.entry("HTTP_X_FORWARDED_FOR"), Some("2.2.2.2, 10.0.0.1, 127.0.0.1"));
    let answer = server.get_with("/a/others", fields);
    assert_eq!(answer.entry("REMOTE_ADDR"), Some("127.0.0.1"));
    assert_eq!((answer.entry("HTTP_X_FORWARDED_FOR"), answer.entry("HTTPS")), (None, None));
    assert_eq!(server.get_with("/a", fields).entry("HTTP_X_REAL_IP"), Some("9.9.9.9"), "nothing is configured there");
}

// Covers: rule:adapter/content-length-invalid, rule:adapter/chunked-refused, rule:adapter/body-limit-known,
// rule:adapter/body-limit-chunked, rule:adapter/input-to-end, rule:adapter/continue-on-read,
// rule:mapping/check-chunked, rule:mapping/check-body-limit, directive:WSGIChunkedRequest, code:WSGI0139
#[test]
fn bodies_are_read_to_their_end_or_refused() {
    let server = server("bodies");
    let post = |target: &str, fields: &str, body: &[u8]| {
        server.ask(&format!("POST {target} HTTP/1.1\nHost: localhost:PORT\n{fields}"), body)
    };
    assert!(post("/a?read", "Content-Length: 200000", &[b'x'; 200_000]).body().contains("200000"));
    let chunks = b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n";
    assert!(post("/a/chunked?read", "Transfer-Encoding: chunked", chunks).body().contains("11"));
    for (target, fields, status, code) in [
        ("/a", "Transfer-Encoding: chunked", 411, "WSGI0139"),
        ("/a/small?read", "Transfer-Encoding: chunked", 413, ""),
        ("/a/small", "Content-Length: 11", 413, "AH01588: Requested content-length of 11 is larger than"),
        ("/a", "Content-Length: x", 400, ""),
    ] {
        let answer = post(target, fields, b"b\r\nhello world\r\n0\r\n\r\n");
        assert_eq!(answer.status(), status, "{target} {fields}");
        assert!(server.log().contains(code), "{code}");
    }
    let fields = "Content-Length: 5\nExpect: 100-continue";
    assert!(post("/a?read", fields, b"hello").head().starts_with("HTTP/1.1 100 Continue"));
    assert_eq!(post("/a", fields, b"").status(), 200, "nobody reads, so nobody asks for it");
}

// Covers: rule:adapter/head-mapped-auto, rule:adapter/head-mapped-on-off, rule:adapter/request-method,
// directive:WSGIMapHEADToGET, environ:REQUEST_METHOD
#[test]
fn head_is_shown_as_the_setting_says() {
    let server = server("head");
    for (target, method) in [("/a", "HEAD"), ("/a/always", "GET"), ("/a/filtered", "GET"), ("/a/never", "HEAD")] {
        let answer = server.ask(&format!("HEAD {target} HTTP/1.1\nHost: localhost:PORT"), b"");
        assert_eq!((answer.status(), answer.body()), (200, ""), "{target}");
        assert!(answer.head().contains(&format!("X-Method: {method}\r\n")), "{target}: {}", answer.head());
    }
}

// Covers: rule:adapter/redirect-variables
#[test]
fn an_error_document_sees_the_first_request() {
    let server = server("redirect");
    let answer = server.get_with("/a/first?fail", "X-Foo: 1");
    assert_eq!(answer.status(), 200, "the document decides on the status");
    for (name, value) in [
        ("PATH_INFO", "/document"),
        ("REDIRECT_URL", "/a/first"),
        ("REDIRECT_STATUS", "500"),
        ("REDIRECT_QUERY_STRING", "fail"),
        ("REDIRECT_PATH_INFO", "/first"),
        ("REDIRECT_HTTP_X_FOO", "1"),
    ] {
        assert_eq!(answer.entry(name), Some(value), "{name}");
    }
}

// Covers: rule:adapter/connection-id-in-environ, environ:mod_wsgi.connection_id
#[test]
fn a_connection_that_has_an_id_shows_it() {
    let server = Server::start(
        "connection-id",
        &["app.wsgi"],
        "ErrorLogFormat \"[%{c}L] %M\"\nWSGIScriptAlias /a ROOT/app.wsgi\nWSGIScriptAlias /gone ROOT/gone.wsgi",
    );
    assert_eq!(server.get("/a").entry("mod_wsgi.connection_id"), None, "nothing was logged of this connection");
    // The first request is logged, and the second one comes over the same connection.
    let answer = server.ask("GET /gone HTTP/1.1\nHost: localhost\n\nGET /a HTTP/1.1\nHost: localhost", b"");
    let id = answer.entry("mod_wsgi.connection_id").map(str::to_owned);
    let id = id.unwrap_or_else(|| panic!("no id: {}", answer.body()));
    assert!(server.log().contains(&format!("[{id}] ")), "{id} is not in {}", server.log());
}
