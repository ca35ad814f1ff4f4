"""Two servers with one store, which are asked for the same new variant at once."""

from __future__ import annotations

import contextlib
import io
import json
import pathlib
import typing as t
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from PIL import Image

from flask_store.stores.fsspec import FsspecStore
from flask_store.stores.local import LocalStore
from flask_store.stores.s3 import S3Store
from tests.conftest import missing
from tests.support.background_servers import s3_settings
from tests.support.servers import gunicorn
from tests.support.servers import NotInstalledError
from tests.support.servers import S3Server

CLIENTS = 32


@pytest.fixture
def settings(
    request: pytest.FixtureRequest, tmp_path: pathlib.Path
) -> dict[str, t.Any]:
    """The settings of a store with variants."""
    variants = {"STORE_VARIANTS": {"thumb": {"width": 100}}, "STORE_SERVE": "proxy"}
    if request.getfixturevalue("place") == "local":
        return {"STORE_PATH": str(tmp_path / "uploads"), **variants}
    server: S3Server = request.getfixturevalue("seaweedfs_server")
    bucket = request.getfixturevalue("seaweedfs_bucket")
    url = f"http://127.0.0.1:{server.port}"
    return {**s3_settings(url, server, bucket), **variants}


@pytest.fixture
def store(settings: dict[str, t.Any]) -> FsspecStore:
    """The store of these settings, in the process of the tests."""
    cls = S3Store if "STORE_S3_BUCKET" in settings else LocalStore
    return cls.from_config(settings)


def picture() -> bytes:
    """A JPEG of some size, so that it takes a while."""
    output = io.BytesIO()
    Image.linear_gradient("L").resize((3000, 2000)).save(output, "JPEG")
    return output.getvalue()


@pytest.mark.parametrize(
    ("place", "workers"), [("local", "gevent"), ("SeaweedFS", "gthread")]
)
def test_one_variant(
    settings: dict[str, t.Any],
    store: FsspecStore,
    tmp_path: pathlib.Path,
    place: str,
    workers: str,
) -> None:
    """32 requests to both, each of which has two workers that the application was
    loaded before: all get the same bytes, and one variant is stored."""
    store.save(picture(), "picture.jpg")
    args = ["--preload", "--workers=2", f"--worker-class={workers}"]
    args += ["--threads=8"] if workers == "gthread" else []
    env = {
        "SETTINGS": json.dumps(settings),
        "INSTANCE": str(tmp_path / "instance"),
        "USE_BEFORE_FORK": "1",
    }
    with contextlib.ExitStack() as stack:
        try:
            servers = [
                stack.enter_context(
                    gunicorn("tests.support.background_app:app", *args, env=env)
                )
                for _ in range(2)
            ]
        except NotInstalledError as exc:
            missing(str(exc))
        path = f"{store.variants_prefix}/thumb/picture.jpg"

        def get(number: int) -> requests.Response:
            url = servers[number % len(servers)].url
            return requests.get(f"{url}/{path.lstrip('/')}", timeout=60)

        with ThreadPoolExecutor(CLIENTS) as pool:
            replies = list(pool.map(get, range(CLIENTS)))
        logs = "".join(server.log.read_text() for server in servers)
    assert [reply.status_code for reply in replies] == [200] * CLIENTS, logs
    assert len({reply.content for reply in replies}) == 1
    assert len({reply.headers["ETag"] for reply in replies}) == 1
    assert store.variants is not None
    (kept,) = store.variants.keeper(store).ls()
    assert kept.read() == replies[0].content
    assert "Traceback" not in logs
