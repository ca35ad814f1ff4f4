"""Direct uploads: a browser sends one file straight to where it is stored.

Each is a small state machine, whose states are files in the storage:

- *issued*: a token names the key, which carries a UUID; nothing is stored.
- *arriving*: bytes come in, where no name shows them, in one request or in several
  (:mod:`.resumable`).
- *arrived*: the upload lies in the private folder, whole.
- *confirmed*: it has its key, and a mark says so. This is final.

:func:`confirm` publishes first and leaves the mark after it, so that whatever cuts it
off, the next call takes it up. Publishing refuses a key that is taken, and the mark has
one winner: nothing replaces a file that was confirmed, and it is published once.
"""

from __future__ import annotations

import time
import typing as t
from collections.abc import Sequence
from contextlib import closing
from contextlib import suppress
from dataclasses import dataclass
from dataclasses import field
from dataclasses import replace

import shortuuid

from .. import media_types
from .. import naming
from .. import signals
from ..dialects.claims import Claim
from ..dialects.originals import Chain
from ..exceptions import AlreadyConfirmed
from ..exceptions import BadLink
from ..exceptions import FileExists
from ..exceptions import FileNotFound
from ..exceptions import StoreUnavailable
from ..exceptions import TooLarge
from ..exceptions import VersionGone
from ..exceptions import WrongType
from ..http import links
from ..http.presentation import essence
from ..stores.application import sender
from ..uploads.properties import Properties
from ..uploads.source import Source
from . import marks
from . import resumable as resumed

if t.TYPE_CHECKING:
    from werkzeug.datastructures import FileStorage

    from ..dialects import Dialect
    from ..dialects import Stat
    from ..dialects.originals import Change
    from ..files import FileStore
    from ..files import FileWrapper
    from ..filetypes.allowed import Allowed

#: How long the token of an upload in one request is good, in seconds.
EXPIRES = 3600
#: How often an upload is looked at that changes while it is confirmed.
TRIES = 3

ARRIVED = (
    "This upload has arrived already. A token is good once: ask for a new one, or let"
    " the application confirm what has arrived."
)
CONFIRMED = (
    "This upload has been confirmed already. A token is good once: ask for a new one."
)
BUSY = "This upload is being confirmed at this moment. Confirm it again in a moment."
CHANGES = (
    "{} is being sent again while it is confirmed. Confirm an upload when the browser"
    " has had its answer."
)
MISSING = (
    "{} has not been uploaded, or only in part. Confirm an upload when the browser has"
    " had its answer."
)


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
    :param resumable: where a tus client creates the upload, if it can be resumed.
    :param parts: where a client gets the signatures for a multipart upload, if the
        storage takes parts from browsers.
    """

    url: str
    key: str
    token: str = field(repr=False)
    fields: dict[str, str] = field(repr=False)
    max_size: int
    method: str = "POST"
    headers: dict[str, str] = field(default_factory=dict)
    resumable: str | None = field(default=None, repr=False)
    parts: str | None = field(default=None, repr=False)


def presign(
    store: FileStore,
    filename: naming.Name,
    content_type: str | None,
    max_size: int,
    expires: int | None,
    kept: Properties,
    resumable: bool | None,
    allowed: Allowed | None = None,
) -> DirectUpload:
    """See :meth:`~flask_store.stores.fsspec.FsspecStore.presign_upload`."""
    if not isinstance(max_size, int) or max_size < 1:
        raise ValueError(
            f"max_size is {max_size!r}; it must be a number of bytes, 1 at least."
        )
    resumable = store.resumable if resumable is None else resumable
    if expires is None:
        expires = int(store.resumable_expires) if resumable else EXPIRES
    links.check_seconds(expires)
    limit = store.longest_key
    name = naming.clean(filename, store.destination, limit)
    key = naming.unique(store.key(name), limit)
    if allowed is not None:
        allowed.check_name(key)
    parts = resumable and store.dialect.takes_parts
    if resumable:
        with store.dialect.explained(key):
            if parts:  # which need nothing of the kind
                resumable = store.dialect.creates()
            else:
                resumed.check(store.dialect)
    claim = Claim(
        key=key,
        destination=store.destination,
        id=shortuuid.uuid(),
        content_type=essence(content_type or media_types.content_type(key)),
        max_size=max_size,
        expires=int(time.time() + expires),
        resumable=resumable,
        parts=parts,
        properties=kept.as_json(),
        allow=None if allowed is None else allowed.extensions.all,
    )
    with store.dialect.explained(key):
        form = store.dialect.upload_form(claim)
    claim = replace(claim, form=form is not None)
    token = links.make_token(store.identity, vars(claim))
    # In the address, so that it is known before the body is read.
    query = f"?token={token}"
    url, fields = form or (
        store.upload_url(key) + query,
        {"Content-Type": claim.content_type},
    )
    return DirectUpload(
        url,
        key,
        token,
        fields,
        max_size,
        resumable=store.resumable_url(key) + query if resumable else None,
        parts=store.upload_url(key) + query if parts else None,
    )


def read(store: FileStore, token: str) -> Claim:
    """:raises BadLink: if the token is not good here."""
    return Claim(**links.read_token(store.identity, token))


def check_unused(store: FileStore, claim: Claim) -> None:
    """Look whether an upload may still come, before anything of it is read or signed.

    :raises BadLink: if it has arrived already.
    :raises AlreadyConfirmed: if it was confirmed.
    """
    if _is_there(store, claim.mark):
        raise _confirmed(store, claim)
    if _is_there(store, claim.staged):
        raise BadLink(ARRIVED, claim.key)


def receive(
    store: FileStore, claim: Claim, file: FileStorage, content_type: str | None
) -> None:
    """Take an upload through the application, into the private folder.

    :param content_type: the form's, if it has one.
    :raises TooLarge: if the file is larger than agreed.
    :raises WrongType: if the form says another type than agreed.
    :raises BadLink: if another upload was quicker.
    """
    source = Source(file.stream, None)
    source.properties = claim.kept
    _check_size(claim, source.size)
    _check_type(claim, content_type or claim.content_type)
    try:
        with store.dialect.explained(claim.key, source):
            marks.put(store.dialect, source, claim.staged, claim.content_type)
    except FileExists as exc:
        raise BadLink(ARRIVED, claim.key) from exc


def confirm(store: FileStore, token: str, change: Change | None = None) -> FileWrapper:
    """See :meth:`~flask_store.stores.fsspec.FsspecStore.confirm`.

    :param change: what is done to the file before it is published, if anything.
    """
    claim, whole = read(store, token), store.at(None)
    if claim.destination != store.destination:
        raise BadLink(
            f"This upload was made for the folder {claim.destination!r}, and is"
            f" confirmed for {store.destination!r}. Pass the same folder to"
            " presign_upload() and confirm().",
            claim.key,
        )
    if _is_there(whole, claim.mark):
        raise _confirmed(whole, claim)
    try:
        with whole.dialect.explained(claim.key), marks.alone(whole.dialect, claim.mark):
            _publish(whole, claim, change)
            if not marks.leave(whole.dialect, claim.mark):
                raise _confirmed(whole, claim)
    except marks.NotAlone as exc:
        raise BadLink(BUSY, claim.key) from exc
    f = whole.file(claim.key)
    # A receiver may raise. Nothing is undone then: the story of the token is over.
    signals.file_saved.send(sender(), file=f)
    return f


def _publish(store: FileStore, claim: Claim, change: Change | None) -> None:
    """Give an upload its key, and remove it from the private folder.

    A confirm that was cut off may have done so before, and one beside may do it now.
    """
    dialect = store.dialect
    for _ in range(TRIES):
        staged = _stat(store, claim.staged)
        if staged is None and _is_there(store, claim.key):
            break
        parts = resumed.arrived(store, claim) if staged is None else [staged]
        if parts is None:
            if _is_there(store, claim.key):  # by another one, just now
                break
            raise FileNotFound(MISSING.format(naming.quoted(claim.key)), claim.key)
        _check_size(claim, sum(part.size for part in parts))
        if claim.form and staged:  # what came through the application was checked there
            _check_type(claim, staged.content_type)
        try:
            with store.dialect.explained(claim.key):
                _check_content(dialect, claim, parts)
                dialect.adopt(claim, *parts, change=change)
        except (VersionGone, FileNotFound):
            continue
        except FileExists as exc:
            if exc.key != claim.key:
                raise  # a folder of the key is a file
            if not _is_there(store, claim.key):
                raise StoreUnavailable(BUSY, claim.key) from exc
        break
    else:
        raise BadLink(CHANGES.format(naming.quoted(claim.key)), claim.key)
    with suppress(Exception):  # the file is where it belongs; sweep has the rest
        if staged:
            dialect.discard(dialect.path(staged.name))
        resumed.forget(store, claim)


def _stat(store: FileStore, key: str) -> Stat | None:
    try:
        with store.dialect.explained(key):
            return store.dialect.info(key)
    except FileNotFound:
        return None


def _is_there(store: FileStore, key: str) -> bool:
    return _stat(store, key) is not None


def _confirmed(store: FileStore, claim: Claim) -> AlreadyConfirmed:
    return AlreadyConfirmed(CONFIRMED, claim.key, store.file(claim.key))


def _check_size(claim: Claim, size: int) -> None:
    if size > claim.max_size:
        raise too_large(claim)


def _check_type(claim: Claim, content_type: str) -> None:
    if essence(content_type) != claim.content_type:
        raise WrongType(
            f"The file is {content_type!r}, and {claim.content_type!r} was agreed.",
            claim.key,
        )


def _check_content(dialect: Dialect, claim: Claim, parts: Sequence[Stat]) -> None:
    """Look into an upload, if not any file may be stored. A few KiB of it are read.

    :raises WrongType: if it is none that is allowed.
    """
    if claim.allow is None:
        return
    from ..filetypes.allowed import allowed

    # A single file may be replaced meanwhile, so that the version is checked which is
    # published.
    with closing(Chain(parts, dialect, exact=len(parts) == 1)) as chain:
        upload = Source(t.cast("t.IO[bytes]", chain), None)
        allowed(claim.allow).check(claim.key, upload)


def too_large(claim: Claim) -> TooLarge:
    """The error for a file that is larger than agreed."""
    return TooLarge(
        f"The file is larger than the {claim.max_size} bytes that were agreed.",
        claim.key,
    )
