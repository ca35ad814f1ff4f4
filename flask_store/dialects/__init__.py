"""What one protocol guarantees, and how it says it.

:class:`Dialect` is the safe default: it believes nothing that it cannot know, so
that a filesystem which has never been tried does not lose a file. The other modules
hold one protocol each, and only where it differs.
"""

from __future__ import annotations

import copy
import datetime as dt
import inspect
import io
import re
import typing as t
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from contextlib import AbstractContextManager
from contextlib import closing
from contextlib import contextmanager
from contextlib import nullcontext
from contextlib import suppress
from urllib.parse import unquote
from urllib.parse import urlsplit

import fsspec
import shortuuid
from fsspec.asyn import AsyncFileSystem
from fsspec.dircache import DirCache

from .. import media_types
from .. import naming
from .. import secrecy
from ..concurrency import ioloop
from ..exceptions import FileNotFound
from ..exceptions import NotConfiguredError
from ..exceptions import StoreDenied
from ..exceptions import StoreError
from ..exceptions import StoreUnavailable
from ..secrecy import is_secret
from ..secrecy import Options
from ..uploads.disk import Unnamed
from ..uploads.properties import Properties
from ..uploads.source import Source
from . import claims
from . import tls
from .bodies import bounds as bounds
from .bodies import Fetched as Fetched
from .bodies import joined
from .bodies import part as part
from .bodies import pieces as pieces
from .bodies import Span as Span
from .bodies import whole as whole
from .connection import Connection
from .connection import Scope
from .errors import as_builtin
from .errors import explained
from .errors import NoAnswer
from .errors import NOT_A_FILE as NOT_A_FILE
from .errors import status_of
from .errors import undisguised
from .errors import version_gone
from .files import Files as Files
from .files import Hold as Hold
from .files import Mode as Mode
from .files import Stored as Stored
from .handles import HandleFile
from .limits import Limits as Limits
from .location import Location as Location
from .originals import Change as Change
from .originals import Joined as Joined
from .originals import NotByStorage as NotByStorage
from .originals import Original as Original
from .records import first as first
from .records import first_of as first_of
from .records import Folder as Folder
from .records import Listed as Listed
from .records import PAGE as PAGE
from .records import Stat as Stat
from .records import Unreachable as Unreachable
from .records import utc as utc
from .registry import register as register
from .spelling import checked
from .statuses import MISSING
from .statuses import no_place

if t.TYPE_CHECKING:
    from ..http.links import Method
    from ..http.links import Period
    from .claims import Claim
    from .growing import Growing
    from .parts import Parts

#: The beginning of a URL that leads through several filesystems: 'zip::'.
CHAIN = re.compile(r"[a-z]\w*(://[^:]*)?::", re.IGNORECASE)

NO_CHAIN = (
    "STORE_PATH chains filesystems in a way that is not supported. Write"
    " 'zip::s3://bucket/archive.zip', 'zip:///folder/archive.zip' or"
    " 'simplecache::s3://bucket/folder', or the URL of the storage itself."
)

#: The options that say which server a filesystem asks, and for whom.
WHERE = ("endpoint_url", "base_url", "host", "port", "username")

IS_FOLDER = "{} is a folder, which no file replaces. Choose another name."

DESTINATION_IS_FILE = (
    "The destination {} is a file. Choose another one, or move that file away."
)


class Dialect:
    """The safe default, for any filesystem that fsspec knows."""

    #: Whether this class knows the filesystem of its protocol. One that it does not
    #: know gets a time limit for each call, may keep no listings, and has its paths as
    #: its own class writes them.
    is_known: t.ClassVar[bool] = False
    #: ``"process"`` or ``"thread"``: who may share one filesystem instance.
    scope: Scope = "process"
    #: Whether the filesystem has a connection that may be lost; see :meth:`alive`.
    connected: t.ClassVar[bool] = False
    #: Which settings to look at when the storage refuses or does not answer.
    settings: str = "STORE_PATH and STORE_OPTIONS"
    #: Whether :meth:`open` gives a file of the operating system, or of memory, whose
    #: errors are those of the disk.
    plain_files: t.ClassVar[bool] = False
    #: The metadata by which a save knows its own file again; ``None`` where the
    #: protocol keeps no metadata.
    token_name: t.ClassVar[str | None] = None
    #: Whether a file keeps the properties of its upload, such as a Content-Encoding.
    keeps_properties: t.ClassVar[bool] = False
    #: Whether :meth:`sign` gives links.
    signs: bool = False
    #: Whether :meth:`sign` takes a version, which its signature covers.
    signs_versions: t.ClassVar[bool] = False
    #: Whether :meth:`upload_form` always has one, so that the application need not
    #: take uploads.
    takes_forms: bool = False
    #: Whether :meth:`parts` signs what a browser needs to send an upload in parts.
    takes_parts: bool = False
    #: The longest key, in bytes of UTF-8.
    longest_key: int = naming.MAX_KEY
    #: The texts in a name with which fsspec's filesystem opens no URL.
    unspeakable: t.ClassVar[tuple[str, ...]] = ()
    #: Whether nothing can be stored.
    read_only: t.ClassVar[bool] = False
    #: Whether :meth:`creates` is known to be true.
    _creates: bool = False

    def __init__(self, location: Location) -> None:
        self.location = location
        self.root = location.root
        self.connection = Connection(self.scope)

    # -- where ---------------------------------------------------------------

    @classmethod
    def from_url(cls, url: str, config: Mapping[str, t.Any]) -> Dialect:
        """The dialect at the place that a URL names.

        What reads through another storage takes its own part from the URL here, opens
        the rest by :func:`flask_store.dialects.urls.open_dialect`, and keeps what it
        gets.

        :param url: ``STORE_PATH``, which begins with a protocol of this dialect.
        :param config: every setting, read: :class:`~flask_store.settings.Settings`.
        :raises NotConfiguredError: if they cannot mean a store.
        """
        if CHAIN.match(url):
            raise NotConfiguredError(NO_CHAIN)
        return cls(cls.locate(url, config))

    @classmethod
    def locate(cls, url: str, config: Mapping[str, t.Any]) -> Location:
        """What *url* and the configuration say about the place of a store.

        :param config: every setting, read: :class:`~flask_store.settings.Settings`.
        :raises NotConfiguredError: if they cannot mean one.
        """
        protocol = urlsplit(url).scheme
        try:
            filesystem = fsspec.get_filesystem_class(protocol)
        except ImportError as exc:
            raise NotConfiguredError(
                f"{protocol}:// needs a library that is not installed: {exc}"
            ) from exc
        except ValueError as exc:  # a protocol of a dialect, unknown to fsspec
            raise NotConfiguredError(
                f"fsspec knows no filesystem for {protocol}://. Let"
                f" {cls.__name__}.locate() name a place in words that connect() uses,"
                " or register the filesystem with fsspec."
            ) from exc
        if not cls.is_known and _is_behind(filesystem, config["STORE_OPTIONS"]):
            raise NotConfiguredError(NO_CHAIN)
        options = filesystem._get_kwargs_from_urls(url)
        # fsspec leaves a password as the URL spells it; '%40' means '@'.
        for secret in ("username", "password"):
            if isinstance(options.get(secret), str):
                options[secret] = unquote(options[secret])
        root = t.cast(str, filesystem._strip_protocol(url)).rstrip("/")
        options |= config["STORE_OPTIONS"]
        return Location(protocol, root, options, Limits.of(config))

    def connect(self) -> fsspec.AbstractFileSystem:
        """A new filesystem; nothing of it is shared with the rest of the process."""
        protocol, options = self.location.protocol, self.connect_options()
        fs_class = fsspec.get_filesystem_class(protocol)
        limit = None if self.is_known else self._time_limit(fs_class, options)
        if issubclass(fs_class, AsyncFileSystem):
            options.setdefault("loop", ioloop.get_loop())
        fs = fsspec.filesystem(protocol, skip_instance_cache=True, **options)
        if not self.is_known and isinstance(getattr(fs, "dircache", None), DirCache):
            # Another process may have changed what this one has listed before.
            fs.dircache.use_listings_cache = False
        return ioloop.bridge(fs, limit) if issubclass(fs_class, AsyncFileSystem) else fs

    def _time_limit(self, fs_class: t.Any, options: dict[str, t.Any]) -> float:
        """Seconds for one call of a third party's filesystem. The option may be one of
        the filesystem's own, too."""
        limit = float(options.get("timeout") or self.location.limits.answer)
        if "timeout" not in inspect.signature(fs_class.__init__).parameters:
            options.pop("timeout", None)
        return limit

    @property
    def fs(self) -> fsspec.AbstractFileSystem:
        """The filesystem of this process or thread, which is made if there is none."""
        return self.connection.get(self._connected)

    def _connected(self) -> fsspec.AbstractFileSystem:
        """A new filesystem. That a file of certificates or keys is not there must not
        look as if the store had no such file."""
        try:
            with undisguised():
                return self.connect()
        except FileNotFoundError as exc:
            raise NotConfiguredError(
                f"The server cannot be asked, because a file is not there:"
                f" {exc.filename or exc}. Check {self.settings}, and the variables of"
                " the environment that name files."
            ) from exc

    def alive(self) -> bool:
        """Whether the filesystem, which was used before, still has its connection."""
        return True

    def reach(self) -> None:
        """Connect, if there is no connection yet. A caller does so before it does what
        it would have to undo if the server cannot be reached."""
        self.connection.get(self._connected)

    def anew(self) -> t.Self:
        """The same dialect with a connection of its own."""
        other = copy.copy(self)
        other.connection = Connection(self.scope)
        return other

    def check_connection(self) -> bool:
        """Forget a filesystem that has lost its connection, before an operation begins.

        :return: whether nothing is lost.
        """
        return self.connection.check(self.alive)

    def disconnect(self) -> None:
        """Forget a connection of this thread that may be in the middle of a reply."""
        self.connection.drop()

    def connect_options(self) -> Options:
        """What the filesystem is made with, in this process as it is now."""
        return Options(self.location.options)

    def path(self, key: str, *, follow: bool = True) -> str:
        """The filesystem's path of a checked key.

        :param follow: whether the operation follows a link in the last place.
        """
        return f"{self.root}/{key}" if self.root else f"{self._marker}{key}"

    @property
    def _marker(self) -> str:
        """What the paths of a third party's filesystem begin with."""
        if self.is_known:
            return ""
        fs_class = fsspec.get_filesystem_class(self.location.protocol)
        return t.cast(str, fs_class.root_marker)

    def absolute_path(self, key: str) -> str:
        """Where the storage keeps a file, without the name of a bucket."""
        return self.path(key)

    def address(self, key: str) -> str | None:
        """The public address of an object, where the storage itself serves it."""
        return None

    @property
    def has_addresses(self) -> bool:
        """Whether the storage serves its objects, each at its :meth:`address`."""
        return self.address("") is not None

    @property
    def prefix(self) -> str:
        """The part of an object's address that the store's root takes up."""
        return ""

    @property
    def uri(self) -> str:
        """The store's root as an fsspec URL, without any secret."""
        return self.location.uri

    @property
    def place(self) -> str:
        """What sets the store's root apart from every other one, to be compared, and
        not for people. The URI need not name the server, and two users of one server
        may have two folders of one name. It has no secret."""
        said = [
            f"{name}={value}"
            for name, value in sorted(self.location.options.items())
            if value and (name in WHERE or self._may_say_where(name, value))
        ]
        return " ".join([*said, self.uri])

    def _may_say_where(self, name: str, value: object) -> bool:
        """Whether an option of a third party's filesystem may name the server."""
        return not self.is_known and isinstance(value, str) and not is_secret(name)

    def uri_of(self, key: str) -> str:
        """A file as an fsspec URL, without any secret.

        :raises StoreError: if fsspec would take another name out of it.
        """
        return checked(self.url_of(key), key, self.unspeakable)

    def url_of(self, key: str) -> str:
        """The same, whether fsspec reads it as it is meant or not."""
        return f"{self.uri}/{key}"

    def object_store_options(self) -> dict[str, str]:
        """The place and the credentials, as the Rust crate ``object_store`` calls them:
        ``aws_*``, ``azure_*`` and ``google_*``.

        :raises NotConfiguredError: if the crate does not know the storage, or has no
            words for the settings.
        """
        raise NotConfiguredError(
            f"Libraries on object_store, such as polars and obstore, cannot reach"
            f" {self.uri}. Give them store.fs, or a file: pl.read_parquet(file)."
        )

    # -- writing -------------------------------------------------------------

    def check_writable(self) -> None:
        """:raises StoreDenied: if nothing can be stored."""

    def check_properties(self, properties: Properties) -> None:
        """Check what a caller wants to be stored with a file, before anything is.

        :param properties: checked by :meth:`.Properties.having`.
        :raises NotConfiguredError: if the storage has no place for it.
        :raises InvalidProperty: if the storage does not take a name.
        """
        if not self.keeps_properties:
            raise NotConfiguredError(
                f"{self.uri} has no place for metadata or a Cache-Control, only for the"
                " bytes of a file. Leave them out, and keep metadata in a database."
                " STORE_CACHE_CONTROL is for all files that the application serves."
            )

    def stage(self, source: Source) -> AbstractContextManager[t.Any]:
        """The upload, complete and checked, where no final name shows it."""
        return source.rewindable()

    def unnamed(self) -> Unnamed | None:
        """A new file on the disk of the store, for an upload that arrives; ``None``
        where the store is no disk.

        :raises OSError: if none can be made.
        """
        return None

    def exclusive(self, staged: t.Any) -> bool:
        """Whether :meth:`put_file` refuses a name that is taken, in one step.

        Where it does not, every name carries a UUID, which needs no agreement.
        """
        return False

    def put_file(
        self, staged: t.Any, key: str, content_type: str, mode: Mode
    ) -> Stored | None:
        """Give an upload its name, in one step.

        :param staged: what :meth:`stage` gave.
        :param mode: ``"create"`` refuses a name that is taken; the store asks for it
            only where :meth:`exclusive` says that it can. ``"overwrite"`` replaces a
            file of that name.
        :return: what the storage's answer tells of the file, if anything.
        :raises FileExistsError: if the name is taken, with ``"create"``.
        """
        if mode == "create":
            raise NotImplementedError
        path = self.path(key, follow=False)
        # A filesystem that renames, or copies, for itself gets the whole file under a
        # private name first. fsspec's own mv copies by the filesystem's cp_file.
        fs_class = type(self.fs)
        renames = fs_class.mv is not fsspec.AbstractFileSystem.mv
        copies = renames or _copies(fs_class)
        target = self.staging_path() if copies else path
        for name in {target, path}:
            self.fs.makedirs(self.fs._parent(name), exist_ok=True)
        # Without either, the file grows under its name, in place of an older one.
        before = None if copies else self._older(path)
        try:
            if isinstance(staged, Original):
                self._copy_privately(staged, target)
            else:
                self._write(staged, target)
            if renames:
                self.fs.mv(target, path)
            elif copies:
                self.fs.cp_file(target, path)
        except BaseException as exc:
            if not isinstance(exc, TimeoutError):  # which the next call would meet too
                with suppress(Exception):
                    if before is None or self._older(path) != before:
                        self.fs.rm_file(target)
            raise
        if copies and not renames:
            with suppress(Exception):  # sweep removes it
                self.fs.rm_file(target)
        return None

    def _older(self, path: str) -> Stat | None:
        """What has a name already, if anything has."""
        try:
            with undisguised():
                return self.record(self.fs.info(path), path)
        except NOT_A_FILE:
            return None

    def staging_path(self) -> str:
        """A new private path, in the storage but never shown."""
        return self.path(f"{naming.STAGING}/{shortuuid.uuid()}.part")

    def _write(self, source: Source, path: str) -> None:
        """Write a whole file, and look whether it is.

        After an error nothing is published, neither now nor later. What the filesystem
        has stored already is left for the caller to remove.
        """
        file = self._limited(self.fs.open(path, "wb"))
        size = 0
        try:
            for data in source.chunks():
                written = file.write(data)
                if written not in (None, len(data)):
                    raise NoAnswer(f"it took {written} of {len(data)} bytes")
                size += len(data)
                del data  # and its memory, while the next piece arrives
            file.close()
        except BaseException:
            _abandon(file)
            raise
        with undisguised():
            stored = self.fs.info(path).get("size")
        if stored not in (None, size):
            raise NoAnswer(f"it stored {stored} bytes of {size}")

    # -- copying and moving --------------------------------------------------

    def shares(self, other: Dialect) -> bool:
        """Whether the files of another dialect are in the storage of this one, and its
        filesystem may do with them what it may do with its own: both have the same
        protocol, server and credentials. Their folders may differ."""
        return (
            type(self) is type(other)
            and self.location.protocol == other.location.protocol
            and self._access() == other._access()
        )

    def _access(self) -> dict[str, t.Any]:
        """Which server the filesystem asks, and as whom."""
        return dict(self.location.options)

    def stored_by(self, key: str) -> Dialect | None:
        """The dialect that has stored a file; ``None`` if the file waits for that."""
        return self

    def mv(self, original: Original) -> AbstractContextManager[t.Any]:
        """A stored file, which :meth:`put_file` gives another name instead of an
        upload. A name that is taken is refused, whatever the mode: a rename that
        replaces could destroy the very file, if both names are names of it.

        :param original: of a dialect that this one :meth:`shares` the storage with.
            Then :attr:`.Original.renamed` or :attr:`.Original.linked` is set.
        :raises NotByStorage: here or in :meth:`put_file`, if the storage does not.
        """
        raise NotByStorage

    def touch(self, key: str) -> None:
        """Give a file that has been moved the date of now, where it was a rename and
        the storage lets it: who looks for forgotten files goes by the date."""

    def cp_file(self, original: Original) -> AbstractContextManager[t.Any]:
        """A copy of a stored file, which the storage makes, and to which
        :meth:`put_file` gives a name.

        :param original: of a dialect that this one :meth:`shares` the storage with.
        :raises NotByStorage: here or in :meth:`put_file`, if the storage does not.
        :raises VersionGone: here or in :meth:`put_file`, if the file was replaced.
        """
        # Nobody has tried whether a filesystem that this class does not know copies
        # all of a file, so that it is looked at.
        if self.is_known or not _copies(type(self.fs)):
            raise NotByStorage
        return nullcontext(original)

    def _copy_privately(self, original: Original, path: str) -> None:
        """Copy a stored file to a private path, by the filesystem."""
        try:
            self.fs.cp_file(original.path(), path)
            with undisguised():
                size = self.fs.info(path).get("size")
        except Exception as exc:
            if isinstance(self.explain(exc, None), StoreUnavailable):
                raise
            raise NotByStorage from exc
        if size not in (None, original.size):
            raise NotByStorage
        original.check()

    def join(self, joined: Joined) -> AbstractContextManager[t.Any]:
        """One file of several private ones, which the storage makes, and to which
        :meth:`put_file` gives a name. The others stay where they are.

        :param joined: one part at least.
        :raises NotByStorage: here or in :meth:`put_file`, if the storage does not.
        """
        raise NotByStorage

    def adopt(self, claim: Claim, *parts: Stat, change: Change | None = None) -> None:
        """Publish a direct upload: give the private file, or several of them as one,
        the key ``claim.key``, or a copy. The caller removes what is left of them.

        :param parts: what the upload consists of, in its order; none if it is empty.
            A single one is the version that was looked at. Where an upload can be sent
            again, no other one is taken.
        :param change: what is done to the bytes. They go through this process then.
        :raises FileExistsError: if the key is taken, in one step where the storage
            creates in one step.
        :raises FileNotFoundError: if there is no such upload any more.
        :raises VersionGone: if the upload was sent again meanwhile.
        """
        original, ways = self._arrived(claim, parts)
        original.properties = claim.kept
        with closing(original.stream):
            if change is not None:
                with change(original, claim.key) as changed, self.stage(changed) as new:
                    return self._give_key(new, claim)
            for stage in ways:
                try:
                    with stage(original) as copy:
                        return self._give_key(copy, claim)
                except NotByStorage:
                    pass
            with self.stage(original) as upload:
                self._give_key(upload, claim)
        self._check_copy(claim, original.found)

    def _arrived(
        self, claim: Claim, parts: Sequence[Stat]
    ) -> tuple[Original, list[t.Callable[[t.Any], AbstractContextManager[t.Any]]]]:
        """A direct upload as one file, and how the storage may give it a key."""
        if len(parts) != 1:
            return Joined(claim.staged, parts, self), [self.join] if parts else []
        (staged,) = parts

        def read() -> Iterator[bytes]:
            return whole(self.get(staged.name, None, staged))

        return Original(staged, self, read, resumes=True), [self.mv, self.cp_file]

    def _give_key(self, staged: t.Any, claim: Claim) -> None:
        """Publish a direct upload under its key, if that is free."""
        if self.exclusive(staged):
            self.put_file(staged, claim.key, claim.content_type, "create")
        elif self._is_there(self.path(claim.key, follow=False)):
            raise FileExistsError(claim.key)
        else:
            self.put_file(staged, claim.key, claim.content_type, "overwrite")

    def _check_copy(self, claim: Claim, staged: Stat) -> None:
        """Look whether the copy of a direct upload is whole, and remove it if not.

        :raises NoAnswer: if it is not.
        """
        with suppress(FileNotFoundError):
            if self.info(claim.key).holds(staged):
                return
            self.rm_file(claim.key)
        raise NoAnswer(f"it has not copied all of {naming.quoted(claim.key)}")

    # -- reading -------------------------------------------------------------

    def info(self, key: str) -> Stat:
        """:raises FileNotFoundError: if there is no such file."""
        with undisguised():
            info = self.fs.info(self.path(key))
        if _type(info) != "file":
            raise FileNotFoundError(key)
        return self.record(info, key)

    def record(self, info: Mapping[str, t.Any], key: str) -> Stat:
        """An fsspec ``info`` as a :class:`Stat`."""
        etag = first(info, "ETag", "etag")
        size = info.get("size")
        if size is None:
            raise NoAnswer(f"it gives no size of {naming.quoted(key)}")
        return Stat(
            name=key,
            size=int(size),
            modified=utc(
                first(info, "LastModified", "last_modified", "updated", "mtime")
                or first(info, "modified", "created")
            ),
            etag=etag.strip('"') if etag else None,
            content_type=first(info, "ContentType", "contentType", "content_type")
            or media_types.content_type(key),
        )

    def get(
        self,
        key: str,
        span: Span | None = None,
        found: Stat | None = None,
    ) -> Fetched | None:
        """The bytes of a file, or some of them, and what is known of the file.

        The body has exactly the bytes that the answer says, or raises an error. The
        store counts them once more.

        :param span: which bytes, by default all. The storage may give more of them.
        :param found: what :meth:`info` said of the version that is wanted.
        :return: ``None`` if the file has no byte of the span.
        :raises FileNotFoundError: if there is no such file.
        :raises VersionGone: if the file is not the version *found*, where the protocol
            can tell.
        """
        known = found or self.info(key)
        where = bounds(span, known.size)
        if where is None:
            return None
        return Fetched(known, *where, self._version(known, *where))

    def confirm_end(self, key: str, span: Span) -> None:
        """Look whether a file really ends before a span, as an answer says that may
        only be shorter than the file.

        :raises NoAnswer: if the file has bytes of the span.
        """
        if span.meets(self.info(key).size):
            raise NoAnswer(f"it has nothing of {span}, where the file has")

    def _version(self, known: Stat, start: int, stop: int) -> Iterator[bytes]:
        """Bytes of one version: it is still there when the last of them have come."""
        # One byte more than there should be, so that it is noticed.
        more = stop == known.size
        yield from self._between(known.name, start, stop + more)
        self._check_version(known)

    def _check_version(self, known: Stat) -> None:
        """:raises VersionGone: if a file is not the version that is known."""
        with suppress(FileNotFoundError):
            if self.info(known.name).version == known.version:
                return
        raise version_gone(known.name)

    def _between(self, key: str, start: int, stop: int) -> Iterator[bytes]:
        with self._opened(key) as file:
            yield from pieces(file, start, stop)

    def cat_file(self, key: str) -> bytes:
        """The whole content.

        :raises FileNotFoundError: if there is no such file.
        """
        return joined(whole(self.get(key)))

    def on_disk(self, key: str) -> str | None:
        """The path of a file that a web server on this machine can send."""
        return None

    def open(self, key: str) -> t.IO[bytes]:
        """A stored file, for reading.

        :raises FileNotFoundError: if there is no such file.
        """
        known = self.info(key)
        file = self._opened(key)

        def check() -> None:
            if file.read(1):
                raise NoAnswer("there are more bytes than were announced")
            self._check_version(known)

        return t.cast("t.IO[bytes]", HandleFile(file, known.size, check))

    def _opened(self, key: str) -> t.IO[bytes]:
        with undisguised():
            file = self._limited(self.fs.open(self.path(key), "rb"))
        return t.cast("t.IO[bytes]", file)

    def _limited(self, file: t.Any) -> t.Any:
        """A file of which every part has a time limit, if its filesystem is
        asynchronous."""
        limit = getattr(self.fs, ioloop.LIMIT, None)
        if limit is not None:
            ioloop.bridge_file(file, Limits(limit).call)
        return file

    def find(self, prefix: str) -> Iterator[Stat | Unreachable]:
        """Every file below the folder *prefix*, folder by folder.

        The store drops private files, and objects that stand for a folder, and tells
        apart names that it cannot use.

        :raises Exception: if the listing is not whole. Only a folder that vanishes
            meanwhile may be left out.
        """
        # Each with the identities of those above it, where the filesystem gives any: a
        # link that leads back would otherwise be followed without end.
        folders: list[tuple[str, frozenset[str]]] = [(self._top(prefix), frozenset())]
        while folders:
            folder, above = folders.pop()
            below = []
            for key, info in self._below(folder):
                if _type(info) != "directory":
                    yield self._found(key, info)
                elif info.get("unique") in above:
                    yield Unreachable(key, "is a folder that leads back to itself.")
                elif key.rpartition("/")[2] != naming.STAGING:
                    identity = {info["unique"]} if info.get("unique") else set()
                    below.append((self.path(key), above | identity))
            folders += reversed(below)

    def ls(self, prefix: str) -> Iterator[Listed]:
        """What is right below the folder *prefix*, by as few requests as there are
        pages. :meth:`find` says what goes for both.

        :raises Exception: if the listing is not whole.
        """
        for key, info in self._below(self._top(prefix)):
            if _type(info) != "directory":
                yield self._found(key, info)
            elif key.rpartition("/")[2] != naming.STAGING:
                yield Folder(key)

    def _top(self, prefix: str) -> str:
        return self.path(prefix) if prefix else self.root or self._marker

    def _below(self, folder: str) -> list[tuple[str, dict[str, t.Any]]]:
        """What is in one folder, by the keys; nothing if the folder has vanished.

        :raises NoAnswer: if the folder is there and cannot be listed.
        """
        try:
            with undisguised():
                infos = self.fs.ls(folder, detail=True)
        except NOT_A_FILE as exc:
            if self._vanished(folder):
                return []
            raise NoAnswer(f"it cannot list {naming.quoted(folder)}") from exc
        return [
            (self.key_of(info["name"]), info)
            for info in infos
            # Some list the folder itself, or a file when they are asked for a folder.
            if self.fs._strip_protocol(info["name"]).rstrip("/") != folder.rstrip("/")
        ]

    def _vanished(self, folder: str) -> bool:
        """Whether a folder that cannot be listed is no folder, as its parent says."""
        if not folder.startswith(f"{self.root}/") or folder == self._marker:
            return True
        parent, _, name = folder.rpartition("/")
        key = self.key_of(folder)
        return all(
            key != other or _type(info) == "file"
            for other, info in self._below(parent or self._marker)
        )

    def _found(self, key: str, info: dict[str, t.Any]) -> Stat | Unreachable:
        """What is listed in a folder and is no folder."""
        entry_type = _type(info)
        if entry_type == "link":
            try:
                with undisguised():
                    info = self.fs.info(self.path(key))
            except NOT_A_FILE:
                return Unreachable(key, "is a link that leads nowhere.")
            if _type(info) == "directory":
                return Unreachable(key, "is a link to a folder, which is not followed.")
            entry_type = _type(info)
        if entry_type != "file":
            return Unreachable(key, "is neither a file nor a folder.")
        return self.record(info, key)

    def key_of(self, name: str) -> str:
        """The key of what the filesystem lists as *name*.

        :raises StoreError: if that is not below the store's root.
        """
        root = f"{self.root}/" if self.root else self._marker
        # As it is, if possible: a name may look like a URL.
        path = name if name.startswith(root) else self.fs._strip_protocol(name)
        if not path.startswith(root):
            raise StoreError(
                f"The filesystem lists {naming.quoted(path)}, which is not below"
                f" {naming.quoted(root)}. Write STORE_PATH as the filesystem itself"
                " writes its paths."
            )
        return t.cast(str, path[len(root) :].rstrip("/"))

    def first_page(self, prefix: str) -> tuple[list[Stat | Unreachable], bool]:
        """What one request tells about the files below a folder, for views. A dialect
        that lists in its own way, by :meth:`find`, says here how a view begins:
        ``records.first_of`` takes the first files.

        :return: the files, and whether there may be more.
        """
        entries = list(self.ls(prefix))
        files = [entry for entry in entries if not isinstance(entry, Folder)]
        return files, len(files) < len(entries)

    def hold(self, key: str) -> AbstractContextManager[Hold]:
        """A file that is to be deleted. No upload of this host writes it meanwhile."""
        return nullcontext(Hold(self, key))

    def rm_file(self, key: str) -> None:
        """:raises FileNotFoundError: if there is no such file."""
        self.fs.rm_file(self.path(key, follow=False))

    def rm_files(self, keys: Sequence[str]) -> Iterator[tuple[str, StoreError | None]]:
        """Remove many files. A dialect whose storage removes many by one request says
        so here.

        :param keys: the files, each once, at most 1,000 of them.
        :return: each of the files that the storage was asked about, as it answers, with
            the error if the file is still there.
            :exc:`~flask_store.exceptions.FileNotFound` is the error of one that was not
            there before, where the storage tells.
        :raises StoreUnavailable: if the storage does not answer.
        :raises NotConfiguredError: if no file could be removed.
        """
        for key in keys:
            try:
                with self.explained(key):
                    self.rm_file(key)
            except (StoreUnavailable, NotConfiguredError):
                raise
            except StoreError as exc:
                yield key, exc
            else:
                yield key, None

    def is_one_file(self, old: str, new: str, theirs: Dialect) -> bool:
        """Whether two paths mean one file. Asked when both look alike, before one of
        them is deleted.

        Two spellings may, where the filesystem ignores case, and two folders, one of
        which is a link to the other. It alone knows, and is asked by an empty file in a
        private folder beside *new*: is it seen beside *old* under the other name? The
        file in question is not touched.

        :param old: what is to be deleted.
        :param new: the path of this dialect.
        :param theirs: the dialect, of the same class, of the old path. Its server may
            be another one, or this one under another address.
        """
        folder, _, name = new.rpartition("/")
        old_folder, _, old_name = old.rpartition("/")
        if old == new and self.place == theirs.place:
            return True
        if naming.folded(name) != naming.folded(old_name):
            return False
        private = f"{naming.STAGING}/{shortuuid.uuid()}"
        mark = f"{folder}/{private}/{name}"
        try:
            self._mark(mark)
            return theirs._is_there(f"{old_folder}/{private}/{old_name}")
        finally:
            with suppress(Exception):
                self._remove(mark)
                self._rmdir(f"{folder}/{private}")
                if folder != self.root:  # where uploads of others are about to begin
                    self._rmdir(f"{folder}/{naming.STAGING}")

    def _mark(self, path: str) -> None:
        """Write an empty file, and the folders above it."""
        self.fs.makedirs(self.fs._parent(path), exist_ok=True)
        self._write(Source(io.BytesIO(), None), path)

    def _is_there(self, path: str) -> bool:
        try:
            with undisguised():
                self.fs.info(path)
        except NOT_A_FILE:
            return False
        return True

    def _remove(self, path: str) -> None:
        self.fs.rm_file(path)

    def _rmdir(self, folder: str) -> None:
        self.fs.rmdir(folder)

    def rm_folder(self, key: str) -> None:
        """Remove a private folder if it is empty, where the storage has folders that
        take up space, and does not remove what is in them."""

    # -- what the storage signs ----------------------------------------------

    def sign(
        self,
        key: str,
        period: Period,
        disposition: str,
        content_type: str,
        method: Method = "GET",
        version_id: str | None = None,
    ) -> str | None:
        """A link by which anybody may read the file, signed by the storage's own
        rules and without asking it; ``None`` to sign through the application.

        :param period: when it is good. The same period has to give the same link.
        :param disposition: the ``Content-Disposition`` to answer with.
        :param content_type: the ``Content-Type`` to answer with, in place of the one
            that is stored.
        :param method: what the link is for, where a signature covers the method.
        :param version_id: one version of the file, as the storage calls it. A dialect
            without :attr:`signs_versions` never gets it.
        """
        return None

    def upload_form(self, claim: Claim) -> tuple[str, dict[str, str]] | None:
        """The address and the fields of a form that POSTs one file to the storage,
        at ``claim.staged``; ``None`` to upload through the application.

        The storage itself has to keep to the size, the type and the expiry; a storage
        whose signatures do not cover all three has no form.
        """
        return None

    def parts(self, claim: Claim) -> Parts:
        """The multipart uploads of the private file ``claim.staged``, where
        :attr:`takes_parts` says so."""
        raise NotImplementedError

    # -- what killed processes left ------------------------------------------

    def sweep(self, before: dt.datetime, dry_run: bool) -> Iterator[str]:
        """Remove what lies in the private folder since *before*, and name it; not
        what a token of an upload that is still good may need."""
        for info in self.left():
            name = str(info["name"]).rstrip("/").rpartition("/")[2]
            modified = self.record(
                {**info, "size": info.get("size") or 0}, name
            ).modified
            if claims.is_over(name, modified, before):
                if not dry_run:
                    self.discard(self.path(f"{naming.STAGING}/{name}"))
                yield f"{naming.STAGING}/{name}"

    def left(self) -> list[dict[str, t.Any]]:
        """What lies in the private folder."""
        try:
            with undisguised():
                infos = self.fs.ls(self.path(naming.STAGING), detail=True)
        except NOT_A_FILE:
            return []
        # An object store may show the folder itself, in either way.
        return [
            info
            for info in infos
            if _type(info) == "file"
            and not info["name"].rstrip("/").endswith(naming.STAGING)
        ]

    def private(self, beginning: str) -> Iterator[tuple[str, int]]:
        """The private files whose names begin so, without their folder, and how many
        bytes each has."""
        for info in self.left():
            name = str(info["name"]).rstrip("/").rpartition("/")[2]
            if name.startswith(beginning):
                yield name, int(info.get("size") or 0)

    def creates(self) -> bool:
        """Whether a small private file can be created only if there is none."""
        if not self._creates:  # what is unclear may be clear the next time
            with self.stage(Source(io.BytesIO(), None)) as staged:
                self._creates = self.exclusive(staged)
        return self._creates

    def growing(self, key: str) -> Growing | None:
        """A private file that grows; ``None`` to store it in pieces, and to join them.

        A dialect says so only if two writers, on two hosts, cannot both append at one
        position.
        """
        return None

    def discard(self, path: str) -> None:
        """Remove a private file, if it is there."""
        with suppress(FileNotFoundError):
            self.fs.rm_file(path)

    # -- what went wrong -----------------------------------------------------

    @contextmanager
    def explained(self, key: str, source: Source | None = None) -> Iterator[None]:
        """What the filesystem raises becomes a :exc:`StoreError`; what the caller's
        own stream raises stays as it is."""
        try:
            if self.connected:
                self.check_connection()
            yield
        except NotByStorage:
            raise  # there is another way
        except Exception as exc:
            if source is not None and source.error is not None:
                raise source.error from None
            error: StoreError | None
            error = exc if isinstance(exc, StoreError) else self.explain(exc, key)
            if source is not None and isinstance(error, FileNotFound):
                # Of what is written, so that the place of it is missing.
                error = no_place(key, "storage")
            if not self.plain_files:
                error = self._with_tls(error, exc, key)
            if isinstance(error, StoreUnavailable):
                self.disconnect()
            options = self.location.options
            if not self.plain_files and secrecy.is_shown(exc, options):
                # A library quotes a token or a password. Then it is not quoted in turn.
                error = error or StoreError(f"{type(exc).__name__}: {exc}", key)
                error.args = (secrecy.redacted(str(error), options),)
                raise error from None
            if error is None or error is exc:
                raise
            raise error from exc

    def _with_tls(
        self, error: StoreError | None, exc: Exception, key: str | None
    ) -> StoreError | None:
        """An error in the words of TLS, if that is what is wrong."""
        vague = (NotConfiguredError, StoreUnavailable, type(None))
        if type(error) is not StoreError and not isinstance(error, vague):
            return error
        found = tls.explained(exc, key, self.trust)
        hint = tls.hint(exc, self.trust) if found is None else ""
        if error is None or not hint:
            return found or error
        message = str(error).rstrip(".")
        return type(error)(f"{message}. {hint}", key)

    @property
    def trust(self) -> tls.Trust:
        """Whose certificates the client of this protocol accepts."""
        return tls.Trust(self.settings, ("SSL_CERT_FILE",))

    def explain(self, exc: Exception, key: str | None) -> StoreError | None:
        """The :exc:`StoreError` for what the filesystem raised, if it is known."""
        error = explained(exc, key, self.settings)
        if error is None and isinstance(exc, NotImplementedError):
            return StoreDenied(
                f"The filesystem of {self.location.protocol}:// cannot write, or cannot"
                " do what a store needs. Choose another STORE_PATH.",
                key,
            )
        known = as_builtin(exc)
        if error is None and status_of(exc) in MISSING:
            return explained(FileNotFoundError(), key, self.settings)
        if error is None and known is not None:
            error = explained(known, key, self.settings) or StoreError(
                f"The storage fails for {naming.quoted(key)}: {exc or known!r}. Its own"
                " log may tell more.",
                key,
            )
        return error


def _type(info: Mapping[str, t.Any]) -> str:
    """What an info is about: ``"file"``, ``"directory"`` or something else.

    :raises NoAnswer: if it does not say.
    """
    entry_type = info.get("type")
    if not entry_type:
        raise NoAnswer(f"it does not say whether {info.get('name')!r} is a file")
    return str(entry_type)


def _is_behind(fs_class: t.Any, options: Mapping[str, t.Any]) -> bool:
    """Whether a filesystem reads through another one that no option names, as fsspec's
    archives, folders and caches do."""
    parameters = inspect.signature(fs_class.__init__).parameters
    named = "fo" in parameters and "fo" in options
    return "target_protocol" in parameters and not named


def _copies(fs_class: t.Any) -> bool:
    """Whether a filesystem copies for itself, which fsspec's own classes do not."""
    if issubclass(fs_class, AsyncFileSystem):
        return fs_class._cp_file is not AsyncFileSystem._cp_file
    return fs_class.cp_file is not fsspec.AbstractFileSystem.cp_file


def _abandon(file: t.Any) -> None:
    """Keep a file from being published by close(), which the garbage collector calls
    too. On every filesystem close() publishes what was written so far."""
    with suppress(Exception):
        file.discard()
    # 'closed' is a property of what derives from io.IOBase.
    for given_up in (file, getattr(file, "raw", None)):
        for name, value in (("closed", True), ("close", _nothing)):
            with suppress(Exception):
                setattr(given_up, name, value)


def _nothing(*args: object) -> None:
    """What is done by close() of a file that is given up."""
