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
    def copying(self) -> dict[str, t.Any]:
        """More arguments of a copy, which else would have what the original has."""
        found = {
            f"CopySource{name}": self._given[name]
            for name in CUSTOMER
            if name in self._given
        }
        if self._given.get("Tagging"):
            found["TaggingDirective"] = "REPLACE"
        return {**found, "MetadataDirective": "REPLACE"}

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
