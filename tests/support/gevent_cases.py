"""What the tests of gevent run in a process of its own: ``MODE CASE`` and settings.

The mode says when gevent patches; the result is printed as one line of JSON.
"""

# ruff: noqa: E402

import sys

MODE = sys.argv[1] if __name__ == "__main__" else "unpatched"

if MODE == "first":
    from gevent import monkey

    monkey.patch_all()

import errno
import faulthandler
import json
import logging
import os
import threading
import time
import traceback
import typing as t
import urllib.request
from contextlib import closing

from flask import Flask

from flask_store import Store
from flask_store.concurrency.greenlets import offload
from flask_store.concurrency.greenlets import original
from flask_store.concurrency.greenlets import patched
from flask_store.stores.fsspec import FsspecStore

Case: t.TypeAlias = t.Callable[[FsspecStore], t.Any]


def make_app(settings: dict[str, t.Any]) -> Flask:
    """An application with these settings."""
    app = Flask(__name__)
    app.secret_key = "of the tests"
    app.config.update(settings)
    Store(app)
    return app


def patch_late(settings: dict[str, t.Any]) -> None:
    """Patch after the filesystem's library was imported and a store was used."""
    app = make_app(settings)
    app.extensions["store"].Provider().exists("before")
    from gevent import monkey

    monkey.patch_all()


# -- the cases ---------------------------------------------------------------


def every_operation(store: FsspecStore, app: Flask) -> dict[str, bool]:
    """Save, read, serve, delete, list and sign; each by itself."""
    data = os.urandom(300_000)
    f = store.at("a folder").save(data, "photo.jpg")
    again = store.at("a folder").save(data, "photo.jpg")
    with store.create("a folder/made.bin") as out:
        out.write(data)
        out.write(data)
    made, fs = out.file, store.at("a folder").fs
    done = {"save": f != again and made.read() == 2 * data}
    done["read"] = f.read() == data and f.open().read() == data and f.size == len(data)
    done["read"] &= (
        f.read(5) == data[:5] and fs.cat_file(made.filename, 1, 5) == data[1:5]
    )
    with app.test_client() as client:
        reply = client.get(f"/{f.relative_url()}")
        done["serve"] = reply.data == data
        reply.close()
    with app.test_request_context("/"), closing(f.response()) as of_view:
        done["serve"] &= b"".join(of_view.iter_encoded()) == data
    for saved in (f, again, made):  # the list is the storage's
        assert saved.upload is None or saved.upload.wait(30)
    found = {stat.name for stat in store.ls()}
    done["list"] = {str(f), str(again)} <= found and fs.exists(made.filename)
    done["sign"] = all(data == got for got in signed(store, app, str(f)))
    f.delete()
    done["delete"] = not f.exists() and again.exists()
    again.delete()
    fs.rm_file(made.filename)
    return done


def signed(store: FsspecStore, app: Flask, name: str) -> t.Iterator[bytes]:
    """What is behind the application's link, and the storage's if it makes one."""
    with app.test_request_context("/"), app.test_client() as client:
        reply = client.get(store.signed_url(name))
        yield reply.data
        reply.close()
    link = store.storage_link(name)
    if link is not None:
        with urllib.request.urlopen(link, timeout=30) as answer:
            yield answer.read()


def save_and_read(store: FsspecStore) -> bool:
    """One file there and back, for a library that blocks its greenlet's socket."""
    data = os.urandom(300_000)
    f = store.save(data, "photo.jpg")
    return f.read() == data and [found.name for found in store.ls()] == [str(f)]


def crowd(store: FsspecStore) -> dict[str, t.Any]:
    """Many callers at once save 1 MiB each, ask for it and read it back."""
    count = int(os.environ["CROWD"])
    late: list[float] = []
    stop = threading.Event()

    def tick() -> None:
        while not stop.is_set():
            started = time.monotonic()
            time.sleep(0.01)
            late.append(time.monotonic() - started - 0.01)

    good: list[bool] = []

    def use(number: int) -> None:
        data = os.urandom(1024) * 1024
        f = store.save(data, f"{number}.bin")
        good.append(f.exists() and f.read() == data)

    store.save(b"warm", "warm.txt")
    ticker = threading.Thread(target=tick)
    ticker.start()
    started = time.monotonic()
    together(use, count)
    seconds = time.monotonic() - started
    stop.set()
    ticker.join()
    late.sort()
    return {
        "good": good.count(True),
        "seconds": round(seconds, 2),
        "p99_ms": round(late[int(len(late) * 0.99)] * 1000, 1),
        "max_ms": round(late[-1] * 1000, 1),
        "threads": threading.active_count(),
    }


def together(use: t.Callable[[int], None], count: int) -> None:
    """Run *use* in as many threads; patched, in as many greenlets."""
    threads = [threading.Thread(target=use, args=(n,)) for n in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def first_calls(store: FsspecStore) -> dict[str, int]:
    """16 threads make the first call at once."""
    from aiobotocore.session import AioSession

    from flask_store.concurrency import ioloop

    start = threading.Barrier(16) if not patched() else None
    names: list[str] = []
    clients: list[int] = []
    create_client = AioSession._create_client

    async def counted(*args: t.Any, **kwargs: t.Any) -> t.Any:
        clients.append(1)
        return await create_client(*args, **kwargs)

    AioSession._create_client = counted

    def use(number: int) -> None:
        if start:
            start.wait()
        next(iter(store.ls()), None)  # a listing needs the loop, whoever saves
        names.append(store.save(b"x", f"{number}.txt").filename)

    together(use, 16)
    return {
        "names": len(set(names)),
        "loops": len(ioloop._loops),
        "filesystems": len(store.dialect.connection.by_process),
        "clients": len(clients),
    }


def debug_logging(store: FsspecStore) -> dict[str, t.Any]:
    """Both the callers and the loop's thread log at DEBUG, for some seconds."""
    logging.basicConfig(level=logging.DEBUG, stream=open(os.devnull, "w"))
    logger = logging.getLogger("application")
    store.save(b"warm", "warm.txt")
    until = time.monotonic() + float(os.environ["LOGGING_SECONDS"])
    calls: list[float] = []

    def use(number: int) -> None:
        while time.monotonic() < until:
            started = time.monotonic()
            for line in range(10):
                logger.debug("caller %d says %d", number, line)
            assert store.exists("warm.txt")
            calls.append(time.monotonic() - started)

    together(use, 10)
    return {"calls": len(calls), "slowest": round(max(calls), 2)}


def killed(store: FsspecStore) -> dict[str, t.Any]:
    """A killed greenlet and a Timeout end their transfers, and at once."""
    import gevent

    from flask_store.concurrency import ioloop

    def transfers() -> int:
        import asyncio

        return sum(
            "_guarded" in repr(task) for task in asyncio.all_tasks(ioloop.get_loop())
        )

    def left() -> int:
        """What is left of them: the loop's thread ends them when it has its turn."""
        deadline = time.monotonic() + 30
        while transfers() and time.monotonic() < deadline:
            gevent.sleep(0.05)
        return transfers()

    data = bytes(8 * 1024 * 1024)
    doomed = gevent.spawn(store.save, data, "killed.bin")
    deadline = time.monotonic() + 30
    while not transfers() and time.monotonic() < deadline:
        gevent.sleep(0.1)
    gevent.sleep(0.5)
    found = {"during": transfers()}
    started = time.monotonic()
    doomed.kill()
    found["kill_seconds"] = round(time.monotonic() - started, 2)
    found["after_kill"] = left()
    started = time.monotonic()
    try:
        with gevent.Timeout(0.5):
            store.save(data, "late.bin")
    except gevent.Timeout:
        found["timeout_seconds"] = round(time.monotonic() - started, 2)
    found["after_timeout"] = left()
    return found


def others_run(store: FsspecStore, ticks: list[int] | None = None) -> int:
    """How often another greenlet ran during one slow call.

    :param ticks: grows each time.
    """
    import gevent

    store.exists("warm")
    ticks = [] if ticks is None else ticks

    def tick() -> None:
        while True:
            gevent.sleep(0.01)
            ticks.append(1)

    ticker = gevent.spawn(tick)
    store.save(bytes(200_000), "slow.bin")
    ticker.kill()
    return len(ticks)


def slow_disk(store: FsspecStore) -> int:
    """How often another greenlet ran while the disk took its time."""
    fsync, sleep, ticks = os.fsync, original("time", "sleep"), list[int]()

    def slow(number: int) -> None:
        # A disk that held up everybody would be done after a while all the same.
        deadline = time.monotonic() + 10
        while len(ticks) <= 5 and time.monotonic() < deadline:
            sleep(0.01)
        fsync(number)

    os.fsync = slow  # type: ignore[assignment]
    return others_run(store, ticks)


#: Makes a variant when the other end of a pipe is closed.
HELD_MAKER = """
import runpy
open({pipe!r}).read()
runpy.run_path({maker!r}, run_name="__main__")
"""


def variants(store: FsspecStore) -> list[str]:
    """What happens while greenlets wait for two variants, more than are made at a
    time, whose makers are held until something else has happened."""
    import pathlib
    import tempfile

    import gevent
    from PIL import Image

    from flask_store.images import making

    happened: list[str] = []
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        pipe, maker = folder / "pipe", folder / "maker.py"
        os.mkfifo(pipe)
        maker.write_text(HELD_MAKER.format(pipe=str(pipe), maker=str(making.CHILD)))
        making.CHILD = maker
        Image.linear_gradient("L").save(folder / "picture.png")
        f = store.save((folder / "picture.png").read_bytes(), "picture.png")

        def ask(number: int) -> None:
            f.variant(width=number % 2 + 1).read()
            happened.append("made")

        asking = [gevent.spawn(ask, number) for number in range(6)]
        opened = None
        while opened is None:
            gevent.sleep(0.01)
            try:  # there is nobody to write for until a maker reads
                opened = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
            except OSError as exc:
                assert exc.errno == errno.ENXIO
        happened.append("something else")
        os.close(opened)
        # The makers that come later read the pipe too.
        while not all(each.ready() for each in asking):
            gevent.sleep(0.01)
            try:
                os.close(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))
            except OSError as exc:
                assert exc.errno == errno.ENXIO
        gevent.joinall(asking, raise_error=True)
    return happened


def killed_on_disk(store: FsspecStore) -> bool:
    """Whether a killed greenlet had waited for what its thread still did."""
    import gevent

    sleep = original("time", "sleep")
    done: list[int] = []

    def write() -> None:
        sleep(0.5)
        done.append(1)

    doomed = gevent.spawn(offload, write)
    gevent.sleep(0.1)
    doomed.kill()
    return bool(done)


def naive(store: FsspecStore) -> str:
    """s3fs as everybody uses it; the canary."""
    import fsspec

    options = store.storage_options
    options.pop("conditional_writes", None)
    try:
        fsspec.filesystem("s3", **options).exists("bucket/key")
    except BaseException as exc:
        return f"{type(exc).__name__}: {exc}"
    return "works"


def green_stream(store: FsspecStore) -> bool:
    """A stream that only its own greenlet's thread may read."""
    import io

    import gevent

    owner = gevent.get_hub()

    class Green(io.RawIOBase):
        def __init__(self) -> None:
            self.inner = io.BytesIO(b"green" * 1000)

        def readable(self) -> bool:
            return True

        def seekable(self) -> bool:
            return True

        def tell(self) -> int:
            return self.inner.tell()

        def seek(self, offset: int, whence: int = 0) -> int:
            return self.inner.seek(offset, whence)

        def read(self, size: int | None = -1) -> bytes:
            assert gevent.get_hub() is owner
            gevent.sleep(0.001)
            return self.inner.read(size)

    return store.save(t.cast(t.BinaryIO, Green()), "green.txt").size == 5000


def report_when_stuck(seconds: float) -> None:
    """After *seconds*, print where every thread and greenlet stands, and exit.

    The thread is one of the operating system: a hub that is stuck does not stop it.
    """

    def report() -> None:
        original("time", "sleep")(seconds)
        faulthandler.dump_traceback(sys.stderr)
        if "gevent" in sys.modules:
            from gevent.util import format_run_info

            print(*format_run_info(), sep="\n", file=sys.stderr, flush=True)
        os._exit(1)

    original("_thread", "start_new_thread")(report, ())


def main() -> None:
    report_when_stuck(float(os.environ["PATIENCE"]))
    case, settings = sys.argv[2], json.loads(os.environ["SETTINGS"])
    if MODE == "late":
        patch_late(settings)
    app = make_app(settings)
    store = app.extensions["store"].Provider()
    function = globals()[case]
    import fsspec.asyn

    answer: dict[str, t.Any] = {"patched": patched()}
    try:
        needs_app = case == "every_operation"
        answer["found"] = function(store, app) if needs_app else function(store)
    except BaseException:
        answer["error"] = traceback.format_exc()
    answer["fsspec_loop"] = fsspec.asyn.loop[0] is not None
    answer["patched_after"] = patched()
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
