"""Uploads that stall take no more than twice as much memory as with Flask alone."""

from __future__ import annotations

import contextlib
import pathlib
import socket
import time
import typing as t
from urllib.parse import urlsplit

import requests

from tests.conftest import missing
from tests.support.memory_peak import resident
from tests.support.servers import gunicorn

COUNT = 200
HEAD = (
    b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 50000000\r\n"
    b"Content-Type: multipart/form-data; boundary=frontier\r\n\r\n--frontier\r\n"
    b'Content-Disposition: form-data; name="afile"; filename="a.bin"\r\n\r\n'
)


def unread(port: int) -> int:
    """How many bytes the kernel keeps for a server that it has not read yet."""
    lines = pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]
    fields = [line.split() for line in lines]
    return sum(
        int(queues.split(":")[1], 16)
        for _, local, _, state, queues, *_ in fields
        if local.endswith(f":{port:04X}") and state == "01"  # ESTABLISHED
    )


def growth(sent: int, env: dict[str, str]) -> int:
    """By how many bytes a server grows while uploads wait for more than was sent."""
    with contextlib.ExitStack() as stack:
        args = ("-k", "gevent", "--workers=1")
        running = stack.enter_context(
            gunicorn("tests.support.stalled_app:app", *args, env=env)
        )
        parent = running.process.pid
        children = pathlib.Path(f"/proc/{parent}/task/{parent}/children").read_text()
        worker = int(children.split()[-1])
        small = {"afile": ("a.bin", b"1")}
        assert requests.post(running.url, files=small, timeout=10).text == "a.bin"
        before = resident("VmRSS", worker)
        port = t.cast(int, urlsplit(running.url).port)
        data = HEAD + bytes(sent)
        for _ in range(COUNT):
            client = socket.create_connection(("127.0.0.1", port), timeout=30)
            stack.enter_context(client).sendall(data)
        # The server answers this one when it has gone through the others' bytes.
        deadline = time.monotonic() + 30
        while unread(port):
            assert time.monotonic() < deadline
            requests.put(running.url, timeout=30)
        requests.put(running.url, timeout=30)
        return resident("VmRSS", worker) - before


def test_memory_of_stalled_uploads(
    tmp_path: pathlib.Path, figures: t.Callable[[str], None]
) -> None:
    """After so much that larger pieces are asked for."""
    sent = 3_000_000
    if not pathlib.Path("/proc/net/tcp").exists():
        missing("a kernel that shows what a server has not read (Linux)")
    theirs = growth(sent, {})
    ours = growth(sent, {"STALLED_ROOT": str(tmp_path)})
    figures(
        f"{COUNT} uploads that stall after {sent} bytes: {ours // COUNT // 1024} KiB"
        f" each, {ours / theirs:.2f} times Flask's own"
    )
    assert ours <= 2 * theirs
