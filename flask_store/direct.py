"""Direct uploads: a browser sends one file straight to where it is stored.

The key is chosen here and carries a UUID, so that no two uploads meet. A storage with
forms of its own, such as S3, gets the file in its private folder, from where
:func:`confirm` takes it: the form can be sent again until it expires, and must not
reach the file that was confirmed. Everything else comes through the application.
"""

from __future__ import annotations

import time
import typing as t
from dataclasses import dataclass
from dataclasses import field

import shortuuid
from flask import current_app

from . import links
from . import media_types
from . import naming
from . import signals
from .exceptions import BadLink
from .exceptions import FileExists
from .exceptions import FileNotFound
from .exceptions import NotConfiguredError
from .exceptions import TooLarge
from .exceptions import WrongType
from .presentation import essence

if t.TYPE_CHECKING:
    from werkzeug.datastructures import FileStorage

    from .dialects import Stat
    from .files import FileWrapper
    from .stores.fsspec import FsspecStore


@dataclass(frozen=True)
class DirectUpload:
    """What a browser needs to send a file. ``jsonify`` takes it as it is.

    :param url: where to send it to.
    :param key: under which key the file will be stored.
    :param token: what the application passes to ``confirm()`` afterwards.
    :param fields: the form's fields; the file follows them as ``file``.
    :param method: always ``"POST"``.
    :param headers: further headers of the request.
    """

    url: str
    key: str
    token: str
    fields: dict[str, str]
    method: str = "POST"
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Claim:
    """What one token allows.

    :param key: the one key.
    :param staged: where a storage with forms of its own keeps the file until it is
        confirmed.
    :param max_size: in bytes.
    :param expires: the last moment, in POSIX seconds.
    """

    key: str
    staged: str
    content_type: str
    max_size: int
    expires: int


def presign(
    store: FsspecStore,
    filename: str,
    content_type: str | None,
    max_size: int,
    expires: int,
) -> DirectUpload:
    """See :meth:`~flask_store.stores.fsspec.FsspecStore.presign_upload`."""
    if max_size < 1:
        raise ValueError(f"max_size is {max_size!r}; it must be at least 1 byte.")
    if expires < 1:
        raise ValueError(f"expires is {expires!r}; it must be at least 1 second.")
    key = store.key(naming.unique(naming.clean(filename)))
    claim = Claim(
        key=key,
        staged=f"{naming.STAGING}/{shortuuid.uuid()}.upload",
        content_type=essence(content_type or media_types.content_type(key)),
        max_size=max_size,
        expires=int(time.time()) + expires,
    )
    token = links.make_token(store.identity, vars(claim))
    form = store.dialect.upload_form(store.fs, claim)
    if form is None:
        form = through_application(store, key, token), {}
    url, fields = form
    return DirectUpload(url, key, token, fields)


def through_application(store: FsspecStore, key: str, token: str) -> str:
    """The address that takes the upload of one key."""
    if not store.serves:
        raise NotConfiguredError(
            f"{store!r} takes no forms by itself, and STORE_SERVE is 'off'. Set"
            " STORE_SERVE to 'auto' or 'proxy', so that the application takes the"
            " upload."
        )
    # In the address, so that it is known before the form is read.
    return f"{store.at(None).public_url(key)}?token={token}"


def receive(store: FsspecStore, claim: Claim, file: FileStorage) -> None:
    """Take an upload through the application.

    :raises TooLarge: if the file is larger than agreed.
    :raises FileExists: if the token was used already.
    """
    size = file.stream.seek(0, 2)
    if size > claim.max_size:
        raise too_large(claim)
    folder, _, name = claim.key.rpartition("/")
    _save(store.at(folder), file, name, claim.content_type)


def _save(store: FsspecStore, file: FileStorage, name: str, content_type: str) -> None:
    try:
        store.save(file, name, "error", content_type)
    except NotConfiguredError:
        # Where nothing is created in one step, the UUID keeps everybody else away.
        if store.exists(name):
            raise FileExists(f"{naming.quoted(name)} was uploaded.", name) from None
        store.save(file, name, "overwrite", content_type)


def read(store: FsspecStore, token: str, key: str | None = None) -> Claim:
    """:raises BadLink: if the token is not good here, or not for this key."""
    claim = Claim(**links.read_token(store.identity, token))
    if key is not None and claim.key != key:
        raise BadLink(links.REFUSED, key)
    return claim


def confirm(store: FsspecStore, token: str) -> FileWrapper:
    """See :meth:`~flask_store.stores.fsspec.FsspecStore.confirm`."""
    claim = read(store, token)
    whole = store.at(None)
    # It is here already if it came through the application, or was confirmed before.
    if not whole.exists(claim.key):
        _adopt(whole, claim)
    return whole.file(claim.key)


def _adopt(store: FsspecStore, claim: Claim) -> None:
    with store._explained(claim.key):
        staged = store.dialect.staged(store.fs, claim)
        if staged is None:
            raise FileNotFound(
                f"{naming.quoted(claim.key)} has not been uploaded, or only in part."
                " Confirm an upload when the browser has had its answer.",
                claim.key,
            )
        _check(claim, staged)
        store.dialect.adopt(store.fs, claim, staged)
    signals.file_saved.send(
        current_app._get_current_object(),  # type: ignore[attr-defined]
        file=store.file(claim.key),
    )


def _check(claim: Claim, found: Stat) -> None:
    if found.size > claim.max_size:
        raise too_large(claim)
    if essence(found.content_type) != claim.content_type:
        raise WrongType(
            f"{naming.quoted(claim.key)} is {found.content_type!r}, and"
            f" {claim.content_type!r} was agreed.",
            claim.key,
        )


def too_large(claim: Claim) -> TooLarge:
    """The error for a file that is larger than agreed."""
    return TooLarge(
        f"The file is larger than the {claim.max_size} bytes that were agreed.",
        claim.key,
    )
