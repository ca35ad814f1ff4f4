"""Something between a store and its server that changes answers."""

from __future__ import annotations

import contextlib
import http.client
import time
import typing as t
import uuid

from werkzeug import Request
from werkzeug import Response

from flask_store.stores.fsspec import FsspecStore

from .protocol_servers import Place
from .servers import serve

HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "date", "server"}

#: Makes another answer of one, or leaves it with ``None``.
Change: t.TypeAlias = t.Callable[[Request, Response], Response | None]

#: What a login page, or a proxy that is restarted, answers in the place of a server.
PAGES = {
    "page": lambda: Response("<html>Sign in</html>", mimetype="text/html"),
    "empty": lambda: Response(b"", mimetype="text/plain"),
    "json": lambda: Response("{}", mimetype="application/json"),
}


#: What the file has that is read through it.
DATA = b"Neither more nor less. " * 9000


class Between:
    """Passes on every request.

    :param port: of the server.
    """

    def __init__(self, port: int) -> None:
        self.port = port
        self.own_port = 0
        #: What happens to the answers.
        self.change: Change | None = None
        #: The methods of the requests, in order.
        self.methods: list[str] = []
        #: Whether the server hears of the requests; else the answers are empty ones.
        self.passes = True

    def __call__(self, environ: t.Any, start_response: t.Any) -> t.Iterable[bytes]:
        request = Request(environ)
        answer = self._forward(request) if self.passes else Response()
        self.methods.append(request.method)
        if self.change is not None:
            answer = self.change(request, answer) or answer
        return answer(environ, start_response)

    def _forward(self, request: Request) -> Response:
        headers = {
            name: value
            for name, value in request.headers.items()
            if name.lower() not in HOP_BY_HOP
        }
        server = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        with contextlib.closing(server):
            path, data = request.environ["REQUEST_URI"], request.get_data()
            server.request(request.method, path, data, headers)
            reply = server.getresponse()
            kept = [
                (name, value)
                for name, value in reply.getheaders()
                if name.lower() not in HOP_BY_HOP
            ]
            answer = Response([reply.read()], reply.status, kept)
            answer.automatically_set_content_length = False
            return answer


@contextlib.contextmanager
def between(place: Place) -> t.Iterator[tuple[Between, Place]]:
    """Something in between, and the place as it offers it."""
    proxy = Between(place.port)
    with serve(proxy) as url:
        proxy.own_port = int(url.rpartition(":")[2])
        yield proxy, place.moved(proxy.own_port)


def trickling(data: bytes, length: int) -> Response:
    """An answer whose bytes come one by one, ten in a second.

    :param length: how many it announces.
    """

    def slowly() -> t.Iterator[bytes]:
        for number in range(len(data)):
            yield data[number : number + 1]
            time.sleep(0.1)

    return Response(slowly(), headers={"Content-Length": str(length)})


def reads(store: FsspecStore) -> list[t.Callable[[], object]]:
    """Every way to read all of 'a.txt'."""
    elsewhere = FsspecStore.from_url(f"memory://{uuid.uuid4()}")
    return [
        lambda: store.read("a.txt"),
        lambda: list(store.stream("a.txt")),
        lambda: store.open("a.txt").read(),
        lambda: elsewhere.move(store.file("a.txt"), "b.txt"),
    ]
