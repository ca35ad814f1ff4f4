"""The settings of a store become a dialect, a place and a connection."""

from __future__ import annotations

import os
import typing as t
from collections.abc import Iterator
from collections.abc import Mapping
from contextlib import contextmanager

from .. import secrecy
from ..dialects import Dialect
from ..dialects import switch_in
from ..dialects.registry import open_dialect
from ..exceptions import NotConfiguredError
from ..exceptions import StoreError
from ..exceptions import StoreUnavailable
from ..secrecy import Options
from ..sources import Source
from . import BaseStore
from .connection import Connection

if t.TYPE_CHECKING:
    from flask import Flask
    from fsspec import AbstractFileSystem

    from ..background import Background
    from .fsspec import FsspecStore

#: The folder, in the application's instance folder, for uploads in the background.
SPOOL = "flask-store-spool"


class ConfiguredStore(BaseStore):
    """A store that knows its filesystem."""

    REQUIRED_CONFIGURATION: t.ClassVar[tuple[str, ...]] = ("STORE_PATH",)
    #: Whether uploads always go on in the background, in greenlets.
    in_greenlets: t.ClassVar[bool] = False

    #: The uploads that go on after save(), where STORE_BACKGROUND asks for that.
    background: Background | None = None

    @property
    def _whole(self) -> FsspecStore:
        # This class and its children are parts of one store, which is what the
        # other modules know.
        return t.cast("FsspecStore", self)

    @classmethod
    def defaults(cls, app: Flask) -> dict[str, t.Any]:
        """The spool is private, and not in a folder that anything serves."""
        return {"STORE_SPOOL_PATH": os.path.join(app.instance_path, SPOOL)}

    def attach(self, app: Flask) -> None:
        if self.background is not None:
            self.background.attach(app)
        if self.streams_uploads:
            from .. import uploads

            uploads.install(app, self._whole)

    @classmethod
    def from_url(
        cls, url: str, destination: str | None = None, **options: t.Any
    ) -> t.Self:
        """A store with no application, for scripts and notebooks.

        :param url: as ``STORE_PATH``, such as ``s3://photos/2026``.
        :param options: as ``STORE_OPTIONS``: what the filesystem is made with.
        """
        config = {"STORE_PATH": url, "STORE_OPTIONS": options}
        return cls.from_config(config, destination)

    def configure(self, config: Mapping[str, t.Any]) -> None:
        self.check_config(config)
        self.dialect = open_dialect(self.url(config), config)
        self.connection = Connection(self.dialect)
        # A storage that gives its objects an address serves them by itself.
        self.register_route = self.dialect.address("") is None
        super().configure(config)
        self.url_prefix = self.url_prefix or self.dialect.prefix
        self._check_serving()
        self.streams_uploads = switch_in(config, "STORE_STREAM_UPLOADS", True)
        if self.in_greenlets or config.get("STORE_BACKGROUND"):
            if self.dialect.read_only:
                raise NotConfiguredError(
                    f"STORE_BACKGROUND is set, but {self.uri} is read-only. Remove it."
                )
            from ..background import Background

            self.background = Background(self._whole, config, self.in_greenlets)

    def _check_serving(self) -> None:
        if self.serve == "redirect" and type(self.dialect).sign is Dialect.sign:
            raise NotConfiguredError(
                f"STORE_SERVE is 'redirect', but {self.dialect.location.protocol!r}"
                " has no links of its own to redirect to. Use 'proxy'."
            )
        if self.x_accel_redirect and self.dialect.location.protocol != "file":
            raise NotConfiguredError(
                "STORE_X_ACCEL_REDIRECT lets nginx send files from the local disk;"
                f" {self.uri} is none. Remove it."
            )

    @classmethod
    def url(cls, config: Mapping[str, t.Any]) -> str | os.PathLike[str]:
        """The place of the store as one URL or path."""
        return t.cast("str | os.PathLike[str]", config["STORE_PATH"])

    @property
    def fs(self) -> AbstractFileSystem:
        """The real fsspec filesystem, of this process."""
        return self.connection.get()

    @property
    def uri(self) -> str:
        """The store's root as an fsspec URL, without credentials."""
        return self.dialect.uri

    @property
    def storage_options(self) -> dict[str, t.Any]:
        """What pandas and others want beside a file's
        :attr:`~flask_store.files.FileWrapper.uri`.

        It holds the credentials. Its repr has the names of the options only.
        """
        return Options(self.dialect.location.options)

    @contextmanager
    def _explained(self, key: str, source: Source | None = None) -> Iterator[None]:
        """What the filesystem raises becomes a :exc:`StoreError`; what the caller's
        own stream raises stays as it is."""
        try:
            yield
        except Exception as exc:
            if source is not None and source.error is not None:
                raise source.error from None
            explained = isinstance(exc, StoreError)
            error = exc if explained else self.dialect.explain(exc, key)
            if isinstance(error, StoreUnavailable):
                self.connection.drop()
            options = self.dialect.location.options
            if not self.dialect.plain_files and secrecy.is_shown(exc, options):
                # A library quotes a token or a password. Then it is not quoted in turn.
                error = error or StoreError(f"{type(exc).__name__}: {exc}", key)
                error.args = (secrecy.redacted(str(error), options),)
                raise error from None
            if error is None or error is exc:
                raise
            raise error from exc

    def __repr__(self) -> str:
        folder = f"/{self.destination}" if self.destination else ""
        return f"<{type(self).__name__} {self.uri + folder!r}>"
