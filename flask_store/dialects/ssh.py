"""What both libraries for SFTP have in common."""

from __future__ import annotations

import typing as t
from collections.abc import Mapping

import fsspec
from fsspec.utils import infer_storage_options

from ..exceptions import NotConfiguredError
from ..exceptions import StoreError
from . import Location
from . import options_in
from .staged import StagedDialect
from .staged import unquoted


class SSHDialect(StagedDialect):
    """SSH_FXP_RENAME of an upload beside: in one step, and it refuses a taken name
    (draft-ietf-secsh-filexfer-02, 6.5, as OpenSSH keeps it; others are tried).

    Everybody else's tool replaces, by posix-rename@openssh.com.
    """

    rename = "SSH_FXP_RENAME"
    #: The library, as a part of the protocol: ``sftp+paramiko://``.
    driver: t.ClassVar[str]
    #: What :class:`Location`'s options are by default.
    defaults: t.ClassVar[Mapping[str, t.Any]]

    @classmethod
    def locate(cls, url: str, config: Mapping[str, t.Any]) -> Location:
        found = infer_storage_options("sftp://" + url.split("://", 1)[1])
        if not found.get("host"):
            raise NotConfiguredError(
                "STORE_PATH names no host. Write 'sftp://user@host/folder'."
            )
        root = found.pop("path").rstrip("/")
        found.pop("protocol")
        options = {**cls.defaults, **unquoted(found), **options_in(config)}
        return Location("sftp", root, options)

    def _explain_ssh(self, kind: type[Exception] | None, key: str | None) -> t.Any:
        """The error for a library's, as the builtin that it amounts to."""
        if kind is None:
            return StoreError(
                "The SFTP server reports a failure and no reason. Its disk may be"
                " full; its log tells.",
                key,
            )
        return super().explain(kind(), key)

    def _bad_host(self) -> NotConfiguredError:
        host, port = self.location.options["host"], self.location.options.get("port")
        flag = f"-p {port} " if port else ""
        return NotConfiguredError(
            f"The key of the SFTP server {host} is not among the known ones, or is"
            " another than before: somebody may be in between. Compare what"
            f" 'ssh-keyscan {flag}{host}' prints with the server's own keys, and add it"
            " to ~/.ssh/known_hosts or to the file that STORE_OPTIONS['known_hosts']"
            " names. None there trusts any server."
        )

    def _replaces(
        self,
        fs: fsspec.AbstractFileSystem,
        old: str,
        new: str,
    ) -> None:
        """Without the extension of OpenSSH there is a moment without the file."""
        if self._is_there(fs, new):
            self._remove(fs, new)
        self._rename(fs, old, new)
