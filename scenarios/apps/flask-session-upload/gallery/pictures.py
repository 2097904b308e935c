"""The uploaded files: take, list and give them back."""

import hashlib
import os

from flask import Blueprint, abort, current_app, jsonify, request, send_from_directory, session, url_for
from werkzeug.utils import secure_filename

pages = Blueprint("pictures", __name__)


@pages.get("/")
def listing():
    return jsonify(files=sorted(os.listdir(current_app.config["UPLOADS"])))


@pages.post("/")
def upload():
    if "name" not in session:
        abort(403)
    file = request.files["file"]
    name = secure_filename(file.filename)
    path = os.path.join(current_app.config["UPLOADS"], name)
    file.save(path)
    with open(path, "rb") as saved:
        digest = hashlib.file_digest(saved, "sha256").hexdigest()
    answer = jsonify(
        name=name,
        by=session["name"],
        title=request.form.get("title"),
        size=os.path.getsize(path),
        sha256=digest,
    )
    answer.status_code = 201
    answer.headers["Location"] = url_for("pictures.download", name=name)
    return answer


@pages.get("/<name>")
def download(name):
    return send_from_directory(current_app.config["UPLOADS"], name, as_attachment=True)
