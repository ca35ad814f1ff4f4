"""What S3, botocore and s3fs raise, in the words of the settings."""

from __future__ import annotations

from .. import naming
from ..exceptions import FileNotFound
from ..exceptions import InvalidName
from ..exceptions import NotConfiguredError
from ..exceptions import StoreDenied
from ..exceptions import StoreError
from ..exceptions import StoreFull
from ..exceptions import StoreUnavailable
from .s3_bodies import S3Bodies

REFUSED_KEY = {"InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken"}
WRONG_REGION = {
    "AuthorizationHeaderMalformed",
    "IllegalLocationConstraintException",
    "PermanentRedirect",
}
FULL = {"QuotaExceeded", "XMinioStorageFull", "InsufficientStorage"}


class S3Errors(S3Bodies):
    """S3, as far as it explains what went wrong."""

    def explain(self, exc: Exception, key: str | None) -> StoreError | None:
        from botocore import exceptions as boto

        # s3fs wraps some of botocore's errors and passes on the others; one of these
        # is an OSError by itself.
        for cause in (exc, exc.__cause__):
            if isinstance(cause, boto.ClientError):
                code = cause.response["Error"].get("Code", "")
                found = self._explain_code(code, key)
            else:
                found = self._explain_client(cause, key)
            if found:
                return found
        return super().explain(exc, key)

    def _explain_client(
        self, exc: BaseException | None, key: str | None
    ) -> StoreError | None:
        from botocore import exceptions as boto

        if isinstance(exc, boto.NoCredentialsError | boto.PartialCredentialsError):
            return NotConfiguredError(
                "There are no S3 credentials. Set STORE_S3_ACCESS_KEY and"
                " STORE_S3_SECRET_KEY, or give the server AWS credentials (environment,"
                " profile or role)."
            )
        if isinstance(exc, boto.HTTPClientError | boto.ConnectionError | TimeoutError):
            endpoint = self.location.options.get("endpoint_url", "Amazon S3")
            return StoreUnavailable(
                f"{endpoint} cannot be reached, or did not answer in time. Check"
                " that it runs, STORE_S3_ENDPOINT_URL and STORE_S3_REGION.",
                key,
            )
        return None

    def _explain_code(self, code: str, key: str | None) -> StoreError | None:
        if code == "NoSuchBucket":
            return self._no_bucket()
        if code == "NoSuchKey":
            return FileNotFound(f"There is no file {naming.quoted(key)}.", key)
        if code in REFUSED_KEY:
            return StoreDenied(
                f"S3 refuses the credentials ({code}). Check STORE_S3_ACCESS_KEY,"
                " STORE_S3_SECRET_KEY and, for temporary ones, STORE_S3_SESSION_TOKEN.",
                key,
            )
        if code == "RequestTimeTooSkewed":
            return StoreDenied(
                "S3 refuses the date of the request: the clock of this machine is"
                " wrong. Set it by NTP.",
                key,
            )
        if code in WRONG_REGION:
            return NotConfiguredError(
                f"The bucket {self.bucket!r} is in another region. Correct"
                " STORE_S3_REGION."
            )
        if code == "KeyTooLongError":
            return InvalidName(f"{naming.quoted(key)} is too long for S3.", key)
        if code in FULL:
            return StoreFull("The bucket is full. Nothing was stored.", key)
        return None

    def _no_bucket(self) -> NotConfiguredError:
        return NotConfiguredError(
            f"There is no bucket {self.bucket!r}. Create it, or correct"
            " STORE_S3_BUCKET (or the bucket in STORE_PATH). Flask-Store never creates"
            " a bucket."
        )
