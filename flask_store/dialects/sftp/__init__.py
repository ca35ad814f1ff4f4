"""The base class of both dialects for SFTP, which use different libraries."""

from __future__ import annotations

import errno
import os
import typing as t
from collections.abc import Iterator
from collections.abc import Mapping

from fsspec.utils import infer_storage_options

from ...exceptions import NotConfiguredError
from ...exceptions import StoreError
from ...uploads.source import CHUNK
from ...uploads.source import Source
from .. import Limits
from .. import Location
from ..by_handle import HandleDialect
from ..renamed import unquoted

#: How many bytes one request copies on the server, which answers when it has done so.
COPIED = 64 * 1024**2


class SSHDialect(HandleDialect):
    """Names an upload by SSH_FXP_RENAME, which refuses a name that is taken.

    That is one step in OpenSSH (draft-ietf-secsh-filexfer-02, section 6.5); of another
    server it is tried first. Other tools rename by posix-rename@openssh.com, which
    replaces.
    """

    rename_word = "SSH_FXP_RENAME"
    joins = True
    # sshfs takes a query and a fragment for options of the connection.
    unspeakable = ("?", "#")

    @classmethod
    def locate(cls, url: str, config: Mapping[str, t.Any]) -> Location:
        url_options = infer_storage_options("sftp://" + url.split("://", 1)[1])
        if not url_options.get("host"):
            raise NotConfiguredError(
                "STORE_PATH names no host. Write 'sftp://user@host/folder'."
            )
        root = url_options.pop("path").rstrip("/")
        url_options.pop("protocol")
        limits = Limits.of(config)
        defaults = cls.defaults(limits)
        options = {**defaults, **unquoted(url_options), **config["STORE_OPTIONS"]}
        return Location("sftp", root, options, limits)

    @staticmethod
    def defaults(limits: Limits) -> dict[str, t.Any]:
        """What the options of the library are by default."""
        raise NotImplementedError

    def _upload(self, source: Source, path: str) -> None:
        try:
            self._send(source, path)
        except Exception as exc:
            # SSH_FX_FAILURE has no reason (draft-ietf-secsh-filexfer-02, section 7).
            # The server may support statvfs@openssh.com, which tells whether it is
            # full.
            if self._is_failure(exc) and self._is_full(path):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from exc
            raise

    def _is_full(self, path: str) -> bool:
        try:
            space, files = self._room(path)
        except Exception:
            return False  # the server does not support the extension
        return space < CHUNK or not files

    def _send(self, source: Source, path: str) -> None:
        """Write a new file."""
        super()._upload(source, path)

    @staticmethod
    def _is_failure(exc: Exception) -> bool:
        """Whether the server reported a failure without a reason."""
        raise NotImplementedError

    def _room(self, path: str) -> tuple[int, int]:
        """How many bytes and how many files still fit on the disk of a path."""
        raise NotImplementedError

    def _explain_ssh(
        self, error_class: type[Exception] | None, key: str | None
    ) -> t.Any:
        """The StoreError for an error of the library.

        :param error_class: the built-in error that corresponds to it, if there is one.
        """
        if error_class is None:
            return StoreError(
                "The SFTP server reports a failure and no reason. Its disk may be"
                " full; its log tells.",
                key,
            )
        return super().explain(error_class(), key)

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
        """Replace a file without posix-rename@openssh.com: for a moment there is
        none."""
        if self._is_there(new):
            self._remove(new)
        self.rename(old, new)


def steps(size: int) -> Iterator[tuple[int, int]]:
    """The start and the size of each request by which the server copies a file: the
    extension copy-data (PROTOCOL of OpenSSH, section 4.10)."""
    for start in range(0, size, COPIED):
        yield start, min(COPIED, size - start)
