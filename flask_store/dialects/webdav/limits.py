"""Time limits for WebDAV servers. Those of httpx are for a single read or write."""

from __future__ import annotations

import time
import typing as t
from collections.abc import Iterable

import httpcore
import httpx

from ..pace import PROGRESS
from ..wire import Waiting


def limit_waiting(client: httpx.Client) -> None:
    """Limit the time that the connections of a client wait for a slow server.

    The read and write timeouts of the client are then for every 64 KiB, or for all of a
    smaller response. Otherwise a server that sends a byte every few seconds could keep
    the client waiting for ever.
    """
    for transport in {client._transport, *client._mounts.values()}:
        # A transport that the user or a test has set may have no pool.
        pool = getattr(transport, "_pool", None)
        if pool is not None:
            pool._network_backend = LimitedBackend(pool._network_backend)


class LimitedBackend(httpcore.NetworkBackend):  # type: ignore[misc]
    """Makes connections that wait only for a limited time.

    :param backend: makes the connections.
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
    """A connection on which every 64 KiB, or the rest, have to come within the limit.

    Only the time that is spent waiting for the server counts, and not the time that the
    reader takes between two reads.
    """

    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream
        self._waiting = Waiting()

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        remaining = None if timeout is None else timeout - self._waiting.waited
        if remaining is not None and remaining <= 0:
            raise httpcore.ReadTimeout("the server is too slow")
        start = time.monotonic()
        data: bytes = self._stream.read(max_bytes, remaining)
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
