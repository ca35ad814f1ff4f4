"""Where an object on Google Cloud is for the rest of the world, and what is signed."""

from __future__ import annotations

import datetime as dt
import typing as t
from contextlib import suppress
from urllib.parse import quote

import fsspec
from google.oauth2 import service_account

from .. import Dialect
from .. import Location
from .. import Stat
from ..errors import NoAnswer
from ..errors import version_gone
from . import signing
from .http import Client
from .http import Refused

if t.TYPE_CHECKING:
    from ...http.links import Period
    from ..claims import Claim


class GCSLinks(Dialect):
    """The half of the dialect that knows addresses, and what others may do there."""

    def __init__(self, location: Location) -> None:
        super().__init__(location)
        self.bucket, _, self._prefix = self.root.partition("/")

    @property
    def prefix(self) -> str:
        return self._prefix

    def absolute_path(self, key: str) -> str:
        return self.path(key)[len(self.bucket) + 1 :]

    def address(self, key: str) -> str:
        return f"{self.location.options['endpoint_url']}/{quote(self.path(key), '/~')}"

    def sign(
        self,
        key: str,
        period: Period,
        disposition: str,
        content_type: str,
    ) -> str | None:
        signer = _signer(self.fs)
        if signer is None:
            return None
        if period.seconds > signing.LONGEST * 1.25:
            raise ValueError(
                "Google signs for seven days at most: expires is too long."
            )
        return signing.link(
            self.address(key),
            signer,
            period.start,
            min(period.seconds, signing.LONGEST),
            {
                "response-content-disposition": disposition,
                "response-content-type": content_type,
            },
        )

    # -- uploads -------------------------------------------------------------

    def upload_form(self, claim: Claim) -> tuple[str, dict[str, str]] | None:
        signer = _signer(self.fs)
        if signer is None:
            return None
        fields = {
            "key": self.absolute_path(claim.staged),
            "Content-Type": claim.content_type,
        }
        return f"{self.location.options['endpoint_url']}/{self.bucket}", (
            signing.form(
                fields,
                [
                    {"bucket": self.bucket},
                    ["content-length-range", 0, claim.max_size],
                ],
                signer,
                dt.datetime.now(dt.UTC),
                dt.datetime.fromtimestamp(claim.expires, dt.UTC),
            )
        )

    def adopt(self, claim: Claim, staged: Stat) -> None:
        source, target = (
            self._object(self.path(key)) for key in (claim.staged, claim.key)
        )
        client = self._client()
        said = {"ifSourceGenerationMatch": staged.etag, "ifGenerationMatch": 0}
        while True:
            # Another storage class, or another place, takes more than one request.
            try:
                reply = client.ask("POST", f"{source}/rewriteTo/{target}", said)
            except Refused as exc:
                if exc.status == 404:
                    raise FileNotFoundError(claim.staged) from exc
                if exc.status != 412:
                    raise
                # One of the two conditions, and it is not said which.
                with suppress(FileNotFoundError):
                    self.stat(claim.key)
                    raise FileExistsError(claim.key) from exc
                raise version_gone(claim.key) from exc
            if reply.get("done") is True:
                break
            if not isinstance(reply.get("rewriteToken"), str):
                raise NoAnswer("it does not say whether the object has been copied")
            said["rewriteToken"] = reply["rewriteToken"]
        resource = reply.get("resource")
        check_object(resource, self.absolute_path(claim.key), staged.size)

    # -- requests ------------------------------------------------------------

    def _client(self, limit: float | None = None) -> Client:
        usual = self.location.options["requests_timeout"]
        return Client(self.fs, self.fs.tokens, min(usual, limit or usual))

    def _object(self, path: str) -> str:
        return f"b/{self.bucket}/o/{quote(path[len(self.bucket) + 1 :], safe='')}"


def _signer(fs: fsspec.AbstractFileSystem) -> signing.Signer | None:
    # Only a service account's key signs by itself; any other identity has to ask
    # Google, and what it has is signed by the application.
    credentials = fs.credentials.credentials
    if not isinstance(credentials, service_account.Credentials):
        return None
    return signing.Signer(credentials.signer_email, credentials.sign_bytes)


def check_object(found: object, name: str, size: int | None = None) -> None:
    """Check that this describes an object as Google's JSON API does ("Objects", Cloud
    Storage JSON API).

    :param name: of the object, in its bucket.
    :param size: in bytes, if it is known.
    :raises NoAnswer: if it does not, or is about another object.
    """
    if not isinstance(found, dict) or not found.get("generation"):
        raise NoAnswer("it describes no object")
    if found.get("name") != name:
        raise NoAnswer(f"it describes {str(found.get('name'))[:80]!r}")
    if size is not None and str(found.get("size")) != str(size):
        raise NoAnswer(f"it tells of {str(found.get('size'))[:20]} bytes, not {size}")
