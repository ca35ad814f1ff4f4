"""A stored file as a value: which store, which key, and what can be done with it."""

from __future__ import annotations

import datetime as dt
import os
import shutil
import tempfile
import typing as t
from functools import cached_property

from fsspec.callbacks import Callback
from fsspec.callbacks import DEFAULT_CALLBACK as NO_CALLBACK

from . import naming
from .exceptions import StoreError
from .uploads.reading import Readable

if t.TYPE_CHECKING:
    from flask import Response

    from .background.upload import Upload
    from .dialects import Dialect
    from .dialects import Stat
    from .http.links import Method
    from .images.variant import Variant


class FileStore(t.Protocol):
    """What a stored file, and the rest of the package, ask of a store.

    It is :class:`~flask_store.stores.fsspec.FsspecStore`, which has the documentation
    of each, and can import what asks this of it.
    """

    dialect: Dialect
    #: Those of flask_store.images, which is built on this.
    variants: t.Any
    longest_key: int
    resumable: bool
    resumable_expires: float

    @property
    def destination(self) -> str: ...
    @property
    def uri(self) -> str: ...
    @property
    def identity(self) -> str: ...

    def at(self, destination: str | None) -> t.Self: ...
    def key(self, name: str) -> str: ...
    def file(self, name: str) -> FileWrapper: ...
    def save(self, *args: t.Any, **kwargs: t.Any) -> FileWrapper: ...
    def put(self, *args: t.Any, **kwargs: t.Any) -> FileWrapper: ...
    def open(self, *args: t.Any, **kwargs: t.Any) -> t.Any: ...
    def read(self, name: str) -> bytes: ...
    def stream(
        self, name: str, start: int = 0, stop: int | None = None
    ) -> t.Iterator[bytes]: ...
    def exists(self, name: str) -> bool: ...
    def stat(self, name: str) -> Stat: ...
    def delete(self, name: str, /) -> None: ...
    def upload(self, name: naming.Name) -> Upload | None: ...
    def absolute_path(self, name: str) -> str: ...
    def relative_url(self, name: str) -> str: ...
    def absolute_url(self, name: str) -> str: ...
    def whole_url(self, url: str) -> str: ...
    def upload_url(self, key: str) -> str: ...
    def resumable_url(self, key: str) -> str: ...
    def signed_url(
        self,
        name: str,
        expires: float | None = None,
        download_as: str | None = None,
        *,
        download_name: str | None = None,
        method: Method = "GET",
        version_id: str | None = None,
    ) -> str: ...
    def response(
        self,
        name: str,
        *,
        as_attachment: bool = False,
        download_name: str | None = None,
        cache_control: str | None = None,
    ) -> Response: ...


class Reference(t.Protocol):
    """What a pickle has in place of a store."""

    def find(self) -> t.Any: ...


class Owner(t.Protocol):
    """What any store has, also one that is no FsspecStore."""

    def relative_path(self, name: str) -> str: ...
    def at(self, destination: str | None) -> t.Self: ...


class FileWrapper(Readable):
    """A stored file. Making one does no I/O and does not need the file to exist.

    ``str(f)`` is what belongs into a database; ``store.file(...)`` gives the
    file back. Two wrappers of one file are equal.

    Libraries take it where they take a file that is open for reading: see
    :class:`~flask_store.uploads.reading.Readable`.

    :param filename: the file's name in the store's destination.
    :param provider: the store that has it.
    :param upload: the upload that goes on in the background, if there is one.
    """

    #: What is wrong with the key, as a row may hold any.
    _problem = ""
    #: Whether a row is known to have, or have had, this file.
    _is_of_row = False
    #: How many characters of the key stand before :attr:`name`.
    _start = 0
    #: What is known of the file: what the storage has told of it, or what was saved.
    _found: Stat | None = None
    #: Whether the storage may tell more than what was saved.
    _is_partial = False
    _upload: Upload | None = None
    #: Where the store of a file that comes from a pickle is to be found.
    _reference: Reference | None = None

    def __init__(
        self, filename: naming.Name, provider: Owner, upload: Upload | None = None
    ) -> None:
        #: The file's path in the store: destination and name.
        name = naming.text(filename)
        self.key: str = provider.relative_path(name)
        if self.key.endswith(name):
            self._start = len(self.key) - len(name)
        # The key says it all, so the store is taken without its destination. One that
        # is no FsspecStore has those of its methods that it needs.
        self.provider = t.cast("FileStore", provider.at(None))
        self._upload = upload

    @classmethod
    def _of_key(
        cls, key: str, provider: FileStore, upload: Upload | None = None
    ) -> FileWrapper:
        """The file of a key that the store has checked."""
        file = cls.__new__(cls)
        file.key = key
        file.provider = provider.at(None)
        file._upload = upload
        # A store that chooses a folder for each upload has no destination to ask for.
        folder = f"{vars(provider).get('destination', '')}/"
        if key.startswith(folder):
            file._start = len(folder)
        return file

    @classmethod
    def _listed(cls, found: Stat, provider: FileStore, start: int) -> FileWrapper:
        """A file that a listing describes.

        :param provider: its store, without a destination.
        :param start: how many characters of the key stand before the name.
        """
        file = cls.__new__(cls)
        file.key, file.provider = found.name, provider
        file._start, file._found = start, found
        return file

    @classmethod
    def of_row(cls, path: str, provider: FileStore) -> FileWrapper:
        """The file whose path a row holds, whatever that is.

        A path that no store accepts is complained of when the file is used, so that
        one such row does not spoil a query. Rows that 0.0.4 wrote may begin with the
        slash of their location.
        """
        file = cls._of_key(path.removeprefix("/"), provider)
        file._problem = naming.problem(file.key)
        file._is_of_row = True
        return file

    @cached_property
    def provider(self) -> FileStore:
        """The store that has the file. A file that comes from a pickle looks for it
        when it is first used.

        :raises NotConfiguredError: if there is no current application then, or it has
            no such store.
        """
        assert self._reference is not None  # __init__ has set it otherwise
        return t.cast("FileStore", self._reference.find())

    @property
    def store(self) -> FileStore:
        """The store that has the file. :attr:`provider` is its older spelling."""
        return self.provider

    def __getstate__(self) -> dict[str, t.Any]:
        """What a pickle has of the file: its key, and the name of the application's
        store or, of a store without an application, its settings."""
        state = self._value()
        # It goes on in this process alone; another one asks its own store.
        state["_upload"] = None
        reference = getattr(state.get("provider"), "_reference", None)
        if reference is not None:
            del state["provider"]
            state["_reference"] = reference
        return state

    def __setstate__(self, state: dict[str, t.Any]) -> None:
        vars(self).update(state)

    def __copy__(self) -> t.Self:
        twin = object.__new__(type(self))
        vars(twin).update(self._value())
        return twin

    def __deepcopy__(self, memo: t.Any) -> t.Self:
        # It is a value, and its store is shared.
        return self.__copy__()

    @property
    def _name(self) -> str:
        """The key, for whatever uses the file.

        :raises StoreError: if it is none; the client is not to blame for that.
        """
        if self._problem:
            raise StoreError(
                f"The row's path {naming.quoted(self.key)} {self._problem} Correct the"
                " row.",
                self.key,
            )
        return self.key

    @property
    def filename(self) -> str:
        """The file's name, without its destination."""
        return self.key.rpartition("/")[2]

    @property
    def name(self) -> str:
        """The file's name in the store that gave it, relative to the destination:
        ``store.file(f.name) == f``. A row, and a store that chooses a folder for each
        upload, have no destination: this is the key then."""
        return self.key[self._start :]

    @property
    def download_name(self) -> str:
        """The name that the client gave, as far as the store keeps it: the file's name
        without the UUID that a taken name gets. A browser saves the file under it."""
        return naming.original(self.filename)

    @property
    def upload(self) -> Upload | None:
        """The upload in the background: its state, error, progress, and a way to
        wait for it. ``None`` if this process has none of this file."""
        if self._upload is None:
            self._upload = self.provider.upload(self._name)
        return self._upload

    def relative_path(self) -> str:
        """The path in the store, such as ``avatars/me.jpg``."""
        return self._name

    def absolute_path(self) -> str:
        """The path on disk; for an object store the key with its prefix."""
        return self.provider.absolute_path(self._name)

    def relative_url(self) -> str:
        """The URL without the domain and without a leading slash, percent-encoded."""
        return self.provider.relative_url(self._name)

    def absolute_url(self, *, external: bool = False) -> str:
        """The URL: the domain if there is one, the prefix, the destination and the
        name, percent-encoded.

        Without :data:`STORE_DOMAIN`, the URL of a file that the application serves
        begins with a slash, which is enough for a page.

        :param external: whether the URL always has a scheme and a host, for an e-mail
            or a feed. Without a domain, they are those of the current request or, where
            there is none, ``PREFERRED_URL_SCHEME`` and ``SERVER_NAME``.
        :raises NotConfiguredError: if the URL is to have a host, and there is neither a
            request nor a ``SERVER_NAME``.
        """
        url = self.provider.absolute_url(self._name)
        return self.provider.whole_url(url) if external else url

    def signed_url(
        self,
        expires: float | None = None,
        download_as: str | None = None,
        *,
        download_name: str | None = None,
        method: Method = "GET",
        version_id: str | None = None,
        external: bool = False,
    ) -> str:
        """A link by which anybody may read the file for some time.

        :param expires: in seconds; by default ``STORE_URL_EXPIRES``.
        :param download_as: the name under which a browser is to save the file, even
            if it could show it.
        :param download_name: the name alone: whether a browser shows the file is up to
            the type of the file.
        :param method: the method that the link is for, ``"GET"`` or ``"HEAD"``. S3 and
            Google Cloud sign it, and any other link is good for both.
        :param version_id: a version of the file, in a bucket that keeps versions: the
            ``VersionId`` of S3, the generation of Google Cloud or the version ID of
            Azure.
        :param external: as for :meth:`absolute_url`.
        :raises NotConfiguredError: if the application has to sign and has no
            ``SECRET_KEY``, if nobody serves the file, or if the storage does not sign a
            link to a version.
        """
        url = self.provider.signed_url(
            self._name,
            expires,
            download_as,
            download_name=download_name,
            method=method,
            version_id=version_id,
        )
        return self.provider.whole_url(url) if external else url

    def response(
        self,
        *,
        as_attachment: bool = False,
        download_name: str | None = None,
        cache_control: str | None = None,
    ) -> Response:
        """A response with the file, to return from a view that has decided who may read
        it.

        It has all that the response of the route has: ranges, conditional requests and
        headers with which an uploaded page cannot run. It also works if the store has
        no route. No shared cache keeps it.

        :param as_attachment: whether a browser saves the file, also if it could show
            it.
        :param download_name: the name under which it does, by default
            :attr:`download_name`.
        :param cache_control: the ``Cache-Control``; by default that of the file or of
            ``STORE_CACHE_CONTROL``, made private, or ``"private, no-cache"``.
        :raises werkzeug.exceptions.HTTPException: if the file is not there (404), or if
            the storage fails (502 or 503). Flask answers with it.
        """
        return self.provider.response(
            self._name,
            as_attachment=as_attachment,
            download_name=download_name,
            cache_control=cache_control,
        )

    def variant(self, name: str | None = None, /, **parameters: t.Any) -> Variant:
        """The picture in another size or format. Nothing is made before somebody asks
        for it.

        :param name: one of ``STORE_VARIANTS``.
        :param parameters: those of :class:`~flask_store.images.Spec`, in place of a
            name: ``width``, ``height``, ``fit``, ``format``, ``quality``,
            ``background`` and ``animated``.
        :raises NotConfiguredError: if ``STORE_VARIANTS`` is not set.
        :raises ValueError: if there is no such name, or a parameter is wrong.
        """
        from .images.variant import Variant

        return Variant.of(self, name, parameters)

    @property
    def uri(self) -> str:
        """The fsspec URL, without credentials; pandas takes it together with the
        store's options. Of a file on disk it may be the path.

        :raises StoreError: if no URL of fsspec can have the name. Use :meth:`open`.
        """
        return self.provider.dialect.uri_of(self._name)

    @t.overload
    def open(self, mode: t.Literal["rb"] = "rb") -> t.IO[bytes]: ...

    @t.overload
    def open(self, mode: t.Literal["r"]) -> t.IO[str]: ...

    def open(self, mode: t.Literal["r", "rb"] = "rb") -> t.IO[bytes] | t.IO[str]:
        """The file, for reading; ``"r"`` reads it as UTF-8 text.

        :raises FileNotFound: if it is not there.
        """
        file: t.IO[bytes] | t.IO[str] = self.provider.open(self._name, mode)
        return file

    def _read_all(self) -> bytes:
        return self.provider.read(self._name)

    def stream(self, start: int = 0, stop: int | None = None) -> t.Iterator[bytes]:
        """The bytes from *start* up to *stop*, in pieces of at most 1 MiB."""
        return self.provider.stream(self._name, start, stop)

    def download(
        self, path: str | os.PathLike[str], callback: Callback = NO_CALLBACK
    ) -> str:
        """Copy the file to the local disk; *path* is written whole or not at all.

        :param path: the file to write, replaced if it is there, or a folder.
        :param callback: an fsspec callback that is told the bytes, such as
            :class:`fsspec.callbacks.TqdmCallback`.
        :return: the path that was written.
        """
        target = os.fspath(path)
        if os.path.isdir(target):
            target = os.path.join(target, self.filename)
        folder = os.path.dirname(os.path.abspath(target))
        with tempfile.TemporaryDirectory(dir=folder, prefix=".download-") as private:
            staged = os.path.join(private, "file")
            with open(staged, "wb") as file:
                for data in self.stream():
                    file.write(data)
                    callback.relative_update(len(data))
            shutil.move(staged, target)
        return target

    def image_size(self) -> tuple[int, int]:
        """The width and the height of a picture, in pixels, as a browser shows it.

        They are in its header, so that one request for the first 64 KiB of the file is
        enough, but for few files. It needs ``pip install 'Flask-Store[images]'``.

        :raises BadPicture: if the file is no picture in JPEG, PNG, WebP, GIF, AVIF or
            HEIF.
        :raises FileNotFound: if it is not there.
        """
        from .images.size import image_size

        return image_size(self)

    def exists(self) -> bool:
        """Whether the file is there.

        :raises StoreUnavailable: if the storage does not answer.
        """
        return self.provider.exists(self._name)

    def delete(self) -> None:
        """Remove the file.

        :raises FileNotFound: if it is not there.
        """
        self.provider.delete(self._name)

    def stat(self) -> Stat:
        """Size, date, ETag and content type, by one request. Afterwards the properties
        of this file have what the storage has just told.

        :raises FileNotFound: if it is not there.
        """
        found = self.provider.stat(self._name)
        self._found, self._is_partial = found, False
        return found

    # What is known of the file costs no request. The storage is asked by the first of
    # these properties that is not known, and then they are all known.

    @property
    def size(self) -> int:
        """The size in bytes.

        This and the following properties are what the storage told when the file was
        listed, saved or first asked about. :meth:`stat` asks anew.

        :raises FileNotFound: if the storage is asked, and the file is not there.
        """
        return (self._found or self.stat()).size

    @property
    def modified(self) -> dt.datetime | None:
        """When the file was last written, in UTC."""
        return t.cast("dt.datetime | None", self._told("modified"))

    @property
    def content_type(self) -> str:
        """The media type, such as ``image/jpeg``. Of a file in a listing of a storage
        that lists no types, such as S3, it is what the name suggests."""
        return (self._found or self.stat()).content_type

    @property
    def etag(self) -> str | None:
        """Changes whenever the content does."""
        return t.cast("str | None", self._told("etag"))

    @property
    def checksum(self) -> str | None:
        """The checksum of the content, such as ``"md5:<hex>"``, or ``None``. S3 tells
        it to :meth:`stat`, and not in a listing."""
        return t.cast("str | None", self._told("checksum"))

    @property
    def _known_etag(self) -> str | None:
        """The ETag, if it is known without asking the storage."""
        return None if self._found is None else self._found.etag

    def _told(self, name: str) -> t.Any:
        """What the storage has told. A save need not have learnt it."""
        found = self._found
        if found is None or (self._is_partial and getattr(found, name) is None):
            found = self.stat()
        return getattr(found, name)

    def to_dict(self) -> dict[str, t.Any]:
        """The file for JSON: its ``key``, its ``name`` for people, its ``url``, its
        ``size`` in bytes and its ``type``. What is known of the file costs no request.

        The URL is :meth:`absolute_url`, which is signed with ``STORE_SIGNED_URLS``. The
        key is part of it, as of the URL of a private store.

        :raises FileNotFound: if the storage is asked, and the file is not there.
        """
        return {
            "key": self.key,
            "name": self.download_name,
            "url": self.absolute_url(),
            "size": self.size,
            "type": self.content_type,
        }

    @property
    def cache_control(self) -> str | None:
        """The ``Cache-Control`` that is stored with the file, if there is one."""
        return self.stat().cache_control

    @property
    def metadata(self) -> dict[str, str]:
        """What the application has stored with the file, by names in lower case."""
        return self.stat().metadata

    def _repr_mimebundle_(
        self, include: t.Any = None, exclude: t.Any = None
    ) -> dict[str, str]:
        from .views import preview

        return preview.preview(self)

    def __str__(self) -> str:
        return self.key

    def __repr__(self) -> str:
        store = vars(self).get("provider", self._reference)
        return f"<{type(self).__name__} {self.key!r} in {store!r}>"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, FileWrapper):
            return NotImplemented
        return self._identity == other._identity

    def __hash__(self) -> int:
        return hash(self._identity)

    @property
    def _identity(self) -> tuple[object, str]:
        return self._place, self.key

    @property
    def _place(self) -> object:
        """What sets the root of its store apart from those of all others."""
        # A provider of one's own need not have a dialect; its class is the store's own.
        dialect = getattr(self.provider, "dialect", None)
        return type(self.provider) if dialect is None else dialect.place
