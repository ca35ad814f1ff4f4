"""An application with users, as Flask-Login's documentation sets it up."""

from __future__ import annotations

import typing as t

import flask_login
from flask import Flask
from flask import Response
from flask.testing import FlaskClient

from flask_store import FileWrapper
from flask_store import Store

#: Where the files of one store are read: by the public route, by the route of a store
#: with ``authorize``, and by a view that needs a login.
WAYS = {
    "route": "/flaskstore",
    "authorize": "/flaskstore-members",
    "view": "/view",
}


class User(flask_login.UserMixin):
    """A user with a name and nothing else."""

    def __init__(self, name: str) -> None:
        self.id = name


def add_logins(app: Flask, **where: str) -> Store:
    """Add logins, a second store of the same files that asks for one, and a view that
    does so.

    :param app: an application with a store.
    :param where: the host or the subdomain of the views.
    :return: the second store.
    """
    logins = flask_login.LoginManager(app)
    logins.user_loader(User)
    members = Store(app, name="members")

    @members.authorize
    def may_read(file: FileWrapper) -> bool:
        return bool(flask_login.current_user.is_authenticated)

    @app.post("/login/<name>", **where)
    def login(name: str) -> str:
        flask_login.login_user(User(name))
        return "welcome"

    @app.get("/view/<path:key>", **where)
    @flask_login.login_required
    def view(key: str) -> Response:
        file = t.cast(Store, app.extensions["store"]).Provider().file(key)
        return file.response()

    return members


def logged_in(app: Flask) -> FlaskClient:
    """A client that has logged in."""
    client = app.test_client()
    assert client.post("/login/ada").status_code == 200
    return client
