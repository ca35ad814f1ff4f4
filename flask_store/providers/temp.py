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
    """A private file in the system's temporary folder. Other users cannot read it. It
    has no URL, and the application has to remove it."""

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
        # All users of this machine share the folder, so that it is never served.
        settings = {"STORE_PATH": tempfile.gettempdir(), "STORE_SERVE": "off"}
        return cls.store_class.from_config(settings, destination)

    @property
    def store(self) -> FsspecStore:
        return self._bound or self.from_config({})

    def save(self) -> str:
        """Write the upload to a new file.

        :return: its path.
        :raises NoFile: if there is no file.
        """
        _, extension = naming.split(naming.clean(self.filename))
        # The store is not used here, because its staging folder would belong to the
        # first user of the machine. The client's name is not used, because others see
        # it.
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
