"""A TCP relay that makes a server on this machine a distant one.

``python -m benchmarks.relay PORT SECONDS`` prints its own port. It is a process of
its own, so that it takes nothing from the contender's interpreter. Bytes are on their
way for half of the round trip, in each direction and many at once, as on a network; a
connection costs a round trip more before its first byte, as TCP's handshake does. The
network has no bandwidth limit and loses nothing.
"""

from __future__ import annotations

import contextlib
import queue
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

from tests.support.servers import ROOT

BLOCK = 256 * 1024
#: How many blocks may be on their way; more than any contender sends in a round trip.
IN_FLIGHT = 512


class DelayedPipe:
    """One direction of a connection."""

    def __init__(self, source: socket.socket, target: socket.socket) -> None:
        self.source = source
        self.target = target
        self._way: queue.Queue[tuple[float, bytes]] = queue.Queue(IN_FLIGHT)

    def start(self, delay: float, first: float = 0) -> None:
        """Pass bytes on, *delay* seconds after they came and the first later still."""
        for run, args in ((self._receive, (delay, first)), (self._send, ())):
            threading.Thread(target=run, args=args, daemon=True).start()

    def _receive(self, delay: float, first: float) -> None:
        data = b"begin"
        while data:
            try:
                data = self.source.recv(BLOCK)
            except OSError:
                data = b""
            self._way.put((time.monotonic() + delay + first, data))
            first = 0

    def _send(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                due, data = self._way.get()
                if not data:
                    self.target.shutdown(socket.SHUT_WR)
                    return
                if (early := due - time.monotonic()) > 0:
                    time.sleep(early)
                self.target.sendall(data)


def serve(port: int, round_trip: float) -> None:
    """Relay to a port of this machine, for ever."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    print(listener.getsockname()[1], flush=True)
    while True:
        client, _ = listener.accept()
        server = socket.create_connection(("127.0.0.1", port))
        for sock in (client, server):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        DelayedPipe(client, server).start(round_trip / 2, first=round_trip)
        DelayedPipe(server, client).start(round_trip / 2)


@contextlib.contextmanager
def distant(port: int, round_trip: float) -> Iterator[int]:
    """The port of a relay to *port* that takes *round_trip* seconds."""
    command = [sys.executable, "-m", "benchmarks.relay", str(port), str(round_trip)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.kill()


if __name__ == "__main__":
    serve(int(sys.argv[1]), float(sys.argv[2]))
