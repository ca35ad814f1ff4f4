"""A request's body that is sent on to S3, over TLS, while it arrives."""

from __future__ import annotations

import io
import os
import pathlib
import threading
import time
import typing as t
from collections.abc import Callable
from urllib.parse import urlsplit

import pytest
from flask import Flask
from flask import request
from werkzeug.exceptions import ClientDisconnected

from flask_store import Store
from flask_store.files import FileWrapper
from flask_store.stores.fsspec import FsspecStore
from flask_store.uploads.arriving import Arriving
from flask_store.uploads.source import Source
from tests.support import tls
from tests.support.background_servers import s3_settings
from tests.support.relay import Relay
from tests.support.servers import S3Server

MB = 1024**2
DATA = os.urandom(16 * MB + 1)


class Body:
    """What a server gives of a client who pauses, once, in the middle.

    :param pause: called then; only by the thread that made this.
    """

    def __init__(self, data: bytes, pause: Callable[[], object]) -> None:
        self._inner = io.BytesIO(data)
        self._pause = pause
        self._middle = len(DATA) // 2
        self._thread = threading.get_ident()

    def read(self, size: int = -1) -> bytes:
        """Up to so many bytes."""
        assert threading.get_ident() == self._thread
        if self._inner.tell() >= self._middle:
            self._middle = len(DATA) + 1
            self._pause()
        return self._inner.read(size)


class Place(t.NamedTuple):
    """A store behind TLS, and the wire in between."""

    app: Flask
    store: FsspecStore
    relay: Relay

    def save(self, data: bytes, pause: Callable[[], object]) -> FileWrapper:
        """Upload to a view that saves the body."""
        environ = {
            "wsgi.input": Body(data, pause),
            "wsgi.input_terminated": True,
            "CONTENT_LENGTH": str(len(DATA)),
        }
        with self.app.test_request_context(method="PUT", environ_overrides=environ):
            return self.store.save(request.stream, "a.bin")

    def sent(self) -> int:
        """The bytes on the wire so far, as soon as a megabyte is among them."""
        deadline = time.monotonic() + 10
        while self.relay.sent < MB and time.monotonic() < deadline:
            time.sleep(0.01)
        return self.relay.sent


@pytest.fixture
def place(
    seaweedfs_server: S3Server,
    seaweedfs_bucket: str,
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
) -> t.Iterator[Place]:
    """With a certificate that the machine is told to trust."""
    certificate = tls.make_certificate(tmp_path)
    for name in ("AWS_CA_BUNDLE", "SSL_CERT_FILE"):  # botocore's name, OpenSSL's
        monkeypatch.setenv(name, str(certificate))
    with tls.in_front_of(seaweedfs_server.port, certificate) as url:
        port = urlsplit(url).port
        assert port is not None
        with Relay(port) as relay:
            app = Flask(__name__)
            app.config.update(
                s3_settings(
                    f"https://localhost:{relay.port}",
                    seaweedfs_server,
                    seaweedfs_bucket,
                )
            )
            yield Place(app, t.cast(FsspecStore, Store(app).Provider()), relay)


def test_transfer_overlaps_the_arrival(place: Place) -> None:
    """Half of the body is on the wire while the client has not sent the rest."""
    seen: list[int] = []
    f = place.save(DATA, lambda: seen.append(place.sent()))
    assert seen[0] > MB
    assert f.read() == DATA
    assert place.relay.sent < len(DATA) + MB


def test_name_that_is_taken(place: Place) -> None:
    """The body has been sent by then, and goes out again from where it was kept."""
    place.store.save(b"first", "a.bin")
    f = place.save(DATA, lambda: None)
    assert f.filename != "a.bin"
    assert (f.read(), place.store.file("a.bin").read()) == (DATA, b"first")


def test_client_that_hangs_up(place: Place) -> None:
    """S3 has half of the body then, and drops it: a PUT is whole or it is not."""
    with pytest.raises(ClientDisconnected, match="were there to be saved"):
        place.save(DATA[:-MB], lambda: None)
    assert place.store.ls().names() == []
    assert place.save(DATA, lambda: None).filename == "a.bin"


def test_connection_that_breaks(place: Place) -> None:
    """s3fs tries again, when all is here: its loop has a thread of its own, on which
    some servers' bodies cannot be read."""

    def hang_up() -> None:
        place.sent()
        place.relay.hang_up()

    assert place.save(DATA, hang_up).read() == DATA
    assert place.store.ls().names() == ["a.bin"]


def test_full_disk_loses_no_piece() -> None:
    """What could not be kept is gone: the next try must not go on behind it."""
    source = Source(t.cast("t.IO[bytes]", Body(DATA, lambda: None)), None, len(DATA))
    with open("/dev/full", "r+b", buffering=0) as spool:
        found = Arriving(source, spool)
        for _ in range(2):
            with pytest.raises(OSError, match="No space left"):
                found.read_at(0, 10)
