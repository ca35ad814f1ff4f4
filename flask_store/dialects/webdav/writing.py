"""How a file gets its name on a WebDAV server."""

from __future__ import annotations

import io
from collections.abc import Iterator
from collections.abc import Sequence
from urllib.parse import quote

from ... import naming
from ...exceptions import InvalidName
from ...uploads.source import Source
from .. import Location
from .. import NotByStorage
from ..errors import NoAnswer
from ..http.answers import Refused
from ..renamed import StagedDialect
from ..statuses import UNKNOWN
from .http import change
from .listing import WebDAVListing
from .locks import Lock
from .locks import lock_name


class Body:
    """An upload as the content of a request. Each iteration begins at its start."""

    def __init__(self, source: Source) -> None:
        self.source = source

    def __iter__(self) -> Iterator[bytes]:
        return self.source.chunks()


class WebDAVWriting(WebDAVListing, StagedDialect):
    """Sends a PUT to a private name, and then a MOVE under a lock for the final name.

    On most servers a file is visible while a PUT writes it, so that the PUT cannot go
    to the final name. A MOVE with "Overwrite: F" first looks whether the name is free,
    and then moves: these are two steps. MKCOL is a single mkdir, so that the lock is
    one.
    """

    rename_word = "MOVE with 'Overwrite: F'"

    def __init__(self, location: Location) -> None:
        super().__init__(location)
        self._cuts: dict[str, bool] = {}

    def _upload(self, source: Source, path: str) -> None:
        with source.rewindable(any_thread=False) as rewindable:
            size = rewindable.size
            done = change(
                self.fs,
                "PUT",
                path,
                content=Body(rewindable),
                headers={"Content-Length": str(size)},
            )
            if not done and not self._has(path, size):
                raise NoAnswer("the status of PUT is 200, and the file is not there")

    def _has(self, path: str, size: int) -> bool:
        try:
            return bool(self._info(path)["size"] == size)
        except FileNotFoundError:
            return False

    def rename(self, old: str, new: str) -> None:
        lock = Lock(self.fs, self._lock(new), lambda: self._is_there(new))
        with lock.held():
            self._move(old, new, "F")

    def _lock(self, path: str) -> str:
        return self.path(f"{naming.STAGING}/{lock_name(path)}")

    def rename_over(self, old: str, new: str) -> None:
        # The server would delete a folder with all that is in it (RFC 4918, section
        # 9.9.3).
        if self._is_folder(new):
            raise FileExistsError(new)
        self._move(old, new, "T")

    def _move(self, old: str, new: str, overwrite: str) -> None:
        if "?" in new and self._cuts_at("?"):
            raise InvalidName(
                f"This server stores {naming.quoted(new)} under a name that ends before"
                " the '?'. Use names without it."
            )
        if ";" in new.rpartition("/")[2] and self._cuts_at(";"):
            new += "/"
        self._move_as_is(old, new, overwrite)
        self._note_seen(new)

    def _move_as_is(self, old: str, new: str, overwrite: str) -> None:
        change(self.fs, "MOVE", old, headers=self._to(new, overwrite))

    def _to(self, path: str, overwrite: str) -> dict[str, str]:
        target = self.location.options["base_url"] + quote(path)
        return {"Destination": target, "Overwrite": overwrite}

    def _copy_on_server(self, olds: Sequence[str], new: str) -> None:
        (old,), limit = olds, self.location.limits.copy
        try:
            change(self.fs, "COPY", old, headers=self._to(new, "F"), timeout=limit)
        except Refused as exc:
            if exc.status in UNKNOWN:
                raise NotByStorage from exc
            raise

    def _cuts_at(self, mark: str) -> bool:
        """Try whether this server cuts the destination of a MOVE at a mark, as if that
        began the parameters or the query of an address.

        :param mark: ``";"`` or ``"?"``. A server that cuts a name at a ``";"`` accepts
            a slash behind the name, which then stays whole. Other servers may not.
        """
        if mark not in self._cuts:
            old, new = self.staging_path(), self.staging_path()
            marked = f"{new}{mark}x"
            self._upload(Source(io.BytesIO(), None), old)
            self._move_as_is(old, marked, "F")
            whole, cut = (self._is_there(name) for name in (marked, new))
            if whole == cut:
                raise NoAnswer("it moves a file, and does not have it then")
            self._remove(new if cut else marked)
            self._cuts[mark] = cut
        return self._cuts[mark]

    def _mkdir(self, folder: str) -> None:
        change(self.fs, "MKCOL", folder)

    def _remove(self, path: str) -> None:
        if not change(self.fs, "DELETE", path) and self._is_there(path):
            raise NoAnswer("the status of DELETE is 200, and the file is still there")

    def rm_file(self, key: str) -> None:
        self._file(key)  # DELETE takes a folder with all that is in it
        self._remove(self.path(key))
