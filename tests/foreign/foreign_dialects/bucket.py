"""``bucket://``: an object store that speaks as S3 does, by boto3."""

import re
import typing as t
from collections.abc import Iterator

from botocore.exceptions import ClientError

from flask_store.dialects import Fetched
from flask_store.dialects import Span
from flask_store.dialects import Stat
from flask_store.dialects.bodies import OutOfSpan
from flask_store.dialects.errors import NoAnswer
from flask_store.dialects.objects import ObjectDialect
from flask_store.dialects.objects import Page
from flask_store.dialects.objects import Replaced
from flask_store.dialects.objects import TOKEN
from flask_store.uploads.properties import lowered
from flask_store.uploads.properties import Properties
from flask_store.uploads.source import CHUNK
from flask_store.uploads.source import Source
from flask_store.uploads.source import Window

#: The properties of a file, and what S3 calls them.
FIELDS = {
    "cache_control": "CacheControl",
    "content_disposition": "ContentDisposition",
    "content_encoding": "ContentEncoding",
    "content_language": "ContentLanguage",
}
#: What a status means, and what it means where a new object is put.
ERRORS = {403: PermissionError, 404: FileNotFoundError, 412: Replaced, 416: OutOfSpan}
TAKEN = {403: PermissionError, 409: FileExistsError, 412: FileExistsError}


class BucketDialect(ObjectDialect):
    """One request of boto3 for each verb."""

    def put(
        self, name: str, source: Source, content_type: str, token: str, new: bool
    ) -> None:
        more: dict[str, t.Any] = {"IfNoneMatch": "*"} if new else {}
        kept = source.properties
        more |= {FIELDS[field]: value for field, value in kept.named.items()}
        more |= {"ContentType": content_type}
        more |= {"Metadata": {**lowered(kept.metadata), TOKEN: token}}
        self._ask("put_object", name, TAKEN, Body=Window(source), **more)

    def head(self, name: str, within: float | None = None) -> Stat:
        answer = self._ask("head_object", name)
        return self._described(name, answer, answer["ContentLength"])

    def fetch(self, name: str, span: Span | None, etag: str | None) -> Fetched:
        more = {"Range": f"bytes={span}"} if span else {}
        more |= {"IfMatch": f'"{etag}"'} if etag else {}
        answer = self._ask("get_object", name, **more)
        start, size, length = 0, answer["ContentLength"], answer["ContentLength"]
        if "ContentRange" in answer:  # such as 'bytes 5-9/100'
            start, _, size = map(int, re.findall(r"\d+", answer["ContentRange"]))
        body = answer["Body"].iter_chunks(CHUNK)
        stat = self._described(name, answer, size)
        return Fetched(stat, start, start + length, body)

    def pages(self, prefix: str, delimiter: str = "") -> Iterator[Page]:
        lists = self.fs.client.get_paginator("list_objects_v2")
        asked = {"Prefix": prefix, "Delimiter": delimiter}
        for page in lists.paginate(Bucket=self.bucket, **asked):
            found = page.get("Contents", [])
            files = [self._described(one["Key"], one, one["Size"]) for one in found]
            folders = [one["Prefix"] for one in page.get("CommonPrefixes", [])]
            yield Page(files, page["IsTruncated"], folders)

    def remove(self, name: str) -> None:
        self._ask("delete_object", name)

    def _ask(
        self, request: str, name: str, errors: t.Any = ERRORS, **more: t.Any
    ) -> t.Any:
        try:
            ask = getattr(self.fs.client, request)
            return ask(Bucket=self.bucket, Key=name, **more)
        except ClientError as exc:
            status = exc.response["ResponseMetadata"]["HTTPStatusCode"]
            raise errors.get(status, NoAnswer)(f"the status is {status}") from exc

    def _described(self, name: str, answer: t.Any, size: int) -> Stat:
        kind, metadata = answer.get("ContentType"), dict(answer.get("Metadata", {}))
        date, etag = answer["LastModified"], answer["ETag"]
        token = metadata.pop(TOKEN, None)
        fields = {field: answer.get(key) for field, key in FIELDS.items()}
        kept = Properties.stored(fields, metadata.items())
        return self.described(
            name, size, date, etag, kind, token=token, properties=kept
        )
