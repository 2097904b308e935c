"""A Django application: the same kinds of answers as the others give, with Django's own means."""

import io
from pathlib import Path

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import FileResponse, Http404, HttpResponse, HttpResponsePermanentRedirect, HttpResponseRedirect, JsonResponse, StreamingHttpResponse
from django.urls import path, re_path
from django.views.decorators.http import condition, require_POST

settings.configure(
    DEBUG=False, SECRET_KEY="only for a test", ROOT_URLCONF=__name__, ALLOWED_HOSTS=["localhost"], APPEND_SLASH=True,
    MIDDLEWARE=["django.middleware.common.CommonMiddleware", "django.middleware.http.ConditionalGetMiddleware",
                "django.middleware.security.SecurityMiddleware"],
    LOGGING_CONFIG=None, DATA_UPLOAD_MAX_MEMORY_SIZE=100_000, USE_TZ=True,
)

FILE = Path(__file__).with_name("django.data")
FILE.write_bytes(b"0123456789" * 100)


def index(request):
    return HttpResponse("Grüße\n")


def form(request):
    return JsonResponse({"form": {key: request.POST.getlist(key) for key in request.POST}, "args": dict(request.GET.lists())})


def upload(request):
    sent = request.FILES["file"]
    return JsonResponse({"name": sent.name, "type": sent.content_type, "size": len(sent.read()), "title": request.POST.get("title")})


def cookies(request):
    answer = JsonResponse(request.COOKIES)
    answer.set_cookie("one", "1", httponly=True, samesite="Lax")
    answer.set_cookie("two", "zwei")
    return answer


def to(request):
    return HttpResponseRedirect("/django/path/straße/?a=ü")


def moved(request):
    return HttpResponsePermanentRedirect("https://elsewhere.example/")


def rest(request, rest):
    return JsonResponse({"rest": rest, "full": request.get_full_path(), "url": request.build_absolute_uri()})


def stream(request):
    return StreamingHttpResponse((f"{number}\n" for number in range(5)), content_type="text/plain")


def file(request):
    return FileResponse(open(FILE, "rb"), filename="größe.txt", as_attachment=True)


def memory(request):
    return FileResponse(io.BytesIO(b"from memory\n" * 50), filename="memory.txt")


@condition(etag_func=lambda request: '"tag"')
def etag(request):
    return HttpResponse("tagged\n")


@require_POST
def echo(request):
    return HttpResponse(request.body, content_type="application/octet-stream")


def lines(request):
    return HttpResponse("|".join(line.decode().strip() for line in request), content_type="text/plain")


def error(request):
    raise RuntimeError("boom")


def missing(request):
    raise Http404


def empty(request):
    return HttpResponse(status=204)


def large_header(request):
    return HttpResponse("large\n", headers={"X-Large": "v" * 6000})


def who(request):
    return JsonResponse({"address": request.META["REMOTE_ADDR"], "scheme": request.scheme, "host": request.get_host(),
                         "method": request.method, "secure": request.is_secure(), "script": request.META["SCRIPT_NAME"]})


urlpatterns = [
    path("", index), path("form", form), path("upload", upload), path("cookies", cookies), path("to", to), path("moved", moved),
    path("path/<str:rest>/", rest), path("stream", stream), path("file", file), path("memory", memory), path("etag", etag),
    path("echo", echo), path("lines", lines), path("error", error), path("missing", missing), path("empty", empty),
    path("large-header", large_header), path("who", who), path("slash/", index),
]
application = get_wsgi_application()
