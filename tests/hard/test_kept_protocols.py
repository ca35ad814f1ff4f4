"""The files of failed forms, kept on every kind of store."""

from __future__ import annotations

import typing as t

import pytest
from flask import Flask

from tests.support.copy_table import ROWS as COPIES
from tests.support.kept_files import KeptFiles
from tests.support.kept_files import make_app
from tests.support.protocol_rows import new
from tests.support.protocol_rows import ROWS
from tests.support.protocol_servers import Place
from tests.support.server_contract import started

BACKENDS = (
    "s3",
    "s3 (rclone)",
    "abfs",
    "gs",
    "sftp+paramiko",
    "webdav+http",
    "ftp",
    "smb",
)


@pytest.fixture(scope="module", params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> t.Iterator[tuple[str, Place]]:
    """A server."""
    with started(ROWS[request.param].server) as place:
        yield request.param, place


class TestProtocols(KeptFiles):
    """The promises, on a real server."""

    @pytest.fixture
    def app(self, backend: tuple[str, Place]) -> t.Iterator[Flask]:
        """An application with an empty folder on the server."""
        name, place = backend
        self.copies = name in COPIES and bool(COPIES[name].copy.means)
        self.exclusive = ROWS[name].exclusive
        app = make_app(STORE_PATH=new(place), STORE_OPTIONS=place.options)
        with app.app_context():
            yield app
