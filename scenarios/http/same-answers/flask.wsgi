"""A Flask application: forms, uploads, cookies, redirects, files, streams, errors."""

import io
from pathlib import Path

from flask import Flask, Response, abort, jsonify, make_response, redirect, request, send_file, stream_with_context, url_for

application = app = Flask(__name__)
app.config.update(MAX_CONTENT_LENGTH=100_000, MAX_FORM_PARTS=5)


@app.get("/")
def index():
    return "Grüße\n"


@app.route("/form", methods=["POST", "PUT"])
def form():
    return jsonify(form=request.form.to_dict(flat=False), args=request.args.to_dict(flat=False))


@app.post("/upload")
def upload():
    sent = request.files["file"]
    return jsonify(name=sent.filename, type=sent.mimetype, size=len(sent.read()), title=request.form.get("title"))


@app.post("/json")
def json():
    return jsonify(got=request.get_json())


@app.get("/cookies")
def cookies():
    answer = make_response(dict(request.cookies))
    answer.set_cookie("one", "1", httponly=True, samesite="Lax")
    answer.set_cookie("two", "zwei ü", max_age=None, secure=True)
    answer.delete_cookie("three")
    return answer


@app.get("/to")
def to():
    return redirect(url_for("path", rest="straße & co", _external="external" in request.args))


@app.get("/path/<path:rest>")
def path(rest):
    return jsonify(rest=rest, url=request.url, root=request.script_root, full=request.full_path)


@app.get("/slash/")
def slash():
    return "slash\n"


@app.get("/stream")
def stream():
    @stream_with_context
    def blocks():
        for number in range(5):
            yield f"{request.path} {number}\n"
    return Response(blocks(), mimetype="text/plain")


@app.get("/breaks")
def breaks():
    def blocks():
        yield "begin\n"
        raise RuntimeError("in a stream")
    return Response(blocks(), mimetype="text/plain")


@app.get("/file")
def file():
    return send_file(FILE, mimetype="text/plain", download_name="file.txt", etag="tag", last_modified=1577836800, conditional=True)


@app.get("/memory")
def memory():
    return send_file(io.BytesIO(b"from memory\n" * 50), mimetype="text/plain", download_name="größe.txt", as_attachment=True)


@app.get("/etag")
def etag():
    answer = make_response("tagged\n")
    answer.add_etag()
    return answer.make_conditional(request)


@app.get("/large-header")
def large_header():
    return "large\n", 200, {"X-Large": "v" * 6000}


@app.route("/echo", methods=["POST"])
def echo():
    return Response(request.get_data(), mimetype="application/octet-stream")


@app.get("/abort/<int:code>")
def stop(code):
    abort(code)


@app.get("/error")
def error():
    raise RuntimeError("boom")


@app.get("/empty")
def empty():
    return "", 204


@app.get("/who")
def who():
    return jsonify(address=request.remote_addr, scheme=request.scheme, host=request.host, method=request.method,
                   secure=request.is_secure, agent=request.user_agent.string, accepts=str(request.accept_languages))


FILE = Path(__file__).with_name("flask.data")
FILE.write_bytes(b"0123456789" * 100)
