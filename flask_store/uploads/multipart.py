"""How a form is read: by Werkzeug's decoder, except for what needs no decoding.

Most of a form are the bytes of its files. The decoder is asked where a part begins and
ends; of what lies in between, it does not get to see more than a few bytes.
"""

from __future__ import annotations

import re
import typing as t
from collections.abc import Iterator
from itertools import chain

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
from werkzeug.sansio.multipart import NeedData
from werkzeug.sansio.multipart import State

from .reading import pieces

if t.TYPE_CHECKING:
    from werkzeug.datastructures import MultiDict

    Fields = MultiDict[str, str]
    Files = MultiDict[str, FileStorage]

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
        for event in self._events(stream, boundary):
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

    def _events(self, stream: t.IO[bytes], boundary: bytes) -> Iterator[Event]:
        decoder = Decoder(
            boundary, self.max_form_memory_size, max_parts=self.max_form_parts
        )
        found = map(decoder.events, chain(pieces(stream.read), [None]))
        return chain.from_iterable(found)


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
            yield from self._decoded()
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
                yield from self._decoded()
            start += size

    def _decoded(self) -> Iterator[Event]:
        while not isinstance(event := self.next_event(), NeedData | Epilogue):
            yield event

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
