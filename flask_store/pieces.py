"""The body of a request, in pieces that suit the server and the parser."""

from __future__ import annotations

import typing as t
from collections.abc import Callable
from collections.abc import Iterator

#: How many bytes are asked for at first. A server keeps what has arrived of them in
#: memory until all of them are there, or as long as the client stalls.
SMALL = 128 * 1024
#: How many bytes a piece has at least.
SHORT = 1024
#: How many bytes are asked for when so few have arrived. A server such as gunicorn
#: takes up to 1 MiB from the socket, and copies the rest whenever less is asked for.
LARGE = 1024 * 1024
#: How many uploads of a process may ask for large pieces at the same moment. Without a
#: limit, each of a thousand stalled uploads would keep a large piece in memory.
LARGE_READERS = 4

# One for each upload that may. Taking from a list and adding to it are single steps, on
# threads and greenlets alike.
_permits: t.Final = [None] * LARGE_READERS


def pieces(read: Callable[[int], bytes]) -> Iterator[bytes]:
    """Everything that *read* returns, in pieces of at most :data:`LARGE` bytes and what
    is less than :data:`SMALL`.

    Each piece is work, so that short reads are collected until there is as much as came
    before, or :data:`SMALL`. The caller had better not keep a piece while it asks for
    the next one.

    :param read: returns at most as many bytes as it is asked for, and none at the end.
    """
    arrived = 0
    enough = SHORT
    short = bytearray()
    while data := _read(read, arrived >= SMALL):
        arrived += len(data)
        if short or len(data) < enough:
            short += data
            if len(short) < enough:
                continue
            data = bytes(short)
            short.clear()
        enough = min(arrived, SMALL)
        yield data
        del data  # and its memory, while the next piece arrives
    if short:
        yield bytes(short)


def _read(read: Callable[[int], bytes], large: bool) -> bytes:
    if not large:
        return read(SMALL)
    try:
        permit = _permits.pop()
    except IndexError:
        return read(SMALL)
    try:
        return read(LARGE)
    finally:
        _permits.append(permit)
