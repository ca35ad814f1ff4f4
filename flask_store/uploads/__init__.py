"""What :meth:`save` accepts, and how it is opened."""

from __future__ import annotations

import errno
import io
import os
import typing as t
from contextlib import contextmanager
from contextlib import suppress

from flask import has_request_context
from flask import request
from werkzeug.datastructures import FileStorage
from werkzeug.wsgi import LimitedStream

from .. import naming
from ..exceptions import NoFile
from ..images.variant import Variant
from .multipart import check_length
from .reading import Readable
from .source import Source

#: What has the bytes of a file, and perhaps a name.
Content: t.TypeAlias = (
    FileStorage
    | Readable
    | str
    | os.PathLike[str]
    | bytes
    | bytearray
    | memoryview
    | t.IO[bytes]
)
#: The same with the name that counts for it: ``(b"...", "me.jpg")``.
Named: t.TypeAlias = tuple[Content, naming.Name]
#: Whatever can be saved.
Upload: t.TypeAlias = Content | Named

#: What a str that is meant as content has to be.
AS_BYTES = "To save text, pass bytes, such as text.encode()."
#: How much of a path an error shows, in characters.
LONGEST_PATH = 100

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
    :raises FileNotFoundError: if a path leads to no file.
    :raises TypeError: for anything that is not a file.
    :raises ClientDisconnected: while it is read, for a request's body that is cut off.
    """
    if isinstance(file, str | os.PathLike):
        with _open_path(file) as opened:
            yield Source(opened, os.path.basename(opened.name))
        return
    if isinstance(file, Readable):
        # Its own position stays where it is.
        with file.open() as stored:
            yield Source(stored, os.path.basename(stored.name))
        return
    if isinstance(file, tuple):
        content, given_name = _checked_pair(file)
        with open_source(content) as source:
            source.filename = given_name
            yield source
        return
    if file is None:
        _check_body()
        raise NoFile(NO_FILE)
    stream: t.IO[bytes]
    filename: str | None = None
    if isinstance(file, FileStorage):
        stream, filename = file.stream, file.filename or ""
        # A file of a storage, which the storage may copy by itself.
        as_source = getattr(stream, "as_source", None)
        if as_source is not None:
            with as_source(filename) as source:
                yield source
            return
    elif isinstance(file, bytes | bytearray | memoryview):
        if not len(file):  # request.get_data() of a body that could not be read
            _check_body()
        stream = io.BytesIO(file)
    elif isinstance(file, Variant):
        raise TypeError(
            "Cannot save a variant: pass its bytes and a name, such as"
            " (variant.read(), 'me.webp')."
        )
    elif hasattr(file, "read"):
        stream, name = file, getattr(file, "name", None)
        if name and isinstance(name, str):
            filename = os.path.basename(name)
    else:
        raise TypeError(
            f"Cannot save {type(file).__name__!r}: pass a FileStorage (such as"
            " request.files['afile']), a path, bytes, or a file opened with 'rb'; or a"
            " pair of one of them and a name, such as (b'...', 'me.jpg')."
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


def is_pair(value: object) -> bool:
    """Whether a value is a pair of something to save and its name."""
    return (
        isinstance(value, tuple)
        and len(value) == 2
        and isinstance(value[1], str | os.PathLike)
    )


def _checked_pair(file: Named) -> tuple[Content, str]:
    """What is to be saved, and its name.

    :raises TypeError: if the tuple is no pair of them.
    """
    if not is_pair(file) or isinstance(file[0], tuple):
        raise TypeError(
            "Cannot save this tuple: pass a pair of what has the bytes and a name, in"
            " this order, such as (b'...', 'me.jpg'). A content type is an argument of"
            " save()."
        )
    return file[0], naming.text(file[1], "file name")


def _open_path(file: str | os.PathLike[str]) -> t.IO[bytes]:
    """Open a file of this machine.

    :raises FileNotFoundError: if there is none.
    """
    if not isinstance(file, str):
        return open(file, "rb")
    # A text field of the same name as the file field is one typo away, and its
    # content is the client's: it must never choose a file of the server.
    if has_request_context():
        raise TypeError(
            "Refused to save a str as a path during a request, because it may come"
            " from the client. Pass request.files[...], or pathlib.Path(...) if you"
            f" mean a file on the server. {AS_BYTES}"
        )
    try:
        return open(file, "rb")
    except (OSError, ValueError) as exc:
        # Text need not look like a path: it may be empty, long, or have a null byte.
        reasons = (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG)
        if isinstance(exc, OSError) and exc.errno not in reasons:
            raise
        raise FileNotFoundError(
            errno.ENOENT,
            "A str is the path of a file on this machine, and there is none."
            f" {AS_BYTES} The path is",
            file[:LONGEST_PATH],
        ) from None
