"""Listings of the folders of a WebDAV server."""

from __future__ import annotations

import typing as t
from collections.abc import Iterator
from urllib.parse import unquote

from ... import naming
from .. import Dialect
from .. import first_of
from .. import Folder
from .. import Listed
from .. import Location
from .. import Stat
from .. import Unreachable
from ..errors import NoAnswer
from .http import Entry
from .http import propfind
from .locks import is_lock


class WebDAVListing(Dialect):
    """Lists folders completely, or raises an error."""

    def __init__(self, location: Location) -> None:
        super().__init__(location)
        #: Whether this process has seen anything in the store's folder.
        self._seen = False

    def _info(self, path: str) -> dict[str, t.Any]:
        entries = propfind(self.fs, path, 0).entries
        matches = _entries_of(path, entries) or (entries if len(entries) == 1 else [])
        if not matches:
            raise NoAnswer(f"it does not tell of {naming.quoted(path)}")
        self._note_seen(path)
        return matches[0].info

    def _note_seen(self, path: str) -> None:
        self._seen = self._seen or f"{path}/".startswith(f"{self.root}/")

    def find(self, prefix: str) -> Iterator[Stat | Unreachable]:
        for entry in self.ls(prefix):
            if isinstance(entry, Folder):
                yield from self.find(entry.name)
            else:
                yield entry

    def first_page(self, prefix: str) -> tuple[list[Stat | Unreachable], bool]:
        return first_of(self.find(prefix))

    def ls(self, prefix: str) -> Iterator[Listed]:
        infos = self._list(prefix)
        if infos is None:
            self._refuse_missing(prefix)
            return
        for name, info in sorted(infos.items()):
            key = f"{prefix}/{name}" if prefix else name
            if name == naming.STAGING:
                continue
            if "/" in name:
                yield Unreachable(key, "has a slash in one of its names")
            elif info["type"] != "directory":
                yield self.record(info, key)
            else:
                yield Folder(key)

    def _refuse_missing(self, folder: str) -> None:
        """Raise an error if a folder that PROPFIND did not find should be there.

        :raises NoAnswer: if the parent folder lists it, or if it is the store's own
            folder and was there before. An empty store has no folder yet.
        """
        if self._seen if not folder else self._is_listed(folder):
            raise NoAnswer(f"it has no folder {naming.quoted(folder)}, which is there")

    def _is_listed(self, folder: str) -> bool:
        """Whether the parent folder lists this folder."""
        parent, _, name = folder.rpartition("/")
        infos = self._list(parent)
        if (
            infos is None
        ):  # is that one missing too, or is the response not the server's?
            return self._is_listed(parent) if parent else self._seen
        return bool(infos.get(name, {}).get("type") == "directory")

    def _list(self, folder: str) -> dict[str, dict[str, t.Any]] | None:
        """The infos of what is in a folder, by name.

        :return: ``None`` if there is no such folder.
        :raises NoAnswer: if the response lacks the folder, or has entries that are not
            in it.
        """
        path = self.path(folder) if folder else self.root
        try:
            entries = propfind(self.fs, f"{path}/", 1).entries
        except FileNotFoundError:
            return None
        matches = _entries_of(path, entries)
        if not matches:
            raise NoAnswer(f"it does not tell of {naming.quoted(path)}")
        if matches[0].info["type"] != "directory":
            return None
        self._note_seen(path)
        infos: dict[str, dict[str, t.Any]] = {}
        for entry in entries:
            if entry.path == matches[0].path:
                continue
            parent, _, name = entry.path.rpartition("/")
            name = unquote(name, errors="surrogateescape")
            if unquote(parent) != unquote(matches[0].path) or name in ("", ".", ".."):
                raise NoAnswer(
                    f"it lists {naming.quoted(unquote(entry.path))}, which is not in"
                    f" {naming.quoted(path)}"
                )
            infos[name] = entry.info
        return infos

    def left(self) -> list[dict[str, t.Any]]:
        infos = self._list(naming.STAGING) or {}
        return [
            {**info, "name": name}
            for name, info in infos.items()
            if info["type"] != "directory" or is_lock(name)
        ]


def _entries_of(path: str, entries: list[Entry]) -> list[Entry]:
    """The entries of a path. A server that ignores case may spell it otherwise."""
    folded_path = naming.folded(path.rstrip("/"))
    return [
        entry for entry in entries if naming.folded(unquote(entry.path)) == folded_path
    ]
