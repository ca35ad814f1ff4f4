"""``TemporaryStore``: a copy of an upload in the system's temporary folder."""

from __future__ import annotations

import os
import tempfile
import typing as t
from collections.abc import Mapping

from flask import Flask

from .. import naming
from ..stores.fsspec import FsspecStore
from ..uploads import open_source
from .local import LocalProvider


class TemporaryStore(LocalProvider):
    """A private file in the system's temporary folder; nobody else may read it, no
    URL leads to it, and nobody removes it but you."""

    @classmethod
    def defaults(cls, app: Flask) -> dict[str, t.Any]:
        return {}

    @classmethod
    def app_defaults(cls, app: Flask) -> None:
        pass

    @classmethod
    def check_config(cls, config: Mapping[str, t.Any]) -> None:
        pass

    @classmethod
    def from_config(
        cls, config: Mapping[str, t.Any], destination: str | None = None
    ) -> FsspecStore:
        # The folder is everybody's on this machine, so it is never served.
        mine = {"STORE_PATH": tempfile.gettempdir(), "STORE_SERVE": "off"}
        return cls.store_class.from_config(mine, destination)

    @property
    def store(self) -> FsspecStore:
        return self._bound or self.from_config({})

    def save(self) -> str:
        """Write the upload to a new file.

        :return: its path.
        :raises NoFile: if there is no file.
        """
        _, extension = naming.split(naming.clean(self.filename))
        # Not by the store, whose staging folder the first user of a machine would
        # own, and not under the client's name: the folder is shared with strangers.
        with (
            open_source(self._upload()) as source,
            tempfile.NamedTemporaryFile(suffix=extension, delete=False) as file,
        ):
            try:
                source.write_into(file)
            except BaseException:
                os.unlink(file.name)
                raise
        self.filename, self.location = os.path.basename(file.name), None
        self.is_stored = True
        return file.name
