"""Who is there: the name and the number of visits are kept in the signed session cookie."""

import os

from flask import Blueprint, flash, jsonify, redirect, render_template, request, session, url_for

pages = Blueprint("visitors", __name__)


@pages.get("/")
def index():
    session["visits"] = session.get("visits", 0) + 1
    return render_template("index.html", name=session.get("name"), visits=session["visits"])


@pages.get("/whoami")
def whoami():
    return jsonify(name=session.get("name"), visits=session.get("visits", 0), pid=os.getpid())


@pages.post("/login")
def login():
    session["name"] = request.form["name"]
    flash(f"Welcome, {session['name']}")
    return redirect(url_for("visitors.index"))


@pages.post("/logout")
def logout():
    session.clear()
    return redirect(url_for("visitors.index"))
