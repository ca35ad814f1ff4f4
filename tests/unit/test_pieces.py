"""How much of a body is asked for, and what is handed on."""

from __future__ import annotations

import typing as t

import pytest

from flask_store.uploads.multipart import LARGE
from flask_store.uploads.multipart import LARGE_READERS
from flask_store.uploads.multipart import MIDDLE
from flask_store.uploads.multipart import pieces
from flask_store.uploads.multipart import SHORT
from flask_store.uploads.multipart import SMALL

pytestmark = pytest.mark.lower_bounds


class Stream:
    """A body of zeros, of which a server hands over at most so many bytes at a time."""

    def __init__(self, size: int, most: int = LARGE) -> None:
        self.left = size
        self.most = most
        self.asked: list[int] = []

    def read(self, size: int) -> bytes:
        """Up to so many bytes."""
        self.asked.append(size)
        count = min(size, self.most, self.left)
        self.left -= count
        return bytes(count)


def test_asks_for_more_when_something_has_arrived() -> None:
    """A client that sends nothing costs little, and neither does a small form."""
    stream = Stream(3 * LARGE)
    assert sum(map(len, pieces(stream.read))) == 3 * LARGE
    first = -(-(LARGE - SMALL) // MIDDLE)
    assert stream.asked[: first + 1] == [SMALL] + [MIDDLE] * first
    assert set(stream.asked[first + 1 :]) == {LARGE}


@pytest.mark.parametrize("most", [1, 7, 60])
def test_collects_short_reads(most: int) -> None:
    """Into pieces that are worth the work, and loses nothing."""
    found = [len(piece) for piece in pieces(Stream(3 * SMALL + 1, most).read)]
    assert sum(found) == 3 * SMALL + 1
    assert SHORT <= min(found[:-1]) <= max(found) < SHORT + most


def test_hands_on_what_is_no_short_read() -> None:
    """Without a copy."""
    sent = [bytes(1460), bytes(SHORT), bytes(1460), bytes(1)]
    reads = iter([*sent, b""])
    for piece, data in zip(pieces(lambda size: next(reads)), sent[:-1], strict=False):
        assert piece is data


def test_few_read_large_pieces_at_once() -> None:
    """The others go on with small ones, until somebody has finished."""
    asked: list[int] = []
    inner: list[t.Iterator[bytes]] = []

    def read(size: int) -> bytes:
        """Let the next one read before this one has."""
        asked.append(size)
        if size > SMALL and inner:
            next(inner.pop())
        return bytes(size)

    for _ in range(LARGE_READERS + 2):
        body = pieces(read)
        next(body)
        inner.append(body)
    asked.clear()
    next(inner.pop())
    assert asked == [MIDDLE] * LARGE_READERS + [SMALL]
    asked.clear()
    next(inner.pop())
    assert asked == [MIDDLE]


def test_an_error_gives_its_turn_back() -> None:
    """As often as clients hang up."""

    def read(size: int) -> bytes:
        """Hang up after the first piece."""
        if size > SMALL:
            raise ConnectionError
        return bytes(size)

    for _ in range(2 * LARGE_READERS):
        with pytest.raises(ConnectionError):
            list(pieces(read))
    stream = Stream(2 * LARGE)
    assert list(pieces(stream.read))
    assert stream.asked[1] == MIDDLE
