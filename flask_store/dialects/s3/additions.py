"""How objects are stored, and who pays for requests: the settings for that, and
``s3_additional_kwargs``, as headers, links, forms and copies have them.

Pure.
"""

from __future__ import annotations

import re
import typing as t
from collections.abc import Mapping
from urllib.parse import parse_qsl
from urllib.parse import quote
from urllib.parse import urlencode
from xml.sax.saxutils import escape

from ...exceptions import NotConfiguredError

#: The headers of a PUT, by botocore's names (Amazon S3 API Reference, "PutObject").
#: Whatever else there is, only s3fs knows how to send.
HEADERS = {
    "ACL": "x-amz-acl",
    "BucketKeyEnabled": "x-amz-server-side-encryption-bucket-key-enabled",
    "CacheControl": "Cache-Control",
    "ContentDisposition": "Content-Disposition",
    "ContentEncoding": "Content-Encoding",
    "ContentLanguage": "Content-Language",
    "RequestPayer": "x-amz-request-payer",
    "SSEKMSEncryptionContext": "x-amz-server-side-encryption-context",
    "SSEKMSKeyId": "x-amz-server-side-encryption-aws-kms-key-id",
    "ServerSideEncryption": "x-amz-server-side-encryption",
    "StorageClass": "x-amz-storage-class",
    "Tagging": "x-amz-tagging",
    "WebsiteRedirectLocation": "x-amz-website-redirect-location",
}
#: Those that the form of an object has as fields of the same names (Amazon S3 API
#: Reference, "POST Object"): what a bucket may demand of every object. The rest, such
#: as a storage class or a lock, is for the copy that gets the key.
FIELDS = (
    "RequestPayer",
    "ServerSideEncryption",
    "SSEKMSKeyId",
    "SSEKMSEncryptionContext",
    "BucketKeyEnabled",
)
#: The customer's own key, by botocore's names (Amazon S3 User Guide, "Using server-side
#: encryption with customer-provided keys").
CUSTOMER = ("SSECustomerAlgorithm", "SSECustomerKey", "SSECustomerKeyMD5")
#: The settings, by botocore's names.
SETTINGS = {
    "ACL": "STORE_S3_ACL",
    "RequestPayer": "STORE_S3_REQUESTER_PAYS",
    "SSEKMSKeyId": "STORE_S3_SSE_KMS_KEY_ID",
    "ServerSideEncryption": "STORE_S3_SSE",
    "StorageClass": "STORE_S3_STORAGE_CLASS",
    "Tagging": "STORE_S3_TAGS",
}
#: What may be the value of a header as it is.
_PLAIN = re.compile(r"[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?\Z")


def merged(config: Mapping[str, t.Any], given: Mapping[str, t.Any]) -> dict[str, t.Any]:
    """The settings together with ``s3_additional_kwargs``, by botocore's names.

    :param config: every setting, read: :class:`~flask_store.settings.Settings`.
    :param given: ``s3_additional_kwargs``.
    :raises NotConfiguredError: if they contradict each other.
    """
    mine = {name: config[setting] for name, setting in SETTINGS.items()}
    mine["RequestPayer"] = "requester" if mine["RequestPayer"] else None
    mine["Tagging"] = urlencode(mine["Tagging"], quote_via=quote)
    mine = {name: value for name, value in mine.items() if value}
    for name, value in mine.items():
        if name in given and given[name] != value:
            raise NotConfiguredError(
                f"{SETTINGS[name]} is set, and s3_additional_kwargs in STORE_S3_OPTIONS"
                f" has another {name}. Remove one of the two."
            )
    found = {**given, **mine}
    encryption = found.get("ServerSideEncryption")
    if "SSEKMSKeyId" in mine and not str(encryption).startswith("aws:kms"):
        raise NotConfiguredError(
            "STORE_S3_SSE_KMS_KEY_ID names a key of KMS, and STORE_S3_SSE is"
            f" {encryption!r}. Set STORE_S3_SSE to 'aws:kms', or remove the key."
        )
    if "ServerSideEncryption" in mine and "SSECustomerKey" in given:
        raise NotConfiguredError(
            "STORE_S3_SSE is set, and s3_additional_kwargs in STORE_S3_OPTIONS has the"
            " key of a customer (SSECustomerKey), which S3 takes instead. Remove one of"
            " the two."
        )
    return found


#: The headers of an object that say how it is stored, with botocore's names for them
#: (Amazon S3 API Reference, "HeadObject").
STORED = {
    "x-amz-storage-class": "StorageClass",
    "x-amz-server-side-encryption": "ServerSideEncryption",
    "x-amz-server-side-encryption-aws-kms-key-id": "SSEKMSKeyId",
    "x-amz-server-side-encryption-bucket-key-enabled": "BucketKeyEnabled",
    "x-amz-website-redirect-location": "WebsiteRedirectLocation",
}
#: Of these, what belongs together.
ENCRYPTION = frozenset({"ServerSideEncryption", "SSEKMSKeyId", "BucketKeyEnabled"})


class Additions:
    """What an application has every object stored with.

    :param given: the arguments of requests, by botocore's names.
    """

    def __init__(self, given: Mapping[str, t.Any]) -> None:
        self._given = given

    @property
    def is_ordinary(self) -> bool:
        """Whether all of it can be sent as headers, as it is."""
        return self._given.keys() <= HEADERS.keys() and all(
            isinstance(value, bool) or (isinstance(value, str) and _PLAIN.match(value))
            for value in self._given.values()
        )

    @property
    def headers(self) -> dict[str, str]:
        """The headers of a PUT."""
        return {
            HEADERS[name]: _text(value)
            for name, value in self._given.items()
            if name in HEADERS
        }

    @property
    def has_customer_key(self) -> bool:
        """Whether every request carries a key, which S3 does not keep."""
        return "SSECustomerKey" in self._given

    @property
    def payer(self) -> dict[str, str]:
        """Who pays: the parameter of a link, and the header of any request."""
        payer = self._given.get("RequestPayer")
        return {HEADERS["RequestPayer"]: payer} if payer else {}

    @property
    def fields(self) -> dict[str, str]:
        """The fields of a form."""
        found = {
            HEADERS[name]: _text(self._given[name])
            for name in FIELDS
            if self._given.get(name) is not None
        }
        if self._given.get("ACL"):
            found["acl"] = self._given["ACL"]
        if self._given.get("Tagging"):
            found["tagging"] = _tags(self._given["Tagging"])
        return found

    @property
    def demanded(self) -> dict[str, str]:
        """What :attr:`fields` has, as headers, and without who pays."""
        return {
            HEADERS[name]: _text(self._given[name])
            for name in (*FIELDS, "ACL", "Tagging")
            if name != "RequestPayer" and self._given.get(name) not in (None, "")
        }

    @property
    def has_tags(self) -> bool:
        """Whether new objects get tags, in place of those that the original has."""
        return bool(self._given.get("Tagging"))

    @property
    def source(self) -> dict[str, t.Any]:
        """What a copy needs, to read the original."""
        return {
            f"CopySource{name}": self._given[name]
            for name in CUSTOMER
            if name in self._given
        }

    @property
    def copying(self) -> dict[str, t.Any]:
        """More arguments of a copy, which else would have what the original has."""
        tags = {"TaggingDirective": "REPLACE"} if self.has_tags else {}
        return {**tags, "MetadataDirective": "REPLACE"}

    def kept(self, stored: Mapping[str, str]) -> dict[str, t.Any]:
        """How a copy is stored, which by itself takes over nothing of that. What the
        settings say of new objects goes before.

        :param stored: how the original is stored, by the names of :data:`STORED`.
        """
        encrypts = self.has_customer_key or not ENCRYPTION.isdisjoint(self._given)
        kept: dict[str, t.Any] = {
            name: value
            for name, value in stored.items()
            if name not in self._given and not (encrypts and name in ENCRYPTION)
        }
        if "BucketKeyEnabled" in kept:
            kept["BucketKeyEnabled"] = kept["BucketKeyEnabled"] == "true"
        return kept

    def __repr__(self) -> str:
        return f"<Additions {sorted(self._given)}>"  # some are secret


def _text(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return str(value)


def _tags(text: str) -> str:
    """The field of a form for tags, which a header has as a query string."""
    tags = "".join(
        f"<Tag><Key>{escape(name)}</Key><Value>{escape(value)}</Value></Tag>"
        for name, value in parse_qsl(text, keep_blank_values=True)
    )
    return f"<Tagging><TagSet>{tags}</TagSet></Tagging>"
