"""What object stores share: one request stores a whole object, or nothing."""

from __future__ import annotations

import io
import logging
import os
import typing as t
from collections.abc import Iterator
from contextlib import AbstractContextManager
from contextlib import contextmanager
from contextlib import nullcontext
from dataclasses import dataclass

import shortuuid

from .. import media_types
from .. import naming
from ..exceptions import InvalidProperty
from ..exceptions import NotConfiguredError
from ..uploads.properties import NO_PROPERTIES
from ..uploads.properties import Properties
from ..uploads.source import Source
from . import Dialect
from . import Fetched
from . import Folder
from . import Joined
from . import Listed
from . import Location
from . import Mode
from . import NotByStorage
from . import Original
from . import PAGE
from . import Span
from . import Stat
from . import Stored
from . import Unreachable
from . import utc
from . import whole
from .bodies import OutOfSpan
from .errors import NoAnswer
from .errors import version_gone
from .ranged import ranged

if t.TYPE_CHECKING:
    import datetime as dt

    from ..http.links import Period
    from .claims import Claim

logger = logging.getLogger(__name__)

#: The metadata by which a save knows its own object again.
TOKEN = "flask-store-token"

#: The longest that Amazon's and Google's signatures of version 4 live: seven days, in
#: seconds (Amazon S3 API Reference, "Authenticating Requests: Using Query Parameters";
#: Cloud Storage documentation, "Signed URLs").
WEEK = 7 * 24 * 3600


class Unclear(Exception):
    """A refusal to give bytes that does not say enough, or that anybody could have
    sent. A look at the object decides what it means."""


class Replaced(Exception):
    """The object is another version than the one that was asked for."""


class Page(t.NamedTuple):
    """What one request lists.

    :param files: the objects.
    :param more: whether there are further ones.
    :param folders: what the names of the other objects begin with, as the storage
        groups them: each ends with a slash.
    """

    files: list[Stat]
    more: bool
    folders: t.Sequence[str] = ()


@dataclass
class Staged:
    """An upload that can be read again, and the token of its save.

    :param original: the stored object that it is, if it is one to be copied.
    """

    source: Source
    token: str
    original: Original | None = None


class ObjectDialect(Dialect):
    """What object stores share.

    A child says how one request is made, for an object of the bucket ``bucket`` by
    its *name* there. It has to define:

    -   :meth:`put`, which stores a whole object, with a token in its metadata and, on
        demand, only under a name that is free;
    -   :meth:`head`, which tells what is known of an object;
    -   :meth:`fetch`, which gets its bytes, or some of them;
    -   :meth:`pages`, which lists;
    -   :meth:`remove`, which deletes.

    What :meth:`head`, :meth:`fetch` and :meth:`pages` tell of an object is a
    :class:`Stat` that :meth:`described` makes. Where the storage can do more, a child
    also defines :meth:`copy` and :meth:`can_copy`, :meth:`concatenate` and
    :meth:`can_join`, :meth:`.Dialect.sign` and :meth:`form`. A storage that cannot
    create exclusively says so by :meth:`.Dialect.exclusive`. One whose 404 may mean a
    missing bucket defines :meth:`has_bucket`.

    A verb raises :exc:`FileNotFoundError` for an object that is not there, what
    :meth:`no_bucket` gives if there is no bucket, and :exc:`.NoAnswer` for an answer
    that is not the storage's own. :meth:`.Dialect.explain` knows what else it raises.
    """

    token_name = TOKEN
    keeps_properties = True
    #: The names of metadata that mean something to the storage, or to who works on it.
    reserved_metadata: t.ClassVar[frozenset[str]] = frozenset({TOKEN})
    #: What the headers of an object's own metadata begin with.
    metadata_prefix: t.ClassVar[str] = ""
    #: The errors after which nobody knows whether an upload is stored. Then the object
    #: is looked at.
    unsure: t.ClassVar[tuple[type[Exception], ...]] = (NoAnswer,)
    #: How often a name is tried that is taken and then has no holder: it may have been
    #: deleted meanwhile, or be kept for a while by an upload that broke off.
    tries: t.ClassVar[int] = 2
    #: Whether :meth:`remove` says that there was nothing to delete.
    misses: t.ClassVar[bool] = False
    #: What the storage calls a bucket.
    bucket_word: t.ClassVar[str] = "bucket"
    #: Which setting names the bucket.
    bucket_setting: t.ClassVar[str] = "STORE_PATH"
    #: The largest file that a form may send, in bytes, if there is a limit.
    largest_form: t.ClassVar[int | None] = None
    #: Whether the storage copies objects by itself, as far as it is known.
    copies: bool = True

    def __init__(self, location: Location) -> None:
        super().__init__(location)
        self.bucket, self._prefix = self.split_root(self.root)
        # What limits a key limits the name of an object, of which the prefix is a part.
        self.longest_key = naming.MAX_KEY - len(self.absolute_path("").encode())
        #: Whether a copy refuses a name that is taken, if it is known.
        self._conditional_copies: bool | None = None
        #: Whether what is joined does so, if it is known.
        self._conditional_joins: bool | None = None
        #: Whether a request has found the bucket, so that a 404 is about an object.
        self._bucket_seen = False
        #: The names that this process (or its parent, before it forked) is creating.
        self._under_way: dict[tuple[int, str], Staged] = {}

    # -- one request each ----------------------------------------------------

    def put(
        self, name: str, source: Source, content_type: str, token: str, new: bool
    ) -> str | None:
        """Store a whole object, or nothing.

        :param source: can be read again; see :meth:`.Dialect.stage`. Its properties are
            stored, too.
        :param token: to be kept in the metadata :attr:`.Dialect.token_name`.
        :param new: whether the name has to be free, in one step.
        :return: its ETag, as :meth:`head` would tell it, if the answer does.
        :raises FileExistsError: if it has to be, and is not.
        """
        raise NotImplementedError

    def head(self, name: str, within: float | None = None) -> Stat:
        """What is known of an object.

        :param within: in seconds, if there is less time than usual.
        :raises FileNotFoundError: if there is no such object.
        """
        raise NotImplementedError

    def fetch(self, name: str, span: Span | None, etag: str | None) -> Fetched:
        """The bytes of an object, or some of them.

        :param span: which bytes, by default all. The answer may have more of them.
        :param etag: of the version that is wanted; the caller compares it once more.
        :raises OutOfSpan: if the storage says that the object has no byte of the span.
        :raises Unclear: if only a look at the object tells what is wrong.
        :raises Replaced: if the object is another version.
        """
        raise NotImplementedError

    def pages(self, prefix: str, delimiter: str = "") -> Iterator[Page]:
        """The objects whose names begin so, by one request for each page, which is
        made when the page is asked for.

        :param delimiter: with ``"/"``, the storage names the objects that have another
            slash behind the prefix by what they have up to it.
        :raises NoAnswer: if an answer is no listing, or lists something else.
        """
        raise NotImplementedError

    def remove(self, name: str) -> None:
        """Delete an object.

        :raises FileNotFoundError: if there was none, as far as :attr:`misses` tells.
        """
        raise NotImplementedError

    def copy(
        self,
        original: Original,
        target: str,
        content_type: str,
        token: str,
        new: bool,
    ) -> Stat | None:
        """Copy an object of this bucket, or another one that the same credentials
        open, by the storage. The copy is stored as :meth:`put` would store it, with the
        same settings, and otherwise as the original is.

        :param original: the version to copy, and no other one, with the properties of
            the copy. :meth:`place_of` tells where it is.
        :param target: the name of the copy.
        :param token: of the copy; see :meth:`put`.
        :param new: whether the target has to be free, in one step.
        :return: the copy, if the answer tells of it.
        :raises FileExistsError: if one of the two conditions is not met.
        :raises FileNotFoundError: if there is no such object to copy.
        :raises NotByStorage: if the storage does not copy, or not this object.
        """
        raise NotByStorage

    def can_copy(self) -> bool:
        """Whether :meth:`copy` refuses a target that is taken. If not, a copy whose
        name has to be free goes through this process.

        Some servers know the condition only for what is uploaded, so that a copy onto a
        name that is taken is tried, once in each process.
        """
        if self._conditional_copies is None:
            self._conditional_copies = self._refuses(joins=False)
        return self._conditional_copies

    def concatenate(
        self,
        joined: Joined,
        target: str,
        content_type: str,
        token: str,
        new: bool,
    ) -> Stat | None:
        """Make one object of several ones of this bucket, by the storage. It is stored
        as :meth:`put` would store it.

        :param joined: what it is made of, with its properties.
        :param target: the name of the object.
        :param token: of the object; see :meth:`put`.
        :param new: whether the target has to be free, in one step.
        :return: the object, if the answer tells of it.
        :raises FileExistsError: if it has to be, and is not.
        :raises FileNotFoundError: if there is one of the objects no more.
        :raises NotByStorage: if the storage does not.
        """
        raise NotByStorage

    def can_join(self) -> bool:
        """Whether :meth:`concatenate` refuses a target that is taken. If not, the bytes
        go through this process. It is tried, once in each process."""
        if self._conditional_joins is None:
            self._conditional_joins = self._refuses(joins=True)
        return self._conditional_joins

    @staticmethod
    def place_of(original: Original) -> tuple[str, str]:
        """The bucket of an object that is to be copied, and its name there."""
        theirs: ObjectDialect = original.dialect
        return theirs.bucket, theirs.absolute_path(original.found.name)

    def form(
        self, fields: dict[str, str], conditions: list[t.Any], expires: int
    ) -> tuple[str, dict[str, str]] | None:
        """Sign a form that POSTs one object; see :meth:`.Dialect.upload_form`.

        :param conditions: of the policy, beside the bucket and the fields.
        :param expires: its last moment, in POSIX seconds.
        """
        return None

    def has_bucket(self) -> bool:
        """Whether there is a bucket. Asked once, after a FileNotFoundError."""
        return True

    # -- where ---------------------------------------------------------------

    @staticmethod
    def split_root(root: str) -> tuple[str, str]:
        """The bucket, and the prefix of the store in it."""
        bucket, _, prefix = root.partition("/")
        return bucket, prefix

    @property
    def prefix(self) -> str:
        return self._prefix

    def absolute_path(self, key: str) -> str:
        """The name of an object in its bucket."""
        return f"{self._prefix}/{key}" if self._prefix else key

    def name_of(self, path: str) -> str:
        """The name of an object in its bucket, from its path."""
        return path[len(self.bucket) + 1 :]

    def described(
        self,
        name: str,
        size: int,
        modified: dt.datetime | None,
        etag: str | None,
        content_type: str | None,
        checksum: str | None = None,
        token: str | None = None,
        properties: Properties = NO_PROPERTIES,
        kept: t.Mapping[str, t.Any] | None = None,
    ) -> Stat:
        """What is known of an object, under its key.

        :param name: in the bucket.
        :param etag: with quotes or without.
        :param content_type: as stored; by default what the name suggests.
        :param properties: what else the storage keeps beside it.
        :param kept: how the storage keeps it; see ``Stat.kept``.
        """
        key = name[len(self._prefix) + 1 :] if self._prefix else name
        return Stat(
            key,
            size,
            utc(modified),
            etag.strip('"') if etag else None,
            content_type or media_types.content_type(key),
            checksum,
        ).keeping(token, properties, kept)

    def no_bucket(self) -> NotConfiguredError:
        """The error for a bucket that is not there."""
        word = self.bucket_word
        return NotConfiguredError(
            f"There is no {word} {self.bucket!r}. Create it, or correct"
            f" {self.bucket_setting}. Flask-Store never creates a {word}."
        )

    def check_bucket(self) -> None:
        """:raises NotConfiguredError: if there is no bucket."""
        if not self._bucket_seen:
            if not self.has_bucket():
                raise self.no_bucket()
            self._bucket_seen = True

    # -- writing -------------------------------------------------------------

    def check_properties(self, properties: Properties) -> None:
        super().check_properties(properties)
        for name in properties.metadata:
            if name in self.reserved_metadata:
                raise InvalidProperty(
                    f"The name {naming.quoted(name)} is taken: the storage or the store"
                    " uses it for itself. Choose another name for the metadata."
                )

    def body(self, source: Source) -> AbstractContextManager[Source]:
        """An upload as :meth:`put` wants it."""
        return source.rewindable()

    @contextmanager
    def stage(self, source: Source) -> Iterator[Staged]:
        with self.body(source) as body:
            yield Staged(body, source.token)

    def exclusive(self, staged: Staged) -> bool:
        return True

    def put_file(
        self, staged: Staged, key: str, content_type: str, mode: Mode
    ) -> Stored:
        name = self.absolute_path(key)
        if mode == "overwrite":
            return Stored(self._put(staged, name, content_type, new=False))
        # Servers let writers of one name wait for each other, SeaweedFS in steps of
        # seconds, or refuse all but one with 409, as Amazon's. A name under way here
        # is as good as taken.
        mine = (os.getpid(), name)
        if staged.original is not None and staged.original.resumes:
            # Two calls that publish one upload: the storage tells who was first.
            mine = (os.getpid(), staged.token)
        if self._under_way.setdefault(mine, staged) is not staged:
            raise FileExistsError(key)
        try:
            for _ in range(self.tries):
                try:
                    return Stored(self._put(staged, name, content_type, new=True))
                except FileExistsError:
                    pass
                # A reply may get lost, here or at a proxy. Then the request is sent
                # again and finds the name taken, by ourselves.
                try:
                    found = self.head(name)
                    if found.token == staged.token:
                        return Stored(found.etag)
                    break
                except FileNotFoundError:
                    continue
            else:
                if staged.original is not None:
                    raise version_gone(staged.original.found.name)
        finally:
            del self._under_way[mine]
        raise FileExistsError(key)

    def _put(
        self, staged: Staged, name: str, content_type: str, new: bool
    ) -> str | None:
        if staged.original is not None:
            self._copy_to(name, staged.original, content_type, staged.token, new)
            return None
        try:
            return self.put(name, staged.source, content_type, staged.token, new)
        except self.unsure:
            # The storage did not answer, and may have the object all the same.
            if staged.source.error is not None or not self._is_stored(staged, name):
                raise
            return None

    def _is_stored(self, staged: Staged, name: str) -> bool:
        """Whether an object is the one that was sent, whole."""
        try:
            staged.source.complete()
            stat = self.head(name, self.location.limits.look)
            if stat.size != staged.source.size:
                return False
            if stat.token is None:
                # A server that keeps no metadata may still have kept the file.
                return self._has_bytes(stat, staged.source)
            return stat.token == staged.token
        except Exception:
            return False  # the error of the upload tells more

    def _has_bytes(self, stat: Stat, source: Source) -> bool:
        position = 0
        body = whole(self.get(stat.name, None, stat))
        try:
            for data in body:
                if source.read_at(position, len(data)) != data:
                    return False
                position += len(data)
        finally:
            body.close()
        return True

    # -- copying -------------------------------------------------------------

    def cp_file(self, original: Original) -> AbstractContextManager[Staged]:
        # Without its ETag the storage could copy another version.
        if not self.copies or original.found.etag is None:
            raise NotByStorage
        return nullcontext(Staged(original, original.token, original))

    def join(self, joined: Joined) -> AbstractContextManager[Staged]:
        if not self.copies:
            raise NotByStorage
        return nullcontext(Staged(joined, joined.token, joined))

    def _copy_to(
        self,
        name: str,
        original: Original,
        content_type: str,
        token: str,
        new: bool,
    ) -> None:
        """Let the storage copy an object, or join several ones, and look whether the
        copy is whole."""
        try:
            if isinstance(original, Joined):
                if new and not self.can_join():
                    raise NotByStorage
                copied = self.concatenate(original, name, content_type, token, new)
            else:
                if new and not self.can_copy():
                    raise NotByStorage
                copied = self.copy(original, name, content_type, token, new)
            copied = copied or self.head(name)
        except FileExistsError as exc:
            if new:  # one of the two conditions, and not every server says which
                raise
            raise version_gone(original.found.name) from exc
        except FileNotFoundError as exc:
            raise NotByStorage from exc
        except self.unsure:
            copied = self._ours(name, token)
            if copied is None:
                raise
        if copied.holds(original.found):
            return
        if copied.token is None:
            raise NoAnswer(f"it has not copied all of {naming.quoted(name)}")
        # Another upload has replaced it, if it has another token.
        if copied.token == token:
            # Such as a server that takes the request for an upload of nothing.
            self.copies = False
            self.remove(name)
            raise NotByStorage

    def _ours(self, name: str, token: str) -> Stat | None:
        """What is known of an object, if it has been stored with this token."""
        try:
            found = self.head(name, self.location.limits.look)
        except Exception:
            return None  # the error of the request tells more
        return found if found.token == token else None

    def _refuses(self, joins: bool) -> bool:
        """Whether a copy onto a name that is taken is refused.

        :param joins: whether the copy is one of several objects.
        """
        with self._probes(2) as (source, taken):
            for name in (source, taken):
                with self.body(Source(io.BytesIO(b"probe"), None)) as body:
                    self.put(name, body, "text/plain", shortuuid.uuid(), False)
            found = self.head(source)
            try:
                if joins:
                    joined = Joined(found.name, [found], self)
                    self.concatenate(joined, taken, "text/plain", joined.token, True)
                else:
                    original = Original(found, self, tuple)
                    self.copy(original, taken, "text/plain", original.token, True)
            except FileExistsError:
                return True
            except NotByStorage:
                return False
            return False

    @contextmanager
    def _probes(self, count: int) -> Iterator[list[str]]:
        """The names of tiny private objects, which are removed at the end."""
        keys = [f"{naming.STAGING}/probe-{shortuuid.uuid()}" for _ in range(count)]
        names = [self.absolute_path(key) for key in keys]
        try:
            yield names
        except TimeoutError:
            raise  # whoever asks a silent server again waits again; sweep has the rest
        except BaseException:
            self._remove_probes(names)
            raise
        self._remove_probes(names)

    def _remove_probes(self, names: list[str]) -> None:
        for name in names:
            try:
                self.remove(name)
            except Exception as exc:  # keys that may only write are a good habit
                logger.warning("The tiny object %s is not deleted: %s", name, exc)

    def _is_there(self, path: str) -> bool:
        try:
            self.head(self.name_of(path))
        except FileNotFoundError:
            return False
        return True

    # -- reading -------------------------------------------------------------

    def info(self, key: str) -> Stat:
        try:
            return self.head(self.absolute_path(key))
        except FileNotFoundError:
            self.check_bucket()
            raise

    def get(
        self, key: str, span: Span | None = None, found: Stat | None = None
    ) -> Fetched | None:
        if span and found is not None:
            if not span.meets(found.size):
                return None
            span = Span.between(*span.within(found.size))
        etag = found.etag if found is not None else None
        try:
            try:
                fetched = self.fetch(self.absolute_path(key), span, etag)
            except Unclear as exc:
                stat = self.info(key)
                if etag is not None and stat.etag != etag:
                    raise Replaced(key) from exc
                if span and not span.meets(stat.size):
                    return None
                if not stat.size:
                    return Fetched(stat, 0, 0, iter(()))
                # It may have come since the first request.
                fetched = self.fetch(self.absolute_path(key), span, etag)
        except OutOfSpan:
            return None
        except Replaced as exc:
            raise version_gone(key) from exc
        except Unclear as exc:
            raise NoAnswer(f"{exc}, of a file that is there") from exc
        if found is not None:
            try:
                _compare(found, fetched.found)
            except BaseException:
                # A generator that has not begun would close nothing.
                next(fetched.body, b"")
                fetched.body.close()
                raise
        return fetched

    def open(self, key: str) -> t.IO[bytes]:
        return ranged(self, self.get(key))

    def find(self, prefix: str) -> Iterator[Stat | Unreachable]:
        for page in self.pages(self._folder(prefix)):
            yield from page.files

    def ls(self, prefix: str) -> Iterator[Listed]:
        skip = len(self._folder(""))
        for page in self.pages(self._folder(prefix), "/"):
            yield from page.files
            for name in page.folders:
                yield Folder(name[skip:-1])

    def first_page(self, prefix: str) -> tuple[list[Stat | Unreachable], bool]:
        page = next(self.pages(self._folder(prefix)), Page([], False))
        return [*page.files[:PAGE]], page.more or len(page.files) > PAGE

    def _folder(self, prefix: str) -> str:
        """What the names of the objects in a folder begin with."""
        folder = self.absolute_path(prefix) if prefix else self._prefix
        return f"{folder}/" if folder else ""

    def is_one_file(self, old: str, new: str, theirs: Dialect) -> bool:
        # Nobody can tell, without tokens. Some servers keep objects on a disk that
        # ignores case.
        return naming.folded(old) == naming.folded(new)

    # -- deleting ------------------------------------------------------------

    def rm_file(self, key: str) -> None:
        if not self.misses:
            self.info(key)
        try:
            self.remove(self.absolute_path(key))
        except FileNotFoundError:
            self.check_bucket()
            raise

    def discard(self, path: str) -> None:
        try:
            self.remove(self.name_of(path))
        except FileNotFoundError:
            pass

    def left(self) -> list[dict[str, t.Any]]:
        # What a killed process sent is no object yet. These are of forms and tokens,
        # without the object of the folder itself.
        skip = len(naming.STAGING) + 1
        return [
            {"name": stat.name, "size": stat.size, "LastModified": stat.modified}
            for stat in self.find(naming.STAGING)
            if isinstance(stat, Stat)
            and stat.name[skip:]
            and "/" not in stat.name[skip:]
        ]

    def private(self, beginning: str) -> Iterator[tuple[str, int]]:
        folder = self._folder(naming.STAGING)
        for page in self.pages(f"{folder}{beginning}"):
            for stat in page.files:
                yield stat.name.rpartition("/")[2], stat.size

    # -- what the storage signs ----------------------------------------------

    def upload_form(self, claim: Claim) -> tuple[str, dict[str, str]] | None:
        fields = {
            "key": self.absolute_path(claim.staged),
            "Content-Type": claim.content_type,
            **claim.kept.headers(self.metadata_prefix),
        }
        largest = min(claim.max_size, self.largest_form or claim.max_size)
        return self.form(fields, [["content-length-range", 0, largest]], claim.expires)


def seconds_of(period: Period, signer: str) -> int:
    """How long a link is good whose signature lives for seven days at most.

    :param signer: who says so.
    :raises ValueError: if it is to be good for longer.
    """
    # A period is up to a quarter longer than what was asked for.
    if period.seconds > WEEK * 1.25:
        raise ValueError(f"{signer} signs for seven days at most: expires is too long.")
    return min(period.seconds, WEEK)


def runs(parts: t.Sequence[Stat], least: int) -> Iterator[list[Stat]]:
    """Parts of a file in groups, all of which but the last have so many bytes at least.

    :param least: in bytes.
    """
    run: list[Stat] = []
    for part in parts:
        run.append(part)
        if sum(found.size for found in run) >= least:
            yield run
            run = []
    if run:
        yield run


def _compare(wanted: Stat, stat: Stat) -> None:
    """:raises VersionGone: if an object is not the version that is wanted."""
    if wanted.etag not in (None, stat.etag):
        raise version_gone(wanted.name)
    if wanted.size != stat.size:
        raise NoAnswer(f"of one version it says {wanted.size} bytes and {stat.size}")
