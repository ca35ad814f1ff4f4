"""A request's body that is the file: all of it, or nothing is stored."""

from __future__ import annotations

import io
import json
import os
import pathlib
import socket
import time
import typing as t
from urllib.parse import urlsplit

import pytest
import requests
from flask import Flask
from flask import request
from werkzeug.exceptions import ClientDisconnected

from flask_store import Store

from .servers import gunicorn

DATA = os.urandom(1_000_000)


class Body:
    """What gunicorn gives: a body that is at its end when the connection is."""

    def __init__(self, data: bytes) -> None:
        self._inner = io.BytesIO(data)

    def read(self, size: int = -1) -> bytes:
        """Up to so many bytes."""
        return self._inner.read(size)


@pytest.fixture(params=[None, 10 * len(DATA)], ids=["no-limit", "limit"])
def config(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> dict[str, t.Any]:
    """Settings; Werkzeug counts the bytes to a limit, and not to their length then."""
    return {"STORE_PATH": str(tmp_path / "store"), "MAX_CONTENT_LENGTH": request.param}


def stored(root: str) -> list[str]:
    """The files of a store, those included that no name shows."""
    return [name for _, _, names in os.walk(root) for name in names]


def test_client_that_hangs_up(config: dict[str, t.Any]) -> None:
    """On a server that takes the end of a connection for the end of the body."""
    with gunicorn("tests.raw_app:app", env={"RAW_CONFIG": json.dumps(config)}) as run:
        answer = requests.put(f"{run.url}/whole.bin", data=DATA, timeout=10)
        assert answer.text == "whole.bin"
        parts = urlsplit(run.url)
        head = (
            f"PUT /cut.bin HTTP/1.1\r\nHost: x\r\nContent-Length: {len(DATA)}\r\n\r\n"
        )
        with socket.create_connection((parts.hostname, parts.port)) as client:
            client.sendall(f"{head}\r\n\r\n".encode() + DATA[:300_000])
        # The only worker has dealt with that one when it has answered this one.
        time.sleep(0.2)
        requests.put(f"{run.url}/last.bin", data=b"x", timeout=10)
        assert sorted(stored(config["STORE_PATH"])) == ["last.bin", "whole.bin"]


@pytest.mark.parametrize("sent", [len(DATA), len(DATA) - 1, 0])
def test_length(config: dict[str, t.Any], sent: int) -> None:
    """What has come is compared with what was announced."""
    app = Flask(__name__)
    app.config.update(config, TESTING=True)
    store = Store(app)
    environ = {
        "wsgi.input": Body(DATA[:sent]),
        "wsgi.input_terminated": True,
        "CONTENT_LENGTH": str(len(DATA)),
    }
    with app.test_request_context(method="PUT", environ_overrides=environ):
        for stream in (request.stream, io.BytesIO(DATA)):
            whole = sent == len(DATA) or isinstance(stream, io.BytesIO)
            if whole:
                assert store.Provider().save(stream, "a.bin").read() == DATA
            else:
                with pytest.raises(ClientDisconnected, match=f"{sent} of the 1000000"):
                    store.Provider().save(stream, "a.bin")
    assert len(stored(config["STORE_PATH"])) == (2 if sent == len(DATA) else 1)


def test_body_of_no_announced_length(tmp_path: pathlib.Path) -> None:
    """One that comes in chunks has an end of its own, which the server looks for."""
    app = Flask(__name__)
    app.config.update(STORE_PATH=str(tmp_path))
    store = Store(app)
    environ = {"wsgi.input": Body(DATA), "wsgi.input_terminated": True}
    with app.test_request_context(method="PUT", environ_overrides=environ):
        assert store.Provider().save(request.stream, "a.bin").read() == DATA


def test_view_that_has_read_from_it(config: dict[str, t.Any]) -> None:
    """Where somebody counts, only the rest is expected, and stored."""
    app = Flask(__name__)
    app.config.update(config)
    store = Store(app)
    environ = {"wsgi.input": Body(DATA), "CONTENT_LENGTH": str(len(DATA))}
    with app.test_request_context(method="PUT", environ_overrides=environ):
        assert request.stream.read(4) == DATA[:4]
        assert store.Provider().save(request.stream, "a.bin").read() == DATA[4:]
