"""``Variant``: a picture in another size or format, as a value."""

from __future__ import annotations

import typing as t
from collections.abc import Iterable
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from dataclasses import replace

from ..exceptions import FileNotFound
from ..exceptions import NotConfiguredError
from ..exceptions import VersionGone
from ..naming import quoted
from .spec import Spec

if t.TYPE_CHECKING:
    from flask import Response

NO_VARIANTS = (
    "{!r} has no variants, because STORE_VARIANTS is not set. Set it to the variants"
    " that the application uses, such as {{'thumb': {{'width': 400}}}}; {{}} is enough"
    " for f.variant(width=400)."
)

#: What says that the variant is not there, or not any more as it was a moment ago.
GONE = (FileNotFound, VersionGone)


class Attempt(t.NamedTuple):
    """Where a variant may be.

    :param file: a :class:`~flask_store.files.FileWrapper` of the store that keeps it.
    :param version: that of the picture, as the file's name has it.
    :param made: whether it has just been made.
    """

    file: t.Any
    version: str
    made: bool = False


@dataclass(frozen=True)
class Variant:
    """A picture in another size or format. Nothing is made until it is asked for; then
    it is a stored file, and is made once.

    Each method that needs the variant makes it if it is not there. They raise
    :exc:`~flask_store.exceptions.FileNotFound` if there is no such picture,
    :exc:`~flask_store.exceptions.BadPicture` if no variant can be made of the file, and
    :exc:`~flask_store.exceptions.StoreUnavailable` if too many others are being made.

    :param file: the picture, a :class:`~flask_store.files.FileWrapper`.
    :param spec: the parameters.
    :param name: what ``STORE_VARIANTS`` calls them, if it does.
    """

    file: t.Any
    spec: Spec
    name: str | None = None

    @classmethod
    def of(
        cls, file: t.Any, name: str | None, parameters: t.Mapping[str, t.Any]
    ) -> t.Self:
        """See :meth:`flask_store.files.FileWrapper.variant`."""
        return cls(file, spec_of(file.store, name, parameters), name)

    def url(self, *, external: bool = False) -> str:
        """The URL at the application, for a page. It takes no request to the storage.

        If the version of the picture is known, as that of a file from a listing, it is
        part of the URL, and browsers keep the variant for a year. With
        ``STORE_SIGNED_URLS`` the URL is :meth:`signed_url`.

        :param external: whether the URL always has a host, as for
            :meth:`flask_store.files.FileWrapper.absolute_url`.
        :raises NotConfiguredError: if the application serves no variants, or has no
            ``SECRET_KEY`` for a variant that has to be signed: one without a name, or
            any of a store whose files the application does not serve.
        """
        store = self.file.store
        url: str = store.variants.url(self)
        return store.whole_url(url) if external else url

    def signed_url(
        self, expires: float | None = None, *, external: bool = False
    ) -> str:
        """A URL by which anybody may read the variant for some time.

        :param expires: in seconds; by default ``STORE_URL_EXPIRES``.
        :param external: as for :meth:`url`.
        :raises NotConfiguredError: as for :meth:`url`.
        """
        store = self.file.store
        url: str = store.variants.signed_url(self, expires)
        return store.whole_url(url) if external else url

    def srcset(self, widths: Iterable[int], *, external: bool = False) -> str:
        """What ``<img srcset>`` wants: the URLs of this variant in several widths. A
        height stays in proportion.

        :param widths: in pixels.
        :param external: as for :meth:`url`.
        :raises NotConfiguredError: as for :meth:`url`. These variants have no name.
        :raises TypeError: if it is one width, and no list of them.
        :raises ValueError: if one is no width, or the variant has a height only.
        """
        if isinstance(widths, int | str):
            raise TypeError(
                f"widths is {widths!r}; pass a list of numbers: srcset([400, 800])."
            )
        variants = [
            replace(self, spec=self.spec.wide(width), name=None) for width in widths
        ]
        return ", ".join(
            f"{v.url(external=external)} {v.spec.width}w" for v in variants
        )

    def make(self) -> bool:
        """Make the variant, if it is not there.

        :return: whether this call has made it.
        """
        for attempt in self._attempts():
            if attempt.made or attempt.file.exists():
                return attempt.made
        raise self._gone()

    def exists(self) -> bool:
        """Whether the variant has been made. Nothing is made here."""
        there: bool = next(self._attempts()).file.exists()
        return there

    def read(self) -> bytes:
        """The bytes of the variant."""
        for attempt in self._attempts():
            with suppress(*GONE):
                data: bytes = attempt.file.read()
                return data
        raise self._gone()

    def open(self) -> t.IO[bytes]:
        """The variant, for reading."""
        for attempt in self._attempts():
            with suppress(*GONE):
                opened: t.IO[bytes] = attempt.file.open()
                return opened
        raise self._gone()

    def response(
        self,
        *,
        as_attachment: bool = False,
        download_name: str | None = None,
        cache_control: str | None = None,
    ) -> Response:
        """A response with the variant, for a view that has decided who may read it. See
        :meth:`flask_store.files.FileWrapper.response`.

        :raises werkzeug.exceptions.HTTPException: if that is the answer: 404, 422, 502
            or 503.
        """
        response: Response = self.file.store.variants.response(
            self, as_attachment, download_name, cache_control
        )
        return response

    def _attempts(self) -> Iterator[Attempt]:
        found: Iterator[Attempt]
        found = self.file.store.variants.attempts(self.file, self.spec.accepted(()))
        return found

    def _gone(self) -> FileNotFound:
        return FileNotFound(
            f"The variant of {quoted(self.file.key)} was deleted as soon as it was"
            " made.",
            self.file.key,
        )


def spec_of(store: t.Any, name: str | None, parameters: t.Mapping[str, t.Any]) -> Spec:
    """The parameters of a variant.

    :raises NotConfiguredError: if the store has no variants.
    :raises ValueError: if there is no such name, or a parameter is wrong.
    """
    if not hasattr(store, "variants"):
        raise NotConfiguredError(
            f"Only an FsspecStore has variants, and not {store!r}."
        )
    variants = store.variants
    if variants is None:
        raise NotConfiguredError(NO_VARIANTS.format(store))
    spec: Spec = variants.spec(name, parameters)
    return spec


def specs_of(store: t.Any, names: Iterable[str]) -> list[Spec]:
    """The parameters of variants by their names. A browser may accept any of the
    formats of ``"auto"``, which are all there then.

    :raises NotConfiguredError: if the store has no variants.
    :raises TypeError: if it is one name, and no list of them.
    :raises ValueError: if there is no such name.
    """
    if isinstance(names, str):
        raise TypeError(f"variants is {names!r}; pass a list: variants=[{names!r}].")
    specs: list[Spec] = []
    for name in names:
        if not isinstance(name, str):
            raise TypeError(
                f"variants has {name!r}; pass names of STORE_VARIANTS, such as 'thumb'."
            )
        specs += spec_of(store, name, {}).formats()
    return specs
