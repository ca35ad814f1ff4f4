"""An upload's bytes into a file, by the cheapest way there is."""

from __future__ import annotations

import io
import os
import typing as t

from ..concurrency.greenlets import offload
from ..uploads.disk import Unnamed
from ..uploads.source import Source

#: How much the kernel copies at a time; other greenlets run in between.
STEP = 64 * 1024**2


def copy_into(source: Source, target: Unnamed) -> None:
    """Write every byte of *source*, which rewinds, into an empty file.

    A file is copied by the kernel: where the filesystem can (Btrfs, XFS) its blocks
    are shared and none is copied. What the form parser keeps on disk has no name,
    and is not allowed to get one, so that it cannot be moved.
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
            start += (done := offload(_step, file.fileno(), target.fd, step, start))
            if not done:
                break
    except OSError:  # another disk on an old kernel, or no file after all
        pass
    if start == size:
        return True
    os.lseek(target.fd, 0, os.SEEK_SET)
    os.ftruncate(target.fd, 0)
    return False


def _step(source: int, target: int, count: int, start: int) -> int:
    return os.copy_file_range(source, target, count, start)
