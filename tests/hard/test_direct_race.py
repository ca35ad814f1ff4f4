"""A token is good once, for however many threads and processes use it at once."""

from __future__ import annotations

import io
import multiprocessing
import threading
import typing as t

import pytest
from flask import Flask

from flask_store import Store
from flask_store.direct import DirectUpload
from flask_store.exceptions import BadLink
from flask_store.stores.fsspec import FsspecStore
from tests.support.protocol_rows import new
from tests.support.protocol_rows import ROWS
from tests.support.server_contract import started

PROCESSES = 2
THREADS = 8
#: Seconds after which a run is taken for hung; it needs three.
PATIENCE = 60

Config = dict[str, t.Any]


def make_app(config: Config) -> Flask:
    """An application of several that share their configuration."""
    app = Flask(__name__)
    app.config.update(config)
    Store(app)
    return app


def provider(app: Flask) -> FsspecStore:
    """The application's store."""
    return t.cast("FsspecStore", app.extensions["store"].Provider())


def contend(
    config: Config, form: DirectUpload, confirms: bool, start: t.Any, queue: t.Any
) -> None:
    """Use the token from every thread, and report what came of it."""
    app = make_app(config)
    told: list[str] = []

    def confirm() -> str:
        with app.app_context():
            try:
                return provider(app).confirm(form.token).read().decode()
            except BadLink:
                return "403"

    def send() -> str:
        data = {**form.fields, "file": (io.BytesIO(b"once"), "x")}
        return str(app.test_client().post(form.url, data=data).status_code)

    def work() -> None:
        start.wait(PATIENCE)
        try:
            told.append(confirm() if confirms else send())
        except Exception as exc:
            told.append(repr(exc))

    threads = [threading.Thread(target=work) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    queue.put(told)


def race(config: Config, form: DirectUpload, confirms: bool) -> list[str]:
    """What all threads of all processes were told."""
    context = multiprocessing.get_context("spawn")
    start = context.Barrier(PROCESSES * THREADS)
    queue = context.Queue()
    args = (config, form, confirms, start, queue)
    processes = [
        context.Process(target=contend, args=args, daemon=True)
        for _ in range(PROCESSES)
    ]
    for process in processes:
        process.start()
    try:
        told = [word for _ in processes for word in queue.get(timeout=PATIENCE)]
        for process in processes:
            process.join(PATIENCE)
    finally:
        for process in processes:
            process.kill()
        queue.close()
    assert len(told) == PROCESSES * THREADS
    return told


@pytest.fixture(params=["file", "s3", "s3 (rclone)", "ftp", "sftp+sshfs", "abfs"])
def backend(request: pytest.FixtureRequest) -> t.Iterator[tuple[Config, bool]]:
    """How each process opens a store, and whether a name is taken in one step there."""
    row = ROWS[request.param]
    with started(row.server) as place:
        yield (
            {
                "SECRET_KEY": "the key",
                "STORE_PATH": new(place),
                "STORE_OPTIONS": {**place.options, **row.patience},
                "STORE_SERVE": "proxy",
            },
            row.exclusive,
        )


def test_race(backend: tuple[Config, bool]) -> None:
    """Of all who confirm, or send, at once, exactly one does. Where the storage does
    nothing in one step, one at most confirms, and whoever comes next if none did.
    """
    config, exclusive = backend
    app = make_app(config)
    with app.app_context():
        store = provider(app)
        form = store.presign_upload("a.txt", max_size=100)
        if store.dialect.takes_forms:
            path = store.dialect.path(
                f".flask-store/{form.fields['key'].rpartition('/')[2]}"
            )
            store.raw_fs.pipe_file(path, b"once", ContentType="text/plain")
        else:
            sent = race(config, form, confirms=False)
            assert set(sent) <= {"204", "403"}
            # Where nothing is exclusive, the last one counts until it is confirmed.
            assert sent.count("204") == 1 if exclusive else sent.count("204") >= 1
        told = race(config, form, confirms=True)
        assert set(told) <= {"once", "403"}
        assert told.count("once") <= 1
        if not told.count("once"):
            assert not exclusive
            assert store.confirm(form.token).read() == b"once"
        with pytest.raises(BadLink, match="good once"):
            store.confirm(form.token)
