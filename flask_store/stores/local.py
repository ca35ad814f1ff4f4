"""``LocalStore``: files on the local disk, the default."""

from __future__ import annotations

import os
import typing as t
from collections.abc import Mapping

from flask import Flask

from ..dialects.urls import protocol_of
from ..exceptions import NotConfiguredError
from .fsspec import FsspecStore


class LocalStore(FsspecStore):
    """Files on the local disk, in the folder ``STORE_PATH``."""

    register_route = True

    @classmethod
    def defaults(cls, app: Flask) -> dict[str, t.Any]:
        """The folder ``uploads`` in the instance folder. It has no code that the route
        could serve."""
        return {
            **super().defaults(app),
            "STORE_PATH": os.path.join(app.instance_path, "uploads"),
        }

    @classmethod
    def url(cls, config: Mapping[str, t.Any]) -> str:
        path = super().url(config)
        if protocol_of(path) not in ("file", "local"):
            raise NotConfiguredError(
                "LocalStore needs a folder in STORE_PATH, not the URL of another"
                " storage. Leave STORE_PROVIDER out, and the URL chooses it."
            )
        return path
