"""Which class is the dialect of a protocol: this package's own, and other packages'."""

from __future__ import annotations

import functools
import importlib
import re
import typing as t
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata

from ..exceptions import NotConfiguredError

#: The group of entry points by which a package registers its dialects.
GROUP = "flask_store.dialects"

#: A scheme of RFC 3986, section 3.1; protocols are compared in lower case.
PROTOCOL = re.compile(r"[a-z][a-z0-9+.-]*")
#: 'package.module:Class'.
TARGET = re.compile(r"(?P<module>\w+(?:\.\w+)*):(?P<name>\w+)")


@dataclass(frozen=True)
class Registration:
    """A dialect by its name. It is imported when a store asks for it.

    :param protocol: as URLs begin with it.
    :param target: ``"module:Class"``.
    :param install: what pip installs where a library of the dialect is missing.
    :param package: whose entry point this is; ``None`` for a call of :func:`register`.
    """

    protocol: str
    target: str
    install: str | None = None
    package: str | None = None

    def __str__(self) -> str:
        """Who registers what, for messages."""
        by = f"the package {self.package!r}" if self.package else "a call of register()"
        return f"{self.target!r}, which {by} registers for {self.protocol}://,"

    def load(self) -> t.Any:
        """Import what is registered.

        :raises NotConfiguredError: if it cannot be imported.
        """
        try:
            _check(self.protocol, self.target)  # an entry point may be anything
            module, _, name = self.target.partition(":")
            return getattr(importlib.import_module(module), name)
        except ModuleNotFoundError as exc:
            if self.install is None:
                raise self._unusable(exc) from exc
            raise NotConfiguredError(
                f"{self.protocol}:// needs {exc.name}. Install it with:"
                f" pip install '{self.install}'"
            ) from exc
        except Exception as exc:
            raise self._unusable(exc) from exc

    def _unusable(self, exc: Exception) -> NotConfiguredError:
        cure = (
            f"Install what is missing, or another version of {self.package}"
            if self.package
            else "Install what is missing, or correct the call"
        )
        return NotConfiguredError(
            f"{self} cannot be imported ({type(exc).__name__}: {exc}). {cure}."
        )


#: Protocol -> what :func:`register` was told.
_registered: dict[str, Registration] = {}


def register(protocol: str, target: str, install: str | None = None) -> None:
    """Let a class speak a protocol.

    A package that others install has an entry point of the group
    ``flask_store.dialects`` instead. A call is for an application's own dialect, and to
    choose one of several packages.

    :param protocol: what stands before ``://`` in ``STORE_PATH``, such as ``"hdfs"``.
    :param target: ``"module:Class"``, a :class:`Dialect`. It is imported when a store
        needs it.
    :param install: what pip installs if the import finds a library missing, such as
        ``"Flask-Store-HDFS[kerberos]"``.
    :raises ValueError: if the protocol or the target is malformed, or if another class
        is registered for the protocol.
    """
    _check(protocol, target)
    new = Registration(protocol, target, install)
    old = _registered.setdefault(protocol, new)
    if old.target != target:
        raise ValueError(
            f"{protocol}:// is spoken by {old.target!r} already, so that {target!r}"
            " cannot be registered for it. Choose another protocol, such as"
            f" '{protocol}+mine'."
        )


def _check(protocol: str, target: str) -> None:
    if not isinstance(protocol, str) or not PROTOCOL.fullmatch(protocol):
        raise ValueError(
            f"{protocol!r} is no protocol. Write what stands before '://' in a URL, in"
            " lower case, such as 'hdfs'."
        )
    if not isinstance(target, str) or not TARGET.fullmatch(target):
        raise ValueError(
            f"The dialect of {protocol}:// is registered as {target!r}. Write its"
            " module and its class as one string, such as 'package.module:Class'."
        )


def find(protocol: str) -> Registration | None:
    """The registration of a protocol; ``None`` if there is none.

    Entry points are read only for a protocol that :func:`register` does not know.

    :raises NotConfiguredError: if several packages register the protocol.
    """
    registration = _registered.get(protocol)
    if registration is not None:
        return registration
    installed = _entry_points().get(protocol, [])
    if len({entry.target for entry in installed}) > 1:
        packages = " and ".join(f"{one.package!r} ({one.target})" for one in installed)
        raise NotConfiguredError(
            f"Several packages register {protocol}://: {packages}. Uninstall all but"
            f" one, or choose: flask_store.dialects.register('{protocol}',"
            f" '{installed[0].target}')."
        )
    return installed[0] if installed else None


@functools.cache
def _entry_points() -> Mapping[str, list[Registration]]:
    """Protocol -> the entry points of the packages that are installed."""
    by_protocol: dict[str, list[Registration]] = {}
    for entry in metadata.entry_points(group=GROUP):
        package = entry.dist.name if entry.dist else None
        registration = Registration(entry.name.lower(), entry.value, None, package)
        by_protocol.setdefault(registration.protocol, []).append(registration)
    return by_protocol


def _own(target: str, extra: str | None, *protocols: str) -> None:
    """Register a dialect of this package.

    :param extra: the extra that installs its library.
    """
    for protocol in protocols:
        register(protocol, target, extra and f"Flask-Store[{extra}]")


_own("flask_store.dialects.local:LocalDialect", None, "file", "local")
_own("flask_store.dialects.memory:MemoryDialect", None, "memory")
_own("flask_store.dialects.s3:S3Dialect", "s3", "s3", "s3a")
_own("flask_store.dialects.azure:AzureDialect", "azure", "abfs", "abfss", "az")
_own("flask_store.dialects.gcs:GCSDialect", "gcs", "gcs", "gs")
_own("flask_store.dialects.sftp.installed:SFTPDialect", "sftp", "sftp", "ssh")
_own("flask_store.dialects.sftp.by_sshfs:SshfsDialect", "sftp", "sftp+sshfs")
_own(
    "flask_store.dialects.sftp.by_paramiko:ParamikoDialect", "paramiko", "sftp+paramiko"
)
_own("flask_store.dialects.smb:SMBDialect", "smb", "smb")
_own("flask_store.dialects.webdav:WebDAVDialect", "webdav", "dav", "webdav")
_own(
    "flask_store.dialects.webdav:WebDAVDialect", "webdav", "webdav+http", "webdav+https"
)
_own("flask_store.dialects.ftp:FTPDialect", None, "ftp")
_own("flask_store.dialects.http:HTTPDialect", "http", "http", "https")
