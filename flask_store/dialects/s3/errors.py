"""What S3, botocore and s3fs raise, in the words of the settings."""

from __future__ import annotations

import typing as t

from ... import naming
from ...exceptions import FileNotFound
from ...exceptions import InvalidName
from ...exceptions import NotConfiguredError
from ...exceptions import StoreDenied
from ...exceptions import StoreError
from ...exceptions import StoreFull
from ...exceptions import StoreUnavailable
from ..errors import NoAnswer
from .bodies import S3Bodies

if t.TYPE_CHECKING:
    from botocore.exceptions import ClientError


class Said(t.NamedTuple):
    """What an error of S3 amounts to.

    :param error: the class.
    :param words: the message, with ``{key}``, ``{code}``, ``{bucket}``, ``{settings}``
        and ``{message}``, which is the server's own.
    """

    error: type[StoreError]
    words: str


NO_BUCKET = Said(
    NotConfiguredError,
    "There is no bucket {bucket}. Create it, or correct STORE_S3_BUCKET (or the bucket"
    " in STORE_PATH). Flask-Store never creates a bucket.",
)
NO_FILE = Said(FileNotFound, "There is no file {key}.")
REFUSED = Said(
    StoreDenied,
    "The storage refuses access to {key} ({code}). Check the permissions, and"
    " {settings}.",
)
REFUSED_KEY = Said(
    StoreDenied,
    "S3 refuses the credentials ({code}). Check STORE_S3_ACCESS_KEY,"
    " STORE_S3_SECRET_KEY and, for temporary ones, STORE_S3_SESSION_TOKEN.",
)
WRONG_CLOCK = Said(
    StoreDenied,
    "S3 refuses the date of the request: the clock of this machine is wrong. Set it by"
    " NTP.",
)
WRONG_REGION = Said(
    NotConfiguredError,
    "The bucket {bucket} is in another region. Correct STORE_S3_REGION.",
)
TOO_LONG = Said(InvalidName, "{key} is too long for S3.")
FULL = Said(StoreFull, "The bucket is full ({code}). Nothing was stored.")
BUSY = Said(
    StoreUnavailable,
    "S3 cannot answer now ({code}). Try again later; if it goes on, check the server"
    " and {settings}.",
)
OTHER = Said(StoreError, "S3 refuses the request for {key} ({code}): {message}")

#: By the code in the body of an error (Amazon S3 API Reference, "Error responses"; of
#: MinIO and Ceph where they have their own), and by the HTTP status where the code is
#: not known or, as with HEAD, there is none.
ERRORS = {
    "NoSuchBucket": NO_BUCKET,
    "NoSuchKey": NO_FILE,
    "InvalidAccessKeyId": REFUSED_KEY,
    "SignatureDoesNotMatch": REFUSED_KEY,
    "InvalidToken": REFUSED_KEY,
    "ExpiredToken": REFUSED_KEY,
    "RequestTimeTooSkewed": WRONG_CLOCK,
    "AuthorizationHeaderMalformed": WRONG_REGION,
    "IllegalLocationConstraintException": WRONG_REGION,
    "PermanentRedirect": WRONG_REGION,
    "KeyTooLongError": TOO_LONG,
    "QuotaExceeded": FULL,
    "XMinioStorageFull": FULL,
    "InsufficientStorage": FULL,
    "BandwidthLimitExceeded": BUSY,
    "IncompleteBody": BUSY,
    "InternalError": BUSY,
    "OperationAborted": BUSY,
    "RequestLimitExceeded": BUSY,
    "RequestTimeout": BUSY,
    "ServiceUnavailable": BUSY,
    "SlowDown": BUSY,
    "Throttling": BUSY,
    "ThrottlingException": BUSY,
    "TooManyRequests": BUSY,
    "NotImplemented": OTHER,
    "301": WRONG_REGION,
    "401": REFUSED,
    "403": REFUSED,
    "408": BUSY,
    "409": BUSY,
    "429": BUSY,
    "500": BUSY,
    "502": BUSY,
    "503": BUSY,
    "504": BUSY,
    "507": FULL,
}


class S3Errors(S3Bodies):
    """S3, as far as it explains what went wrong."""

    def explain(self, exc: Exception, key: str | None) -> StoreError | None:
        from botocore import exceptions as boto

        # s3fs wraps some of botocore's errors and passes on the others; one of these
        # is an OSError by itself.
        for cause in (exc, exc.__cause__):
            if isinstance(cause, boto.ClientError):
                return self._explain_answer(cause, key)
            found = self._explain_client(cause, key)
            if found:
                return found
        return super().explain(exc, key)

    def _explain_client(
        self, exc: BaseException | None, key: str | None
    ) -> StoreError | None:
        from aiohttp import ClientError as BrokenConnection
        from botocore import exceptions as boto

        if isinstance(exc, boto.NoCredentialsError | boto.PartialCredentialsError):
            return NotConfiguredError(
                "There are no S3 credentials. Set STORE_S3_ACCESS_KEY and"
                " STORE_S3_SECRET_KEY, or give the server AWS credentials (environment,"
                " profile or role)."
            )
        broken = (
            boto.HTTPClientError,
            boto.ConnectionError,
            boto.IncompleteReadError,
            BrokenConnection,
            TimeoutError,
        )
        if isinstance(exc, broken):
            endpoint = self.location.options.get("endpoint_url", "Amazon S3")
            tls = isinstance(exc, boto.SSLError)
            return StoreUnavailable(
                f"{endpoint} cannot be reached, or did not answer in time. Check"
                " that it runs, STORE_S3_ENDPOINT_URL and STORE_S3_REGION."
                + (f" Its certificate may be wrong: {exc}" if tls else ""),
                key,
            )
        if isinstance(exc, boto.BotoCoreError):
            return StoreError(f"The request to S3 could not be made: {exc}", key)
        return None

    def _explain_answer(self, exc: ClientError, key: str | None) -> StoreError | None:
        said = exc.response["Error"]
        status = exc.response["ResponseMetadata"]["HTTPStatusCode"]
        code = said.get("Code") or str(status)
        looked = exc.operation_name.startswith("Head")  # such an answer has no body
        found = ERRORS.get(code) or ERRORS.get(str(status))
        if code == "404" and looked:
            found = NO_FILE
        elif found is None and status >= 500:
            found = BUSY
        elif found is None and code.isdecimal() and not looked:
            error = NoAnswer(f"the status is {status}, without a reason as S3 gives it")
            return super().explain(error, key)
        return self._said(found or OTHER, key, code, said.get("Message") or "")

    def _said(
        self, said: Said, key: str | None = None, code: str = "", message: str = ""
    ) -> StoreError:
        words = said.words.format(
            key=naming.quoted(key),
            code=code,
            bucket=repr(self.bucket),
            settings=self.settings,
            message=message[:200],
        )
        return said.error(words, key)

    def _no_bucket(self) -> StoreError:
        return self._said(NO_BUCKET)
