"""The WSGI servers that people run Flask on, each with one application."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import typing as t

from .nginx_and_chromium import nginx
from .nginx_and_chromium import proxied
from .servers import _directory
from .servers import _free_ports
from .servers import _process
from .servers import NotInstalledError
from .servers import ROOT

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

#: The oldest gunicorn that is still met. It imports pkg_resources.
OLD_GUNICORN = ("gunicorn==20.1.0", "setuptools<80")


class Server(t.NamedTuple):
    """A server.

    :param command: the arguments for Python, with ``{port}`` in them.
    :param package: the package that has to be installed.
    :param old: whether it is gunicorn 20.1.
    :param front: what nginx says in front of it, with ``{port}``; without it there is
        no nginx.
    :param accel: where nginx has the files.
    :param resets: whether it may close the connection, on a body that the application
        did not read, before the client has the response. nginx says 502 then.
    :param takes_chunks: whether a body in chunks arrives at the application.
    :param misreads_chunks: whether it takes a body in chunks that the application did
        not read for further requests.
    :param measures_chunks: whether it arrives there together with its length.
    :param buffers: whether the application gets a body only when it has arrived whole.
    """

    command: tuple[str, ...]
    package: str
    old: bool = False
    front: str = ""
    accel: str = ""
    resets: bool = False
    takes_chunks: bool = True
    misreads_chunks: bool = False
    measures_chunks: bool = False
    buffers: bool = False


def _gunicorn(worker: str, old: bool = False, **more: t.Any) -> Server:
    command = ("-m", "gunicorn", "--bind=127.0.0.1:{port}", "--keep-alive=20")
    command += (f"--worker-class={worker}", "--graceful-timeout=3")
    command += ("--threads=4",) if worker == "gthread" else ()
    return Server((*command, APP), "gunicorn", old, resets=True, **more)


def _uwsgi(*options: str, **more: t.Any) -> Server:
    command = ("-c", UWSGI, *options, "--module", APP, "--die-on-term", "--master")
    # A header of the table of requests is longer than its limit for all of them.
    command += ("--buffer-size=16384", "--post-buffering=65536", "--socket-timeout=2")
    # With post-buffering it reads a body whole before it calls the application.
    return Server(command, "pyuwsgi", resets=True, buffers=True, **more)


PASS = proxied("http://127.0.0.1:{port}")
UNBUFFERED = "proxy_buffering off; proxy_request_buffering off; proxy_http_version 1.1;"
UWSGI_PASS = "uwsgi_pass 127.0.0.1:{port};" + "".join(
    f" uwsgi_param {name} ${variable};"
    for name, variable in {
        "QUERY_STRING": "query_string",
        "REQUEST_METHOD": "request_method",
        "CONTENT_TYPE": "content_type",
        "CONTENT_LENGTH": "content_length",
        "REQUEST_URI": "request_uri",
        "PATH_INFO": "document_uri",
        "SERVER_PROTOCOL": "server_protocol",
        "SERVER_NAME": "server_name",
        "SERVER_PORT": "server_port",
        "REMOTE_ADDR": "remote_addr",
    }.items()
)
#: Else a body whose length nginx has measured would seem to be in chunks.
UWSGI_PASS += ' uwsgi_param HTTP_TRANSFER_ENCODING "";'
ACCEL = "/private-uploads/"
#: As docs/serving.rst has it, but for the folder.
LOCATION = """
        location /private-uploads/ {{
            internal;
            alias {root}/;
            add_header X-Content-Type-Options $upstream_http_x_content_type_options;
            add_header Content-Security-Policy $upstream_http_content_security_policy;
        }}
"""

SERVERS = {
    "gunicorn sync": _gunicorn("sync"),
    "gunicorn gthread": _gunicorn("gthread"),
    "gunicorn gevent": _gunicorn("gevent"),
    "gunicorn 20.1 sync": _gunicorn("sync", old=True),
    "gunicorn 20.1 gthread": _gunicorn("gthread", old=True),
    "gunicorn 20.1 gevent": _gunicorn("gevent", old=True),
    "uWSGI http": _uwsgi("--http=127.0.0.1:{port}", takes_chunks=False),
    "uWSGI http11-socket": _uwsgi(
        "--http11-socket=127.0.0.1:{port}",
        takes_chunks=False,
        misreads_chunks=True,
    ),
    "waitress": Server(
        ("-m", "waitress", "--listen=127.0.0.1:{port}", APP),
        "waitress",
        measures_chunks=True,
        buffers=True,
    ),
    "cheroot": Server(("-m", "cheroot", "--bind=127.0.0.1:{port}", APP), "cheroot"),
    "gevent.pywsgi": Server(("-c", GEVENT), "gevent"),
    # It reads the rest of a body only while that comes without a pause of 10 ms.
    "Werkzeug": Server(("-c", WERKZEUG), "werkzeug", resets=True),
    "nginx": _gunicorn("gthread", front=PASS, measures_chunks=True, buffers=True),
    "nginx, unbuffered": _gunicorn("gthread", front=f"{PASS} {UNBUFFERED}"),
    "nginx, X-Accel-Redirect": _gunicorn(
        "gthread", front=PASS, accel=LOCATION, measures_chunks=True, buffers=True
    ),
    "nginx, uwsgi_pass": _uwsgi(
        "--socket=127.0.0.1:{port}", front=UWSGI_PASS, measures_chunks=True
    ),
}


@contextlib.contextmanager
def wsgi_server(name: str, root: str) -> t.Iterator[tuple[str, int]]:
    """Run a server on :mod:`tests.support.wsgi_app` and yield its address.

    :param root: the folder of the application's stores.
    :raises NotInstalledError: if the server is not on this machine.
    """
    server = SERVERS[name]
    if importlib.util.find_spec(server.package) is None:
        package = server.package
        raise NotInstalledError(f"{package} is not installed (pip install {package})")
    path = [str(old_gunicorn())] if server.old else []
    (port,) = _free_ports(1)
    command = [part.replace("{port}", str(port)) for part in server.command]
    with _directory() as folder, contextlib.ExitStack() as stack:
        env = {
            "WSGI_ROOT": root,
            "WSGI_ACCEL": ACCEL if server.accel else "",
            "PYTHONPATH": os.pathsep.join([*path, str(ROOT)]),
            # Where gunicorn's control socket goes: by default, to one of the user's.
            "XDG_RUNTIME_DIR": str(folder),
        }
        running = stack.enter_context(
            _process([sys.executable, *command], folder, env=env, grace=5)
        )
        running.wait_until(lambda: _listens(port), 60)
        if server.front:
            front = server.front.replace("{port}", str(port))
            location = server.accel.format(root=f"{root}/files")
            port = stack.enter_context(nginx_port(front, location))
        yield "127.0.0.1", port


@contextlib.contextmanager
def nginx_port(passing: str, location: str) -> t.Iterator[int]:
    """The port of an nginx that passes requests on."""
    with nginx(f"{passing} client_max_body_size 10m;", location) as url:
        yield int(url.rpartition(":")[2])


@functools.cache
def old_gunicorn() -> pathlib.Path:
    """The folder of gunicorn 20.1 and what it needs, for this process and its time.

    :raises NotInstalledError: if there is no uv that could install it.
    """
    uv = pathlib.Path(sys.prefix, "bin", "uv")
    if not uv.exists():
        raise NotInstalledError("uv is not installed (make .venv/uv)")
    kept = tempfile.TemporaryDirectory(prefix="flask-store-gunicorn-")
    _KEPT.append(kept)
    command = [uv, "pip", "install", "--quiet", "--python", sys.executable]
    subprocess.run([*command, "--target", kept.name, *OLD_GUNICORN], check=True)
    return pathlib.Path(kept.name)


#: Removed with the process.
_KEPT: list[tempfile.TemporaryDirectory[str]] = []


def _listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0
