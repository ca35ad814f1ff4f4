"""s3fs by another name, with boto3 beside it."""

from __future__ import annotations

import functools
import typing as t

import boto3
from botocore.config import Config
from s3fs import S3FileSystem


class BucketFileSystem(S3FileSystem):
    """For fsspec, as ``bucket://name/key``."""

    protocol = "bucket"

    @functools.cached_property
    def client(self) -> t.Any:
        """What makes the requests of the dialect; one for all threads."""
        limits = {"connect_timeout": 4, "read_timeout": 8, "max_pool_connections": 20}
        return boto3.Session().client(
            "s3",
            region_name="us-east-1",
            endpoint_url=self.endpoint_url,
            aws_access_key_id=self.key,
            aws_secret_access_key=self.secret,
            config=Config(retries={"max_attempts": 0}, **limits),
        )
