"""A client that costs next to nothing: prepared uploads over a plain socket."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import os
import pathlib
import socket
import threading
import time
import typing as t

BOUNDARY = "benchmark-8f14e45fceea167a"
TAIL = f"\r\n--{BOUNDARY}--\r\n".encode()
#: What is at most this large is sent from memory, with its head, in one call.
IN_MEMORY = 4 * 1024**2

#: No two uploads have one name, since not everybody keeps both.
_numbers = itertools.count()


@dataclasses.dataclass(frozen=True)
class Payload:
    """A file of random bytes, to be uploaded again and again."""

    path: pathlib.Path
    size: int
    sha256: str
    data: bytes | None

    @classmethod
    def make(cls, folder: pathlib.Path, size: int) -> t.Self:
        """Write *size* random bytes, which no layer can make smaller."""
        path = folder / f"payload-{size}"
        digest = hashlib.sha256()
        with path.open("wb") as file:
            for start in range(0, size, IN_MEMORY):
                data = os.urandom(min(IN_MEMORY, size - start))
                digest.update(data)
                file.write(data)
        kept = path.read_bytes() if size <= IN_MEMORY else None
        return cls(path, size, digest.hexdigest(), kept)


class Client:
    """One connection to a server, kept open from upload to upload."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._socket: socket.socket | None = None

    def __enter__(self) -> t.Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Hang up; the next upload connects again."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def post(self, payload: Payload) -> str:
        """Upload in the field ``afile`` and return the text of the answer.

        :raises RuntimeError: if the answer is not 200.
        """
        if self._socket is None:
            self._socket = socket.create_connection(("127.0.0.1", self.port), 120)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        head = self._head(payload)
        if payload.data is not None:
            self._socket.sendall(head + payload.data + TAIL)
        else:
            self._socket.sendall(head)
            with payload.path.open("rb") as file:
                self._socket.sendfile(file)
            self._socket.sendall(TAIL)
        return self._answer(self._socket)

    def _head(self, payload: Payload) -> bytes:
        name = f"upload-{next(_numbers):09}.bin"
        part = (
            f"--{BOUNDARY}\r\n"
            f'Content-Disposition: form-data; name="afile"; filename="{name}"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n"
        )
        length = len(part) + payload.size + len(TAIL)
        return (
            f"POST /upload HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\n"
            f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n"
            f"Content-Length: {length}\r\n\r\n{part}"
        ).encode()

    def _answer(self, sock: socket.socket) -> str:
        with sock.makefile("rb") as reply:
            status = reply.readline().split()
            headers = {}
            while line := reply.readline().strip():
                name, _, value = line.partition(b":")
                headers[name.lower()] = value.strip().lower()
            text = reply.read(int(headers.get(b"content-length", 0))).decode()
        if headers.get(b"connection") == b"close":
            self.close()
        if status[1:2] != [b"200"]:
            raise RuntimeError(f"{b' '.join(status).decode()}: {text[:500]}")
        return text


class Burst(t.NamedTuple):
    """What many clients at once have got: seconds for all, and for each upload."""

    elapsed: float
    latencies: list[float]
    answers: list[str]


def burst(port: int, payload: Payload, clients: int, each: int) -> Burst:
    """Upload from *clients* connections at once, *each* times from each.

    :raises RuntimeError: if an upload fails.
    """
    done: list[tuple[float, str]] = []
    failed: list[Exception] = []
    ready = threading.Barrier(clients + 1)

    def run() -> None:
        with Client(port) as client:
            ready.wait()
            try:
                for _ in range(each):
                    begun = time.perf_counter()
                    answer = client.post(payload)
                    done.append((time.perf_counter() - begun, answer))
            except Exception as exc:
                failed.append(exc)

    threads = [threading.Thread(target=run, daemon=True) for _ in range(clients)]
    for thread in threads:
        thread.start()
    ready.wait()
    begun = time.perf_counter()
    for thread in threads:
        thread.join()
    if failed:
        raise RuntimeError(f"{len(failed)} clients failed") from failed[0]
    elapsed = time.perf_counter() - begun
    return Burst(elapsed, [taken for taken, _ in done], [text for _, text in done])
