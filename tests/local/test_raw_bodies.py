"""A request's body that is the file: all of it, or nothing is stored."""

from __future__ import annotations

import io
import os
import pathlib
import typing as t

import pytest
from flask import Flask
from flask import request
from werkzeug.datastructures import FileStorage
from werkzeug.exceptions import ClientDisconnected

from flask_store import Store
from flask_store.exceptions import NoLength

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


FORM = (
    b'--limit\r\nContent-Disposition: form-data; name="afile"; filename="form.bin"'
    b"\r\n\r\nabc\r\n--limit--\r\n"
)


@pytest.mark.parametrize(
    "announced",
    [
        {"HTTP_TRANSFER_ENCODING": "chunked"},
        {"HTTP_TRANSFER_ENCODING": "Chunked"},
        {"HTTP_TRANSFER_ENCODING": "gzip, chunked", "CONTENT_LENGTH": "3"},
        {"CONTENT_LENGTH": "three"},
    ],
)
@pytest.mark.parametrize("streams", [True, False])
@pytest.mark.parametrize("background", [True, False])
def test_body_without_an_end(
    tmp_path: pathlib.Path, announced: dict[str, str], streams: bool, background: bool
) -> None:
    """Whatever of it is saved, it is refused: here nobody says where it ends."""
    app = Flask(__name__)
    app.config.update(
        STORE_PATH=str(tmp_path / "store"),
        STORE_SPOOL_PATH=str(tmp_path / "spool"),
        STORE_STREAM_UPLOADS=streams,
        STORE_BACKGROUND=background,
    )
    store = Store(app)
    environ = {"wsgi.input": Body(b"abc"), **announced}
    uses: list[t.Callable[[], t.Any]] = [
        lambda: request.stream,
        lambda: request.environ["wsgi.input"],
        lambda: FileStorage(request.stream, "a.bin"),
        lambda: FileStorage(request.stream),
        lambda: request.get_data(),
        lambda: request.files.get("afile"),
    ]
    for use in uses:
        with (
            app.test_request_context(
                method="PUT",
                environ_overrides=environ,
                content_type="multipart/form-data; boundary=limit",
            ),
            pytest.raises(NoLength, match="Content-Length") as caught,
        ):
            store.Provider().save(use(), "a.bin")
        assert caught.value.code == 411
    assert stored(str(tmp_path / "store")) == []


@pytest.mark.parametrize("announced", [{}, {"CONTENT_LENGTH": "0"}])
def test_body_that_is_empty(tmp_path: pathlib.Path, announced: dict[str, str]) -> None:
    """An empty file is a file."""
    app = Flask(__name__)
    app.config.update(STORE_PATH=str(tmp_path))
    store = Store(app)
    environ = {"wsgi.input": Body(b""), **announced}
    with app.test_request_context(method="PUT", environ_overrides=environ):
        assert store.Provider().save(request.stream, "a.bin").read() == b""
        assert store.Provider().save(request.get_data(), "b.bin").read() == b""


def test_direct_upload_without_an_end(tmp_path: pathlib.Path) -> None:
    """The form of a direct upload says how long it is."""
    app = Flask(__name__)
    app.config.update(SECRET_KEY="a secret", STORE_PATH=str(tmp_path))
    store = Store(app)
    with app.test_request_context():
        form = store.Provider().presign_upload("a.bin", max_size=10)
    answer = app.test_client().post(
        form.url,
        input_stream=io.BytesIO(FORM),
        content_type="multipart/form-data; boundary=limit",
        headers={"Transfer-Encoding": "chunked"},
    )
    assert answer.status_code == 411 and "Content-Length" in answer.text
    assert stored(str(tmp_path)) == []
