"""The tree of errors: what each one is, says and carries."""

from __future__ import annotations

import errno
import pickle
import typing as t

import flask
import pytest
from werkzeug.exceptions import HTTPException

from flask_store import exceptions
from flask_store.exceptions import ClientError
from flask_store.exceptions import StoreError

ALL = [
    found
    for found in vars(exceptions).values()
    if isinstance(found, type) and issubclass(found, StoreError)
]
CLIENT = [found for found in ALL if issubclass(found, ClientError)]

BUILTINS = {
    "StoreError": (),
    "NotConfiguredError": (RuntimeError,),
    "FileNotFound": (FileNotFoundError,),
    "FileExists": (FileExistsError,),
    "StoreDenied": (PermissionError,),
    "StoreUnavailable": (ConnectionError, TimeoutError),
    "StoreFull": (OSError,),
    "VersionGone": (),
    "ClientError": (),
    "NoFile": (),
    "InvalidName": (ValueError,),
    "InvalidProperty": (ValueError,),
    "AlreadyConfirmed": (),
    "BadLink": (),
    "BadPicture": (),
    "NoLength": (),
    "TooLarge": (),
    "WrongChecksum": (),
    "WrongOffset": (),
    "WrongType": (),
}

CODES = {
    "AlreadyConfirmed": 403,
    "BadLink": 403,
    "BadPicture": 422,
    "NoLength": 411,
    "TooLarge": 413,
    "WrongChecksum": 460,
    "WrongOffset": 409,
    "WrongType": 415,
}


def test_the_tree_is_complete() -> None:
    """Every error of the module is in the table of this test, and the other way."""
    assert {found.__name__ for found in ALL} == BUILTINS.keys()


@pytest.mark.parametrize("error", ALL)
def test_error_is_the_builtin_that_people_catch(error: type[StoreError]) -> None:
    """``except FileNotFoundError`` and the like work without knowing this package."""
    for builtin in BUILTINS[error.__name__]:
        assert issubclass(error, builtin)


@pytest.mark.parametrize("error", ALL)
def test_error_says_its_message_and_carries_its_key(error: type[StoreError]) -> None:
    """str() is the message alone; the key is data, and repr() names the class."""
    caught = error("what to do", "avatars/me.jpg")
    assert str(caught) == "what to do"
    assert caught.key == "avatars/me.jpg"
    assert repr(caught) == f"{error.__name__}('what to do')"


@pytest.mark.parametrize("error", ALL)
def test_error_needs_no_arguments(error: type[StoreError]) -> None:
    """A bare error can be raised and printed."""
    caught = error()
    assert caught.key is None
    assert isinstance(str(caught), str)


@pytest.mark.parametrize("error", ALL)
def test_error_survives_pickling(error: type[StoreError]) -> None:
    """A task queue hands errors from process to process, with all they carry."""
    caught = error("what to do", "me.jpg")
    again = pickle.loads(pickle.dumps(caught))
    assert type(again) is error
    assert (str(again), again.key) == ("what to do", "me.jpg")
    assert getattr(again, "errno", None) == getattr(caught, "errno", None)
    assert getattr(again, "code", None) == getattr(caught, "code", None)


def test_full_storage_has_the_errno_of_a_full_disk() -> None:
    """What handles a full disk today handles a full bucket as well."""
    assert exceptions.StoreFull("full").errno == errno.ENOSPC


@pytest.mark.parametrize("error", CLIENT)
def test_client_error_is_answered_by_flask(error: type[t.Any]) -> None:
    """A view need not catch it: the client gets the code and the escaped message."""
    assert issubclass(error, HTTPException)
    app = flask.Flask(__name__)

    @app.get("/")
    def view() -> t.NoReturn:
        raise error("<b> is no file")

    reply = app.test_client().get("/")
    assert reply.status_code == error.code == CODES.get(error.__name__, 400)
    assert "&lt;b&gt; is no file" in reply.text


def test_only_client_errors_are_http_errors() -> None:
    """A storage that is down is the server's fault, which Flask logs as a 500."""
    http = [found for found in ALL if issubclass(found, HTTPException)]
    assert http == CLIENT
