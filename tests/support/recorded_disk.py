"""A disk that keeps every write to it, so that the power can be cut at each of them.

It is one file of a filesystem of its own (FUSE, by the protocol of ``linux/fuse.h``),
on which a loop device can be put. The server is another process. It appends what
arrives to a file before it answers: the block layer of Linux sends a flush as an fsync
of the file under a loop device. What comes after the last flush may or may not be on
the disk after a cut of the power, in any combination.

``python -m tests.support.recorded_disk FILE SIZE RECORD`` serves it.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import pathlib
import struct
import subprocess
import sys
import typing as t
from collections.abc import Iterator

from tests.conftest import missing
from tests.support.servers import ROOT

#: A record of a write: its place and its length, then its bytes. A flush has no length.
RECORD = struct.Struct("=QI")
#: What a disk writes as a whole at most.
BLOCK = 4096
MAX_WRITE = 1024**2

_IN = struct.Struct("=IIQQIIIHH")
_OUT = struct.Struct("=IiQ")
_ATTR = struct.Struct("=QII6Q10I")
_INIT = struct.Struct("=IIIIHHIIHHI28x")
#: Operations, by their numbers in linux/fuse.h.
FORGET, GETATTR, SETATTR, OPEN, READ, WRITE = 2, 3, 4, 14, 15, 16
RELEASE, FSYNC, FLUSH, INIT, INTERRUPT, BATCH_FORGET = 18, 20, 25, 26, 36, 42
BIG_WRITES, MAX_PAGES = 1 << 5, 1 << 22


class Disk:
    """The server.

    :param size: in bytes.
    :param record: the file that what arrives is appended to.
    """

    def __init__(self, size: int, record: str) -> None:
        self.size = size
        self.data = bytearray(size)
        self.record = os.open(record, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def serve(self, device: int) -> None:
        """Answer until it is unmounted."""
        while True:
            try:
                request = os.read(device, MAX_WRITE + BLOCK)
            except OSError as exc:
                if exc.errno == errno.ENODEV:
                    return
                raise
            _, operation, unique, *_ = _IN.unpack_from(request)
            if operation in (FORGET, BATCH_FORGET, INTERRUPT):
                continue
            answer = self.answer(operation, request[_IN.size :])
            code, body = (-answer, b"") if isinstance(answer, int) else (0, answer)
            os.write(device, _OUT.pack(_OUT.size + len(body), code, unique) + body)

    def answer(self, operation: int, body: bytes) -> bytes | int:
        """The answer, or the number of an error."""
        if operation == INIT:
            flags = BIG_WRITES | MAX_PAGES
            pages = MAX_WRITE // BLOCK
            return _INIT.pack(7, 31, 0, flags, 16, 12, MAX_WRITE, 1, pages, 0, 0)
        if operation in (GETATTR, SETATTR):
            times = (0,) * 6
            size = self.size, self.size // 512
            return _ATTR.pack(
                3600, 0, 0, 1, *size, *times, 0o100600, 1, 0, 0, 0, BLOCK, 0
            )
        if operation == OPEN:
            return struct.pack("=QII", 1, 0, 0)
        if operation == READ:
            _, start, length = struct.unpack_from("=QQI", body)
            return bytes(self.data[start : start + length])
        if operation == WRITE:
            _, start, length = struct.unpack_from("=QQI", body)
            data = body[40 : 40 + length]
            self.data[start : start + length] = data
            os.write(self.record, RECORD.pack(start, length) + data)
            return struct.pack("=II", length, 0)
        if operation == FSYNC:
            os.write(self.record, RECORD.pack(0, 0))
            return b""
        if operation in (RELEASE, FLUSH):
            return b""
        return errno.ENOSYS


class Recorded(t.NamedTuple):
    """A recorded disk.

    :param path: the file that is the disk.
    :param record: what has been written to it.
    """

    path: pathlib.Path
    record: pathlib.Path

    @property
    def end(self) -> int:
        """Where the record ends now."""
        return self.record.stat().st_size


@contextlib.contextmanager
def recorded_disk(folder: pathlib.Path, size: int) -> Iterator[Recorded]:
    """Serve a disk of zeros."""
    disk = Recorded(folder / "recorded", folder / "record")
    disk.path.touch()
    disk.record.touch()
    command = [sys.executable, "-m", __name__, disk.path, str(size), disk.record]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        if not server.stdout.readline():
            missing("FUSE, and root, who may mount it")
        try:
            yield disk
        finally:
            subprocess.run(["umount", disk.path], check=True)
            server.wait(20)


def writes(record: bytes) -> list[tuple[int, int, bytes]]:
    """Every write in a record, as blocks: where its record ends, its place and its
    bytes. A flush has none."""
    found = []
    position = 0
    while position < len(record):
        start, length = RECORD.unpack_from(record, position)
        position += RECORD.size
        data = record[position : position + length]
        position += length
        if not length:
            found.append((position, 0, b""))
        for offset in range(0, length, BLOCK):
            found.append((position, start + offset, data[offset : offset + BLOCK]))
    return found


def main(path: str, size: str, record: str) -> None:
    """Mount it, and serve."""
    device = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={device},rootmode=100600,user_id=0,group_id=0,allow_other"
    libc = ctypes.CDLL(None, use_errno=True)
    mounted = [b"recorded", os.fsencode(path), b"fuse", 0, options.encode()]
    if libc.mount(*mounted):
        sys.exit(os.strerror(ctypes.get_errno()))
    print("mounted", flush=True)
    Disk(int(size), record).serve(device)


if __name__ == "__main__":
    main(*sys.argv[1:])
