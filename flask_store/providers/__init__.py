"""The API of Flask-Store 0.0.3 and 0.0.4, for the applications that use it.

A provider is one file: ``provider = store.Provider(request.files["afile"])``, then
``provider.save()`` and ``provider.absolute_url``. All the work is done by the stores
in :mod:`flask_store.stores`. New applications set no ``STORE_PROVIDER``, or one of
those stores.
"""

from __future__ import annotations

import os
import typing as t
from collections.abc import Mapping

from flask import current_app
from flask import Flask
from werkzeug.datastructures import FileStorage

from .. import naming
from ..settings import is_set
from ..stores.fsspec import FsspecStore

#: What a provider is made with: an upload, or the name of a stored file.
File: t.TypeAlias = FileStorage | t.IO[bytes] | str | os.PathLike[str] | None


class Provider:
    """One file of a store: an upload to save, or a file by its name.

    :param fp: an upload, or the name of a stored file. Only the last part of a path
        counts. ``""`` and ``None`` mean no file.
    :param location: the folder inside ``STORE_PATH``.
    """

    #: Which store does the work.
    store_class: t.ClassVar[type[FsspecStore]] = FsspecStore

    # The configured store; set on the subclass that Store.Provider is.
    _bound: t.ClassVar[FsspecStore | None] = None

    def __init__(self, fp: File = None, location: str | None = None) -> None:
        self.fp = fp
        #: The file's name: the client's until :meth:`save`, and the stored one
        #: afterwards.
        self.filename: str = _name_of(fp)
        self.location = location
        self._store: FsspecStore | None = self._bound
        #: Whether the file is stored: the provider was made with a name, or has saved.
        self.is_stored: bool = isinstance(fp, str | os.PathLike)

    # -- what flask_store.Store asks for -------------------------------------

    @classmethod
    def defaults(cls, app: Flask) -> dict[str, t.Any]:
        """The settings that this provider has a value for."""
        return cls.store_class.defaults(app)

    @classmethod
    def app_defaults(cls, app: Flask) -> None:
        """Put the defaults into the application's configuration, where applications of
        0.0.4 may read them."""
        for key, value in cls.defaults(app).items():
            if not is_set(app.config.get(key)):
                app.config[key] = value

    @classmethod
    def check_config(cls, config: Mapping[str, t.Any]) -> None:
        """:raises NotConfiguredError: naming what is missing."""
        cls.store_class.check_config(config)

    @classmethod
    def from_config(
        cls, config: Mapping[str, t.Any], destination: str | None = None
    ) -> FsspecStore:
        """The store that does the work, from a mapping with ``STORE_`` settings."""
        return cls.store_class.from_config(config, destination)

    @property
    def store(self) -> FsspecStore:
        """The store that does the work."""
        if self._store is None:
            app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]
            settings = {k: value for k, value in app.config.items() if is_set(value)}
            self._store = self.from_config({**self.defaults(app), **settings})
        return self._store

    # -- the file ------------------------------------------------------------

    def save(self) -> str | None:
        """Store the upload, never over another file, and update ``filename``.

        The upload is read from its start and left open where it was.

        :raises NoFile: if there is no file; Flask answers with 400.
        :raises TypeError: if the provider was made with the name of a stored file.
        """
        stored = self.store.at(self.location).save(
            self._upload(), filename=self.filename or None, on_conflict="rename"
        )
        folder, _, self.filename = stored.key.rpartition("/")
        if folder != (self.location or "").strip("/"):
            self.location = folder or None
        self.is_stored = True
        return None

    def open(self) -> t.IO[bytes]:
        """The stored file, for reading.

        :raises OSError: if it is not there.
        """
        return self.store.open(self.key)

    def exists(self, filename: str | None = None) -> bool:
        """Whether a file is stored.

        :param filename: its name in ``location``; by default this file's.
        """
        if filename is None:
            return bool(self) and self.store.exists(self.key)
        return self.store.exists(self.join(self._folder, filename))

    @property
    def key(self) -> str:
        """The file's path in the store. Before an upload is saved, the path that it
        gets if that is free.

        :raises InvalidName: if the name leads out of the store, or is empty.
        """
        name = self.filename if self.is_stored else naming.clean(self.filename)
        return naming.check(self.join(self._folder, name))

    @property
    def relative_path(self) -> str:
        """The path in the store: the location and the name."""
        return self.key

    @property
    def absolute_path(self) -> str:
        """The path on disk; for S3 the whole key."""
        return self.store.absolute_path(self.key)

    @property
    def relative_url(self) -> str:
        """The URL without the domain, no leading slash, percent-encoded."""
        return self.store.relative_url(self.key)

    @property
    def absolute_url(self) -> str:
        """The URL with ``STORE_DOMAIN`` in front."""
        return self.store.absolute_url(self.key)

    @property
    def store_path(self) -> str:
        """Where the storage keeps the location: a folder, or the start of a key."""
        return os.path.dirname(self.store.absolute_path(self.join(self._folder, "x")))

    def safe_filename(self, filename: str) -> str:
        """A safe name that is free at this moment. :meth:`save` does not need it."""
        name = naming.clean(filename)
        return naming.unique(name) if self.exists(name) else name

    def join(self, *parts: str) -> str:
        """Parts of a path joined with single slashes.

        :raises InvalidName: if a part leads upwards.
        """
        return naming.join(*parts)

    @property
    def _folder(self) -> str:
        folder = (self.location or "").strip("/")
        return folder if self.is_stored else naming.clean_destination(folder)

    def _upload(self) -> FileStorage | t.IO[bytes] | None:
        if self.fp == "":
            return None
        if isinstance(self.fp, str | os.PathLike):
            raise TypeError(
                f"{naming.quoted(str(self.fp))} names a stored file, so there is"
                " nothing to save. Make the provider with an upload, such as"
                " request.files['afile']."
            )
        return self.fp

    def __bool__(self) -> bool:
        return bool(self.filename)

    def __str__(self) -> str:
        return self.relative_path if self else ""

    def __repr__(self) -> str:
        location = f", location={self.location!r}" if self.location else ""
        return f"{type(self).__name__}({self.filename!r}{location})"


def _name_of(fp: File) -> str:
    if isinstance(fp, str | os.PathLike):
        return os.fspath(fp).rpartition("/")[2]
    if isinstance(fp, FileStorage):
        return fp.filename or ""
    name = getattr(fp, "name", None)
    return os.path.basename(name) if isinstance(name, str) else ""
