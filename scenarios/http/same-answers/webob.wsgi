"""A WebOb application."""

import os
from pathlib import Path

from webob import Response, exc
from webob.dec import wsgify
from webob.static import FileApp

DATA = Path(__file__).with_name("webob.data")
DATA.write_bytes(b"0123456789" * 100)
os.utime(DATA, (1577836800, 1577836800))
FILE = FileApp(str(DATA), content_type="text/plain")


@wsgify
def application(request):
    match request.path_info:
        case "/":
            return Response(text="Grüße\n", content_type="text/plain")
        case "/form":
            return Response(json={"form": list(request.POST.items()), "args": list(request.GET.items())})
        case "/upload":
            sent = request.POST["file"]
            return Response(json={"name": sent.filename, "size": len(sent.file.read())})
        case "/cookies":
            answer = Response(json=dict(request.cookies))
            answer.set_cookie("one", "1", httponly=True)
            answer.set_cookie("two", "2", path="/webob")
            return answer
        case "/to":
            return exc.HTTPFound(location="path")
        case "/path":
            return Response(json={"url": request.url, "application": request.application_url})
        case "/file":
            return FILE
        case "/ranges":
            return Response(body=b"0123456789" * 10, content_type="text/plain", conditional_response=True, etag="tag", accept_ranges="bytes")
        case "/stream":
            return Response(app_iter=(b"%d\n" % number for number in range(3)), content_type="text/plain")
        case "/echo":
            return Response(body=request.body, content_type="application/octet-stream")
        case "/error":
            raise RuntimeError("boom")
        case "/gone":
            return exc.HTTPGone("it was here")
        case "/empty":
            return exc.HTTPNoContent()
        case _:
            return exc.HTTPNotFound()
