"""A small Flask application: visitors name themselves (kept in the session) and upload files."""

import os
import secrets
import tempfile

from flask import Flask

from . import pictures, visitors


def secret_key(key_file):
    """The key that signs the session cookies: read from a file, so that every process has the same one."""
    if os.environ.get("GALLERY_KEY") == "random":
        return secrets.token_bytes(32)
    if not os.path.exists(key_file):
        # Several processes may come here at once: each writes a file of its own, the first link() wins.
        with tempfile.NamedTemporaryFile(dir=os.path.dirname(key_file)) as draft:
            draft.write(secrets.token_bytes(32))
            draft.flush()
            try:
                os.link(draft.name, key_file)
            except FileExistsError:
                pass
    with open(key_file, "rb") as file:
        return file.read()


def create_app(uploads, key_file):
    """Build the application; `uploads` is the folder for the files, `key_file` keeps the signing key."""
    app = Flask(__name__)
    app.config.update(
        SECRET_KEY=secret_key(key_file),
        SESSION_COOKIE_SAMESITE="Lax",
        MAX_CONTENT_LENGTH=1024 * 1024,
        UPLOADS=uploads,
    )
    os.makedirs(uploads, exist_ok=True)
    app.register_blueprint(visitors.pages)
    app.register_blueprint(pictures.pages, url_prefix="/files")
    return app
