"""What both libraries for SFTP have in common."""

from __future__ import annotations

import errno
import os
import typing as t
from collections.abc import Mapping

from fsspec.utils import infer_storage_options

from ...exceptions import NotConfiguredError
from ...exceptions import StoreError
from ...uploads.source import CHUNK
from ...uploads.source import Source
from .. import Location
from ..renamed import StagedDialect
from ..renamed import unquoted


class SSHDialect(StagedDialect):
    """SSH_FXP_RENAME of an upload beside: in one step, and it refuses a taken name
    (draft-ietf-secsh-filexfer-02, 6.5, as OpenSSH keeps it; others are tried).

    Everybody else's tool replaces, by posix-rename@openssh.com.
    """

    rename = "SSH_FXP_RENAME"
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
        options = {**cls.defaults, **unquoted(found), **config["STORE_OPTIONS"]}
        return Location("sftp", root, options)

    def _upload(self, source: Source, path: str) -> None:
        try:
            self._send(source, path)
        except Exception as exc:
            # SSH_FX_FAILURE has no reason (draft-ietf-secsh-filexfer-02, section 7),
            # but the server may know statvfs@openssh.com.
            if self._is_failure(exc) and self._is_full(path):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from exc
            raise

    def _is_full(self, path: str) -> bool:
        try:
            space, files = self._room(path)
        except Exception:
            return False  # it does not know the extension
        return space < CHUNK or not files

    def _send(self, source: Source, path: str) -> None:
        """Write a new file."""
        super()._upload(source, path)

    @staticmethod
    def _is_failure(exc: Exception) -> bool:
        """Whether the server said no more than that something failed."""
        raise NotImplementedError

    def _room(self, path: str) -> tuple[int, int]:
        """How many bytes and how many files the disk of a path can take."""
        raise NotImplementedError

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
        old: str,
        new: str,
    ) -> None:
        """Without the extension of OpenSSH there is a moment without the file."""
        if self._is_there(new):
            self._remove(new)
        self._rename(old, new)
