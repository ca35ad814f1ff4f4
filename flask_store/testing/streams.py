"""Uploads for tests, good ones and such as break."""

from __future__ import annotations

import io

from werkzeug.datastructures import FileStorage


def upload(data: bytes = b"data", filename: str | None = "a.txt") -> FileStorage:
    """A file as Werkzeug hands it to a view."""
    return FileStorage(io.BytesIO(data), filename=filename, name="afile")


class Hangup(Exception):
    """What a stream raises when its client has gone."""


class Dying(io.RawIOBase):
    """A stream that breaks after some bytes; it cannot be read a second time."""

    def __init__(self, good: int) -> None:
        self.left = good

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        if self.left <= 0:
            raise Hangup
        given = min(self.left, size if size > 0 else self.left)
        self.left -= given
        return b"x" * given


class DyingSeekable(io.BytesIO):
    """A stream that rewinds and breaks in its middle, such as a bad disk."""

    def read(self, size: int | None = -1) -> bytes:
        if self.tell() >= len(self.getbuffer()) // 2:
            raise Hangup
        return super().read(size)
