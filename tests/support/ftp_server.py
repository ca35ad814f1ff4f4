"""An FTP server in this process, which answers as other servers do."""

from __future__ import annotations

import contextlib
import pathlib
import threading
import typing as t
import warnings

with warnings.catch_warnings():
    # Its modules are those of Python 3.11, where they are deprecated.
    warnings.simplefilter("ignore", DeprecationWarning)
    from pyftpdlib.authorizers import DummyAuthorizer as DummyAuthorizer
    from pyftpdlib.filesystems import AbstractedFS as AbstractedFS
    from pyftpdlib.handlers import FTPHandler
    from pyftpdlib.servers import ThreadedFTPServer


@contextlib.contextmanager
def serving(folder: pathlib.Path, **members: t.Any) -> t.Iterator[str]:
    """The URL of a server.

    :param members: what its handler has in place of pyftpdlib's.
    """
    authorizer = DummyAuthorizer()
    authorizer.add_user("me", "secret", str(folder), perm="elradfmwMT")
    handler = type("Handler", (FTPHandler,), {"authorizer": authorizer, **members})
    server = ThreadedFTPServer(("127.0.0.1", 0), handler)
    # The thread of each connection looks this often whether the server is to stop.
    server.poll_timeout = 0.05
    over = threading.Event()

    def serve() -> None:
        while not over.is_set():
            server.serve_forever(timeout=0.05, blocking=False)
        # By the thread that waits on these descriptors, and by no other.
        server.close_all()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"ftp://me:secret@127.0.0.1:{server.address[1]}"
    finally:
        over.set()
        thread.join(10)


def without(*commands: str) -> dict[str, t.Any]:
    """The commands of a server that does not know some of them."""
    known = FTPHandler.proto_cmds
    return {name: known[name] for name in known if name not in commands}
