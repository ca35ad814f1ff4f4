"""What a variant is to look like: the parameters, and how a URL spells them. Pure."""

from __future__ import annotations

import hashlib
import re
import typing as t
from dataclasses import dataclass
from dataclasses import fields
from dataclasses import replace

Fit: t.TypeAlias = t.Literal["contain", "cover", "fill"]
Format: t.TypeAlias = t.Literal["webp", "avif", "jpeg", "png", "auto"]

#: The longest side of a variant, in pixels. WebP has 16,383 at most.
LONGEST_SIDE = 8192
#: The quality of each format that has one, from 1 to 100.
QUALITIES = {"webp": 80, "avif": 60, "jpeg": 82}
#: What each format is called in the ``Accept`` header, and as the extension of a file.
TYPES = {
    "avif": ("image/avif", "avif"),
    "webp": ("image/webp", "webp"),
    "jpeg": ("image/jpeg", "jpg"),
    "png": ("image/png", "png"),
}
#: The color of nothing, as six hexadecimal digits.
WHITE = "ffffff"

_TEXT = re.compile(
    r"(?:w(?P<width>[1-9][0-9]{0,4})\.)?(?:h(?P<height>[1-9][0-9]{0,4})\.)?"
    r"(?P<fit>contain|cover|fill)\.(?P<format>webp|avif|jpeg|png|auto)"
    r"(?:\.q(?P<quality>[1-9][0-9]{0,2}))?(?:\.(?P<background>[0-9a-f]{6}))?"
    r"(?P<animated>\.animated)?\Z"
)


@dataclass(frozen=True)
class Spec:
    """The parameters of a variant.

    :param width: in pixels.
    :param height: in pixels.
    :param fit: ``"contain"`` keeps the whole picture within the width and the height,
        of which one may be missing. ``"cover"`` fills both, and cuts off what is too
        much at the sides. ``"fill"`` keeps the whole picture, and fills both with
        *background*. No picture is enlarged.
    :param format: ``"webp"``, ``"avif"``, ``"jpeg"`` or ``"png"``; or ``"auto"``: the
        first of AVIF, WebP and JPEG that the browser accepts.
    :param quality: from 1 to 100, for the formats that lose some; by default that of
        the format.
    :param background: the color behind a picture that does not fill its space, or
        that is transparent where the format is not: six hexadecimal digits, such as
        ``"ffffff"``, perhaps after a ``#``.
    :param animated: whether all frames are kept, which takes ``"webp"``. Otherwise it
        is the first one.
    :raises ValueError: if a parameter is wrong, or if they do not fit together.
    """

    width: int | None = None
    height: int | None = None
    fit: Fit = "contain"
    format: Format = "webp"
    quality: int | None = None
    background: str = WHITE
    animated: bool = False

    def __post_init__(self) -> None:
        for name in ("width", "height"):
            _check_number(name, getattr(self, name), LONGEST_SIDE)
        _check_number("quality", self.quality, 100)
        _check_word("fit", self.fit, t.get_args(Fit))
        _check_word("format", self.format, t.get_args(Format))
        if self.width is None and self.height is None:
            raise ValueError("Pass a width or a height, in pixels, or both.")
        if self.fit != "contain" and None in (self.width, self.height):
            raise ValueError(
                f"fit={self.fit!r} needs a width and a height. With one of them, use"
                " fit='contain'."
            )
        if not isinstance(self.background, str) or not re.fullmatch(
            r"#?[0-9A-Fa-f]{6}", self.background
        ):
            raise ValueError(
                f"background is {self.background!r}; it must be a color of six"
                " hexadecimal digits, such as '#ffffff'."
            )
        if not isinstance(self.animated, bool):
            raise ValueError(
                f"animated is {self.animated!r}; it must be True or False."
            )
        if self.animated and self.format != "webp":
            raise ValueError(
                f"format is {self.format!r}, and an animated variant is WebP. Pass"
                " format='webp', or leave out animated."
            )
        background = self.background.removeprefix("#").lower()
        object.__setattr__(self, "background", background)
        if self.format in ("png", "auto"):
            # PNG loses nothing. What is chosen later has its own default.
            quality = None if self.format == "png" else self.quality
        else:
            quality = self.quality or QUALITIES[self.format]
        object.__setattr__(self, "quality", quality)

    @classmethod
    def of(cls, parameters: t.Mapping[str, t.Any]) -> t.Self:
        """The spec of parameters by name.

        :raises ValueError: if there is an unknown one, or one is wrong.
        """
        names = [field.name for field in fields(cls)]
        for name in parameters:
            if name not in names:
                raise ValueError(
                    f"{name!r} is no parameter of a variant. There are:"
                    f" {', '.join(names)}."
                )
        return cls(**parameters)

    @classmethod
    def parse(cls, text: str) -> t.Self | None:
        """The spec that a URL spells; ``None`` if it is none, or spelled otherwise than
        :attr:`text` spells it."""
        match = _TEXT.match(text)
        if match is None:
            return None
        said: dict[str, t.Any] = {k: v for k, v in match.groupdict().items() if v}
        for name in ("width", "height", "quality"):
            if name in said:
                said[name] = int(said[name])
        said["animated"] = "animated" in said
        try:
            found = cls(**said)
        except ValueError:
            return None
        return found if found.text == text else None

    @property
    def text(self) -> str:
        """One spelling for each spec, such as ``"w400.contain.webp.q80"``. A URL needs
        no escape for it, and no name in ``STORE_VARIANTS`` has a dot."""
        words = [
            f"w{self.width}" if self.width else "",
            f"h{self.height}" if self.height else "",
            self.fit,
            self.format,
            f"q{self.quality}" if self.quality else "",
            self.background if self.background != WHITE else "",
            "animated" if self.animated else "",
        ]
        return ".".join(word for word in words if word)

    @property
    def digest(self) -> str:
        """Eight hexadecimal digits that change with the spec."""
        return hashlib.sha256(self.text.encode()).hexdigest()[:8]

    @property
    def content_type(self) -> str:
        """The media type of the variant."""
        return TYPES[self.format][0]

    @property
    def extension(self) -> str:
        """The extension of the variant's file, without a dot."""
        return TYPES[self.format][1]

    def wide(self, width: int) -> t.Self:
        """The same in another width. A height stays in proportion.

        :raises ValueError: if it is no width, or there is only a height.
        """
        _check_number("width", width, LONGEST_SIDE)
        height = self.height
        if self.width and height:
            height = max(1, round(height * width / self.width))
        elif height:
            raise ValueError(
                "A variant by its height has no width of its own. Pass a width."
            )
        return replace(self, width=width, height=height)

    def accepted(self, accepts: t.Container[str]) -> t.Self:
        """The same in the format that is sent to a client, where it is ``"auto"``.

        :param accepts: the media types that the client names.
        """
        *better, last = self.formats()
        return next((each for each in better if each.content_type in accepts), last)

    def formats(self) -> list[t.Self]:
        """The same in each format in which it may be stored, the best first."""
        formats: tuple[Format, ...] = ("avif", "webp", "jpeg")
        if self.format != "auto":
            return [self]
        return [replace(self, format=format) for format in formats]


def _check_number(name: str, value: object, most: int) -> None:
    if value is None:
        return
    known = isinstance(value, int) and not isinstance(value, bool)
    if not known or not 1 <= t.cast(int, value) <= most:
        raise ValueError(
            f"{name} is {value!r}; it must be a whole number from 1 to {most}."
        )


def _check_word(name: str, value: object, words: tuple[str, ...]) -> None:
    if value not in words:
        raise ValueError(
            f"{name} is {value!r}; it must be one of {', '.join(map(repr, words))}."
        )
