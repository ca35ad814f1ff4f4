"""The WSGI servers that people run Flask on, each with one application."""

from __future__ import annotations

import contextlib
import importlib.util
import socket
import sys
import typing as t

from . import servers
from .servers import _directory
from .servers import _free_ports
from .servers import _process
from .servers import gunicorn
from .servers import NotInstalledError

APP = "tests.support.wsgi_app:app"

#: Werkzeug's server answers one request on each connection unless it speaks HTTP/1.1.
WERKZEUG = """
from werkzeug.serving import WSGIRequestHandler, run_simple
from tests.support.wsgi_app import app
WSGIRequestHandler.protocol_version = "HTTP/1.1"
run_simple("127.0.0.1", {port}, app, threaded=True)
"""
GEVENT = """
from gevent.pywsgi import WSGIServer
from tests.support.wsgi_app import app
WSGIServer(("127.0.0.1", {port}), app).serve_forever()
"""
#: uWSGI starts sys.argv[0] anew when it forks.
UWSGI = """
import sys, pyuwsgi
sys.argv[0] = sys.executable
pyuwsgi.run()
"""

COMMANDS: dict[str, list[str]] = {
    "cheroot": ["-m", "cheroot", "--bind", "127.0.0.1:{port}", APP],
    "gevent": ["-c", GEVENT],
    "uwsgi": [
        *("-c", UWSGI, "--http11-socket", "127.0.0.1:{port}", "--module", APP),
        *("--die-on-term", "--master", "--http-keepalive"),
    ],
    "waitress": ["-m", "waitress", "--listen", "127.0.0.1:{port}", APP],
    "werkzeug": ["-c", WERKZEUG],
}
#: gunicorn's workers that keep a connection, and the one that does not.
GUNICORNS = {
    "gunicorn": "gthread",
    "gunicorn-sync": "sync",
    "gunicorn-gevent": "gevent",
}
NAMES = [*COMMANDS, *GUNICORNS]
#: The package of a server, where it has another name.
PACKAGES = {"uwsgi": "pyuwsgi"}


@contextlib.contextmanager
def wsgi_server(name: str, root: str) -> t.Iterator[tuple[str, int]]:
    """Run a server on :mod:`tests.support.wsgi_app` and yield its address.

    :param root: the folder of the application's store.
    :raises NotInstalledError: if the server is not on this machine.
    """
    package = PACKAGES.get(name, name.partition("-")[0])
    if importlib.util.find_spec(package) is None:
        raise NotInstalledError(f"{name} is not installed (pip install {package})")
    env = {"WSGI_ROOT": root, "PYTHONPATH": str(servers.ROOT)}
    if name in GUNICORNS:
        args = ("-k", GUNICORNS[name], "--keep-alive", "20")
        with gunicorn(APP, *args, env=env) as running:
            host, _, port = running.url.removeprefix("http://").partition(":")
            yield host, int(port)
        return
    (port_number,) = _free_ports(1)
    command = [part.replace("{port}", str(port_number)) for part in COMMANDS[name]]
    with (
        _directory() as folder,
        _process([sys.executable, *command], folder, env=env, grace=5) as running,
    ):
        address = ("127.0.0.1", port_number)
        running.wait_until(lambda: _listens(address), 60)
        yield address


def _listens(address: tuple[str, int]) -> bool:
    with socket.socket() as client:
        return client.connect_ex(address) == 0
