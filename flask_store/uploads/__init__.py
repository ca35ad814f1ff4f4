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

from ..exceptions import NoFile
from .multipart import check_length
from .source import Source

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
    :raises NoLength: for the body of a request, or what came of it, if nobody knows
        where it ends.
    :raises TypeError: for anything that is not a file.
    :raises ClientDisconnected: while it is read, for a request's body that is cut off.
    """
    if isinstance(file, str | os.PathLike):
        with open(_local_path(file), "rb") as opened:
            yield Source(opened, os.path.basename(opened.name))
        return
    if file is None:
        _check_body()
        raise NoFile(NO_FILE)
    stream: t.IO[bytes]
    filename: str | None = None
    if isinstance(file, FileStorage):
        stream, filename = file.stream, file.filename or ""
    elif isinstance(file, bytes | bytearray | memoryview):
        if not len(file):  # request.get_data() of a body that could not be read
            _check_body()
        stream = io.BytesIO(file)
    elif hasattr(file, "read"):
        stream, name = file, getattr(file, "name", None)
        if name and isinstance(name, str):
            filename = os.path.basename(name)
    else:
        raise TypeError(
            f"Cannot save {type(file).__name__!r}: pass a FileStorage (such as"
            " request.files['afile']), a path, bytes, or a file opened with 'rb'."
        )
    stream, length = _ending(stream)
    try:
        position = stream.tell()
    except (AttributeError, OSError, ValueError):  # it cannot be moved
        position = None
    try:
        source = Source(stream, filename, length)
        # The part that a browser sends when no file was chosen.
        if filename == "" and source.rewinds and source.size == 0:
            _check_body()
            raise NoFile(NO_FILE)
        yield source
    finally:
        if position is not None and not getattr(stream, "closed", False):
            with suppress(AttributeError, OSError):
                stream.seek(position)


def is_chosen(file: FileStorage) -> bool:
    """Whether a file part of a form has a file. If none was chosen, a browser sends an
    empty part without a name."""
    try:
        with open_source(file):
            return True
    except NoFile:
        return False


def _ending(stream: t.IO[bytes]) -> tuple[t.IO[bytes], int | None]:
    """A stream that ends, and how many bytes are to come of it, if it is the body of
    the request.

    The server's own stream may go on to the end of the connection (PEP 3333, "Input and
    Error Streams"); Werkzeug has one of the same bytes that does not. It counts them,
    but on a server that ends the body by itself, as gunicorn does. The end of a
    connection is an end too, for such a server.

    :raises NoLength: if nobody knows where the body ends.
    """
    if not has_request_context():
        return stream, None
    servers = request.environ.get("wsgi.input")
    # The property of this name would make the stream if there was none yet.
    mine = vars(request._get_current_object()).get("stream")  # type: ignore[attr-defined]
    if stream is not servers and stream is not mine:
        return stream, None
    check_length(request.environ)
    if stream is servers and not request.environ.get("wsgi.input_terminated"):
        stream = request.stream
    if request.content_length is None:
        return stream, None
    read = stream.tell() if isinstance(stream, LimitedStream) else 0
    return stream, request.content_length - read


def _check_body() -> None:
    """:raises NoLength: if there is a request whose body has no end."""
    if has_request_context():
        check_length(request.environ)


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
