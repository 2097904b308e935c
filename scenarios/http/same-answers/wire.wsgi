"""Answers of every kind, one by each path; `environ` shows what the application was given."""

import io
import sys
from pathlib import Path

FILE = Path(__file__).with_name("lines.data")
FILE.write_bytes(b"".join(b"line %04d\n" % number for number in range(1000)))
EMPTY = Path(__file__).with_name("empty.data")
EMPTY.write_bytes(b"")

TEXT = [("Content-Type", "text/plain")]

# Of the server and its machine, not of the request.
HIDDEN = {
    "SERVER_SOFTWARE", "REMOTE_PORT", "SCRIPT_FILENAME", "DOCUMENT_ROOT", "CONTEXT_DOCUMENT_ROOT", "mod_wsgi.server_pid",
    "mod_wsgi.request_id", "mod_wsgi.connection_id", "mod_wsgi.thread_id", "mod_wsgi.request_start", "mod_wsgi.queue_start",
    "mod_wsgi.daemon_start", "mod_wsgi.application_start", "mod_wsgi.version", "mod_wsgi_rs.version", "apache.version",
    "mod_wsgi.process_group", "mod_wsgi.application_group", "mod_wsgi.listener_host", "mod_wsgi.listener_port", "wsgi.multiprocess", "wsgi.multithread", "SERVER_SIGNATURE",
}

# What most requests have; shown where it is something else, or nothing.
USUAL = {
    "CONTEXT_PREFIX": "", "HTTP_HOST": "localhost", "QUERY_STRING": "", "REMOTE_ADDR": "127.0.0.1", "REQUEST_METHOD": "GET",
    "REQUEST_SCHEME": "http", "SERVER_ADDR": "127.0.0.1", "SERVER_ADMIN": "[no address given]", "SERVER_NAME": "localhost",
    "SERVER_PROTOCOL": "HTTP/1.1", "mod_wsgi.callable_object": "application", "mod_wsgi.handler_script": "",
    "mod_wsgi.request_handler": "wsgi-script", "wsgi.url_scheme": "http", "wsgi.input_terminated": True,
}


def dump(environ, *, only=None):
    lines = []
    for key in sorted(environ | USUAL):
        own = key.startswith("wsgi.") and key not in USUAL or key.startswith("REDIRECT_mod_wsgi.x-")
        if own or key.removeprefix("REDIRECT_") in HIDDEN or only and key not in only:
            continue
        value = environ.get(key)
        if value != USUAL.get(key, "") or key not in USUAL:
            lines.append(f"{key} = {value!r}\n")
    return "".join(lines).encode()


def plain(status="200 OK", headers=(), body=b"body\n", type="text/plain"):
    def answer(environ, start_response):
        start_response(status, ([("Content-Type", type)] if type else []) + list(headers))
        return [body] if body is not None else []
    return answer


def generator(*blocks, status="200 OK", headers=(), fail=False):
    def answer(environ, start_response):
        start_response(status, TEXT + list(headers))
        yield from blocks
        if fail:
            raise RuntimeError("in the middle")
    return answer


def written(environ, start_response):
    write = start_response("200 OK", TEXT)
    write(b"one\n")
    write(b"")
    write(b"two\n")
    return [b"three\n"]


def late(environ, start_response):
    def blocks():
        start_response("201 Created", TEXT)
        yield b""
        yield b"late\n"
    return blocks()


def replaced(environ, start_response):
    start_response("200 OK", [("X-First", "1")])
    try:
        raise ValueError
    except ValueError:
        start_response("503 Sorry", TEXT, sys.exc_info())
    return [b"replaced\n"]


def file(*, name=None, headers=(), position=0, size=8192, status="200 OK"):
    def answer(environ, start_response):
        opened = open(name or FILE, "rb")
        opened.seek(position)
        start_response(status, TEXT + list(headers))
        return environ["wsgi.file_wrapper"](opened, size)
    return answer


class Noted(io.FileIO):
    """Notes where it stands when it is closed."""

    position = None

    def close(self):
        if not self.closed:
            Noted.position = self.tell()
        super().close()


def noted(environ, start_response):
    opened = Noted(FILE)
    opened.seek(10)
    start_response("200 OK", TEXT)
    return environ["wsgi.file_wrapper"](opened)


def position(environ, start_response):
    start_response("200 OK", TEXT)
    return [b"%d\n" % Noted.position]


def memory(environ, start_response):
    start_response("200 OK", TEXT)
    return environ["wsgi.file_wrapper"](io.BytesIO(b"from memory\n" * 100), 7)


def body(environ, start_response):
    stream = environ["wsgi.input"]
    how = environ["QUERY_STRING"]
    try:
        if how == "lines":
            read = b"|".join(stream)
        elif how == "readline":
            read = b"|".join(iter(lambda: stream.readline(4), b""))
        elif how == "readlines":
            read = b"|".join(stream.readlines())
        elif how == "small":
            read = b"|".join(iter(lambda: stream.read(3), b""))
        elif how == "none":
            read = b"(not read)"
        elif how == "zero":
            read = stream.read(0)
        else:
            read = stream.read()
        read = read if len(read) < 200 else b"%d bytes" % len(read)
    except OSError as error:
        start_response("400 Bad Request", TEXT)
        return [b"OSError: ", str(error).encode()]
    start_response("200 OK", TEXT)
    keys = ("CONTENT_LENGTH", "CONTENT_TYPE", "HTTP_TRANSFER_ENCODING", "HTTP_EXPECT", "HTTP_TRAILER", "HTTP_X_TRAILER", "REQUEST_METHOD")
    return [dump(environ, only=keys), b"read ", read, b"\n"]


def error(environ, start_response):
    raise RuntimeError("before the headers")


def nothing(environ, start_response):
    return []


def unknown(environ, start_response):
    start_response("404 Not Found", TEXT)
    return [b"no such answer\n"]


TAGGED = [("ETag", '"tag"'), ("Last-Modified", "Wed, 01 Jan 2020 00:00:00 GMT")]

ANSWERS = {
    "/kept": plain(),
    "/list": plain(),
    "/blocks": generator(b"one\n", b"", b"two\n"),
    "/empty-list": plain(body=None),
    "/empty-block": plain(body=b""),
    "/empty-generator": generator(),
    "/written": written,
    "/late": late,
    "/replaced": replaced,
    "/sized": plain(headers=[("Content-Length", "5")]),
    "/sized-blocks": generator(b"one\n", b"two\n", headers=[("Content-Length", "8")]),
    "/excess": plain(headers=[("Content-Length", "3")]),
    "/excess-blocks": generator(b"one\n", b"two\n", headers=[("Content-Length", "6")]),
    "/sized-twice": plain(headers=[("Content-Length", "5"), ("Content-Length", "5")]),
    "/sized-oddly": plain(headers=[("Content-Length", "3x")]),
    "/sized-empty": plain(headers=[("Content-Length", "0")], body=None),
    "/100": plain("100 Continue"),
    "/204": plain("204 No Content", body=None, type=None),
    "/204-body": plain("204 No Content"),
    "/205": plain("205 Reset Content", body=None),
    "/304": plain("304 Not Modified", TAGGED, body=None, type=None),
    "/304-body": plain("304 Not Modified", TAGGED + [("Content-Length", "5")]),
    "/206": plain("206 Partial Content", [("Content-Range", "bytes 0-4/10")]),
    "/416": plain("416 Range Not Satisfiable", [("Content-Range", "bytes */10")]),
    "/999": plain("999 Weird"),
    "/200-alone": plain("200"),
    "/404-alone": plain("404"),
    "/299-alone": plain("299"),
    "/own-reason": plain("200 Fine Thanks"),
    "/400": plain("400 Bad Request"),
    "/401": plain("401 Unauthorized", [("WWW-Authenticate", 'Basic realm="a"'), ("WWW-Authenticate", "Bearer")]),
    "/403": plain("403 Forbidden"),
    "/404": plain("404 Not Found"),
    "/404-empty": plain("404 Not Found", body=None),
    "/405": plain("405 Method Not Allowed", [("Allow", "GET, HEAD")]),
    "/410": plain("410 Gone", [("X-Own", "kept")]),
    "/429": plain("429 Too Many Requests", [("Retry-After", "7")]),
    "/500": plain("500 Internal Server Error"),
    "/503": plain("503 Service Unavailable", [("Retry-After", "7")]),
    "/status-field": plain(headers=[("Status", "404 Not Here")]),
    "/no-type": plain(type=None),
    "/no-type-empty": plain(type=None, body=None),
    "/type": plain(type="Text/HTML; Charset=UTF-8; X=\"A B\""),
    "/type-twice": plain(headers=[("Content-Type", "text/html")]),
    "/type-odd": plain(type="nonsense"),
    "/type-empty": plain(headers=[("Content-Type", "")], type=None),
    "/same-fields": plain(headers=[("X-A", "1"), ("X-A", "2"), ("Vary", "Cookie"), ("Vary", "Accept"), ("Link", "<a>"), ("x-a", "3")]),
    "/cookies": plain(headers=[("Set-Cookie", "a=1; Path=/"), ("Set-Cookie", "b=2"), ("set-cookie", "c=3")]),
    "/own-fields": plain(headers=[("Date", "yesterday"), ("Server", "mine"), ("Last-Modified", "Wed, 01 Jan 2020 00:00:00 GMT"), ("ETag", '"e"')]),
    "/odd-fields": plain(headers=[("X-Empty", ""), ("X-Tab", "a\tb"), ("X-Latin", "\xe4\xff"), ("X-Space", "  padded  ")]),
    "/connection-close": plain(headers=[("Connection", "close")]),
    "/keep-alive": plain(headers=[("Keep-Alive", "timeout=99"), ("Connection", "Keep-Alive")]),
    "/upgrade": plain(headers=[("Upgrade", "h2c"), ("Connection", "Upgrade")]),
    "/own-chunked": plain(headers=[("Transfer-Encoding", "chunked")]),
    "/own-chunked-length": plain(headers=[("Transfer-Encoding", "chunked"), ("Content-Length", "4")]),
    "/trailer": plain(headers=[("Trailer", "X-Sum")]),
    "/encoded": plain(headers=[("Content-Encoding", "gzip")]),
    "/location-path": plain(headers=[("Location", "/list")]),
    "/location-url": plain(headers=[("Location", "http://elsewhere.example/")]),
    "/location-twice": plain("302 Found", [("Location", "/a"), ("Location", "/b")]),
    "/302": plain("302 Found", [("Location", "/list")]),
    "/302-relative": plain("302 Found", [("Location", "list?x=1")]),
    "/302-empty": plain("302 Found", [("Location", "/list")], body=None, type=None),
    "/201-location": plain("201 Created", [("Location", "/list")]),
    "/303": plain("303 See Other", [("Location", "https://elsewhere.example/\xe4")]),
    "/tagged": plain(headers=TAGGED),
    "/tagged-sized": plain(headers=TAGGED + [("Content-Length", "5")]),
    "/tagged-blocks": generator(b"0123456789", b"abcdef", headers=TAGGED + [("Accept-Ranges", "bytes")]),
    "/file": file(),
    "/file-tagged": file(headers=TAGGED),
    "/file-sized": file(headers=[("Content-Length", "20")]),
    "/file-all": file(headers=[("Content-Length", "10000")]),
    "/file-from": file(position=9990),
    "/file-end": file(position=10000),
    "/file-empty": file(name=EMPTY),
    "/file-206": file(status="206 Partial Content", headers=[("Content-Range", "bytes 0-9/10000"), ("Content-Length", "10")]),
    "/file-404": file(status="404 Not Found"),
    "/noted": noted,
    "/position": position,
    "/memory": memory,
    "/large-list": plain(body=b"0123456789abcdef" * 20000),
    "/large-blocks": generator(*[b"0123456789abcdef" * 1000] * 20),
    "/many-fields": plain(headers=[(f"X-Field-{number}", "v" * 100) for number in range(200)]),
    "/long-field": plain(headers=[("X-Long", "v" * 20000)]),
    "/body": body,
    "/error": error,
    "/error-late": generator(b"the beginning\n", fail=True),
    "/error-late-sized": generator(b"the beginning\n", headers=[("Content-Length", "30")], fail=True),
    "/nothing": nothing,
}


def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path.startswith("/environ"):
        start_response("200 OK", TEXT)
        return [dump(environ)]
    return ANSWERS.get(path, unknown)(environ, start_response)
