"""``LocalProvider``: files on disk, as 0.0.4 was configured."""

from __future__ import annotations

import logging
import os
import typing as t
from collections.abc import Mapping

from flask import Flask

from ..settings import TABLE
from ..stores.fsspec import FsspecStore
from ..stores.local import LocalStore
from . import Provider

logger = logging.getLogger(__name__)


class LocalProvider(Provider):
    """A file on the local disk, served by the application unless it lies in the working
    directory, where the code may be."""

    store_class = LocalStore

    @classmethod
    def defaults(cls, app: Flask) -> dict[str, t.Any]:
        """The working directory, with addresses below ``/uploads``, as in 0.0.4."""
        defaults = {"STORE_PATH": os.getcwd(), "STORE_URL_PREFIX": "/uploads"}
        return {**super().defaults(app), **defaults}

    @classmethod
    def from_config(
        cls, config: Mapping[str, t.Any], destination: str | None = None
    ) -> FsspecStore:
        serve = TABLE["STORE_SERVE"].read(config)
        if serve == "auto" and _is_working_directory(config.get("STORE_PATH")):
            logger.error(
                "STORE_PATH is not set, or is the working directory. Files are stored"
                " and found there, and are not served, because code, configuration and"
                " databases may lie beside them. Move the files to a folder that holds"
                " nothing but uploads, and set STORE_PATH to it."
            )
            config = {**config, "STORE_SERVE": "off"}
        return super().from_config(config, destination)


def _is_working_directory(path: str | os.PathLike[str] | None) -> bool:
    return bool(path) and os.path.realpath(path or "") == os.path.realpath(".")
