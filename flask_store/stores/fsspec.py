"""``FsspecStore``: a store on any filesystem that fsspec knows."""

from __future__ import annotations

import datetime as dt
import io
import logging
import operator
import os
import posixpath
import threading
import typing as t
import weakref
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from contextlib import AbstractContextManager
from contextlib import closing
from contextlib import contextmanager
from contextlib import nullcontext
from contextlib import suppress
from functools import partial
from urllib.parse import quote

from flask import Flask
from fsspec.callbacks import Callback
from fsspec.callbacks import DEFAULT_CALLBACK as NO_CALLBACK

from .. import media_types
from .. import naming
from .. import signals
from ..dialects import Dialect
from ..dialects import Fetched
from ..dialects import Files
from ..dialects import Hold
from ..dialects import NotByStorage
from ..dialects import Original
from ..dialects import part
from ..dialects import Span
from ..dialects import Stat
from ..dialects import Stored
from ..dialects.bodies import bounds
from ..dialects.errors import version_gone
from ..dialects.urls import open_dialect
from ..exceptions import FileExists
from ..exceptions import NotConfiguredError
from ..exceptions import StoreError
from ..exceptions import VersionGone
from ..exceptions import WrongType
from ..files import FileWrapper
from ..secrecy import Options
from ..settings import OnConflict as OnConflict
from ..settings import Settings
from ..uploads import multipart
from ..uploads import open_source
from ..uploads import Upload
from ..uploads.properties import NO_PROPERTIES
from ..uploads.properties import Properties
from ..uploads.source import Source
from ..uploads.source import StoredFile
from ..views import usage
from ..views.listing import FolderListing
from ..views.listing import Listing
from ..views.patterns import Pattern
from . import BaseStore
from . import deletion
from . import Destination
from .application import sender
from .drafts import Draft
from .drafts import TextDraft
from .filesystem import StoreFileSystem
from .opened import OpenedFile

if t.TYPE_CHECKING:
    from flask import Response
    from fsspec import AbstractFileSystem

    from ..background import Background
    from ..background.entries import Entry
    from ..background.upload import Upload as BackgroundUpload
    from ..direct import DirectUpload
    from ..filetypes.allowed import Allowed
    from ..http.links import Method
    from ..images.spec import Spec
    from ..images.variants import Variants

logger = logging.getLogger(__name__)

#: A file of a store, as its verbs take it.
AnyName: t.TypeAlias = naming.Name | FileWrapper

CONFLICTS: t.Final = t.get_args(OnConflict)

NO_NAME = (
    "What you save has no name of its own. Pass a pair with one, such as"
    " (b'...', 'me.jpg'). A name without a stem, such as '.jpg', gets a UUID."
)

#: A name with a fresh UUID is free. If it is not, something else is wrong.
ATTEMPTS = 5

#: The folder, in the application's instance folder, for uploads in the background.
SPOOL = "flask-store-spool"


class FsspecStore(BaseStore):
    """A store on any filesystem that fsspec knows, chosen by ``STORE_PATH``."""

    # -- configuration -------------------------------------------------------

    REQUIRED_CONFIGURATION: t.ClassVar[tuple[str, ...]] = ("STORE_PATH",)
    #: Whether uploads always go on in the background, in greenlets.
    in_greenlets: t.ClassVar[bool] = False

    #: The uploads that go on after save(), where STORE_BACKGROUND asks for that.
    background: Background | None = None
    #: The variants of its pictures, where STORE_VARIANTS asks for them.
    variants: Variants | None = None

    @classmethod
    def defaults(cls, app: Flask) -> dict[str, t.Any]:
        """The spool is private, and not in a folder that anything serves."""
        return {"STORE_SPOOL_PATH": os.path.join(app.instance_path, SPOOL)}

    def attach(self, app: Flask) -> None:
        if self.background is not None:
            self.background.attach(app)
        if self.streams_uploads:
            multipart.install(app, self)

    @classmethod
    def from_url(
        cls, url: naming.Name, destination: Destination | None = None, **options: t.Any
    ) -> t.Self:
        """A store with no application, for scripts and notebooks.

        :param url: as ``STORE_PATH``, such as ``s3://photos/2026``.
        :param options: as ``STORE_OPTIONS``: what the filesystem is made with.
        """
        config = {"STORE_PATH": os.fspath(url), "STORE_OPTIONS": options}
        return cls.from_config(config, destination)

    def configure(self, config: Mapping[str, t.Any]) -> None:
        self.dialect: Dialect = open_dialect(self.url(config), config)
        #: What the verbs of the store call, and what they call for a new file.
        self.files: Files = self.dialect
        self.incoming: Files = self.dialect
        #: The filesystems that somebody uses, by their thread and destination.
        self._filesystems: weakref.WeakValueDictionary[
            tuple[threading.Thread, str], StoreFileSystem
        ] = weakref.WeakValueDictionary()
        self.longest_key = self.dialect.longest_key
        self.register_route = not self.dialect.has_addresses
        super().configure(config)
        self.url_prefix = self.url_prefix or self.dialect.prefix
        self._check_serving()
        self.streams_uploads: bool = config["STORE_STREAM_UPLOADS"]
        #: Whether presign_upload() allows an upload to be resumed.
        self.resumable: bool = config["STORE_RESUMABLE"]
        #: For how long, in seconds.
        self.resumable_expires: float = config["STORE_RESUMABLE_EXPIRES"]
        if self.resumable and self.upload_prefix is None:
            raise NotConfiguredError(
                "STORE_RESUMABLE is set, but the application takes no uploads for"
                f" {self.uri}: "
                + (
                    "the storage is read-only. Remove STORE_RESUMABLE."
                    if self.dialect.read_only
                    else "STORE_SERVE is 'off'. Set it to 'auto' or 'proxy'."
                )
            )
        #: Whether pictures are stored without their metadata.
        self.strips: bool = config["STORE_STRIP_METADATA"]
        #: The files that clients may store; ``None`` if that is any file.
        self.allowed: Allowed | None = None
        if config["STORE_ALLOW"] is not None:
            self.allowed = self._allowing(config["STORE_ALLOW"])
        #: What save(), copy() and move() do with a name that is taken.
        self.on_conflict: OnConflict = config["STORE_ON_CONFLICT"]
        if self.in_greenlets or config["STORE_BACKGROUND"]:
            if self.dialect.read_only:
                raise NotConfiguredError(
                    f"STORE_BACKGROUND is set, but {self.uri} is read-only. Remove it."
                )
            if self.on_conflict != "rename":
                raise NotConfiguredError(
                    f"STORE_ON_CONFLICT is {self.on_conflict!r}, and a file that is"
                    " uploaded in the background gets a name that nobody has asked the"
                    " storage about. Set STORE_ON_CONFLICT to 'rename', and pass"
                    " on_conflict to the saves that are to differ, or do not upload in"
                    " the background (STORE_BACKGROUND, S3GeventStore)."
                )
            from ..background import Background
            from ..background.files import SpooledFiles
            from ..background.files import WaitingFiles

            self.background = Background(
                self.dialect,
                config,
                self.in_greenlets,
                partial(FileWrapper._of_key, provider=self),
            )
            self.files = WaitingFiles(self.dialect, self.background)
            self.incoming = SpooledFiles(self.dialect, self.background)
        self._private_stores: dict[str, FsspecStore] = {}
        if config["STORE_VARIANTS"] is not None:
            if self.dialect.read_only and not config["STORE_VARIANTS_STORE"]:
                raise NotConfiguredError(
                    f"STORE_VARIANTS is set, but {self.uri} is read-only, and variants"
                    " are stored. Set STORE_VARIANTS_STORE to the name of another store"
                    " of the application, or remove STORE_VARIANTS."
                )
            from ..images.variants import Variants

            self.variants = Variants(config)

    def _private_store(self, folder: str) -> FsspecStore:
        """A store in the same place, whose files no key leads to and no listing shows.

        :param folder: its name. There is one store for each.
        """
        found = self._private_stores.get(folder)
        if found is None:
            folder_path = f"{naming.STAGING}/{folder}"
            mine = self._settings_to_pickle()  # whose path does not depend on a folder
            settings = {
                **mine,
                "STORE_PATH": posixpath.join(self.url(mine), folder_path),
                "STORE_ON_CONFLICT": "error",
                "STORE_BACKGROUND": False,
                "STORE_RESUMABLE": False,
                "STORE_ALLOW": None,
                "STORE_STRIP_METADATA": False,
                "STORE_VARIANTS": None,
            }
            if self.x_accel_redirect:
                location = f"{self.x_accel_redirect.rstrip('/')}/{folder_path}"
                settings["STORE_X_ACCEL_REDIRECT"] = location
            found = FsspecStore.from_config(Settings(settings))
            found = self._private_stores.setdefault(folder, found)
        return found

    def _settings_to_pickle(self) -> dict[str, t.Any]:
        settings = super()._settings_to_pickle()
        if self.dialect.location.protocol == "file":
            # The other process may have another working directory.
            settings["STORE_PATH"] = self.dialect.root
        return settings

    def _check_serving(self) -> None:
        if self.serve == "redirect" and not self.dialect.signs:
            raise NotConfiguredError(
                f"STORE_SERVE is 'redirect', but {self.dialect.location.protocol!r}"
                " has no links of its own to redirect to. Use 'proxy'."
            )
        if self.x_accel_redirect and self.dialect.location.protocol != "file":
            raise NotConfiguredError(
                "STORE_X_ACCEL_REDIRECT lets nginx send files from the local disk;"
                f" {self.uri} is none. Remove it."
            )

    @classmethod
    def url(cls, config: Mapping[str, t.Any]) -> str:
        """The place of the store as one URL or path."""
        return t.cast(str, config["STORE_PATH"])

    @property
    def fs(self) -> StoreFileSystem:
        """The store as a filesystem of fsspec, whose paths are keys. It keeps the
        promises of the store for the libraries that write through it."""
        # The same one while somebody uses it, because it has the transaction. As
        # fsspec's own instances, threads do not share it. A new thread may have the
        # number of one that has ended.
        key = threading.current_thread(), self.destination
        found = self._filesystems.get(key)
        if found is None:
            found = self._filesystems[key] = StoreFileSystem(self)
        return found

    @property
    def raw_fs(self) -> AbstractFileSystem:
        """The filesystem of the storage, as fsspec has it. It does not keep the
        promises of the store. See :attr:`fs`."""
        self.dialect.check_connection()
        return self.dialect.fs

    @property
    def uri(self) -> str:
        """The store's root as an fsspec URL, without credentials."""
        return self.dialect.uri

    @property
    def storage_options(self) -> dict[str, t.Any]:
        """What pandas and others want beside a file's
        :attr:`~flask_store.files.FileWrapper.uri`.

        It holds the credentials. Its repr has the names of the options only.
        """
        return Options(self.dialect.location.options)

    @property
    def object_store_options(self) -> dict[str, str]:
        """The same for libraries that are built on the Rust crate ``object_store``,
        such as polars (``pl.scan_parquet``), deltalake, lance and obstore.

        It holds the credentials. Its repr has the names of the options only. The keys
        of a role are those of this moment, and expire.

        :raises NotConfiguredError: if these libraries cannot reach the storage.
        """
        return Options(self.dialect.object_store_options())

    # -- saving --------------------------------------------------------------

    def save(
        self,
        file: Upload | None,
        filename: naming.Name | None = None,
        on_conflict: OnConflict | None = None,
        content_type: str | None = None,
        callback: Callback = NO_CALLBACK,
        *,
        folder: naming.Name | None = None,
        cache_control: str | None = None,
        metadata: Mapping[str, str] | None = None,
        strip: bool | None = None,
        variants: Sequence[str] = (),
        allow: Iterable[str] | None = None,
    ) -> FileWrapper:
        """Store a file, whole or not at all, and never over another one.

        :param file: a :class:`~werkzeug.datastructures.FileStorage`, a path, bytes
            or a binary file, or a pair of one of them and a name:
            ``(b"...", "me.jpg")``. It is read from its start, and left open where it
            was.
        :param filename: the name to store it under, instead of the one that came
            with the file. It is cleaned, and a folder in it is left out: see *folder*.
        :param on_conflict: what to do when the name is taken: ``"rename"`` puts a
            short UUID into the name, ``"error"`` raises, ``"overwrite"`` replaces. By
            default what ``STORE_ON_CONFLICT`` says.
        :param content_type: by default what the stored name's extension says. A browser
            sends any text as the type of a file.
        :param callback: an fsspec callback that is told the bytes as they are read,
            such as :class:`fsspec.callbacks.TqdmCallback`.
        :param folder: the folder to store it in, such as ``"avatars/2026"``, below the
            store's own destination. It is cleaned as the name is, and made if it is
            missing.
        :param cache_control: the ``Cache-Control`` that the storage keeps with the
            file, such as ``"public, max-age=3600"``.
        :param metadata: names and values that the storage keeps with the file. The
            names become lower case. All together they have 2000 bytes of ASCII at most.
        :param strip: whether to store a picture without its metadata. By default what
            ``STORE_STRIP_METADATA`` says.
        :param variants: names of ``STORE_VARIANTS``. These variants are made at once,
            or when the file is stored if that goes on in the background. Those of the
            format ``"auto"`` are made in each of its formats.
        :param allow: the extensions that the file may have, such as
            :data:`flask_store.filetypes.IMAGES`. The content has to agree with the
            extension. By default what ``STORE_ALLOW`` says.
        :raises BadPicture: if a variant is to be made at once, and the file is no
            picture; Flask answers with 422, and nothing is stored.
        :raises NoFile: if there is no file; Flask answers with 400.
        :raises NotConfiguredError: if the storage has no place for *cache_control* and
            *metadata*.
        :raises InvalidProperty: if it cannot keep them as they are; Flask answers with
            400.
        :raises FileExists: with ``on_conflict="error"``.
        :raises InvalidName: if the folder leads out of the store; Flask answers with
            400.
        :raises WrongType: if the file is none of those that are allowed, if the content
            type is none, or if the metadata is to be removed and the file is not a
            JPEG, PNG or WebP picture; Flask answers with 415.
        :raises BadPicture: if the metadata cannot be removed because the picture is
            broken; Flask answers with 422.
        :raises StoreError: if the storage fails; nothing is stored then.
        """
        # As _conflict(), without a call: most requests of an application come here.
        on_conflict = self.on_conflict if on_conflict is None else on_conflict
        if on_conflict not in CONFLICTS:
            raise _not_known(on_conflict)
        specs: list[Spec] = []
        if variants:
            from ..images.variant import specs_of

            # An unknown name is found before anything is stored.
            specs = specs_of(self, variants)
        with open_source(file) as source:
            if callback is not NO_CALLBACK:
                source.report_to(callback)
            if cache_control is not None or metadata is not None:
                source.properties = self._described(
                    NO_PROPERTIES, cache_control, metadata
                )
            name = source.filename if filename is None else filename
            if name is None:
                raise TypeError(NO_NAME)
            destination = (
                self.destination
                if self._choice is None
                else naming.clean_destination(self._choice(file))
            )
            if folder:
                destination = naming.clean_destination(folder, destination)
            name = naming.clean(name, destination, self.longest_key)
            key = naming.check(name, destination)
            strip = self.strips if strip is None else strip
            allowed = self.allowed if allow is None else self._allowing(allow)
            stored = self._save(source, key, on_conflict, content_type, strip, allowed)
        if specs:
            self._prepare(stored, specs, on_conflict)
        return stored

    def _allowing(self, allow: Iterable[str] | None) -> Allowed | None:
        """The files that may be stored; ``None`` if that is any file.

        :param allow: what a caller says; by default the setting counts.
        :raises NotConfiguredError: if puremagic is not installed.
        """
        if allow is None:
            return self.allowed
        from ..filetypes import ALL
        from ..filetypes.allowed import allowed

        return None if allow == ALL else allowed(allow)

    def _prepare(
        self, stored: FileWrapper, specs: list[Spec], on_conflict: OnConflict
    ) -> None:
        """Make variants of a file that has just been saved. If that raises an error,
        the file is not stored any more, unless it has replaced another one.

        :raises BadPicture: if it is no picture.
        :raises NotConfiguredError: if no variants can be made here.
        """
        from ..images.variant import Variant

        assert self.variants is not None  # specs_of() has looked
        variants = [Variant(stored, spec) for spec in specs]
        try:
            self.variants.prepare(stored, variants)
        except BaseException:
            # As in _save(): also what a receiver of the signal raises.
            if on_conflict != "overwrite":
                with suppress(StoreError, OSError, NotByStorage):
                    stored.delete()
            raise

    def _save(
        self,
        source: Source,
        key: str,
        on_conflict: OnConflict,
        content_type: str | None,
        strip: bool = False,
        allowed: Allowed | None = None,
    ) -> FileWrapper:
        """Store an upload, and send the signal.

        :param strip: whether to store a picture without its metadata.
        :param allowed: the files that may be stored, if that is not any file.
        """
        if allowed is not None:
            with allowed.checked(source, key, self._spool) as upload:
                return self._save(upload, key, on_conflict, content_type, strip)
        if strip:
            with self._stripped(source, key) as picture:
                return self._save(picture, key, on_conflict, content_type)
        # The background takes only a name that may change: whether it is free need
        # not be asked before save() returns.
        files = self.incoming if on_conflict == "rename" else self.files
        store = partial(self._store, files, files.stage)
        if isinstance(source, Original):
            store = partial(self._store_original, files)
        stored = store(source, key, on_conflict, content_type)
        try:
            signals.file_saved.send(sender(), file=stored)
        except BaseException:
            # The caller never gets to know the name of a file that was refused. One
            # that was overwritten had its name before.
            with suppress(StoreError, OSError, NotByStorage):
                if isinstance(source, Original) and source.renamed:
                    self._move_back(source, stored)
                elif on_conflict != "overwrite":
                    stored.delete()
            raise
        return stored

    def _stripped(self, source: Source, key: str) -> AbstractContextManager[Source]:
        """A picture without its metadata, as an upload."""
        from ..images.strip import stripped

        return stripped(source, key, self._spool())

    def _spool(self) -> t.IO[bytes]:
        """An empty file for an upload. It is on the disk of the store, where that is
        one."""
        return t.cast("t.IO[bytes]", multipart.StreamedUpload((self,)))

    def _conflict(self, on_conflict: OnConflict | None) -> OnConflict:
        """What to do with a name that is taken: what a caller says, or the setting.

        :raises ValueError: if it is none of the three.
        """
        on_conflict = self.on_conflict if on_conflict is None else on_conflict
        if on_conflict not in CONFLICTS:
            raise _not_known(on_conflict)
        return on_conflict

    def upload(self, name: AnyName) -> BackgroundUpload | None:
        """The upload of a file that this process still has to do."""
        if self.background is None:
            return None
        return self.background.upload(self.key(name))

    def _store(
        self,
        files: Files,
        stage: Callable[[t.Any], AbstractContextManager[t.Any]],
        source: Source,
        key: str,
        on_conflict: OnConflict,
        content_type: str | None,
    ) -> FileWrapper:
        """Publish under *key* or, if it is taken, under a name of its own.

        :param stage: makes of the source what :meth:`.Files.put_file` takes.
        """
        coding = source.properties.content_encoding
        if coding and not self.dialect.keeps_properties:
            logger.warning(
                "%s is stored as it is, compressed (%s), and %r keeps no"
                " Content-Encoding. Whoever reads it has to know.",
                naming.quoted(key),
                coding,
                self,
            )
        kind = _checked_type(content_type, key) if content_type else ""
        kind = kind or media_types.content_type(key)
        with self.dialect.explained(key, source), stage(source) as staged:
            if on_conflict == "overwrite":
                put = files.put_file(staged, key, kind, "overwrite")
            elif not files.exclusive(staged):
                if on_conflict == "error":
                    raise NotConfiguredError(
                        f"{self!r} cannot tell in one step that a name is free, so"
                        " on_conflict='error' cannot be kept, nor STORE_ON_CONFLICT of"
                        " this value. Use 'rename' (every name gets a UUID) or"
                        " 'overwrite'."
                    )
                key = naming.unique(key, self.longest_key)
                put = files.put_file(staged, key, kind, "overwrite")
            else:
                wanted = key
                for _ in range(ATTEMPTS):
                    try:
                        put = files.put_file(staged, key, kind, "create")
                        break
                    except FileExists:  # one of its folders is a file
                        raise
                    except FileExistsError:
                        if on_conflict == "error":
                            raise
                        key = naming.unique(wanted, self.longest_key)
                else:
                    name = naming.quoted(wanted)
                    raise FileExists(f"No free name was found for {name}.", wanted)
        put = put or Stored()
        stored = FileWrapper._of_key(key, self, put.upload)
        if content_type and not self.dialect.keeps_properties:
            kind = media_types.content_type(key)
        # Who sends again may not read again. Without a size, all was read once.
        size = vars(source).get("size", source.position)
        stored._found = Stat(key, size, None, put.etag, kind)
        stored._is_partial = True
        return stored

    def put(
        self,
        key: naming.Name,
        file: Upload | FileWrapper,
        on_conflict: t.Literal["error", "overwrite"] = "error",
        content_type: str | None = None,
        like: Stat | None = None,
        *,
        cache_control: str | None = None,
        metadata: Mapping[str, str] | None = None,
        strip: bool | None = None,
        allow: Iterable[str] | None = None,
    ) -> FileWrapper:
        """Store a file under exactly this name, as :meth:`save` would not: the name
        is checked but not cleaned, may have folders, and no signal is sent. For
        copies and backups; a name that a client chose belongs to :meth:`save`.

        :param file: as for :meth:`save`, or a file of a store, which the storage copies
            by itself if it can.
        :param like: what :meth:`stat` said of the file that this is a copy of. The copy
            gets its type, unless *content_type* is another one, and on an object store
            its ``Content-Encoding``, ``Cache-Control``, ``Content-Disposition``,
            ``Content-Language`` and metadata, unless *cache_control* or *metadata* are
            given.
        :param cache_control: as for :meth:`save`.
        :param metadata: as for :meth:`save`.
        :param strip: as for :meth:`save`. But by default a file of a store, and a copy
            of what *like* describes, are stored as they are.
        :param allow: as for :meth:`save`, with the same exception.
        :raises InvalidName: if the name could mean anything but a file in the store.
        :raises FileExists: if the name is taken, with ``on_conflict="error"``.
        :raises NotConfiguredError: if the storage cannot tell in one step that a name
            is free, with ``on_conflict="error"``.
        :raises VersionGone: if a file of a store is replaced twice meanwhile, or is not
            the version *like*; nothing is stored then.
        :raises WrongType: if *content_type* is none, or as for :meth:`save`.
        :raises BadPicture: as for :meth:`save`.
        """
        whole = self.key(key)
        opened: AbstractContextManager[Source]
        if isinstance(file, FileWrapper):
            if like is None:
                put = partial(self.put, key, file, on_conflict, content_type)
                put = partial(put, cache_control=cache_control, metadata=metadata)
                put = partial(put, strip=strip, allow=allow)
                with suppress(VersionGone):  # as copy() does
                    return put(like=file.stat())
                return put(like=file.stat())
            opened = self._original(file, like)
        else:
            opened = open_source(file)
        if strip is None:
            strip = self.strips and like is None
        allowed = None if allow is None and like is not None else self._allowing(allow)
        change = self._stripped if strip else _unchanged
        check = _unchanged
        if allowed is not None:
            check = partial(allowed.checked, spool=self._spool)
        with (
            opened as given,
            check(given, whole) as passed,
            change(passed, whole) as source,
        ):
            if like is not None:
                source.properties = like.properties
                content_type = content_type or _type_of_copy(like, whole)
            if cache_control is not None or metadata is not None:
                source.properties = self._described(
                    source.properties, cache_control, metadata
                )
            files = self.files
            store = partial(self._store, files, files.stage)
            if isinstance(source, Original):
                store = partial(self._store_original, files)
            return store(source, whole, on_conflict, content_type)

    def _described(
        self,
        properties: Properties,
        cache_control: str | None,
        metadata: Mapping[str, str] | None,
    ) -> Properties:
        """The properties of a file with those that a caller gives."""
        found = properties.having(cache_control, metadata)
        if found != properties:
            self.dialect.check_properties(found)
        return found

    @t.overload
    def create(
        self,
        key: naming.Name,
        mode: t.Literal["wb"] = "wb",
        on_conflict: OnConflict | None = None,
        content_type: str | None = None,
        *,
        cache_control: str | None = None,
        metadata: Mapping[str, str] | None = None,
        strip: bool | None = None,
        allow: Iterable[str] | None = None,
    ) -> AbstractContextManager[Draft]: ...

    @t.overload
    def create(
        self,
        key: naming.Name,
        mode: t.Literal["w"],
        on_conflict: OnConflict | None = None,
        content_type: str | None = None,
        *,
        cache_control: str | None = None,
        metadata: Mapping[str, str] | None = None,
        strip: bool | None = None,
        allow: Iterable[str] | None = None,
    ) -> AbstractContextManager[TextDraft]: ...

    @contextmanager
    def create(
        self,
        key: naming.Name,
        mode: t.Literal["w", "wb"] = "wb",
        on_conflict: OnConflict | None = None,
        content_type: str | None = None,
        *,
        cache_control: str | None = None,
        metadata: Mapping[str, str] | None = None,
        strip: bool | None = None,
        allow: Iterable[str] | None = None,
    ) -> Iterator[t.Any]:
        """Write a file, in a ``with`` block::

            with store.create("2026/table.parquet") as out:
                df.to_parquet(out)
            out.file  # the stored file

        When the block ends, the file is stored, whole. If it ends with an error, or the
        process dies, nothing is stored. Closing ``out`` within the block changes
        nothing about that. Libraries may also seek, read and truncate. The signal is
        that of :meth:`save`.

        :param key: the key, as for :meth:`put`. It is checked and not cleaned, and may
            have folders.
        :param mode: ``"wb"``, or ``"w"`` for text in UTF-8.
        :param on_conflict: as for :meth:`save`.
        :param content_type: by default what the extension of the key says.
        :param cache_control: as for :meth:`save`.
        :param metadata: as for :meth:`save`.
        :param strip: as for :meth:`save`.
        :param allow: as for :meth:`save`.
        :raises FileExists: at the end of the block, with ``on_conflict="error"``.
        :raises WrongType: at the end of the block, as for :meth:`save`.
        :raises BadPicture: at the end of the block, as for :meth:`save`.
        :raises StoreFull: if the disk that gets the file is full.
        :raises StoreError: if the storage fails; nothing is stored then.
        """
        if mode not in ("w", "wb"):
            raise ValueError(
                f"mode is {mode!r}; create() writes: 'wb' or 'w'. What becomes of a"
                " file that is there, on_conflict says."
            )
        new = self._new(
            key, on_conflict, content_type, cache_control, metadata, strip, allow
        )
        draft = Draft(self, *new)
        try:
            out = draft if mode == "wb" else TextDraft(draft)
            yield out
            out.close()
        except BaseException:
            draft.discard()
            raise
        if not draft.discarded:
            draft.publish()

    def _new(
        self,
        key: naming.Name,
        on_conflict: OnConflict | None,
        content_type: str | None = None,
        cache_control: str | None = None,
        metadata: Mapping[str, str] | None = None,
        strip: bool | None = None,
        allow: Iterable[str] | None = None,
    ) -> tuple[str, partial[FileWrapper]]:
        """The key of a new file, and what saves it. What can be refused without its
        bytes is refused here.

        :raises StoreDenied: if the store is read-only.
        :raises WrongType: if the key has an extension that is not allowed.
        """
        on_conflict = self._conflict(on_conflict)
        key = self.key(key)
        allowed = self._allowing(allow)
        if allowed is not None:
            allowed.check_name(key)
        kind = _checked_type(content_type, key) if content_type else None
        self.dialect.check_writable()
        properties = self._described(NO_PROPERTIES, cache_control, metadata)
        return key, partial(
            self._save_new,
            key=key,
            on_conflict=on_conflict,
            content_type=kind,
            properties=properties,
            strip=self.strips if strip is None else strip,
            allowed=allowed,
        )

    def _save_new(
        self, source: Source, *, properties: Properties, **how: t.Any
    ) -> FileWrapper:
        """Store what was written, with the properties that were given before."""
        source.properties = properties
        return self._save(source, **how)

    def _write(
        self,
        key: naming.Name,
        file: Upload,
        on_conflict: OnConflict,
        callback: Callback = NO_CALLBACK,
    ) -> FileWrapper:
        """Store a file as :meth:`create` does, of what can be saved."""
        _, save = self._new(key, on_conflict)
        with open_source(file) as source:
            source.report_to(callback)
            return save(source)

    def copy(
        self,
        source: naming.Name | FileWrapper,
        target: naming.Name,
        on_conflict: OnConflict | None = None,
    ) -> FileWrapper:
        """Copy a file to another key, which may lead into another folder.

        :param target: the key of the copy, relative to the store's destination. It
            is checked, and not cleaned as a name for :meth:`save` is: if a client chose
            it, pass it through ``safe_filename()`` first.
        :return: the copy; its key is the target unless that was taken.
        :raises FileNotFound: if there is no such file.
        :raises InvalidName: if the target could mean anything but a file in the store.
        :raises VersionGone: if the file is replaced twice meanwhile; nothing is stored
            then.
        """
        on_conflict = self._conflict(on_conflict)
        old, target = self._wrapped(source), self.key(target)
        # A file that waited for its upload is another version as soon as it is stored.
        with suppress(VersionGone):
            return self._copy(old, old.stat(), target, on_conflict)
        return self._copy(old, old.stat(), target, on_conflict)

    def _copy(
        self,
        old: FileWrapper,
        found: Stat,
        target: str,
        on_conflict: OnConflict,
    ) -> FileWrapper:
        """Copy the version of a file that *found* describes, all of it or nothing.

        :param target: the whole key.
        """
        with self._original(old, found) as original:
            content_type = _type_of_copy(found, target)
            return self._save(original, target, on_conflict, content_type)

    @contextmanager
    def _original(
        self, old: FileWrapper, found: Stat, moves: bool = False
    ) -> Iterator[Original]:
        """The version of a file that *found* describes, as an upload."""
        theirs = _store_of(old)
        with theirs.dialect.explained(old.key):
            dialect = theirs.files.stored_by(old.key)
        read = partial(theirs.stream_version, found, 0, found.size)
        original = Original(found, dialect, read, moves)
        with closing(original.stream):
            yield original

    def _store_original(
        self,
        files: Files,
        original: Original,
        key: str,
        on_conflict: OnConflict,
        content_type: str | None,
    ) -> FileWrapper:
        """Publish a stored file under another key: by the storage if it can, which does
        so at once, or else as any upload among *files*."""
        ways = []
        if original.dialect is not None and self.dialect.shares(original.dialect):
            mine = self.files
            ways = [mine.mv, mine.cp_file] if original.moves else [mine.cp_file]
        for stage in ways:
            with suppress(NotByStorage):
                return self._store(
                    self.files, stage, original, key, on_conflict, content_type
                )
        return self._store(files, files.stage, original, key, on_conflict, content_type)

    def move(
        self,
        source: naming.Name | FileWrapper,
        target: naming.Name,
        on_conflict: OnConflict | None = None,
    ) -> FileWrapper:
        """Give a file another key: by a rename of the storage, or else by a copy and
        the deletion of the old file.

        After a copy the old name is deleted only when the copy is there with the same
        size and, where the storage tells one, the same checksum. Where both names turn
        out to mean one file, nothing is deleted: two spellings on a disk that ignores
        case, or a link within the store.

        :param target: the new key, as for :meth:`copy`.
        :return: the file under its new key, which is the target unless that was taken.
        :raises FileNotFound: if there is no such file.
        :raises StoreError: if the copy is not whole, or the file is replaced
            meanwhile; nothing is deleted then.
        """
        on_conflict = self._conflict(on_conflict)
        old, target = self._wrapped(source), self.key(target)
        if on_conflict == "overwrite" and old == FileWrapper._of_key(target, self):
            old.stat()
            return old
        with _store_of(old).files.hold(old.key) as hold:
            with self._original(old, found := old.stat(), moves=True) as original:
                content_type = _type_of_copy(found, target)
                new = self._save(original, target, on_conflict, content_type)
            if new != old:
                self._delete_moved(old, original, new, hold)
        return new

    def _delete_moved(
        self, old: FileWrapper, original: Original, new: FileWrapper, hold: Hold
    ) -> None:
        """Delete a file that has been copied, if its copy is another file."""
        before = original.found
        if original.renamed:
            _store_of(old)._deleted(old.key)
            return
        # Not new.stat(), since the file may get another date below.
        copied, after = self.stat(new), old.stat()
        if not copied.holds(before):
            raise StoreError(
                f"The copy {naming.quoted(new.key)} is not the same as"
                f" {naming.quoted(old.key)}: it has {copied.size} bytes in place of"
                f" {before.size}. Nothing was deleted. Delete the copy, and try again.",
                old.key,
            )
        if not original.linked and self._is_one_file(old, original, after, new, copied):
            return
        if after.version != before.version:
            raise StoreError(
                f"{naming.quoted(old.key)} was replaced while it was moved. Both"
                f" {naming.quoted(old.key)} and {naming.quoted(new.key)} are kept.",
                old.key,
            )
        _store_of(old)._delete(old.key, hold)
        if original.linked:
            self.dialect.touch(new.key)
            if not new._is_partial:  # a receiver of the signal has asked before that
                new._found = None

    def _move_back(self, original: Original, new: FileWrapper) -> None:
        """Give a file its old name again, if that is still free."""
        key, theirs = original.found.name, original.dialect
        moved = Original(new.stat(), self.dialect, tuple)
        with theirs.explained(key), theirs.mv(moved) as staged:
            mode = "create" if theirs.exclusive(staged) else "overwrite"
            theirs.put_file(staged, key, moved.found.content_type, mode)

    def _is_one_file(
        self,
        old: FileWrapper,
        original: Original,
        after: Stat,
        new: FileWrapper,
        copied: Stat,
    ) -> bool:
        theirs, mine = old.provider.dialect, self.dialect
        if after.version != copied.version or type(theirs) is not type(mine):
            return False
        # The ETag of an object may be one of the content. Its token is one of a save.
        if after.token != copied.token:
            return False
        if after.token != original.found.token:
            return True  # the old name has what has just been saved under the new one
        with self.dialect.explained(old.key):
            return mine.is_one_file(theirs.path(old.key), mine.path(new.key), theirs)

    def _wrapped(self, source: AnyName) -> FileWrapper:
        # A FileWrapper knows its whole key; a name is relative to the destination.
        return source if isinstance(source, FileWrapper) else self.file(source)

    def delete(self, *names: AnyName, recursive: bool = False) -> None:
        """Remove a file, or many.

        Of many files, S3 deletes 1,000 by one request and does not say which of them
        were there. So a missing one is no error then, on no storage. Files that cannot
        be deleted do not keep the others from being deleted.

        :param names: the files, by their names or as
            :class:`~flask_store.files.FileWrapper`; with *recursive* the folders.
        :param recursive: delete every file below the folders. Empty folders may be left
            on a disk.
        :raises FileNotFound: if the only file, or every file below the folders, is not
            there.
        :raises InvalidName: if a name or a folder is none, or is the whole store.
        :raises StoreError: if some files are still there: of the class of the first
            error. ``errors`` of it is a dict of all of them by key.
        """
        if len(names) == 1 and not recursive:
            key = self.key(names[0])
            with self.files.hold(key) as hold:
                self._delete(key, hold)
            return
        folders = [self.ls(t.cast(naming.Name, n)) for n in names if recursive]
        keys = deletion.keys_below(folders) if recursive else map(self.key, names)
        removal = deletion.Deletion(self.files, self.dialect, self._tell_deleted)
        try:
            removal.delete(keys)
        finally:
            self._forget(removal.done)
        deletion.check_reached(folders)

    def _delete(self, key: str, hold: Hold) -> None:
        with self.dialect.explained(key):
            hold.delete()
        self._deleted(key)

    def _deleted(self, key: str) -> None:
        """Do what is due when a file is not there any more."""
        self._forget([key])
        self._tell_deleted(key)

    def _forget(self, keys: Sequence[str]) -> None:
        """Remove the variants of files that have been deleted."""
        if self.variants is not None:
            self.variants.forget(self.at(None), keys)

    def _tell_deleted(self, key: str) -> None:
        file = FileWrapper._of_key(key, self)
        signals.file_deleted.send(sender(), file=file)

    def pending(self) -> list[Entry]:
        """The background uploads of this host that are not stored yet, those that
        are parked with their cause included."""
        return list(self.background.spool.entries()) if self.background else []

    def sweep(
        self,
        older_than: dt.timedelta = dt.timedelta(days=1),
        dry_run: bool = False,
    ) -> list[str]:
        """Remove what killed processes left behind: unfinished uploads, which no
        name shows, and variants of pictures that are not there any more. The files of
        the store are never touched.

        :param older_than: what is younger may still be written, and stays.
        :param dry_run: remove nothing, and only tell.
        :return: the private names of what was removed.
        """
        before = dt.datetime.now(dt.UTC) - older_than
        with self.dialect.explained(naming.STAGING):
            names = list(self.dialect.sweep(before, dry_run))
        if self.variants is not None:
            names += self.variants.sweep(self.at(None), older_than, dry_run)
        return names

    # -- reading -------------------------------------------------------------

    def key(self, name: AnyName) -> str:
        """The checked name of a file, relative to the whole store.

        :param name: relative to the destination; a file of this store has its whole key
            already.
        :raises InvalidName: if it leads anywhere else.
        :raises ValueError: if the file is one of another store.
        """
        if not isinstance(name, FileWrapper):
            return naming.check(name, self.destination)
        if name._place != self.dialect.place:
            raise ValueError(
                f"{name!r} is no file of {self!r}. Use the methods of the file, or"
                " copy() it into this store."
            )
        return name._name

    def file(self, name: naming.Name) -> FileWrapper:
        """A stored file by its name, without looking whether it is there."""
        return FileWrapper(name, self)

    @t.overload
    def open(self, name: AnyName, mode: t.Literal["rb"] = "rb") -> t.IO[bytes]: ...

    @t.overload
    def open(self, name: AnyName, mode: t.Literal["r"]) -> t.IO[str]: ...

    def open(
        self, name: AnyName, mode: t.Literal["r", "rb"] = "rb"
    ) -> t.IO[bytes] | t.IO[str]:
        """A stored file, for reading; ``"r"`` reads it as UTF-8 text.

        :raises FileNotFound: if it is not there.
        """
        if mode not in ("r", "rb"):
            raise ValueError(
                f"mode is {mode!r}; open() reads: 'rb' or 'r'. See save()."
            )
        key = self.key(name)
        with self.dialect.explained(key):
            file = self.files.open(key)
        # A file on disk or in memory has its name, and explains its own errors.
        if getattr(file, "name", None) != key:
            opened = OpenedFile(file, key, lambda: self.dialect.explained(key))
            file = StoredFile(opened)
        return file if mode == "rb" else io.TextIOWrapper(file, encoding="utf-8")

    def read(self, name: AnyName) -> bytes:
        """The whole content of a stored file.

        :raises FileNotFound: if it is not there.
        """
        key = self.key(name)
        with self.dialect.explained(key):
            return self.files.cat_file(key)

    def stream(
        self, name: AnyName, start: int = 0, stop: int | None = None
    ) -> Iterator[bytes]:
        """The bytes from *start* up to *stop*, in pieces of at most 1 MiB.

        Both mean what they mean in a slice: a negative one counts from the end of the
        file, which takes another request, and one behind the end is the end.

        :raises FileNotFound: if there is no such file, with the first piece.
        :raises StoreUnavailable: if the storage breaks off.
        """
        start = operator.index(start)
        if start < 0 or (stop is not None and stop < 0):
            found = self.stat(name)
            start, stop, _ = slice(start, stop).indices(found.size)
            yield from self.stream_version(found, start, max(start, stop))
            return
        if stop is not None and stop <= start:
            return
        span = None if (start, stop) == (0, None) else Span.between(start, stop)
        fetched = self._get(self.key(name), span)
        if fetched is not None:
            try:
                yield from fetched.body
            finally:
                fetched.body.close()

    def stream_version(self, found: Stat, start: int, stop: int) -> Iterator[bytes]:
        """A part of the very version that *found* describes. It is opened at once,
        so that what goes wrong there is raised here.

        :param found: what :meth:`stat` said.
        :raises VersionGone: if the file has been replaced since.
        """
        if start == stop:
            return iter(())
        key = found.name
        whole = (start, stop) == (0, found.size)
        span = None if whole else Span.between(start, stop)
        fetched = self._get(key, span, found)
        if fetched is None or fetched.found.size != found.size:
            raise version_gone(key)
        return t.cast("Iterator[bytes]", fetched.body)

    def fetch(self, name: naming.Name, span: Span | None = None) -> Fetched | None:
        """What :meth:`stat` says, and the file, opened.

        :param span: which part of it is wanted.
        :return: ``None`` if there is no such part.
        :raises FileNotFound: if there is no such file.
        """
        return self._get(self.key(name), span)

    def _get(
        self, key: str, span: Span | None, found: Stat | None = None
    ) -> Fetched | None:
        """The very bytes that *span* asks for, counted and explained."""
        with self.dialect.explained(key):
            fetched = self.files.get(key, span, found)
            if fetched is None:
                return None
            where = bounds(span, fetched.found.size)
            if where is None:
                part(fetched, 0, 0).close()
                self.files.confirm_end(key, t.cast(Span, span))
                return None
            body = part(fetched, *where, lambda: self.dialect.explained(key))
            return Fetched(fetched.found, *where, body)

    def exists(self, name: AnyName) -> bool:
        """Whether there is a file *name*.

        :raises StoreUnavailable: if the storage does not answer; only an answer
            that there is no such file is ``False``.
        """
        try:
            self.stat(name)
        except FileNotFoundError:
            return False
        return True

    def stat(self, name: AnyName) -> Stat:
        """Size, date, ETag and content type.

        :return: what the storage tells; its name is the whole key.
        :raises FileNotFound: if there is no such file.
        """
        key = self.key(name)
        with self.dialect.explained(key):
            return self.files.info(key)

    @t.overload
    def ls(
        self, prefix: naming.Name = "", recursive: t.Literal[True] = True
    ) -> Listing: ...

    @t.overload
    def ls(
        self, prefix: naming.Name = "", *, recursive: t.Literal[False]
    ) -> FolderListing: ...

    @t.overload
    def ls(self, prefix: naming.Name, recursive: t.Literal[False]) -> FolderListing: ...

    @t.overload
    def ls(self, prefix: naming.Name = "", recursive: bool = True) -> Listing: ...

    def ls(
        self, prefix: naming.Name = "", recursive: bool = True
    ) -> Listing | FolderListing:
        """The files below a folder, each a :class:`~flask_store.files.FileWrapper` that
        knows its size, date, type and ETag.

        :param prefix: the folder, by its name; by default the store's destination.
            Every character of the name counts as it is, also ``*``, ``?`` and ``[``.
        :param recursive: whether the files in its folders are listed, too. Otherwise
            the listing has these folders as ``folders``, and takes one request for a
            page of a thousand on an object store, and one elsewhere.
        :return: a listing that asks the storage while it is iterated over. It raises
            :exc:`~flask_store.exceptions.InvalidName` then if there is nothing, and the
            prefix looks like a pattern for :meth:`glob`.
        """
        return Listing(self, prefix) if recursive else FolderListing(self, prefix)

    def glob(self, pattern: naming.Name) -> Listing:
        """The files whose names match a pattern, such as ``*.csv`` or
        ``2026/**/*.csv``.

        ``*`` and ``?`` match no slash, ``[ab]`` matches one of these characters, and
        ``**`` as a whole part matches any number of folders. Python's ``glob.escape()``
        lets a name stand for itself.

        :param pattern: relative to the store's destination. What is listed is the
            folder before the first wildcard; if only the last part has wildcards, not
            the folders in it.
        :return: a listing that asks the storage while it is iterated over.
        :raises InvalidName: if it is no pattern of a relative name.
        """
        matching = Pattern(naming.text(pattern, "pattern"))
        return Listing(self, matching.folder, matching)

    def usage(self, prefix: naming.Name = "", by: usage.By = "prefix") -> usage.Usage:
        """How much is stored, from the largest group to the smallest.

        :param prefix: the folder; by default the store's destination.
        :param by: ``"prefix"`` (the folder right below), ``"type"`` or ``"month"``.
        """
        return usage.measure(self.ls(prefix), by)

    # Without it, Python would iterate by store[0], store[1] and so on.
    __iter__: t.ClassVar[None] = None

    def __contains__(self, name: AnyName) -> bool:
        return self.exists(name)

    def __getitem__(self, name: naming.Name) -> FileWrapper:
        return self.file(name)

    def _ipython_key_completions_(self) -> list[str]:
        return self.ls().names()

    def join(self, *parts: naming.Name) -> str:
        """The parts of a path, joined with ``/``.

        :raises InvalidName: if a part leads upwards.
        """
        return naming.join(*parts)

    def absolute_path(self, name: naming.Name) -> str:
        """The path on disk; for an object store the key with its prefix."""
        return self.dialect.absolute_path(self.key(name))

    # -- addresses -----------------------------------------------------------

    @property
    def identity(self) -> str:
        """What sets this store apart in whatever an application signs for it: where
        it is served, and where its files are. Applications may share a key."""
        return f"{self.url_prefix if self.serves else ''} {self.dialect.place}"

    @property
    def upload_prefix(self) -> str | None:
        """Below which address the application takes direct uploads, or ``None`` if
        nobody needs it to, or it must not."""
        if self.serve == "off" or self.dialect.read_only:
            return None
        if self.dialect.takes_forms and not self.resumable:
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
        path = quote(naming.join(self.upload_prefix.strip("/"), key))
        return f"{self._mount.front()}/{path}"

    @property
    def resumable_prefix(self) -> str | None:
        """Below which address the application takes uploads in several requests, if it
        takes uploads. It is one of its own, as a file has its ``HEAD`` and ``OPTIONS``
        at the other one."""
        prefix = self.upload_prefix
        return None if prefix is None else f"{prefix.rstrip('/')}-resumable"

    def resumable_url(self, key: str) -> str:
        """The address at the application for the upload of one key in several requests.

        :raises NotConfiguredError: if there is none.
        """
        if self.resumable_prefix is None:
            raise NotConfiguredError(
                f"{self!r} has no route for uploads that can be resumed. Set"
                " STORE_RESUMABLE to True, and STORE_SERVE to 'auto' or 'proxy'."
            )
        path = quote(naming.join(self.resumable_prefix.strip("/"), key))
        return f"{self._mount.front()}/{path}"

    @property
    def variants_prefix(self) -> str | None:
        """Below which address the application serves variants; ``None`` if it must not,
        or the store has none."""
        if self.variants is None or self.serve == "off":
            return None
        prefix = self.url_prefix if self.serves else self._served_at
        return f"{prefix.rstrip('/')}-variants"

    def variant_url(self, path: str) -> str:
        """The address at the application for a variant.

        :param path: its parameters and the key of the picture.
        :raises NotConfiguredError: if there is none.
        """
        if self.variants_prefix is None:
            raise NotConfiguredError(
                f"{self!r} has no route for variants, because STORE_SERVE is 'off'. Set"
                " it to 'auto' or 'proxy'. Or return variant.response() from a view of"
                " your own."
            )
        front = self._front() if self.serves else self._mount.front()
        return f"{front}/{quote(naming.join(self.variants_prefix.strip('/'), path))}"

    def public_url(self, name: naming.Name) -> str:
        """The URL, unsigned, below the domain or at the application."""
        return super().absolute_url(name)

    def signed_url(
        self,
        name: naming.Name,
        expires: float | None = None,
        download_as: str | None = None,
        *,
        download_name: str | None = None,
        method: Method = "GET",
        version_id: str | None = None,
        external: bool = False,
    ) -> str:
        """A link by which anybody may read the file for some time.

        A storage with signatures of its own signs it, everything else the
        application. For a quarter of *expires* the link stays the same, so that
        browsers can keep the file; it is good for that much longer.

        The other arguments, and what is raised, are those of
        :meth:`flask_store.files.FileWrapper.signed_url`.
        """
        from ..http import links

        if download_as is not None and download_name is not None:
            raise ValueError(
                "A link has one name: pass download_as to save the file under it, or"
                " download_name to let a browser show the file if it can."
            )
        if method not in t.get_args(links.Method):
            raise ValueError(f"method is {method!r}; it must be 'GET' or 'HEAD'.")
        if version_id is not None and not (isinstance(version_id, str) and version_id):
            raise ValueError(
                f"version_id is {version_id!r}; it must be text, as the storage calls"
                " the version."
            )
        # A client may have sent them, and not all that is text fits into a link.
        if download_as:
            download_as = naming.clean(download_as)
        if download_name:
            download_name = naming.clean(download_name)
        key = self.key(name)
        link = None
        if self.serve != "proxy":
            link = self.storage_link(
                name,
                expires,
                download_as or download_name,
                download_as is not None,
                method,
                version_id,
            )
        if link is not None:
            return link
        if version_id is not None:
            raise NotConfiguredError(
                f"The links of {self!r} are not signed by a storage that keeps"
                f" versions, so none leads to the version {version_id!r}. That takes"
                " S3, Azure or Google Cloud with a key that signs, and STORE_SERVE"
                " other than 'proxy'."
            )
        if not self.serves:
            raise NotConfiguredError(
                f"{self!r} cannot sign links by itself, and with STORE_SERVE"
                f" {self.serve!r} the application does not serve its files. Set"
                " STORE_SERVE to 'proxy'."
            )
        period = links.period(self.url_expires if expires is None else expires)
        query = links.query(self.identity, key, period.end, download_as, download_name)
        url = f"{self.public_url(name)}?{query}"
        return self.whole_url(url) if external else url

    def storage_link(
        self,
        name: naming.Name,
        expires: float | None = None,
        download_name: str | None = None,
        as_attachment: bool = False,
        method: Method = "GET",
        version_id: str | None = None,
    ) -> str | None:
        """Like :meth:`signed_url`, but signed by the storage itself, or ``None``.

        :param download_name: the name under which a browser saves the file; by default
            the one that the client gave.
        :param as_attachment: whether it saves the file, also if it could show it.
        """
        from ..http import links
        from ..http import presentation

        key = self.key(name)
        shown = presentation.headers(
            download_name or naming.original(key.rpartition("/")[2]),
            media_types.content_type(key),
            self.inline_types,
            as_attachment,
        )
        period = links.period(self.url_expires if expires is None else expires)
        # The type is said, too: that of the name, which the disposition is for, and not
        # what somebody may have stored.
        said = shown["Content-Disposition"], shown["Content-Type"]
        with self.dialect.explained(key):
            if version_id is None:
                return self.dialect.sign(key, period, *said, method)
            if not self.dialect.signs_versions:
                return None
            return self.dialect.sign(key, period, *said, method, version_id)

    def response(
        self,
        name: naming.Name,
        *,
        as_attachment: bool = False,
        download_name: str | None = None,
        cache_control: str | None = None,
    ) -> Response:
        """A response with the file, for a view of the application. It has all that the
        response of the route has, and is private.

        :param as_attachment: whether a browser saves the file, also if it could show
            it.
        :param download_name: the name under which it does; by default the one that the
            client gave.
        :param cache_control: the ``Cache-Control``; by default that of the file or of
            ``STORE_CACHE_CONTROL``, made private.
        :raises werkzeug.exceptions.HTTPException: if the file is not there (404), or
            the storage fails (502 or 503).
        """
        from ..http import answers

        return answers.view(
            self.at(None), self.key(name), as_attachment, download_name, cache_control
        )

    def waits(self, name: naming.Name) -> bool:
        """Whether a file waits on this host for its upload in the background."""
        key = self.key(name)
        with self.dialect.explained(key):
            return self.files.stored_by(key) is None

    def presign_upload(
        self,
        filename: naming.Name,
        content_type: str | None = None,
        *,
        max_size: int,
        expires: int | None = None,
        resumable: bool | None = None,
        folder: naming.Name | None = None,
        cache_control: str | None = None,
        metadata: Mapping[str, str] | None = None,
        allow: Iterable[str] | None = None,
    ) -> DirectUpload:
        """Let a browser send one file straight to where it will be stored.

        :param filename: as the client calls it; the key gets a UUID.
        :param content_type: by default what the name's extension says.
        :param max_size: in bytes.
        :param expires: in seconds, until when the upload has to be confirmed. By
            default it is an hour, and ``STORE_RESUMABLE_EXPIRES`` for an upload that
            can be resumed.
        :param resumable: whether the browser may send the file in several requests, and
            go on after an interruption. By default ``STORE_RESUMABLE`` says so.
        :param folder: the folder to store it in, as for :meth:`save`.
        :param cache_control: as for :meth:`save`. The browser can read it, and cannot
            change it.
        :param metadata: as for :meth:`save`. The browser can read it, and cannot change
            it.
        :param allow: as for :meth:`save`. The name is checked now, and the content by
            :meth:`confirm`.
        :return: what to give to the browser.
        :raises WrongType: if the name has an extension that is not allowed.
        """
        from .. import direct

        store = self.at(naming.clean_destination(folder, self.destination))
        kept = self._described(NO_PROPERTIES, cache_control, metadata)
        allowed = self._allowing(allow)
        return direct.presign(
            store, filename, content_type, max_size, expires, kept, resumable, allowed
        )

    def confirm(
        self,
        token: str,
        folder: naming.Name | None = None,
        *,
        strip: bool | None = None,
    ) -> FileWrapper:
        """Take over a file that a browser has sent, and publish it. This works once.

        Whatever cuts it off before it returns, it may be called again.

        :param token: that of :meth:`presign_upload` in the same application.
        :param folder: that of :meth:`presign_upload`. So a view takes over only what
            another one has let a browser send into this folder.
        :param strip: as for :meth:`save`. A picture of which metadata is removed goes
            through this process, also if it did not on its way to the storage.
        :raises AlreadyConfirmed: if it was confirmed before, by whichever process on
            whichever host.
        :raises BadLink: if the token is not good here, or has expired.
        :raises FileNotFound: if nothing was uploaded.
        :raises TooLarge: if it has more bytes than agreed.
        :raises WrongType: if it is stored as another type than agreed, if it is none of
            the files that :meth:`presign_upload` has allowed, or as for :meth:`save`.
        :raises BadPicture: as for :meth:`save`.
        """
        from .. import direct

        destination = naming.clean_destination(folder, self.destination)
        strip = self.strips if strip is None else strip
        change = self._stripped if strip else None
        return direct.confirm(self.at(destination), token, change)

    def absolute_url(self, name: naming.Name, *, external: bool = False) -> str:
        if self.signed_urls:
            return self.signed_url(name, external=external)
        if self.domain is None and not self.serves:
            address = self.dialect.address(self.key(name))
            if address is not None:
                return address
        return super().absolute_url(name, external=external)

    def __repr__(self) -> str:
        if self._choice is not None:
            return f"<{type(self).__name__} {self.uri!r}, a folder for each upload>"
        folder = f"/{self.destination}" if self.destination else ""
        return f"<{type(self).__name__} {self.uri + folder!r}>"


def _type_of_copy(found: Stat, target: str) -> str | None:
    """The type that a copy is stored with: that of the original, unless it is what the
    name of the original says, or cannot be stored. Then it is what the name of the copy
    says."""
    kind = found.content_type.strip()
    named = kind == media_types.content_type(found.name)
    return None if named or not media_types.is_storable(kind) else kind


def _checked_type(content_type: str, key: str) -> str:
    """The type that a caller says, which may come from a client; empty if it is blank.

    :raises WrongType: if no storage could keep it.
    """
    kind = content_type.strip()
    if kind and not media_types.is_storable(kind):
        raise WrongType(
            f"The content type {naming.quoted(kind)} cannot be stored. It must be one"
            " line of ASCII, 255 characters at most, such as 'text/plain'. Without one,"
            " the extension of the name says the type.",
            key,
        )
    return kind


def _unchanged(source: Source, key: str) -> AbstractContextManager[Source]:
    """An upload that is stored as it is."""
    return nullcontext(source)


def _not_known(on_conflict: str) -> ValueError:
    return ValueError(
        f"on_conflict is {on_conflict!r}; it must be 'rename', 'error' or 'overwrite'."
    )


def _store_of(file: FileWrapper) -> FsspecStore:
    """The store of a file that is to be copied.

    :raises TypeError: if it is a store of the application's own.
    """
    if isinstance(file.provider, FsspecStore):
        return file.provider
    raise TypeError(
        f"copy() and move() read files of an FsspecStore, and {file!r} is not of one."
        " Save what its store's open() gives."
    )
