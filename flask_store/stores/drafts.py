"""A file that is being written, which nobody sees before it is whole."""

from __future__ import annotations

import io
import typing as t
from collections.abc import Callable
from contextlib import suppress

from ..exceptions import StoreError
from ..naming import quoted
from ..uploads.multipart import Receiver
from ..uploads.multipart import StreamedUpload
from ..uploads.source import Source

if t.TYPE_CHECKING:
    from ..files import FileWrapper


class Draft(io.BufferedIOBase, t.BinaryIO):
    """A binary file for writing, also in the middle and for reading what was written.

    It is in memory while it is small. Then it is a file without a name on the disk of
    the store or of the spool, which :meth:`publish` only has to name, or a temporary
    file where the store is no disk. Closing a draft ends the writing and publishes
    nothing.

    :param store: the store that gets the file.
    :param key: the key that is asked for.
    :param save: stores what was written, and returns the file.
    """

    mode = "wb"

    def __init__(
        self, store: Receiver, key: str, save: Callable[[Source], FileWrapper]
    ) -> None:
        self._key = key
        self._save = save
        self._bytes = StreamedUpload((store,))
        self._error: Exception | None = None
        self._stored: FileWrapper | None = None

    @property
    def name(self) -> str:
        """The key that was asked for."""
        return self._key

    @property
    def file(self) -> FileWrapper:
        """The stored file, after the end of the block.

        :raises StoreError: if it is not stored.
        """
        if self._stored is None:
            raise StoreError(
                f"{quoted(self._key)} is not stored. The file is there when the 'with'"
                " block has ended without an error.",
                self._key,
            )
        return self._stored

    # -- writing -------------------------------------------------------------

    def write(self, data: t.Any) -> int:
        """Write bytes where the file stands.

        :raises StoreFull: if the disk of the store is full.
        """
        view = memoryview(data)
        if view.nbytes:
            self._do(self._bytes.write, view.cast("B"))
        return view.nbytes

    def truncate(self, size: int | None = None) -> int:
        """Cut the file off, or extend it with zeros.

        :param size: in bytes; by default the position.
        """
        size = self.tell() if size is None else size
        # Unlike a file, what is in memory does not grow by this.
        self._do(self._bytes.rollover)
        self._do(self._bytes.truncate, size)
        return size

    def flush(self) -> None:
        if not self.closed:
            self._do(self._bytes.flush)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._do(self._bytes.seek, offset, whence)
        return self.tell()

    def tell(self) -> int:
        return int(self._do(self._bytes.tell))

    def read(self, size: int | None = -1) -> bytes:
        return bytes(self._do(self._bytes.read, -1 if size is None else size))

    def read1(self, size: int = -1) -> bytes:
        return self.read(size)

    def readinto(self, buffer: t.Any) -> int:
        view = memoryview(buffer).cast("B")
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)

    def readable(self) -> bool:
        self._check_open()
        return True

    def writable(self) -> bool:
        self._check_open()
        return True

    def seekable(self) -> bool:
        self._check_open()
        return True

    def fileno(self) -> int:
        """A descriptor, for libraries that write through one."""
        return int(self._do(self._bytes.fileno))

    def _do(self, call: Callable[..., t.Any], *args: t.Any) -> t.Any:
        self._check_open()
        try:
            return call(*args)
        except (OSError, StoreError) as exc:
            # A library may go on after an error. The file is not whole then.
            self._error = exc
            raise

    def _check_open(self) -> None:
        if self.closed:
            raise ValueError("I/O operation on closed file.")

    # -- the end -------------------------------------------------------------

    def publish(self) -> FileWrapper:
        """Store the file, whole or not at all.

        :raises StoreError: if a write has failed before, or the storage fails; nothing
            is stored then.
        """
        try:
            Draft.close(self)
            if self._error is not None:
                raise StoreError(
                    f"{quoted(self._key)} is not stored, because a write has failed:"
                    f" {self._error}",
                    self._key,
                ) from self._error
            source = Source(self._bytes, None)
            # A library may have gone back, cut the file off, or used the descriptor.
            source.size = self._bytes.seek(0, io.SEEK_END)
            self._stored = self._save(source)
        finally:
            self.discard()
        return self._stored

    @property
    def discarded(self) -> bool:
        """Whether there is nothing more to publish."""
        return self._bytes.closed

    def discard(self) -> None:
        """Forget what was written. After :meth:`publish` this changes nothing."""
        with suppress(OSError, StoreError):  # what the disk did not take is not wanted
            super().close()
        self._bytes.close()

    def close(self) -> None:
        """End the writing. The draft is still published when its block ends."""
        super().close()


class TextDraft(io.TextIOWrapper):
    """A draft for text, in UTF-8, with the ends of lines as they are written.

    :param draft: the draft.
    """

    def __init__(self, draft: Draft) -> None:
        super().__init__(draft, encoding="utf-8", newline="")
        self._draft = draft

    @property
    def file(self) -> FileWrapper:
        """The stored file, after the end of the block.

        :raises StoreError: if it is not stored.
        """
        return self._draft.file
