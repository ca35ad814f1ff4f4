"""Copies the bytes of a file on this machine into another one, in the cheapest way."""

from __future__ import annotations

import io
import os
import typing as t

from ..concurrency.greenlets import offload
from .disk import Unnamed
from .source import Source
from .source import Writable

#: How many bytes the kernel copies at a time. Other greenlets run in between.
STEP = 64 * 1024**2


class OnDisk(Source):
    """A file on this machine, whose bytes the kernel copies."""

    def write_into(self, file: Writable) -> None:
        copy_into(self, t.cast(Unnamed, file))


def copy_into(source: Source, target: Unnamed) -> None:
    """Write every byte of *source*, which can be rewound, into an empty file.

    The kernel copies a file. Some filesystems (Btrfs, XFS) share its blocks instead.
    The file could not be linked: the temporary files of a form parser have no name
    and, because of ``O_EXCL``, cannot get one.
    """
    file = _file(source)
    if file is None or not _by_kernel(file, target, source.size):
        for data in source.chunks():
            offload(target.write, data)


def _file(source: Source) -> t.Any:
    stream: t.Any = source.stream
    stream = getattr(stream, "_file", stream)  # of a SpooledTemporaryFile
    stream = getattr(stream, "file", stream)  # of a NamedTemporaryFile
    plain = isinstance(stream, io.FileIO | io.BufferedReader | io.BufferedRandom)
    return stream if plain and hasattr(os, "copy_file_range") else None


def _by_kernel(file: t.Any, target: Unnamed, size: int) -> bool:
    try:
        file.flush()
        start = 0
        while start < size:
            step = min(STEP, size - start)
            copied = offload(_step, file.fileno(), target.fd, step, start)
            if not copied:
                break
            start += copied
    except OSError:  # another disk on an old kernel, or not a plain file
        pass
    if start == size:
        return True
    os.lseek(target.fd, 0, os.SEEK_SET)
    os.ftruncate(target.fd, 0)
    return False


def _step(source: int, target: int, count: int, start: int) -> int:
    return os.copy_file_range(source, target, count, start)
