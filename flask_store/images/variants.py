"""The variants of a store: where they are stored, and how one comes there."""

from __future__ import annotations

import datetime as dt
import importlib.util
import logging
import tempfile
import typing as t
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from contextlib import suppress

from flask import current_app
from flask import has_app_context

from .. import signals
from ..exceptions import BadPicture
from ..exceptions import FileExists
from ..exceptions import FileNotFound
from ..exceptions import NotConfiguredError
from ..exceptions import StoreError
from ..exceptions import VersionGone
from ..files import FileWrapper
from ..http.caching import is_private
from ..stores.application import sender
from ..stores.deletion import Deletion
from . import making
from . import serving
from .making import Limits
from .spec import Spec
from .turns import Turns
from .variant import Attempt
from .variant import Variant
from .versions import digest
from .versions import known_version
from .versions import version_of

if t.TYPE_CHECKING:
    from ..dialects import Stat

logger = logging.getLogger(__name__)

#: The private folder of the variants. In another store, the name of theirs follows.
FOLDER = "variants"
#: How often a picture is looked at that is replaced while its variant is made.
TRIES = 3


class Variants:
    """The variants of the pictures in one store.

    :param config: the settings of the store.
    :raises NotConfiguredError: if ``STORE_VARIANTS`` is wrong.
    """

    def __init__(self, config: Mapping[str, t.Any]) -> None:
        #: What ``STORE_VARIANTS`` has.
        self.named: dict[str, Spec] = {}
        for name, parameters in config["STORE_VARIANTS"].items():
            try:
                self.named[name] = Spec.of(parameters)
            except (TypeError, ValueError) as exc:
                raise NotConfiguredError(
                    f"STORE_VARIANTS has a variant {name!r} that is wrong: {exc}"
                ) from None
        # Without its library, a picture is refused until it is installed.
        has_heif = importlib.util.find_spec("pillow_heif") is not None
        self.limits = Limits(
            tuple(f for f in config["STORE_IMAGE_FORMATS"] if f != "heif" or has_heif),
            config["STORE_IMAGE_MAX_PIXELS"],
            config["STORE_IMAGE_MAX_SIZE"],
        )
        #: How many are made at a time.
        self.makers: int = config["STORE_IMAGE_MAKERS"]
        self._other: str | None = config["STORE_VARIANTS_STORE"]
        self._turns = Turns(self.makers, config["STORE_TIMEOUT"])
        #: What is to be made of files that are still uploaded, by their keys.
        self._promised: dict[str, list[Variant]] = {}
        # A signal refers to them weakly, so that they end with their store.
        signals.upload_finished.connect(self._upload_finished)

    #: What :class:`Variant` calls. It cannot import them, because a file imports it.
    url = staticmethod(serving.url)
    signed_url = staticmethod(serving.signed_url)
    response = staticmethod(serving.view)

    def spec(self, name: str | None, parameters: Mapping[str, t.Any]) -> Spec:
        """The parameters of a name, or those that are given.

        :raises ValueError: if there are no such, or both.
        """
        if name is None:
            return Spec.of(parameters)
        if not isinstance(name, str):
            raise ValueError(
                f"{name!r} is no name of a variant. Pass a name of STORE_VARIANTS, such"
                " as 'thumb', or parameters, such as width=400."
            )
        if parameters:
            raise ValueError(
                f"A variant has a name, such as {name!r}, or parameters, such as"
                " width=400. Pass one of them."
            )
        try:
            return self.named[name]
        except KeyError:
            names = ", ".join(map(repr, self.named)) or "none"
            raise ValueError(
                f"STORE_VARIANTS has no variant {name!r}. There is: {names}."
            ) from None

    # -- where ---------------------------------------------------------------

    def keeper(self, store: t.Any) -> t.Any:
        """The store that keeps the variants of a store.

        :raises NotConfiguredError: if there is no such store as
            ``STORE_VARIANTS_STORE`` says.
        """
        if self._other is None:
            return store._private_store(FOLDER)
        extension = f"store.{self._other}"
        found = current_app.extensions.get(extension) if has_app_context() else None
        if found is None:
            raise NotConfiguredError(
                f"STORE_VARIANTS_STORE is {self._other!r}, and"
                + (
                    f" the application has no store of this name. Create it with"
                    f" Store(app, name={self._other!r})."
                    if has_app_context()
                    else " no application is current. Use it in a view, or in 'with"
                    " app.app_context():'."
                )
            )
        if not hasattr(other := found.at(None), "_private_store"):
            raise NotConfiguredError(
                f"STORE_VARIANTS_STORE is {self._other!r}, and {other!r} is no"
                " FsspecStore, which keeps variants. Name another store."
            )
        name = store._extension.partition(".")[2] or "default"
        return other._private_store(f"{FOLDER}-of-{name}")

    def attempts(
        self, file: FileWrapper, spec: Spec, version: str | None = None
    ) -> Iterator[Attempt]:
        """Where a variant may be. They are to be looked at in turn, and the variant is
        made before the last one is given.

        :param spec: in a format that is not ``"auto"``.
        :param version: that of the picture; by default what is known of the file.
        :raises FileNotFound: if there is no such picture.
        :raises BadPicture: if no variant can be made of it.
        """
        store, key = file.store, file.relative_path()
        keeper = self.keeper(store)
        version = version or known_version(file)
        if version is not None:
            yield Attempt(_place(keeper, key, version, spec), version)
        for _ in range(TRIES):
            found = store.stat(key)
            now = version_of(found)
            place = _place(keeper, key, now, spec)
            if now != version:
                yield Attempt(place, now)
            version = now
            with suppress(VersionGone):
                made = self._make(store, found, spec, place)
                if made:
                    signals.variant_made.send(sender(), variant=Variant(file, spec))
                # Where nothing is exclusive, others may replace it by the same bytes.
                yield from [Attempt(place, now, made)] * TRIES
                return
        raise VersionGone(f"{key!r} is replaced faster than it is read.", key)

    def stored(
        self, store: t.Any, spec: Spec, keys: Iterable[str] | None = None
    ) -> list[str]:
        """The names of the variants that have been made with some parameters.

        :param keys: of which pictures; by default of all, also of deleted ones.
        """
        folders = None if keys is None else {_folder(key) for key in keys}
        names = {f"{each.text}.{each.extension}" for each in spec.formats()}
        found = []
        for f in self.keeper(store).ls():
            folder, _, name = f.key.partition("/")
            if name.partition(".")[2] in names:
                if folders is None or folder in folders:
                    found.append(f.key)
        return found

    def remove(self, store: t.Any, names: list[str]) -> None:
        """Remove variants, by the names that :meth:`stored` gives.

        :raises StoreError: if one or more are still there.
        """
        self._remove(self.keeper(store), names)

    # -- how -----------------------------------------------------------------

    def _make(self, store: t.Any, found: Stat, spec: Spec, place: FileWrapper) -> bool:
        """Make a variant of the version that *found* describes, and store it.

        :return: ``False`` if somebody else has been quicker.
        """
        while not self._turns.begin(place.key):
            if place.exists():
                return False
        try:
            if place.exists():  # since this thread has looked for it
                return False
            refusal = self._refusal(place)
            with suppress(FileNotFound):
                raise BadPicture(refusal.read().decode(), found.name)
            try:
                data = self._rendered(store, found, spec)
            except BadPicture as exc:
                self._remember(refusal, exc)
                raise
            made = self._publish(place, data, spec, found)
            self._check_there(store, found, place)
            return made
        finally:
            self._turns.end(place.key)

    def _rendered(self, store: t.Any, found: Stat, spec: Spec) -> bytes:
        if found.size > self.limits.max_size:
            raise BadPicture(
                f"The picture has {found.size:,} bytes, and"
                f" {self.limits.max_size:,} are accepted (STORE_IMAGE_MAX_SIZE).",
                found.name,
            )
        try:
            with tempfile.TemporaryFile() as copy:
                for data in store.stream_version(found, 0, found.size):
                    copy.write(data)
                copy.seek(0)
                return making.render(copy, spec, self.limits)
        except StoreError:
            raise
        except OSError as exc:
            raise StoreError(
                "A variant is made in the temporary folder of the system, and nothing"
                f" can be written there: {exc}. Make space in it, or set TMPDIR to"
                " another folder.",
                found.name,
            ) from exc

    def _publish(
        self, place: FileWrapper, data: bytes, spec: Spec, found: Stat
    ) -> bool:
        """Store what was made; ``False`` if another process was quicker."""
        keeper = place.store
        with keeper.dialect.explained(place.key):
            exclusive = keeper.dialect.creates()
        # Where nothing is exclusive, the last one counts. All are of the same picture.
        how = "error" if exclusive else "overwrite"
        said = found.cache_control
        # A picture that no shared cache may keep has such variants.
        if not (said and is_private(said) and keeper.dialect.keeps_properties):
            said = None
        try:
            keeper.put(place.key, data, how, spec.content_type, cache_control=said)
        except FileExists as exc:
            if exc.key != place.key:
                raise
            return False
        return True

    def _check_there(self, store: t.Any, found: Stat, place: FileWrapper) -> None:
        """Remove a variant whose picture was deleted while it was made."""
        try:
            store.stat(found.name)
        except FileNotFound:
            self._remove(place.store, [place.key])
            raise

    def _refusal(self, place: FileWrapper) -> FileWrapper:
        """The file that says why a variant cannot be made under these limits. Another
        one may still be made of the same picture: a smaller one, or one frame."""
        return place.store.file(f"{place.key}.refused.{digest(self.limits)[:8]}.txt")

    def _remember(self, refusal: FileWrapper, reason: BadPicture) -> None:
        """Keep a bad picture from being decoded for each request."""
        try:
            text = (reason.description or "").encode()
            refusal.store.put(refusal.key, text, "overwrite")
        except StoreError as exc:
            logger.warning("%s is not remembered as a bad picture: %s", refusal, exc)

    # -- with the life of a file ---------------------------------------------

    def prepare(self, file: FileWrapper, variants: list[Variant]) -> None:
        """Make variants of a file that has just been saved, or as soon as it is stored
        if that goes on in the background.

        :raises BadPicture: if it is no picture.
        :raises NotConfiguredError: if no variants can be made here.
        """
        if file.upload is not None:
            self._promised[file.key] = variants
            if not file.upload.done or not self._promised.pop(file.key, None):
                return
        for variant in variants:
            try:
                variant.make()
            except (BadPicture, NotConfiguredError):
                raise
            except StoreError as exc:  # it is made when somebody asks for it
                logger.warning("A variant of %s is not made: %s", file, exc)

    def _upload_finished(self, sender: object, file: FileWrapper) -> None:
        variants = self._promised.pop(file.key, None) if self._is_mine(file) else None
        try:
            for variant in variants or ():
                variant.make()
        except StoreError as exc:
            logger.warning("A variant of %s is not made: %s", file, exc)

    def _is_mine(self, file: FileWrapper) -> bool:
        return getattr(file.store, "variants", None) is self

    def forget(self, store: t.Any, keys: Iterable[str]) -> None:
        """Remove the variants of files that have been deleted. What is left of them,
        :meth:`sweep` removes."""
        try:
            keeper, folders = self.keeper(store), [_folder(key) for key in keys]
            for key in keys:
                self._promised.pop(key, None)
            # All together: where the storage is down, it is asked once.
            self._remove(keeper, [f.key for each in folders for f in keeper.ls(each)])
            for folder in folders:
                keeper.dialect.rm_folder(folder)
        except Exception as exc:
            logger.warning("Variants of deleted files are still there: %s", exc)

    def sweep(
        self, store: t.Any, older_than: dt.timedelta, dry_run: bool
    ) -> Iterator[str]:
        """Remove the variants of pictures, and of versions, that are not there any
        more, and name them. See :meth:`~flask_store.stores.fsspec.FsspecStore.sweep`.
        """
        keeper = self.keeper(store)
        before = dt.datetime.now(dt.UTC) - older_than
        # All variants first: what is saved later has no variant among them.
        left = [f for f in keeper.ls() if f.modified and f.modified < before]
        folders = {f.key.partition("/")[0] for f in left}
        versions = {}
        for file in store.ls() if left else ():
            if (folder := _folder(file.key)) in folders:
                # Not every storage tells the version in a listing.
                with suppress(FileNotFound):
                    versions[folder] = known_version(file) or version_of(
                        store.stat(file.key)
                    )
        over = []
        for f in left:
            folder, _, name = f.key.partition("/")
            if versions.get(folder) != name.partition(".")[0]:
                over.append(f.key)
        if not dry_run:
            self._remove(keeper, over)
        yield from over
        yield from keeper.sweep(older_than, dry_run)

    def _remove(self, keeper: t.Any, keys: list[str]) -> None:
        # No signal tells of it: to the application, they are no files.
        Deletion(keeper.files, keeper.dialect, _tell_nobody).delete(keys)


def _place(keeper: t.Any, key: str, version: str, spec: Spec) -> FileWrapper:
    """Where the variant of a version is stored."""
    name = f"{_folder(key)}/{version}.{spec.text}.{spec.extension}"
    return t.cast(FileWrapper, keeper.file(name))


def _folder(key: str) -> str:
    """The folder of the variants of a file. The key itself may be too long for a part
    of another one."""
    return digest(key)[:32]


def _tell_nobody(key: str) -> None:
    """What is called for each file that is deleted."""
