"""Real SFTP servers, for the user that runs the tests, by a key of its own.

``python -m tests.support.sftp_server PORT HOST_KEY CLIENT_KEY`` is asyncssh's.
"""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import importlib.util
import os
import pathlib
import subprocess
import sys
import textwrap
import typing as t

from .protocol_servers import _program_of_system
from .protocol_servers import listens
from .protocol_servers import Place
from .servers import _directory
from .servers import _free_ports
from .servers import _process
from .servers import IN_CI
from .servers import NotInstalledError
from .servers import ROOT


@contextlib.contextmanager
def ssh_server() -> t.Iterator[Place]:
    """OpenSSH's server, and where that is missing asyncssh's."""
    try:
        _program_of_system("sshd", "openssh-server")
        server = sshd
    except NotInstalledError:
        if IN_CI or importlib.util.find_spec("asyncssh") is None:
            raise
        server = asyncssh_server
    with server() as place:
        yield place


@contextlib.contextmanager
def sshd() -> t.Iterator[Place]:
    """OpenSSH's server."""
    program = _program_of_system("sshd", "openssh-server")
    keygen = _program_of_system("ssh-keygen", "openssh-client")
    if os.geteuid() == 0:
        os.makedirs("/run/sshd", exist_ok=True)  # sshd insists on it as root
    (port,) = _free_ports(1)
    with _directory() as folder:
        for name in ("host", "client"):
            command = [keygen, "-q", "-t", "ed25519", "-N", "", "-f", folder / name]
            subprocess.run(command, check=True)
        config = folder / "sshd_config"
        config.write_text(
            textwrap.dedent(
                f"""\
                Port {port}
                ListenAddress 127.0.0.1
                HostKey {folder / "host"}
                AuthorizedKeysFile {folder / "client.pub"}
                PidFile {folder / "pid"}
                StrictModes no
                UsePAM no
                PermitRootLogin yes
                PasswordAuthentication no
                MaxStartups 200:30:400
                MaxSessions 200
                Subsystem sftp internal-sftp
                """
            )
        )
        args = [program, "-D", "-e", "-f", config]
        with _process(args, folder, grace=2) as running:
            running.wait_until(lambda: listens(port), 30)
            yield _place(port, folder)


@contextlib.contextmanager
def asyncssh_server() -> t.Iterator[Place]:
    """asyncssh's server. It does one thing at a time, so that its rename, which looks
    and then acts, is exclusive too."""
    import asyncssh

    (port,) = _free_ports(1)
    with _directory() as folder:
        for name in ("host", "client"):
            key = asyncssh.generate_private_key("ssh-ed25519")
            key.write_private_key(folder / name)
            key.write_public_key(folder / f"{name}.pub")
        args = [sys.executable, "-m", "tests.support.sftp_server", str(port)]
        args += [folder / "host", folder / "client.pub"]
        env = {"PYTHONPATH": str(ROOT)}
        with _process(args, folder, env=env, grace=0) as running:
            running.wait_until(lambda: listens(port), 30)
            yield _place(port, folder)


def _place(port: int, folder: pathlib.Path) -> Place:
    root = folder / "root"
    root.mkdir()
    _, key, *_ = (folder / "host.pub").read_text().split()
    known_hosts = folder / "known_hosts"
    known_hosts.write_text(
        f"[127.0.0.1]:* ssh-ed25519 {key}\n[127.0.0.1]:{port} ssh-ed25519 {key}\n"
    )
    options = {"known_hosts": str(known_hosts), "client_keys": str(folder / "client")}
    url = f"sftp://{getpass.getuser()}@127.0.0.1:{port}{root}"
    return Place(url, port, options, root)


async def serve(port: int, host_key: str, client_key: str) -> None:
    """Run asyncssh's server until the end."""
    import asyncssh

    # Many clients log in at once, on a busy machine.
    server = await asyncssh.listen(
        "127.0.0.1",
        port,
        backlog=128,
        login_timeout=60,
        server_host_keys=[host_key],
        authorized_client_keys=client_key,
        sftp_factory=True,
    )
    await server.wait_closed()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), *sys.argv[2:]))
