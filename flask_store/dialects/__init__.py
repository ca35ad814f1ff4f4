"""What one protocol guarantees, and how it says it.

:class:`Dialect` is the safe default: it believes nothing that it cannot know, so
that a filesystem which nobody has tried yet never loses a file. The other modules
hold one protocol each, and only where it differs.
"""

from __future__ import annotations

import datetime as dt
import typing as t
from collections.abc import Iterator
from collections.abc import Mapping
from contextlib import AbstractContextManager
from contextlib import suppress
from urllib.parse import unquote
from urllib.parse import urlsplit

import fsspec
import shortuuid
from fsspec.asyn import AsyncFileSystem

from .. import claims
from .. import ioloop
from .. import media_types
from .. import naming
from ..exceptions import StoreError
from ..sources import Source
from ..unnamed import Unnamed
from .errors import explained
from .errors import NoAnswer
from .errors import NOT_A_FILE as NOT_A_FILE
from .places import Location as Location
from .places import options_in as options_in
from .places import switch_in as switch_in
from .records import Fetched as Fetched
from .records import first as first
from .records import first_of as first_of
from .records import joined
from .records import PAGE as PAGE
from .records import part as part
from .records import pieces as pieces
from .records import Span as Span
from .records import Stat as Stat
from .records import Unreachable as Unreachable
from .records import utc as utc
from .records import whole as whole
from .signing import Signing

#: Seconds to wait for a server's next word, unless STORE_OPTIONS says otherwise. A
#: save that waits longer holds a worker; every protocol gives up within 10 s.
TIMEOUT = 8

DESTINATION_IS_FILE = (
    "The destination {} is a file. Choose another one, or move that file away."
)


class Dialect(Signing):
    """The safe default, for any filesystem that fsspec knows."""

    #: The names under which fsspec registers the protocol.
    protocols: t.ClassVar[tuple[str, ...]] = ()
    #: ``"process"`` or ``"thread"``: who may share one filesystem instance.
    scope: str = "process"
    #: Which settings to look at when the storage refuses or does not answer.
    settings: str = "STORE_PATH and STORE_OPTIONS"
    #: Whether :meth:`open` gives a file of the operating system, or of memory, whose
    #: errors are those of the disk.
    plain_files: t.ClassVar[bool] = False
    #: The metadata by which a save knows its own file again; ``None`` where the
    #: protocol keeps no metadata.
    token_name: t.ClassVar[str | None] = None
    #: Whether nothing can be stored.
    read_only: t.ClassVar[bool] = False

    def __init__(self, location: Location) -> None:
        self.location = location
        self.root = location.root

    # -- where ---------------------------------------------------------------

    @classmethod
    def locate(cls, url: str, config: Mapping[str, t.Any]) -> Location:
        """What *url* and the configuration say about the place of a store.

        :raises NotConfiguredError: if they cannot mean one.
        """
        protocol = urlsplit(url).scheme
        filesystem = fsspec.get_filesystem_class(protocol)
        options = filesystem._get_kwargs_from_urls(url)
        # fsspec leaves a password as the URL spells it; '%40' means '@'.
        for secret in ("username", "password"):
            if isinstance(options.get(secret), str):
                options[secret] = unquote(options[secret])
        root = t.cast(str, filesystem._strip_protocol(url)).rstrip("/")
        return Location(protocol, root, {**options, **options_in(config)})

    def connect(self) -> fsspec.AbstractFileSystem:
        """A new filesystem; nothing of it is shared with the rest of the process."""
        protocol, options = self.location.protocol, self.connect_options()
        if not issubclass(fsspec.get_filesystem_class(protocol), AsyncFileSystem):
            return fsspec.filesystem(protocol, skip_instance_cache=True, **options)
        options.setdefault("loop", ioloop.get_loop())
        return ioloop.bridge(
            fsspec.filesystem(protocol, skip_instance_cache=True, **options)
        )

    def alive(self, fs: fsspec.AbstractFileSystem) -> bool:
        """Whether a filesystem that was used before still has its connection."""
        return True

    def connect_options(self) -> dict[str, t.Any]:
        """What the filesystem is made with, in this process as it is now."""
        return dict(self.location.options)

    def path(self, key: str, *, follow: bool = True) -> str:
        """The filesystem's path of a checked key.

        :param follow: whether the operation follows a link in the last place.
        """
        return f"{self.root}/{key}" if self.root else key

    def absolute_path(self, key: str) -> str:
        """Where the storage keeps a file, without the name of a bucket."""
        return self.path(key)

    def address(self, key: str) -> str | None:
        """The public address of an object, where the storage itself serves it."""
        return None

    @property
    def prefix(self) -> str:
        """The part of an object's address that the store's root takes up."""
        return ""

    @property
    def uri(self) -> str:
        """The store's root as an fsspec URL, without any secret."""
        return f"{self.location.protocol}://{self.root}"

    def uri_of(self, key: str) -> str:
        """A file as an fsspec URL, without any secret."""
        return f"{self.uri}/{key}"

    # -- writing -------------------------------------------------------------

    def stage(
        self, fs: fsspec.AbstractFileSystem, source: Source
    ) -> AbstractContextManager[t.Any]:
        """The upload, complete and checked, where no final name shows it."""
        return source.rewindable()

    def unnamed(self) -> Unnamed | None:
        """A new file on the disk of the store, for an upload that arrives; ``None``
        where the store is no disk.

        :raises OSError: if none can be made.
        """
        return None

    def exclusive(self, fs: fsspec.AbstractFileSystem, staged: t.Any) -> bool:
        """Whether :meth:`create` refuses a name that is taken, in one step.

        Where it does not, every name carries a UUID, which needs no agreement.
        """
        return False

    def create(
        self, fs: fsspec.AbstractFileSystem, staged: t.Any, path: str, content_type: str
    ) -> None:
        """Publish under a name that is free, in one step.

        :raises FileExistsError: if the name is taken.
        """
        raise NotImplementedError

    def replace(
        self, fs: fsspec.AbstractFileSystem, staged: t.Any, path: str, content_type: str
    ) -> None:
        """Publish under a name, in place of what may be there."""
        # A filesystem that renames for itself does so in one step; fsspec's own
        # mv copies, which would show the file while it grows.
        renames = type(fs).mv is not fsspec.AbstractFileSystem.mv
        target = self.staging_path() if renames else path
        for name in {target, path}:
            fs.makedirs(fs._parent(name), exist_ok=True)
        self._write(fs, staged, target)
        if renames:
            fs.mv(target, path)

    def staging_path(self) -> str:
        """A new private path, in the storage but never shown."""
        return self.path(f"{naming.STAGING}/{shortuuid.uuid()}.part")

    @staticmethod
    def _write(fs: fsspec.AbstractFileSystem, source: Source, path: str) -> None:
        file = fs.open(path, "wb")
        try:
            for data in source.chunks():
                file.write(data)
            file.close()
        except BaseException:
            # close() publishes what was written so far, on every filesystem.
            with suppress(Exception):
                file.discard()
            file.closed = True
            with suppress(FileNotFoundError):
                fs.rm_file(path)
            raise

    # -- reading -------------------------------------------------------------

    def stat(self, fs: fsspec.AbstractFileSystem, key: str) -> Stat:
        """:raises FileNotFoundError: if there is no such file."""
        info = fs.info(self.path(key))
        if info["type"] == "directory":
            raise FileNotFoundError(key)
        return self.record(info, key)

    def record(self, info: Mapping[str, t.Any], key: str) -> Stat:
        """An fsspec ``info`` as a :class:`Stat`."""
        etag = first(info, "ETag", "etag")
        kept = first(info, "Metadata", "metadata") if self.token_name else None
        if info["size"] is None:
            raise NoAnswer("it gives no size")
        return Stat(
            name=key,
            size=int(info["size"]),
            modified=utc(
                first(info, "LastModified", "last_modified", "updated", "mtime")
                or first(info, "modified", "created")
            ),
            etag=etag.strip('"') if etag else None,
            content_type=first(info, "ContentType", "contentType", "content_type")
            or media_types.content_type(key),
            token=(kept or {}).get(self.token_name),
        )

    def get(
        self,
        fs: fsspec.AbstractFileSystem,
        key: str,
        span: Span | None = None,
        found: Stat | None = None,
    ) -> Fetched | None:
        """The bytes of a file, or some of them, and what is known of the file.

        The body has exactly the bytes that the answer says, or raises an error. The
        store counts them once more.

        :param span: which bytes, by default all. The storage may give more of them.
        :param found: what :meth:`stat` said of the version that is wanted.
        :return: ``None`` if the file has no byte of the span.
        :raises FileNotFoundError: if there is no such file.
        :raises VersionGone: if the file is not the version *found*, where the protocol
            can tell.
        """
        known = found or self.stat(fs, key)
        start, stop = span.within(known.size) if span else (0, known.size)
        if span and start >= stop:
            return None
        return Fetched(known, start, stop, self._between(fs, key, start, stop))

    def _between(
        self, fs: fsspec.AbstractFileSystem, key: str, start: int, stop: int
    ) -> Iterator[bytes]:
        with self.open(fs, key) as file:
            yield from pieces(file, start, stop)

    def read(self, fs: fsspec.AbstractFileSystem, key: str) -> bytes:
        """The whole content.

        :raises FileNotFoundError: if there is no such file.
        """
        return joined(whole(self.get(fs, key)))

    def on_disk(self, key: str) -> str | None:
        """The path of a file that a web server on this machine can send."""
        return None

    def open(self, fs: fsspec.AbstractFileSystem, key: str) -> t.IO[bytes]:
        """A stored file, for reading.

        :raises FileNotFoundError: if there is no such file.
        """
        return t.cast("t.IO[bytes]", fs.open(self.path(key), "rb"))

    def walk(
        self, fs: fsspec.AbstractFileSystem, prefix: str
    ) -> Iterator[Stat | Unreachable]:
        """Every file below the folder *prefix*, folder by folder.

        The store drops what belongs to nobody, such as the private folder and objects
        that stand for a folder, and tells apart names that it cannot use.

        :raises Exception: if the listing is not whole. Only a folder that vanishes
            meanwhile may be left out.
        """
        top = self.path(prefix) if prefix else self.root
        try:
            for _, folders, files in fs.walk(top, detail=True, on_error="raise"):
                folders.pop(naming.STAGING, None)
                for info in files.values():
                    yield self.record(info, self.key_of(fs, info["name"]))
        except FileNotFoundError:
            return

    def key_of(self, fs: fsspec.AbstractFileSystem, name: str) -> str:
        """The key of what the filesystem lists as *name*.

        :raises StoreError: if that is not below the store's root.
        """
        path: str = fs._strip_protocol(name)
        if not self.root:
            return path
        if not path.startswith(f"{self.root}/"):
            raise StoreError(
                f"The filesystem lists {naming.quoted(path)}, which is not below"
                f" {naming.quoted(self.root)}. Write STORE_PATH as the filesystem"
                " itself writes its paths."
            )
        return path[len(self.root) + 1 :]

    def first_page(
        self, fs: fsspec.AbstractFileSystem, prefix: str
    ) -> tuple[list[Stat | Unreachable], bool]:
        """What one request tells about the files below a folder, for views.

        :return: the files, and whether there may be more.
        """
        if type(self).walk is not Dialect.walk:
            # Who lists in another way knows why; then it may take a few requests.
            return first_of(self.walk(fs, prefix))
        top = self.path(prefix) if prefix else self.root
        files: list[Stat | Unreachable] = []
        more = False
        with suppress(FileNotFoundError):
            for info in fs.ls(top, detail=True):
                key = self.key_of(fs, info["name"])
                if info["type"] == "file":
                    files.append(self.record(info, key))
                elif key != naming.STAGING:
                    more = True
        return files, more

    def delete(self, fs: fsspec.AbstractFileSystem, key: str) -> None:
        """:raises FileNotFoundError: if there is no such file."""
        fs.rm_file(self.path(key, follow=False))

    def is_one_file(self, fs: fsspec.AbstractFileSystem, old: str, new: str) -> bool:
        """Whether two paths mean one file, as two spellings may on a server that
        ignores case. Asked when both look alike, before one of them is deleted.

        Where nobody can tell, paths that differ in case or in their Unicode form only
        are taken for one.
        """
        return naming.folded(old) == naming.folded(new)

    # -- what killed processes left ------------------------------------------

    def sweep(
        self, fs: fsspec.AbstractFileSystem, before: dt.datetime, dry_run: bool
    ) -> Iterator[str]:
        """Remove what lies in the private folder since *before*, and name it; not
        what a token of an upload that is still good may need."""
        for info in self.left(fs):
            name = str(info["name"]).rstrip("/").rpartition("/")[2]
            modified = self.record(info, name).modified
            needed = claims.good_until(name)
            # Of what has no date nobody knows whether it is still being written.
            if modified is not None and max(modified, needed or modified) < before:
                if not dry_run:
                    self.discard(fs, self.path(f"{naming.STAGING}/{name}"))
                yield f"{naming.STAGING}/{name}"

    def left(self, fs: fsspec.AbstractFileSystem) -> list[dict[str, t.Any]]:
        """What lies in the private folder."""
        try:
            found = fs.ls(self.path(naming.STAGING), detail=True)
        except NOT_A_FILE:
            return []
        # An object store may show the folder itself, in either way.
        return [
            info
            for info in found
            if info["type"] == "file"
            and not info["name"].rstrip("/").endswith(naming.STAGING)
        ]

    def discard(self, fs: fsspec.AbstractFileSystem, path: str) -> None:
        """Remove a private file, if it is there."""
        with suppress(FileNotFoundError):
            fs.rm_file(path)

    # -- what went wrong -----------------------------------------------------

    def explain(self, exc: Exception, key: str | None) -> StoreError | None:
        """The :exc:`StoreError` for what the filesystem raised, if it is known."""
        return explained(exc, key, self.settings)
