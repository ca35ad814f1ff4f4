"""What an application does with a file that still waits for its upload.

``python -m tests.support.spool_actions``, with SETTINGS in the environment, does in a
process of its own what it reads, and answers with one JSON value a line.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import typing as t

from flask import Flask

from flask_store import Store
from flask_store.exceptions import FileExists
from flask_store.exceptions import FileNotFound
from flask_store.exceptions import NotConfiguredError
from flask_store.stores.fsspec import FsspecStore

NEW = b"NEW" * 1000

#: What is under the name afterwards: "old", "new" or nothing.
ACTIONS = {
    "save in background": "old",
    "put": "new",
    "copy onto": "new",
    "move onto": "new",
    "move away": None,
    "delete": None,
    "overwrite": "new",
    "delete and put": "new",
    "put 'error'": "old",
}


def opened(settings: dict[str, t.Any]) -> FsspecStore:
    """A store by its settings."""
    app = Flask(__name__)
    app.config.update(settings)
    with app.app_context():
        return t.cast(FsspecStore, Store(app).Provider())


def act(store: FsspecStore, action: str, key: str) -> str | None:
    """Do it to a file that waits, and return the name of another file that has come of
    it with the old bytes."""
    other = f"other-{key}"
    if action in ("copy onto", "move onto"):
        store.put(other, NEW, "overwrite")
    if action == "save in background":
        return str(store.save(store.read(key), key))
    if action == "put":
        store.put(key, NEW, "overwrite")
    elif action == "copy onto":
        store.copy(other, key, "overwrite")
    elif action == "move onto":
        store.move(other, key, "overwrite")
        assert not store.exists(other)
    elif action == "move away":
        return str(store.move(key, other, "overwrite"))
    elif action == "delete":
        store.delete(key)
    elif action == "overwrite":
        store.save(NEW, key, "overwrite")
    elif action == "delete and put":
        store.delete(key)
        store.put(key, NEW, "overwrite")
    elif action == "put 'error'":
        try:
            store.put(key, NEW)
        except (FileExists, NotConfiguredError):
            return None
        raise AssertionError("a name that is taken was given away")
    return None


def seen(store: FsspecStore, key: str) -> str | None:
    """What a reader finds under a name."""
    try:
        data = store.read(key)
    except FileNotFound:
        return None
    return "new" if data == NEW else "old"


def killed(method: t.Callable[..., object] | None = None) -> t.Callable[..., None]:
    """What kills this process, after it has called *method*."""

    def kill(*args: t.Any) -> None:
        if method is not None:
            method(*args)
        os.kill(os.getpid(), signal.SIGKILL)

    return kill


def die(store: FsspecStore, action: str, key: str) -> None:
    """Begin to replace or to delete a file, and die before the spool knows of it."""
    dialect: t.Any = store.dialect
    if action == "killed in a delete":
        dialect.rm_file = killed(dialect.rm_file)
        store.delete(key)
        return
    stored = action == "killed in a put"
    dialect.put_file = killed(dialect.put_file if stored else None)
    store.put(key, NEW, "overwrite")


def main() -> None:
    """Do what the standard input says, until it ends."""
    store = opened(json.loads(os.environ["SETTINGS"]))
    for line in sys.stdin:
        action, key = json.loads(line)
        if action.startswith("killed"):
            die(store, action, key)
        other = act(store, action, key)
        sys.stdout.write(json.dumps([seen(store, key), other]) + "\n")
        sys.stdout.flush()
        if store.background is not None and action == "save in background":
            upload = store.upload(t.cast(str, other))
            assert upload is None or upload.wait(30)


if __name__ == "__main__":
    main()
