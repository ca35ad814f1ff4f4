"""One variant of one picture, made in a process of its own."""

from __future__ import annotations

import typing as t

from .spec import Spec


class Limits(t.NamedTuple):
    """What is accepted as a picture, as the settings ``STORE_IMAGE_...`` say.

    :param formats: in lower case, such as ``("jpeg", "png")``.
    :param max_pixels: width times height, of all frames that are used.
    :param max_size: in bytes.
    """

    formats: tuple[str, ...]
    max_pixels: int
    max_size: int


def render(source: t.IO[bytes], spec: Spec, limits: Limits) -> bytes:
    """Make a variant.

    :param source: the picture, a file of the operating system, at its beginning.
    :param spec: in a format that is not ``"auto"``.
    :return: the bytes of the variant.
    :raises BadPicture: if the file is no picture that may be decoded. Then it will
        never be one.
    :raises NotConfiguredError: if Pillow is not installed.
    :raises StoreError: if the variant cannot be made now.
    """
    raise NotImplementedError
