"""Resumable uploads by processes of their own, which can be stopped and killed.

``python -m tests.support.resuming_worker URL OPTIONS`` takes orders from its standard
input, one JSON value a line, and lets a child do each. What is done goes to the
standard output. :class:`Worker` is the other side of it.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import typing as t

import fsspec
from flask import Flask

from flask_store import direct
from flask_store import Store
from flask_store.dialects.claims import Claim
from flask_store.direct import resumable
from flask_store.exceptions import AlreadyConfirmed
from flask_store.exceptions import StoreError
from flask_store.exceptions import WrongOffset
from flask_store.stores.fsspec import FsspecStore

from .protocol_servers import Place
from .protocol_worker import say
from .protocol_worker import wait_for_parent

#: How long a worker may take for all that it does, in seconds.
PATIENCE = 400
#: How many bytes a stream gives at a time.
BLOCK = 64 * 1024


def make_app(url: str, options: dict[str, t.Any]) -> Flask:
    """An application whose tokens every other one takes that is made here."""
    app = Flask("resuming")
    app.config.update(
        SECRET_KEY="the key",
        STORE_PATH=url,
        STORE_OPTIONS=options,
        STORE_SERVE="proxy",
        STORE_RESUMABLE=True,
    )
    Store(app)
    return app


def provider(app: Flask) -> FsspecStore:
    """The store of such an application."""
    return t.cast("FsspecStore", app.extensions["store"].Provider())


def blocks(data: bytes) -> t.Iterator[bytes]:
    """Some bytes as they arrive."""
    for start in range(0, len(data), BLOCK):
        yield data[start : start + BLOCK]


def append(store: FsspecStore, claim: Claim, offset: int, data: bytes) -> int | str:
    """Append, and say where the file ends then, or what is wrong."""
    try:
        return resumable.append(store, claim, offset, blocks(data)).offset
    except WrongOffset:
        return "wrong offset"
    except StoreError as exc:
        return f"{type(exc).__name__}: {exc}"


def confirm(store: FsspecStore, token: str) -> str:
    """Confirm, and say what came of it."""
    try:
        return str(store.confirm(token).key)
    except AlreadyConfirmed:
        return "confirmed already"
    except StoreError as exc:
        return f"{type(exc).__name__}: {exc}"


class Order(t.TypedDict, total=False):
    """What a child is to do.

    :param append: these letters, from this offset on, by their number.
    :param waits: whether it says that it is ready, and waits for a word.
    :param number: with how many requests to the server it gets the signal.
    """

    token: str
    append: tuple[int, str, int]
    waits: bool
    number: int
    signal: int


class Sends:
    """Counts what this process sends to servers, and gets a signal with one of it."""

    def __init__(self, number: int = 0, signum: int = signal.SIGKILL) -> None:
        self.count = 0
        self._number = number
        self._signum = signum
        for name in ("send", "sendall", "sendmsg"):
            right = getattr(socket.socket, name)
            setattr(socket.socket, name, self._counted(right))

    def _counted(self, right: t.Callable[..., t.Any]) -> t.Callable[..., t.Any]:
        def counted(sock: socket.socket, *args: t.Any) -> t.Any:
            if sock.family in (socket.AF_INET, socket.AF_INET6):
                self.count += 1
                if self.count == self._number:
                    os.kill(os.getpid(), self._signum)
            return right(sock, *args)

        return counted


def obey(app: Flask, order: Order) -> None:
    """What a child does."""
    if order.get("waits"):
        wait_for_parent()
    signum = order.get("signal", signal.SIGKILL)
    sends = Sends(order.get("number", 0), signum)
    with app.app_context():
        store = provider(app)
        said: int | str
        if "append" in order:
            offset, letter, count = order["append"]
            claim = direct.read(store, order["token"])
            said = append(store, claim, offset, letter.encode() * count)
        else:
            said = confirm(store, order["token"])
    say({"said": said, "sends": sends.count})


def main() -> None:
    """Obey orders."""
    url, options = sys.argv[1:]
    app = make_app(url, json.loads(options))
    with app.app_context():
        fsspec.get_filesystem_class(provider(app).dialect.location.protocol)
    for line in sys.stdin:
        child = os.fork()
        if not child:
            obey(app, json.loads(line))
            os._exit(0)
        _, status = os.waitpid(child, os.WUNTRACED)
        if os.WIFSTOPPED(status):
            say("stopped")
            sys.stdin.readline()
            os.kill(child, signal.SIGCONT)
            _, status = os.waitpid(child, 0)
        say({"ended": os.waitstatus_to_exitcode(status)})


class Worker:
    """A process that takes orders."""

    def __init__(self, url: str, place: Place) -> None:
        args = [sys.executable, "-m", "tests.support.resuming_worker", url]
        self._process = subprocess.Popen(
            [*args, json.dumps(place.options)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._heard: list[t.Any] = []
        # Whoever waits for its next line then finds that there is none.
        self._timer = threading.Timer(PATIENCE, self._process.kill)
        self._timer.start()

    def tell(self, order: Order | str) -> None:
        """Give an order, or a word that a child waits for."""
        assert self._process.stdin
        self._process.stdin.write(f"{json.dumps(order)}\n")
        self._process.stdin.flush()

    def hear(self) -> t.Any:
        """The next thing that it says."""
        assert self._process.stdout
        if self._heard:
            return self._heard.pop()
        return json.loads(self._process.stdout.readline())

    def hear_if(self, word: str) -> bool:
        """Whether this is the next thing that it says. If not, it is still to come."""
        said = self.hear()
        if said != word:
            self._heard.append(said)
        return bool(said == word)

    def done(self) -> t.Any:
        """What a child said at its end; ``None`` if it was killed."""
        said = self.hear()
        if said == {"ended": -signal.SIGKILL}:
            return None
        assert self.hear() == {"ended": 0}
        return said

    def close(self) -> None:
        """End it."""
        self._timer.cancel()
        self._process.kill()
        self._process.communicate()


@contextlib.contextmanager
def worker(url: str, place: Place) -> t.Iterator[Worker]:
    """A process that takes orders."""
    running = Worker(url, place)
    try:
        yield running
    finally:
        running.close()


if __name__ == "__main__":
    main()
