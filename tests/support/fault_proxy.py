"""An HTTP proxy that spoils chosen answers, and the table of what it can do to them.

It stands between a store and its real server. A :class:`Fault` says what happens to
one request; :meth:`FaultProxy.armed` says to which ones. Bodies are held in memory, so
that they can be cut, packed or replaced.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gzip
import re
import socket
import struct
import threading
import time
import typing as t
from collections.abc import Callable
from collections.abc import Iterator

from .proxy import _Closed
from .proxy import _Head
from .proxy import _Wire
from .proxy import Proxy

PAGE = b"<!doctype html><html><title>Sign in</title><body>Who are you?</body></html>"

#: Seconds between the bytes of an answer that trickles: shorter than any limit for a
#: single wait.
PACE = 0.05

#: What concerns one connection only, or is written anew.
HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length"}

Framing: t.TypeAlias = t.Literal["length", "chunked", "close", "none"]
End: t.TypeAlias = t.Literal["keep", "close", "reset", "stall"]


class Request(t.NamedTuple):
    """What the client asks.

    :param span: the first byte and the last one, if it asks for a range.
    """

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    span: tuple[int, int | None] | None


@dataclasses.dataclass(frozen=True)
class Answer:
    """What the client gets.

    :param declared: the Content-Length of an answer to HEAD, which has no body.
    :param framing: how the client learns where the body ends.
    :param cut: how many bytes of the body arrive.
    :param head_cut: which part of the head arrives, from 0 to 1, and then no body.
    :param whole_lines: whether the head is cut at the end of a line.
    :param end: what becomes of the connection afterwards.
    :param trickles: from where on each byte takes its time.
    """

    status: int
    headers: list[tuple[str, str]]
    body: bytes = b""
    declared: str | None = None
    framing: Framing = "length"
    cut: int | None = None
    head_cut: float | None = None
    whole_lines: bool = False
    end: End = "keep"
    trickles: t.Literal["head", "body"] | None = None

    def but(self, **changes: t.Any) -> Answer:
        """The same with something else."""
        return dataclasses.replace(self, **changes)

    def header(self, name: str, value: str | None) -> Answer:
        """The same with this header, or without it."""
        headers = [pair for pair in self.headers if pair[0].lower() != name.lower()]
        if value is not None:
            headers.append((name, value))
        return self.but(headers=headers)

    def head(self, method: str) -> bytes:
        """The status line and the headers."""
        lines = [f"HTTP/1.1 {self.status} {REASONS.get(self.status, 'Other')}"]
        lines += [f"{name}: {value}" for name, value in self.headers]
        if self.status not in (204, 304):
            if self.framing == "chunked":
                lines.append("Transfer-Encoding: chunked")
            elif self.framing == "close":
                lines.append("Connection: close")
            elif self.framing == "length" and method != "HEAD":
                lines.append(f"Content-Length: {len(self.body)}")
            elif self.framing == "length" and self.declared is not None:
                lines.append(f"Content-Length: {self.declared}")
        return "\r\n".join([*lines, "", ""]).encode("latin-1")

    def content(self, method: str) -> bytes:
        """The body as it goes over the wire, as far as it goes."""
        if method == "HEAD" or self.status in (204, 304):
            return b""
        body = self.body[: self.cut]
        if self.framing == "chunked":
            chunks = b"%x\r\n%s\r\n" % (len(body), body) if body else b""
            return chunks if self.cut is not None else chunks + b"0\r\n\r\n"
        return body


REASONS = {200: "OK", 206: "Partial Content", 404: "Not Found"}


class Seen(t.NamedTuple):
    """What a request and its healthy answer are like, which tells which faults mean
    anything to them."""

    method: str
    path: str
    ranged: bool
    sent: int
    status: int
    received: int


Change: t.TypeAlias = Callable[[Request, Answer, bytes], Answer]
Suits: t.TypeAlias = Callable[[Seen], bool]


class Fault(t.NamedTuple):
    """What happens to a request.

    :param change: makes the client's answer from the request, the server's answer and
        the bytes of the whole file that the test is about.
    :param reaches: how much of the request the server gets: ``"all"``, or ``"none"``
        of it (then there is no answer of the server's), or ``"none"`` because the
        connection breaks in its ``"half"``.
    :param silent: whether the client is left waiting, which takes its time.
    :param suits: for which requests it means anything.
    """

    change: Change
    reaches: t.Literal["all", "half", "none"] = "all"
    silent: bool = False
    suits: Suits = lambda seen: True


def _always(answer: Answer) -> Change:
    return lambda request, healthy, whole: answer


def _but(**changes: t.Any) -> Change:
    return lambda request, healthy, whole: healthy.but(**changes)


def _page(status: int, body: bytes = PAGE, kind: str = "text/html") -> Fault:
    """An answer that somebody in front of the server gives."""
    headers = [("Content-Type", kind)]
    return Fault(
        _always(Answer(status, headers, body, declared=str(len(body)))), "none"
    )


def _half(**changes: t.Any) -> Change:
    def change(request: Request, healthy: Answer, whole: bytes) -> Answer:
        return healthy.but(cut=len(healthy.body) // 2, **changes)

    return change


def _shorter(request: Request, healthy: Answer, whole: bytes) -> Answer:
    return healthy.but(body=healthy.body[: len(healthy.body) // 2])


def _packed(request: Request, healthy: Answer, whole: bytes) -> Answer:
    packed = healthy.header("Content-Encoding", "gzip")
    return packed.but(body=gzip.compress(healthy.body))


def _range(start: int, stop: int, whole: bytes) -> tuple[str, bytes]:
    return f"bytes {start}-{stop - 1}/{len(whole)}", whole[start:stop]


def _asked(request: Request, whole: bytes) -> tuple[int, int]:
    assert request.span is not None
    start, last = request.span
    return start, min(len(whole), len(whole) if last is None else last + 1)


def _range_ignored(request: Request, healthy: Answer, whole: bytes) -> Answer:
    return healthy.but(status=200, body=whole).header("Content-Range", None)


def _range_moved(request: Request, healthy: Answer, whole: bytes) -> Answer:
    start, stop = _asked(request, whole)
    by = -min(start, 100) or 100
    said, body = _range(start + by, min(stop + by, len(whole)), whole)
    return healthy.but(body=body).header("Content-Range", said)


def _range_unnamed(request: Request, healthy: Answer, whole: bytes) -> Answer:
    # Nobody can tell any more that these are the bytes of another range.
    moved = _range_moved(request, healthy, whole)
    return moved.header("Content-Range", None)


def _range_shorter(request: Request, healthy: Answer, whole: bytes) -> Answer:
    start, stop = _asked(request, whole)
    said, body = _range(start, start + (stop - start + 1) // 2, whole)
    return healthy.but(body=body).header("Content-Range", said)


def _range_unasked(request: Request, healthy: Answer, whole: bytes) -> Answer:
    said, body = _range(0, len(healthy.body) // 2, healthy.body)
    return healthy.but(status=206, body=body).header("Content-Range", said)


def _has_body(seen: Seen) -> bool:
    return seen.received > 1


def _is_sent_body(seen: Seen) -> bool:
    return seen.sent > 1


def _is_head(seen: Seen) -> bool:
    return seen.method == "HEAD"


def _is_range(seen: Seen) -> bool:
    return seen.ranged and seen.status == 206 and seen.received > 1


def _is_file(seen: Seen) -> bool:
    return seen.method == "GET" and seen.status == 200 and seen.received > 1


def _is_content(seen: Seen) -> bool:
    return _is_file(seen) or _is_range(seen)


NOTHING = Answer(500, [], framing="close", head_cut=0)

FAULTS: dict[str, Fault] = {
    # The connection
    "reset_before": Fault(_always(NOTHING.but(end="reset")), "none"),
    "reset_in_request": Fault(
        _always(NOTHING.but(end="reset")), "half", suits=_is_sent_body
    ),
    "stall": Fault(_always(NOTHING.but(end="stall")), "none", silent=True),
    "lost": Fault(_but(head_cut=0, end="reset")),
    "lost_closed": Fault(_but(head_cut=0, end="close")),
    "lost_stall": Fault(_but(head_cut=0, end="stall"), silent=True),
    # The head
    "head_cut_in_status": Fault(_but(head_cut=0.01, end="close")),
    "head_cut_in_middle": Fault(_but(head_cut=0.5, end="close")),
    "head_cut_at_line": Fault(_but(head_cut=0.6, whole_lines=True, end="close")),
    "head_cut_late": Fault(_but(head_cut=0.8, end="close")),
    "head_cut_before_end": Fault(_but(head_cut=0.999, end="close")),
    "head_reset": Fault(_but(head_cut=0.5, end="reset")),
    "head_stalls": Fault(_but(head_cut=0.5, end="stall"), silent=True),
    "head_trickles": Fault(_but(trickles="head"), silent=True),
    # The body
    "body_cut": Fault(_half(end="close"), suits=_has_body),
    "body_reset": Fault(_half(end="reset"), suits=_has_body),
    "body_stalls": Fault(_half(end="stall"), silent=True, suits=_has_body),
    "body_trickles": Fault(_but(trickles="body"), silent=True, suits=_has_body),
    "no_length": Fault(_but(framing="close", end="close")),
    "no_length_cut": Fault(_half(framing="close", end="close"), suits=_has_body),
    "no_length_chunked": Fault(_but(framing="chunked")),
    "chunked_cut": Fault(_half(framing="chunked", end="close"), suits=_has_body),
    "no_length_of_head": Fault(_but(framing="none"), suits=_is_head),
    "shorter": Fault(_shorter, suits=_has_body),
    "packed": Fault(_packed, suits=_has_body),
    # The range
    "range_ignored": Fault(_range_ignored, suits=_is_range),
    "range_moved": Fault(_range_moved, suits=_is_range),
    "range_unnamed": Fault(_range_unnamed, suits=_is_range),
    "range_shorter": Fault(_range_shorter, suits=_is_range),
    "range_unasked": Fault(_range_unasked, suits=_is_file),
    # Another answer
    "200_page": _page(200),
    "200_empty": _page(200, b"", "text/plain"),
    "200_json": _page(200, b"{}", "application/json"),
    "401": _page(401),
    "403": _page(403),
    "404": _page(404),
    "429": _page(429),
    "500": _page(500),
    "503": _page(503),
    "507": _page(507, b"", "text/plain"),
    "500_after": Fault(
        _always(Answer(500, [("Content-Type", "text/html")], PAGE, str(len(PAGE))))
    ),
}

#: The pages of a 404: somebody in front of the server says that there is nothing.
NOT_FOUND = "404"


class Armed:
    """What the proxy does, and to which requests.

    :param at: the number of the request, from 0, or ``None`` for every one.
    :param whole: the content of the file that the test is about.
    :param others: that of other files, by the last parts of their names.
    """

    def __init__(
        self,
        fault: Fault | None,
        at: int | None,
        whole: bytes,
        others: t.Mapping[str, bytes],
    ) -> None:
        self.fault = fault
        self.at = at
        self._whole = whole
        self._others = others
        #: Every request in order, with what the server answered.
        self.seen: list[Seen] = []
        #: How many were spoilt.
        self.hits = 0
        self.over = threading.Event()
        self._count = 0
        self._lock = threading.Lock()

    def whole(self, path: str) -> bytes:
        """The content of the file that a request is about."""
        name = re.split("/|%2F", path.partition("?")[0])[-1]
        return self._others.get(name, self._whole)

    def next(self) -> Fault | None:
        """What is to happen to the request that comes now."""
        with self._lock:
            number, self._count = self._count, self._count + 1
            if self.fault is None or self.at not in (None, number):
                return None
            self.hits += 1
            return self.fault


class FaultProxy(Proxy):
    """A :class:`Proxy` that spoils what it is told to, and else passes all on."""

    def __init__(self, upstream: str) -> None:
        super().__init__(upstream)
        self._plan = Armed(None, None, b"", {})

    @contextlib.contextmanager
    def armed(
        self,
        fault: Fault | None,
        at: int | None = None,
        whole: bytes = b"",
        others: t.Mapping[str, bytes] = {},
    ) -> Iterator[Armed]:
        """Spoil requests within the block. Whoever is left waiting at its end gets a
        reset."""
        plan, before = Armed(fault, at, whole, others), self._plan
        self._plan = plan
        try:
            yield plan
        finally:
            self._plan = before
            plan.over.set()

    def __exit__(self, *exc_info: object) -> None:
        self._plan.over.set()
        super().__exit__(*exc_info)

    def _connection(self, sock: socket.socket) -> None:
        with sock, self._known(sock):
            client = _Wire(sock)
            while not self._stopping.is_set() and self._one(client):
                pass

    def _one(self, client: _Wire) -> bool:
        head = client.head()
        plan = self._plan
        fault = plan.next()
        if head.has("expect", "100-continue"):
            client.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        request = _request(client, head, fault)
        whole = plan.whole(request.path)
        if fault is not None and fault.reaches != "all":
            answer = fault.change(request, NOTHING, whole)
        else:
            answer = healthy = self._forward(head, request)
            plan.seen.append(_seen(request, healthy))
            if fault is not None and fault.suits(plan.seen[-1]):
                answer = fault.change(request, healthy, whole)
        return self._send(client, request, answer, plan) and not head.has(
            "connection", "close"
        )

    def _forward(self, head: _Head, request: Request) -> Answer:
        """Ask the server, on a connection of its own, which cannot have gone stale."""
        lines = head.raw.decode("latin-1").rstrip("\r\n").split("\r\n")
        kept = [
            line
            for line in lines
            if line.partition(":")[0].lower() not in HOP_BY_HOP | {"expect"}
        ]
        if request.body or request.method in ("PUT", "POST"):
            kept.append(f"Content-Length: {len(request.body)}")
        kept += ["Connection: close", "", ""]
        with socket.create_connection(self.upstream) as sock, self._known(sock):
            server = _Wire(sock)
            with contextlib.suppress(OSError):  # it may answer before it has it all
                server.send("\r\n".join(kept).encode("latin-1") + request.body)
            reply = self._reply_head(server)
            status = int(reply.start[1])
            body = b""
            if request.method != "HEAD" and status not in (204, 304):
                pieces = server.body(reply, until_close=True)
                body = b"".join(data for data, size in pieces if size)
            return Answer(
                status,
                _headers(reply, f":{self.upstream[1]}", f":{self.port}"),
                body,
                declared=reply.headers.get("content-length"),
            )
        raise _Closed

    def _reply_head(self, server: _Wire) -> _Head:
        while (reply := server.head()).start[1].startswith("1"):
            pass
        return reply

    def _send(
        self, client: _Wire, request: Request, answer: Answer, plan: Armed
    ) -> bool:
        """Answer, and tell whether the connection stays open."""
        head, body = answer.head(request.method), answer.content(request.method)
        if answer.head_cut is not None:
            head, body = head[: int(len(head) * answer.head_cut)], b""
            if answer.whole_lines:
                head = head[: head.rfind(b"\r\n") + 2]
        slowly = {"head": head + body, "body": body, None: b""}[answer.trickles]
        client.send((head + body)[: len(head + body) - len(slowly)])
        for byte in slowly:
            if plan.over.wait(PACE):
                raise _Closed
            client.send(bytes([byte]))
        if answer.end == "stall":
            plan.over.wait()
        if answer.end in ("stall", "reset"):
            # What was sent before has to arrive, which a reset can overtake.
            if head and answer.end == "reset":
                time.sleep(0.01)
            client.sock.setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
            )
        return answer.end == "keep" and answer.framing != "close"


def _request(client: _Wire, head: _Head, fault: Fault | None) -> Request:
    pieces = client.body(head, until_close=False)
    if fault is not None and fault.reaches == "half":
        half = int(head.headers.get("content-length", 0)) // 2
        body = b"".join(client.exactly(half))
    else:
        body = b"".join(data for data, size in pieces if size)
    method, path, _ = head.start
    asked = head.headers.get("x-ms-range") or head.headers.get("range", "")
    found = re.fullmatch(r"bytes=(\d+)-(\d*)", asked)
    span = (int(found[1]), int(found[2]) if found[2] else None) if found else None
    return Request(method, path, head.headers, body, span)


def _headers(reply: _Head, there: str, here: str) -> list[tuple[str, str]]:
    """The headers of an answer, with addresses that lead through the proxy."""
    lines = reply.raw.decode("latin-1").rstrip("\r\n").split("\r\n")[1:]
    pairs = [line.partition(":") for line in lines]
    return [
        (name, value.strip().replace(there, here))
        for name, _, value in pairs
        if name.lower() not in HOP_BY_HOP
    ]


def _seen(request: Request, answer: Answer) -> Seen:
    ranged = request.span is not None
    sizes = len(request.body), len(answer.body)
    return Seen(request.method, request.path, ranged, sizes[0], answer.status, sizes[1])
