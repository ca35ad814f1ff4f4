"""The body of a request, in pieces that suit the server and the parser."""

from __future__ import annotations

import typing as t
from collections.abc import Callable
from collections.abc import Iterator

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


def pieces(read: Callable[[int], bytes]) -> Iterator[bytes]:
    """Everything that *read* returns, in pieces of at most :data:`LARGE` bytes, and of
    at least :data:`SHORT`, but for the last one.

    The caller had better not keep a piece while it asks for the next one.

    :param read: returns at most as many bytes as it is asked for, and none at the end.
    """
    arrived = 0
    short = bytearray()
    while data := _read(read, _wanted(arrived)):
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


def _wanted(arrived: int) -> int:
    if arrived < SMALL:
        return SMALL
    return MIDDLE if arrived < LARGE else LARGE


def _read(read: Callable[[int], bytes], size: int) -> bytes:
    if size <= SMALL:
        return read(size)
    try:
        permit = _permits.pop()
    except IndexError:
        return read(SMALL)
    try:
        return read(size)
    finally:
        _permits.append(permit)
