"""Every setting as a row of one table, and :class:`Settings`, which reads them."""

from __future__ import annotations

import datetime as dt
import difflib
import json
import os
import re
import sys
import typing as t
import warnings
from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from functools import partial

from .exceptions import NotConfiguredError
from .secrecy import has_login
from .secrecy import Options
from .secrecy import without_logins

#: The types that a browser may show. It has to save all other files. ``/*`` does not
#: include code, nor types of XML such as SVG, because XML can contain scripts.
INLINE_TYPES = ("image/*", "audio/*", "video/*", "application/pdf", "text/plain")

#: The formats of the pictures that variants are made of. Browsers show all of them but
#: HEIF, which phones make, and which needs pillow-heif. The decoders of other formats
#: are rarely used, and EPS and SVG are programs.
IMAGE_FORMATS = ("jpeg", "png", "webp", "gif", "avif", "heif")

#: The words for a switch, in lower case.
SWITCH_WORDS = {
    "true": True,
    "yes": True,
    "on": True,
    "1": True,
    "false": False,
    "no": False,
    "off": False,
    "0": False,
}

#: The bytes in a unit, in lower case. "KiB" and so on are powers of 1024 and "kB" and
#: so on powers of 1000 (IEC 80000-13). A letter alone is a power of 1024, as nginx,
#: Docker and systemd read it.
UNITS = {"": 1, "b": 1}
for _power, _letter in enumerate("kmgt", start=1):
    UNITS |= {
        _letter: 1024**_power,
        f"{_letter}ib": 1024**_power,
        f"{_letter}b": 1000**_power,
    }

#: The longest duration, in seconds. Python's locks wait for 292 years at most.
LONGEST_WAIT = 9_000_000_000

#: The highest number that permissions can have.
HIGHEST_MODE = 0o7777

#: The longest value that a message shows, in characters.
LONGEST = 100

#: How many tags an object of S3 has at most.
MOST_TAGS = 10

#: The messages about an address with a login, and where the login belongs.
SHOWN = (
    "has a user or a password in it, and links and messages would show it. Write"
    " 'https://host' alone."
)
NO_LOGIN = "It belongs into no address of a file."
S3_KEYS_BELONG = "The keys belong into STORE_S3_ACCESS_KEY and STORE_S3_SECRET_KEY."

#: What becomes of a file whose name is taken.
OnConflict: t.TypeAlias = t.Literal["rename", "error", "overwrite"]

# re compiles these patterns when they are first used, as those in secrecy.py.
_COUNT = r"[0-9]{1,18}"
_SIZE = r"([0-9]{1,18})\s*([a-z]*)"
_NUMBER = r"[0-9]{1,18}(\.[0-9]{1,18})?"
_OCTAL = r"(?:0o?)?([0-7]{3,4})"
_WORD = r"[\x21-\x7e]+"
_CONTROL = r"[\x00-\x1f\x7f]"
_ADDRESS = r"(?i)https?://[^/?#\s]+[^?#]*"
_TAG_NAME = r"(?!(?i:aws:))[\w +\-=.:/@]{1,128}"
_TAG_VALUE = r"[\w +\-=.:/@]{0,256}"
_VARIANT_NAME = r"[\w-]{1,64}"
#: An extension, or two such as "tar.gz", with or without the first dot.
_EXTENSION = r"\*|\.?[^\W_][\w+-]{0,31}(\.[\w+-]{1,31})?"
_MEDIA_TYPE = r"[a-z0-9!#$&^_.+-]+/([a-z0-9!#$&^_.+-]+|\*)"
#: A directive of RFC 9111, section 5.2: a token, and perhaps an argument. All
#: registered names begin with a letter, so that a number of seconds does not match. A
#: client may have sent it: it is one line of ASCII, as every header.
_DIRECTIVE = r"[a-z][a-z0-9-]*(=([a-z0-9.-]+|\"[ !#-~]*\"))?"
_DIRECTIVES = rf"(?ai){_DIRECTIVE}([ \t]*,[ \t]*{_DIRECTIVE})*"


# -- kinds ---------------------------------------------------------------------------
#
# Each of these functions takes the value in the configuration, and returns the value
# that the store uses. A ValueError says what is wrong, such as "has a line break in
# it.". If it has no text, the message says what the kind wants.


def parse_switch(value: object) -> bool:
    """``True`` or ``False``, also as 1 or 0 or as one of :data:`SWITCH_WORDS`."""
    if isinstance(value, str):
        value = SWITCH_WORDS.get(value.strip().lower())
    if isinstance(value, int) and value in (0, 1):
        return bool(value)
    raise ValueError


def parse_switch_or_auto(value: object) -> bool | str:
    """A switch, or ``"auto"``."""
    return "auto" if value == "auto" else parse_switch(value)


def parse_count(value: object) -> int:
    """A whole number, at least 1, also as text."""
    if isinstance(value, str) and re.fullmatch(_COUNT, value.strip()):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError
    return value


def parse_size(value: object) -> int:
    """A number of bytes, at least 1, also as text with a unit of :data:`UNITS`."""
    if isinstance(value, str):
        match = re.fullmatch(_SIZE, value.strip().lower())
        if match is None or match[2] not in UNITS:
            raise ValueError
        value = int(match[1]) * UNITS[match[2]]
    return parse_count(value)


def parse_duration(value: object) -> int | float:
    """A number of seconds, at least 0, also as text or as a timedelta."""
    if isinstance(value, dt.timedelta):
        value = value.total_seconds()
    elif isinstance(value, str) and re.fullmatch(_NUMBER, value.strip()):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError
    if not 0 <= value <= LONGEST_WAIT:  # "not" refuses NaN as well
        raise ValueError
    return int(value) if value == int(value) else value


def parse_mode(owner: int, most: int, value: object) -> int:
    """Permissions, as a number or as text with octal digits.

    :param owner: the bits that must be set.
    :param most: the bits that may be set.
    """
    given = value
    if isinstance(value, str):
        match = re.fullmatch(_OCTAL, value.strip())
        if match is None:
            raise ValueError
        value = int(match[1], 8)
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError
    if not 0 <= value <= HIGHEST_MODE:
        raise ValueError
    if value & ~most or value & owner != owner:
        # A number without 0o is decimal, which is rarely meant.
        raise ValueError(
            f"is {given!r}, which is 0o{value:o}; it must include the bits 0o{owner:o}"
            f" and may only have bits of 0o{most:o}. Write an octal number, such as"
            f" 0o{owner:o}, or '{owner:o}' as text."
        )
    return value


def parse_text(value: object) -> str:
    """Text without control characters."""
    if not isinstance(value, str):
        raise ValueError
    if re.search(_CONTROL, value):
        raise ValueError(
            "has a line break or another control character in it. Remove that, such as"
            " the line break at the end of a file."
        )
    return value


def parse_path(value: object) -> str:
    """Text, or an object that stands for a path."""
    return parse_text(os.fspath(value) if isinstance(value, os.PathLike) else value)


def parse_provider(value: object) -> str | type:
    """A class or its dotted name."""
    return value if isinstance(value, type) else parse_text(value)


def parse_options(value: object) -> Options:
    """A dict of keyword arguments, also as a JSON object."""
    if isinstance(value, str):
        value = _json(value)
    if not isinstance(value, Mapping) or not all(isinstance(k, str) for k in value):
        raise ValueError
    return Options(value)


def parse_variants(value: object) -> Options:
    """The parameters of each variant by its name, also as a JSON object."""
    variants = parse_options(value)
    for name, parameters in variants.items():
        if not re.fullmatch(_VARIANT_NAME, name):
            raise ValueError(
                f"has the name {name[:LONGEST]!r}. A name is part of a URL: write"
                " letters, digits, '_' and '-'."
            )
        try:
            variants[name] = parse_options(parameters)
        except ValueError:
            raise ValueError(
                f"has the variant {name!r} with parameters of type"
                f" {type(parameters).__name__!r}; they must be a dict, such as"
                " {'width': 400}."
            ) from None
    return variants


def parse_formats(value: object) -> tuple[str, ...]:
    """A list of the names of formats, also as text with commas or as a JSON array."""
    names = _parse_list("|".join(IMAGE_FORMATS), value)
    if not names:
        raise ValueError
    return names


def parse_tags(value: object) -> Options:
    """The tags of an object of S3 (Amazon S3 User Guide, "Categorizing your storage
    using tags"), also as a JSON object."""
    tags = parse_options(value)
    if len(tags) > MOST_TAGS:
        raise ValueError(
            f"has {len(tags)} tags; S3 keeps {MOST_TAGS} with an object. Remove some."
        )
    for name, text in tags.items():
        if not isinstance(text, str):
            raise ValueError(
                f"has a tag {name[:LONGEST]!r} whose value is of type"
                f" {type(text).__name__!r}; it must be text."
            )
        if not re.fullmatch(_TAG_NAME, name) or not re.fullmatch(_TAG_VALUE, text):
            raise ValueError(
                f"has a tag {name[:LONGEST]!r} that S3 does not keep. Write letters,"
                " digits, spaces and '+-=._:/@', 128 characters at most for the name"
                " and 256 for the value, and no name that begins with 'aws:'."
            )
    return tags


def parse_media_types(value: object) -> tuple[str, ...]:
    """A list of media types, also as text with commas or as a JSON array."""
    return _parse_list(_MEDIA_TYPE, value)


def parse_extensions(value: object) -> tuple[str, ...]:
    """A list of extensions, also as text with commas or as a JSON array."""
    extensions = _parse_list(_EXTENSION, value)
    if not extensions:
        raise ValueError("has no extension in it, so that nothing could be stored.")
    return extensions


def parse_choice(words: Collection[str], value: object) -> str:
    """One of a few words."""
    if isinstance(value, str) and value in words:
        return value
    raise ValueError


def _parse_list(pattern: str, value: object) -> tuple[str, ...]:
    """A list of words that a pattern matches, in lower case."""
    if isinstance(value, str):
        is_json = value.strip().startswith("[")
        value = _json(value) if is_json else filter(str.strip, value.split(","))
    if isinstance(value, bytes | Mapping) or not isinstance(value, Iterable):
        raise ValueError
    words = [item.strip().lower() if isinstance(item, str) else "" for item in value]
    if not all(re.fullmatch(pattern, word) for word in words):
        raise ValueError
    return tuple(words)


def _json(value: str) -> object:
    try:
        return json.loads(value)
    except ValueError:
        raise ValueError from None  # the error of json has the text, with its secrets


# -- checks of single keys -------------------------------------------------------------


def check_address(value: str) -> None:
    """The address of a server. Links and messages show it."""
    if has_login(value):
        raise ValueError(f"{SHOWN} {NO_LOGIN}")
    if "://" not in value:
        host = value.lstrip("/")
        raise ValueError(f"is {value!r}, which has no scheme. Write 'https://{host}'.")
    if not re.fullmatch(_ADDRESS, value):
        raise ValueError(
            f"is {value!r}; it must be an address without a query, such as"
            " 'https://example.com'."
        )


def check_s3_address(value: str) -> None:
    """The address of a server that speaks S3."""
    if has_login(value):
        raise ValueError(f"{SHOWN} {S3_KEYS_BELONG}")
    check_address(value)


def check_url_prefix(value: str) -> None:
    """A path, and no domain."""
    if "://" in value:
        raise ValueError(
            f"is {value!r}, which has a domain. Put that into STORE_DOMAIN, and only"
            " the path here."
        )


def check_host(value: str) -> None:
    """A host or a subdomain, which may have variables of Flask's routing."""
    if "/" in value:
        raise ValueError(
            f"is {value!r}, which has a scheme or a path. Write the name alone, such as"
            " 'files.example.com' for a host or 'files' for a subdomain."
        )


def check_bucket(value: str) -> None:
    """The name of a bucket, and no address."""
    if "://" in value:
        raise ValueError(
            "is an address. Write the name of the bucket alone, or its address into"
            " STORE_PATH."
        )


def check_word(value: str) -> None:
    """A value that is a header as it is, without spaces."""
    if not re.fullmatch(_WORD, value):
        raise ValueError(f"is {value[:LONGEST]!r}; it must be one word of ASCII.")


def check_folder(value: str) -> None:
    """A folder on this host, and no address."""
    if "://" in value:
        raise ValueError(
            "is an address. Write a private folder on a disk of this host, such as"
            " '/var/spool/uploads'."
        )


def check_location(value: str) -> None:
    """A location of nginx."""
    if not value.startswith("/"):
        raise ValueError(
            f"is {value!r}; a location of nginx begins with a slash. Write '/{value}'."
        )


def check_cache_control(value: str) -> None:
    """The value of a ``Cache-Control`` header (RFC 9111, section 5.2)."""
    if not re.fullmatch(_DIRECTIVES, value.strip()):
        raise ValueError(
            f"is {value!r}; it must be what the header says, such as 'no-cache' or"
            " 'public, max-age=3600'."
        )


def check_second_or_more(value: float) -> None:
    """A time that is too short below a second."""
    if value < 1:
        raise ValueError(f"is {value!r}; it must be a number of seconds, 1 at least.")


# -- the table -------------------------------------------------------------------------


class Kind(t.NamedTuple):
    """The values that a setting may have.

    :param name: for the documentation.
    :param parse: one of the functions above.
    :param wants: what a message says after "it must be".
    :param is_shown: whether a message may show the value.
    """

    name: str
    parse: Callable[[t.Any], t.Any]
    wants: str
    is_shown: bool = True


QUOTES = (
    " In an environment variable that from_prefixed_env() reads, a number is text if it"
    " is in double quotes"
)

SWITCH = Kind("switch", parse_switch, "True or False; 'true' and 'false' will do, too")
AUTO = Kind("switch or 'auto'", parse_switch_or_auto, "one of 'auto', True, False")
COUNT = Kind("count", parse_count, "a whole number, 1 at least")
SIZE = Kind(
    "size", parse_size, "a number of bytes, such as 1048576, '512 MiB' or '1 GB'"
)
DURATION = Kind(
    "duration", parse_duration, "a number of seconds or a datetime.timedelta"
)
TEXT = Kind("text", parse_text, f"text.{QUOTES}")
SECRET = Kind("secret", parse_text, f"text.{QUOTES}", is_shown=False)
ADDRESS = Kind("address", parse_text, "an address, such as 'https://example.com'")
URL_PATH = Kind("text", parse_text, "a path, such as '/uploads'")
HEADER = Kind(
    "text", parse_text, "what the header says, such as 'public, max-age=3600'"
)
PATH = Kind(
    "path",
    parse_path,
    "a folder or a URL, such as '/srv/uploads' or 's3://bucket/folder', as text or a"
    f" pathlib.Path.{QUOTES}",
)
FOLDER = Kind(
    "path", parse_path, "a folder on a disk of this host, as text or as a pathlib.Path"
)
CLASS = Kind(
    "class",
    parse_provider,
    "a class or its name, such as 'flask_store.stores.s3.S3Store'",
)
OPTIONS = Kind(
    "options",
    parse_options,
    "a dict of options for the filesystem; a JSON object will do, too",
    is_shown=False,
)
MEDIA_TYPES = Kind(
    "list",
    parse_media_types,
    "a list of media types, such as ['image/*', 'application/pdf']; commas between them"
    " will do, too",
)
EXTENSIONS = Kind(
    "list",
    parse_extensions,
    "a list of extensions, such as ['jpg', 'png']; commas between them will do, too",
)
VARIANTS = Kind(
    "variants",
    parse_variants,
    "a dict with the parameters of each variant, such as {'thumb': {'width': 400}}; a"
    " JSON object will do, too",
)
FORMATS = Kind(
    "list",
    parse_formats,
    "a list of formats, such as ['jpeg', 'png']; commas between them will do, too. The"
    f" formats are {', '.join(IMAGE_FORMATS)}",
)
FILE_MODE = Kind(
    "file permissions",
    partial(parse_mode, 0o600, 0o666),
    f"octal permissions, such as '640' or 0o640.{QUOTES}",
)
FOLDER_MODE = Kind(
    "folder permissions",
    partial(parse_mode, 0o700, 0o3777),
    f"octal permissions, such as '750' or 0o750.{QUOTES}",
)
SERVE = Kind(
    "choice",
    partial(parse_choice, ("auto", "proxy", "redirect", "off")),
    "one of 'auto', 'proxy', 'redirect', 'off'",
)
CONFLICT = Kind(
    "choice",
    partial(parse_choice, t.get_args(OnConflict)),
    "one of 'rename', 'error', 'overwrite'",
)
STYLE = Kind(
    "choice",
    partial(parse_choice, ("auto", "path", "virtual")),
    "one of 'auto', 'path', 'virtual'",
)
SSE = Kind(
    "choice",
    partial(parse_choice, ("AES256", "aws:kms", "aws:kms:dsse")),
    "one of 'AES256', 'aws:kms', 'aws:kms:dsse'",
)
TAGS = Kind(
    "tags",
    parse_tags,
    "a dict of text; a JSON object will do, too",
    is_shown=False,
)


class Setting(t.NamedTuple):
    """One key.

    :param default: its value if the application does not set it. ``None`` means that
        the class of the store, or the storage, has the default.
    :param help: one line that says what it is for.
    :param check: raises ValueError, as the functions of the kinds do.
    """

    name: str
    kind: Kind
    default: t.Any
    help: str
    check: Callable[[t.Any], None] | None = None

    def read(self, config: Mapping[str, t.Any]) -> t.Any:
        """The value of this setting.

        :raises NotConfiguredError: if the value in the configuration is wrong.
        """
        value = config.get(self.name)
        if not is_set(value):
            return self.default
        try:
            value = self.kind.parse(value)
            if self.check is not None:
                self.check(value)
        except ValueError as exc:
            usual = f"is {self._shown(value)}; it must be {self.kind.wants}."
            raise NotConfiguredError(f"{self.name} {str(exc) or usual}") from None
        return value

    def _shown(self, value: object) -> str:
        """The value as a message shows it."""
        if not self.kind.is_shown or isinstance(value, Mapping):
            return f"of type {type(value).__name__!r}"
        shown = without_logins(repr(value))
        return shown if len(shown) <= LONGEST else f"{shown[:LONGEST]}..."


_ROWS = [
    Setting("STORE_PROVIDER", CLASS, None, "The class of the store."),
    Setting("STORE_PATH", PATH, None, "Where the files go: a folder or a URL."),
    Setting("STORE_FSYNC", SWITCH, True, "Whether a save waits for the disk."),
    Setting("STORE_FILE_MODE", FILE_MODE, None, "The permissions of a file on disk."),
    Setting(
        "STORE_FOLDER_MODE", FOLDER_MODE, None, "The permissions of a folder on disk."
    ),
    Setting(
        "STORE_STREAM_UPLOADS",
        SWITCH,
        True,
        "Whether large parts of a form are written to the disk of the store.",
    ),
    Setting(
        "STORE_ON_CONFLICT", CONFLICT, "rename", "What a save does if a name is taken."
    ),
    Setting("STORE_ALLOW", EXTENSIONS, None, "Which files may be stored."),
    Setting("STORE_OPTIONS", OPTIONS, Options({}), "Arguments for the filesystem."),
    Setting(
        "STORE_TIMEOUT",
        DURATION,
        8,
        "How long to wait for a server's next word.",
        check_second_or_more,
    ),
    Setting(
        "STORE_DOMAIN", ADDRESS, None, "What absolute URLs start with.", check_address
    ),
    Setting(
        "STORE_URL_PREFIX",
        URL_PATH,
        None,
        "The path between the domain and that of the file.",
        check_url_prefix,
    ),
    Setting(
        "STORE_HOST",
        TEXT,
        None,
        "The host of the route, if the application matches hosts.",
        check_host,
    ),
    Setting(
        "STORE_SUBDOMAIN",
        TEXT,
        None,
        "The subdomain of the route, if the application matches subdomains.",
        check_host,
    ),
    Setting("STORE_SERVE", SERVE, "auto", "Who serves the files."),
    Setting("STORE_SIGNED_URLS", SWITCH, False, "Whether only signed links read."),
    Setting(
        "STORE_URL_EXPIRES",
        DURATION,
        3600,
        "How long a signed link is good.",
        check_second_or_more,
    ),
    Setting(
        "STORE_INLINE_TYPES", MEDIA_TYPES, INLINE_TYPES, "What a browser may show."
    ),
    Setting(
        "STORE_CACHE_CONTROL",
        HEADER,
        None,
        "The Cache-Control header of the files.",
        check_cache_control,
    ),
    Setting(
        "STORE_X_ACCEL_REDIRECT",
        URL_PATH,
        None,
        "The location from which nginx sends the files.",
        check_location,
    ),
    Setting("STORE_RESUMABLE", SWITCH, False, "Whether uploads can be resumed."),
    Setting(
        "STORE_RESUMABLE_EXPIRES",
        DURATION,
        24 * 3600,
        "How long a resumable upload may take.",
        check_second_or_more,
    ),
    Setting(
        "STORE_VARIANTS", VARIANTS, None, "The variants of pictures, by their names."
    ),
    Setting(
        "STORE_VARIANTS_STORE", TEXT, None, "The named store that keeps the variants."
    ),
    Setting(
        "STORE_IMAGE_FORMATS",
        FORMATS,
        IMAGE_FORMATS,
        "The formats of the pictures that variants are made of.",
    ),
    Setting(
        "STORE_IMAGE_MAX_PIXELS",
        COUNT,
        50_000_000,
        "The most pixels of such a picture.",
    ),
    Setting(
        "STORE_IMAGE_MAX_SIZE",
        SIZE,
        100 * 1024**2,
        "The most bytes of such a picture.",
    ),
    Setting(
        "STORE_IMAGE_MAKERS",
        COUNT,
        2,
        "How many variants a process makes at a time.",
    ),
    Setting(
        "STORE_STRIP_METADATA",
        SWITCH,
        False,
        "Whether pictures are stored without their metadata.",
    ),
    Setting("STORE_BACKGROUND", SWITCH, False, "Whether to upload in the background."),
    Setting(
        "STORE_SPOOL_PATH",
        FOLDER,
        None,
        "The folder for uploads on their way.",
        check_folder,
    ),
    Setting("STORE_SPOOL_QUOTA", SIZE, 1024**3, "What waiting uploads may take."),
    Setting("STORE_SPOOL_UPLOADS", COUNT, 4, "How many uploads run at a time."),
    # gunicorn kills a worker after 30 seconds.
    Setting("STORE_SPOOL_DRAIN", DURATION, 10, "How long an exit waits for uploads."),
    Setting("STORE_S3_BUCKET", TEXT, None, "The bucket.", check_bucket),
    Setting("STORE_S3_REGION", TEXT, None, "The region of the bucket."),
    Setting("STORE_S3_ACCESS_KEY", SECRET, None, "The access key."),
    Setting("STORE_S3_SECRET_KEY", SECRET, None, "The secret of the access key."),
    Setting("STORE_S3_SESSION_TOKEN", SECRET, None, "A token for temporary keys."),
    Setting("STORE_S3_ENDPOINT_URL", ADDRESS, None, "The server.", check_s3_address),
    Setting(
        "STORE_S3_PUBLIC_ENDPOINT_URL",
        ADDRESS,
        None,
        "The server as browsers reach it.",
        check_s3_address,
    ),
    Setting(
        "STORE_S3_ADDRESSING_STYLE",
        STYLE,
        "auto",
        "Where requests name the bucket.",
    ),
    Setting("STORE_S3_ACL", TEXT, None, "The canned ACL of every object."),
    Setting("STORE_S3_SSE", SSE, None, "How S3 encrypts every object."),
    Setting(
        "STORE_S3_SSE_KMS_KEY_ID",
        TEXT,
        None,
        "The key of KMS that encrypts every object.",
        check_word,
    ),
    Setting(
        "STORE_S3_STORAGE_CLASS",
        TEXT,
        None,
        "The storage class of every object.",
        check_word,
    ),
    Setting("STORE_S3_TAGS", TAGS, Options({}), "The tags of every object."),
    Setting(
        "STORE_S3_REQUESTER_PAYS",
        SWITCH,
        False,
        "Whether the account of the keys pays for requests.",
    ),
    Setting(
        "STORE_S3_CONDITIONAL_WRITES",
        AUTO,
        "auto",
        "Whether the server honours If-None-Match on a PUT.",
    ),
    Setting("STORE_S3_OPTIONS", OPTIONS, Options({}), "More arguments, for s3fs."),
]

#: Every setting by its name.
TABLE: t.Final = {row.name: row for row in _ROWS}
KEYS: t.Final = frozenset(TABLE)

_DEFAULTS = {row.name: row.default for row in _ROWS}


# -- reading ---------------------------------------------------------------------------


def is_set(value: object) -> bool:
    """Whether a setting has a value. ``None`` is not a value, nor is the empty text,
    which is that of an environment variable that was left empty."""
    return value is not None and value != ""


class Settings(Mapping[str, t.Any]):
    """The settings of one store: every key of the table, read and checked, and all
    other keys of the configuration unchanged. It cannot be changed.

    Its repr shows only the names, because some values are secret.

    :param config: a mapping with the documented keys.
    :raises NotConfiguredError: naming the first setting that is wrong, or an unknown
        ``STORE_S3_`` key.
    """

    def __init__(self, config: Mapping[str, t.Any]) -> None:
        # A misspelled setting may be one for security, so that it is an error.
        for name in config:
            if name.startswith("STORE_S3_") and name not in KEYS:
                raise NotConfiguredError(_unknown(name, cutoff=0.6))
        values = {**config, **_DEFAULTS}
        for name, row in TABLE.items():
            if name in config:
                values[name] = row.read(config)
        self._values = Options(values)

    def __getitem__(self, name: str) -> t.Any:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"<Settings {', '.join(self)}>"


def slips(config: Mapping[str, t.Any], known: Iterable[str] = ()) -> list[str]:
    """Warnings, one for each key that looks like a setting but is not one.

    :param known: more keys that are settings, of a custom store.
    """
    unknown = config.keys() - KEYS - {*known}
    names = [name for name in unknown if name.startswith("STORE_")]
    messages = [_unknown(name, cutoff=0.85) for name in sorted(names)]
    return [message for message in messages if message.endswith("?")]


def _unknown(name: str, cutoff: float) -> str:
    matches = difflib.get_close_matches(name, TABLE, n=1, cutoff=cutoff)
    hint = f" Did you mean {matches[0]}?" if matches else ""
    return f"{name} is no setting of Flask-Store.{hint}"


def warn(message: str) -> None:
    """Warn, and show the line of the application that called this package."""
    # From Python 3.12 on, skip_file_prefixes does this.
    package = __name__.partition(".")[0]
    level, frame = 1, sys._getframe()
    while frame.f_back and _package_of(frame.f_globals) == package:
        level, frame = level + 1, frame.f_back
    warnings.warn(message, stacklevel=level)


def _package_of(module: Mapping[str, t.Any]) -> str:
    return str(module.get("__name__")).partition(".")[0]


def refuse_login(setting: str, address: object, instead: str) -> None:
    """Refuse an address that is shown in links and messages, if it has a login.

    :param instead: says where the login belongs.
    :raises NotConfiguredError: if the address has a user or a password.
    """
    if isinstance(address, str) and has_login(address):
        raise NotConfiguredError(f"{setting} {SHOWN} {instead}")
