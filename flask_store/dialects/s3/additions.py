"""``s3_additional_kwargs`` in links, forms and copies, which s3fs does not make.

Pure.
"""

from __future__ import annotations

import typing as t
from collections.abc import Mapping
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

#: The fields of a form that POSTs an object, by botocore's names (Amazon S3 API
#: Reference, "POST Object"): what a bucket may demand of every object. The rest, such
#: as a storage class or a lock, is for the copy that gets the key.
FIELDS = {
    "ACL": "acl",
    "RequestPayer": "x-amz-request-payer",
    "ServerSideEncryption": "x-amz-server-side-encryption",
    "SSEKMSKeyId": "x-amz-server-side-encryption-aws-kms-key-id",
    "SSEKMSEncryptionContext": "x-amz-server-side-encryption-context",
    "BucketKeyEnabled": "x-amz-server-side-encryption-bucket-key-enabled",
}
#: The customer's own key, by botocore's names (Amazon S3 User Guide, "Using server-side
#: encryption with customer-provided keys").
CUSTOMER = ("SSECustomerAlgorithm", "SSECustomerKey", "SSECustomerKeyMD5")

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
    def acl(self) -> str | None:
        """The ACL of new objects, if they get one."""
        return self._given.get("ACL")

    @property
    def has_customer_key(self) -> bool:
        """Whether every request carries a key, which S3 does not keep."""
        return "SSECustomerKey" in self._given

    @property
    def query(self) -> dict[str, str]:
        """The parameters of a link."""
        payer = self._given.get("RequestPayer")
        return {FIELDS["RequestPayer"]: payer} if payer else {}

    @property
    def fields(self) -> dict[str, str]:
        """The fields of a form."""
        found = {
            FIELDS[name]: _text(self._given[name])
            for name in FIELDS
            if self._given.get(name) is not None
        }
        if self._given.get("Tagging"):
            found["tagging"] = _tags(self._given["Tagging"])
        return found

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
