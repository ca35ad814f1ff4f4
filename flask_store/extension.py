"""``Store``: the Flask half. Configuration, the provider, the route, named stores."""

from __future__ import annotations

import difflib
import typing as t
import warnings
from collections.abc import Mapping
from weakref import WeakKeyDictionary

from flask import current_app
from flask import Flask
from flask import has_app_context
from werkzeug.local import LocalProxy
from werkzeug.utils import import_string

from .secrecy import Options
from .settings import KEYS
from .settings import refuse_unknown

if t.TYPE_CHECKING:
    from .stores import BaseStore

#: The provider when STORE_PATH is a path on disk, or missing.
LOCAL_PROVIDER = "flask_store.stores.local.LocalStore"
#: The provider when STORE_PATH is a URL.
URL_PROVIDER = "flask_store.stores.fsspec.FsspecStore"


class Store:
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
    and falls back to ``STORE_PATH`` for what is not set.

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
        self._providers: WeakKeyDictionary[Flask, type[BaseStore]] = WeakKeyDictionary()
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Read the configuration, prepare the provider and register the route.

        Settings that change later are not seen. The storage is not contacted: an
        application starts while S3 is down.

        :param app: the application.
        :raises NotConfiguredError: if a setting is missing or wrong.
        :raises ImportError: if ``STORE_PROVIDER`` cannot be imported.
        """
        cls = self.provider(app)
        if self.name is None:
            cls.app_defaults(app)
        self.check_config(app)
        attributes = {"__doc__": cls.__doc__, "__module__": cls.__module__}
        bound = t.cast("type[BaseStore]", type(cls.__name__, (cls,), attributes))
        if self.name is not None:
            # Two stores cannot share one route. The name is not put below the other
            # prefix, where it would hide a folder of the same name.
            bound._served_at = f"{cls._served_at}-{self.name}"
        store = bound._bound = bound.from_config(self._config(app))
        self._providers[app] = bound
        app.extensions[self._extension_name] = self
        self.register_route(app)
        store.attach(app)

    def provider(self, app: Flask) -> type[BaseStore]:
        """The provider class that the configuration names.

        Without ``STORE_PROVIDER``, a URL in ``STORE_PATH`` chooses
        :class:`~flask_store.stores.fsspec.FsspecStore` and anything else
        :class:`~flask_store.stores.local.LocalStore`.

        :param app: the application.
        :raises ImportError: if the class or its module cannot be imported.
        """
        config = self._settings(app)
        path = str(config.get("STORE_PATH") or "")
        by_path = LOCAL_PROVIDER if _is_on_disk(path) else URL_PROVIDER
        provider = config.get("STORE_PROVIDER") or by_path
        if isinstance(provider, type):
            return provider
        return t.cast("type[BaseStore]", import_string(provider))

    def check_config(self, app: Flask) -> None:
        """Check that the settings the provider requires are there.

        :param app: the application.
        :raises NotConfiguredError: naming what is missing, or an unknown
            ``STORE_S3_`` key.
        """
        config = self._config(app)
        self.provider(app).check_config(config)
        refuse_unknown(config)
        on_disk = _is_on_disk(str(config.get("STORE_PATH") or ""))
        if "STORE_S3_BUCKET" in config and on_disk and "STORE_PROVIDER" not in config:
            warnings.warn(
                "STORE_S3_BUCKET is set, but files are stored on the local disk. Set"
                " STORE_PROVIDER to 'flask_store.stores.s3.S3Store'.",
                stacklevel=3,
            )
        for key in config.keys() - KEYS:
            near = difflib.get_close_matches(key, KEYS, n=1, cutoff=0.85)
            if near:
                warnings.warn(
                    f"{key} is no setting of Flask-Store. Did you mean {near[0]}?",
                    stacklevel=3,
                )

    def register_route(self, app: Flask) -> None:
        """Register the routes that serve the files and take uploads, if the store
        wants them.

        :param app: the application.
        """
        from .stores.fsspec import FsspecStore

        # Not by calling the provider: one of 0.0.4 wants a file.
        store = self._provider(app)._bound
        if not isinstance(store, FsspecStore):
            return
        if store.serves or store.upload_prefix is not None:
            from . import routes

            routes.register(app, store, self._extension_name)

    @property
    def Provider(self) -> type[BaseStore]:
        """The provider class of the current application, bound to its settings.

        Outside of an application context it works if this ``Store`` has exactly one
        application.

        :raises RuntimeError: if there is no application, or no way to tell which.
        """
        if has_app_context():
            return self._provider(current_app._get_current_object())  # type: ignore
        if len(self._providers) == 1:
            return next(iter(self._providers.values()))
        raise RuntimeError(
            f"{self!r} has {len(self._providers)} applications, so a provider needs to"
            " know which. Use it in a view, or in 'with app.app_context():'."
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

    def _config(self, app: Flask) -> dict[str, t.Any]:
        """The settings with the provider's defaults below them."""
        given = self._settings(app)
        defaults = self.provider(app).defaults(app)
        set_ = {key: value for key, value in given.items() if value is not None}
        return Options({**defaults, **set_})

    def _settings(self, app: Flask) -> dict[str, t.Any]:
        """The ``STORE_`` settings as this store sees them."""
        found = _starting(app.config, "STORE_")
        if self.name is not None:
            prefix = f"{self.name.upper()}_"
            found.pop("STORE_URL_PREFIX", None)
            own = _starting(app.config, f"{prefix}STORE_")
            found |= {key.removeprefix(prefix): value for key, value in own.items()}
        return found

    def __repr__(self) -> str:
        return f"<Store {self.name!r}>" if self.name else "<Store>"


def _is_on_disk(path: str) -> bool:
    # Filesystems are imported when an application has a store, and not before:
    # fsspec takes longer than all of this package.
    from .dialects.registry import protocol_of

    return protocol_of(path) == "file"


def _starting(config: Mapping[str, t.Any], prefix: str) -> dict[str, t.Any]:
    return {key: value for key, value in config.items() if key.startswith(prefix)}


def _current_provider() -> type[BaseStore]:
    if not has_app_context():
        raise RuntimeError(
            "There is no current application. Use flask_store.Provider in a view, or in"
            " 'with app.app_context():'."
        )
    store = current_app.extensions.get("store")
    if store is None:
        raise RuntimeError(
            f"The application {current_app.name!r} has no Store. Did you forget to call"
            " 'Store(app)' or 'init_app'?"
        )
    return t.cast("Store", store).Provider


#: The provider class of the current application.
Provider: type[BaseStore] = t.cast("type[BaseStore]", LocalProxy(_current_provider))
