"""Contenders in a gunicorn of their own, each with one worker and one folder."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import pathlib
import typing as t
from collections.abc import Iterator
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

from tests.support.servers import gunicorn

from .apps import BARE
from .client import Payload

GTHREAD = ("--worker-class=gthread", "--keep-alive=60")


@dataclasses.dataclass
class Served:
    """A contender that is running.

    :param worker: the process that answers.
    :param folder: what it stores lies below.
    """

    label: str
    port: int
    worker: int
    folder: pathlib.Path
    on_disk: bool

    def check(self, answer: str, payload: Payload) -> None:
        """See that it has stored the very bytes that were uploaded.

        :raises AssertionError: if it has not.
        """
        path = self.folder / answer
        if self.label == BARE:  # which stores the form around them too
            assert path.stat().st_size > payload.size, path
            return
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        assert digest == payload.sha256, f"{self.label} stored something else"

    def remove(self, answers: t.Iterable[str]) -> None:
        """Make room again; a bucket has enough.

        :raises FileNotFoundError: if a file is not where the answer said.
        """
        for answer in answers if self.on_disk else ():
            (self.folder / answer).unlink()


@contextlib.contextmanager
def served(
    label: str, folder: pathlib.Path, settings: dict[str, t.Any], *args: str
) -> Iterator[Served]:
    """Run one contender.

    :param folder: where it gets a folder; temporary files go there too, so that all
        of them write to one disk.
    :param settings: those of Flask-Store, or of a bucket.
    :param args: what gunicorn is told about its worker.
    """
    own = folder / f"{label}-{args[0]}".replace("/", "-").replace(" ", "-")
    temporary = folder / "tmp"
    temporary.mkdir(exist_ok=True)
    config = {"label": label, "folder": str(own), "settings": settings}
    env = {"BENCHMARK": json.dumps(config), "TMPDIR": str(temporary)}
    app = "benchmarks.apps:create_app()"
    with gunicorn(app, "--workers=1", *args, env=env) as running:
        port = urlsplit(running.url).port
        assert port is not None
        on_disk = "STORE_S3_BUCKET" not in settings
        yield Served(label, port, _worker(running.process.pid), own, on_disk)


@contextlib.contextmanager
def all_served(
    contenders: Mapping[str, dict[str, t.Any]], folder: pathlib.Path, *args: str
) -> Iterator[dict[str, Served]]:
    """Run contenders side by side: their settings by label. They start together."""
    with contextlib.ExitStack() as stack, ThreadPoolExecutor(4) as pool:

        def start(label: str) -> Served:
            return stack.enter_context(served(label, folder, contenders[label], *args))

        yield dict(zip(contenders, pool.map(start, contenders), strict=True))


def _worker(master: int) -> int:
    children = pathlib.Path(f"/proc/{master}/task/{master}/children").read_text()
    return int(children.split()[-1])
