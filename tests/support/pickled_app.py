"""Another process that reads a pickle: a worker of a queue, or another server.

``python -m tests.support.pickled_app SETTINGS WHERE < PICKLE`` makes an application
with these settings, a JSON object, and prints what the stored file of the pickle is.

WHERE is ``inside``, the pickle is read in the application's context; ``before``, as by
a worker of Celery; or ``nowhere``, there is no application.
"""

from __future__ import annotations

import json
import pickle
import sys
from contextlib import nullcontext

from flask import Flask

from flask_store import Store


def main(settings: str, where: str) -> None:
    """Print the key, the content and the store of the file, or an error."""
    app = Flask("worker")
    app.config.update(json.loads(settings))
    if where != "nowhere":
        Store(app)
        if "B_STORE_PATH" in app.config:
            Store(app, name="b")
    data = sys.stdin.buffer.read()
    file = pickle.loads(data) if where == "before" else None
    shown = repr(file)
    with app.app_context() if where != "nowhere" else nullcontext():
        try:
            file = pickle.loads(data) if file is None else file
            answer = [str(file), file.read().decode(), file.provider.uri, shown]
        except Exception as exc:
            answer = [type(exc).__name__, str(exc)]
    print(json.dumps(answer))


if __name__ == "__main__":
    main(*sys.argv[1:])
