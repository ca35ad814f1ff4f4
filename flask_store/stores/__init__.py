"""The contract of a store: what every one offers, without any I/O."""

from __future__ import annotations

import typing as t
from collections.abc import Callable
from collections.abc import Mapping
from functools import cached_property
from urllib.parse import quote

from flask import current_app
from flask import Flask

from .. import naming
from ..exceptions import NotConfiguredError
from ..http.mount import Mount
from ..settings import is_set
from ..settings import Settings
from ..settings import slips
from ..settings import warn
from ..uploads import Upload as Upload
from .application import ApplicationStore

if t.TYPE_CHECKING:
    from ..background.upload import Upload as BackgroundUpload
    from ..files import FileWrapper

#: Chooses the folder of an upload: it gets what ``save`` was given.
Choice: t.TypeAlias = Callable[[t.Any], naming.Name | None]
#: A folder in a store, or what chooses one for each upload.
Destination: t.TypeAlias = naming.Name | Choice

#: Under which address stored files are served, unless STORE_URL_PREFIX says else.
URL_PREFIX = "/flaskstore"


class BaseStore:
    """What all stores inherit from. Override :meth:`save`, :meth:`exists` and
    :meth:`join` for a storage that fsspec does not know.

    :param destination: the folder, inside the store, for what this one saves; or a
        callable that gets what :meth:`save` is given, and returns the folder for it.
    :param config: a mapping with the ``STORE_`` settings; by default those of the
        current application. :class:`~flask_store.settings.Settings` are read and
        checked already.
    :raises InvalidName: if the destination leads out of the store.
    :raises NotConfiguredError: if a setting is missing or wrong.
    """

    #: Whether the application serves the files of this store, under ``"auto"``. A
    #: store that is no FsspecStore has to register a route of its own.
    register_route: bool = False

    #: The longest key that the storage takes, in bytes of UTF-8.
    longest_key: int = naming.MAX_KEY

    #: The settings that must be there.
    REQUIRED_CONFIGURATION: t.ClassVar[tuple[str, ...]] = ()

    # Set on the subclass that Store.Provider is: a store that is configured, and
    # where the application serves it unless STORE_URL_PREFIX says else.
    _bound: t.ClassVar[BaseStore | None] = None
    _served_at: t.ClassVar[str] = URL_PREFIX
    # The key in app.extensions of the Store that has made the subclass.
    _extension: t.ClassVar[str] = ""

    #: Where browsers find the routes of the application.
    _mount: Mount = Mount()

    # What chooses the folder of each upload, if it is not always the same.
    _choice: Choice | None = None

    def __init__(
        self,
        destination: Destination | None = None,
        config: Mapping[str, t.Any] | None = None,
    ) -> None:
        if config is None and self._bound is not None:
            self.__dict__.update(self._bound.__dict__)
        else:
            config = current_app.config if config is None else config
            if not isinstance(config, Settings):
                config = Settings(config)
                self.check_config(config)
                for message in slips(config, self.REQUIRED_CONFIGURATION):
                    warn(message)
            self._settings = config
            self.configure(config)
        self.destination = ""
        if callable(destination):
            self._choose_by(destination)
        elif destination:
            self.destination = naming.clean_destination(destination)

    @cached_property
    def destination(self) -> str:
        """The folder, inside the store, to which names are relative.

        :raises TypeError: if a callable chooses a folder for each upload.
        """
        raise TypeError(
            f"{self!r} has a folder for each upload, so that only save() knows one. Use"
            " at('folder') for the files of one folder, or at(None) with whole keys."
        )

    @classmethod
    def app_defaults(cls, app: Flask) -> None:
        """Put the defaults of this class into the application's configuration.

        :param app: the application, at init.
        """
        for key, value in cls.defaults(app).items():
            if not is_set(app.config.get(key)):
                app.config[key] = value

    @classmethod
    def defaults(cls, app: Flask) -> dict[str, t.Any]:
        """The settings that this class has a sensible value for."""
        return {}

    @classmethod
    def check_config(cls, config: Mapping[str, t.Any]) -> None:
        """:raises NotConfiguredError: naming every required setting that is missing."""
        missing = [key for key in cls.REQUIRED_CONFIGURATION if not config.get(key)]
        if missing:
            raise NotConfiguredError(
                f"{cls.__name__} needs {' and '.join(missing)}. Set it in the"
                " application's configuration before Store(app) or init_app(app)."
            )

    @classmethod
    def from_config(
        cls, config: Mapping[str, t.Any], destination: Destination | None = None
    ) -> t.Self:
        """A store with no application, for scripts and notebooks.

        :param config: a mapping with the documented ``STORE_`` keys.
        """
        return cls(destination, config)

    def configure(self, config: Mapping[str, t.Any]) -> None:
        """Take the settings, once. Override to take more; call this one first.

        :param config: the settings, read and checked. Keys of your own are there as the
            application gives them.
        """
        self.serve: str = config["STORE_SERVE"]
        self.serves: bool = self.serve in ("proxy", "redirect") or (
            self.serve == "auto" and self.register_route
        )
        self.domain: str | None = config["STORE_DOMAIN"]
        self.host: str | None = config["STORE_HOST"]
        self.subdomain: str | None = config["STORE_SUBDOMAIN"]
        # Also when a web server in front does the serving, under the same addresses.
        ours = self.serves or self.register_route
        self.url_prefix: str = config["STORE_URL_PREFIX"] or (
            self._served_at if ours else ""
        )
        self.signed_urls: bool = config["STORE_SIGNED_URLS"]
        self.url_expires: float = config["STORE_URL_EXPIRES"]
        self.inline_types: tuple[str, ...] = config["STORE_INLINE_TYPES"]
        self.cache_control: str | None = config["STORE_CACHE_CONTROL"]
        self.x_accel_redirect: str | None = config["STORE_X_ACCEL_REDIRECT"]

    def attach(self, app: Flask) -> None:
        """Called once, when the store is configured for an application. Override
        for what goes on beside the requests."""

    # -- pickles and copies --------------------------------------------------

    @property
    def _reference(self) -> ApplicationStore | None:
        """What a pickle has in place of a store of an application; ``None`` for a store
        with settings of its own."""
        if self._bound is None or self._settings is not self._bound._settings:
            return None
        return ApplicationStore(self._extension, self._choice or self.destination)

    def __reduce__(self) -> tuple[t.Any, ...]:
        """A store of an application is pickled by its name, without its settings; any
        other one by its settings, with their secrets."""
        reference = self._reference
        if reference is not None:
            return reference.find, ()
        cls = type(self) if self._bound is None else type(self).__bases__[0]
        destination = self._choice or self.destination
        return _made, (cls, destination, self._settings_to_pickle())

    def _settings_to_pickle(self) -> dict[str, t.Any]:
        """The settings that belong to the store, of a configuration that may have
        others."""
        return {
            key: value
            for key, value in self._settings.items()
            if key.startswith("STORE_") or key in self.REQUIRED_CONFIGURATION
        }

    def __copy__(self) -> t.Self:
        return self

    def __deepcopy__(self, memo: t.Any) -> t.Self:
        return self

    def at(self, destination: Destination | None) -> t.Self:
        """The same store with another destination."""
        if not destination and not self._choice and not self.destination:
            return self
        twin = object.__new__(type(self))
        twin.__dict__.update(self.__dict__)
        twin._choice, twin.destination = None, ""
        if callable(destination):
            twin._choose_by(destination)
        elif destination:
            twin.destination = naming.clean_destination(destination)
        return twin

    def _choose_by(self, choice: Choice) -> None:
        self._choice = choice
        del self.destination  # so that whoever asks for it gets an error

    # -- what a store has to say ---------------------------------------------

    def save(self, file: Upload | None) -> FileWrapper:
        """Store a file."""
        raise NotImplementedError(f"{type(self).__name__} does not implement 'save'.")

    def exists(self, name: str) -> bool:
        """Whether there is a file *name* in the store's destination."""
        raise NotImplementedError(f"{type(self).__name__} does not implement 'exists'.")

    def join(self, *parts: str) -> str:
        """The parts of a path as one path that the store can use."""
        raise NotImplementedError(f"{type(self).__name__} does not implement 'join'.")

    def upload(self, name: naming.Name) -> BackgroundUpload | None:
        """The upload of a file that still goes on in the background."""
        return None

    # -- names and addresses, of any store -----------------------------------

    def safe_filename(self, filename: naming.Name) -> str:
        """A name that is safe to use and, at this moment, free.

        A taken name gets a short UUID. By the time you write, somebody else may
        have taken it: :meth:`save` does both in one step.

        :param filename: as the client sent it.
        """
        name = naming.clean(filename, self.destination, self.longest_key)
        if self.exists(name):
            name = naming.unique(self.key(name), self.longest_key).rpartition("/")[2]
        return name

    def key(self, name: naming.Name) -> str:
        """The checked name of a file, relative to the whole store.

        :raises InvalidName: if it leads anywhere else.
        """
        return naming.check(name, self.destination)

    def relative_path(self, name: naming.Name) -> str:
        """The file's path in the store: its destination and its name."""
        return self.key(name)

    def absolute_path(self, name: naming.Name) -> str:
        """Where the storage keeps the file."""
        return self.key(name)

    def relative_url(self, name: naming.Name) -> str:
        """The file's URL without the domain and without the path at which the
        application is mounted, percent-encoded, no leading slash."""
        return quote(naming.join(self.url_prefix.strip("/"), self.key(name)))

    def absolute_url(self, name: naming.Name, *, external: bool = False) -> str:
        """The file's URL: below STORE_DOMAIN if there is one, otherwise below the path
        at which the application is mounted, and on another host than that of the
        request if the route is there only.

        :param external: whether the URL always has a host, as for
            :meth:`flask_store.files.FileWrapper.absolute_url`.
        """
        url = f"{self._front()}/{self.relative_url(name)}"
        return self.whole_url(url) if external else url

    def whole_url(self, url: str) -> str:
        """A URL of this store with its scheme and its host.

        :param url: such as that of :meth:`absolute_url`.
        :raises NotConfiguredError: if the host is not known.
        """
        return self._mount.whole(url)

    def _front(self) -> str:
        if self.domain:
            return self.domain.rstrip("/")
        return self._mount.front() if self.serves else ""


def _made(
    cls: type[BaseStore], destination: Destination, settings: dict[str, t.Any]
) -> BaseStore:
    """A store from what :meth:`BaseStore.__reduce__` has put into a pickle."""
    return cls(destination, Settings(settings))
