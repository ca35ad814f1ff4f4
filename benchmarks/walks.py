"""How much of Flask-Store a reader walks through: its calls, files and changes of file.

``python -m benchmarks.walks``, from the project's folder. Each operation is traced the
second time, when everything is imported and connected. A call counts if its function
is Flask-Store's; a change of file is a call of a function in another file than the
call before it, in the same thread.
"""

from __future__ import annotations

import io
import itertools
import os
import sys
import tempfile
import threading
import typing as t
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from contextlib import contextmanager
from types import FrameType

from flask import Flask
from flask import request

import flask_store
from flask_store import Store
from tests.support.servers import S3Server
from tests.support.servers import seaweedfs

from .measure import arguments
from .measure import KB
from .measure import parsed
from .measure import Table
from .s3 import bucket

#: Where the package is.
PACKAGE = os.path.dirname(flask_store.__file__)
#: Large enough for a file of a form to be streamed, which is from 500 KiB on.
LARGE = 1500 * KB
SMALL = 100 * KB

Action = Callable[[], object]


class Walk:
    """What has been called.

    :param name: what was done.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.calls = 0
        self.changes = 0
        self.functions: set[tuple[str, str]] = set()
        self._places = threading.local()

    @contextmanager
    def traced(self) -> Iterator[None]:
        """Count the calls of this thread, and of those that it starts."""
        threading.setprofile(self._see)
        sys.setprofile(self._see)
        try:
            yield
        finally:
            sys.setprofile(None)
            threading.setprofile(None)

    def _see(self, frame: FrameType, event: str, argument: object) -> None:
        code = frame.f_code
        # Not what only defines something, such as the body of a class.
        if event != "call" or not code.co_filename.startswith(PACKAGE):
            return
        if code.co_name.startswith("<"):
            return
        self.calls += 1
        self.functions.add((code.co_filename, code.co_qualname))
        if getattr(self._places, "file", code.co_filename) != code.co_filename:
            self.changes += 1
        self._places.file = code.co_filename

    @property
    def row(self) -> tuple[str, ...]:
        """The cells of the table."""
        files = {file for file, _ in self.functions}
        counts = self.calls, len(files), self.changes, len(self.functions)
        return (self.name, *map(str, counts))


def application(**settings: t.Any) -> Flask:
    """A view that saves, and the route of the store."""
    app = Flask(__name__)
    app.config.update(settings)
    store = Store(app)

    @app.post("/upload")
    def upload() -> str:
        file = store.save(request.files["afile"], folder="photos")
        if file.upload is not None:
            file.upload.wait(30)
        return str(file)

    return app


def posting(app: Flask, size: int, free: bool = False) -> Action:
    """An upload by a form.

    :param free: whether each file has a name of its own. If not, the second one's is
        taken.
    """
    client = app.test_client()
    numbers = itertools.count()

    def post() -> str:
        name = f"walk{next(numbers)}.bin" if free else "walk.bin"
        body = {"afile": (io.BytesIO(bytes(size)), name)}
        answer = client.post("/upload", data=body)
        assert answer.status_code == 200, answer.text
        return answer.text

    return post


def getting(app: Flask) -> Action:
    """A download by the route."""
    name = posting(app, SMALL)()
    client = app.test_client()

    def get() -> None:
        answer = client.get(f"/flaskstore/{name}")
        assert answer.status_code == 200, answer.text
        assert len(answer.data) == SMALL

    return get


def walked(name: str, action: Action) -> Walk:
    """What an operation calls, the second time."""
    action()
    walk = Walk(name)
    with walk.traced():
        action()
    return walk


def main(args: Sequence[str] | None = None) -> None:
    """Print the table."""
    parsed(arguments(__doc__), args)
    table = Table(
        "Walks", "operation", "calls", "files", "changes of file", "functions"
    )
    with tempfile.TemporaryDirectory() as folder, seaweedfs() as server:
        for name, walk in operations(folder, server):
            table.add(*walked(name, walk).row)
    print(table)


def operations(folder: str, server: S3Server) -> Iterator[tuple[str, Action]]:
    """Each operation, by its name."""
    local = application(STORE_PATH=os.path.join(folder, "local"))
    whole = application(
        STORE_PATH=os.path.join(folder, "whole"), STORE_STREAM_UPLOADS=False
    )
    yield "POST and save, local, 1.5 MB, streamed", posting(local, LARGE)
    yield "POST and save, local, 1.5 MB, not streamed", posting(whole, LARGE)
    yield "GET, local", getting(local)
    with bucket(server) as settings:
        remote = {**settings, "STORE_PROVIDER": "flask_store.stores.s3.S3Store"}
        s3 = application(**remote)
        yield "POST and save, S3, 100 kB", posting(s3, SMALL, free=True)
        yield "POST and save, S3, 100 kB, name taken", posting(s3, SMALL)
        served = application(**remote, STORE_SERVE="proxy")
        yield "GET, S3, by the application", getting(served)
        later = application(
            **remote,
            STORE_BACKGROUND=True,
            STORE_SPOOL_PATH=os.path.join(folder, "spool"),
        )
        yield "POST and save, background, S3, 1.5 MB", posting(later, LARGE)


if __name__ == "__main__":
    main()
