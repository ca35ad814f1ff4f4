"""Direct uploads: a browser sends one file straight to where it is stored.

The key is chosen here and carries a UUID, so that no two uploads meet. A storage with
forms of its own, such as S3, gets the file in its private folder, from where
:func:`confirm` takes it, once: the form can be sent again until it expires, and must
not reach the file that was confirmed. Everything else comes through the application,
once.
"""

from __future__ import annotations

import os
import time
import typing as t
from contextlib import suppress
from dataclasses import dataclass
from dataclasses import field

import shortuuid
from flask import current_app

from . import links
from . import media_types
from . import naming
from . import signals
from .claims import Claim
from .exceptions import BadLink
from .exceptions import FileNotFound
from .exceptions import StoreError
from .exceptions import TooLarge
from .exceptions import WrongType
from .once import once
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
    :param max_size: in bytes.
    :param method: always ``"POST"``.
    :param headers: further headers of the request.
    """

    url: str
    key: str
    token: str = field(repr=False)
    fields: dict[str, str] = field(repr=False)
    max_size: int
    method: str = "POST"
    headers: dict[str, str] = field(default_factory=dict)


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
        id=shortuuid.uuid(),
        content_type=essence(content_type or media_types.content_type(key)),
        max_size=max_size,
        expires=int(time.time()) + expires,
    )
    token = links.make_token(store.identity, vars(claim))
    with store._explained(key):
        form = store.dialect.upload_form(store.fs, claim)
    if form is None:
        # In the address, so that it is known before the form is read.
        url = f"{store.upload_url(key)}?token={token}"
        form = url, {"Content-Type": claim.content_type}
    return DirectUpload(form[0], key, token, form[1], max_size)


def receive(
    store: FsspecStore, claim: Claim, file: FileStorage, content_type: str | None
) -> None:
    """Take an upload through the application, once.

    :param content_type: the form's, if it has one.
    :raises TooLarge: if the file is larger than agreed.
    :raises WrongType: if the form says another type than agreed.
    :raises BadLink: if the token was used already.
    """
    _check(claim, file.stream.seek(0, os.SEEK_END), content_type or claim.content_type)
    folder, _, name = claim.key.rpartition("/")
    with once(store, claim.mark("sent"), claim.key):
        # Nobody else writes under this name. Not every storage could tell that.
        store.at(folder).save(file, name, "overwrite", claim.content_type)


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
    with once(whole, claim.mark("confirmed"), claim.key):
        with whole._explained(claim.key):
            staged = whole.dialect.staged(whole.fs, claim)
        if staged is not None:
            _check(claim, staged.size, staged.content_type)
            _adopt(whole, claim, staged)
        elif not whole.exists(claim.key):
            raise FileNotFound(
                f"{naming.quoted(claim.key)} has not been uploaded, or only in part."
                " Confirm an upload when the browser has had its answer.",
                claim.key,
            )
    f = whole.file(claim.key)
    if staged is not None:  # of any other one save() has told
        application = current_app._get_current_object()  # type: ignore[attr-defined]
        signals.file_saved.send(application, file=f)
    return f


def _adopt(store: FsspecStore, claim: Claim, staged: Stat) -> None:
    """Give an upload its name, and remove it from the private folder.

    :raises StoreError: if the copy is not whole; the upload stays then.
    """
    dialect, fs = store.dialect, store.fs
    with store._explained(claim.key):
        dialect.adopt(fs, claim, staged)
        if not dialect.stat(fs, claim.key).holds(staged):
            raise StoreError(
                f"The storage has not copied all of the upload of"
                f" {naming.quoted(claim.key)}. Confirm it again.",
                claim.key,
            )
        with suppress(Exception):  # the file is where it belongs; sweep has the rest
            dialect.discard(fs, dialect.path(claim.staged))


def _check(claim: Claim, size: int, content_type: str) -> None:
    if size > claim.max_size:
        raise too_large(claim)
    if essence(content_type) != claim.content_type:
        raise WrongType(
            f"The file is {content_type!r}, and {claim.content_type!r} was agreed.",
            claim.key,
        )


def too_large(claim: Claim) -> TooLarge:
    """The error for a file that is larger than agreed."""
    return TooLarge(
        f"The file is larger than the {claim.max_size} bytes that were agreed.",
        claim.key,
    )
