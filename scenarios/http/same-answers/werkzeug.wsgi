"""A Werkzeug application, closer to WSGI than Flask: bodies of every length, streams, ranges, files by file_wrapper."""

import os
from pathlib import Path

from werkzeug.exceptions import HTTPException, NotFound
from werkzeug.middleware.shared_data import SharedDataMiddleware
from werkzeug.routing import Map, Rule
from werkzeug.utils import redirect
from werkzeug.wrappers import Request, Response
from werkzeug.wsgi import wrap_file

FOLDER = Path(__file__).with_name("shared")
FOLDER.mkdir(exist_ok=True)
for name, text in {"shared größe.txt": b"shared\n" * 20, "file.txt": b"0123456789" * 100}.items():
    (FOLDER / name).write_bytes(text)
    os.utime(FOLDER / name, (1577836800, 1577836800))

MAP = Map([
    Rule("/", endpoint="index"), Rule("/read", endpoint="read"), Rule("/lines", endpoint="lines"), Rule("/wrapped", endpoint="wrapped"),
    Rule("/ranges", endpoint="ranges"), Rule("/stream", endpoint="stream"), Rule("/to", endpoint="to"), Rule("/late-cookies", endpoint="cookies"),
    Rule("/path/<path:rest>", endpoint="path"), Rule("/written", endpoint="written"),
])


def index(request):
    return Response("Grüße\n")


def read(request):
    return Response(f"{len(request.stream.read())} {request.content_length} {request.environ['wsgi.input_terminated']}\n")


def lines(request):
    return Response("|".join(line.decode().strip() for line in request.stream) + "\n")


def wrapped(request):
    return Response(wrap_file(request.environ, open(FOLDER / "file.txt", "rb"), 100), direct_passthrough=True)


def ranges(request):
    answer = Response(b"0123456789" * 10, mimetype="text/plain")
    answer.set_etag("ranges")
    return answer.make_conditional(request, accept_ranges=True, complete_length=100)


def stream(request):
    answer = Response(mimetype="text/plain")
    answer.response = (f"{number}\n".encode() for number in range(3))
    return answer


def to(request):
    return redirect("/werkzeug/path/ü?x=ä", 308)


def cookies(request):
    answer = Response("late\n")
    for number in range(3):
        answer.set_cookie(f"c{number}", str(number), path="/")
    return answer


def path(request, rest):
    return Response(f"{rest} {request.url} {request.root_url}\n")


def written(request):
    def answer(environ, start_response):
        write = start_response("200 OK", [("Content-Type", "text/plain")])
        write(b"by write\n")
        return [b"and returned\n"]
    return answer


@Request.application
def site(request):
    try:
        endpoint, values = MAP.bind_to_environ(request.environ).match()
        return globals()[endpoint](request, **values)
    except HTTPException as error:
        return error


application = SharedDataMiddleware(site, {"/shared": str(FOLDER)}, cache_timeout=60)
