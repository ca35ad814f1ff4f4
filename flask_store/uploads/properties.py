"""What an object store keeps beside the bytes of a file and its type. Pure."""

from __future__ import annotations

import re
import typing as t
from collections.abc import Iterable
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field
from dataclasses import fields
from dataclasses import replace

from ..exceptions import InvalidProperty
from ..naming import quoted
from ..settings import check_cache_control

#: A list of content codings (RFC 9110, section 8.4). Something else is none.
_CODINGS = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+(, ?[A-Za-z0-9!#$%&'*+.^_`|~-]+)*\Z")
#: Codings that say nothing about the bytes which are stored: no coding, and how an
#: upload to S3 is signed, which some servers keep.
_NONE = ("", "identity", "aws-chunked")
#: A name that is one in the headers of every storage (RFC 9110, section 5.1).
_NAME = re.compile(r"[A-Za-z0-9_.-]+\Z")
#: What may stand in the value of a header, and needs no encoding.
_PLAIN = re.compile(r"[\x20-\x7e]*\Z")
#: Such a value without spaces at its ends, which are no part of a header, and not
#: empty, because some servers drop a header without a value.
_VALUE = re.compile(r"[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?\Z")
#: The longest Cache-Control, in characters.
_LONGEST = 255
#: The most bytes that the names and values of metadata have together. S3 allows 2 KiB
#: with the token of a save (Amazon S3 User Guide, "Working with object metadata"), and
#: Azure and Google Cloud 8 KiB. With one limit, a file can move from each to each.
MOST_METADATA = 2000


@dataclass(frozen=True)
class Properties:
    """The headers that describe a file, and the metadata that an application has given
    it. A copy has them, too.

    :param content_encoding: how the bytes are compressed, such as ``"gzip"``.
    :param cache_control: for how long whoever reads the file may keep it.
    :param content_disposition: whether a browser shows the file, and its name.
    :param content_language: the languages of the file.
    :param metadata: names and values, without those of this package.
    """

    content_encoding: str | None = None
    cache_control: str | None = None
    content_disposition: str | None = None
    content_language: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def stored(
        cls,
        values: Mapping[str, str | None],
        metadata: Iterable[tuple[str, str]] = (),
    ) -> Properties:
        """What a storage tells of a file, without what could not be stored again.

        :param values: by the names of the fields; there may be others.
        :param metadata: names and values.
        """
        names = [f.name for f in fields(cls) if f.name != "metadata"]
        kept = {name: _plain(values.get(name)) for name in names}
        return cls(
            **{**kept, "content_encoding": codings(kept["content_encoding"])},
            metadata={
                name: value
                for name, value in metadata
                if _NAME.match(name) and _plain(value) is not None
            },
        )

    def having(
        self, cache_control: str | None, metadata: Mapping[str, str] | None
    ) -> Properties:
        """The same with what a caller gives, which may come from a client.

        :param cache_control: ``None`` leaves what there is.
        :param metadata: names and values; ``None`` leaves what there is. The names
            become lower case, because storages that keep metadata as headers do not
            tell the case.
        :raises InvalidProperty: if no storage keeps it as it is.
        :raises TypeError: if it is no text.
        """
        found = self
        if cache_control is not None:
            found = replace(found, cache_control=checked_directives(cache_control))
        if metadata is not None:
            found = replace(found, metadata=_checked_metadata(metadata))
        return found

    def headers(self, prefix: str) -> dict[str, str]:
        """The headers of HTTP.

        :param prefix: what the names of metadata begin with there.
        """
        named = self.named.items()
        return {
            **{name.replace("_", "-").title(): value for name, value in named},
            **{
                f"{prefix}{name}": value
                for name, value in lowered(self.metadata).items()
            },
        }

    @property
    def named(self) -> dict[str, str]:
        """The headers that there are, by the names of the fields."""
        values = vars(self).items()
        return {n: value for n, value in values if value and isinstance(value, str)}

    def as_json(self) -> dict[str, t.Any] | None:
        """What the class method ``from_json`` takes; ``None`` if there is nothing."""
        metadata = {"metadata": dict(self.metadata)} if self.metadata else {}
        return {**self.named, **metadata} or None

    @classmethod
    def from_json(cls, record: Mapping[str, t.Any] | None) -> Properties:
        """:raises TypeError: if a value is no plain text, or there are other names."""
        headers = dict(record or {})
        metadata = dict(headers.pop("metadata", {}))
        if None in map(_plain, (*headers.values(), *metadata.values())):
            raise TypeError("a property is no plain text")
        return cls(**headers, metadata=metadata)


#: Of a file that has none.
NO_PROPERTIES: t.Final = Properties()


def lowered(metadata: Mapping[str, str]) -> dict[str, str]:
    """Metadata for a storage that keeps it as headers, whose names have no case. Of
    names that differ only by case, the last one counts."""
    return {name.lower(): value for name, value in metadata.items()}


def codings(value: str | None) -> str | None:
    """The content codings in which bytes are stored, or ``None`` if there are none.

    :param value: of a header ``Content-Encoding``.
    """
    found = [
        coding.strip()
        for coding in (value or "").split(",")
        if coding.strip().lower() not in _NONE
    ]
    text = ", ".join(found)
    return text if _CODINGS.match(text) else None


def _plain(value: object) -> str | None:
    return value if isinstance(value, str) and _PLAIN.match(value) else None


def checked_directives(value: str) -> str:
    """A ``Cache-Control`` that a caller gives.

    :raises InvalidProperty: if it is none.
    """
    if not isinstance(value, str):
        raise TypeError(f"cache_control is text, not {type(value).__name__}.")
    value = value.strip()
    try:
        check_cache_control(value)
    except ValueError as exc:
        problem = f"cache_control {str(exc).replace(repr(value), quoted(value))}"
        raise InvalidProperty(problem) from None
    if len(value) > _LONGEST:
        raise InvalidProperty(f"cache_control has more than {_LONGEST} characters.")
    return value


def _checked_metadata(metadata: Mapping[str, str]) -> dict[str, str]:
    """Metadata that a caller gives, with names in lower case.

    :raises InvalidProperty: if a storage could not keep all of it as it is.
    """
    if not isinstance(metadata, Mapping):
        raise TypeError(f"metadata is a dict of text, not {type(metadata).__name__}.")
    for name, value in metadata.items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise TypeError(
                f"metadata is a dict of text, and {name!r} is the name of a"
                f" {type(value).__name__}. Convert names and values with str()."
            )
        if not _NAME.match(name):
            raise InvalidProperty(
                f"The name {quoted(name)} cannot be kept as metadata. Use letters and"
                " digits of ASCII, '_', '-' and '.'."
            )
        if not _VALUE.match(value):
            raise InvalidProperty(
                f"The metadata {quoted(name)} cannot be kept: the value must be one"
                " line of printable ASCII, neither empty nor with spaces at its ends."
                " urllib.parse.quote() makes such a value of any text."
            )
    found = lowered(metadata)
    if len(found) < len(metadata):
        raise InvalidProperty(
            "Two names of the metadata differ by case only, and storages that keep"
            " metadata as headers do not tell the case. Rename one of them."
        )
    if sum(map(len, (*found, *found.values()))) > MOST_METADATA:
        raise InvalidProperty(
            f"The metadata have more than {MOST_METADATA} bytes, names and values"
            " together. Keep them in a database, or in a file of their own."
        )
    return found
