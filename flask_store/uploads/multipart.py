"""How a form is read, from the request to the disk where its files will live.

Werkzeug's decoder reads it, except for what needs no decoding. Most of a form are the
bytes of its files. The decoder is asked where a part begins and ends; of what lies in
between, it does not get to see more than a few bytes.

Only the file that a large part is written into is another one than Werkzeug's. It has
no name yet and lies on the disk of the store, so that ``save`` only has to name it, and
no byte is copied.
"""

from __future__ import annotations

import io
import logging
import re
import tempfile
import typing as t
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from contextlib import suppress
from itertools import chain

from flask import Flask
from flask import Request
from werkzeug.datastructures import FileStorage
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.formparser import FormDataParser
from werkzeug.formparser import MultiPartParser
from werkzeug.sansio.multipart import Data
from werkzeug.sansio.multipart import Epilogue
from werkzeug.sansio.multipart import Event
from werkzeug.sansio.multipart import Field
from werkzeug.sansio.multipart import File
from werkzeug.sansio.multipart import MultipartDecoder
from werkzeug.sansio.multipart import NEED_DATA
from werkzeug.sansio.multipart import State

from .. import naming
from ..exceptions import NoLength
from ..exceptions import StoreError
from .disk import BEGIN
from .disk import Unnamed

if t.TYPE_CHECKING:
    from werkzeug.datastructures import MultiDict

    Fields = MultiDict[str, str]
    Files = MultiDict[str, FileStorage]

logger = logging.getLogger(__name__)

#: How many bytes are asked for at first, as by Werkzeug. A server keeps in memory what
#: has arrived of them until all of them are there, or as long as the client stalls.
SMALL = 64 * 1024
#: How many bytes a piece has at least.
SHORT = 512
#: How many bytes are asked for when these have arrived, until :data:`LARGE` have: so
#: many that a small form takes at most twice the memory that it takes with Werkzeug.
MIDDLE = 256 * 1024
#: How many bytes are asked for when as many have arrived. A server such as gunicorn
#: takes up to 1 MiB from the socket, and copies the rest whenever less is asked for.
LARGE = 1024 * 1024
#: How many uploads of a process may ask for more than :data:`SMALL` at the same moment.
#: Without a limit, each of a thousand stalled uploads would keep a large piece.
LARGE_READERS = 4

# One for each upload that may. Taking from a list and adding to it are single steps, on
# threads and greenlets alike.
_permits: t.Final = [None] * LARGE_READERS

#: Smaller parts stay in memory, as in Werkzeug's own ``default_stream_factory``.
IN_MEMORY = 500 * 1024

#: How many bytes the decoder gets at a time, as from Werkzeug's own parser.
SLICE = 64 * 1024

#: What Werkzeug takes for the end of a line, the longest first.
LINE_ENDS = (b"\r\n", b"\r", b"\n")

#: What may follow a boundary in its line: RFC 2046 section 5.1.1, "transport-padding".
#: This is what Werkzeug takes for it.
PADDING = b" \t\v\f"
#: How much of it is waited for, and looked at again, when the rest of its line has not
#: arrived. What is longer then becomes content, as with Werkzeug. The RFC has no limit.
PADDING_SIZE = 256

#: Werkzeug takes either character for the end of a line, as some clients do.
LINE_END = re.compile(rb"[\r\n]")


#: What follows a mark if it may be a boundary. Group 1 is there if it is one for sure;
#: otherwise the rest of the line has not arrived. The padding is not tried again in
#: each shorter length ("*+"), because no line ends within it.
AFTER_MARK = re.compile(
    rb"(--|[%s]*+[\r\n])|(?:-|[%s]{0,%d}+)\Z" % (PADDING, PADDING, PADDING_SIZE)
)
#: How many marks in a row are looked at here. Many are faster looked through by the
#: decoder's expression.
MARKS = 8

NO_LENGTH = (
    "The request does not say how long its body is (Content-Length), and this server"
    " does not find the end of a body in chunks (Transfer-Encoding: chunked). Nothing"
    " was stored. Send the file with its length, as 'curl -T FILE' does and 'curl -T -'"
    " does not, or put a server in front that collects the body, such as nginx."
)


class FormParser(FormDataParser):
    """Werkzeug's parser of forms, with a parser of parts that copies less."""

    def parse(
        self,
        stream: t.IO[bytes],
        mimetype: str,
        content_length: int | None,
        options: dict[str, str] | None = None,
    ) -> tuple[t.IO[bytes], Fields, Files]:
        boundary = (options or {}).get("boundary")
        if mimetype != "multipart/form-data" or not boundary:
            return super().parse(stream, mimetype, content_length, options)
        parser = PartParser(
            stream_factory=self.stream_factory,
            max_form_memory_size=self.max_form_memory_size,
            max_form_parts=self.max_form_parts,
            cls=self.cls,
        )
        try:
            found = parser.parse(stream, boundary.encode("ascii"), content_length)
        except ValueError:
            if not self.silent:
                raise
            found = self.cls(), self.cls()
        return stream, *found


class PartParser(MultiPartParser):
    """The parts of a form, as fields and files."""

    def parse(
        self, stream: t.IO[bytes], boundary: bytes, content_length: int | None
    ) -> tuple[Fields, Files]:
        fields: list[tuple[str, str]] = []
        files: list[tuple[str, FileStorage]] = []
        part: Field | File
        body: t.Any
        decoder = Decoder(
            boundary, self.max_form_memory_size, max_parts=self.max_form_parts
        )
        decoded = map(decoder.events, chain(pieces(stream.read), [None]))
        for event in chain.from_iterable(decoded):
            if isinstance(event, Field):
                part, body = event, Text(self.max_form_memory_size)
            elif isinstance(event, File):
                part, body = event, self.start_file_streaming(event, content_length)
            elif isinstance(event, Data):
                body.write(event.data)
                if event.more_data:
                    pass
                elif isinstance(part, Field):
                    charset = self.get_part_charset(part.headers)
                    fields.append((part.name, body.data.decode(charset, "replace")))
                else:
                    body.seek(0)
                    said = part.filename, part.name
                    file = FileStorage(body, *said, headers=part.headers)
                    files.append((part.name, file))
            del event  # and the memory of its data, while the next piece arrives
        return self.cls(fields), self.cls(files)


def pieces(read: Callable[[int], bytes]) -> Iterator[bytes]:
    """Everything that *read* returns, in pieces of at most :data:`LARGE` bytes, and of
    at least :data:`SHORT`, but for the last one.

    The caller had better not keep a piece while it asks for the next one.

    :param read: returns at most as many bytes as it is asked for, and none at the end.
    """
    arrived = 0
    short = bytearray()
    while True:
        size = SMALL if arrived < SMALL else MIDDLE if arrived < LARGE else LARGE
        permitted = False
        if size > SMALL:
            try:
                _permits.pop()
                permitted = True
            except IndexError:
                size = SMALL
        try:
            data = read(size)
        finally:
            if permitted:
                _permits.append(None)
        if not data:
            break
        arrived += len(data)
        # Each piece is work, however short it is.
        if short or len(data) < SHORT:
            short += data
            if len(short) < SHORT:
                continue
            data = bytes(short)
            short.clear()
        yield data
        del data  # and its memory, while the next piece arrives
    if short:
        yield bytes(short)


class Text:
    """The value of a field, as far as it has arrived.

    :param limit: how many bytes it may have.
    """

    def __init__(self, limit: int | None) -> None:
        self.data = bytearray()
        self._limit = limit

    def write(self, data: bytes) -> None:
        """:raises RequestEntityTooLarge: if there are too many."""
        if self._limit is not None and len(self.data) + len(data) > self._limit:
            raise RequestEntityTooLarge()
        self.data += data


class Decoder(MultipartDecoder):
    """Werkzeug's decoder, which what is certain to be content does not pass through."""

    def __init__(
        self,
        boundary: bytes,
        max_form_memory_size: int | None = None,
        *,
        max_parts: int | None = None,
    ) -> None:
        super().__init__(boundary, max_form_memory_size, max_parts=max_parts)
        self._mark = b"--" + boundary
        # A line that ends a part, but for its own end.
        self._longest = len(b"\r\n") + len(self._mark) + PADDING_SIZE
        self._slice = SLICE
        if max_form_memory_size is not None:
            # The decoder refuses what does not fit into its buffer beside what it has
            # kept there: at most a line with its padding.
            self._slice = max(1, min(SLICE, max_form_memory_size // 4))

    def events(self, data: bytes | None) -> Iterator[Event]:
        """What the next piece of a form says.

        :param data: ``None`` when there is nothing more.
        :raises ValueError: if this is no form.
        :raises RequestEntityTooLarge: if it has more than the limits allow.
        """
        if data is None:
            self.receive_data(None)
            while not isinstance(event := self.next_event(), Epilogue):
                yield event
            return
        if self.state is State.EPILOGUE:
            self.receive_data(data)
            return
        view = memoryview(data)
        start = 0
        while start < len(data):
            end, is_open = self._content(data, start)
            if end > start:
                if self.buffer:
                    yield Data(bytes(self.buffer), more_data=True)
                    self.buffer.clear()
                yield Data(t.cast(bytes, view[start:end]), more_data=True)
                start = end
            left = len(data) - start
            size = left if is_open else min(left, self._slice)
            # Python searches less than 30 kB in a way that is slow for some boundaries.
            if size < left < 2 * size:
                size = left // 2
            self.receive_data(t.cast(bytes, view[start : start + size]))
            if not is_open:
                yield from iter(self.next_event, NEED_DATA)
            start += size

    def _content(self, data: bytes, start: int) -> tuple[int, bool]:
        """Where the bytes of *data* end that go on, from *start*, with the part that
        has begun, as do those that the decoder has kept, for sure: neither the part's
        end nor the beginning of that is among them.

        Also whether only more data can tell what follows them.
        """
        size = len(self._mark)
        if self.state is not State.DATA or len(data) - start < size:
            return start, False
        if self.buffer:
            kept = bytes(self.buffer)
            line = kept + data[start : start + self._longest]
            found, is_open = self._find(line, 0, len(kept) + size)
            if found >= 0:
                return start, is_open
        end, is_open = self._find(data, start, len(data))
        if end < 0:
            end, is_open = len(data), True
        # A mark that begins here, and the end of the line before it.
        doubt = LINE_END.search(data, max(start, end - size - 1), end)
        return doubt.start() if doubt else end, is_open

    def _find(self, data: bytes, start: int, stop: int) -> tuple[int, bool]:
        """Where the first mark is between *start* and *stop* that may be a boundary,
        or -1, and whether the rest of its line has not arrived."""
        found = data.find(self._mark, start, stop)
        for _ in range(MARKS):
            if found < 0:
                break
            if found > 0 and data[found - 1] in b"\r\n":
                after = AFTER_MARK.match(data, found + len(self._mark))
                if after:
                    return found, not after[1]
            found = data.find(self._mark, found + 1, stop)
        return found, False

    def next_event(self) -> Event:
        if self.state is State.DATA_START and not self.complete:
            # The line end before the content may be that before the next boundary.
            if self._starts_with_end():
                return NEED_DATA
        event = super().next_event()
        if self.state is State.PREAMBLE:
            begun = self._begun(self.buffer)
            if begun is not None:
                self._search_position = min(self._search_position, begun)
        return event

    def _starts_with_end(self) -> bool:
        """Whether the buffer has nothing but the beginning of a boundary."""
        if len(self.buffer) > self._longest:
            return False
        lines = (end + self._mark for end in LINE_ENDS)
        return self._begun(self.buffer) == 0 or any(
            line.startswith(self.buffer) for line in lines
        )

    def _last_partial_boundary_index(self, data: bytes | bytearray) -> int:
        # Werkzeug's own looks for a mark that has not arrived whole. It would take
        # the end of the line before one for content when only the rest is missing.
        begun = self._begun(data)
        if begun is not None and data.startswith(LINE_ENDS, begun):
            return begun
        return super()._last_partial_boundary_index(data)

    def _begun(self, data: bytes | bytearray) -> int | None:
        """Where the last mark begins, with the end of the line before it, if *data* has
        all but the end of its own line."""
        tail = data[-self._longest :]
        ends = [len(tail.rstrip(PADDING))]
        if tail.endswith(b"-"):
            ends.append(len(tail) - 1)
        for end in ends:
            padding = len(tail) - end
            if padding <= PADDING_SIZE and tail.endswith(self._mark, 0, end):
                mark = end - len(self._mark)
                for line_end in LINE_ENDS:
                    if tail.endswith(line_end, 0, mark):
                        mark -= len(line_end)
                        break
                return len(data) - len(tail) + mark
        return None


class Disk(t.Protocol):
    """Where files without a name are made."""

    def unnamed(self) -> Unnamed | None: ...


class Errors(t.Protocol):
    """What knows the meaning of an error."""

    def explain(self, exc: Exception, key: str | None) -> StoreError | None: ...


class Receiver(t.Protocol):
    """A store that large files are written for.

    It is :class:`~flask_store.stores.fsspec.FsspecStore`, which is built on this.
    """

    @property
    def uri(self) -> str: ...
    @property
    def dialect(self) -> Errors: ...
    @property
    def incoming(self) -> Disk: ...


class StreamedUpload(tempfile.SpooledTemporaryFile[bytes]):
    """A file part of a form: in memory while it is small, then on a store's disk.

    :param stores: the first that has a disk gets the file; without one it is an
        ordinary temporary file.
    """

    def __init__(self, stores: tuple[Receiver, ...]) -> None:
        super().__init__(max_size=IN_MEMORY, mode="w+b")
        self._rolled = False
        self._stores = stores
        self._store: Receiver | None = None
        self._staged: Unnamed | None = None

    def rollover(self) -> None:
        """Go on in a file.

        :raises StoreFull: if the disk of the store is full.
        """
        if self._rolled:
            return
        for store in self._stores:
            try:
                self._staged = store.incoming.unnamed()
            except (StoreError, OSError) as exc:
                # If it has to be known, save() will say so.
                cause = store.dialect.explain(exc, naming.STAGING) or exc
                logger.warning("Uploads are not streamed into %s: %s", store.uri, cause)
            if self._staged is not None:
                self._store = store
                break
        else:
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
        end = self._file.tell()
        self._staged.end = max(end, self._staged.end)
        if end - self._staged.begun >= BEGIN:
            self._staged.begin(end)
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
    stores: t.ClassVar[tuple[Receiver, ...]] = ()

    def _get_file_stream(
        self,
        total_content_length: int | None,
        content_type: str | None,
        filename: str | None = None,
        content_length: int | None = None,
    ) -> t.IO[bytes]:
        upload = StreamedUpload(self.stores)
        vars(self).setdefault("_uploads", []).append(upload)
        return t.cast("t.IO[bytes]", upload)

    def _load_form_data(self) -> None:
        # Such a form would seem to have neither fields nor files.
        if self.mimetype == "multipart/form-data":
            check_length(self.environ)
        super()._load_form_data()

    def close(self) -> None:
        """Close the files of the form, and those of one that was never complete."""
        super().close()
        for upload in vars(self).get("_uploads", ()):
            if not upload.closed:
                upload.close()


def install(app: Flask, store: Receiver) -> None:
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


def uninstall(app: Flask, store: object) -> None:
    """Let them write no more files for a store that another one has replaced."""
    own: t.Any = app.request_class
    if issubclass(own, StreamingRequest):
        own.stores = tuple(other for other in own.stores if other is not store)


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
