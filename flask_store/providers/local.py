"""``LocalProvider``: files on disk, as 0.0.4 was configured."""

from __future__ import annotations

import os
import typing as t

from flask import Flask

from ..stores.local import LocalStore
from . import Provider


class LocalProvider(Provider):
    """A file on the local disk, served by the application."""

    store_class = LocalStore

    @classmethod
    def defaults(cls, app: Flask) -> dict[str, t.Any]:
        """The working directory, served below ``/uploads``, as it always was."""
        return {"STORE_PATH": os.getcwd(), "STORE_URL_PREFIX": "/uploads"}

    @classmethod
    def app_defaults(cls, app: Flask) -> None:
        """Put the defaults into the configuration; say so when they are a risk."""
        if not app.config.get("STORE_PATH"):
            app.logger.warning(
                "STORE_PATH is not set, so LocalProvider stores files in the working"
                " directory and serves all that is in it, the code included. Set"
                " STORE_PATH to a folder that holds nothing but uploads."
            )
        super().app_defaults(app)
