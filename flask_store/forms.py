"""How a form is read: by Werkzeug's decoder, except for what needs no decoding.

Most of a form are the bytes of its files. The decoder is asked where a part begins and
ends; of what lies in between, it does not get to see more than a few bytes.
"""

from __future__ import annotations

import re
import typing as t
from collections.abc import Iterator

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
from werkzeug.sansio.multipart import NeedData
from werkzeug.sansio.multipart import State

if t.TYPE_CHECKING:
    from werkzeug.datastructures import MultiDict

    Fields = MultiDict[str, str]
    Files = MultiDict[str, FileStorage]

#: How much of the body is read at a time. Servers hand it over in pieces of up to
#: 1 MiB, and some copy the rest of one whenever less is taken.
READ = 1024 * 1024

#: Werkzeug takes either character for the end of a line, as some clients do.
LINE_END = re.compile(rb"[\r\n]")


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
                    continue
                if isinstance(part, Field):
                    charset = self.get_part_charset(part.headers)
                    fields.append((part.name, body.data.decode(charset, "replace")))
                else:
                    body.seek(0)
                    said = part.filename, part.name
                    file = FileStorage(body, *said, headers=part.headers)
                    files.append((part.name, file))
        return self.cls(fields), self.cls(files)

    def _events(self, stream: t.IO[bytes], boundary: bytes) -> Iterator[Event]:
        decoder = Decoder(
            boundary, self.max_form_memory_size, max_parts=self.max_form_parts
        )
        while data := stream.read(READ):
            yield from decoder.events(data)
        yield from decoder.events(None)


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

    def __init__(self, boundary: bytes, *args: t.Any, **kwargs: t.Any) -> None:
        super().__init__(boundary, *args, **kwargs)
        # A boundary, as far as its line has arrived.
        mark = re.escape(b"--" + boundary)
        self._begun = re.compile(rb"(?:\r\n|\r|\n)%s(?:-|[^\S\r\n]*)\Z" % mark)

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
        rest = memoryview(data)
        if cut := self._content(data):
            if self.buffer:
                yield Data(bytes(self.buffer), more_data=True)
                self.buffer.clear()
            yield Data(t.cast(bytes, rest[:cut]), more_data=True)
            rest = rest[cut:]
        # What would not fit into its buffer beside the rest of the last piece, the
        # decoder refuses.
        size = max(1, (self.max_form_memory_size or 2 * READ) // 2)
        for start in range(0, len(rest), size):
            self.receive_data(t.cast(bytes, rest[start : start + size]))
            yield from self._decoded()

    def _decoded(self) -> Iterator[Event]:
        while not isinstance(event := self.next_event(), NeedData | Epilogue):
            yield event

    def _content(self, data: bytes) -> int:
        """How many bytes of *data* go on with the part that has begun, as do those that
        the decoder has kept, for sure: neither its end nor the beginning of that."""
        mark = b"--" + self.boundary
        if self.state is not State.DATA or len(data) < len(mark):
            return 0
        if mark in bytes(self.buffer) + data[: len(mark)]:
            return 0
        end = data.find(mark)
        end = len(data) if end < 0 else end
        # A mark that begins here, and the end of the line before it.
        doubt = LINE_END.search(data, max(0, end - len(mark) - 1), end)
        return doubt.start() if doubt else end

    def _last_partial_boundary_index(self, data: bytes | bytearray) -> int:
        # Werkzeug's own looks for a mark that has not arrived whole. It would take
        # the end of the line before one for content when only the rest is missing.
        mark = data.rfind(b"--" + self.boundary)
        begun = self._begun.search(data, max(0, mark - 2)) if mark > 0 else None
        return begun.start() if begun else super()._last_partial_boundary_index(data)
