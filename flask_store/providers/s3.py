"""``S3Provider`` and ``S3GeventProvider``: objects in a bucket, as 0.0.4 was
configured."""

from __future__ import annotations

from ..stores import s3
from . import Provider


class S3Provider(Provider):
    """An object in the bucket ``STORE_S3_BUCKET``."""

    store_class = s3.S3Store


class S3GeventProvider(S3Provider):
    """The same, with uploads in the background."""

    store_class = s3.S3GeventStore
