"""What the token of a direct upload allows, and the private files beside it. Pure."""

from __future__ import annotations

import datetime as dt
import re
import typing as t
from dataclasses import dataclass

from .. import naming
from ..uploads.properties import Properties

#: A private file of an upload. Its name says until when it means something.
_NAME = re.compile(r"[0-9A-Za-z]+\.([0-9]{1,11})\.(upload|confirmed)(\.|\Z)")


@dataclass(frozen=True)
class Claim:
    """What one token allows.

    :param key: the one key. It carries a UUID, so that nothing else ever has it.
    :param destination: that of the store which made the token.
    :param id: sets the token apart from all others.
    :param content_type: under which the file will be stored, whatever is sent.
    :param max_size: in bytes.
    :param expires: the last moment, in POSIX seconds.
    :param form: whether the storage itself takes the form, and not the application.
    :param resumable: whether the upload may arrive in several requests.
    :param parts: whether the storage itself may take it in parts.
    :param properties: what is stored beside the file, as :meth:`.Properties.as_json`
        has it.
    :param allow: the extensions that the file may have, if not any one may.
    """

    key: str
    destination: str
    id: str
    content_type: str
    max_size: int
    expires: int
    form: bool = False
    resumable: bool = False
    parts: bool = False
    properties: dict[str, t.Any] | None = None
    allow: list[str] | None = None

    @property
    def kept(self) -> Properties:
        """What is stored beside the file."""
        return Properties.from_json(self.properties)

    @property
    def staged(self) -> str:
        """Where the upload lies until it is confirmed: in the private folder."""
        return self._private("upload")

    @property
    def mark(self) -> str:
        """The private file whose existence says that the upload is confirmed."""
        return self._private("confirmed")

    def _private(self, kind: t.Literal["upload", "confirmed"]) -> str:
        return f"{naming.STAGING}/{self.id}.{self.expires}.{kind}"


def is_over(name: str, modified: dt.datetime | None, before: dt.datetime) -> bool:
    """Whether nobody needs what has been private since before a moment: no process
    that still writes it, and no token that is still good.

    :param name: of a private file, without its folder.
    :param modified: the date of it. Without one, it may still be being written.
    """
    if modified is None:
        return False
    return max(modified, good_until(name) or modified) < before


def good_until(name: str) -> dt.datetime | None:
    """Until when a private file has to stay; ``None`` if it is no upload's.

    :param name: without its folder.
    """
    match = _NAME.match(name)
    return None if match is None else dt.datetime.fromtimestamp(int(match[1]), dt.UTC)
