"""``memory://``: files in this process, for tests and for trying things out."""

from __future__ import annotations

import io
import threading
import typing as t
from contextlib import contextmanager

from .. import naming
from ..exceptions import FileExists
from ..uploads.source import Source
from . import DESTINATION_IS_FILE
from . import Dialect
from . import Fetched
from . import first_of
from . import Span
from . import Stat
from . import Unreachable
from .bodies import FilePart
from .errors import version_gone
from .records import bounds

if t.TYPE_CHECKING:
    from .claims import Claim

# fsspec keeps one dictionary per process and looks before it leaps.
_lock = threading.RLock()


class MemoryDialect(Dialect):
    """Exclusive by a lock of our own, for every store of this process."""

    protocols = ("memory",)
    plain_files = True

    @contextmanager
    def stage(self, source: Source) -> t.Iterator[bytes]:
        yield b"".join(source.chunks())

    def exclusive(self, staged: bytes) -> bool:
        return True

    def create(self, staged: bytes, key: str, content_type: str) -> None:
        path = self.path(key, follow=False)
        with _lock:
            if self.fs.exists(path):
                raise FileExistsError(path)
            self.replace(staged, key, content_type)

    def replace(self, staged: bytes, key: str, content_type: str) -> None:
        path = self.path(key, follow=False)
        with _lock:
            self._ready(path)
            self.fs.pipe_file(path, staged)

    def adopt(self, claim: Claim, staged: Stat) -> None:
        data = self.fs.cat_file(self.path(claim.staged))
        self.create(data, claim.key, claim.content_type)

    def _ready(self, path: str) -> None:
        folder = self.fs._parent(path)
        while folder and folder != self.root:
            if self.fs.isfile(folder):
                key = folder[len(self.root) + 1 :]
                raise FileExists(DESTINATION_IS_FILE.format(naming.quoted(key)), key)
            folder = self.fs._parent(folder)

    def get(
        self,
        key: str,
        span: Span | None = None,
        found: Stat | None = None,
    ) -> Fetched | None:
        with _lock:
            known = self.stat(key)
            data = self.fs.cat_file(self.path(key))
        if found is not None and known.version != found.version:
            raise version_gone(key)
        where = bounds(span, known.size)
        if where is None:
            return None
        return Fetched(known, *where, FilePart(io.BytesIO(data), *where))

    def open(self, key: str) -> t.IO[bytes]:
        # All readers of fsspec's own file object share one position.
        return io.BytesIO(self.fs.cat_file(self.path(key)))

    def is_one_file(self, old: str, new: str) -> bool:
        return old == new

    def first_page(self, prefix: str) -> tuple[list[Stat | Unreachable], bool]:
        return first_of(self.walk(prefix))
