"""Forms: whatever the pieces they arrive in, Werkzeug would find the same in them."""

from __future__ import annotations

import io
import random
import typing as t

import pytest
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.formparser import FormDataParser
from werkzeug.sansio.multipart import MultipartDecoder

from flask_store.uploads import multipart
from flask_store.uploads.multipart import FormParser
from flask_store.uploads.multipart import LARGE as READ
from flask_store.uploads.multipart import PADDING_SIZE
from tests.support.rounds import rounds

pytestmark = pytest.mark.lower_bounds

BOUNDARY = "a-Boundary"
MARK = f"--{BOUNDARY}".encode()
#: What a boundary is made of, and what only looks like one.
CONTENT = [
    *(b"\r\n", b"\r", b"\n", b"-", b"--", b" ", b"\0", b"content"),
    *(MARK, MARK[:-1], b"\r\n" + MARK[:-1], b"\r\n" + MARK + b"x", b"\n" + MARK + b"-"),
    *(b"\r\n--", b"\r\n" + MARK[:3], MARK + b" " * 3, b"x" * 70),
]

Found: t.TypeAlias = tuple[list[t.Any], list[t.Any]]


class Pieces(io.RawIOBase):
    """A body that arrives in pieces, however much is asked for."""

    def __init__(self, body: bytes, cuts: list[int]) -> None:
        ends = [*sorted(cuts), len(body)]
        starts = [0, *ends]
        self._left = [body[i:j] for i, j in zip(starts, ends, strict=False) if i < j]

    def read(self, size: int = -1) -> bytes:
        """The next piece."""
        return self._left.pop(0) if self._left else b""


def in_memory(*args: object, **kwargs: object) -> io.BytesIO:
    """Where a file goes; a temporary one would warn if its form breaks off."""
    return io.BytesIO()


def parsed(parser: type[FormDataParser], stream: t.Any, **limits: int) -> Found | str:
    """The fields and the files of a form, or what is wrong with it."""
    try:
        found = parser(in_memory, silent=False, **limits).parse(
            stream, "multipart/form-data", None, {"boundary": BOUNDARY}
        )
    except (ValueError, RequestEntityTooLarge) as exc:
        return f"{type(exc).__name__}: {exc}"
    _, form, files = found
    read = []
    for name, file in files.items(multi=True):
        read.append((name, file.filename, file.content_type, list(file.headers)))
        read.append(file.read())
    return list(form.items(multi=True)), read


def part(headers: str, data: bytes) -> bytes:
    """One part of a form."""
    return MARK + b"\r\n" + headers.encode() + b"\r\n\r\n" + data + b"\r\n"


def file_part(data: bytes, name: str = "a.bin") -> bytes:
    """A file as a part of a form."""
    said = f'Content-Disposition: form-data; name="afile"; filename="{name}"'
    return part(f"{said}\r\nContent-Type: image/png", data)


def field_part(data: bytes, charset: str = "utf-8") -> bytes:
    """A text as a part of a form."""
    said = 'Content-Disposition: form-data; name="text"'
    return part(f"{said}\r\nContent-Type: text/plain; charset={charset}", data)


def content(chance: random.Random) -> bytes:
    """Anything but a boundary, which a client must not choose then."""
    while True:
        data = b"".join(chance.choices(CONTENT, k=chance.choice([0, 1, 3, 12, 60])))
        if not MultipartDecoder(BOUNDARY.encode()).boundary_re.search(
            b"\r\n" + data + b"\r\n"
        ):
            return data


@pytest.fixture
def uncollected(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short reads are parsed as they come."""
    monkeypatch.setattr(multipart, "SHORT", 1)
    monkeypatch.setattr(multipart, "SMALL", 1)


@pytest.mark.usefixtures("uncollected")
@pytest.mark.parametrize("seed", range(rounds(200)))
def test_finds_what_werkzeug_finds(seed: int) -> None:
    """In the whole form, also in one that is none, wherever it is cut."""
    chance = random.Random(seed)
    body = b"".join(
        chance.choice([file_part, file_part, field_part])(content(chance))
        for _ in range(chance.randrange(5))
    )
    body += chance.choice([MARK + b"--", MARK + b"--\r\n", MARK + b"--\r\nend", b""])
    if chance.random() < 0.1:
        body = body[: chance.randrange(len(body) + 1)]
    expected = parsed(FormDataParser, io.BytesIO(body))
    for _ in range(20):
        cuts = chance.sample(range(len(body) + 1), min(len(body), chance.randrange(9)))
        assert parsed(FormParser, Pieces(body, cuts)) == expected, (body, cuts)


EMPTY = MARK + b'\r\nContent-Disposition: form-data; name="empty"\r\n\r\n'


@pytest.mark.usefixtures("uncollected")
@pytest.mark.parametrize(
    "body",
    [
        file_part(b"one\r\ntwo") + field_part(b"three") + MARK + b"--",
        (file_part(b"one") + MARK + b"--").replace(MARK, MARK + b" \t\v\f" * 9),
        (field_part(b"one\r\n" + MARK + b"\t" * 40 + b"x") + MARK + b"--"),
        EMPTY + field_part(b"one") + EMPTY + MARK + b"--",
        file_part(b"\n" + MARK + b"-") + file_part(b"one") + MARK + b"--",
        b"before\r\n"
        + EMPTY
        + MARK
        + b"  \r\n"
        + EMPTY[len(MARK) + 2 :]
        + MARK
        + b"--",
    ],
    ids=["plain", "padded", "no-end", "no-body", "dash", "preamble"],
)
def test_boundary_is_found_across_every_cut(body: bytes) -> None:
    """However little of it has arrived."""
    expected = parsed(FormDataParser, io.BytesIO(body))
    for cut in range(len(body)):
        cuts = [cut, cut + len(MARK)]  # as much as is looked at together
        assert parsed(FormParser, Pieces(body, [cut])) == expected, cut
        assert parsed(FormParser, Pieces(body, cuts)) == expected, cuts
    assert parsed(FormParser, Pieces(body, list(range(len(body))))) == expected


def test_content_passes_by_the_decoder(monkeypatch: pytest.MonkeyPatch) -> None:
    """It gets the end of each piece, at most as long as a boundary."""
    seen: list[int] = []
    receive = MultipartDecoder.receive_data

    def counting(self: MultipartDecoder, data: bytes | None) -> None:
        seen.append(len(data or b""))
        receive(self, data)

    monkeypatch.setattr(MultipartDecoder, "receive_data", counting)
    body = file_part(b"\n" * (5 * READ)) + MARK + b"--"
    assert isinstance(parsed(FormParser, io.BytesIO(body)), tuple)
    # The first piece has the headers; the last one ends here.
    assert sum(seen) <= READ + 6 * (len(MARK) + 8)


def test_padding_that_is_cut_has_a_limit(uncollected: None) -> None:
    """Nothing is kept for ever because the end of a line may still come."""
    for size, count in ((PADDING_SIZE, 2), (PADDING_SIZE + 1, 1)):
        start = file_part(b"one")[:-2] + b"\r\n" + MARK + b" " * size
        body = start + file_part(b"two")[len(MARK) :] + MARK + b"--"
        found = parsed(FormParser, Pieces(body, [len(start)]))
        assert isinstance(found, tuple)
        assert len(found[1]) == 2 * count, size


@pytest.mark.usefixtures("uncollected")
def test_limits() -> None:
    """Of parts, and of the text in memory, across pieces."""
    body = file_part(b"x" * 5000) + field_part(b"y" * 900) + MARK + b"--"
    for cuts in ([], [5300], list(range(5200, 6000, 50))):
        assert isinstance(
            parsed(FormParser, Pieces(body, cuts), max_form_memory_size=1000), tuple
        )
        for limits in ({"max_form_memory_size": 800}, {"max_form_parts": 1}):
            found = parsed(FormParser, Pieces(body, cuts), **limits)
            assert str(found).startswith("RequestEntityTooLarge")


def test_charset_of_a_field() -> None:
    """As its part says; what is none of it is replaced."""
    body = field_part("é".encode("latin-1"), "iso-8859-1") + field_part(b"\xff")
    found = parsed(FormParser, io.BytesIO(body + MARK + b"--"))
    assert found == ([("text", "é"), ("text", "\N{REPLACEMENT CHARACTER}")], [])


def test_other_forms_are_left_to_werkzeug() -> None:
    """Also one that does not say what its boundary is."""
    stream, form, files = FormParser().parse(
        io.BytesIO(b"a=1"), "application/x-www-form-urlencoded", 3
    )
    assert form.to_dict() == {"a": "1"} and not files
    with pytest.raises(ValueError, match="boundary"):
        FormParser(silent=False).parse(io.BytesIO(), "multipart/form-data", 0)
    _, form, files = FormParser().parse(
        io.BytesIO(b"no form"), "multipart/form-data", 7, {"boundary": "x"}
    )
    assert not form and not files
