"""What :meth:`save` accepts, and how it is opened."""

from __future__ import annotations

import io
import os
import typing as t
from contextlib import contextmanager
from contextlib import suppress

from flask import has_request_context
from flask import request
from werkzeug.datastructures import FileStorage
from werkzeug.wsgi import LimitedStream

from .exceptions import NoFile
from .sources import Source

Upload: t.TypeAlias = (
    FileStorage | str | os.PathLike[str] | bytes | bytearray | memoryview | t.IO[bytes]
)

NO_FILE = (
    "There is no file to save: the form field is missing or was left empty. Check"
    " the field's name, and that the form is sent as multipart/form-data."
)


@contextmanager
def open_source(file: Upload | None) -> t.Iterator[Source]:
    """The :class:`Source` of anything that can be saved.

    A stream of the caller's is neither closed nor moved for good; a file that is
    opened here is closed here.

    :raises NoFile: for ``None``, and for the empty part that a browser sends when
        no file was chosen.
    :raises TypeError: for anything that is not a file.
    :raises ClientDisconnected: while it is read, for a request's body that is cut off.
    """
    if file is None:
        raise NoFile(NO_FILE)
    if isinstance(file, FileStorage):
        with _kept(file.stream) as stream:
            source = Source(stream, file.filename or "")
            if not source.filename and source.rewinds and source.size == 0:
                raise NoFile(NO_FILE)
            yield source
    elif isinstance(file, bytes | bytearray | memoryview):
        yield Source(io.BytesIO(file), None)
    elif isinstance(file, str | os.PathLike):
        with open(_local_path(file), "rb") as stream:
            yield Source(stream, os.path.basename(stream.name))
    elif hasattr(file, "read"):
        name = getattr(file, "name", None)
        with _kept(t.cast("t.IO[bytes]", file)) as stream:
            filename = os.path.basename(name) if _is_path(name) else None
            yield Source(stream, filename, _length_of_body(stream))
    else:
        raise TypeError(
            f"Cannot save {type(file).__name__!r}: pass a FileStorage (such as"
            " request.files['afile']), a path, bytes, or a file opened with 'rb'."
        )


def _length_of_body(stream: t.IO[bytes]) -> int | None:
    """How many bytes of the request's body are to come, if the stream is that.

    Werkzeug counts them, but on a server that ends the body by itself, as gunicorn
    does. The end of a connection is an end too, for such a server.
    """
    if not has_request_context() or request.content_length is None:
        return None
    # The property of this name would make the stream if there was none yet.
    mine = vars(request._get_current_object()).get("stream")  # type: ignore[attr-defined]
    if stream is not mine and stream is not request.environ.get("wsgi.input"):
        return None
    read = stream.tell() if isinstance(stream, LimitedStream) else 0
    return request.content_length - read


@contextmanager
def _kept(stream: t.IO[bytes]) -> t.Iterator[t.IO[bytes]]:
    """Puts the stream back where it was, unless it cannot be moved."""
    position = None
    with suppress(AttributeError, OSError, ValueError):
        position = stream.tell()
    try:
        yield stream
    finally:
        if position is not None and not getattr(stream, "closed", False):
            with suppress(AttributeError, OSError):
                stream.seek(position)


def _is_path(name: object) -> t.TypeGuard[str]:
    return isinstance(name, str) and bool(name)


def _local_path(file: str | os.PathLike[str]) -> str | os.PathLike[str]:
    # A text field of the same name as the file field is one typo away, and its
    # content is the client's: it must never choose a file of the server.
    if isinstance(file, str) and has_request_context():
        raise TypeError(
            "Refused to save a str as a path during a request, because it may come"
            " from the client. Pass request.files[...], or pathlib.Path(...) if you"
            " mean a file on the server."
        )
    return file
