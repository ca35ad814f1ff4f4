"""A whole file that is handed to the server, which sends it by its descriptor."""

from __future__ import annotations

import pathlib
import socket
import typing as t

import pytest
from flask import Flask

from flask_store import Store
from flask_store.exceptions import StoreUnavailable


class Gunicorn20:
    """What gunicorn 20.1 gives as ``wsgi.file_wrapper``, and how it sends one: with
    ``socket.sendfile``, which begins at byte 0 wherever the file stands."""

    def __init__(self, filelike: t.Any, blksize: int = 8192) -> None:
        self.filelike = filelike

    def sent(self, length: int) -> bytes:
        """The bytes on the client's side."""
        near, far = socket.socketpair()
        with near, far:
            near.sendfile(self.filelike, count=length)
            near.shutdown(socket.SHUT_WR)
            self.filelike.close()
            return b"".join(iter(lambda: far.recv(65536), b""))


@pytest.mark.parametrize(
    "asked", [None, "bytes=0-", "bytes=0-3", "bytes=5-", "bytes=-5"]
)
@pytest.mark.parametrize("known", [True, False])
def test_file_wrapper(tmp_path: pathlib.Path, asked: str | None, known: bool) -> None:
    """Only a whole file is handed over, and only to a server that is known to stop."""
    app = Flask(__name__)
    app.config.update(STORE_PATH=str(tmp_path))
    Store(app)
    (tmp_path / "a.bin").write_bytes(b"0123456789")
    environ: dict[str, t.Any] = {"wsgi.file_wrapper": Gunicorn20}
    environ["gunicorn.socket" if known else "uwsgi.version"] = b"2.0"
    started: list[dict[str, str]] = []
    with app.test_request_context(
        "/flaskstore/a.bin",
        environ_overrides=environ,
        headers={"Range": asked} if asked else {},
    ) as context:
        body = app.wsgi_app(
            context.request.environ, lambda _, headers: started.append(dict(headers))
        )
    length = int(started[0]["Content-Length"])
    if isinstance(body, Gunicorn20):
        assert known and length == 10
        sent = body.sent(length)
    else:
        assert not known or asked not in (None, "bytes=0-")
        sent = b"".join(t.cast("t.Iterable[bytes]", body))
    ranges = {"bytes=0-3": slice(4), "bytes=5-": slice(5, 10), "bytes=-5": slice(5, 10)}
    assert sent == b"0123456789"[ranges.get(asked or "", slice(10))]


def test_file_that_shrinks(tmp_path: pathlib.Path) -> None:
    """A file that has become shorter is an error when the server closes it, so that
    the server closes the connection."""
    app = Flask(__name__)
    app.config.update(STORE_PATH=str(tmp_path))
    Store(app)
    (tmp_path / "a.bin").write_bytes(b"0123456789")
    environ = {"wsgi.file_wrapper": Gunicorn20, "gunicorn.socket": None}
    with app.test_request_context(
        "/flaskstore/a.bin", environ_overrides=environ
    ) as context:
        body = app.wsgi_app(context.request.environ, lambda *_: t.cast("t.Any", None))
    assert isinstance(body, Gunicorn20)
    (tmp_path / "a.bin").write_bytes(b"012")
    with pytest.raises(StoreUnavailable, match="7 bytes too early"):
        body.sent(10)
    assert body.filelike.file.closed
