"""What the proxy does to answers, on the wire: else the trials would prove nothing."""

from __future__ import annotations

import gzip
import socket
import time
import typing as t

import pytest
from werkzeug.wrappers import Request
from werkzeug.wrappers import Response

from tests.support.fault_proxy import FaultProxy
from tests.support.fault_proxy import FAULTS
from tests.support.fault_proxy import PAGE
from tests.support.servers import serve

WHOLE = bytes(range(200)) * 5
#: A limit for what is silent, in seconds.
SOON = 0.3


def origin(bodies: list[bytes]) -> t.Any:
    """A server with one file, which remembers what it was sent."""

    @Request.application
    def app(request: Request) -> Response:
        bodies.append(request.get_data())
        answer = Response(WHOLE, mimetype="text/plain", headers={"X-Mine": "yes"})
        answer.make_conditional(request, True, len(WHOLE))
        return answer

    return app


@pytest.fixture
def bodies() -> list[bytes]:
    """The bodies of the requests that the server got."""
    return []


@pytest.fixture
def proxy(bodies: list[bytes]) -> t.Iterator[FaultProxy]:
    """A proxy before the server."""
    with serve(origin(bodies)) as url, FaultProxy(url) as proxy:
        yield proxy


class Wire(t.NamedTuple):
    """What arrived.

    :param end: ``"closed"``, ``"reset"`` or, after a while, ``"open"``.
    """

    head: bytes
    body: bytes
    end: str

    def has(self, header: bytes) -> bool:
        """Whether there is such a header line, or the beginning of one."""
        return b"\r\n" + header in self.head


def ask(
    proxy: FaultProxy, method: str = "GET", *headers: str, body: bytes = b""
) -> Wire:
    """Send one request, and read until the end or until nothing comes."""
    lines = [f"{method} /file HTTP/1.1", "Host: x", *headers]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    data, end = b"", "closed"
    with socket.create_connection(("127.0.0.1", proxy.port)) as sock:
        sock.settimeout(SOON)
        try:
            sock.sendall("\r\n".join([*lines, "", ""]).encode() + body)
            while more := sock.recv(65536):
                data += more
        except TimeoutError:
            end = "open"
        except ConnectionError:
            end = "reset"
    head, mark, body = data.partition(b"\r\n\r\n")
    return Wire(head + mark, body, end)


def spoilt(
    proxy: FaultProxy, fault: str, method: str = "GET", *headers: str, body: bytes = b""
) -> Wire:
    """The answer to one request with a fault."""
    with proxy.armed(FAULTS[fault], 0, WHOLE):
        return ask(proxy, method, *headers, body=body)


def test_a_healthy_answer_passes(proxy: FaultProxy) -> None:
    """Status, headers, length and body are the server's; the connection stays open."""
    wire = ask(proxy)
    assert wire.head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert wire.has(b"X-Mine: yes") and wire.has(b"Content-Length: 1000")
    assert (wire.body, wire.end) == (WHOLE, "open")
    assert ask(proxy, "HEAD").has(b"Content-Length: 1000")
    part = ask(proxy, "GET", "Range: bytes=10-19")
    assert part.head.startswith(b"HTTP/1.1 206") and part.body == WHOLE[10:20]


@pytest.mark.parametrize(
    ("fault", "reached", "end"),
    [
        ("reset_before", 0, "reset"),
        ("reset_in_request", 0, "reset"),
        ("stall", 0, "open"),
        ("lost", 1, "reset"),
        ("lost_closed", 1, "closed"),
        ("lost_stall", 1, "open"),
    ],
)
def test_no_answer(
    proxy: FaultProxy, bodies: list[bytes], fault: str, reached: int, end: str
) -> None:
    """The server has been asked or not, and nothing of an answer arrives."""
    wire = spoilt(proxy, fault, "PUT", body=b"12345678")
    assert wire == Wire(b"", b"", end)
    assert bodies == [b"12345678"] * reached
    assert ask(proxy).body == WHOLE  # it was this one only


@pytest.mark.parametrize(
    "fault", [*(name for name in FAULTS if "head_cut" in name), "head_reset"]
)
def test_cut_head(proxy: FaultProxy, fault: str) -> None:
    """A part of the head arrives and no body, whole lines where that is said."""
    whole = ask(proxy).head
    wire = spoilt(proxy, fault)
    assert wire.end == ("reset" if fault == "head_reset" else "closed")
    assert wire.head[:8] == b"HTTP/1.1"[: len(wire.head)] and wire.body == b""
    assert len(wire.head) < len(whole)
    assert wire.head.endswith(b"\r\n") or fault != "head_cut_at_line"


@pytest.mark.parametrize(
    ("fault", "end", "said"),
    [
        ("body_cut", "closed", b"Content-Length: 1000"),
        ("body_reset", "reset", b"Content-Length: 1000"),
        ("body_stalls", "open", b"Content-Length: 1000"),
        ("no_length_cut", "closed", b"Connection: close"),
        ("shorter", "open", b"Content-Length: 500"),
    ],
)
def test_half_a_body(proxy: FaultProxy, fault: str, end: str, said: bytes) -> None:
    """Half of the file arrives, with one length or the other, or with none."""
    wire = spoilt(proxy, fault)
    assert (wire.body, wire.end) == (WHOLE[:500], end)
    assert wire.has(said)


def test_other_framing(proxy: FaultProxy) -> None:
    """The whole body comes without a length, or not at all after HEAD."""
    wire = spoilt(proxy, "no_length")
    assert (wire.body, wire.end) == (WHOLE, "closed")
    assert not wire.has(b"Content-Length")
    chunk = b"3e8\r\n" + WHOLE + b"\r\n"
    assert spoilt(proxy, "no_length_chunked").body == chunk + b"0\r\n\r\n"
    cut = spoilt(proxy, "chunked_cut")
    assert (cut.body, cut.end) == (b"1f4\r\n" + WHOLE[:500] + b"\r\n", "closed")
    head = spoilt(proxy, "no_length_of_head", "HEAD")
    assert head.has(b"X-Mine: yes") and not head.has(b"Content-Length")
    packed = spoilt(proxy, "packed")
    assert packed.has(b"Content-Encoding: gzip")
    assert gzip.decompress(packed.body) == WHOLE


def test_trickling(proxy: FaultProxy) -> None:
    """Byte by byte, from the head on or after it. A reader that comes late finds some
    of them together."""
    for fault, size in {
        "head_trickles": 0,
        "body_trickles": len(ask(proxy).head),
    }.items():
        with (
            proxy.armed(FAULTS[fault]),
            socket.create_connection(("127.0.0.1", proxy.port)) as sock,
        ):
            sock.settimeout(10)
            sock.sendall(b"GET /file HTTP/1.1\r\nHost: x\r\n\r\n")
            assert len(sock.recv(size, socket.MSG_WAITALL)) == size
            assert all(1 <= len(sock.recv(100)) < 50 for _ in range(3))


@pytest.mark.parametrize(
    ("fault", "status", "said", "body"),
    [
        ("range_ignored", b"200", None, WHOLE),
        ("range_moved", b"206", b"bytes 100-199/1000", WHOLE[100:200]),
        ("range_unnamed", b"206", None, WHOLE[100:200]),
        ("range_shorter", b"206", b"bytes 200-249/1000", WHOLE[200:250]),
    ],
)
def test_another_range(
    proxy: FaultProxy, fault: str, status: bytes, said: bytes | None, body: bytes
) -> None:
    """Not what was asked for arrives, whatever the answer calls it."""
    wire = spoilt(proxy, fault, "GET", "Range: bytes=200-299")
    assert wire.head.startswith(b"HTTP/1.1 " + status)
    assert wire.body == body
    assert wire.has(b"Content-Range: " + said if said else b"Content-Range") is bool(
        said
    )


def test_a_range_that_nobody_asked_for(proxy: FaultProxy) -> None:
    """A part comes for the whole, and says so."""
    wire = spoilt(proxy, "range_unasked")
    assert wire.head.startswith(b"HTTP/1.1 206")
    assert wire.has(b"Content-Range: bytes 0-499/1000") and wire.body == WHOLE[:500]


def test_pages(proxy: FaultProxy, bodies: list[bytes]) -> None:
    """Somebody else answers; the server knows of it only where it has acted."""
    for fault, body in {"200_page": PAGE, "200_json": b"{}", "507": b""}.items():
        wire = spoilt(proxy, fault)
        assert wire.head.startswith(f"HTTP/1.1 {fault[:3]}".encode())
        assert wire.body == body
    assert bodies == []
    after = spoilt(proxy, "500_after", "PUT", body=b"done")
    assert after.head.startswith(b"HTTP/1.1 500") and bodies == [b"done"]
    assert spoilt(proxy, "500", "HEAD").body == b""


def test_the_chosen_request(proxy: FaultProxy) -> None:
    """The third request is spoilt, or every one, and all are remembered."""
    for at, statuses in {2: [200, 200, 503, 200], None: [503] * 4}.items():
        with proxy.armed(FAULTS["503"], at) as plan:
            found = [int(ask(proxy).head.split()[1]) for _ in range(4)]
        assert found == statuses
        assert (plan.hits, len(plan.seen)) == (found.count(503), found.count(200))


def test_whoever_waits_is_let_go(proxy: FaultProxy, bodies: list[bytes]) -> None:
    """At the end of a trial a silent answer becomes a reset."""
    with socket.create_connection(("127.0.0.1", proxy.port)) as sock:
        with proxy.armed(FAULTS["lost_stall"]) as plan:
            sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            deadline = time.monotonic() + 10
            while not plan.seen and time.monotonic() < deadline:
                time.sleep(0.01)
        sock.settimeout(10)
        with pytest.raises(ConnectionResetError):
            sock.recv(1)
