"""``sftp://``: SSH's file transfer, through whichever library is installed."""

from __future__ import annotations

import importlib.util
import typing as t

if t.TYPE_CHECKING or importlib.util.find_spec("sshfs"):
    from .by_sshfs import SshfsDialect as SFTPDialect
elif importlib.util.find_spec("paramiko"):
    from .by_paramiko import ParamikoDialect as SFTPDialect
else:
    raise ModuleNotFoundError("No module named 'sshfs'", name="sshfs")

__all__ = ["SFTPDialect"]
