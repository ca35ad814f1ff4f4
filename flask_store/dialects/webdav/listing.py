"""What lies in the folders of a WebDAV server."""

from __future__ import annotations

import typing as t
from collections.abc import Iterator
from urllib.parse import unquote

from ... import naming
from .. import Dialect
from .. import Location
from .. import Stat
from .. import Unreachable
from ..errors import NoAnswer
from .http import Entry
from .http import propfind


class WebDAVListing(Dialect):
    """Listings that are whole, or an error."""

    def __init__(self, location: Location) -> None:
        super().__init__(location)
        #: Whether the server has shown something of this store.
        self._seen = False

    def _info(self, path: str) -> dict[str, t.Any]:
        entries = propfind(self.fs, path, 0).entries
        found = _at(path, entries) or (entries if len(entries) == 1 else [])
        if not found:
            raise NoAnswer(f"it does not tell of {naming.quoted(path)}")
        self._saw(path)
        return found[0].info

    def _saw(self, path: str) -> None:
        self._seen = self._seen or f"{path}/".startswith(f"{self.root}/")

    def walk(self, prefix: str) -> Iterator[Stat | Unreachable]:
        inside = self._list(prefix)
        if inside is not None:
            yield from self._files_below(prefix, inside)
        else:
            self._refuse_missing(prefix)

    def _files_below(
        self,
        folder: str,
        inside: dict[str, dict[str, t.Any]],
    ) -> Iterator[Stat | Unreachable]:
        for name, info in sorted(inside.items()):
            key = f"{folder}/{name}" if folder else name
            if name == naming.STAGING:
                continue
            if "/" in name:
                yield Unreachable(key, "has a slash in one of its names")
            elif info["type"] != "directory":
                yield self.record(info, key)
            else:
                deeper = self._list(key)
                if deeper is not None:
                    yield from self._files_below(key, deeper)
                else:
                    self._refuse_missing(key)

    def _refuse_missing(self, folder: str) -> None:
        """Refuse to take a folder for missing that is there.

        :raises NoAnswer: if the folder above has it, or if the store's own folder was
            there before. A store that nothing was ever saved to has none.
        """
        if self._seen if not folder else self._is_listed(folder):
            raise NoAnswer(f"it has no folder {naming.quoted(folder)}, which is there")

    def _is_listed(self, folder: str) -> bool:
        """Whether the folder above has this folder."""
        above, _, name = folder.rpartition("/")
        inside = self._list(above)
        if inside is None:  # is that one missing too, or does somebody else answer?
            return self._is_listed(above) if above else self._seen
        return bool(inside.get(name, {}).get("type") == "directory")

    def _list(self, folder: str) -> dict[str, dict[str, t.Any]] | None:
        """What is in a folder, by name.

        :return: ``None`` if there is no such folder.
        :raises NoAnswer: if the answer is not about this folder, or not only.
        """
        path = self.path(folder) if folder else self.root
        try:
            entries = propfind(self.fs, f"{path}/", 1).entries
        except FileNotFoundError:
            return None
        own = _at(path, entries)
        if not own:
            raise NoAnswer(f"it does not tell of {naming.quoted(path)}")
        if own[0].info["type"] != "directory":
            return None
        self._saw(path)
        inside: dict[str, dict[str, t.Any]] = {}
        for entry in entries:
            if entry.path == own[0].path:
                continue
            above, _, name = entry.path.rpartition("/")
            name = unquote(name, errors="surrogateescape")
            if unquote(above) != unquote(own[0].path) or name in ("", ".", ".."):
                raise NoAnswer(
                    f"it lists {naming.quoted(unquote(entry.path))}, which is not in"
                    f" {naming.quoted(path)}"
                )
            inside[name] = entry.info
        return inside

    def left(self) -> list[dict[str, t.Any]]:
        inside = self._list(naming.STAGING) or {}
        return [{**info, "name": name} for name, info in inside.items()]


def _at(path: str, entries: list[Entry]) -> list[Entry]:
    """The entries of a path, as a server that ignores case may spell it."""
    wanted = naming.folded(path.rstrip("/"))
    return [found for found in entries if naming.folded(unquote(found.path)) == wanted]
