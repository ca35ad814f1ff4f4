"""How long a WebDAV server may take. httpx knows limits for one read or write only."""

from __future__ import annotations

import time
import typing as t
from collections.abc import Iterable

import httpcore
import httpx

from ..pace import PROGRESS
from ..pace import Waiting


def limit_waiting(client: httpx.Client) -> None:
    """Let the connections of a client give up when a server is too slow.

    The read and write timeouts of the client then hold for every 64 KiB, and for an
    answer that is smaller as a whole. Otherwise a byte every few seconds would keep
    a client busy for ever.
    """
    for transport in {client._transport, *client._mounts.values()}:
        # A transport of the user's own, or of a test, has no pool.
        pool = getattr(transport, "_pool", None)
        if pool is not None:
            pool._network_backend = LimitedBackend(pool._network_backend)


class LimitedBackend(httpcore.NetworkBackend):  # type: ignore[misc]
    """Makes connections that give up.

    :param backend: what makes the connections.
    """

    def __init__(self, backend: httpcore.NetworkBackend) -> None:
        self._backend = backend

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[t.Any] | None = None,
    ) -> LimitedStream:
        return LimitedStream(
            self._backend.connect_tcp(
                host, port, timeout, local_address, socket_options
            )
        )

    def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,
        socket_options: Iterable[t.Any] | None = None,
    ) -> LimitedStream:
        return LimitedStream(
            self._backend.connect_unix_socket(path, timeout, socket_options)
        )

    def sleep(self, seconds: float) -> None:
        self._backend.sleep(seconds)


class LimitedStream(httpcore.NetworkStream):  # type: ignore[misc]
    """A connection on which 64 KiB, or all that there is, come within the limit.

    Only the time that is spent waiting for the server counts. Whoever reads may take
    as long as they like.
    """

    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream
        self._waiting = Waiting()

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        left = None if timeout is None else timeout - self._waiting.waited
        if left is not None and left <= 0:
            raise httpcore.ReadTimeout("the server is too slow")
        start = time.monotonic()
        data: bytes = self._stream.read(max_bytes, left)
        self._waiting.add(time.monotonic() - start, len(data))
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._waiting.begin()  # what is read next answers this
        view = memoryview(buffer)
        for start in range(0, len(view), PROGRESS):
            self._stream.write(view[start : start + PROGRESS], timeout)

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: t.Any,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> LimitedStream:
        return LimitedStream(
            self._stream.start_tls(ssl_context, server_hostname, timeout)
        )

    def get_extra_info(self, info: str) -> t.Any:
        return self._stream.get_extra_info(info)
