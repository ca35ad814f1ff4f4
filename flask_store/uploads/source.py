"""An upload as one stream, which can be read from its start again."""

from __future__ import annotations

import io
import os
import tempfile
import typing as t
from collections.abc import Callable
from contextlib import contextmanager
from functools import cached_property
from functools import partial

import shortuuid
from fsspec.callbacks import Callback
from fsspec.callbacks import DEFAULT_CALLBACK as NO_CALLBACK
from fsspec.spec import AbstractBufferedFile
from werkzeug.exceptions import ClientDisconnected

from ..concurrency.greenlets import lock
from ..concurrency.greenlets import patched
from .disk import Unnamed
from .multipart import pieces
from .properties import NO_PROPERTIES
from .properties import Properties
from .reading import Readable

#: How much is read at a time, and kept in memory of a stream that cannot rewind.
CHUNK = 1024 * 1024

#: The streams that are the operating system's, or memory.
PLAIN = (io.BytesIO, io.FileIO, io.BufferedReader, io.BufferedRandom)

CUT_OFF = (
    "{} of the {} bytes of the request's body were there to be saved: the client hung"
    " up, or the view has read from it before. Nothing was stored."
)


class Writable(t.Protocol):
    """What bytes can be written into."""

    def write(self, data: bytes, /) -> t.Any: ...


class Window(io.RawIOBase):
    """Part of a seekable stream as a file of its own.

    The HTTP clients behind the filesystems close what they send, take only what
    derives from :class:`io.IOBase` and seek by themselves when they try again. They
    get this, and never the caller's stream. A try that was given up may still be
    reading, on another thread, when the next one begins; so a reading is one step.

    :param source: where the bytes come from; an error that its stream raises is
        kept there.
    :param start: the first byte, counted from the start of the source.
    :param size: how many bytes, or ``None`` for all that follow.
    """

    def __init__(self, source: Source, start: int = 0, size: int | None = None) -> None:
        self.source = source
        self.start = start
        self.size = source.size - start if size is None else size
        self.position = 0
        self._guard = lock()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        with self._guard:
            origin = {0: 0, io.SEEK_CUR: self.position, io.SEEK_END: self.size}
            self.position = max(0, origin[whence] + offset)
            return self.position

    def readinto(self, buffer: t.Any) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def read(self, size: int | None = -1) -> bytes:
        with self._guard:
            left = max(0, self.size - self.position)
            wanted = left if size is None or size < 0 else min(size, left)
            data = self.source.read_at(self.start + self.position, wanted)
            self.position += len(data)
            return data

    def __len__(self) -> int:
        return self.size


class StoredFile(io.BufferedReader):
    """A file of a store, which reads through the store's own connection."""


#: The streams that are files of a store, or of a filesystem.
STORED = AbstractBufferedFile | StoredFile | Readable


class Streamed(io.RawIOBase):
    """A stream of bytes as a file that is read once.

    :param pieces: an iterator of bytes; if it can be closed, it is closed with this.
    """

    def __init__(self, pieces: t.Iterator[bytes]) -> None:
        self._pieces = pieces
        self._piece = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: t.Any) -> int:
        self._piece = self._piece or memoryview(next(self._pieces, b""))
        data, self._piece = self._piece[: len(buffer)], self._piece[len(buffer) :]
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        close = getattr(self._pieces, "close", None)
        if close is not None:
            close()
        super().close()


class Stopped(Exception):
    """A write of the same name asked the upload to stop."""


class Source:
    """An upload on its way into a store.

    :param stream: a binary stream. It is read from its start, whatever its
        position: a view that looked into the file first still stores all of it.
    :param filename: the name that came with it, if any.
    :param length: how many bytes a stream that cannot rewind has, if that is known.
    :param stop: the path of a file that is looked for once for each MiB. If it is
        there, reading raises ``Stopped``.
    """

    def __init__(
        self,
        stream: t.IO[bytes],
        filename: str | None,
        length: int | None = None,
        stop: str | None = None,
    ) -> None:
        self.stream = stream
        self.filename = filename
        self.length = length
        #: What an object store is to keep beside the file.
        self.properties: Properties = NO_PROPERTIES
        #: Who is told how far the reading is.
        self.callback: Callback = NO_CALLBACK
        #: What the caller's own stream raised, so that it is not taken for an
        #: error of the storage.
        self.error: BaseException | None = None
        #: Up to where the stream has been read.
        self.position = 0
        self._stop = stop
        self._checked_at: int | None = None
        self._reading = lock()

    @cached_property
    def token(self) -> str:
        """What a storage keeps beside the file, where it can, so that this upload knows
        its own file again. A fresh UUID, unless it is set."""
        return shortuuid.uuid()

    @property
    def rewinds(self) -> bool:
        """Whether the stream can be read a second time."""
        try:
            return self.stream.seekable()
        except AttributeError:
            return hasattr(self.stream, "seek") and hasattr(self.stream, "tell")

    @cached_property
    def size(self) -> int:
        """The number of bytes, of a stream that rewinds."""
        size: int | None = self._guarded(self.stream.seek, 0, io.SEEK_END)
        # Some file-like objects return nothing.
        return self.stream.tell() if size is None else size

    def read_at(self, position: int, size: int) -> bytes:
        """*size* bytes from *position*, or less at the end."""
        if self._stop is not None:
            self._check_stop(position)
        with self._reading:
            data = self._read(size, position) if size > 0 else b""
            while data and len(data) < size and (more := self._read(size - len(data))):
                data += more
        # Not relative: a client that signs a body, or tries again, reads it twice.
        self.position = position + len(data)
        self.callback.absolute_update(self.position)
        return data

    def blocks(self) -> t.Iterator[bytes]:
        """Every byte of a source that rewinds, by :meth:`read_at`, which others may
        call meanwhile. At most ``CHUNK`` bytes at a time."""
        position = 0
        while (left := self.size - position) > 0:
            data = self.read_at(position, min(CHUNK, left))
            if not data:
                break
            position += len(data)
            yield data

    def chunks(self) -> t.Iterator[bytes]:
        """Every byte from the start, in ``pieces``, or of at most ``CHUNK`` if the
        stream rewinds.

        :raises ClientDisconnected: if there are less than have to be.
        """
        if self.rewinds:
            self._guarded(self.stream.seek, 0)
            arriving = iter(partial(self._read, CHUNK), b"")
        else:
            arriving = pieces(self._read)
        done = self.position = 0
        if self._stop is not None:
            self._check_stop(0)
        for data in arriving:
            done = self.position = done + len(data)
            self.callback.absolute_update(done)
            yield data
            del data  # and its memory, while the next piece arrives
            if self._stop is not None:
                self._check_stop(done)
        if self.length is not None and done < self.length:
            self.error = ClientDisconnected(CUT_OFF.format(done, self.length))
            raise self.error

    def write_into(self, file: Writable) -> None:
        """Write every byte from the start into a file.

        :raises ClientDisconnected: if there are less than have to be.
        """
        for data in self.chunks():
            file.write(data)
            del data  # and its memory, while the next piece arrives

    def complete(self) -> None:
        """Wait for what is still to come of a stream that only this thread may read."""

    def unnamed(self, folder: str) -> Unnamed | None:
        """The file without a name that the stream is, if it is one, lies on the disk of
        *folder* and has not been published. It is complete, and not to be written any
        more."""
        take = getattr(self.stream, "take", None)
        file = take(folder) if callable(take) else None
        if not isinstance(file, Unnamed):
            return None
        self.position = file.end
        if self.callback is not NO_CALLBACK:
            self.callback.absolute_update(self.size)
        return file

    @property
    def is_stored(self) -> bool:
        """Whether the stream is a file of a store, which reads through its own
        connection."""
        return isinstance(self.stream, STORED)

    @property
    def _any_thread(self) -> bool:
        """Whether the thread of an event loop may read the stream."""
        if isinstance(self.stream, STORED):
            return False
        stream = getattr(self.stream, "_file", self.stream)  # of a SpooledTemporaryFile
        # Any other one may belong to the greenlets of the thread that made it.
        return isinstance(getattr(stream, "file", stream), PLAIN) or not patched()

    def report_to(self, callback: Callback) -> None:
        """Tell a callback the size, where it is known, and how far the reading is."""
        self.callback = callback
        if callback is not NO_CALLBACK and self.rewinds:
            callback.set_size(self.size)

    @contextmanager
    def rewindable(
        self,
        any_thread: bool = True,
        spool: Callable[[], t.IO[bytes]] | None = None,
    ) -> t.Iterator[Source]:
        """This source, or a copy on disk of one that can be read only once.

        A file of another store is copied too: it is read by the very event loop
        that would send it.

        :param any_thread: whether another thread than this one will read it.
        :param spool: makes an empty file for the copy; by default a temporary one.
        """
        if self.rewinds and (not any_thread or self._any_thread):
            yield self
            return
        make = spool or partial(tempfile.SpooledTemporaryFile, max_size=CHUNK)
        with make() as file:
            self.write_into(file)
            copy = Source(file, self.filename)
            copy.callback, copy.properties = self.callback, self.properties
            yield copy

    def _check_stop(self, position: int) -> None:
        """:raises Stopped: if the upload has to stop, and at every later call: a client
        that retries by itself must not succeed."""
        near = self._checked_at is not None and 0 < position - self._checked_at < CHUNK
        if not near and self.error is None:
            self._checked_at = position
            if self._stop is not None and os.path.exists(self._stop):
                self.error = Stopped()
        if self.error is not None:
            raise self.error

    def _read(self, size: int, position: int | None = None) -> bytes:
        """:param position: where to read, if it is not where the last reading ended."""
        try:
            if position is not None:
                self.stream.seek(position)
            data = self.stream.read(size)
        except BaseException as exc:
            self.error = exc
            raise
        if isinstance(data, str):
            self.error = TypeError(
                "The file is opened in text mode. Open it in binary mode ('rb')."
            )
            raise self.error
        return data

    def _guarded(self, call: t.Callable[..., t.Any], *args: t.Any) -> t.Any:
        try:
            return call(*args)
        except BaseException as exc:
            self.error = exc
            raise
