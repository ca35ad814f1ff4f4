"""Files of forms that did not pass, kept until the form is sent again.

A file lies in the private folder of a store, as a direct upload does before it is
confirmed, and ``sweep`` removes it likewise. A token leads to it. Who takes the file
leaves a mark for the token, so that of several submits with one token, on whatever
host they arrive, one gets the file. If the form fails again, the page gets another
token for the same private file. So each token is good for one submit, and the bytes are
sent once.
"""

from __future__ import annotations

import time
import typing as t
from collections.abc import Iterator
from contextlib import closing
from contextlib import contextmanager
from contextlib import suppress
from dataclasses import dataclass
from dataclasses import replace
from functools import partial

import shortuuid
from werkzeug.datastructures import FileStorage

from .. import direct
from .. import media_types
from .. import naming
from ..dialects import Dialect
from ..dialects import Original
from ..dialects import Stat
from ..dialects.claims import Claim
from ..direct import marks
from ..exceptions import FileNotFound
from ..http import links
from ..http.presentation import essence
from ..stores.fsspec import FsspecStore
from ..stores.opened import OpenedFile
from ..uploads import open_source
from ..uploads.reading import Readable
from ..uploads.source import Source
from ..uploads.source import StoredFile


@dataclass(frozen=True)
class Ticket:
    """What a token is good for: one submit of one field with one private file.

    :param claim: the private file. Its key is the name of the file.
    :param id: sets the token apart from the others of the same file.
    """

    claim: Claim
    id: str

    @property
    def mark(self) -> str:
        """The private file whose existence says that the token was used."""
        return replace(self.claim, id=self.id).mark


def put(store: FsspecStore, file: FileStorage, expires: int) -> Claim:
    """Store an upload in the private folder.

    :param expires: for how long it is kept, in seconds.
    :raises StoreError: if the storage fails.
    """
    name = naming.clean(file.filename or "", limit=store.longest_key)
    with open_source((file, name)) as source:
        claim = Claim(
            key=name,
            destination="",
            id=shortuuid.uuid(),
            content_type=essence(file.content_type or media_types.content_type(name)),
            max_size=source.size,
            expires=int(time.time() + expires),
        )
        direct.receive(store, claim, file, None)
    return claim


def issue(store: FsspecStore, claim: Claim, field: str) -> str:
    """A new token for a private file.

    :param field: the field that may use it.
    """
    said = {**vars(claim), "ticket": shortuuid.uuid()}
    return links.make_token(store.identity, said, links.FORM, field)


def read(store: FsspecStore, token: str, field: str) -> Ticket:
    """What a token is good for.

    :param field: the field whose form has sent it.
    :raises BadLink: if it was made for anything else, or has expired.
    """
    said = links.read_token(store.identity, token, links.FORM, field)
    ticket = said.pop("ticket")
    return Ticket(Claim(**said), ticket)


def use(store: FsspecStore, ticket: Ticket) -> bool:
    """Use a token up.

    :return: whether this call has done so. Of several calls for a token, on whatever
        host, at most one has.
    """
    dialect = store.dialect
    try:
        with (
            dialect.explained(ticket.claim.key),
            marks.alone(dialect, ticket.mark),
        ):
            return marks.leave(dialect, ticket.mark)
    except marks.NotAlone:
        return False


def upload(store: FsspecStore, claim: Claim, field: str) -> FileStorage | None:
    """The private file as an upload of a form; ``None`` if it is no longer there.

    :param field: the name of the form's field.
    """
    try:
        with store.dialect.explained(claim.key):
            found = store.dialect.info(claim.staged)
    except FileNotFound:
        return None
    stream = t.cast("t.IO[bytes]", PrivateFile(store.dialect, found, claim.key))
    return FileStorage(stream, claim.key, field, claim.content_type)


def discard(store: FsspecStore, claim: Claim) -> None:
    """Remove a private file. If that fails, it is left to ``sweep``."""
    with suppress(Exception):
        store.dialect.discard(store.dialect.path(claim.staged))


class PrivateFile(Readable):
    """A file of the private folder as the stream of an upload.

    :param found: what the storage says of it.
    :param name: the name for errors.
    """

    def __init__(self, dialect: Dialect, found: Stat, name: str) -> None:
        self._dialect = dialect
        self._found = found
        self._name = name

    def open(self) -> t.IO[bytes]:
        # Without a reference to this value, which closes the file when it is gone.
        explained = partial(self._dialect.explained, self._name)
        with explained():
            file = self._dialect.open(self._found.name)
        return StoredFile(OpenedFile(file, self._name, explained))

    def _read_all(self) -> bytes:
        with self.open() as file:
            return file.read()

    @contextmanager
    def as_source(self, filename: str) -> Iterator[Source]:
        """The file as an upload which the storage copies by itself, where it can."""
        own = PrivateFile(self._dialect, self._found, self._name)
        with closing(own):
            original = Original(self._found, self._dialect, tuple)
            # Validators read it from any position.
            original.stream = t.cast("t.IO[bytes]", own)
            original.filename = filename
            yield original
