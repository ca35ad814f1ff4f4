"""``Store``: the Flask extension. It reads the configuration and registers the
routes."""

from __future__ import annotations

import re
import typing as t
from collections.abc import Iterator
from collections.abc import Mapping
from contextlib import contextmanager
from functools import partial
from weakref import WeakKeyDictionary

from flask import Blueprint
from flask import current_app
from flask import Flask
from flask import has_app_context
from werkzeug.local import LocalProxy
from werkzeug.utils import import_string

from .exceptions import NotConfiguredError
from .exceptions import StoreError
from .http import refusals
from .http.authorization import Authorization
from .http.authorization import Check
from .http.mount import Mount
from .secrecy import Options
from .settings import is_set
from .settings import Settings
from .settings import slips
from .settings import TABLE
from .settings import warn

if t.TYPE_CHECKING:
    # From Python 3.13 on, the one of typing has a default, too (PEP 696).
    from typing_extensions import TypeVar

    from .stores import BaseStore
    from .stores import Destination
    from .stores.fsspec import FsspecStore

    ProviderT_co = TypeVar("ProviderT_co", default=FsspecStore, covariant=True)
else:
    ProviderT_co = t.TypeVar("ProviderT_co", covariant=True)

#: The function that an application registers by ``authorize``.
CheckT = t.TypeVar("CheckT", bound=Check)
T = t.TypeVar("T")

#: The class of the store when STORE_PATH is a path on disk, or missing.
LOCAL_PROVIDER = "flask_store.stores.local.LocalStore"
#: The class of the store when STORE_PATH is a URL.
URL_PROVIDER = "flask_store.stores.fsspec.FsspecStore"

#: An argument that was left out. ``None`` is one that was given.
_UNSET: t.Final = object()

#: The key in ``app.extensions`` of the defaults that were put into ``app.config``.
DEFAULTS = "flask_store.defaults"


class Verb(t.Generic[T]):
    """An attribute of :class:`Store` that is that of the current application's store,
    with its type.

    :param of: takes the attribute from the store.
    """

    def __init__(self, of: t.Callable[[FsspecStore], T]) -> None:
        self._of = of

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @t.overload
    def __get__(self, extension: None, owner: type) -> t.Self: ...

    @t.overload
    def __get__(self, extension: Store[FsspecStore], owner: type) -> T: ...

    def __get__(self, extension: Store[FsspecStore] | None, owner: type) -> t.Self | T:
        """The attribute.

        :raises RuntimeError: if it is not clear which application's store is meant.
        :raises AttributeError: if the store is of a class that has no such attribute.
        :raises TypeError: if it has no such operator. From Python 3.14 on, ``in`` drops
            an AttributeError.
        """
        if extension is None:
            return self
        store = extension._class._bound
        if not hasattr(type(store), self._name) and self._name not in vars(store):
            error = TypeError if self._name.startswith("__") else AttributeError
            raise error(
                f"{extension!r} stores its files with {type(store).__name__!r}, the"
                f" class in STORE_PROVIDER, which has no {self._name!r}. Add it to the"
                " class, or derive the class from FsspecStore."
            )
        return self._of(t.cast("FsspecStore", store))


class Store(t.Generic[ProviderT_co]):
    """The integration of Flask-Store into applications.

    Bind it to an application at once, or later in an application factory::

        store = Store(app)

        store = Store()

        def create_app():
            app = Flask(__name__)
            store.init_app(app)
            return app

    One ``Store`` may serve several applications; an application may have several:
    ``avatars = Store(app, name="avatars")`` reads ``AVATARS_STORE_PATH`` and so on,
    and falls back to ``STORE_PATH`` for settings that are not set.

    The verbs are those of the current application's store, such as :meth:`save
    <flask_store.stores.fsspec.FsspecStore.save>`. Outside of an application context
    they work if this ``Store`` has exactly one application.

    To a type checker, the store is a
    :class:`~flask_store.stores.fsspec.FsspecStore`. Where ``STORE_PROVIDER`` names a
    class of your own, say so, ``store: Store[Shelf] = Store(app)``, and call what only
    this class has by :meth:`at`.

    :param app: the application to bind to.
    :param name: sets this store apart from the others of an application.
    """

    def __init__(self, app: Flask | None = None, name: str | None = None) -> None:
        if name is not None and not name.isidentifier():
            raise ValueError(
                f"The name of a store is part of its settings' names: {name!r} must"
                " consist of letters, digits and '_', such as 'avatars'."
            )
        self.name = name
        self._prefix = f"{name.upper()}_" if name else ""
        self._authorization = Authorization()
        self._providers: WeakKeyDictionary[Flask, type[BaseStore]] = WeakKeyDictionary()
        if app is not None:
            self.init_app(app)

    # -- the verbs -----------------------------------------------------------

    save = Verb(lambda store: store.save)
    put = Verb(lambda store: store.put)
    create = Verb(lambda store: store.create)
    copy = Verb(lambda store: store.copy)
    move = Verb(lambda store: store.move)
    delete = Verb(lambda store: store.delete)

    file = Verb(lambda store: store.file)
    open = Verb(lambda store: store.open)
    read = Verb(lambda store: store.read)
    stream = Verb(lambda store: store.stream)
    exists = Verb(lambda store: store.exists)
    stat = Verb(lambda store: store.stat)
    __getitem__ = Verb(lambda store: store.__getitem__)
    __contains__ = Verb(lambda store: store.__contains__)

    ls = Verb(lambda store: store.ls)
    glob = Verb(lambda store: store.glob)
    usage = Verb(lambda store: store.usage)
    _ipython_key_completions_ = Verb(lambda store: store._ipython_key_completions_)
    # Without it, Python would iterate by store[0], store[1] and so on.
    __iter__: t.ClassVar[None] = None

    relative_url = Verb(lambda store: store.relative_url)
    absolute_url = Verb(lambda store: store.absolute_url)
    signed_url = Verb(lambda store: store.signed_url)
    response = Verb(lambda store: store.response)
    presign_upload = Verb(lambda store: store.presign_upload)
    confirm = Verb(lambda store: store.confirm)

    key = Verb(lambda store: store.key)
    safe_filename = Verb(lambda store: store.safe_filename)
    absolute_path = Verb(lambda store: store.absolute_path)
    uri = Verb(lambda store: store.uri)
    storage_options = Verb(lambda store: store.storage_options)
    object_store_options = Verb(lambda store: store.object_store_options)
    fs = Verb(lambda store: store.fs)
    raw_fs = Verb(lambda store: store.raw_fs)

    pending = Verb(lambda store: store.pending)
    sweep = Verb(lambda store: store.sweep)

    def at(self, destination: Destination | None) -> ProviderT_co:
        """The current application's store, with a folder: its keys are relative to
        this folder.

        :param destination: the folder, or a function that gets what ``save`` is given,
            and returns the folder for it; ``None`` is the whole store.
        :raises InvalidName: if the folder is not in the store.
        :raises RuntimeError: if it is not clear which application's store is meant.
        """
        # A class of 0.0.4 is one file, and has a store that does the work.
        store = self._class._bound
        assert store is not None  # _bind has set it
        return t.cast("ProviderT_co", store.at(destination))

    # -- the applications ----------------------------------------------------

    def init_app(self, app: Flask) -> None:
        """Read the configuration, prepare the store and register the route.

        Changes to the configuration after this call have no effect, unless you call it
        again: the last call counts. It does not contact the storage, so that an
        application starts while S3 is down. Afterwards ``app.config`` has the defaults
        of the settings that the application does not set.

        :param app: the application.
        :raises NotConfiguredError: if a setting is missing or wrong, or if another
            ``Store`` of the same name has a route at this application. ``app.config``
            is unchanged then.
        :raises ImportError: if ``STORE_PROVIDER`` cannot be imported.
        """
        before = _copied(app.config)
        try:
            with self._named_as_set(app):
                self._bind(app)
        except Exception:
            app.config.clear()
            app.config.update(before)
            raise

    def _bind(self, app: Flask) -> None:
        # Only the store without a name has its defaults in the configuration.
        if self.name is None:
            _forget_defaults(app)
        before = _copied(app.config)
        cls = self.provider(app)
        if self.name is None:
            cls.app_defaults(app)
        settings = self._read(app, cls)
        attributes = {"__doc__": cls.__doc__, "__module__": cls.__module__}
        bound = t.cast("type[BaseStore]", type(cls.__name__, (cls,), attributes))
        bound._extension = self._extension_name
        if self.name is not None:
            # Two stores cannot share one route. The name goes behind a '-' and not
            # behind a '/', where it would hide a folder of this name.
            bound._served_at = f"{cls._served_at}-{self.name}"
        store = bound._bound = bound.from_config(settings)
        if _has_route(store):
            store._mount = Mount.of(app, store.host, store.subdomain)
        else:
            store._mount = Mount.without_routes(app)
        self._refuse_shared_route(app, store)
        if self._authorization.check is not None:
            _refuse_other_ways(app, store)
        replaced = self._providers.get(app)
        self._providers[app] = bound
        self.register_route(app)
        app.extensions[self._extension_name] = self
        if self.name is None:
            _show_defaults(app, cls, store, before)
        if replaced is not None and replaced._bound is not None:
            from .uploads import multipart

            multipart.uninstall(app, replaced._bound)
        store.attach(app)
        from .http import jsonable

        jsonable.install(app)

    def provider(self, app: Flask) -> type[BaseStore]:
        """The class of the store that the configuration names.

        Without ``STORE_PROVIDER``, a URL in ``STORE_PATH`` chooses
        :class:`~flask_store.stores.fsspec.FsspecStore` and anything else
        :class:`~flask_store.stores.local.LocalStore`.

        :param app: the application.
        :raises ImportError: if the class or its module cannot be imported.
        :raises NotConfiguredError: if one of the two settings is wrong.
        """
        config = self._own_settings(app)
        provider = TABLE["STORE_PROVIDER"].read(config)
        if provider is None:
            path = TABLE["STORE_PATH"].read(config)
            provider = LOCAL_PROVIDER if _is_on_disk(path) else URL_PROVIDER
        if isinstance(provider, str):
            provider = import_string(provider)
        if not isinstance(provider, type):
            raise NotConfiguredError(
                f"STORE_PROVIDER is {provider!r}; it must be a class, such as"
                " 'flask_store.stores.s3.S3Store'."
            )
        return t.cast("type[BaseStore]", provider)

    def check_config(self, app: Flask) -> None:
        """Check that every setting is valid, and that those which the class of the
        store requires are set.

        :param app: the application.
        :raises NotConfiguredError: naming the setting that is missing or wrong, or an
            unknown ``STORE_S3_`` key.
        """
        with self._named_as_set(app):
            self._read(app, self.provider(app))

    def _read(self, app: Flask, cls: type[BaseStore]) -> Settings:
        """The checked settings, with the defaults of the class for those that are not
        set."""
        own_settings = self._own_settings(app)
        config = Options({**cls.defaults(app), **own_settings})
        settings = Settings(config)
        cls.check_config(settings)
        messages = slips(config, getattr(cls, "REQUIRED_CONFIGURATION", ()))
        no_provider = (
            "STORE_S3_BUCKET" in own_settings and "STORE_PROVIDER" not in own_settings
        )
        if no_provider and _is_on_disk(settings["STORE_PATH"]):
            messages.append(
                "STORE_S3_BUCKET is set, but files are stored on the local disk. Set"
                " STORE_PROVIDER to 'flask_store.stores.s3.S3Store'."
            )
        for message in messages:
            warn(self._as_written(app, message))
        return settings

    def _refuse_shared_route(self, app: Flask, store: BaseStore) -> None:
        """:raises NotConfiguredError: if this store would take the route of another."""
        other = app.extensions.get(self._extension_name)
        if other is self or not isinstance(other, Store):
            return
        other_store = other._provider(app)._bound
        if other_store is not None and _has_route(other_store) and _has_route(store):
            raise NotConfiguredError(
                f"{other!r} serves its files at the application {app.name!r}, and a"
                " second one would take over its route. Use that one, or give this one"
                " a name of its own: Store(app, name='photos') reads PHOTOS_STORE_PATH"
                " and so on."
            )

    def register_route(self, app: Flask) -> None:
        """Register the routes that serve the files and take uploads, if the store
        wants them.

        :param app: the application.
        """
        # Not by calling the class, because one of 0.0.4 needs a file.
        store = self._provider(app)._bound
        if store is not None and _has_route(store):
            from .http import routes

            routes.register(
                app,
                t.cast("FsspecStore", store),
                self._extension_name,
                self._authorization,
            )

    @t.overload
    def authorize(self, check: CheckT, /) -> CheckT: ...

    @t.overload
    def authorize(
        self, /, *, denied: t.Literal[403, 404]
    ) -> t.Callable[[CheckT], CheckT]: ...

    def authorize(self, check: t.Any = _UNSET, /, *, denied: int = 403) -> t.Any:
        """Let a function decide who may read the files of this store by its route::

            @store.authorize
            def may_read(file):
                return current_user.is_authenticated

        It is called for each GET and HEAD request, before the storage is asked, and
        gets the :class:`~flask_store.files.FileWrapper`. It returns ``True`` or
        ``False``, or a response of its own such as a redirect to the login, or calls
        :func:`flask.abort`. Anything else, such as ``None``, is an error, and nothing
        is sent. No shared cache keeps a response.

        The function is not asked about signed links, ``file.response()`` and direct
        uploads.

        :param denied: the status for ``False``: 403, or 404 so that nobody can tell
            that there is a file.
        :raises NotConfiguredError: if this store has such a function, or if its files
            can be read in another way than by its route. ``init_app`` raises it, too.
        """
        if check is _UNSET:
            return t.cast(
                "t.Callable[[CheckT], CheckT]", partial(self.authorize, denied=denied)
            )
        self._authorization.register(check, denied)
        for app, provider in self._providers.items():
            with self._named_as_set(app):
                if provider._bound is not None:
                    _refuse_other_ways(app, provider._bound)
        return check

    def errorhandler(self, app: Flask | Blueprint) -> None:
        """Answer a :exc:`~flask_store.exceptions.StoreError` that no view catches as
        the route of a store does, such as 404 for a missing file and 503 for a storage
        that does not respond. The client gets JSON if it asks for it.

        This holds for the errors of all stores. An error handler that the application
        registers for a class of errors, or for a status, is used instead.

        :param app: the application, or a blueprint for the views of it alone.
        :raises TypeError: if it is neither.
        """
        if not isinstance(app, Flask | Blueprint):
            raise TypeError(
                f"errorhandler() takes an application or a blueprint, not {app!r}. It"
                " is no decorator: call store.errorhandler(app), and register a handler"
                " of your own by @app.errorhandler(StoreError)."
            )
        app.register_error_handler(StoreError, refusals.handle)

    @property
    def Provider(self) -> type[ProviderT_co]:
        """The class of the current application's store, bound to its settings: an
        older spelling, in which ``store.Provider("avatars").save(upload)`` is
        ``store.save(upload, folder="avatars")``.

        :raises RuntimeError: if it is not clear which application's store is meant.
        """
        # The configuration names the class, and a type checker does not read it.
        return t.cast("type[ProviderT_co]", self._class)

    @property
    def _class(self) -> type[BaseStore]:
        """The bound class of the current application's store."""
        if has_app_context():
            return self._provider(current_app._get_current_object())  # type: ignore
        if len(self._providers) == 1:
            return next(iter(self._providers.values()))
        raise RuntimeError(
            f"{self!r} has {len(self._providers)} applications, and no application is"
            " current. Use it in a view, or in 'with app.app_context():'."
        )

    def _provider(self, app: Flask) -> type[BaseStore]:
        try:
            return self._providers[app]
        except KeyError:
            raise RuntimeError(
                f"The application {app.name!r} is not registered with {self!r}. Did you"
                " forget to call 'init_app', or make more than one Store?"
            ) from None

    @property
    def _extension_name(self) -> str:
        return "store" if self.name is None else f"store.{self.name}"

    def _own_settings(self, app: Flask) -> dict[str, t.Any]:
        """The ``STORE_`` settings that are set for this store."""
        settings = self._plain_settings(app)
        if self.name is not None:
            prefixed_settings = _starting(app.config, f"{self._prefix}STORE_")
            settings |= {
                key.removeprefix(self._prefix): prefixed_settings[key]
                for key in prefixed_settings
            }
        return Options({key: value for key, value in settings.items() if is_set(value)})

    def _plain_settings(self, app: Flask) -> dict[str, t.Any]:
        """The settings without a prefix that this store uses."""
        settings = _starting(app.config, "STORE_")
        if self.name is not None:
            for key, value in app.extensions.get(DEFAULTS, {}).items():
                if settings.get(key) is value:  # a default of the store without a name
                    del settings[key]
            settings.pop("STORE_URL_PREFIX", None)
        return settings

    @contextmanager
    def _named_as_set(self, app: Flask) -> Iterator[None]:
        """Let errors name the settings with the prefix of this store."""
        try:
            yield
        except NotConfiguredError as exc:
            exc.args = (self._as_written(app, str(exc)),)
            raise

    def _as_written(self, app: Flask, message: str) -> str:
        """A message that names the settings with the prefix of this store, unless the
        application has set the one without a prefix."""
        plain_settings = self._plain_settings(app)
        for name in set(re.findall(r"\bSTORE_[A-Z0-9_]+", message)):
            prefixed_name = f"{self._prefix}{name}"
            if prefixed_name in app.config or name not in plain_settings:
                message = re.sub(rf"\b{name}\b", prefixed_name, message)
        return message

    def __reduce__(self) -> tuple[t.Any, ...]:
        """A pickle has the name alone: it is the ``Store`` of this name of whatever
        application is the current one when it is read."""
        from .stores.application import find_extension

        return find_extension, (self._extension_name,)

    def __copy__(self) -> t.Self:
        return self

    def __deepcopy__(self, memo: t.Any) -> t.Self:
        return self

    def __repr__(self) -> str:
        return f"<Store {self.name!r}>" if self.name else "<Store>"


def _is_on_disk(path: str | None) -> bool:
    # Filesystems are imported when an application has a store, and not before:
    # fsspec takes longer than all of this package.
    from .dialects.urls import protocol_of

    return protocol_of(path or "") == "file"


def _has_route(store: BaseStore) -> bool:
    from .stores.fsspec import FsspecStore

    return isinstance(store, FsspecStore) and (
        store.serves
        or store.upload_prefix is not None
        or store.variants_prefix is not None
    )


def _refuse_other_ways(app: Flask, store: BaseStore) -> None:
    """:raises NotConfiguredError: if the files can be read without a request that
    ``authorize`` decides on."""
    if not store.serves or not _has_route(store):
        raise NotConfiguredError(
            "authorize() decides on the requests to the route of a store, and with"
            f" STORE_SERVE {store.serve!r} {store!r} has none: its files have other"
            " addresses. Set STORE_SERVE to 'proxy' or 'redirect', and make the bucket"
            " private. Or return file.response() from a view of your own, and remove"
            " authorize()."
        )
    if store.signed_urls:
        raise NotConfiguredError(
            "STORE_SIGNED_URLS lets nobody read a file without a signed link, so that"
            " authorize() would never be asked. Remove one of them. signed_url() makes"
            " links in any case."
        )
    from .http import routes

    routes.refuse_static(app, t.cast("FsspecStore", store))


def _show_defaults(
    app: Flask, cls: type[BaseStore], store: BaseStore, before: Mapping[str, t.Any]
) -> None:
    """Put the defaults of the store without a name into ``app.config``, for settings
    that the application does not set.

    :param before: the configuration as the application made it.
    """
    values = {
        "STORE_PROVIDER": f"{cls.__module__}.{cls.__qualname__}",
        "STORE_URL_PREFIX": store.url_prefix,
        "STORE_DOMAIN": store.domain,
    }
    for key, value in values.items():
        if not is_set(app.config.get(key)):
            app.config[key] = value
    app.extensions[DEFAULTS] = {
        key: value
        for key, value in _starting(app.config, "STORE_").items()
        if key not in before or before[key] is not value
    }


def _forget_defaults(app: Flask) -> None:
    """Remove what :func:`_show_defaults` added, unless the application has changed
    it."""
    for key, value in app.extensions.get(DEFAULTS, {}).items():
        if app.config.get(key) is value:
            del app.config[key]


def _copied(config: Mapping[str, t.Any]) -> Options:
    """A copy of the configuration whose repr does not show the values."""
    copied = Options({})
    copied.update(config)
    return copied


def _starting(config: Mapping[str, t.Any], prefix: str) -> dict[str, t.Any]:
    return {key: value for key, value in config.items() if key.startswith(prefix)}


def _current_store() -> Store:
    if not has_app_context():
        raise RuntimeError(
            "There is no current application. Use flask_store.current_store in a view,"
            " or in 'with app.app_context():'."
        )
    store = current_app.extensions.get("store")
    if store is None:
        raise RuntimeError(
            f"The application {current_app.name!r} has no Store. Did you forget to call"
            " 'Store(app)' or 'init_app'?"
        )
    return t.cast("Store", store)


#: The ``Store`` of the current application, for code that cannot import it.
current_store: Store = t.cast("Store", LocalProxy(_current_store))

#: An older spelling: the class of the current application's store.
Provider: type[FsspecStore] = t.cast(
    "type[FsspecStore]", LocalProxy(lambda: _current_store().Provider)
)
