"""The body of a request that goes on to S3, over TLS, while the client still sends.

``python -m benchmarks.arriving``, from the project's folder. The client is one that
sends so and so fast, and no faster; SeaweedFS answers behind a process that speaks TLS.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import multiprocessing
import multiprocessing.connection
import os
import pathlib
import tempfile
import time
import typing as t
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence

from flask import Flask
from flask import request
from werkzeug.datastructures import FileStorage

from flask_store import Store
from tests.support import tls
from tests.support.servers import S3Server
from tests.support.servers import seaweedfs

from .measure import arguments
from .measure import Comparison
from .measure import interleaved
from .measure import MB
from .measure import parsed
from .measure import seconds
from .s3 import bucket
from .s3_contenders import BASE
from .s3_contenders import client
from .s3_contenders import OURS
from .s3_contenders import Settings

#: Columns: the size of a body in bytes, and how many of them come in a second.
CLIENTS = {
    "64 MB, 100 Mbit/s": (64 * MB, 100 * MB // 8),
    "64 MB, 1 Gbit/s": (64 * MB, 1000 * MB // 8),
}
QUICK = {"1 MB, 1 Gbit/s": (MB, 1000 * MB // 8)}

Save = Callable[[], object]


class Paced:
    """What gunicorn gives of such a client: as much as is asked for, when all of it
    has come."""

    def __init__(self, data: bytes, rate: float) -> None:
        self._data, self._rate = data, rate
        self._given = 0
        self._begun = time.perf_counter()

    def read(self, size: int = -1) -> bytes:
        """The next bytes."""
        stop = len(self._data) if size < 0 else self._given + size
        data = self._data[self._given : stop]
        self._given += len(data)
        due = self._begun + self._given / self._rate - time.perf_counter()
        if due > 0:
            time.sleep(due)
        return data


def contenders(settings: Settings) -> dict[str, Save]:
    """Views that save the body of their request."""
    s3, name = client(settings), settings["STORE_S3_BUCKET"]
    names = (f"{number}.bin" for number in itertools.count())
    app = Flask(__name__)
    app.config.update(settings, STORE_PROVIDER="flask_store.stores.s3.S3Store")
    store = Store(app).Provider()
    return {
        BASE: lambda: s3.upload_fileobj(request.stream, name, next(names)),
        # The stream inside of a FileStorage has no length that anybody knows.
        f"{OURS}, all of it first": lambda: store.save(
            FileStorage(t.cast("t.IO[bytes]", request.stream), next(names))
        ),
        OURS: lambda: store.save(request.stream, next(names)),
    }


def timed(save: Save, data: bytes, rate: float) -> float:
    """Seconds from the first byte of a body to the end of the view."""
    environ = {
        "wsgi.input": Paced(data, rate),
        "wsgi.input_terminated": True,
        "CONTENT_LENGTH": str(len(data)),
    }
    begun = time.perf_counter()
    with Flask(__name__).test_request_context(method="PUT", environ_overrides=environ):
        save()
    return time.perf_counter() - begun


def _speak_tls(
    port: int, certificate: pathlib.Path, pipe: multiprocessing.connection.Connection
) -> None:
    with tls.in_front_of(port, certificate) as url:
        pipe.send(url)
        pipe.recv()


@contextlib.contextmanager
def encrypted(server: S3Server, folder: str) -> Iterator[str]:
    """The ``https://`` address of the server, which this process trusts."""
    certificate = tls.make_certificate(pathlib.Path(folder))
    for name in ("AWS_CA_BUNDLE", "SSL_CERT_FILE"):  # botocore's name, OpenSSL's
        os.environ[name] = str(certificate)
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    process = spawn.Process(target=_speak_tls, args=(server.port, certificate, theirs))
    process.start()
    theirs.close()  # so that waiting for a process that is gone ends
    try:
        yield ours.recv()
    finally:
        ours.send(None)
        process.join()


def main(args: Sequence[str] | None = None) -> None:
    """Run it as a command."""
    options = parsed(arguments(__doc__), args)
    title = "Seconds for a body that arrives, and the ratio"
    table = Comparison(title, BASE, seconds)
    with (
        tempfile.TemporaryDirectory() as folder,
        seaweedfs() as server,
        encrypted(server, folder) as url,
        bucket(server, url) as settings,
    ):
        savers = contenders(settings)
        for label, (size, rate) in (QUICK if options.quick else CLIENTS).items():
            data = os.urandom(size)
            turns = {
                name: functools.partial(timed, save, data, rate)
                for name, save in savers.items()
            }
            table.add(label, interleaved(turns, options.rounds))
    table.table().show()


if __name__ == "__main__":
    main()
