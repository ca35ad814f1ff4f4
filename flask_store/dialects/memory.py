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
from . import IS_FOLDER
from . import Mode
from . import Span
from . import Stat
from . import Unreachable
from .bodies import bounds
from .bodies import FilePart
from .errors import version_gone
from .handles import HandleFile

# fsspec keeps one dict per process, and does not lock it between a look and a write.
_lock = threading.RLock()


class MemoryDialect(Dialect):
    """Creates exclusively under one lock for all stores of this process."""

    is_known = True
    plain_files = True

    @contextmanager
    def stage(self, source: Source) -> t.Iterator[bytes]:
        yield b"".join(source.chunks())

    def exclusive(self, staged: bytes) -> bool:
        return True

    def put_file(self, staged: bytes, key: str, content_type: str, mode: Mode) -> None:
        path = self.path(key, follow=False)
        with _lock:
            if mode == "create" and self.fs.exists(path):
                raise FileExistsError(path)
            self._ready(path)
            if self.fs.isdir(path):
                raise FileExists(IS_FOLDER.format(naming.quoted(key)), key)
            self.fs.pipe_file(path, staged)

    def _ready(self, path: str) -> None:
        folder = self.fs._parent(path)
        while folder.strip("/") and folder != self.root:  # "/" is its own parent
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
            stat = self.info(key)
            data = self.fs.cat_file(self.path(key))
        if found is not None and stat.version != found.version:
            raise version_gone(key)
        extent = bounds(span, stat.size)
        if extent is None:
            return None
        return Fetched(stat, *extent, FilePart(io.BytesIO(data), *extent))

    def open(self, key: str) -> t.IO[bytes]:
        # All readers of fsspec's own file object share one position.
        data = self.fs.cat_file(self.path(key))
        return t.cast("t.IO[bytes]", HandleFile(io.BytesIO(data), len(data)))

    def is_one_file(self, old: str, new: str, theirs: Dialect) -> bool:
        return old == new

    def first_page(self, prefix: str) -> tuple[list[Stat | Unreachable], bool]:
        return first_of(self.find(prefix))
