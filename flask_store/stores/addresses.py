"""The addresses of a store's files: plain, signed, and for uploads from a browser."""

from __future__ import annotations

import typing as t
from urllib.parse import quote

from .. import media_types
from .. import naming
from ..exceptions import NotConfiguredError
from ..files import FileWrapper
from .reading import ReadableStore

if t.TYPE_CHECKING:
    from ..direct import DirectUpload


class AddressedStore(ReadableStore):
    """A store whose files have addresses."""

    @property
    def identity(self) -> str:
        """What sets this store apart in whatever an application signs for it: where
        it is served, and where its files are. Applications may share a key."""
        return f"{self.url_prefix if self.serves else ''} {self.uri}"

    @property
    def upload_prefix(self) -> str | None:
        """Below which address the application takes direct uploads, or ``None`` if
        nobody needs it to, or it must not."""
        if self.serve == "off" or self.dialect.takes_forms or self.dialect.read_only:
            return None
        return self.url_prefix if self.serves else self._served_at

    def upload_url(self, key: str) -> str:
        """The address at the application that takes the upload of one key.

        :raises NotConfiguredError: if there is none.
        """
        if self.upload_prefix is None:
            raise NotConfiguredError(
                f"{self!r} takes no forms by itself, and with STORE_SERVE"
                f" {self.serve!r} the application does not either. Set STORE_SERVE to"
                " 'auto' or 'proxy'."
            )
        if self.serves:
            return self.at(None).public_url(key)
        return f"/{quote(naming.join(self.upload_prefix.strip('/'), key))}"

    def public_url(self, name: str) -> str:
        """The URL, unsigned, below the domain or at the application."""
        return super().absolute_url(name)

    def signed_url(
        self,
        name: str,
        expires: float | None = None,
        download_as: str | None = None,
    ) -> str:
        """A link by which anybody may read the file for some time.

        A storage with signatures of its own signs it, everything else the
        application. For a quarter of *expires* the link stays the same, so that
        browsers can keep the file; it is good for that much longer.

        :param expires: in seconds; by default ``STORE_URL_EXPIRES``.
        :param download_as: the name under which a browser is to save the file, even
            if it could show it.
        :raises NotConfiguredError: if the application has to sign and has no
            ``SECRET_KEY``, or nobody serves the file.
        """
        from .. import links

        key = self.key(name)
        link = None
        if self.serve != "proxy":
            link = self.storage_link(name, expires, download_as)
        if link is not None:
            return link
        if not self.serves:
            raise NotConfiguredError(
                f"{self!r} cannot sign links by itself, and with STORE_SERVE"
                f" {self.serve!r} the application does not serve its files. Set"
                " STORE_SERVE to 'proxy'."
            )
        period = links.period(self.url_expires if expires is None else expires)
        query = links.query(self.identity, key, period.end, download_as)
        return f"{self.public_url(name)}?{query}"

    def storage_link(
        self,
        name: str,
        expires: float | None = None,
        download_as: str | None = None,
    ) -> str | None:
        """Like :meth:`signed_url`, but signed by the storage itself, or ``None``."""
        from .. import links
        from .. import presentation

        key = self.key(name)
        shown = presentation.headers(
            key.rpartition("/")[2],
            media_types.content_type(key),
            self.inline_types,
            download_as,
        )
        period = links.period(self.url_expires if expires is None else expires)
        # The type is said, too: that of the name, which the disposition is for, and not
        # what somebody may have stored.
        said = shown["Content-Disposition"], shown["Content-Type"]
        with self._explained(key):
            return self.dialect.sign(self.fs, key, period, *said)

    def presign_upload(
        self,
        filename: str,
        content_type: str | None = None,
        *,
        max_size: int,
        expires: int = 3600,
    ) -> DirectUpload:
        """Let a browser send one file straight to where it will be stored.

        :param filename: as the client calls it; the key gets a UUID.
        :param content_type: by default what the name's extension says.
        :param max_size: in bytes.
        :param expires: in seconds, until when the upload has to be confirmed.
        :return: what to give to the browser.
        """
        from .. import direct

        return direct.presign(self._whole, filename, content_type, max_size, expires)

    def confirm(self, token: str) -> FileWrapper:
        """Take over a file that a browser has sent, and publish it. This works once.

        Whatever cuts it off before it returns, it may be called again.

        :param token: that of :meth:`presign_upload`, of a provider with the same
            destination in the same application.
        :raises AlreadyConfirmed: if it was confirmed before, by whichever process on
            whichever host.
        :raises BadLink: if the token is not good here, or has expired.
        :raises FileNotFound: if nothing was uploaded.
        :raises TooLarge: if it has more bytes than agreed.
        :raises WrongType: if it is stored as another type than agreed.
        """
        from .. import direct

        return direct.confirm(self._whole, token)

    def absolute_url(self, name: str) -> str:
        if self.signed_urls:
            return self.signed_url(name)
        if self.domain is None and not self.serves:
            address = self.dialect.address(self.key(name))
            if address is not None:
                return address
        return super().absolute_url(name)
