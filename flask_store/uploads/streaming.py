"""A Request class that writes an upload straight to the disk where it will live.

The form parser decodes the body as ever. Only the file that it writes a large part
into is another one: it has no name yet and lies on the disk of the store, so that
``save`` only has to name it, and no byte is copied.
"""

from __future__ import annotations

import io
import logging
import tempfile
import typing as t
from contextlib import suppress

from flask import Flask
from flask import Request
from werkzeug.utils import cached_property

from .. import naming
from ..exceptions import StoreError
from . import check_length
from .disk import Unnamed
from .multipart import FormParser

if t.TYPE_CHECKING:
    from ..stores import BaseStore
    from ..stores.fsspec import FsspecStore

logger = logging.getLogger(__name__)

#: Smaller parts stay in memory, as in Werkzeug's own ``default_stream_factory``.
IN_MEMORY = 500 * 1024


class StreamedUpload(tempfile.SpooledTemporaryFile[bytes]):
    """A file part of a form: in memory while it is small, then on a store's disk.

    :param stores: the first that has a disk gets the file; without one it is an
        ordinary temporary file.
    """

    def __init__(self, stores: tuple[FsspecStore, ...]) -> None:
        super().__init__(max_size=IN_MEMORY, mode="w+b")
        self._rolled = False
        self._stores = stores
        self._store: FsspecStore | None = None
        self._staged: Unnamed | None = None

    def rollover(self) -> None:
        """Go on in a file.

        :raises StoreFull: if the disk of the store is full.
        """
        if self._rolled:
            return
        self._choose()
        if self._store is None or self._staged is None:
            super().rollover()
            return
        memory = t.cast("io.BytesIO", self._file)
        self._file = open(self._staged.fd, "rb+", closefd=False)
        self._rolled = True
        try:
            self._file.write(memory.getbuffer())
            self._file.seek(memory.tell())
        except OSError as exc:
            raise self._explained(exc) from exc

    def _choose(self) -> None:
        for store in self._stores:
            try:
                self._staged = store._unnamed()
            except (StoreError, OSError) as exc:
                # If it has to be known, save() will say so.
                logger.warning("Uploads are not streamed into %s: %s", store.uri, exc)
            if self._staged is not None:
                self._store = store
                return

    def write(self, data: t.Any) -> int:
        """Write where the last write ended.

        :raises StoreFull: if the disk of the store is full.
        """
        if not self._rolled and self._file.tell() + len(data) > IN_MEMORY:
            self.rollover()  # before rather than after: what comes is not copied twice
        if self._store is None or self._staged is None:
            return super().write(data)
        try:
            count = super().write(data)
        except OSError as exc:
            raise self._explained(exc) from exc
        self._staged.begin(self._file.tell())
        return count

    def _explained(self, exc: OSError) -> Exception:
        assert self._store is not None
        return self._store.dialect.explain(exc, naming.STAGING) or exc

    def take(self, folder: str) -> Unnamed | None:
        """The file on the store's disk, complete, to be given a name.

        What is written into this stream afterwards would be written into the stored
        file: from here on it can only be read.

        :param folder: a folder on the disk where it is to get its name.
        :return: ``None`` if it is not there, or has a name already.
        """
        file = self._staged
        if file is None or file.published or not file.is_near(folder):
            return None
        self._file.flush()
        file.seal()
        return file

    def close(self) -> None:
        """Close it. Nothing is left of a file that was not saved."""
        staged, self._staged = self._staged, None
        if staged is None:
            super().close()
            return
        # What the disk did not take any more is not wanted any more.
        with suppress(OSError):
            super().close()
        staged.close()


class StreamingRequest(Request):
    """A request whose large files arrive on the disk of a store."""

    form_data_parser_class = FormParser

    #: The stores of the application.
    stores: t.ClassVar[tuple[FsspecStore, ...]] = ()

    def _get_file_stream(
        self,
        total_content_length: int | None,
        content_type: str | None,
        filename: str | None = None,
        content_length: int | None = None,
    ) -> t.IO[bytes]:
        upload = StreamedUpload(self.stores)
        self._uploads.append(upload)
        return t.cast("t.IO[bytes]", upload)

    def _load_form_data(self) -> None:
        # Such a form would seem to have neither fields nor files.
        if self.mimetype == "multipart/form-data":
            check_length(self.environ)
        super()._load_form_data()

    @cached_property
    def _uploads(self) -> list[StreamedUpload]:
        return []

    def close(self) -> None:
        """Close the files of the form, and those of one that was never complete."""
        super().close()
        for upload in self._uploads:
            upload.close()


def install(app: Flask, store: FsspecStore) -> None:
    """Let the requests of an application write their files for a store.

    An application whose own Request class says how forms are read keeps that.
    """
    own: t.Any = app.request_class
    if not issubclass(own, StreamingRequest):
        if any(
            getattr(own, name) is not getattr(Request, name)
            for name in ("_get_file_stream", "form_data_parser_class")
        ):
            return
        attributes = {"__module__": own.__module__, "__doc__": own.__doc__}
        own = type(own.__name__, (StreamingRequest, own), attributes)
        app.request_class = own
    own.stores += (store,)


def uninstall(app: Flask, store: BaseStore) -> None:
    """Let them write no more files for a store that another one has replaced."""
    own: t.Any = app.request_class
    if issubclass(own, StreamingRequest):
        own.stores = tuple(other for other in own.stores if other is not store)
