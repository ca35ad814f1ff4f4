"""Which requests of a browser to the storage are signed, before anybody is asked."""

from __future__ import annotations

import typing as t

import pytest

from flask_store.dialects.errors import NoAnswer
from flask_store.dialects.s3.parts import S3Parts
from flask_store.direct.parts import Request
from flask_store.exceptions import BadLink
from flask_store.exceptions import ClientError

KEY = "films/a.mp4"


@pytest.mark.parametrize(
    ("said", "action"),
    [
        ({"method": "PUT"}, "form"),
        ({"method": "PUT", "contentType": "text/html"}, "form"),
        ({"method": "POST"}, "create"),
        ({"method": "POST", "uploadId": None, "partNumber": None}, "create"),
        ({"method": "PUT", "uploadId": "x", "partNumber": 10_000}, "part"),
        ({"method": "GET", "uploadId": "x"}, "list"),
        ({"method": "POST", "uploadId": "x"}, "complete"),
        ({"method": "DELETE", "uploadId": "x"}, "abort"),
    ],
)
def test_signed(said: dict[str, t.Any], action: str) -> None:
    """What Uppy asks for, with the key of the token or without one."""
    for key in ({}, {"key": KEY}, {"key": None}):
        assert Request.read({**said, **key}, KEY).action == action


@pytest.mark.parametrize(
    ("said", "error", "words"),
    [
        ({"method": "POST", "key": "films/b.mp4"}, BadLink, "names another one"),
        ({"method": "POST", "key": ""}, BadLink, "names another one"),
        ({"method": "DELETE"}, BadLink, "never signed"),
        ({"method": "GET"}, BadLink, "never signed"),
        ({"method": "put"}, BadLink, "never signed"),
        ({"method": "HEAD", "uploadId": "x"}, BadLink, "never signed"),
        ({"method": "PUT", "uploadId": "x"}, BadLink, "never signed"),
        ({"method": "PUT", "partNumber": 1}, BadLink, "never signed"),
        ({"method": "POST", "uploadId": "x", "partNumber": 1}, BadLink, "never"),
        (
            {"method": "PUT", "uploadId": "x", "partNumber": True},
            ClientError,
            "integer",
        ),
        ({"method": "PUT", "uploadId": "x", "partNumber": "1"}, ClientError, "integer"),
        ({"method": "PUT", "uploadId": "x", "partNumber": 1.0}, ClientError, "integer"),
        ({"method": "PUT", "uploadId": 1, "partNumber": 1}, ClientError, "as text"),
        ({"method": ["PUT"]}, ClientError, "JSON object"),
        ({"method": "POST", "key": {}}, ClientError, "as text"),
        ({}, ClientError, "JSON object"),
        ([], ClientError, "JSON object"),
        (None, ClientError, "JSON object"),
    ],
)
def test_never_signed(said: t.Any, error: type[ClientError], words: str) -> None:
    """Whatever else a page may think of."""
    with pytest.raises(error, match=words):
        Request.read(said, KEY)


class Answers:
    """S3, of which only the answers are known."""

    bucket = "b"

    def __init__(self, *answers: dict[str, t.Any]) -> None:
        self.answers = [*answers]
        self.markers: list[object] = []

    def call(self, method: str, **asked: t.Any) -> dict[str, t.Any]:
        """The next answer."""
        self.markers.append(asked.get("PartNumberMarker"))
        return self.answers.pop(0)


def size(*answers: dict[str, t.Any]) -> tuple[int, list[object]]:
    """The size of the parts that S3 lists, and the markers of the requests."""
    s3: t.Any = Answers(*answers)
    nothing: t.Any = None
    found = S3Parts(nothing, nothing, s3, "name", nothing).size("id")
    return found, s3.markers


def listing(*sizes: int, **more: t.Any) -> dict[str, t.Any]:
    """A page of a list of parts."""
    parts = [{"Size": size} for size in sizes]
    return {"UploadId": "id", "IsTruncated": False, "Parts": parts, **more}


def test_every_page_of_parts_counts() -> None:
    """A list of 10,000 parts comes in ten pages."""
    first = listing(3, 4, IsTruncated=True, NextPartNumberMarker=2)
    assert size(first, listing(5)) == (12, [None, 2])
    assert size(listing()) == (0, [None])


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"UploadId": "id"},
        listing(1, UploadId="another"),
        listing(1, IsTruncated=True),
        listing(1, IsTruncated=True, NextPartNumberMarker=0),
    ],
)
def test_answer_that_is_no_list_of_parts(answer: dict[str, t.Any]) -> None:
    """A page of somebody else does not count as an upload of nothing."""
    with pytest.raises(NoAnswer):
        size(answer)
