"""What an object store keeps beside the bytes of a file and its type. Pure."""

from __future__ import annotations

import re
import typing as t
from collections.abc import Iterable
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field
from dataclasses import fields

#: A list of content codings (RFC 9110, section 8.4). Something else is none.
_CODINGS = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+(, ?[A-Za-z0-9!#$%&'*+.^_`|~-]+)*\Z")
#: Codings that say nothing about the bytes which are stored: no coding, and how an
#: upload to S3 is signed, which some servers keep.
_NONE = ("", "identity", "aws-chunked")
#: A name that is one in the headers of every storage (RFC 9110, section 5.1).
_NAME = re.compile(r"[A-Za-z0-9_.-]+\Z")
#: What may stand in the value of a header, and needs no encoding.
_PLAIN = re.compile(r"[\x20-\x7e]*\Z")


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
        """What :meth:`from_json` takes; ``None`` if there is nothing."""
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
