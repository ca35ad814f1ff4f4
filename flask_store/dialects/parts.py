"""How a browser sends one object in parts, straight to the storage."""

from __future__ import annotations

import typing as t


class Signed(t.NamedTuple):
    """A request that a browser may make.

    :param url: its address, with the signature.
    :param headers: what it has to send, because the signature covers it.
    """

    url: str
    headers: dict[str, str]


class Parts(t.Protocol):
    """The multipart uploads of the private file of one direct upload."""

    #: The least size of a part but the last one, in bytes.
    least: int
    #: The highest number of a part.
    most: int

    def sign(
        self,
        method: str,
        seconds: int,
        upload_id: str | None = None,
        number: int | None = None,
    ) -> Signed:
        """Sign one request to the private file, without asking the storage.

        :param method: with ``"POST"`` and no upload, it creates one.
        :param seconds: how long the address is good.
        :param upload_id: the multipart upload that the request is about.
        :param number: the part that the request stores.
        """
        raise NotImplementedError

    def begun(self) -> list[str]:
        """The multipart uploads of the private file that are neither complete nor
        aborted."""
        raise NotImplementedError

    def size(self, upload_id: str) -> int:
        """How many bytes the parts have that are stored so far.

        :raises FileNotFoundError: if there is no such upload any more.
        """
        raise NotImplementedError

    def abort(self, upload_id: str) -> None:
        """Remove an upload and its parts, if it is there."""
        raise NotImplementedError
