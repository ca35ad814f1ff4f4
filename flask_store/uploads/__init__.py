"""What :meth:`save` accepts, and how it is opened."""

from __future__ import annotations

import io
import os
import re
import typing as t
from collections.abc import Mapping
from contextlib import contextmanager
from contextlib import suppress

from flask import has_request_context
from flask import request
from werkzeug.datastructures import FileStorage
from werkzeug.wsgi import LimitedStream

from ..exceptions import NoFile
from ..exceptions import NoLength
from .source import Source

Upload: t.TypeAlias = (
    FileStorage | str | os.PathLike[str] | bytes | bytearray | memoryview | t.IO[bytes]
)

NO_FILE = (
    "There is no file to save: the form field is missing or was left empty. Check"
    " the field's name, and that the form is sent as multipart/form-data."
)

NO_LENGTH = (
    "The request does not say how long its body is (Content-Length), and this server"
    " does not find the end of a body in chunks (Transfer-Encoding: chunked). Nothing"
    " was stored. Send the file with its length, as 'curl -T FILE' does and 'curl -T -'"
    " does not, or put a server in front that collects the body, such as nginx."
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
    if file is None:
        _check_body()
        raise NoFile(NO_FILE)
    if isinstance(file, FileStorage):
        with _kept(_ending(file.stream)) as stream:
            source = Source(stream, file.filename or "", _length_of_body(stream))
            if not source.filename and source.rewinds and source.size == 0:
                _check_body()
                raise NoFile(NO_FILE)
            yield source
    elif isinstance(file, bytes | bytearray | memoryview):
        if not len(file):  # request.get_data() of a body that could not be read
            _check_body()
        yield Source(io.BytesIO(file), None)
    elif isinstance(file, str | os.PathLike):
        with open(_local_path(file), "rb") as stream:
            yield Source(stream, os.path.basename(stream.name))
    elif hasattr(file, "read"):
        name = getattr(file, "name", None)
        with _kept(_ending(t.cast("t.IO[bytes]", file))) as stream:
            filename = os.path.basename(name) if _is_path(name) else None
            yield Source(stream, filename, _length_of_body(stream))
    else:
        raise TypeError(
            f"Cannot save {type(file).__name__!r}: pass a FileStorage (such as"
            " request.files['afile']), a path, bytes, or a file opened with 'rb'."
        )


def _ending(stream: t.IO[bytes]) -> t.IO[bytes]:
    """The stream, or Werkzeug's one of the same bytes if it is the server's own: that
    may go on to the end of the connection (PEP 3333, "Input and Error Streams").

    :raises NoLength: if nobody knows where the body ends.
    """
    if not has_request_context() or stream is not request.environ.get("wsgi.input"):
        return stream
    check_length(request.environ)
    return stream if request.environ.get("wsgi.input_terminated") else request.stream


def _length_of_body(stream: t.IO[bytes]) -> int | None:
    """How many bytes of the request's body are to come, if the stream is that.

    Werkzeug counts them, but on a server that ends the body by itself, as gunicorn
    does. The end of a connection is an end too, for such a server.

    :raises NoLength: if nobody knows where the body ends.
    """
    if not has_request_context():
        return None
    # The property of this name would make the stream if there was none yet.
    mine = vars(request._get_current_object()).get("stream")  # type: ignore[attr-defined]
    if stream is not mine and stream is not request.environ.get("wsgi.input"):
        return None
    check_length(request.environ)
    if request.content_length is None:
        return None
    read = stream.tell() if isinstance(stream, LimitedStream) else 0
    return request.content_length - read


def _check_body() -> None:
    """:raises NoLength: if there is a request whose body has no end."""
    if has_request_context():
        check_length(request.environ)


def check_length(environ: Mapping[str, t.Any]) -> None:
    """Refuse a body of which nobody knows where it ends; Werkzeug takes it for empty.

    A body in chunks has no length (RFC 9112, section 6.3), and only a server that sets
    ``wsgi.input_terminated`` finds its end. uWSGI does not.

    :raises NoLength: if the request has such a body.
    """
    if environ.get("wsgi.input_terminated"):
        return
    coding = environ.get("HTTP_TRANSFER_ENCODING") or "identity"
    length = environ.get("CONTENT_LENGTH") or "0"
    if coding.lower() != "identity" or re.fullmatch(r"[0-9]+", length) is None:
        raise NoLength(NO_LENGTH)


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
