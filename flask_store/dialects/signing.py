"""What a storage signs by itself: nothing, unless its dialect says so."""

from __future__ import annotations

import typing as t

import fsspec

from .records import Stat

if t.TYPE_CHECKING:
    from ..claims import Claim
    from ..links import Period


class Signing:
    """Links to files, and forms that upload one, which need no application."""

    #: Whether :meth:`upload_form` always has one, so that the application need not
    #: take uploads.
    takes_forms: t.ClassVar[bool] = False

    def sign(
        self,
        fs: fsspec.AbstractFileSystem,
        key: str,
        period: Period,
        disposition: str,
        content_type: str,
    ) -> str | None:
        """A link by which anybody may GET the file, signed by the storage's own
        rules and without asking it; ``None`` to sign through the application.

        :param period: when it is good. The same period has to give the same link.
        :param disposition: the ``Content-Disposition`` to answer with.
        :param content_type: the ``Content-Type`` to answer with, in place of the one
            that is stored.
        """
        return None

    def upload_form(
        self, fs: fsspec.AbstractFileSystem, claim: Claim
    ) -> tuple[str, dict[str, str]] | None:
        """The address and the fields of a form that POSTs one file to the storage,
        at ``claim.staged``; ``None`` to upload through the application.

        The storage itself has to keep to the size, the type and the expiry; a storage
        whose signatures do not cover all three has no form.
        """
        return None

    def adopt(self, fs: fsspec.AbstractFileSystem, claim: Claim, staged: Stat) -> None:
        """Publish a direct upload: give the private file ``claim.staged`` the key
        ``claim.key``, or a copy of it. The caller removes what is left of it.

        :param staged: the version that was looked at. Where an upload can be sent
            again, no other one is taken.
        :raises FileExistsError: if the key is taken, in one step where the storage
            creates in one step.
        :raises FileNotFoundError: if there is no such upload any more.
        :raises VersionGone: if the upload was sent again meanwhile.
        """
        raise NotImplementedError
