"""Resumable uploads: one file that arrives in several requests.

Nothing here knows of HTTP: :mod:`flask_store.http.tus` is one spelling of it.

The state is in the storage, so that any worker on any host takes the next request:

- *begun*: a small private file has the length, and a name for what follows.
- *growing*: a private file grows, or a chain of pieces does (:mod:`.pieces`).
- *whole*: all bytes are there. ``confirm()`` publishes them as it does any other
  direct upload.

How many bytes have arrived is what the storage says, and nothing else. Of two writers
at one position the storage lets one win; the other one is told where the file ends.
"""

from __future__ import annotations

import io
import json
import typing as t
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

import shortuuid

from ..dialects.growing import Growing
from ..dialects.growing import Raced
from ..exceptions import BadLink
from ..exceptions import FileNotFound
from ..exceptions import NotConfiguredError
from ..exceptions import TooLarge
from ..exceptions import WrongOffset
from ..media_types import UNKNOWN
from ..uploads.source import Source
from . import marks
from .pieces import Pieces

if t.TYPE_CHECKING:
    from ..dialects import Dialect
    from ..dialects import Stat
    from ..dialects.claims import Claim
    from ..files import FileStore

NOT_ALLOWED = (
    "This upload cannot be resumed. Send the form, or ask for an upload with"
    " presign_upload(..., resumable=True)."
)
NOT_BEGUN = "This upload has not begun, or was ended. Begin it anew."
OTHER_LENGTH = "This upload has begun with {} bytes. End it, or go on with it."
GROWN = "The upload has {} bytes by now. Go on from there."
TOO_LONG = "The upload has {} bytes as agreed, and {} more were sent."


@dataclass(frozen=True)
class Progress:
    """How far an upload is.

    :param offset: how many bytes have arrived.
    :param length: how many there will be.
    """

    offset: int
    length: int

    @property
    def is_whole(self) -> bool:
        """Whether all bytes have arrived."""
        return self.offset == self.length


@dataclass(frozen=True)
class Begun:
    """What is known of an upload from its beginning on.

    :param length: in bytes.
    :param growing: what arrives.
    """

    length: int
    growing: Growing

    def progress(self) -> Progress:
        """How far it is, as the storage says."""
        return Progress(min(self.growing.size(), self.length), self.length)


def check(dialect: Dialect) -> None:
    """Look whether a storage can tell two writers apart.

    :raises NotConfiguredError: if it cannot.
    """
    if dialect.creates():
        return
    raise NotConfiguredError(
        f"{dialect.uri} cannot create a file only if there is none, so that two"
        " requests for one upload could replace each other's bytes. Do not set"
        " STORE_RESUMABLE, nor pass resumable=True, for this store."
    )


def begin(store: FileStore, claim: Claim, length: int) -> Progress:
    """Begin an upload. A client whose answer was lost may do so again.

    :param length: in bytes.
    :raises TooLarge: if it is more than was agreed.
    :raises WrongOffset: if the upload has begun with another length.
    :raises BadLink: if the token does not allow an upload to be resumed.
    """
    if not claim.resumable:
        raise BadLink(NOT_ALLOWED, claim.key)
    if length > claim.max_size:
        raise TooLarge(
            f"The upload has {length} bytes, and {claim.max_size} are allowed.",
            claim.key,
        )
    record = {"length": length, "id": shortuuid.uuid()}
    source = Source(io.BytesIO(json.dumps(record).encode()), None)
    with suppress(FileExistsError), store.dialect.explained(claim.key, source):
        marks.put(store.dialect, source, _record(claim), UNKNOWN)
    progress = look(store, claim)
    if progress.length != length:
        raise WrongOffset(OTHER_LENGTH.format(progress.length), claim.key)
    return progress


def look(store: FileStore, claim: Claim) -> Progress:
    """How far an upload is.

    :raises FileNotFound: if it has not begun.
    """
    begun = _begun(store, claim)
    with store.dialect.explained(claim.key):
        return begun.progress()


def append(
    store: FileStore,
    claim: Claim,
    offset: int,
    arriving: Iterator[bytes],
    announced: int = 0,
) -> Progress:
    """Store further bytes. What has arrived is stored also if the rest does not.

    :param offset: how many bytes the client believes to have arrived before.
    :param arriving: the bytes.
    :param announced: how many there are, as far as that is known. None of too many is
        read.
    :raises FileNotFound: if the upload has not begun.
    :raises WrongOffset: if the upload is elsewhere, be it by a request at this moment.
    :raises TooLarge: if there are more bytes than the upload has.
    :raises Exception: what *arriving* raises, after what it gave before is stored.
    """
    begun = _begun(store, claim)
    stream = _Limited(arriving, begun.length - offset)
    with store.dialect.explained(claim.key):
        progress = begun.progress()
        if progress.offset != offset:
            raise WrongOffset(GROWN.format(progress.offset), claim.key)
        if announced > begun.length - offset:
            excess = announced - begun.length + offset
            raise TooLarge(TOO_LONG.format(begun.length, excess), claim.key)
        try:
            with begun.growing.writer(offset) as writer:
                for data in stream:
                    writer.write(data)
        except Raced as exc:
            size = begun.progress().offset
            raise WrongOffset(GROWN.format(size), claim.key) from exc
    if stream.error is not None:
        raise stream.error
    if stream.excess:
        raise TooLarge(TOO_LONG.format(begun.length, stream.excess), claim.key)
    return Progress(writer.position, begun.length)


def end(store: FileStore, claim: Claim) -> None:
    """End an upload, and remove what has arrived of it.

    :raises FileNotFound: if it has not begun.
    """
    begun = _begun(store, claim)
    with store.dialect.explained(claim.key):
        # Without the record nobody finds the rest, which may grow at this moment.
        store.dialect.discard(store.dialect.path(_record(claim)))
        begun.growing.remove()


def arrived(store: FileStore, claim: Claim) -> list[Stat] | None:
    """The private files that an upload consists of; ``None`` if it is not whole."""
    try:
        begun = _begun(store, claim)
        with store.dialect.explained(claim.key):
            parts = begun.growing.parts()
            if sum(part.size for part in parts) != begun.length:
                return None
            if len(parts) == 1:
                # It gets the key as it is, for which the storage wants its version.
                parts = [store.dialect.info(parts[0].name)]
    except FileNotFound:  # another one may have published it
        return None
    return parts


def forget(store: FileStore, claim: Claim) -> None:
    """Remove what is left of an upload that has been published."""
    if claim.resumable:
        with suppress(FileNotFound):
            end(store, claim)


def _record(claim: Claim) -> str:
    return f"{claim.staged}.begun"


def _begun(store: FileStore, claim: Claim) -> Begun:
    dialect = store.dialect
    try:
        with dialect.explained(claim.key):
            record = json.loads(dialect.cat_file(_record(claim)))
    except FileNotFound as exc:
        raise FileNotFound(NOT_BEGUN, claim.key) from exc
    name, length = f"{claim.staged}.{record['id']}", int(record["length"])
    growing = dialect.growing(name)
    return Begun(length, Pieces(dialect, name, length) if growing is None else growing)


class _Limited:
    """A stream up to a number of bytes, whose error is kept until all is stored.

    :param size: how many bytes are wanted.
    """

    def __init__(self, stream: Iterator[bytes], size: int) -> None:
        self._stream = stream
        self._left = size
        #: How many bytes came beyond.
        self.excess = 0
        #: What the stream has raised.
        self.error: BaseException | None = None

    def __iter__(self) -> Iterator[bytes]:
        try:
            for data in self._stream:
                if len(data) > self._left:
                    self.excess = len(data) - self._left
                    data = data[: self._left]
                self._left -= len(data)
                if data:
                    yield data
                if self.excess:
                    return
        except GeneratorExit:
            raise
        except BaseException as exc:
            self.error = exc
